"""The end of a run: the last lines on the screen and the exit code."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mnrun.commands import Command
from mnrun.display import PlayOutcome
from mnrun.lines import duration
from mnrun.shell import sandbox_dir
from mnrun.sites import INVENTORY_VARIABLE
from mnrun.stages import stage_table
from mnrun.terminal import Terminal
from mnrun.variables import without_secrets


@dataclass(frozen=True)
class Ending:
    """All that is known after ansible-playbook has ended."""

    command: Command
    options: argparse.Namespace
    inventory: str
    code: int
    """ansible-playbook's exit code."""
    signal: int
    """The signal that ended it; 0: none."""
    seconds: float


def close(ending: Ending, outcome: PlayOutcome, terminal: Terminal) -> int:
    """Print the closing lines and return mnrun's exit code."""
    if ending.signal and ending.code:
        lines, code = _interrupted(ending), 128 + ending.signal
    elif outcome.findings is not None and not outcome.failures:
        lines, code = _found(ending, outcome.findings, terminal), int(bool(ending.code))
    elif ending.code:
        lines, code = _failed(ending, outcome), 1
    elif not outcome.hosts:
        lines, code = _no_hosts(ending), 1
    else:
        lines, code = _done(ending, outcome), 0
    for line in lines:
        terminal.line(line)
    return code


def _done(ending: Ending, outcome: PlayOutcome) -> Iterator[str]:
    if outcome.document is not None:  # it says all of that
        return
    if outcome.stages is not None:
        yield from stage_table(outcome.stages, ending.options.verbose > 0)
    if outcome.summary:
        yield ""
        yield from outcome.summary
        yield from _which_site(ending, outcome.summary)
    if not ending.command.reads:
        yield ""
        yield _recap(
            "Dry run, nothing changed" if ending.options.check else "Done", ending, outcome
        )


_COLOURS = {"  ✓ ": "green", "  ! ": "yellow", "  ✗ ": "red"}


def _found(ending: Ending, lines: Sequence[str], terminal: Terminal) -> Iterator[str]:
    """The list of everything that was found about a site."""
    if getattr(ending.options, "mnrun_output", None):  # the document says all of that
        return
    for line in lines:
        colour = _COLOURS.get(line[:4])
        yield f"  {terminal.style(line[2], colour)}{line[3:]}" if colour else line


def _which_site(ending: Ending, summary: Sequence[str]) -> Iterator[str]:
    """Where nothing was found: -i may have been forgotten, and another site has it."""
    asked = ending.options.inventory or os.environ.get(INVENTORY_VARIABLE)
    empty = summary[0].startswith(("No ", "There is no ", "Nothing of ", "Nothing has run yet"))
    if empty and not asked and ending.command.site is None:
        yield f"The site is {ending.inventory}; to look at another one: -i SITE"


def _failed(ending: Ending, outcome: PlayOutcome) -> Iterator[str]:
    sandbox = _sandbox_is_closed(ending, outcome) if outcome.unreachable else ""
    if sandbox:
        yield from ("", sandbox, "", _recap("Failed", ending, outcome))
        return
    for failure in outcome.failures:
        yield ""
        yield from failure.lines()
    if outcome.needs_yes:
        yield f"  To agree:  {as_typed([*ending.options.words, '--yes'], ending.options)}"
    if outcome.unreachable:
        yield from _how_to_reach(ending)
    if not outcome.failures:  # it broke before any task, and says why in its own words
        yield ""
        yield from outcome.stray
        yield from _bad_yaml(Path(ending.inventory))
    yield ""
    yield _recap("Failed", ending, outcome)


# What ssh prints if the sandbox's configuration or its socket does not exist.
_NO_SANDBOX = ("/ssh_config: No such file", "proxy dialer did not pass back a connection")


def _sandbox_is_closed(ending: Ending, outcome: PlayOutcome) -> str:
    """Return why the sandbox cannot be reached at all; empty if that is not the problem."""
    messages = [failure.message for failure in outcome.failures]
    if not any(words in message for words in _NO_SANDBOX for message in messages):
        return ""
    door = sandbox_dir(ending.options.extra_vars) / "login.sock"
    if door.exists() and not os.access(door, os.W_OK):
        return (
            "The sandbox belongs to another user: only the one who started it and root can use it."
        )
    return "The sandbox is down. Start it:  mnrun sandbox up"


def _bad_yaml(inventory: Path) -> Iterator[str]:
    """Name the files of an inventory that are not valid YAML, which Ansible does not do."""
    files = sorted(inventory.rglob("*.y*ml")) if inventory.is_dir() else [inventory]
    for path in files:
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            yield f"{path}:{line}: {error.problem}"
        except (OSError, ValueError, yaml.YAMLError):
            continue


def _how_to_reach(ending: Ending) -> Iterator[str]:
    yield "  Connection settings (ansible_host, ansible_user, keys) come from:"
    yield f"  {ending.inventory}"


def _recap(word: str, ending: Ending, outcome: PlayOutcome) -> str:
    pending = f"{outcome.changed} {'change' if outcome.changed == 1 else 'changes'} pending"
    changes = pending if ending.options.check else f"changed={outcome.changed}"
    return f"{word}: {changes} ({duration(ending.seconds)})"


def _no_hosts(ending: Ending) -> Iterator[str]:
    yield ""
    yield f"Nothing was done: {ending.inventory} has no host in the group login."
    yield "Add the login node to it, or choose another inventory with -i."


def _interrupted(ending: Ending) -> Iterator[str]:
    again = as_typed(ending.options.words, ending.options)
    yield ""
    if ending.command.raw_lines:
        yield f"Stopped following. Again:  {again}"
        return
    if not ending.command.trains:
        yield f"Interrupted. To continue:  {again}"
        return
    yield "Interrupted. Jobs on the cluster continue:"
    yield f"  {as_typed(['status'], ending.options)}   show them"
    yield f"  {again}   re-attach"
    yield f"  {as_typed(['cancel'], ending.options)}   stop them"


def as_typed(words: Sequence[str], options: argparse.Namespace) -> str:
    """Return a command (name and own options) as a user would type it for the same site and run,
    in any folder."""
    shared = ["-i", _from_anywhere(options.inventory)] if options.inventory else []
    for value in options.extra_vars:
        named = value == f"mnrun_run_name={options.run}"
        shown = f"@{_from_anywhere(value[1:])}" if value.startswith("@") else value
        shared += ["--run", options.run] if named else ["-e", without_secrets(shown)]
    return shlex.join(["mnrun", *words, *shared])


def _from_anywhere(named: str) -> str:
    """Return a path of this folder as one that works in others too; short in the checkout."""
    relative = not named.startswith(("/", "~")) and Path(named).exists()
    return str(Path(named).absolute()) if relative and not Path("galaxy.yml").exists() else named
