"""A process on a login node as a backend of the stage logic: for relays where no job may be one.

Its id names it for ever: host, process id, the kernel's time of its start, and the boot. It is
asked about on its own host; other hosts see only what it writes.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..base.clock import Clock
from ..base.errors import Rejected, Unknown
from ..base.presence import read_text, seen
from ..base.process import clean_environment, find_tool
from ..base.sessions import OWN_START, begin, processes, stat_of
from ..record.contract import GONE, Attempt, Found, JobRef, Observation, Phase, Stray
from ..record.job_report import read_end, read_start
from ..record.recorder import with_end_recorder
from ..record.witness import forget

FRESH = 120.0  # seconds after a heartbeat in which a process of another host counts as alive
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAME = re.compile(r"(?P<host>.+)\.(?P<pid>\d+)\.(?P<start>\d+)\.(?P<boot>[0-9a-f]{8})")
_OWN_NAME = f'"$(uname -n).$$.{OWN_START}.$(cut -c-8 /proc/sys/kernel/random/boot_id)"'


class Name(NamedTuple):
    """What identifies a process."""

    host: str
    pid: int
    start: int  # in the kernel's ticks since the boot
    boot: str

    @property
    def job(self) -> JobRef:
        """As the id of a job."""
        return JobRef(".".join(map(str, self)))


def parse(job_id: str) -> Name | None:
    """The process that an id names; None if it is not such an id."""
    found = _NAME.fullmatch(job_id)
    if found is None:
        return None
    return Name(found["host"], int(found["pid"]), int(found["start"]), found["boot"])


@dataclass(frozen=True)
class Program:
    """What is started."""

    run_dir: Path
    stage: str
    script: str = ""
    output: str = ""


class ProcessBackend:
    """Carries out and reports; see `contract.Backend`."""

    noun = "process"
    quiet_window = 30.0

    def __init__(self, program: Program, clock: Clock) -> None:
        self._program = program
        self._clock = clock

    def attempt_name(self, base: str, fingerprint: str, number: int) -> str:
        """For messages only."""
        return f"{base}-{fingerprint[:8]}-{number}"

    def files(self, folder: Path, attempt: Attempt) -> dict[str, str]:
        """The script."""
        return {"script.sh": with_end_recorder(self._program.script, folder, attempt, _OWN_NAME)}

    def check(self, folder: Path, attempt: Attempt) -> float | None:  # noqa: ARG002
        """It begins at once."""
        return None

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Start it in a session of its own, which survives the login."""
        where = Path(find_tool("squeue")).parent
        self._name_logs(attempt)
        try:
            pid = self._begin(folder / "script.sh", clean_environment(str(where)))
        except OSError as error:
            raise Rejected(f"The process could not be started: {error}.") from error
        about = stat_of(pid)
        return Name(_host(), pid, about.start if about else 0, _boot()).job

    def _begin(self, script: Path, environment: dict[str, str]) -> int:
        begins = ["/bin/bash", "-c", 'cd "$1" && exec bash "$2"', "bash"]
        command = [*begins, str(self._program.run_dir), str(script)]
        return begin(command, environment, self._program.output, self._program.output, 0o600).pid

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """It claims its attempt first of all; one that has not yet cannot any more later on."""
        self._name_logs(attempt)
        return Found(True, read_start(folder, attempt))

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """What it wrote at its end, then the kernel; on another host, its heartbeat."""
        name = parse(attempt.job_id)
        if name is None:
            return Observation(Phase.UNKNOWN, detail="it is not a process of a login node")
        seen_now = read_end(folder, attempt) or self._living(folder, name, attempt)
        # It may have ended by itself between the two.
        ended = read_end(folder, attempt) if seen_now.phase is Phase.GONE else None
        return replace(_told(ended or seen_now, attempt), nodes=name.host)

    def _living(self, folder: Path, name: Name, attempt: Attempt) -> Observation:
        if name.host != _host():
            return self._from_afar(folder, name)
        if attempt.submitted_by not in (None, os.geteuid()):
            detail = f"it belongs to the user with uid {attempt.submitted_by}, and may be hidden"
            return Observation(Phase.UNKNOWN, detail=detail, advice="let that user run this")
        if name.boot != _boot():
            return Observation(Phase.GONE, GONE, f"{name.host} was restarted")
        if _processes(name):
            return Observation(Phase.RUNNING, "RUNNING")
        return Observation(Phase.GONE, GONE, "it was killed, perhaps as its user logged out")

    def _from_afar(self, folder: Path, name: Name) -> Observation:
        beat = self._program.run_dir / ".mnrun" / "relay" / "heartbeat"
        about = seen(beat.stat)
        age = self._clock.now() - about.st_mtime if about else None
        if age is not None and abs(age) < FRESH and read_text(beat) == name.job.job_id:
            return Observation(Phase.RUNNING, "RUNNING")
        since = "none" if age is None else f"the last one {age / 60:.0f} min ago"
        return Observation(
            Phase.UNKNOWN,
            detail=f"the relay is on {name.host}, and this is {_host()}; signs of life: {since}",
            advice=f"run this on {name.host}; if that no longer exists, {forget(folder)}",
        )

    def stop(self, attempt: Attempt, signal: str) -> None:
        """Send TERM to the script, which passes it on; without the script, to what it left."""
        del signal
        name = parse(attempt.job_id)
        if name is None or name.host != _host():
            where = name.host if name else "the host on which it runs"
            raise Unknown(
                f"The relay is on {where}, and can be stopped only there: run this there."
            )
        _end(_processes(name))

    def slurm_name(self) -> str:
        """No Slurm knows it."""
        return ""

    def live_jobs(self, base: str) -> list[Stray]:  # noqa: ARG002
        """A process without a record ends by itself, as it cannot claim its attempt."""
        return []

    def enclosing_end(self, attempt: Attempt) -> Observation | None:  # noqa: ARG002
        """It does not run inside a job."""
        return None

    def lost_nodes(self, attempt: Attempt) -> list[str]:  # noqa: ARG002
        """It has none."""
        return []

    def spare(self, nodes: list[str]) -> list[str]:  # noqa: ARG002
        """It asks for none."""
        return []

    def _name_logs(self, attempt: Attempt) -> None:
        attempt.stdout = attempt.stderr = self._program.output


def _told(seen_now: Observation, attempt: Attempt) -> Observation:
    """An observation in the words of a process's end."""
    if not seen_now.phase.ended or seen_now.phase is Phase.SUCCEEDED:
        return seen_now
    if attempt.cancelled_by:
        return replace(seen_now, phase=Phase.CANCELLED, state="CANCELLED")
    if seen_now.exit_code == 128 + signal.SIGTERM:
        return replace(seen_now, reason="it was sent TERM, as when its host is shut down")
    return seen_now


def _host() -> str:
    return os.uname().nodename


def _boot() -> str:
    return (read_text(_BOOT) or "")[:8]


def _processes(name: Name) -> list[int]:
    return processes(name.pid, name.start)


def _end(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGTERM)
