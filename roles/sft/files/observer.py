"""Beside a training, in its job: notices that it stands still, keeps evidence, and ends it.

    observer.py PLAN.json [PID…]

It runs on the node whose log is the training's, as a child of the job's script. To end the training
is to end that script's other children, except for the processes named. Whatever happens to this
program itself, the training continues.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import observer_ranks
from cluster_srun import srun_command, srun_environment
from log_reader import Reader, Step, Tail  # type: ignore[import-not-found]
from observer_guard import Diverged, Guard, bounds
from observer_pace import Pace, Rhythm
from observer_report import diverged_summary, last_lines, sentence, summary
from words import Words, words  # type: ignore[import-not-found]

_TICK = 5.0  # seconds between two looks, at most
_FILES = 500  # of a checkpoint that are looked at
_FOLDERS = 3  # the newest ones
_LOOK = 90.0  # seconds for the evidence of all nodes
_DUMP = 20.0
_GRACE = 40.0  # seconds until SIGKILL
_PATIENCE = 10.0
_EVERY = 20.0  # seconds between two writes of when steps were seen


class Found(NamedTuple):
    """What one look at the training came to."""

    steps: list[Step]
    sure: list[Step]  # those before the last one, of which no other line comes
    total: int | None
    grown: bool  # its logs
    written: bool  # its checkpoints


class Follower:
    """The training's log and its checkpoints, read on from where the last look ended."""

    def __init__(self, logs: list[str], checkpoints: Path, form: Words) -> None:
        self._logs, self._checkpoints = logs, checkpoints
        self._reader, self._counted, self._sure = Reader(form), 0, 0
        self._tail = Tail(logs[0], self._reader)
        self._sizes: list[int] | None = None
        self._files: tuple[Any, ...] | None = None

    def look(self, files: bool) -> Found:
        """What is new. `files`: whether to look at the checkpoints as well."""
        sizes = [Path(log).stat().st_size for log in self._logs]
        grown, self._sizes = sizes != self._sizes, sizes
        steps, sure = self._read()
        written = False
        if files:
            now = signature(self._checkpoints)
            written = self._files is not None and now != self._files
            self._files = now
        return Found(steps, sure, self._reader.total, grown, written)

    def _read(self) -> tuple[list[Step], list[Step]]:
        self._tail.read()
        series: list[Step] = self._reader.steps()
        new, sure = series[self._counted :], series[self._sure : -1]
        self._counted, self._sure = len(series), max(self._sure, len(series) - 1)
        return new, sure


def signature(folder: Path) -> tuple[Any, ...]:
    """Something that changes while a checkpoint is being written. Raises OSError."""
    with os.scandir(folder) as entries:
        own = [one for one in entries if one.is_dir(follow_symlinks=False)]
    newest = sorted(own, key=lambda one: one.stat().st_mtime)[-_FOLDERS:]
    return tuple((one.name, *_files(one.path)) for one in newest)


def _files(folder: str) -> tuple[int, int, float]:
    number, size, latest = 0, 0, 0.0
    for place, _folders, names in os.walk(folder):
        for name in names[: _FILES - number]:
            with contextlib.suppress(FileNotFoundError):  # renamed when it is whole
                about = os.lstat(os.path.join(place, name))  # noqa: PTH118 - called for each file
                number, size = number + 1, size + about.st_size
                latest = max(latest, about.st_mtime)
    return number, size, latest


class Looks:
    """Looks in a thread of their own: on a file system that hangs, only they hang."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._asked: queue.Queue[bool] = queue.Queue()
        self._answers: queue.Queue[Found | None] = queue.Queue()
        self._pending = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            files = self._asked.get()
            try:
                self._answers.put(self._follower.look(files))
            except OSError:
                self._answers.put(None)

    def ask(self, files: bool, seconds: float) -> Found | None:
        """The answer to this question, or to an earlier one; None if there is none in time."""
        if not self._pending:
            self._asked.put(files)
        self._pending = True
        with contextlib.suppress(queue.Empty):
            found = self._answers.get(timeout=seconds)
            self._pending = False
            return found
        return None


class Clock:
    """Seconds that passed while this program ran: those of a suspended job do not count."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def passed(self, most: float) -> float:
        """Seconds since the last call, at most `most`."""
        now = time.monotonic()
        seconds, self._last = min(now - self._last, most), now
        return seconds


def guarded(trainer: dict[str, Any]) -> dict[str, Any]:
    """What the trainer prints, with the metrics that only the guard looks at."""
    log = trainer["log"]
    more = {name: {"name": pattern} for name, pattern in (log.get("guard") or {}).items()}
    return {**trainer, "log": {**log, "metrics": {**(log.get("metrics") or {}), **more}}}


def judge(guard: Guard, found: Found) -> Diverged | None:
    """What the new steps say, if that is something bad: of each once the next one has come, as text
    of the user's own code may look like its line."""
    for one in found.sure:
        bad = None if one.validation else guard.take(one.number, one.values, one.broken)
        if bad:
            return bad
    return None


def feed(pace: Pace, found: Found, form: Words) -> None:
    """Take one look into account."""
    if found.steps:
        validated = any(one.validation or _validates(one) for one in found.steps)
        pace.step(found.steps[-1].number, found.total, validated)
    elif found.written or (found.grown and (not pace.steps or not _has_steps(form))):
        # Before the first step, and of a trainer that prints none, each line is a sign.
        pace.sign()


def _validates(step: Step) -> bool:
    return any(name.startswith("val_") for name in step.values)


def _has_steps(form: Words) -> bool:
    return bool(form.step.pattern != "(?!)")


class Job:
    """The job around this program."""

    def __init__(self, spared: list[int]) -> None:
        self._parent, self._spared = os.getppid(), {*spared, os.getpid()}
        self.record = Path(os.environ["MNRUN_RECORD"])
        self.number = os.environ["MNRUN_ATTEMPT"]

    @property
    def is_over(self) -> bool:
        """The job's script has ended."""
        return os.getppid() != self._parent

    def trainer(self) -> list[int]:
        """The processes that are the training's, as the script started them."""
        names = os.listdir("/proc")  # noqa: PTH208 - only the names
        pids = [int(name) for name in names if name.isdigit()]
        return [pid for pid in pids if pid not in self._spared and _parent(pid) == self._parent]

    def end(self) -> None:
        """End the training: what runs on other nodes ends with its srun, or with its driver."""
        for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _PATIENCE)):
            for pid in self.trainer():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    os.kill(pid, signal.SIGCONT)  # a stopped one does not end otherwise
            until = time.monotonic() + seconds
            while self.trainer() and not self.is_over and time.monotonic() < until:
                time.sleep(0.5)

    def on_each_node(self, act: str, seconds: float) -> None:
        """Run a part of observer_evidence.py on each node; without srun, on this one."""
        program = Path(__file__).with_name("observer_evidence.py")
        own = [sys.executable, "-B", str(program), act, str(self.record), self.number]
        nodes = int(os.environ.get("SLURM_JOB_NUM_NODES") or 1)
        step = [*srun_command(nodes, nodes), "--overlap", f"--time={int(seconds // 60) + 1}"]
        if not _run([*step, *own], seconds):
            _run(own, min(seconds, _LOOK / 2))

    def write(self, name: str, text: str) -> None:
        """Write a file of the record; on a file system that hangs, only a thread hangs."""
        writer = threading.Thread(target=self._write, args=(name, text), daemon=True)
        writer.start()
        writer.join(_PATIENCE)

    def _write(self, name: str, text: str) -> None:
        draft = self.record / f".{name}.{os.getpid()}"
        with contextlib.suppress(OSError):
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.record / name)

    def has_diverged(self) -> bool:
        """An earlier attempt of this record has. Unreadable counts as such: one retry at most."""
        try:
            texts = [one.read_text(encoding="utf-8") for one in self.record.glob("stopped-*.json")]
        except OSError:
            return True
        return any('"cause": "diverged"' in text for text in texts)

    def reports(self) -> dict[str, dict[str, Any]]:
        """What the nodes wrote, by their names."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.record.glob(f"stall-{self.number}-*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError):
                report = json.loads(path.read_text(encoding="utf-8"))
                found[report["node"]] = report
        return found


def _parent(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return int(text.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _run(command: list[str], seconds: float) -> bool:
    """Run a program without its output; True if it ended well, in time."""
    null = subprocess.DEVNULL
    try:
        started = subprocess.Popen(
            command, stdin=null, stdout=null, stderr=null, env=srun_environment()
        )
    except OSError:
        return False
    try:
        return started.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        started.kill()
        return False


def stalled(job: Job, pace: Pace, log: str) -> None:
    """Take evidence, and end the training."""
    text = summary(pace)
    say(f"{text} Taking evidence, then the training ends.")
    job.on_each_node("look", _LOOK)
    reports = job.reports()
    where = observer_ranks.suspect(reports)
    with contextlib.suppress(OSError):
        job.write(f"stall-{job.number}-log.json", json.dumps(last_lines(log), indent=1))
    stop(job, "stalled", text, where)
    if observer_ranks.unseen(reports):
        job.on_each_node("dump", _DUMP)
    job.end()


def diverged(job: Job, found: Diverged, guard: Guard, plan: dict[str, Any]) -> None:
    """End the training; once it may be retried with the options that the user named."""
    again = bool(plan["guard"].get("then")) and not job.has_diverged()
    more = {"since": found.step, "last": list(guard.last), "again": again}
    stop(job, "diverged", diverged_summary(found, guard), "", more)
    job.end()


def stop(job: Job, cause: str, text: str, where: str, more: dict[str, Any] | None = None) -> None:
    """Write down why the training ends; it must not end before."""
    content = {"token": os.environ["MNRUN_TOKEN"], "cause": cause, "text": text, "where": where}
    job.write(f"stopped-{job.number}.json", json.dumps({**content, **(more or {})}, indent=1))
    say(" ".join(filter(None, [f"{cause}: {text}", sentence(where)])))


def say(text: str) -> None:
    """One line for the job's log."""
    # The trainer's own line may not be at its end yet.
    print(f"\nmnrun: {text}", file=sys.stderr, flush=True)


class StepTimes:
    """When the first step was seen and when the last one, in a file of the record, for reports.
    The file is up to `_EVERY` seconds behind."""

    def __init__(self, job: Job) -> None:
        self._job, self._written = job, -math.inf
        self._first: list[float] = []

    def take(self, found: Found) -> None:
        """Take one look into account."""
        made = [one.number for one in found.steps if not one.validation]
        if not made:
            return
        now = time.time()
        self._first = self._first or [made[0], now]
        if time.monotonic() - self._written >= _EVERY:
            self._written = time.monotonic()
            content = {"token": os.environ["MNRUN_TOKEN"], "first": self._first,
                       "last": [made[-1], now]}  # fmt: skip
            self._job.write(f"steps-{self._job.number}.json", json.dumps(content))


def rhythm(plan: dict[str, Any]) -> Rhythm:
    """How often it saves and validates; mnrun itself may have chosen the first."""
    every = os.environ.get("MNRUN_SAVE_EVERY", "")
    return Rhythm(int(every) if every.isdigit() else plan.get("saves"), plan.get("validates"))


def main() -> int:
    """Look again and again until the training has ended, or is ended."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job([int(pid) for pid in sys.argv[2:] if pid.isdigit()])
    watch(job, plan, words(guarded(plan["trainer"])))
    return 0


def watch(job: Job, plan: dict[str, Any], form: Words) -> None:
    """Look until the training has ended, or end it."""
    floor = 60.0 * float(plan["minutes"]) or math.inf
    tick = min(_TICK, floor / 10)
    own = f"/proc/{os.getpid()}/fd"
    looks = Looks(Follower([f"{own}/1", f"{own}/2"], Path(plan["path"]), form))
    pace, clock = Pace(floor, float(plan["factor"]), rhythm(plan)), Clock()
    guard = Guard(bounds(plan["guard"])) if plan["guard"] else None
    times = StepTimes(job)
    while not job.is_over:
        time.sleep(tick)
        pace.passes(clock.passed(2 * tick))
        found = looks.ask(pace.quiet > floor / 4, tick)
        bad = judge(guard, found) if guard and found else None
        if bad and guard:
            diverged(job, bad, guard, plan)
            return
        if found:
            feed(pace, found, form)
            times.take(found)
        if pace.stalled and not job.is_over and job.trainer():
            stalled(job, pace, f"{own}/1")
            return


if __name__ == "__main__":
    sys.exit(main())
