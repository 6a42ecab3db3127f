"""Whether a job that asked for GPUs should find them. What a node shows does not decide that.

A node whose GPUs fell off the bus shows none. Only a torch that cannot use any says that none are
needed, as in a sandbox whose GPUs are stand-ins.
Standard library only, Python 3.8 or later: jobs carry it, and the checks before them import it.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

_BUILT = re.compile(r"^(?:cuda|hip|xpu)\b[^=\n]*=[ ]*['\"]", re.MULTILINE)


def are_expected() -> bool:
    """Whether torch has to see GPUs on this node, if the job asked for any."""
    return has_real_gpus() or built_for_gpus()


def has_real_gpus(devices: Path = Path("/dev")) -> bool:
    """Whether this node has GPUs of NVIDIA or AMD, not the stand-ins of a sandbox."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "kfd").exists()


def built_for_gpus() -> bool:
    """Whether the torch of this environment was built for GPUs and should use them. It is not
    imported, which takes seconds."""
    try:
        if find_spec("mnrun_cpu_shim") is not None:
            return False  # the sandbox's trains on a CPU, whichever torch could be had
        spec = find_spec("torch")
        version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
        return bool(version and _BUILT.search(version.read_text("utf-8", "replace")))
    except (OSError, ValueError):
        return False
