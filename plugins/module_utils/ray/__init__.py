"""A Ray cluster inside a Slurm job: its head, its job API, Ray as a backend of the engine. Imports
all rooms below: base, record, result, trainer, slurm and stage.
"""
