"""What a trainer prints, writes and accepts. The only room that knows verl's words. Imports
base, environment, model and record.
"""
