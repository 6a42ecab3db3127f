"""How much a job uses this node's GPUs: nvidia-smi once a second, kept as a few numbers.

Without nvidia-smi there is nothing to keep, and nothing fails.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, Iterator, cast

from cluster_health import end, of_job
from cluster_health import gpus as read_gpus

_BINS = 60  # of the time line, at most
_SAVED = 60.0  # seconds between two writes: a killed job leaves what it had
_FIELDS = "index,uuid,memory.used,memory.total,utilization.gpu"


class Use:
    """Running figures of some GPUs; memory does not grow with time."""

    def __init__(self, visible: str | None) -> None:
        self._visible = visible
        self._gpus: dict[str, dict[str, int]] = {}  # index -> figures
        self._line: list[tuple[int, int]] = []  # sum and count of use, for each bin
        self._width = 1  # samples of one GPU in a bin
        self._began: float | None = None  # epoch seconds of the first sample

    def add(self, line: str) -> None:
        """Take in one line of nvidia-smi's."""
        row = line.strip().split(", ")
        if len(row) != 5 or not row[4].isdigit():
            return
        for gpu in of_job(read_gpus(", ".join(row[:4])), self._visible):
            self._began = self._began or time.time()
            use = int(row[4])
            figures = self._gpus.setdefault(
                gpu.number, {"samples": 0, "sum": 0, "most": 0, "memory": 0, "total": gpu.total}
            )
            self._bin(figures["samples"], use)
            figures["samples"] += 1
            figures["sum"] += use
            figures["most"] = max(figures["most"], use)
            figures["memory"] = max(figures["memory"], gpu.used)

    def _bin(self, number: int, use: int) -> None:
        while number // self._width >= _BINS:
            line = [*self._line, (0, 0)]
            pairs = zip(line[::2], line[1::2])
            self._line = [(one[0] + two[0], one[1] + two[1]) for one, two in pairs]
            self._width *= 2
        at = number // self._width
        self._line += [(0, 0)] * (at + 1 - len(self._line))
        total, count = self._line[at]
        self._line[at] = (total + use, count + 1)

    def figures(self) -> dict[str, Any]:
        """What the record keeps; empty without a sample."""
        if not self._gpus:
            return {}
        return {
            "gpus": [
                {
                    "index": index,
                    "seconds": each["samples"],
                    "busy_percent": round(each["sum"] / each["samples"], 1),
                    "most_percent": each["most"],
                    "memory_mib": each["memory"],
                    "total_mib": each["total"],
                }
                for index, each in sorted(self._gpus.items())
            ],
            "start": round(self._began or 0.0, 1),
            "seconds_a_bin": self._width,
            "busy_percents": [round(total / count) for total, count in self._line if count],
        }


def record_file(env: Any) -> Path | None:
    """Where a job's record keeps this node's figures; None without GPUs or a record."""
    names = ("MNRUN_RECORD", "MNRUN_ATTEMPT", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES")
    if not all(env.get(name) for name in names) or env.get("SLURM_LOCALID", "0") != "0":
        return None
    folder, number, node = (env[name] for name in names[:3])
    return Path(folder) / f"gpus-{number}-{node}.json"


@contextlib.contextmanager
def sampled(env: Any) -> Iterator[None]:
    """Meanwhile, follow the use of this node's GPUs."""
    file = record_file(env)
    command = ["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    try:
        if file is None:
            raise FileNotFoundError
        # It ends with this process at the latest: no one reads what it writes then.
        asked = subprocess.Popen(
            [*command, "-lms", "1000"], stdin=null, stdout=pipe, stderr=null, env=dict(env)
        )
    except OSError:
        yield
        return
    use = Use(env.get("CUDA_VISIBLE_DEVICES"))
    thread = threading.Thread(target=_follow, args=(asked, use, file, env), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end(asked)
        thread.join(5)


def _follow(asked: subprocess.Popen[bytes], use: Use, file: Path, env: Any) -> None:
    saved = time.monotonic()
    with cast("IO[bytes]", asked.stdout) as lines:
        for line in lines:
            use.add(line.decode("ascii", "replace"))
            if time.monotonic() - saved > _SAVED:
                saved = time.monotonic()
                _save(use, file, env)
    _save(use, file, env)


def _save(use: Use, file: Path, env: Any) -> None:
    figures = use.figures()
    if not figures:
        return
    known = {"job_id": env.get("SLURM_JOB_ID", ""), "node": env["SLURMD_NODENAME"]}
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        draft.write_text(json.dumps({**known, **figures}), encoding="utf-8")
        draft.replace(file)
