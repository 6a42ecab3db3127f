"""Runs of W&B that were logged offline, sent from this machine: each once, and all of it.

W&B writes a marker beside a file that it has sent. Its program ends with exit code 0 also where it
sent nothing, and writes the marker also where the data was refused, which only its output says. It
writes none for a file without an end, as of a killed job: that one gets a marker of ours. What was
interrupted it resumes by its own notes.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from ..base.clock import Clock, Deadline
from ..base.errors import Invalid
from ..base.presence import names
from ..base.process import clean_environment, end_group
from ..base.text import printable
from ..record.contract import Phase
from ..slurm.client import SlurmClient
from .training_runs import TrainingRun, described

_SHELL = 'source "$1" > /dev/null || exit 3; shift; export WANDB_MODE=online; exec "$@"'
_NOT_ACTIVE, _SILENT = 3, 4
# Any answer will do, even an error; through a proxy if the environment has one.
_ASK = f"""
import os, sys, urllib.error, urllib.request
url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
try:
    urllib.request.build_opener().open(url, timeout=10)
except urllib.error.HTTPError:
    pass
except OSError as error:
    print(f"{{url}} does not answer on {{os.uname().nodename}}: {{error}}")
    sys.exit({_SILENT})
"""
_ASKING = 60.0  # seconds
_ONE = 1800.0  # seconds for one run
_EARLY = 60.0  # seconds that the clocks of nodes may differ
_SHOWN = 3  # lines of W&B's output
_REFUSED = re.compile(r"Fatal error while uploading|will not be synced", re.IGNORECASE)


class Offline(NamedTuple):
    """A run that W&B kept offline."""

    run: TrainingRun
    stage: str
    file: Path

    def __str__(self) -> str:
        return f"{self.run.name} {self.stage} {self.file.parent.name}"


class Found(NamedTuple):
    """What there is of a run: to be sent, sent before, and still written by a job."""

    waiting: list[Offline]
    sent: list[Offline]
    growing: list[Offline]


def offline_runs(run: TrainingRun, client: SlurmClient, clock: Clock) -> Found:
    """The offline runs of all attempts of a run. Raises OSError."""
    found = Found([], [], [])
    for entry in described(run, client, clock)["stages"]:
        for one in _of_stage(run, entry["stage"], str((entry["job"] or {}).get("stdout") or "")):
            if is_sent(one.file):
                found.sent.append(one)
            elif _is_growing(one.file, entry["job"]):
                found.growing.append(one)
            else:
                found.waiting.append(one)
    return found


def _of_stage(run: TrainingRun, stage: str, log: str) -> Iterator[Offline]:
    for folder in stage_folders(run.path, stage, log):
        kept = folder / "wandb"
        for name in sorted(name for name in names(kept) if name.startswith("offline-run-")):
            files = [one for one in names(kept / name) if one.endswith(".wandb")]
            yield from (Offline(run, stage, kept / name / one) for one in files)


def stage_folders(run_dir: Path, stage: str, log: str) -> list[Path]:
    """Where a stage's trackers write: its usual folder, and the one that it has by its log."""
    usual, by_log = run_dir / stage, Path(log).parents
    own = [by_log[1]] if log and len(by_log) > 1 and by_log[0].name == "logs" else []
    return [usual, *(folder for folder in own if folder != usual)]


def _marker(file: Path) -> Path:
    return file.with_name(f"{file.name}.synced")


def _own_marker(file: Path) -> Path:
    return file.with_name(f"{file.name}.sent")


def is_sent(file: Path) -> bool:
    """Whether a file has been sent as it is now."""
    written = file.stat().st_mtime
    return any(_moment(marker(file)) >= written for marker in (_marker, _own_marker))


def _moment(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("-inf")


def _is_growing(file: Path, job: Mapping[str, Any] | None) -> bool:
    """Whether a job that is not over may still write a file."""
    if not job or Phase(job["phase"]).ended:
        return False
    return bool(file.stat().st_mtime >= (job["start"] or 0) - _EARLY)


def why_silent(activate: Path, secret: Mapping[str, str]) -> str:
    """Why W&B cannot be reached from here; empty if it can. Raises Invalid where the environment
    cannot be activated."""
    code, lines = _run(activate, ["python", "-c", _ASK], secret, _ASKING)
    text = _end(lines)
    if code == _NOT_ACTIVE:
        raise Invalid(f"The training environment cannot be activated ({activate}): {text}")
    return "" if code == 0 else text or f"W&B does not answer within {_ASKING:.0f} s"


def send(one: Offline, activate: Path, secret: Mapping[str, str], deadline: Deadline) -> str:
    """Send a run; why it was not sent, or nothing."""
    again = ["--include-synced"] if _marker(one.file).exists() else []
    command = ["python", "-m", "wandb", "sync", *again, str(one.file.parent)]
    limit = min(_ONE, max(1.0, deadline.left()))
    before = one.file.stat().st_mtime
    code, lines = _run(activate, command, secret, limit)
    refused = [line for line in lines if _REFUSED.search(line)]
    if refused:
        _marker(one.file).unlink(missing_ok=True)
        return f"W&B took only a part of it: {_end(refused)}"
    if one.file.stat().st_mtime != before:
        return "it was written meanwhile; run this again"
    if not is_sent(one.file) and code == 0 and any(map(_says_cut, lines)):
        _own_marker(one.file).touch()
    if is_sent(one.file):
        return ""
    if code is None:
        return f"not sent within {limit:.0f} s; the next time resumes it"
    return f"W&B did not send it: {_end(lines) or f'exit code {code}'}"


def _says_cut(line: str) -> bool:
    """Whether W&B has sent a file up to where it ends too early: newer versions, older ones."""
    return "incomplete record" in line or line.rstrip().endswith("done.")


def _end(lines: list[str]) -> str:
    return "\n".join(lines[-_SHOWN:])


def _text(value: Any) -> str:
    """What there was of an output, which comes as bytes if its program was ended."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _run(
    activate: Path, command: list[str], secret: Mapping[str, str], limit: float
) -> tuple[int | None, list[str]]:
    """A command's exit code (None if it took too long) and the lines of its output, without the
    key."""
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-c", _SHELL, "mnrun", str(activate), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean_environment("/usr/bin"), **secret},
        universal_newlines=True,
        errors="replace",
        start_new_session=True,
    )
    code: int | None = None
    try:
        out, _ = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired as error:
        out = _text(error.stdout)
    finally:
        end_group(process)
    for value in secret.values():
        out = out.replace(value, "…")
    return code, [printable(line) for line in out.splitlines() if line.strip()]
