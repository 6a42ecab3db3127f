"""Slurm's commands and their answers, and Slurm as a backend of the engine. Only this room runs
them (client.py). Imports base, record and result.
"""
