"""The small real Slurm cluster in the namespaces of one machine. Imports base."""
