"""SFT's gate on the GPUs: what it costs, what it refuses, and how fast it lets NCCL be.

Without GPUs a stand-in of nvidia-smi and gloo show that these steps work (--simulated).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.sandbox import fabric
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import OTHER_USER, USERS

from . import figures
from .need import named, need
from .site import Answer, Site
from .variables import common, variables

STEPS = 40  # of the toy's SFT
ONE = {"NCCL_SOCKET_NTHREADS": "1", "NCCL_NSOCKS_PERTHREAD": "1"}  # NCCL's own values
HOLDS = """
import os, time, torch
held = torch.empty(20 * 2**30, dtype=torch.uint8, device="cuda")
print(os.getpid(), flush=True)
time.sleep(600)
"""
HANGS = "#!/bin/sh\nexec sleep 600\n"
# One idle GPU on each node; a file names the process that holds its memory.
STAND_IN = """#!/bin/sh
read holder 2> /dev/null < {folder}/$(uname -n) || holder=
case $* in
  *-lms*) while echo "0, GPU-a, 4, 80000, 7"; do sleep 1; done ;;
  --query-gpu=index*) echo "0, GPU-a, $([ $holder ] && echo 20480 || echo 4), 80000" ;;
  --query-compute-apps*) [ -z $holder ] || echo "GPU-a, $holder, 20476, python" ;;
  *) exit 1 ;;
esac
"""


def gate(site: Site) -> dict[str, Any]:
    """A short SFT: what its gate found and took, and how its GPUs were used."""
    answer = _sft(site, "gate", STEPS, 110)
    need(answer.code == 0, f"mnrun sft: exit code {answer.code}", answer)
    return {"seconds": answer.seconds, **_gate(site.run("gate")), **_use(site.run("gate"))}


def one_socket(site: Site) -> dict[str, Any]:
    """The same gate with as many sockets as NCCL has by itself: mnrun leaves what is set."""
    answer = _sft(site, "one-socket", 1, 90, **ONE)
    need(answer.code == 0, f"mnrun sft: exit code {answer.code}", answer)
    found = _gate(site.run("one-socket"))
    need(not found.get("sockets_set"), "mnrun set what was set", answer)
    return found


def held(site: Site) -> dict[str, Any]:
    """Another user's process holds memory of the second node's GPU: named, with its owner."""
    node = site.options.compute[-1].name
    with _holder(site):
        answer = _sft(site, "held", 1, 60)
    need(answer.code != 0, "SFT ended well", answer)
    shown = named(answer, rf".*{node}: GPU 0: .*MiB.* in use.*")
    need(shown, "neither node nor GPU is named", answer)
    return {"seconds": answer.seconds, "shown": shown}


def hung(site: Site) -> dict[str, Any]:
    """Nvidia-smi hangs, as where a GPU is off the bus: the gate continues without its answers."""
    folder = _program(site, "hangs", HANGS)
    path = f"{folder}:{Path(site.python).parent}:/usr/local/bin:/usr/bin:/bin"
    answer = _sft(site, "hung", 1, 120, PATH=path)
    need(answer.code == 0, f"mnrun sft: exit code {answer.code}", answer)
    return {"seconds": answer.seconds, **_gate(site.run("hung"))}


def _sft(site: Site, run: str, steps: int, limit: float, **more: str) -> Answer:
    given: dict[str, Any] = {"sft_overrides": {"trainer.total_training_steps": steps}}
    if site.options.real:
        given["environment_variables"] = {**variables(), **more}
    else:
        path = f"{_stand_in(site)}:{Path(site.python).parent}:/usr/local/bin:/usr/bin:/bin"
        given |= {"sft_gate": "always", "environment_variables": {**common(), "PATH": path, **more}}
    return site.mnrun("sft", run=run, limit=site.patience(limit), **given)


def _gate(run: Path) -> dict[str, Any]:
    """What the gate of the last attempt found."""
    file = figures.newest(run, ".mnrun/sft/*/gate-*.json")
    need(file, "the gate recorded nothing")
    found = json.loads(file.read_text(encoding="utf-8")) if file else {}
    return {
        "gate_seconds": found["seconds"],
        "gate_ready_seconds": max(found["ready_seconds"].values()),
        "gb_per_s": found["allreduce"]["all"],
        "transport": found["transport"],
        "sockets_set": " ".join(f"{name}={value}" for name, value in found["sockets"].items()),
        "warnings": "; ".join(f"{node}: {text}" for node, each in found["warnings"].items()
                              for text in each) or None,
    }  # fmt: skip


def _use(run: Path) -> dict[str, Any]:
    """What the nodes of the last attempt recorded of their GPUs."""
    files = sorted(run.glob(".mnrun/sft/*/gpus-*.json"))
    need(files, "no use of GPUs was recorded")
    gpus = [gpu for file in files for gpu in json.loads(file.read_text(encoding="utf-8"))["gpus"]]
    return {
        "gpu_use_percent": round(sum(gpu["busy_percent"] for gpu in gpus) / len(gpus), 1),
        "gpu_memory_mib": max(gpu["memory_mib"] for gpu in gpus),
        "gpu_samples": max(gpu["seconds"] for gpu in gpus),
        "record_bytes": max(file.stat().st_size for file in files),
    }


def _stand_in(site: Site) -> Path:
    """A folder of the nodes with the stand-in of nvidia-smi, as they see it."""
    return _program(site, "standin", STAND_IN)


def _program(site: Site, name: str, text: str) -> Path:
    """The same for any text in nvidia-smi's place."""
    seen = Path("/home") / site.options.home.name / name
    folder = site.options.home / name
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(text.format(folder=seen), encoding="utf-8")
    (folder / "nvidia-smi").chmod(0o755)
    return seen


@contextlib.contextmanager
def _holder(site: Site) -> Iterator[None]:
    """Meanwhile, a process of another user holds memory of the last node's GPU."""
    node = site.options.compute[-1]
    uid = str(USERS[OTHER_USER])
    enter = ["nsenter", "--target", str(fabric.find_node(site.options, node)), "--mount", "--pid",
             "--net", "--uts", "--ipc", "setpriv", f"--reuid={uid}", f"--regid={uid}",
             "--clear-groups"]  # fmt: skip
    sleep = ["sh", "-c", "echo $$; exec sleep 600"]
    command = [site.python, "-c", HOLDS] if site.options.real else sleep
    process = subprocess.Popen(
        [*enter, *command], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    file = site.options.home / "standin" / node.name
    try:
        pid = process.stdout.readline() if process.stdout else ""
        need(pid.strip().isdigit(), "no process could hold the memory")
        if not site.options.real:
            _stand_in(site)
            file.write_text(pid, encoding="ascii")
        yield
    finally:
        file.unlink(missing_ok=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
