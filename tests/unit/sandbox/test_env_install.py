"""The installer of the training environment: what it builds and when, without a real build."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import yaml

SOURCE = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "env"
PROFILES = Path(__file__).parents[3] / "profiles"
LOCKS = sorted(SOURCE.glob("*.lock"))


@pytest.fixture
def fresh() -> ModuleType:
    """install.py as it is."""
    spec = importlib.util.spec_from_file_location("env_install", SOURCE / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installer(fresh: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """install.py for Debian 12's Python, with commands that only leave a trace: no network."""
    module = fresh
    module.commands = []  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "cpu_index", list)
    monkeypatch.setattr(module, "has_cpu_build", lambda *_: False)
    use(module, "python3.11", tmp_path, monkeypatch)

    def run(command: list[str], _deadline: float) -> None:
        module.commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            name = Path(command[0]).name
            (Path(command[3]) / "lib" / name / "site-packages").mkdir(parents=True)

    monkeypatch.setattr(module, "run", run)
    return module


def use(installer: ModuleType, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `name` the Python of the machine."""
    machine = folder / "usr" / name
    machine.parent.mkdir(exist_ok=True)
    machine.write_text("")
    monkeypatch.setattr(installer, "PYTHON", machine)


def test_the_second_time_nothing_is_run(installer: ModuleType, tmp_path: Path) -> None:
    path, changed = installer.install(tmp_path / "envs")
    assert changed
    count = len(installer.commands)
    assert count == 4
    assert installer.install(tmp_path / "envs") == (path, False)
    assert len(installer.commands) == count


def test_torch_comes_first_and_the_rest_unresolved(installer: ModuleType, tmp_path: Path) -> None:
    installer.install(tmp_path / "envs")
    _, torch, rest, _ = installer.commands
    assert torch[-1] == "torch==2.13.0"
    assert "--no-deps" not in torch
    assert "--no-deps" in rest


def test_the_cpu_builds_come_from_pytorchs_index_where_it_answers(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "cpu_index", lambda: ["--extra-index-url", "https://x"])
    installer.install(tmp_path / "envs")
    _, torch, rest, _ = installer.commands
    assert torch[torch.index("--extra-index-url") + 1] == "https://x"
    assert "https://x" not in rest


@pytest.mark.parametrize("found", [True, False])
def test_no_other_index_is_asked_if_the_machine_s_own_has_the_cpu_build(
    fresh: ModuleType,
    installer: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: bool,
) -> None:
    def no_index() -> list[str]:
        assert not found
        return ["--extra-index-url", "https://x"]

    monkeypatch.setattr(installer, "cpu_index", no_index)
    monkeypatch.setattr(installer, "has_cpu_build", lambda *_: found)
    installer.install(tmp_path / "envs")
    assert ("https://x" in installer.commands[1]) is not found


@pytest.mark.parametrize("answers", [True, False])
def test_an_index_is_asked_for_torch(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        assert request.full_url == "https://download.pytorch.org/whl/cpu/torch/"
        assert (request.method, timeout) == ("HEAD", 5)
        if answers:
            return io.BytesIO()
        raise urllib.error.URLError("no way")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert fresh.cpu_index() == (["--extra-index-url", fresh.CPU_INDEX] if answers else [])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_each_python_is_locked_to_the_same_trainer(installer: ModuleType, lock: Path) -> None:
    trainer, _, version = lock.stem.rpartition("-")
    lowest = lock.with_name(f"{trainer}-3.11.lock")
    pins, first = (
        dict(line.split("==") for line in path.read_text().splitlines()) for path in (lock, lowest)
    )
    differ = {name for name in first if pins[name] != first[name]}
    assert pins.keys() == first.keys()
    assert differ <= {"numpy", "torch"}  # there is no numpy 1 for Python 3.13
    package, _, release = trainer.partition("-")
    assert pins[package].startswith(f"{release or 1}.")
    assert installer.lock_of(trainer, Path(f"/usr/bin/python{version}")) == lock


def test_each_trainer_has_an_environment_of_its_own(installer: ModuleType, tmp_path: Path) -> None:
    one, _ = installer.install(tmp_path / "envs")
    other, changed = installer.install(tmp_path / "envs", "verl-0.9")
    assert changed
    assert other != one
    assert installer.install(tmp_path / "envs") == (one, False)


def test_a_trainer_without_a_lock_is_refused_with_those_that_there_are(
    installer: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(
        installer.InstallError, match=r"no trainer verl-1, only trl, verl-0\.5, verl-0\.9"
    ):
        installer.install(tmp_path / "envs", "verl-1")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_the_lock_has_what_the_trainer_s_profile_asks_for(lock: Path) -> None:
    name = lock.stem.rpartition("-")[0]
    asked = yaml.safe_load((PROFILES / f"{name}.yml").read_text())["needs"]["imports"]
    there = {line.partition("==")[0] for line in lock.read_text().splitlines()}
    # importlib.metadata is asked for them: by the names of packages, not of modules.
    assert set(asked) <= there


def test_a_half_built_environment_is_built_again(installer: ModuleType, tmp_path: Path) -> None:
    path, _ = installer.install(tmp_path / "envs")
    (path / installer.MARKER).unlink()
    (path / "half").write_text("")
    assert installer.install(tmp_path / "envs") == (path, True)
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
        installer.install(tmp_path / "envs")
    monkeypatch.setattr(installer, "run", good)
    assert installer.install(tmp_path / "envs")[1] is True


def test_a_mended_shim_needs_no_new_build(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "files"
    here.mkdir()
    for name in installer.CPU_SHIM:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("old")
    (here / "verl-0.5-3.11.lock").write_text("torch==2.13.0\n")
    monkeypatch.setattr(installer, "HERE", here)
    path, _ = installer.install(tmp_path / "envs")
    (here / installer.CPU_SHIM[0]).write_text("mended")
    count = len(installer.commands)
    assert installer.install(tmp_path / "envs") == (path, True)
    assert len(installer.commands) == count
    copy = path / "lib" / "python3.11" / "site-packages" / installer.CPU_SHIM[0]
    assert copy.read_text() == "mended"
    assert oct(copy.stat().st_mode & 0o777) == "0o644"


def test_another_lock_is_another_environment(installer: ModuleType) -> None:
    python = Path(sys.executable)
    one = installer.environment_hash(python, b"verl==0.5.0\n")
    assert one == installer.environment_hash(python, b"verl==0.5.0\n")
    assert one != installer.environment_hash(python, b"verl==0.5.1\n")


def test_all_of_the_shim_is_installed(installer: ModuleType) -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()}
    there = {name for name in found if "__pycache__" not in name and not name.endswith(".lock")}
    tools = {"install.py", "shared_packages.py"}
    named = {*installer.CPU_SHIM, *installer.GPU_SHIM, *installer.FLASH_ATTENTION}
    assert there - tools == named


def test_a_second_installer_waits_and_finds_the_work_done(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()

    def say(text: str) -> None:
        if "waiting for it" in text:
            waiting.set()

    monkeypatch.setattr(installer, "say", say)
    path, _ = installer.install(tmp_path / "envs")
    with ThreadPoolExecutor() as pool:
        with installer.only_one(tmp_path / "envs"):
            second = pool.submit(installer.install, tmp_path / "envs")
            assert waiting.wait(30)
            assert not second.done()
        assert second.result(30) == (path, False)


def program_with(python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the real installer with another program in place of the machine's Python."""
    text = (SOURCE / "install.py").read_text()
    assert 'Path("/usr/bin/python3")' in text
    (folder / "install.py").write_text(text.replace("/usr/bin/python3", str(python)))
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


def shared(installer: ModuleType, folder: Path, has: dict[str, list[str]]) -> ModuleType:
    """install.py on a machine whose Python 3.12 has a torch for GPUs, and other packages."""
    usual = installer.run

    def run(command: list[str], deadline: float) -> str:
        if command[1] == "-c":
            return "python3.12 2.11.0+cu130\n"
        if command[1].endswith("shared_packages.py"):
            installer.commands.append(command)
            return json.dumps(has)
        if command[1:4] != ["-m", "venv", "--without-pip"]:
            usual(command, deadline)
            return ""
        installer.commands.append(command)
        (Path(command[4]) / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
        (Path(command[4]) / "bin").mkdir()
        return ""

    installer.run = run  # type: ignore[attr-defined]
    (folder / "python3").write_text("")
    return installer


def test_the_machine_s_torch_is_shared_and_not_installed(
    installer: ModuleType, tmp_path: Path
) -> None:
    for name in ("torch", "nvidia", "filelock"):
        (tmp_path / "site" / name).mkdir(parents=True)
    names = {"torch": "torch", "nvidia-nccl-cu13": "nvidia", "filelock": "filelock"}
    has = {name: [str(tmp_path / "site" / folder)] for name, folder in names.items()}
    shared(installer, tmp_path, has)
    path, changed = installer.install(tmp_path / "envs", "verl-0.5", f"{tmp_path}/python3", True)
    assert changed
    packages = path / "lib" / "python3.12" / "site-packages"
    assert (packages / "torch").readlink() == tmp_path / "site" / "torch"
    assert (packages / "nvidia").is_symlink()
    assert not (packages / "filelock").exists()  # the lock has its own
    listed = (path / "requirements.txt").read_text().split()
    assert "verl==0.5.0" in listed
    assert not [line for line in listed if line.startswith("torch==")]
    assert (path / "bin" / "torchrun").read_text().startswith(f"#!{path}/bin/python\n")
    assert (packages / "flash_attn" / "bert_padding.py").is_file()
    assert not (packages / "mnrun_cpu_shim.py").exists()
    again = installer.install(tmp_path / "envs", "verl-0.5", f"{tmp_path}/python3", True)
    assert again == (path, False)
    assert all("--index-url" not in command for command in installer.commands)


def test_the_machine_s_flash_attention_needs_no_stand_in(
    installer: ModuleType, tmp_path: Path
) -> None:
    for name in ("torch", "flash_attn"):
        (tmp_path / "site" / name).mkdir(parents=True)
    has = {
        name: [str(tmp_path / "site" / name.replace("-", "_"))] for name in ("torch", "flash-attn")
    }
    shared(installer, tmp_path, has)
    path, _ = installer.install(tmp_path / "envs", "verl-0.5", f"{tmp_path}/python3", True)
    packages = path / "lib" / "python3.12" / "site-packages"
    assert (packages / "flash_attn").is_symlink()
    assert (packages / "mnrun_gpu_shim.pth").is_file()
    assert list((tmp_path / "site" / "flash_attn").iterdir()) == []


def folder_of_wheels(installer: ModuleType, folder: Path, without: str) -> Path:
    """Every wheel of the lock but one."""
    folder.mkdir()
    for line in (SOURCE / "verl-0.5-3.12.lock").read_text().split():
        name, _, version = line.partition("==")
        if name not in {without, "torch"}:
            (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    return folder


def test_without_a_network_the_machine_s_python_gives_what_the_folder_lacks(
    installer: ModuleType, tmp_path: Path
) -> None:
    for name in ("torch", "pyarrow"):
        (tmp_path / "site" / name).mkdir(parents=True)
    has = {name: [str(tmp_path / "site" / name)] for name in ("torch", "pyarrow")}
    shared(installer, tmp_path, has)
    wheels = folder_of_wheels(installer, tmp_path / "wheels", "pyarrow")
    path, _ = installer.install(
        tmp_path / "envs", "verl-0.5", f"{tmp_path}/python3", True, str(wheels)
    )
    asked = next(c for c in installer.commands if c[1].endswith("shared_packages.py"))
    assert asked[2:] == ["torch", "pyarrow", "flash-attn"]
    assert (path / "lib" / "python3.12" / "site-packages" / "pyarrow").is_symlink()
    assert "pyarrow" not in (path / "requirements.txt").read_text()
    pip = [command for command in installer.commands if "install" in command]
    assert pip
    assert all("--no-index" in command for command in pip)


def test_what_neither_the_folder_nor_the_machine_has_is_named(
    installer: ModuleType, tmp_path: Path
) -> None:
    shared(installer, tmp_path, {"torch": []})
    wheels = folder_of_wheels(installer, tmp_path / "wheels", "wandb")
    with pytest.raises(installer.InstallError, match=r"no wandb for Python 3\.12, and neither has"):
        installer.install(tmp_path / "envs", "verl-0.5", f"{tmp_path}/python3", True, str(wheels))


def test_a_python_tells_what_it_has_of_packages_and_of_their_needs(tmp_path: Path) -> None:
    for name, needs in {
        "Big_One": "small>=1; python_version > '3'",
        "small": "",
        "extra": "",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        more = f"Requires-Dist: {needs}\nRequires-Dist: extra; extra == 'more'\n" if needs else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{more}")
        (info / "RECORD").write_text(
            f"{name}/__init__.py,,\n../../../bin/tool,,\n{info.name}/METADATA,,\n"
        )
    program = [sys.executable, str(SOURCE / "shared_packages.py"), "big-one", "absent"]
    done = subprocess.run(
        program, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert sorted(found) == ["big-one", "small"]
    names = [Path(file).name for file in found["big-one"]]
    assert names == ["Big_One", "Big_One-1.dist-info"]
