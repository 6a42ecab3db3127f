"""What a login node and a compute node show of a site, for `mnrun init`. Nothing is changed."""
