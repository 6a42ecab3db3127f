"""This machine's GPUs: what they are, what they do meanwhile, and whether they are free again."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FREE = 600  # MiB that a driver may keep of an idle GPU
SAMPLES = "index,memory.used,utilization.gpu"


def query(*fields: str) -> list[list[str]]:
    """What nvidia-smi says of each GPU."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [line.split(", ") for line in done.stdout.splitlines()]


def describe(python: str) -> dict[str, Any]:
    """The machine, its driver and the torch of the training environment."""
    ask = "import torch; print(torch.__version__, '.'.join(map(str, torch.cuda.nccl.version())))"
    asked = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True,
                           timeout=120).stdout.split()  # fmt: skip
    gpus = query("name", "memory.total", "driver_version")
    release = dict(
        line.rstrip().split("=", 1)
        for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        if "=" in line
    )
    return {
        "gpus": [f"{name}, {memory} MiB" for name, memory, _ in gpus],
        "driver": gpus[0][2],
        "system": release["PRETTY_NAME"].strip('"'),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "torch": asked[-2],
        "nccl": asked[-1],
    }


def used() -> list[int]:
    """The memory in use on each GPU, in MiB."""
    return [int(memory) for (memory,) in query("memory.used")]


@contextmanager
def sampled(file: Path) -> Iterator[None]:
    """Meanwhile, write each GPU's memory and use to a file, once a second."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield
        return
    command = [program, f"--query-gpu={SAMPLES}", "--format=csv,noheader,nounits", "-lms", "1000"]
    with file.open("w", encoding="utf-8") as output:
        sampler = subprocess.Popen(command, stdout=output)
        try:
            yield
        finally:
            sampler.terminate()
            sampler.wait(timeout=30)


def summary(file: Path) -> dict[str, Any]:
    """The highest memory and the mean use over all samples and GPUs."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    samples = [[int(field) for field in line.split(", ")] for line in lines if line.count(",") == 2]
    if not samples:
        return {}
    return {
        "gpu_memory_mib": max(memory for _, memory, _ in samples),
        "gpu_use_percent": round(sum(use for _, _, use in samples) / len(samples), 1),
    }
