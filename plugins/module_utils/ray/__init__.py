"""A Ray cluster inside a Slurm job: its head, its job API, Ray as a backend of the engine. Imports
base, record, trainer, result, slurm and stage.
"""
