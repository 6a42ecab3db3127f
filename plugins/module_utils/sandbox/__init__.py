"""A real small Slurm cluster in the namespaces of one machine."""
