"""Which checkpoints of a training stay: the newest ones, the best one, every Nth.

    python keep.py PLAN.json

verl itself knows only the newest ones, so it keeps all, and this program runs beside it in the
job, on the node whose log is the training's. So whatever happens here, nothing that is to stay is
lost; there may be too many for a while. The last check is at the training's end (SIGTERM).

A checkpoint goes only once a newer one is finished, by the trainer's own word, and, where the best
one is to stay, once its validation result is in the log. Folders are renamed before they
are deleted: what is half gone never looks like a checkpoint.

Standard library only: jobs carry a copy of this file and of words.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import threading
import types
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

if __package__:
    from .words import METRICS, TRACKER, metric, step_folder, step_line, step_of
else:  # in a job, which carries both files
    from words import (  # type: ignore[import-not-found, no-redef]
        METRICS,
        TRACKER,
        metric,
        step_folder,
        step_line,
        step_of,
    )

PACE = 10.0  # seconds between two looks
MARKER = ".mnrun.json"  # whose checkpoints these are
JUDGED = ".mnrun-validated.json"  # what the validations came to, for the attempts to come
GOING = ".mnrun-deleting."
_BLOCK = 1 << 20  # bytes

Judged = Dict[int, Optional[float]]  # None: it was not validated


class Rule(NamedTuple):
    """What stays. `metric`: the one of words.METRICS that tells which is the best."""

    newest: int = 2
    best: bool = False
    every: int = 0  # 0: no others
    metric: str = ""


def surplus(rule: Rule, steps: List[int], finished: int, judged: Judged) -> List[int]:  # noqa: UP006
    """Those of `steps` that go. What is not finished yet, or not judged yet, stays."""
    done = sorted(step for step in steps if step <= finished)
    stay: Set[int] = set(done[-max(1, rule.newest) :])  # noqa: UP006 - Python 3.8
    if rule.every:
        stay.update(step for step in done if step % rule.every == 0)
    if rule.best:
        stay.update(step for step in done if step not in judged)
        stay.update(best_of(rule, done, judged))
    return [step for step in done if step not in stay]


def best_of(rule: Rule, steps: List[int], judged: Judged) -> List[int]:  # noqa: UP006 - Python 3.8
    """The best of `steps` that were validated; the newest of several; none if none was."""
    sign = -1 if METRICS[rule.metric].lower else 1
    scored = [(sign * value, step) for step, value in judged.items() if value is not None]
    among = [pair for pair in scored if pair[1] in steps]
    return [max(among)[1]] if among else []


class Log:
    """The training's log, read on from where the last look ended."""

    def __init__(self, path: str, metric_name: str) -> None:
        self.first: Optional[int] = None  # noqa: UP045 - Python 3.8
        self.last = -1
        self.values: Dict[int, float] = {}  # noqa: UP006 - Python 3.8
        self._path, self._offset, self._metric = path, 0, metric_name

    def read(self) -> None:
        """Take in the whole lines that are new."""
        with open(self._path, "rb") as stream:  # noqa: PTH123 - a link of /proc
            stream.seek(self._offset)
            while True:
                block = stream.read(_BLOCK)
                whole = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
                if not whole and len(block) == _BLOCK:
                    whole = _BLOCK  # a line without an end is not one of the trainer
                if not whole:
                    return
                self._take(block[:whole])
                self._offset += whole
                stream.seek(self._offset)

    def _take(self, block: bytes) -> None:
        for line in re.split(r"[\r\n]", block.decode("utf-8", "replace")):
            found = step_line(line)
            if not found:
                continue
            step, value = found[0], metric(self._metric, found[1])
            if value is not None:
                self.values[step] = value
            self.first = step if self.first is None else self.first
            self.last = max(self.last, step)

    def judge(self, steps: List[int], over: bool) -> Judged:  # noqa: UP006 - Python 3.8
        """What is definitely known of `steps`: a validation comes before the next step's line."""
        first = self.last + 1 if self.first is None else self.first
        known = [step for step in steps if first <= step < self.last + over]
        return {step: self.values.get(step) for step in known}


class Keeper:
    """The folder of a training's checkpoints, and what is known of them."""

    def __init__(self, path: Path, rule: Rule, log: str) -> None:
        self._path, self._rule, self._log = path, rule, Log(log, rule.metric)
        self._owner = _text(path / MARKER)
        self._judged: Judged = _judged(path)

    def look(self, over: bool = False) -> List[int]:  # noqa: UP006 - Python 3.8
        """Delete what is not to stay; return those steps."""
        if _text(self._path / MARKER) != self._owner:
            return []  # another spec's folder by now: nothing here is ours
        names = [folder.name for folder in self._path.iterdir()]
        steps = [step for step in map(step_of, names) if step is not None]
        if self._rule.best:
            self._log.read()
            self._remember(steps, over)
        tracked = _text(self._path / TRACKER).strip()
        finished = int(tracked) if tracked.isdigit() else -1
        going = surplus(self._rule, steps, finished, self._judged)
        for step in going:
            name = step_folder(step)
            (self._path / name).rename(self._path / f"{GOING}{name}")
        for folder in self._path.glob(f"{GOING}*"):
            shutil.rmtree(str(folder))
        if going or over:
            left = sorted(set(steps) - set(going))
            best = best_of(self._rule, left, self._judged) if self._rule.best else []
            names_left = ", ".join(f"{step}{' (best)' if step in best else ''}" for step in left)
            # The trainer's own line may not be at its end yet.
            gone = f"; deleted: {', '.join(map(str, going))}" if going else ""
            say(f"\nmnrun: checkpoints that stay: {names_left}{gone}")
        return going

    def _remember(self, steps: List[int], over: bool) -> None:  # noqa: UP006 - Python 3.8
        known = {**self._judged, **self._log.judge(steps, over)}
        known = {step: value for step, value in known.items() if step in steps}
        if known != self._judged:
            part = self._path / f"{JUDGED}.part"
            part.write_text(json.dumps(known), encoding="utf-8")
            part.replace(self._path / JUDGED)
        self._judged = known


def say(text: str) -> None:
    """Print a line to the training's log."""
    print(text, flush=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _judged(path: Path) -> Judged:
    try:
        known = json.loads(_text(path / JUDGED))
        return {int(step): None if value is None else float(value) for step, value in known.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def main() -> int:
    """Look again and again until the training has ended, or is gone."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    path = Path(plan.pop("path"))
    numbers = {name: int(plan[name]) for name in ("newest", "every") if name in plan}
    keeper = Keeper(path, Rule(**{**plan, **numbers}), f"/proc/{os.getpid()}/fd/1")
    parent, over = os.getppid(), threading.Event()

    def end(_number: int, _frame: Optional[types.FrameType]) -> None:  # noqa: UP045 - Python 3.8
        over.set()

    signal.signal(signal.SIGTERM, end)
    troubled = ""
    while os.getppid() == parent:
        last = over.is_set()
        try:
            keeper.look(over=last)
        except OSError as error:
            if str(error) != troubled:
                say(f"\nmnrun: checkpoints could not be deleted, so more stay: {error}")
            troubled = str(error)
        if last:
            return 0
        over.wait(PACE)
    return 1


if __name__ == "__main__":
    sys.exit(main())
