"""An environment that shares the torch of a Python of the machine, and one without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import env_command
import pytest

from tests.helpers.env_installer import Installer

SOURCE = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "env"


def shared(installer: Installer, folder: Path, has: dict[str, list[str]]) -> None:
    """Put it on a machine whose Python 3.12 has a torch for GPUs, and other packages."""
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

    installer.replace(env_command, run=run)
    (folder / "python3").write_text("")


def test_the_machine_s_torch_is_shared_and_not_installed(
    installer: Installer, tmp_path: Path
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
    installer: Installer, tmp_path: Path
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


def test_vllm_finds_no_stand_in_for_flash_attention(installer: Installer, tmp_path: Path) -> None:
    has = {}
    for name in ("torch", "vllm"):
        (tmp_path / "site" / name).mkdir(parents=True)
        has[name] = [str(tmp_path / "site" / name)]
    shared(installer, tmp_path, has)
    (tmp_path / "wheels").mkdir()
    for line in (SOURCE / "verl-0.9-vllm-3.12.lock").read_text().split():
        name, _, version = line.partition("==")
        if name not in has:
            (tmp_path / "wheels" / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    asked = ("verl-0.9-vllm", f"{tmp_path}/python3", True, f"{tmp_path}/wheels")
    path, _ = installer.install(tmp_path / "envs", *asked)
    packages = path / "lib" / "python3.12" / "site-packages"
    assert (packages / "mnrun_gpu_shim.pth").is_file()
    assert not (packages / "flash_attn").exists()


def test_a_folder_of_wheels_may_have_a_package_for_another_trainer_too(
    installer: Installer, tmp_path: Path
) -> None:
    for name in ("torch", "numpy"):
        (tmp_path / "site" / name).mkdir(parents=True)
    shared(installer, tmp_path, {name: [f"{tmp_path}/site/{name}"] for name in ("torch", "numpy")})
    wheels = folder_of_wheels(installer, tmp_path / "wheels", "numpy")
    (wheels / "numpy-0.0.1-cp312-cp312-manylinux2014_x86_64.whl").touch()
    asked = ("verl-0.5", f"{tmp_path}/python3", True, str(wheels))
    path, _ = installer.install(tmp_path / "envs", *asked)
    assert (path / "lib" / "python3.12" / "site-packages" / "numpy").is_symlink()


def folder_of_wheels(installer: Installer, folder: Path, without: str) -> Path:
    """Every wheel of the lock but one."""
    folder.mkdir()
    for line in (SOURCE / "verl-0.5-3.12.lock").read_text().split():
        name, _, version = line.partition("==")
        if name not in {without, "torch"}:
            (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    return folder


def test_without_a_network_the_machine_s_python_gives_what_the_folder_lacks(
    installer: Installer, tmp_path: Path
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
    installer: Installer, tmp_path: Path
) -> None:
    shared(installer, tmp_path, {"torch": []})
    wheels = folder_of_wheels(installer, tmp_path / "wheels", "wandb")
    with pytest.raises(
        env_command.InstallError, match=r"no wandb for Python 3\.12, and neither has"
    ):
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
