"""How soon a Ray cluster in a Slurm job is up, and how soon its nodes are free again."""
