"""Files, clocks, processes, names and texts: knows nothing of training. Anyone may import it; it
imports no other room.
"""
