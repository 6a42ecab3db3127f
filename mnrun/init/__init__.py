"""`mnrun init`: look at a cluster, and write the inventory of a new site."""
