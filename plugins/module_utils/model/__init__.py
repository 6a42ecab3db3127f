"""A model's folder on disk: its weights, its identity, its manifest. Imports base."""
