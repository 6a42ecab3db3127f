"""`mnrun sandbox shell`: ssh to a node of the sandbox, with the ssh config that `up` wrote.
`mnrun shell`: a step of a running job, on one of its nodes."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

from mnrun.contract import SHELL
from mnrun.errors import CliError, UsageError
from mnrun.terminal import Terminal
from mnrun.variables import read

_SANDBOX = "/var/lib/mnrun-sandbox"  # both as the role sandbox has them
_VARIABLE = "MNRUN_SANDBOX_DIR"


def sandbox_dir(extra_vars: Sequence[str], environ: Mapping[str, str] = os.environ) -> Path:
    """Return the sandbox's folder: the last `sandbox_dir` among values of -e, else
    $MNRUN_SANDBOX_DIR, else the usual one.

    Args:
        extra_vars: as typed: key=value pairs, JSON or YAML. Files (@) are not looked into.
    """
    folder = environ.get(_VARIABLE) or _SANDBOX
    for text in extra_vars:
        folder = read(text).get("sandbox_dir", folder)
    return Path(folder)


def ssh_command(node: str, words: Sequence[str], config: Path, terminal: bool) -> list[str]:
    """Return the ssh command line.

    Args:
        node: a host of the sandbox.
        words: the command. One word is a command line for the node's shell; several are a program
            and its arguments, passed unchanged. None: a login shell.
        config: the sandbox's ssh_config.
        terminal: whether the command gets a terminal.

    Raises:
        CliError: there is no sandbox.
        UsageError: it has no such node.
    """
    if not config.is_file():
        raise CliError("The sandbox is not up. Start it:  mnrun sandbox up")
    hosts = re.findall(r"^Host (.+)$", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
    known = [pattern for line in hosts for pattern in line.split() if pattern != "*"]
    if not any(fnmatch(node, pattern) for pattern in known):
        raise UsageError(f"The sandbox has no node {node!r}. It has: {', '.join(known)}")
    line = words[0] if len(words) == 1 else shlex.join(words)
    terminal_option = "-t" if terminal else "-T"
    return ["ssh", "-F", str(config), terminal_option, node, *([line] if line else [])]


def enter_job(
    play: Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], None]], int],
    place: str | None,
    words: Sequence[str],
) -> int:
    """Replace this process by a shell on a node of a running job, or by a command there; where
    there is none, return the exit code of `play`.

    Args:
        play: runs the playbook with variables, and calls a function with each event.
        place: a node or a stage; None for the first node of what trains.
        words: the command, as for `ssh_command`; none: a login shell.
    """
    found: dict[str, Any] = {}

    def look(event: Mapping[str, Any]) -> None:
        found.update(((event.get("event_data") or {}).get("res") or {}).get(SHELL) or {})

    terminal = not words and sys.stdin.isatty() and sys.stdout.isatty()
    if not words and not terminal:
        raise UsageError("There is no terminal for a shell. A command:  mnrun shell -- COMMAND")
    # Encoded, as Ansible would take braces for a template.
    encoded = base64.b64encode(json.dumps(list(words)).encode()).decode()
    variables = {
        "mnrun_shell_place": place or "",
        "mnrun_shell_words": encoded,
        "mnrun_shell_terminal": terminal,
    }
    code = play(variables, look)
    if not code and found:
        _become(found, terminal)
    return code or 1


def _become(found: Mapping[str, Any], terminal: bool) -> NoReturn:
    if terminal:
        others = [node for node in found["nodes"] if node != found["node"]]
        more = f"  (also: {', '.join(others)})" if others else ""
        Terminal(sys.stderr).line(f"{found['stage']}, job {found['job']}: {found['node']}{more}")
    os.execvp(found["argv"][0], found["argv"])  # noqa: S606 - an argument list of our own


def run_shell(node: str, words: Sequence[str], sandbox: Path) -> NoReturn:
    """Replace this process by the ssh of `ssh_command`, to the sandbox in that folder."""
    if not shutil.which("ssh"):
        raise CliError("ssh is not installed here. On Debian:  apt-get install openssh-client")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    command = ssh_command(node, words, sandbox / "ssh_config", terminal)
    if not os.access(sandbox / "key", os.R_OK):
        raise CliError("The sandbox belongs to root:  sudo mnrun sandbox shell")
    os.execvp(command[0], command)  # noqa: S606 - an argument list; what the node runs is quoted
