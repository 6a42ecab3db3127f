"""The installer of the training environment with commands that only leave a trace: no network."""

from __future__ import annotations

from pathlib import Path

import env_build
import env_command
import env_locks
import install as program
import pytest


class Installer:
    """install.py for Debian 12's Python, and the commands that it ran."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.install = program.install
        self.monkeypatch = monkeypatch
        self.use("python3.11", folder)
        self.replace(env_build, cpu_index=list, has_cpu_build=lambda *_: False)
        self.replace(env_command, run=self.run)

    def replace(self, module: object, **values: object) -> None:
        for name, value in values.items():
            self.monkeypatch.setattr(module, name, value)

    def run(self, command: list[str], _deadline: float) -> str:
        self.commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            name = Path(command[0]).name
            (Path(command[3]) / "lib" / name / "site-packages").mkdir(parents=True)
        return ""

    def use(self, name: str, folder: Path) -> None:
        """Make `name` the Python of the machine."""
        machine = folder / "usr" / name
        machine.parent.mkdir(exist_ok=True)
        machine.write_text("")
        self.replace(env_locks, PYTHON=machine)
