"""The installer of the training environment: what it builds and when, without a real build."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import env_build
import env_command
import env_locks
import env_shim
import install as program
import pytest
import yaml

from tests.helpers.env_installer import Installer

SOURCE = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "env"
PROFILES = Path(__file__).parents[3] / "profiles"
LOCKS = sorted(SOURCE.glob("*.lock"))


def test_the_second_time_nothing_is_run(installer: Installer, tmp_path: Path) -> None:
    path, changed = installer.install(tmp_path / "envs")
    assert changed
    count = len(installer.commands)
    assert count == 4
    assert installer.install(tmp_path / "envs") == (path, False)
    assert len(installer.commands) == count


def test_torch_comes_first_and_the_rest_unresolved(installer: Installer, tmp_path: Path) -> None:
    installer.install(tmp_path / "envs")
    _, torch, rest, _ = installer.commands
    assert torch[-1] == "torch==2.13.0"
    assert "--no-deps" not in torch
    assert "--no-deps" in rest


def test_the_cpu_builds_come_from_pytorchs_index_where_it_answers(
    installer: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(env_build, "cpu_index", lambda: ["--extra-index-url", "https://x"])
    installer.install(tmp_path / "envs")
    _, torch, rest, _ = installer.commands
    assert torch[torch.index("--extra-index-url") + 1] == "https://x"
    assert "https://x" not in rest


@pytest.mark.parametrize("found", [True, False])
def test_no_other_index_is_asked_if_the_machine_s_own_has_the_cpu_build(
    installer: Installer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: bool,
) -> None:
    def no_index() -> list[str]:
        assert not found
        return ["--extra-index-url", "https://x"]

    monkeypatch.setattr(env_build, "cpu_index", no_index)
    monkeypatch.setattr(env_build, "has_cpu_build", lambda *_: found)
    installer.install(tmp_path / "envs")
    assert ("https://x" in installer.commands[1]) is not found


@pytest.mark.parametrize("answers", [True, False])
def test_an_index_is_asked_for_torch(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        assert request.full_url == "https://download.pytorch.org/whl/cpu/torch/"
        assert (request.method, timeout) == ("HEAD", 5)
        if answers:
            return io.BytesIO()
        raise urllib.error.URLError("no way")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert env_build.cpu_index() == (["--extra-index-url", env_build.CPU_INDEX] if answers else [])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_each_python_is_locked_to_the_same_trainer(installer: Installer, lock: Path) -> None:
    trainer, _, version = lock.stem.rpartition("-")
    lowest = min(lock.parent.glob(f"{trainer}-3.*.lock"))
    pins, first = (
        dict(line.split("==") for line in path.read_text().splitlines()) for path in (lock, lowest)
    )
    differ = {name for name in first if pins[name] != first[name]}
    assert pins.keys() == first.keys()
    assert differ <= {"numpy", "torch"}  # there is no numpy 1 for Python 3.13
    package, release = [*trainer.split("-"), "1"][:2]
    assert pins[package].startswith(f"{release}.")
    assert env_locks.lock_of(trainer, Path(f"/usr/bin/python{version}")) == lock


def test_each_trainer_has_an_environment_of_its_own(installer: Installer, tmp_path: Path) -> None:
    one, _ = installer.install(tmp_path / "envs")
    other, changed = installer.install(tmp_path / "envs", "verl-0.9")
    assert changed
    assert other != one
    assert installer.install(tmp_path / "envs") == (one, False)


def test_a_trainer_without_a_lock_is_refused_with_those_that_there_are(
    installer: Installer, tmp_path: Path
) -> None:
    with pytest.raises(
        env_command.InstallError,
        match=r"no trainer verl-1, only trl, verl-0\.5, verl-0\.9, verl-0\.9-vllm",
    ):
        installer.install(tmp_path / "envs", "verl-1")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_the_lock_has_what_the_trainer_s_profile_asks_for(lock: Path) -> None:
    name = lock.stem.rpartition("-")[0].removesuffix("-vllm")
    asked = yaml.safe_load((PROFILES / f"{name}.yml").read_text())["needs"]["imports"]
    there = {line.partition("==")[0] for line in lock.read_text().splitlines()}
    # importlib.metadata is asked for them: by the names of packages, not of modules.
    assert set(asked) <= there


def test_a_half_built_environment_is_built_again(installer: Installer, tmp_path: Path) -> None:
    path, _ = installer.install(tmp_path / "envs")
    (path / program.MARKER).unlink()
    (path / "half").write_text("")
    assert installer.install(tmp_path / "envs") == (path, True)
    assert not (path / "half").exists()


def test_a_failed_build_is_not_complete(
    installer: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = installer.run

    def fail(command: list[str], deadline: float) -> None:
        if "--no-deps" in command:
            raise env_command.InstallError("no such package")
        good(command, deadline)

    monkeypatch.setattr(env_command, "run", fail)
    with pytest.raises(env_command.InstallError, match="no such package"):
        installer.install(tmp_path / "envs")
    monkeypatch.setattr(env_command, "run", good)
    assert installer.install(tmp_path / "envs")[1] is True


def test_a_mended_shim_needs_no_new_build(
    installer: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "files"
    here.mkdir()
    for name in env_shim.CPU_SHIM:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("old")
    (here / "verl-0.5-3.11.lock").write_text("torch==2.13.0\n")
    monkeypatch.setattr(env_locks, "HERE", here)
    path, _ = installer.install(tmp_path / "envs")
    (here / env_shim.CPU_SHIM[0]).write_text("mended")
    count = len(installer.commands)
    assert installer.install(tmp_path / "envs") == (path, True)
    assert len(installer.commands) == count
    copy = path / "lib" / "python3.11" / "site-packages" / env_shim.CPU_SHIM[0]
    assert copy.read_text() == "mended"
    assert oct(copy.stat().st_mode & 0o777) == "0o644"


def test_another_lock_is_another_environment(installer: Installer) -> None:
    python = Path(sys.executable)
    one = env_locks.environment_hash(python, b"verl==0.5.0\n")
    assert one == env_locks.environment_hash(python, b"verl==0.5.0\n")
    assert one != env_locks.environment_hash(python, b"verl==0.5.1\n")


def test_all_of_the_shim_is_installed(installer: Installer) -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()}
    there = {name for name in found if "__pycache__" not in name and not name.endswith(".lock")}
    tools = {name for name in there if name.startswith(("install.", "env_", "shared_"))}
    named = {*env_shim.CPU_SHIM, *env_shim.GPU_SHIM, *env_shim.FLASH_ATTENTION}
    assert there - tools == named


def test_a_second_installer_waits_and_finds_the_work_done(
    installer: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()

    def say(text: str) -> None:
        if "waiting for it" in text:
            waiting.set()

    monkeypatch.setattr(program, "say", say)
    path, _ = installer.install(tmp_path / "envs")
    with ThreadPoolExecutor() as pool:
        with program.only_one(tmp_path / "envs"):
            second = pool.submit(installer.install, tmp_path / "envs")
            assert waiting.wait(30)
            assert not second.done()
        assert second.result(30) == (path, False)


def program_with(python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the real installer with another program in place of the machine's Python."""
    for part in (SOURCE / "install.py", *SOURCE.glob("env_*.py")):
        text = part.read_text()
        assert ('Path("/usr/bin/python3")' in text) == (part.stem == "env_locks")
        (folder / part.name).write_text(text.replace("/usr/bin/python3", str(python)))
    for version in ("3.11", "3.13"):
        (folder / f"verl-0.5-{version}.lock").write_text("torch==2.13.0\n")
    return subprocess.run(
        [sys.executable, str(folder / "install.py"), "--root", str(folder / "envs")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_python_is_said_with_its_package(tmp_path: Path) -> None:
    done = program_with(Path("/nowhere/python3"), tmp_path)
    assert done.returncode == 1
    assert "/nowhere/python3 is missing: apt-get install" in done.stderr
    assert done.stdout == ""


def test_a_python_without_a_lock_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python3.14"
    python.write_text("")
    done = program_with(python, tmp_path)
    assert done.returncode == 1
    assert (
        f"the packages of verl-0.5 are for Python 3.11, 3.13, and this is {python}" in done.stderr
    )
    assert not (tmp_path / "envs").exists()


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python3.11"
    python.write_text("#!/bin/false\n")
    python.chmod(0o755)
    done = program_with(python, tmp_path)
    assert done.returncode == 1
    assert f"this failed (exit 1): {python} -m venv" in done.stderr
    assert done.stdout == ""
