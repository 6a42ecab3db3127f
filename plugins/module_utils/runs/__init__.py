"""Several runs side by side, and leftovers. Imports all rooms but environment, hub, model,
preflight and sandbox.
"""
