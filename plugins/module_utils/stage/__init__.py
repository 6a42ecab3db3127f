"""The engine: decides what a re-run does, does it, and concludes. Knows neither Slurm nor Ray:
imports base, record, trainer and result.
"""
