"""Let verl 0.5.0 train on a machine without a GPU: the sandbox's only change to the trainer.

``mnrun_cpu_shim.pth`` calls :func:`install` at the start of every Python of the sandbox's training
environment: in torchrun's ranks and in Ray's workers alike. Nothing happens until that Python
imports ``verl.utils.device``, and nothing at all where CUDA is there: only then are the patches in
``mnrun_cpu_patches`` loaded. Debian's torch, which has no libuv, also gets stores without it. A
site with GPUs has neither file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


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


def avoid_libuv(distributed: ModuleType) -> None:
    """Make TCPStore work in a torch built without libuv; ``distributed`` is torch.distributed.

    torchrun's rendezvous and its ranks do not look at USE_LIBUV; the rest of torch does.
    """
    if not sys.modules["torch"].__version__.endswith("+debian"):
        return
    os.environ.setdefault("USE_LIBUV", "0")
    original: Any = distributed.TCPStore

    class PlainStore(original):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "use_libuv": False})

    for module in (distributed, sys.modules["torch.distributed.rendezvous"]):
        module.TCPStore = PlainStore  # type: ignore[attr-defined]


HOOKS = (ImportHook("verl.utils.device", patch_verl), ImportHook("torch.distributed", avoid_libuv))


def install() -> None:
    """Wait for verl and torch, at the cost of two list entries."""
    # Python 3.11 runs a virtual environment's .pth files twice.
    for hook in HOOKS:
        if hook not in sys.meta_path:
            sys.meta_path.insert(0, hook)
