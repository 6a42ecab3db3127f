"""What is tried before SFT trains, with a torch that only says how many GPUs there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import texts

ROLES = Path(__file__).parents[3] / "roles"
TORCH = """
class cuda:
    @staticmethod
    def device_count(): return {count}
class ones:
    def __init__(self, *_, device): self.device = device
    def item(self):
        if self.device == "cuda:{broken}": raise RuntimeError("CUDA error: x\\nmore")
"""
# A rank for each of GPUS, as srun --label shows it.
SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
command = sys.argv[sys.argv.index("python"):]
for rank in range(int(os.environ["GPUS"])):
    env = dict(os.environ, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), SLURM_NTASKS="1")
    done = subprocess.run([sys.executable, *command[1:]], env=env, stdout=subprocess.PIPE)
    for line in done.stdout.decode().splitlines():
        print(f"{rank}: {line}", flush=True)
"""
SMI = """#!/bin/sh
case $1 in
  --query-gpu=index*) echo '0, GPU-aa, 30000, 143771' ;;
  --query-compute-apps*) echo "GPU-aa, {pid}, 29990, python" ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a job on one node, with the gate's programs."""
    variables = yaml.safe_load((ROLES / "sft/vars/main.yml").read_text())
    for name, text in texts(
        variables["sft_node_programs"] + variables["sft_gate_programs"]
    ).items():
        (tmp_path / name).write_text(text)
    program(tmp_path, "srun", SRUN)
    program(tmp_path, "scontrol", "#!/bin/sh\necho osk-gpu95\n")
    return tmp_path


def program(job: Path, name: str, text: str) -> None:
    (job / name).write_text(text)
    (job / name).chmod(0o755)


def torch(job: Path, count: int, built: str = "'12.8'", broken: int = -1) -> None:
    folder = job / "python" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(TORCH.format(count=count, broken=broken))
    (folder / "version.py").write_text(f"cuda: Optional[str] = {built}\n")


def gate(job: Path, gpus: int = 1, when: str = "auto") -> tuple[int, str, str]:
    env = {
        "PATH": f"{job}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(job / "python"),
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "osk-gpu95",
        "RENDEZVOUS_HOST": "127.0.0.1",
        "MNRUN_RECORD": str(job),
        "MNRUN_ATTEMPT": "2",
        "GPUS": str(gpus),
    }
    done = subprocess.run(
        [sys.executable, "-B", job / "sft_gate.py", str(gpus), when],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_gpu_that_is_sound_passes_and_is_recorded(job: Path) -> None:
    torch(job, count=8)
    code, out, err = gate(job)
    assert (code, err) == (0, "")
    assert "[gate] passed in " in out
    assert "1 node, 1 GPU each (ready: osk-gpu95 " in out
    kept = json.loads((job / "gate-2.json").read_text())
    assert (kept["job_id"], kept["allreduce"], kept["warnings"]) == ("12", {}, {})


def test_a_node_without_its_gpus_is_named_before_it_trains(job: Path) -> None:
    torch(job, count=0)
    code, out, err = gate(job)
    assert (code, out) == (1, "")
    assert err.startswith("NodeError: osk-gpu95: torch sees 0 GPUs, 1 expected\n")
    assert "(sft_gate)" in err


def test_a_gpu_that_torch_cannot_use_is_named(job: Path) -> None:
    torch(job, count=1, broken=0)
    assert "osk-gpu95: torch cannot use GPU 0: CUDA error: x\n" in gate(job)[2]


def test_a_gpu_whose_memory_another_holds_is_refused_with_its_owner(job: Path) -> None:
    torch(job, count=1)
    program(job, "nvidia-smi", SMI.format(pid=os.getpid()))
    code, _out, err = gate(job)
    assert code == 1
    held = f"NodeError: osk-gpu95: GPU 0: of 143,771 MiB, 29,990 MiB by root (process {os.getpid()}"
    assert held.replace("root", Path(f"/proc/{os.getpid()}").owner()) in err


def test_a_torch_without_gpus_has_no_gate(job: Path) -> None:
    torch(job, count=0, built="None")
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        assert gate(job) == (0, "", "")
        code, out, _err = gate(job, when="always")
        assert code == 0
        assert "no GPUs" in out


def test_a_torch_that_is_missing_is_named(job: Path) -> None:
    (job / "python" / "torch").mkdir(parents=True)
    (job / "python" / "torch" / "version.py").write_text("cuda: str = '12.8'\n")
    (job / "python" / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.13')\n")
    assert "NodeError: osk-gpu95: torch cannot be imported: libcudart.so.13\n" in gate(job)[2]
