"""The job that looks at the nodes: submitted, watched, and ended before its folder goes."""

from __future__ import annotations

import select
import shutil
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, Mapping

from ..base.clock import Clock, Deadline
from ..base.errors import MnrunError
from ..base.finding import FAULT, WARNING, Finding
from ..slurm.client import SlurmClient, lost, own_words
from ..slurm.directives import with_directives
from ..slurm.parse import PHASE_OF, Row, parse_submitted

_PAUSE = 1.0  # seconds
_LATE = 60.0  # seconds in which a job shows whose sbatch lost its connection
_END = 90.0  # seconds for a cancelled job to end: KillWait is 30, and then there are epilogs
_TRIES = 5  # to remove a folder of which another node may still hold a file
_ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class Interrupted(MnrunError):  # noqa: N818 - not an error of anything
    """The controller is gone, or wants this to end."""


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Signals that would end this process, or sbatch and scancel below it, wait until the function
    is called, which then raises Interrupted: what was begun is known, and is cleaned up. The
    function does so, too, if no one reads this process's answer any more."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    output = select.poll()
    output.register(1, select.POLLERR | select.POLLHUP)

    def look() -> None:
        came = signal.sigtimedwait(_ENDING, 0)
        if came:
            raise Interrupted(f"ended by {signal.Signals(came.si_signo).name}")
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
            raise Interrupted("the controller is gone")

    try:
        yield look
    finally:
        while signal.sigtimedwait(_ENDING, 0):
            pass  # all is cleaned up, and this process is about to end
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class TrialJob:
    """One job, whose name no other job has."""

    def __init__(self, name: str, client: SlurmClient, clock: Clock) -> None:
        self._name, self._client, self._clock = name, client, clock
        self._id = self._cluster = ""  # once they are known
        self._over = False
        self._row: Row | None = None  # as last seen

    def submit(self, script: str, options: Mapping[str, str]) -> Finding | None:
        """What kept the job from being submitted, if anything did."""
        given = with_directives(script, {**options, "job-name": self._name})
        done = self._client.sbatch(["--parsable", "--no-requeue"], given)
        job = parse_submitted(done.out) if done.code == 0 else None
        self._id, self._cluster = job[:2] if job else ("", options.get("clusters", ""))
        said = " ".join(own_words("sbatch", done).split())[:300] or "sbatch did not answer"
        if not self._id and (done.code == 0 or lost(done)):
            self._id = self._by_name()
            text = (
                f"Slurm did not say whether it took the job that looks at the nodes ({said}), and"
                f" shows none yet; if there is one later, end it:  scancel --name={self._name}"
            )
        else:
            text = f"Slurm refuses the job that looks at the nodes: {said}"
        return None if self._id else Finding(FAULT, "nodes", text)

    def _by_name(self) -> str:
        """The job, where sbatch's answer got lost; empty if none shows."""
        deadline = Deadline(self._clock, _LATE)
        while True:
            try:
                rows = self._client.queue(self._cluster).rows or []
            except MnrunError:
                return ""
            named = [row.job_id for row in rows if row.name == self._name]
            if named or deadline.over():
                return named[0] if named else ""
            deadline.pause(_PAUSE)

    def ended(self, seconds: float, look: Callable[[], None] = lambda: None) -> bool:
        """Wait for its end; whether it came in time. Calls `look` again and again."""
        deadline = Deadline(self._clock, seconds)
        while not self._over and not deadline.over():
            look()
            self._look()
            if not self._over:
                deadline.pause(_PAUSE)
        return self._over

    def _look(self) -> None:
        rows = self._client.show(self._id, self._cluster).rows
        self._row = rows[0] if rows else self._row
        self._over = rows is not None and (not rows or rows[0].phase.ended)

    def unlooked(self, seconds: float) -> Finding:
        """That it did not end within `seconds`."""
        row = self._row or Row("", "PENDING")
        waits = row.phase is PHASE_OF["PENDING"]
        why = f"still waits ({row.reason})" if waits else f"has not ended (it is {row.state})"
        text = f"the job that looks at the nodes {why} after {seconds:.0f} s, so they were not"
        return Finding(WARNING, "nodes", f"{text} looked at: try again, or with -e mnrun_nodes=1")

    def remove(self, folder: Path) -> Finding | None:
        """End the job, wait until it writes no more, and remove its folder. What stays, if
        anything does."""
        left = self._cancelled()
        for _ in range(_TRIES):
            shutil.rmtree(str(folder), ignore_errors=True)
            if not folder.exists():
                break
            self._clock.sleep(_PAUSE)
        else:
            left += f"{'; ' if left else ''}{folder} could not be removed; remove it by hand"
        return Finding(WARNING, "nodes", left) if left else None

    def _cancelled(self) -> str:
        """Cancel the job if there is one; why it may still run, if it may."""
        if not self._id or self._over:
            return ""
        deadline, failed, over = Deadline(self._clock, _END), "not cancelled", False
        with suppress(MnrunError):  # a command is gone: the folder goes all the same
            while failed and not over and not deadline.over():
                failed = self._client.cancel(self._id, self._cluster, "")
                over = self.ended(_PAUSE if failed else deadline.left())
        if over:
            return ""
        why = failed or f"{_END:.0f} s after it was cancelled"
        return f"the job that looks at the nodes has not ended ({why}):  scancel {self._id}"
