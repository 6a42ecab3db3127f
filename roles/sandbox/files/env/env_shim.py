"""The shim that lets a trainer run here: which files of it an environment has, and keeps."""

from __future__ import annotations

from pathlib import Path

from env_command import write_atomically

# The .pth line that imports the others comes last: no Python starts with half a shim.
CPU_SHIM = (
    "mnrun_import_hook.py",
    "mnrun_cpu.dist-info/METADATA",
    "mnrun_cpu.dist-info/entry_points.txt",
    "mnrun_cpu_patches.py",
    "mnrun_cpu_platform.py",
    "mnrun_cpu_rollout.py",
    "mnrun_cpu_shim.py",
    "mnrun_cpu_shim.pth",
)
GPU_SHIM = (
    "mnrun_import_hook.py",
    "mnrun_gpu_patches.py",
    "mnrun_gpu_shim.py",
    "mnrun_gpu_shim.pth",
)
# Where the environment does not share the package of the machine's Python. vLLM takes what it finds
# of that name for the real one.
FLASH_ATTENTION = ("flash_attn/__init__.py", "flash_attn/bert_padding.py")


def sync_shim(packages: Path, source: Path, gpu: bool = False) -> bool:
    """Copy the shim's files where they differ; return whether any did."""
    changed = False
    for name in shim(packages, gpu):
        content, target = (source / name).read_bytes(), packages / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, content)
            changed = True
    return changed


def shim(packages: Path, gpu: bool) -> tuple[str, ...]:
    """The files of the shim for a device."""
    if not gpu:
        return CPU_SHIM
    real = (packages / "flash_attn").is_symlink()
    return GPU_SHIM if real or (packages / "vllm").exists() else (*FLASH_ATTENTION, *GPU_SHIM)
