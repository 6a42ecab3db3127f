"""A stand-in: only what verl 0.5.0 imports of flash attention where there is a GPU. No kernels."""

STAND_IN = True
