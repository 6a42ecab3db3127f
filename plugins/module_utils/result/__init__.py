"""Whether a stage's work is done, and whether there is space for it. Imports base, model, record
and trainer.
"""
