"""The training environment: the activation script, and trying it out. Imports base."""
