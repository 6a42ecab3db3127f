"""How a run ends: the last lines on the screen and the exit code."""

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
from mnrun.report import duration, stage_table
from mnrun.shell import sandbox_dir
from mnrun.terminal import Terminal
from mnrun.variables import without_secrets


@dataclass(frozen=True)
class Ending:
    """What is known when ansible-playbook has ended."""

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
    elif ending.code:
        lines, code = _failed(ending, outcome), 1
    elif not outcome.hosts:
        lines, code = _nobody(ending), 1
    else:
        lines, code = _done(ending, outcome), 0
    for line in lines:
        terminal.line(line)
    return code


def _done(ending: Ending, outcome: PlayOutcome) -> Iterator[str]:
    if outcome.stages is not None:
        yield from stage_table(outcome.stages)
    if outcome.summary:
        yield ""
        yield from outcome.summary
    if not ending.command.reads:
        yield ""
        yield _recap(
            "Checked, nothing was changed" if ending.options.check else "Done", ending, outcome
        )


def _failed(ending: Ending, outcome: PlayOutcome) -> Iterator[str]:
    sandbox = _sandbox_is_closed(ending, outcome) if outcome.unreachable else ""
    if sandbox:
        yield from ("", sandbox, "", _recap("Failed", ending, outcome))
        return
    for failure in outcome.failures:
        yield ""
        yield from failure.lines()
    if outcome.unreachable:
        yield from _how_to_reach(ending)
    if not outcome.failures:  # it broke before any task, and says why in its own words
        yield ""
        yield from outcome.stray
        yield from _bad_yaml(Path(ending.inventory))
    yield ""
    yield _recap("Failed", ending, outcome)


# What ssh says when the sandbox's configuration or its socket is not there.
_NO_SANDBOX = ("/ssh_config: No such file", "proxy dialer did not pass back a connection")


def _sandbox_is_closed(ending: Ending, outcome: PlayOutcome) -> str:
    """Return why ssh could not even begin to reach the sandbox; empty if it is not that."""
    messages = [failure.message for failure in outcome.failures]
    if not any(words in message for words in _NO_SANDBOX for message in messages):
        return ""
    door = sandbox_dir(ending.options.extra_vars) / "login.sock"
    if door.exists() and not os.access(door, os.W_OK):
        return "The sandbox belongs to another user: whoever brought it up, and root."
    return "The sandbox is down. Bring it up:  mnrun sandbox up"


def _bad_yaml(inventory: Path) -> Iterator[str]:
    """Name the files of an inventory that are no YAML: Ansible does not."""
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
    yield "  How it is reached (ansible_host, ansible_user, keys) is said in the inventory:"
    yield f"  {ending.inventory}"


def _recap(word: str, ending: Ending, outcome: PlayOutcome) -> str:
    would = " (would be)" if ending.options.check else ""
    return f"{word}: changed={outcome.changed}{would} in {duration(ending.seconds)}"


def _nobody(ending: Ending) -> Iterator[str]:
    yield ""
    yield f"Nothing was done: {ending.inventory} has no host in the group login."
    yield "Put the login node there, or name another inventory with -i."


def _interrupted(ending: Ending) -> Iterator[str]:
    again = as_typed(ending.options.words, ending.options)
    yield ""
    if not ending.command.trains:
        yield f"Interrupted. To go on from where it is:  {again}"
        return
    yield "Interrupted. What runs on the cluster goes on:"
    yield f"  {as_typed(['status'], ending.options)}   shows it"
    yield f"  {again}   attaches to it again"
    yield f"  {as_typed(['cancel'], ending.options)}   ends it"


def as_typed(words: Sequence[str], options: argparse.Namespace) -> str:
    """Return a command (its name and its own options) as a user would type it for the same site
    and the same run."""
    shared = ["-i", options.inventory] if options.inventory else []
    for value in options.extra_vars:
        named = value == f"mnrun_run_name={options.run}"
        shared += ["--run", options.run] if named else ["-e", without_secrets(value)]
    return shlex.join(["mnrun", *words, *shared])
