"""The whole job on real GPUs, measured, with its faults; no part of the wheel."""
