"""The training environment: the activation script, and a trial run of it. Imports base."""
