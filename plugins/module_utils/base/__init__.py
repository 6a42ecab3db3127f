"""Files, clocks, processes, names and texts: nothing about training. Every room may import it; it
imports no other room.
"""
