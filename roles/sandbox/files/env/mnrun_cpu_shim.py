"""Let verl 0.5.0 train on a machine without a GPU: the sandbox's only change to the trainer.

``mnrun_cpu_shim.pth`` calls :func:`install` at the start of every Python of the sandbox's training
environment: in torchrun's ranks and in Ray's workers alike. Nothing happens until that Python
imports ``verl.utils.device``, and nothing at all where CUDA is there: only then are the patches in
``mnrun_cpu_patches`` loaded. A site with GPUs has neither file.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mnrun_import_hook import ImportHook


def patch_verl(device: ModuleType) -> None:
    """Load the patches where verl finds no accelerator; ``device`` is verl.utils.device."""
    if not device.is_cuda_available and not device.is_npu_available:
        importlib.import_module("mnrun_cpu_patches").patch(device)


HOOK = ImportHook("verl.utils.device", patch_verl)


def install() -> None:
    """Wait for verl."""
    HOOK.install()
