"""Runs a playbook with ansible-runner, and cleans up whatever happens."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mnrun.environment import settings, without_callers_settings
from mnrun.errors import CliError
from mnrun.private_folder import private_folder
from mnrun.processes import (
    Process,
    await_end,
    descendants,
    interrupted_by_signals,
    orphans_adopted,
    send,
)

GRACE = 10.0
"""Seconds that ansible-playbook and its modules get to exit after a signal."""

_TICK = 1
"""Seconds between two checks of the clock and of signals."""

_LONGEST_SHEBANG = 120
"""Characters of an interpreter path that every Linux accepts."""

_KILLED = 255
"""Used as exit code if ansible-playbook was killed and has none."""

_TIED = """\
#!{python} -P
# ansible-playbook, which the kernel interrupts when mnrun ends, however that happens.
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {number})  # PR_SET_PDEATHSIG
if os.getppid() != {parent}:
    sys.exit(1)
sys.argv[0] = {program!r}
if not {is_ours}:
    os.execv({program!r}, sys.argv)
# Ansible makes many objects and few circles, and forks a process for each task. Looking for
# circles takes time, and copies all memory in each of those processes.
import gc
gc.set_threshold(100_000, 20, 20)
os.register_at_fork(before=gc.freeze)
from ansible.cli.playbook import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Playbook:
    """One call of ansible-playbook."""

    name: str
    """Its full name, mnrun.train.sft."""
    inventory: str
    collection: Path
    """The collection's folder, see sites.collection_root."""
    arguments: tuple[str, ...] = ()
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    verbose: bool = False
    """Results of failed tasks carry a traceback, and followed jobs their logs."""


@dataclass
class Interruption:
    """A request to end the run: a signal, or no reader left."""

    number: int = 0
    """The first signal that arrived; 0: none."""
    deadline: float | None = None
    """When ansible-playbook is killed, on the monotonic clock."""
    tree: list[Process] = field(default_factory=list)
    """ansible-playbook and all its descendants seen since it was asked to end."""

    def request(self, number: int, _frame: FrameType | None = None) -> None:
        """Ask ansible-playbook to end; the second time, have it killed at once."""
        self.deadline = time.monotonic() + (0 if self.number else GRACE)
        self.number = self.number or number
        self.pass_on()

    def pass_on(self) -> None:
        """Signal ansible-playbook, as soon as there is one."""
        if self.number:
            before = self.tree
            self.look()
            for process in self.tree[:1] if not before else []:
                # SIGINT, whichever signal arrived: it forwards that to its workers, which are in
                # sessions of their own.
                send(process.pid, signal.SIGINT)

    def look(self) -> None:
        """Add what has been started since: a task can begin while ansible-playbook ends."""
        new = [process for process in descendants(os.getpid()) if process not in self.tree]
        self.tree = [*self.tree, *new]

    def overdue(self) -> bool:
        """Return True if it should have ended by now."""
        return self.deadline is not None and time.monotonic() >= self.deadline


def run_playbook(
    playbook: Playbook,
    on_event: Callable[[Mapping[str, Any]], bool],
    on_tick: Callable[[], bool],
) -> tuple[int, int]:
    """Run a playbook to its end.

    Args:
        playbook: what to run.
        on_event: called with each event of ansible-runner.
        on_tick: called about every second; False ends the run.

    Returns:
        ansible-playbook's exit code and the number of the signal that ended it (0: none).

    Raises:
        CliError: ansible-playbook is not there.
    """
    import ansible_runner  # noqa: PLC0415 - takes longer than all that --help does

    here = _here()
    interruption = Interruption()

    def cancelled() -> bool:
        if not on_tick() and not interruption.number:
            interruption.request(signal.SIGINT)
        interruption.pass_on()
        return interruption.overdue()

    with (
        private_folder() as folder,
        interrupted_by_signals(interruption.request),
        orphans_adopted(),
        _no_orphans(interruption),
    ):
        _settings_of_runner(folder)
        environment = settings(
            playbook.collection, folder, playbook.verbose, playbook.inventory, playbook.arguments
        )
        program = _ansible_playbook(environment["PATH"])
        environment["PATH"] = f"{_tied(program, folder)}{os.pathsep}{environment['PATH']}"
        with without_callers_settings():
            result = ansible_runner.run(
                private_data_dir=str(folder),
                project_dir=str(here),
                playbook=playbook.name,
                # Not as `inventory`: anything but a path would be written to a file.
                cmdline=shlex.join(["-i", playbook.inventory, *playbook.arguments]),
                extravars=dict(playbook.extra_vars),
                envvars=environment,
                suppress_env_files=True,
                quiet=True,
                event_handler=on_event,
                status_handler=_forget_command,
                cancel_callback=cancelled,
            )
    return _KILLED if result.rc is None else int(result.rc), interruption.number


def _settings_of_runner(folder: Path) -> None:
    """Write ansible-runner's own; given as an argument they are lost with the other env files."""
    (folder / "env").mkdir(mode=0o700)
    ours = {"pexpect_timeout": _TICK, "suppress_output_file": True}
    (folder / "env" / "settings").write_text(json.dumps(ours), encoding="utf-8")


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise CliError(
            "The current directory does not exist any more: cd to another one."
        ) from None


def _ansible_playbook(path: str) -> str:
    program = shutil.which("ansible-playbook", path=path)
    if not program:
        raise CliError(
            f"ansible-playbook is neither next to {sys.executable} nor on PATH.\n"
            f"Install it:  {sys.executable} -m pip install 'ansible-core>=2.19.0,<2.22.0'"
        )
    return program


def _tied(program: str, folder: Path) -> Path:
    """Return a folder with a program that starts `program` and makes it end when we do.

    If the kernel does not support that, the folder is empty.
    """
    place, python = folder / "bin", sys.executable
    place.mkdir()
    if sys.platform == "linux" and " " not in python and len(python) < _LONGEST_SHEBANG:
        script = place / "ansible-playbook"
        text = _TIED.format(
            python=python,
            number=int(signal.SIGINT),
            parent=os.getpid(),
            program=program,
            is_ours=Path(program).parent == Path(python).parent,
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o700)
    return place


def _forget_command(status: Mapping[str, Any], runner_config: Any) -> None:
    """Remove the file in which ansible-runner stores the whole environment, including keys."""
    if status["status"] == "running":
        (Path(runner_config.artifact_dir) / "command").unlink(missing_ok=True)


@contextmanager
def _no_orphans(interruption: Interruption) -> Iterator[None]:
    """Wait for the end of all that ansible-playbook started, even if ansible-runner failed."""
    try:
        yield
    except BaseException:
        interruption.request(signal.SIGINT)
        raise
    finally:
        if interruption.number:
            interruption.look()
        await_end(interruption.tree, interruption.overdue)
