"""`mnrun sweep`: check all runs of a file, run them, some at once, and show their table."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnrun.closing import as_typed
from mnrun.errors import UsageError
from mnrun.lines import duration
from mnrun.sweep.drive import Child, Drive, Ended
from mnrun.sweep.file import Sweep, SweepRun, read
from mnrun.sweep.names import short
from mnrun.sweep.place import Place, place_of
from mnrun.terminal import Terminal
from mnrun.variables import read as read_variables

Table = Callable[[Mapping[str, Any]], int]
"""Runs the command's playbook with these variables and returns mnrun's exit code."""

_LINES = 12
"""Of the reason why a run failed."""


def sweep(
    options: argparse.Namespace,
    inventory: str,
    terminal: Terminal,
    table: Table,
    relay: Callable[[str, bool], int] | None = None,
) -> int:
    """Run one `mnrun sweep` and return its exit code: 0 only if all its runs are finished.

    Args:
        options: the command line.
        inventory: the site's, as ansible-playbook takes it.
        terminal: where to print.
        table: shows the table.
        relay: hands the sweep of a name over, or stops its relay (True); None in the relay itself,
            for which the runs were checked.

    Raises:
        CliError: the file is wrong, or its runs cannot be started.
    """
    path = Path(options.sweep_file).expanduser()
    found = read(path)
    _refuse_set_twice(options.extra_vars, found)
    place = place_of(found.name, inventory)
    command = _Sweep(found, path, options, inventory, place, terminal)
    if options.sweep_only == "table":
        return table(command.for_table())
    left = relay(found.name, True) if options.sweep_only == "cancel" and relay else 0
    if left > 1:  # interrupted; one that cannot be stopped from here keeps no run going
        return left
    if options.detach and relay:
        return command.hand_over(relay)
    done = command.cancel() if options.sweep_only == "cancel" else command.run(bool(relay))
    if done.interrupted or done.nothing_ran or options.check:
        return done.code or left
    return table(command.for_table()) or done.code or left


def _refuse_set_twice(given: Sequence[str], found: Sweep) -> None:
    by_file = {name for run in found.runs for name in run.variables}
    twice = sorted({name for value in given for name in read_variables(value)} & by_file)
    if twice:
        raise UsageError(f"-e sets {', '.join(twice)}, and so does the sweep. Set it in one place.")


@dataclass(frozen=True)
class _Done:
    code: int
    interrupted: bool = False
    nothing_ran: bool = False


@dataclass
class _Sweep:
    found: Sweep
    path: Path
    options: argparse.Namespace
    inventory: str
    place: Place
    terminal: Terminal

    def run(self, checks: bool) -> _Done:
        """Check all runs, unless they were checked before, then run them."""
        self.terminal.line(f"{self._count}. Their output: {self.place.folder}")
        with self.place.driven():
            refused = self._refused() if checks and not self.options.check else None
            return refused or self._run()

    def hand_over(self, relay: Callable[[str, bool], int]) -> int:
        """Check all runs, and leave the rest to a relay; the exit code."""
        self.terminal.line(f"{self._count}.")
        with self.place.driven():
            refused = self._refused()
        return refused.code if refused else relay(self.found.name, False)

    @property
    def _count(self) -> str:
        found = self.found
        return f"{found.name}: {len(found.runs)} runs of {found.stage}, {found.at_most} at once"

    def _refused(self) -> _Done | None:
        """Check all runs that were not accepted before; None if they pass."""
        content = f"{self.found} {self.options.extra_vars}"
        if self.place.was_accepted(content):
            return None
        checked = self._checked()
        if checked is None:
            self.place.accept(content)
        return checked

    def cancel(self) -> _Done:
        """Have no more runs start, and stop the jobs of those that run."""
        self.place.stop()
        if not self.place.wait_for_drivers():
            self.terminal.line(f"Another mnrun sweep {self.path} has not ended yet.")
        drive = self._drive()
        ended = drive.run([self._child(run, "cancel") for run in self.found.runs])
        return self._closed(drive, ended, "was not stopped")

    def for_table(self) -> dict[str, Any]:
        """What playbooks/sweep.yml has to know."""
        axes = dict.fromkeys(
            (section, name)
            for run in self.found.runs
            for section, options in run.own.items()
            for name in options
        )
        return {
            "mnrun_sweep": {
                "metric": self.found.metric,
                "best": self.found.best,
                "axes": _headings(list(axes)),
                "runs": [
                    {"name": run.name, "values": [_cell(run, *axis) for axis in axes]}
                    for run in self.found.runs
                ],
            }
        }

    def _checked(self) -> _Done | None:
        """Check the options of all runs, as each run does before it submits; None if they pass."""
        at_once = max(self.found.at_most, os.cpu_count() or 1)
        drive = Drive(at_once, on_tick=self._checking, stopped=self.place.stopped)
        self.terminal.line("Checking all of them before anything is submitted.")
        ended = drive.run(
            [self._child(run, self.found.stage, "--check") for run in self.found.runs]
        )
        self.terminal.drop()
        if drive.number:
            return self._interrupted(drive)
        bad = [one for one in ended if one.code]
        for reason, runs in _by_reason(bad).items():
            self.terminal.line(f"  ✗ {', '.join(runs)}")
            for line in (*reason.splitlines(), *self._written_at(reason)):
                self.terminal.line(f"    {line}")
        if bad:
            count = f"{len(bad)} of {len(self.found.runs)} runs cannot start"
            self.terminal.line(f"\nFailed: {count}. Nothing was submitted.")
        return _Done(1, nothing_ran=True) if bad else None

    def _written_at(self, reason: str) -> Iterator[str]:
        """Where options are written that a reason names."""
        for name, line in self.found.lines.items():
            if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w-]|\.\w)", reason):
                yield f"{name} is in {self.path}:{line}"

    def _run(self) -> _Done:
        drive = self._drive()
        dry = [word for word in ("--check", "--diff") if getattr(self.options, word[2:])]
        ended = drive.run([self._child(run, self.found.stage, *dry) for run in self.found.runs])
        return self._closed(drive, ended, "did not finish")

    def _closed(self, drive: Drive, ended: Sequence[Ended], words: str) -> _Done:
        if drive.number:
            return self._interrupted(drive)
        bad = sum(1 for one in ended if one.code)
        if bad:
            self.terminal.line(f"\n{bad} of {len(ended)} {words}.")
        return _Done(1 if bad else 0)

    def _interrupted(self, drive: Drive) -> _Done:
        again = ["sweep", str(self.path.absolute())]
        if self.place.stopped():
            self.terminal.line("\nStopped by mnrun sweep --cancel.")
        else:
            self.terminal.line("\nInterrupted. Jobs on the cluster continue:")
            self.terminal.line(f"  {as_typed([*again, '--table'], self.options)}   show them")
            self.terminal.line(f"  {as_typed(again, self.options)}   re-attach, start the others")
            self.terminal.line(f"  {as_typed([*again, '--cancel'], self.options)}   stop them")
        return _Done(128 + drive.number, interrupted=True)

    def _drive(self) -> Drive:
        return Drive(self.found.at_most, self._ended_line, self._running, self.place.stopped)

    def _checking(self, running: Sequence[str], waiting: int) -> None:
        self.terminal.note(f"  … {len(running) + waiting} left")

    def _running(self, running: Sequence[str], waiting: int) -> None:
        more = f", {waiting} waiting" if waiting else ""
        if running:
            self.terminal.bottom(f"  … {', '.join(running)}{more}")
        else:
            self.terminal.drop()

    def _ended_line(self, ended: Ended) -> None:
        took = f"{ended.run}  ({duration(ended.seconds)})"
        if ended.code == 0:
            self.terminal.line(f"  {_mark(ended)} {took}")
        elif ended.code != 128 + signal.SIGINT:
            self.terminal.line(f"  ✗ {took}, its output: {self.place.log(ended.run)}")
            for line in _reason(ended).splitlines():
                self.terminal.line(f"    {line}")

    def _child(self, run: SweepRun, *words: str) -> Child:
        variables = self.place.write_variables(run.name, run.variables)
        shared = [word for value in self.options.extra_vars for word in ("-e", value)]
        # One that has not begun is no mistyped name.
        cancels = words[0] == "cancel"
        shared += ["-e", "mnrun_of_sweep=true" if cancels else f"@{variables}"]
        if words[0] == "all":  # no single run of a sweep is handed over
            shared += ["-e", "mnrun_one_allocation=false"]
        agreed = self.options.sweep_yes and not {"cancel", "--check"} & {*words}
        shared += ["--yes"] if agreed else []
        shared += ["-i", self.inventory, "--run", run.name, *["-v"] * self.options.verbose]
        argv = [sys.executable, "-m", "mnrun", *words, *shared]
        return Child(run.name, argv, self.place.log(run.name))


def _mark(ended: Ended) -> str:
    last = ended.output.rstrip().rpartition("\n")[2]
    return "•" if "changed=0" in last or " 0 changes pending" in last else "✓"


def _reason(ended: Ended) -> str:
    """The last paragraph of a command's output, without its closing line."""
    lines = [line.rstrip() for line in ended.output.rstrip().splitlines()]
    if lines and lines[-1].startswith("Failed: "):
        lines = lines[:-1]
    while lines and not lines[-1]:
        lines.pop()
    start = next((at for at in range(len(lines), 0, -1) if not lines[at - 1]), 0)
    found = lines[start:][:_LINES]
    return "\n".join(found) or f"it ended with exit code {ended.code} without a word"


def _by_reason(ended: Sequence[Ended]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in ended:
        found.setdefault(_reason(one), []).append(one.run)
    return found


def _headings(axes: Sequence[tuple[str, str]]) -> list[str]:
    """The last part of each option's name, or all of it where two end alike."""
    last = [name.rpartition(".")[2] for _section, name in axes]
    return [
        short_name if last.count(short_name) == 1 else f"{section}.{name}"
        for (section, name), short_name in zip(axes, last, strict=True)
    ]


def _cell(run: SweepRun, section: str, name: str) -> str:
    options = run.own.get(section, {})
    return short(options[name]) if name in options else "-"
