"""What nvidia-smi reports of a node's GPUs before a training: memory in use, and faults.

What it does not answer is unknown, and nothing is refused for it. A rank starts the look before it
imports torch, and reads it before it touches its GPU: all memory in use then is someone else's.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
import time
from pathlib import Path
from typing import Mapping, NamedTuple

LIMIT = 1024  # MiB that other processes may hold on a GPU; services that watch it need some hundred
_UNSEEN = 0.1  # of the memory: in use, but by no process that is shown (the driver has some, too)
_SECONDS = 20.0
_PATIENCE = 3.0  # seconds; where a driver hangs, not even SIGKILL ends what asks it
_NAME = 40  # characters of a command
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)")
_BROKEN = {"48", "64", "74", "79", "94", "95", "119", "120"}  # Xids of the hardware
_YES = {"yes", "1"}

_GPUS = "index,uuid,memory.used,memory.total,ecc.errors.uncorrected.volatile.total"
_QUERIES = {
    "gpus": f"--query-gpu={_GPUS}",
    "rows": "--query-remapped-rows=gpu_uuid,remapped_rows.pending,remapped_rows.failure",
    "processes": "--query-compute-apps=gpu_uuid,pid,used_memory,process_name",
}


class Gpu(NamedTuple):
    """One GPU, in MiB."""

    number: str  # nvidia-smi's
    uuid: str
    used: int
    total: int
    errors: str = ""  # uncorrected ones of its memory since the driver started; not always a number


class Holder(NamedTuple):
    """A process that holds memory of a GPU, in MiB."""

    pid: int
    used: int
    command: str
    user: str

    def __str__(self) -> str:
        return f"{self.used:,} MiB by {self.user} (process {self.pid}, {self.command})"


class Findings(NamedTuple):
    """What there is to say of GPUs: what refuses them, and what does not."""

    faults: list[str]
    warnings: list[str]


class Look:
    """The questions to nvidia-smi, which answers in a second or less, on its own."""

    def __init__(self) -> None:
        self._asked: dict[str, subprocess.Popen[bytes]] = {}
        for name, query in _QUERIES.items():
            self._ask(name, ["nvidia-smi", query, "--format=csv,noheader,nounits"])
        if os.environ.get("SLURM_LOCALID", "0") == "0":
            self._ask("kernel", ["dmesg"])

    def _ask(self, name: str, command: list[str]) -> None:
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with contextlib.suppress(OSError):
            self._asked[name] = subprocess.Popen(command, stdin=null, stdout=pipe, stderr=null)

    def answers(self) -> dict[str, str]:
        """What each question was answered with; empty if it was not. All have the same deadline."""
        deadline = time.monotonic() + _SECONDS
        return {name: _answer(asked, deadline) for name, asked in self._asked.items()}


def _answer(asked: subprocess.Popen[bytes], deadline: float) -> str:
    try:
        left = max(0.0, deadline - time.monotonic())
        said = asked.communicate(timeout=left)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        end(asked)
        if asked.stdout:
            asked.stdout.close()
        return ""
    return said if asked.returncode == 0 else ""


def end(asked: subprocess.Popen[bytes]) -> None:
    """End an nvidia-smi, and wait for that only so long."""
    for signal in (asked.terminate, asked.kill):
        signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            asked.wait(_PATIENCE)
            return


def gpus(answer: str) -> list[Gpu]:
    """All GPUs that nvidia-smi shows on this node."""
    rows = (line.split(", ") for line in answer.splitlines())
    return [
        Gpu(row[0], row[1], int(row[2]), int(row[3]), "".join(row[4:5]))
        for row in rows
        if len(row) >= 4 and row[2].isdigit() and row[3].isdigit()
    ]


def of_job(found: list[Gpu], visible: str | None) -> list[Gpu]:
    """Those that CUDA shows to this process, in its order.

    Args:
        found: what nvidia-smi shows.
        visible: CUDA_VISIBLE_DEVICES; None if it is not set.

    Returns:
        The GPUs; none of those that are named in a way that is not known (a part of a GPU).
    """
    if visible is None:
        return found
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [
        gpu
        for name in names
        for gpu in found
        if gpu.number == name or (name.startswith("GPU-") and gpu.uuid.startswith(name))
    ]


def judge(
    answers: Mapping[str, str], chosen: list[Gpu], job: str, proc: Path = Path("/proc")
) -> Findings:
    """What is wrong with GPUs.

    Args:
        answers: nvidia-smi's, and the kernel's log.
        chosen: the GPUs.
        job: Slurm's id of this job, whose own processes do not count.
        proc: where processes are looked up.
    """
    found = Findings([], [])
    for gpu in chosen:
        _memory(found, gpu, answers.get("processes", ""), job, proc)
        _errors(found, gpu, answers)
    for address, number in sorted(set(_XID.findall(answers.get("kernel", "")))):
        if number in _BROKEN:
            found.warnings.append(f"the kernel's log has Xid {number} of the GPU at {address}")
    return found


def _memory(found: Findings, gpu: Gpu, answer: str, job: str, proc: Path) -> None:
    holders, shown = [], 0
    for line in answer.splitlines():
        uuid, pid, used, command = [*line.split(", ", 3), "", "", ""][:4]
        if uuid == gpu.uuid and pid.isdigit() and used.isdigit():
            shown += int(used)
            if _job_of(proc / pid) != job:
                holders.append(_holder(int(pid), int(used), command, proc))
    of = f"GPU {gpu.number}: of {gpu.total:,} MiB, "
    if holders:
        text = of + "and ".join(f"{holder} " for holder in holders) + "are in use"
        heavy = sum(holder.used for holder in holders) > LIMIT
        (found.faults if heavy else found.warnings).append(text)
    unseen = gpu.used - shown
    if unseen > max(LIMIT, _UNSEEN * gpu.total):
        found.faults.append(f"{of}{unseen:,} MiB are in use by processes that you cannot see")
    elif unseen > LIMIT:
        found.warnings.append(f"{of}{unseen:,} MiB are in use by no process that you can see")


def _holder(pid: int, used: int, command: str, proc: Path) -> Holder:
    try:
        user = pwd.getpwuid((proc / str(pid)).stat().st_uid).pw_name
        command = (proc / str(pid) / "comm").read_text("utf-8", "replace").strip() or command
    except (OSError, KeyError):
        user = "a user who is not known here"
    return Holder(pid, used, command[:_NAME] or "?", user)


def _job_of(process: Path) -> str | None:
    """The Slurm job of a process, if this user may know that."""
    try:
        environment = (process / "environ").read_bytes()
    except OSError:
        return None
    found = re.search(rb"(?:^|\0)SLURM_JOB_ID=([^\0]*)", environment)
    return found[1].decode("ascii", "replace") if found else None


def _errors(found: Findings, gpu: Gpu, answers: Mapping[str, str]) -> None:
    if gpu.errors.isdigit() and int(gpu.errors):
        text = f"GPU {gpu.number}: {gpu.errors} uncorrected ECC errors since it started"
        found.warnings.append(text)
    pending, failure = (word.lower() in _YES for word in _rows(answers.get("rows", ""), gpu.uuid))
    if failure:
        found.faults.append(f"GPU {gpu.number}: a faulty row of its memory could not be remapped")
    elif pending:
        found.warnings.append(
            f"GPU {gpu.number}: a row of its memory is remapped by the next reset"
        )


def _rows(answer: str, uuid: str) -> list[str]:
    """Whether rows of a GPU's memory are to be remapped, and whether one could not; empty words if
    that is not known."""
    rows = (line.split(", ") for line in answer.splitlines())
    return next((row[1:] for row in rows if row[0] == uuid and len(row) == 3), ["", ""])


def look(only: int | None = None, begun: Look | None = None) -> Findings:
    """The findings about the GPUs that this job has on this node, or about one of them by CUDA's
    number."""
    answers = (begun or Look()).answers()
    chosen = of_job(gpus(answers.get("gpus", "")), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if only is not None:
        chosen = chosen[only : only + 1]
    return judge(answers, chosen, os.environ.get("SLURM_JOB_ID", ""))
