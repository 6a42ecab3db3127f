"""Slurm's commands and what they answer; the only room that runs them. Imports base, record and
result.
"""
