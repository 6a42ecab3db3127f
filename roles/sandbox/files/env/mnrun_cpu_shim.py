"""Let verl 0.5.0 train on a machine without a GPU: the sandbox's only change to the trainer.

``mnrun_cpu_shim.pth`` calls :func:`install` at the start of every Python of the sandbox's training
environment: in torchrun's ranks and in Ray's workers alike. Nothing happens until that Python
imports ``verl.utils.device``, and nothing at all where CUDA is there: only then are the patches in
``mnrun_cpu_patches`` loaded. A site with GPUs has neither file.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class ImportHook:
    """A meta path finder that acts once the module ``name`` has been loaded, then is gone."""

    def __init__(self, name: str, after: Callable[[ModuleType], None]) -> None:
        self.name, self.after = name, after

    def find_spec(
        self,
        name: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Answer for the one hooked module: its usual spec, with the patches after its load."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            self.after(module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def patch_verl(device: ModuleType) -> None:
    """Load the patches where verl finds no accelerator; ``device`` is verl.utils.device."""
    if not device.is_cuda_available and not device.is_npu_available:
        importlib.import_module("mnrun_cpu_patches").patch(device)


HOOK = ImportHook("verl.utils.device", patch_verl)


def install() -> None:
    """Wait for verl, at the cost of one list entry."""
    # Python 3.11 runs a virtual environment's .pth files twice.
    if HOOK not in sys.meta_path:
        sys.meta_path.insert(0, HOOK)
