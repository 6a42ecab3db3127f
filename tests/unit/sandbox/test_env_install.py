"""The installer of the training environment: what it builds and when, without a real build."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "env"


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """install.py with commands that only leave a trace: no pip, no network."""
    spec = importlib.util.spec_from_file_location("env_install", SOURCE / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PYTHON", Path(sys.executable))
    module.commands = []  # type: ignore[attr-defined]

    def run(command: list[str], _deadline: float) -> None:
        module.commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            (Path(command[3]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)

    monkeypatch.setattr(module, "run", run)
    return module


def test_the_second_time_nothing_is_run(installer: ModuleType, tmp_path: Path) -> None:
    path, changed = installer.install(tmp_path)
    assert changed
    count = len(installer.commands)
    assert count == 4
    assert installer.install(tmp_path) == (path, False)
    assert len(installer.commands) == count


def test_torch_comes_first_and_the_rest_unresolved(installer: ModuleType, tmp_path: Path) -> None:
    installer.install(tmp_path)
    _, torch, rest, _ = installer.commands
    assert torch[-1] == "torch==2.13.0"
    assert "--no-deps" not in torch
    assert "--no-deps" in rest


def test_a_half_built_environment_is_built_again(installer: ModuleType, tmp_path: Path) -> None:
    path, _ = installer.install(tmp_path)
    (path / installer.MARKER).unlink()
    (path / "half").write_text("")
    assert installer.install(tmp_path) == (path, True)
    assert not (path / "half").exists()


def test_a_failed_build_is_not_complete(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = installer.run

    def fail(command: list[str], deadline: float) -> None:
        if "--no-deps" in command:
            raise installer.InstallError("no such package")
        good(command, deadline)

    monkeypatch.setattr(installer, "run", fail)
    with pytest.raises(installer.InstallError, match="no such package"):
        installer.install(tmp_path)
    monkeypatch.setattr(installer, "run", good)
    assert installer.install(tmp_path)[1] is True


def test_a_mended_shim_needs_no_new_build(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "files"
    here.mkdir()
    for name in installer.SHIM:
        (here / name).write_text("old")
    monkeypatch.setattr(installer, "HERE", here)
    path, _ = installer.install(tmp_path)
    (here / installer.SHIM[0]).write_text("mended")
    count = len(installer.commands)
    assert installer.install(tmp_path) == (path, True)
    assert len(installer.commands) == count
    copy = path / "lib" / "python3.11" / "site-packages" / installer.SHIM[0]
    assert copy.read_text() == "mended"
    assert oct(copy.stat().st_mode & 0o777) == "0o644"


def test_another_lock_is_another_environment(installer: ModuleType) -> None:
    python = Path(sys.executable)
    one = installer.environment_hash(python, b"verl==0.5.0\n")
    assert one == installer.environment_hash(python, b"verl==0.5.0\n")
    assert one != installer.environment_hash(python, b"verl==0.5.1\n")


def test_all_of_the_shim_is_installed(installer: ModuleType) -> None:
    there = {path.name for path in SOURCE.iterdir() if path.name.startswith("mnrun_cpu")}
    assert set(installer.SHIM) == there


def test_a_second_installer_waits_and_finds_the_work_done(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()

    def say(text: str) -> None:
        if "waiting for it" in text:
            waiting.set()

    monkeypatch.setattr(installer, "say", say)
    path, _ = installer.install(tmp_path)
    with ThreadPoolExecutor() as pool:
        with installer.only_one(tmp_path):
            second = pool.submit(installer.install, tmp_path)
            assert waiting.wait(30)
            assert not second.done()
        assert second.result(30) == (path, False)


def program_without(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the real installer with another program in place of Python 3.11."""
    text = (SOURCE / "install.py").read_text()
    assert 'Path("/usr/bin/python3.11")' in text
    (folder / "install.py").write_text(text.replace("/usr/bin/python3.11", python))
    (folder / "requirements.lock").write_text("torch==2.13.0\n")
    return subprocess.run(
        [sys.executable, str(folder / "install.py"), "--root", str(folder / "envs")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_python_is_said_with_its_package(tmp_path: Path) -> None:
    done = program_without("/nowhere/python3.11", tmp_path)
    assert done.returncode == 1
    assert "/nowhere/python3.11 is missing: apt-get install" in done.stderr
    assert done.stdout == ""


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    done = program_without("/bin/false", tmp_path)
    assert done.returncode == 1
    assert "this failed (exit 1): /bin/false -m venv" in done.stderr
    assert done.stdout == ""
