"""Act when a module has been imported: what both shims of the sandbox's trainer wait with."""

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

    def install(self) -> None:
        """Wait, at the cost of one list entry."""
        # Python 3.11 runs a virtual environment's .pth files twice.
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
