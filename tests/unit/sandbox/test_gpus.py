"""Real GPUs: how they are shared out among the nodes, and which torch serves them."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import (
    fabric,
    gpus,
    machine_torch,
    render,
)
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import Options

ROLE = Path(__file__).parents[3] / "roles" / "sandbox" / "files"
REAL = Options("/var/lib/mnrun-sandbox", gpus=2, real=True)


def test_only_devices_of_gpus_count(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"):
        (tmp_path / name).touch()
    assert gpus.numbers(tmp_path) == [2, 10]


@pytest.mark.parametrize(
    ("found", "nodes", "asked", "simulated", "choice"),
    [
        (0, 2, None, False, (False, 8)),
        (0, 2, 4, False, (False, 4)),
        (2, 2, None, False, (True, 1)),
        (8, 2, None, False, (True, 4)),
        (5, 2, None, False, (True, 2)),
        (8, 2, 1, False, (True, 1)),
        (8, 2, 0, False, (True, 0)),
        (8, 2, None, True, (False, 8)),
        (8, 2, 64, True, (False, 64)),
        (1, 2, None, False, (False, 8)),
        (1, 1, None, False, (True, 1)),
    ],
)
def test_gpus_are_shared_out_evenly_unless_a_number_is_asked_for(
    found: int, nodes: int, asked: int | None, simulated: bool, choice: tuple[bool, int]
) -> None:
    assert gpus.choose(range(found), nodes, asked, simulated)[:2] == choice


def test_too_few_for_all_nodes_are_said_and_more_than_there_are_are_refused() -> None:
    assert gpus.choose([0], 2, None, False).note == "1 real cannot be shared by 2 nodes"
    with pytest.raises(SandboxError, match="has 3 GPUs, and 2 nodes with 2 each need 4"):
        gpus.choose([0, 1, 2], 2, 2, False)


def test_no_gpu_belongs_to_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [0, 1, 4, 5]
    shares = {node.name: gpus.share(REAL, node, found) for node in REAL.machines}
    assert shares == {"osk-ctl": [], "login": [], "osk-gpu94": [0, 1], "osk-gpu95": [4, 5]}
    monkeypatch.setattr(gpus, "numbers", lambda: found)
    assert [fabric._devices(REAL, node) for node in REAL.machines] == [
        "real:", "real:", "real:0,1", "real:4,5"
    ]  # fmt: skip
    with pytest.raises(SandboxError, match=r"osk-gpu95 needs 2 GPUs; this machine has \[0, 1, 4\]"):
        gpus.share(REAL, REAL.compute[1], found[:3])


def test_slurm_knows_real_gpus_by_the_names_that_each_node_gives_them() -> None:
    assert render.gres_conf(REAL) == "AutoDetect=off\nName=gpu File=/run/gpu/nvidia[0-1]\n"
    assert "/run/fakegpu/nvidia[0-1]" in render.gres_conf(REAL._replace(real=False))
    assert render.gres_conf(REAL._replace(gpus=0)) == ""
    text = render.slurm_conf(REAL, "cgroup", gpus.Size(16, 120_000))
    assert (
        "CPUs=16 Sockets=1 CoresPerSocket=16 ThreadsPerCore=1 RealMemory=120000 Gres=gpu:2" in text
    )
    assert "CPUs=64 " in render.slurm_conf(REAL._replace(real=False), "cgroup")


def test_a_node_has_its_share_of_the_machine() -> None:
    whole, half = gpus.size(1), gpus.size(2)
    assert whole.cores == len(os.sched_getaffinity(0))
    assert half.cores == max(1, whole.cores // 2)
    assert 0 <= whole.memory - 2 * half.memory <= 1


@pytest.fixture
def init() -> ModuleType:
    """init.py of the nodes."""
    spec = importlib.util.spec_from_file_location("init", ROLE / "cluster" / "bin" / "init.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_dev_is_copied_with_its_folders_links_and_devices(
    init: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, int]] = []
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "dri").mkdir(parents=True, mode=0o750)
    (old / "fd").symlink_to("/proc/self/fd")
    (old / "log").touch()  # neither a device nor a link
    for path, information, target in init.listed(old):
        new.mkdir(exist_ok=True)
        init.make(new / path.relative_to(old), information, target)
    assert sorted(path.name for path in new.iterdir()) == ["dri", "fd"]
    assert (new / "fd").readlink() == Path("/proc/self/fd")
    monkeypatch.setattr(init, "device", lambda path, *rest: made.append((path.name, *rest)))
    init.make(new / "null", Path("/dev/null").stat(), "")
    assert made == [("null", Path("/dev/null").stat().st_mode, os.makedev(1, 3))]
    assert stat.S_ISCHR(made[0][1])


def test_gpus_are_told_from_other_devices(init: ModuleType) -> None:
    names = ("nvidia0", "nvidia12", "nvidiactl", "nvidia-uvm", "null")
    assert [init.gpu(Path("/dev", name)) for name in names] == ["0", "12", "", "", ""]


def python(folder: Path, version: str, torch: str = "", cuda: str = "'13.0'") -> Path:
    """A program that answers as a Python with a torch does."""
    folder.mkdir(parents=True)
    origin = ""
    if torch:
        origin = str(folder / "__init__.py")
        lines = f"__version__ = '{torch}'\ncuda: Optional[str] = {cuda}\n"
        (folder / "version.py").write_text(lines)
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\necho \'["{version}", "/usr/bin/python3", "{origin}"]\'\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own folder may be one that a node cannot see."""
    monkeypatch.setattr(machine_torch, "OWN_PLACES", ("/hidden/",))


@pytest.mark.usefixtures("anywhere")
def test_the_first_torch_that_fits_is_taken_and_the_others_are_explained(tmp_path: Path) -> None:
    places = [
        python(tmp_path / "a", "3.12"),
        python(tmp_path / "b", "3.12", "2.11.0+cpu", "None"),
        python(tmp_path / "c", "3.12", "2.5.1+cu124"),
        python(tmp_path / "d", "3.9", "2.7.0+cu126"),
        python(tmp_path / "e", "3.12", "2.11.0+cu130"),
    ]
    found, faults = machine_torch.find(["3.11", "3.12"], [Path("/bin/false"), *places])
    assert found == machine_torch.Torch(str(places[4]), "3.12", "2.11.0+cu130")
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "it does not run",
        "no torch",
        "torch 2.11.0+cpu: it is not for GPUs",
        "torch 2.5.1+cu124: it is older than 2.6",
        "torch 2.7.0+cu126: it is for Python 3.9, not 3.11 or 3.12",
    ]


def test_a_torch_that_the_nodes_cannot_see_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_torch, "OWN_PLACES", (f"{tmp_path}/",))
    place = python(tmp_path / "x", "3.12", "2.11.0+cu130")
    found, (fault,) = machine_torch.find(["3.12"], [place])
    assert found is None
    assert f"torch 2.11.0+cu130: the nodes cannot see {place}" in fault


def test_the_pythons_of_path_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "root/opt/torch/bin", "root/usr/bin"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}/mine:{tmp_path}/none")
    found = [path.relative_to(tmp_path) for path in machine_torch.places(tmp_path / "root")]
    assert [str(path.parent) for path in found] == ["mine", "root/opt/torch/bin", "root/usr/bin"]
