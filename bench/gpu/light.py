"""Take out of a wheel what no training needs, so that less has to travel."""

from __future__ import annotations

import fnmatch
import zipfile
from pathlib import Path

# By what a wheel's name begins with. Patterns as of fnmatch, so that * goes through folders.
LEFT_OUT = {
    # For other languages, and for its own web pages' debuggers: half of it.
    "ray-": (
        "ray/jars/*",
        "ray/rllib/*",
        "ray/serve/tests/*",
        "ray/dashboard/client/build/speedscope*",
        "*.js.map",
    ),
    # Flash attention 2 for GPUs older than Hopper, which has 3; a front end; other Pythons.
    "vllm-": (
        "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so",
        "vllm/vllm-rs",
        "vllm/third_party/fmha_sm100/*",
        "vllm/third_party/deep_gemm/include/*",
        "vllm/third_party/deep_gemm/_C.cpython-31[0134]*",
    ),
    "xgrammar-": ("xgrammar/lib/libxgrammar.a", "xgrammar/include/*"),
    "mistral_common-": ("mistral_common/data/*",),
}


def lighten(wheel: Path) -> None:
    """Leave out of a wheel what is known to be of no use there."""
    patterns = next((LEFT_OUT[name] for name in LEFT_OUT if wheel.name.startswith(name)), ())
    if not patterns:
        return
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if not any(fnmatch.fnmatchcase(entry.filename, pattern) for pattern in patterns):
                new.writestr(entry, old.read(entry))
    part.replace(wheel)
