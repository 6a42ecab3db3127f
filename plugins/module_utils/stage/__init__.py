"""The engine: decides what a re-run does, does it, and concludes (entry: module.py). It knows
neither Slurm nor Ray. Imports base, record, trainer and result.
"""
