"""A Ray for the tests of cluster.py."""
