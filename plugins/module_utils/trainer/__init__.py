"""All that a trainer prints, writes and takes. The only room that knows verl's words. Imports
base, model and record.
"""
