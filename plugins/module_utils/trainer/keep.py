"""Which checkpoints of a training stay: the newest ones, the best one, every Nth.

    python keep.py PLAN.json

A trainer itself knows only the newest ones, so it keeps all, and this program runs beside it in
the job, on the node whose log is the training's. So whatever happens here, nothing that is to stay
is lost; there may be too many for a while. The last check is at the training's end (SIGTERM).

What is complete is seen on disk, file by file; the trainer's tracker only says what is not being
written any more. A checkpoint goes only if two complete ones stay, and, where the best one is to
stay, once its validation result is in the log. Only folders with the exact name of a step are
touched, never a link. They are renamed before they are deleted: what is half gone never looks like
a checkpoint.

Standard library only: jobs carry a copy of this file and of those that it imports.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sys
import threading
import types
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, NamedTuple, Optional, Sequence

if __package__:
    from ..base.presence import is_dir, names, read_text
    from .log_reader import Reader, Tail
    from .whole import step_faults
    from .words import Words, tracked_step, words
else:  # in a job, which carries these files
    from log_reader import Reader, Tail  # type: ignore[import-not-found, no-redef]
    from presence import is_dir, names, read_text  # type: ignore[import-not-found, no-redef]
    from whole import step_faults  # type: ignore[import-not-found, no-redef]
    from words import (  # type: ignore[import-not-found, no-redef]
        Words,
        tracked_step,
        words,
    )

PACE = 10.0  # seconds between two looks
MARKER = ".mnrun.json"  # whose checkpoints these are
JUDGED = ".mnrun-validated.json"  # what the validations came to, for the attempts to come
GOING = ".mnrun-deleting."
_NUMBERED = re.compile(r"(.+?)(?:-[0-9]{1,3})?")  # what is put away, perhaps not the first
_FEWEST = 2  # complete checkpoints that stay in any case

Judged = Dict[int, Optional[float]]  # None: it was not validated


class Rule(NamedTuple):
    """What stays. `metric`: the one that tells which is the best."""

    newest: int = 2
    best: bool = False
    every: int = 0  # 0: no others
    metric: str = ""
    lower: bool = True  # the best one is the lowest


def surplus(
    rule: Rule,
    steps: Sequence[int],
    finished: int,
    judged: Judged,
    whole: Sequence[int] | None = None,
) -> list[int]:
    """Those of `steps` that go. Only those that are `whole` (None: all) count, or go at all: what
    else is there is not known to be a checkpoint. Two stay in any case."""
    done = sorted(step for step in steps if step <= finished)
    sound = [step for step in done if whole is None or step in whole]
    stay = set(sound[-max(1, rule.newest) :])
    if rule.every:
        stay.update(step for step in sound if step % rule.every == 0)
    if rule.best:
        stay.update(step for step in sound if step not in judged)
        stay.update(best_of(rule, sound, judged))
    others = [step for step in sound if step not in stay]
    return others[: max(0, len(sound) - _FEWEST)]


def best_of(rule: Rule, steps: Iterable[int], judged: Judged) -> list[int]:
    """The best of `steps` that were validated; the newest of several; none if none was."""
    sign = -1 if rule.lower else 1
    values = [(judged.get(step), step) for step in steps]
    scored = [(sign * value, step) for value, step in values if value is not None]
    return [max(scored)[1]] if scored else []


class Log:
    """The training's log, read on from where the last look ended."""

    def __init__(self, path: str, metric: str, form: Words) -> None:
        self._metric, self._reader = metric, Reader(form)
        self._tail = Tail(path, self._reader)

    def read(self) -> None:
        """Take in the whole lines that are new."""
        self._tail.read()

    def judge(self, steps: Iterable[int], over: bool) -> Judged:
        """What is definitely known of `steps`: a validation comes before the next step's line."""
        if over:
            self._reader.close()
        series = self._reader.steps()
        # A jump at the end is not believed before another line bears it out.
        if len(series) > 1 and series[-1].number > series[-2].number + 1:
            series.pop()
        if not series:
            return {}
        first, last = series[0].number, series[-1].number
        known: Judged = {step: None for step in steps if first <= step < last + over}
        for line in series:
            if line.number in known and self._metric in line.values:
                known[line.number] = line.values[self._metric]
            elif self._metric in line.contested:
                known.pop(line.number, None)
        return known


class Keeper:
    """The folder of a training's checkpoints, and what is known of them. `parts`, `hf` and `form`:
    what makes one complete, see whole.py."""

    def __init__(
        self,
        path: Path,
        rule: Rule,
        log: str,
        parts: Sequence[str] = (),
        hf: bool = False,
        form: Words | None = None,
    ) -> None:
        self._form = form or words({})
        if rule.metric in self._form.metrics:
            rule = rule._replace(lower=self._form.metrics[rule.metric].lower)
        self._path, self._rule, self._log = path, rule, Log(log, rule.metric, self._form)
        self._parts, self._hf, self._roots = parts, hf, self._form.roots(path, parts)
        self._judged: Judged | None = None
        self._facts: tuple[Any, ...] = ()  # of the last look
        self.troubles: list[str] = []  # what it could not see or delete
        self._owner: str | None = None  # not known yet
        self._try(lambda: setattr(self, "_owner", self._marker()))

    def look(self, over: bool = False) -> list[int]:
        """Delete what is not to stay; return those steps. Raises OSError if the folder cannot be
        read."""
        self.troubles = []
        there = {name for root in self._roots for name in self._folders(root)}
        steps = sorted(step for step in map(self._form.step_of, there) if step is not None)
        if not self._is_ours():
            return []  # another spec's folder by now: nothing here is ours
        judged = self._judge(steps, over) if self._rule.best else {}
        finished = self._finished(steps, over)
        whole = self._whole(steps) if over or self._is_news(steps, finished, judged) else []
        going = surplus(self._rule, steps, finished, judged, whole)
        gone = [step for step in going if self._put_away(step)]
        self._delete()
        if gone or over:
            left = [step for step in steps if step not in gone]
            best = best_of(self._rule, whole, judged) if self._rule.best else []
            _report(left, best, gone)
        return gone

    def _finished(self, steps: list[int], over: bool) -> int:
        """The newest step that is not being written any more; -1 if that is not known."""
        if self._form.tracker:
            texts = (read_text(root / self._form.tracker) for root in self._roots)
            return min(tracked_step(text, self._form) or -1 for text in texts)
        return steps[-1] if steps and over else steps[-2] if len(steps) > 1 else -1

    def _folders(self, root: Path) -> list[str]:
        """The names of the folders there. A link is not ours, wherever it leads to."""
        if root != self._path and not is_dir(root):
            return []  # a part that the trainer has not begun
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def _marker(self) -> str:
        return read_text(self._path / MARKER) or ""

    def _is_ours(self) -> bool:
        marker = self._marker()
        self._owner = marker if self._owner is None else self._owner
        return bool(marker) and marker == self._owner

    def _is_news(self, *facts: Any) -> bool:
        """Whether something may go by these facts, and would not have gone before: else the file
        system is spared the look at every file."""
        before, self._facts = self._facts, facts
        return bool(surplus(self._rule, *facts)) and facts != before

    def _whole(self, steps: list[int]) -> list[int]:
        """Those of `steps` that are complete; troubles with the others are noted."""
        faults: dict[int, list[str]] = {}
        for step in steps:
            self._try(partial(self._judge_files, step, faults))
        if self.troubles:
            self._facts = ()
        return [step for step in steps if faults.get(step) == []]

    def _judge_files(self, step: int, faults: dict[int, list[str]]) -> None:
        faults[step] = step_faults(
            self._path / self._form.step_folder(step), self._parts, self._hf, self._form
        )

    def _put_away(self, step: int) -> bool:
        name = self._form.step_folder(step)
        holding = [root for root in self._roots if name in names(root)]
        done = [self._try(partial(_put_away, root, name)) for root in holding]
        return all(done)

    def _delete(self) -> None:
        """Delete what was put away, now or by a program that did not get to it."""
        for root in self._roots:
            for name in filter(self._is_put_away, self._folders(root)):
                self._try(partial(shutil.rmtree, str(root / name)))

    def _is_put_away(self, name: str) -> bool:
        match = _NUMBERED.fullmatch(name[len(GOING) :]) if name.startswith(GOING) else None
        return match is not None and self._form.step_of(match.group(1)) is not None

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except OSError as error:
            self.troubles.append(str(error))
            return False
        return True

    def _judge(self, steps: list[int], over: bool) -> Judged:
        """The validations of `steps`: the first value that was found for each."""
        known = _judged(self._path) if self._judged is None else self._judged
        self._log.read()
        values = {step: value for step, value in known.items() if value is not None}
        found = {**known, **self._log.judge(steps, over), **values}
        self._judged = {step: value for step, value in found.items() if step in steps}
        if self._judged != known:
            self._try(self._note)
        return self._judged

    def _note(self) -> None:
        part = self._path / f"{JUDGED}.part"
        part.write_text(json.dumps(self._judged), encoding="utf-8")
        part.replace(self._path / JUDGED)


def _put_away(root: Path, name: str) -> None:
    """Rename a step's folder. Raises OSError."""
    target, taken = f"{GOING}{name}", names(root)
    if target in taken:  # left over, and cannot be deleted
        target = next(free for n in range(2, 1000) if (free := f"{target}-{n}") not in taken)
    (root / name).rename(root / target)


def _report(left: list[int], best: list[int], gone: list[int]) -> None:
    stay = ", ".join(f"{step}{' (best)' if step in best else ''}" for step in left)
    deleted = f"; deleted: {', '.join(map(str, gone))}" if gone else ""
    # The trainer's own line may not be at its end yet.
    say(f"\nmnrun: checkpoints kept: {stay}{deleted}")


def say(text: str) -> None:
    """Print a line to the training's log."""
    print(text, flush=True)


def _judged(path: Path) -> Judged:
    """What was noted before: finite numbers for steps, whatever else there is."""
    try:
        known = json.loads(read_text(path / JUDGED) or "")
        items = list(known.items())
    except (ValueError, AttributeError, RecursionError):
        return {}
    return {
        int(step): value
        for step, value in items
        if re.fullmatch(r"[0-9]{1,12}", step) and (value is None or _is_finite(value))
    }


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf


def main() -> int:
    """Look again and again until the training has ended, or is gone."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    path, parts, hf = Path(plan.pop("path")), plan.pop("parts", []), plan.pop("hf", False)
    form = words(plan.pop("trainer", {}))
    numbers = {name: int(plan[name]) for name in ("newest", "every") if name in plan}
    rule = Rule(**{**plan, **numbers})
    keeper = Keeper(path, rule, f"/proc/{os.getpid()}/fd/1", parts, bool(hf), form)
    parent, over = os.getppid(), threading.Event()

    def end(_number: int, _frame: types.FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, end)
    reported = ""
    while os.getppid() == parent:
        last = over.is_set()
        trouble = _look(keeper, last)
        if trouble and trouble != reported:
            say(f"\nmnrun: checkpoints could not be deleted, so more are kept: {trouble}")
        reported = trouble
        if last:
            return 0
        over.wait(PACE)
    return 1


def _look(keeper: Keeper, last: bool) -> str:
    """Look once; returns what went wrong."""
    try:
        keeper.look(over=last)
    except OSError as error:
        return str(error)
    return "; ".join(keeper.troubles[:3])


if __name__ == "__main__":
    sys.exit(main())
