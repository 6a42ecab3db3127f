"""Let verl 0.5.0 train on a machine without a GPU: the sandbox's only change to the trainer.

``mnrun_cpu_shim.pth`` calls :func:`install` at the start of every Python of the sandbox's training
environment: in torchrun's ranks and in Ray's workers alike. Nothing happens until that Python
imports ``verl.utils.device``, and nothing at all where CUDA is there: only then are the patches in
``mnrun_cpu_patches`` loaded. A site with GPUs has neither file. Beside that, Python's collector of
garbage looks rarely: a training is two dozen processes, each with 3,400 modules to import.
"""

from __future__ import annotations

import gc
import importlib
from types import ModuleType

from mnrun_import_hook import ImportHook


def patch_verl(device: ModuleType) -> None:
    """Load the patches where verl finds no accelerator; ``device`` is verl.utils.device."""
    if not device.is_cuda_available and not device.is_npu_available:
        importlib.import_module("mnrun_cpu_patches").patch(device)


HOOK = ImportHook("verl.utils.device", patch_verl)
# At Python's usual pace the collector takes a sixth of the processor time of importing verl.
PACE = (50_000, 20, 100)


def install() -> None:
    """Wait for verl."""
    gc.set_threshold(*PACE)
    HOOK.install()
