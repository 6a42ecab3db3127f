"""Checks before anything is submitted. Imports base, model, trainer and slurm."""
