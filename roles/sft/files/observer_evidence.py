"""Evidence of a training that stands still, on one node: its processes, their stacks, its GPUs.

    observer_evidence.py look|dump FOLDER ATTEMPT

`look` writes stall-ATTEMPT-NODE.json. `dump` makes ranks that py-spy cannot look into print their
stacks to the job's log, which ends them.
Standard library only, Python 3.8 or later: runs inside jobs, once on each node.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import observer_ranks

_STACKS = 64  # processes of a node whose stacks are taken
_SIDE_BY_SIDE = 8
_SECONDS = 10.0  # for each question
_LONGEST = 12000  # characters of an answer
_GPUS = "index,utilization.gpu,memory.used,memory.total,power.draw,clocks.sm,temperature.gpu"


def look(folder: Path, number: str) -> None:
    """Write what this node shows; first what is quickly known, in case the rest hangs."""
    job = os.environ.get("SLURM_JOB_ID", "")
    found = observer_ranks.processes(job, os.environ.get("MNRUN_TOKEN", ""))
    report: dict[str, Any] = {"node": node(), "time": time.time(), "processes": found}
    target = folder / f"stall-{number}-{node()}.json"
    _write(target, report)
    report["gpus"] = answer(["nvidia-smi", f"--query-gpu={_GPUS}", "--format=csv"])
    report["gpu_processes"] = answer(
        ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv"]
    )
    report["stacks"] = stacks(found)
    _busy(found, observer_ranks.processes(job))
    report["whole"] = True
    _write(target, report)


def stacks(found: list[observer_ranks.Process]) -> dict[str, str]:
    """The stacks of ranks, and of what they started, by process ids; of those that py-spy shows."""
    spy = _spy()
    wanted = [one for one in found if one.get("what")][:_STACKS] if spy else []
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        texts = list(pool.map(lambda one: _stack(str(spy), one), wanted))
    return {str(one["pid"]): text for one, text in zip(wanted, texts) if text}


def _stack(spy: str, one: observer_ranks.Process) -> str:
    """A process's stack, with native frames if possible. A stopped one must not be waited for."""
    ways = [["--nonblocking"]] if one["state"] in "TtD" else [["--native"], [], ["--nonblocking"]]
    for way in ways:
        text = answer([spy, "dump", "--pid", str(one["pid"]), *way])
        if text:
            return text
    return ""


def _spy() -> str | None:
    """py-spy of the training environment, which need not be this Python's."""
    folders = [os.environ.get("PATH", ""), str(Path(sys.executable).parent)]
    prefix = os.environ.get("CONDA_PREFIX") or os.environ.get("VIRTUAL_ENV")
    return shutil.which(
        "py-spy", path=os.pathsep.join(folders + ([f"{prefix}/bin"] if prefix else []))
    )


def _busy(before: list[observer_ranks.Process], after: list[observer_ranks.Process]) -> None:
    """Note the processor time that each used meanwhile."""
    later = {one["pid"]: one["cpu_seconds"] for one in after}
    for one in before:
        used = later.get(one["pid"], one["cpu_seconds"]) - one["cpu_seconds"]
        one["cpu_seconds_meanwhile"] = round(used, 2)


def answer(command: list[str], seconds: float = _SECONDS) -> str:
    """What a program printed; empty if it failed, or took too long."""
    null = subprocess.DEVNULL
    try:
        asked = subprocess.Popen(command, stdin=null, stdout=subprocess.PIPE, stderr=null)
    except OSError:
        return ""
    try:
        text = asked.communicate(timeout=seconds)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        asked.kill()  # a driver that hangs keeps it nevertheless, so no one waits for it
        return ""
    return text[:_LONGEST] if asked.returncode == 0 else ""


def dump() -> None:
    """Let each rank print its stacks by faulthandler, and end without a core file."""
    found = observer_ranks.processes(os.environ.get("SLURM_JOB_ID", ""))
    for one in observer_ranks.ranks(found):
        if one["dumps"]:
            with contextlib.suppress(OSError, ValueError):
                hard = resource.prlimit(one["pid"], resource.RLIMIT_CORE)[1]
                resource.prlimit(one["pid"], resource.RLIMIT_CORE, (0, hard))
                os.kill(one["pid"], signal.SIGABRT)


def node() -> str:
    """This node's name, as Slurm calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname().split(".")[0]


def _write(path: Path, report: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(report, indent=1), encoding="utf-8")
    draft.replace(path)


def main() -> int:
    """Entry point."""
    if sys.argv[1] == "dump":
        dump()
    else:
        look(Path(sys.argv[2]), sys.argv[3])
    return 0


if __name__ == "__main__":
    sys.exit(main())
