"""What is put on the cluster for a run with no controller: mnrun itself, and a site."""
