"""The checks before a submission. Imports base, model, trainer and slurm."""
