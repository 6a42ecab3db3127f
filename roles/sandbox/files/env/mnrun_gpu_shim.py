"""Let verl train on the sandbox's real GPUs with the packages of the sandbox's environment.

As ``mnrun_cpu_shim`` does for a machine without a GPU, ``mnrun_gpu_shim.pth`` calls :func:`install`
at the start of every Python of the environment; where verl finds a GPU, the patches in
``mnrun_gpu_patches`` are loaded. A site has none of these files.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mnrun_import_hook import ImportHook


def patch_verl(device: ModuleType) -> None:
    """Load the patches where verl finds a GPU; ``device`` is verl.utils.device."""
    if device.is_cuda_available:
        importlib.import_module("mnrun_gpu_patches").patch()


HOOK = ImportHook("verl.utils.device", patch_verl)


def install() -> None:
    """Wait for verl."""
    HOOK.install()
