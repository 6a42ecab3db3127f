"""Runs the play that looks at the cluster."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnrun import closing, display, runner, sites
from mnrun.commands import Command
from mnrun.errors import CliError
from mnrun.terminal import Terminal


class EndedError(CliError):
    """The look failed or was interrupted, which is on the screen already."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


def look(
    command: Command,
    options: argparse.Namespace,
    terminal: Terminal,
    inventory: Path,
    host: str,
    variables: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Return what playbooks/init.yml finds. `host`: as a user names it for ssh.

    Raises:
        EndedError: nothing was found.
    """
    playbook = runner.Playbook(
        name=command.fqcn,
        inventory=str(inventory),
        collection=sites.collection_root(),
        arguments=tuple(["-" + "v" * (options.verbose - 1)] if options.verbose > 1 else []),
        extra_vars=variables,
        verbose=options.verbose > 0,
    )
    screen = display.Display(terminal, display.Style(options.verbose, headings=False))
    start = time.monotonic()
    code, number = runner.run_playbook(playbook, screen.handle, screen.tick)
    screen.end()
    document = screen.outcome.document
    if document is not None and not code:
        return document
    if screen.outcome.unreachable:
        messages = [failure.message for failure in screen.outcome.failures]
        for line in ("", *messages, "", *advice(host, messages)):
            terminal.line(line)
        raise EndedError(1)
    seconds = time.monotonic() - start
    ending = closing.Ending(command, options, str(inventory), code, number, seconds)
    raise EndedError(closing.close(ending, screen.outcome, terminal) or 1)


_PERMISSION = ("permission denied", "keyboard-interactive", "too many authentication failures")


def advice(host: str, messages: Sequence[str]) -> list[str]:
    """Return what to do if ssh does not reach the login node, by its message."""
    message = " ".join(messages).lower()
    if any(words in message for words in _PERMISSION):
        return [
            f"{host} asks for a password or a second factor, and mnrun cannot type it.",
            "Have ssh keep a connection open which others share, in ~/.ssh/config:",
            f"  Host {host.rpartition('@')[2]}",
            "    ControlMaster auto",
            "    ControlPath ~/.ssh/cm-%C",
            "    ControlPersist 8h",
            f"Log in once (ssh {host} true), then run the same command again.",
        ]
    if "host key verification failed" in message:
        return [f"Log in once by hand to accept its key (ssh {host}), then run this again."]
    return [f"Try it by hand first:  ssh {host} true"]
