"""The checks before a submission. Imports base, model, trainer, result and slurm."""
