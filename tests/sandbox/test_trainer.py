"""The real verl on the CPU: rollouts and the toy, in the training environment."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .place import environments

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles" / "sandbox" / "files"
CHECKS = Path(__file__).parent / "files" / "trainer_checks.py"
MODEL = "model/Llama-3.2-1B-Instruct"
DATA = "data/gsm8k"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

pytestmark = pytest.mark.sandbox


def last_line(command: Sequence[str | Path], timeout: float = 300, **keywords: Any) -> Any:
    """Run a command that has to succeed; return its last line of output, which is JSON."""
    return json.loads(output(command, timeout, **keywords)[-1])


def output(command: Sequence[str | Path], timeout: float = 300, **keywords: Any) -> list[str]:
    """Run a command that has to succeed; return its lines of output."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
        **keywords,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return str(done.stdout).splitlines()


@pytest.fixture(scope="module")
def python() -> Path:
    """The training environment's Python; it is built here when `mnrun sandbox up` has not yet."""
    install = FILES / "env" / "install.py"
    found = last_line(["/usr/bin/python3", install, "--root", environments()], timeout=1800)
    return Path(found["path"], "bin", "python")


@pytest.fixture(scope="module")
def home(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the toy model and data."""
    home = tmp_path_factory.mktemp("home")
    assert make_toy(python, home)["changed"] is True
    return home


STEPS = """
import json, os, runpy, sys

sys.path.insert(0, sys.argv[1])
import cluster_ray
try:
    sys.argv = ["ray", "--version"]
    runpy.run_path(cluster_ray.__file__, run_name="__main__")
except SystemExit:
    pass
from ray._private import node
from ray._private.parameter import RayParams
steps = [(node.Node, "start_api_server"), (node.Node, "_init_gcs_client"),
         (node, "get_all_node_info_until_retrieved")]
for head in (True, False):
    os.environ["RAY_START_HOOK"] = "cluster_ray.hook"
    cluster_ray.hook(RayParams(), head)
replaced = [getattr(owner, name).__module__ for owner, name in steps]
print(json.dumps({"replaced": replaced, "serve": "ray.serve" in sys.modules}))
"""


def test_the_ray_of_the_lock_has_the_steps_that_are_made_sooner(python: Path) -> None:
    files = ROOT / "roles" / "ray_cluster" / "files"
    lines = output([python, "-c", STEPS, files])
    assert json.loads(lines[-1]) == {"replaced": ["cluster_ray"] * 3, "serve": False}
    taken = ["5 of 5 shortcuts taken", "6 of 6 shortcuts taken"]
    assert lines[-3:-1] == [f"mnrun: ray start: {words}" for words in taken]


def make_toy(python: Path, home: Path) -> Any:
    return last_line([python, FILES / "toy" / "make_toy.py", "--home", home])


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }


def test_another_user_can_run_it_and_finds_the_cpu(python: Path) -> None:
    program = (
        "import json, torch, verl.utils.device as d\n"
        "print(json.dumps([d.get_device_name(), d.get_nccl_backend(), torch.cpu.mem_get_info()]))"
    )
    nobody = pwd.getpwnam("nobody")
    found = last_line(
        [python, "-c", program],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
    )
    assert found == ["cpu", "gloo", [0, 0]]


def test_the_shim_waits_for_verl(python: Path) -> None:
    program = (
        "import json, sys\n"
        "print(json.dumps([sorted(m for m in sys.modules if m.startswith('mnrun')),"
        " [type(f).__name__ for f in sys.meta_path].count('ImportHook')]))"
    )
    assert last_line([python, "-c", program]) == [
        ["mnrun_cpu_shim", "mnrun_import_hook"], 1,
    ]  # fmt: skip


def test_the_toy_is_the_same_to_the_last_byte(python: Path, home: Path, tmp_path: Path) -> None:
    make_toy(python, tmp_path)
    assert contents(tmp_path) == contents(home)
    assert make_toy(python, home)["changed"] is False


def test_rollouts_equal_plain_generation(python: Path, home: Path) -> None:
    answers = last_line([python, CHECKS, "rollout", home / MODEL])
    assert answers["verl"] == answers["plain"]
    assert answers["precisions"] == ["torch.float32"]  # bfloat16 is five times slower on many CPUs
    # The check can see the trap: with verl's position ids, transformers answers otherwise.
    assert answers["trap"] != answers["plain"]
