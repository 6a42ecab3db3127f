"""Builds what is published: wheel, sdist, collection, bill of materials and checksums."""
