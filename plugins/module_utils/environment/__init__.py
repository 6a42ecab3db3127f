"""The training environment: the activation script, a trial run of it, and whether its torch is for
GPUs. Imports base.
"""
