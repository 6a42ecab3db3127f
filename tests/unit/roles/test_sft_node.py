"""What runs on each node of SFT before the trainer, in a process of its own as in the job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import texts

ROLES = Path(__file__).parents[3] / "roles"
TORCHRUN = """#!/bin/sh
echo "$@"
echo "gloo $GLOO_SOCKET_IFNAME"
echo "tmp $TMPDIR"
touch "$TMPDIR/ckpt_1.lock"
{then}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a job: its programs beside each other, a torchrun and a place for files."""
    variables = yaml.safe_load((ROLES / "sft/vars/main.yml").read_text())
    for name, text in texts(variables["sft_node_programs"]).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "tmp").mkdir()
    torchrun(tmp_path, "exit 3")
    return tmp_path


def torchrun(job: Path, then: str) -> None:
    (job / "torchrun").write_text(TORCHRUN.format(then=then))
    (job / "torchrun").chmod(0o755)


def start(job: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    env = {
        "PATH": f"{job}:/usr/bin:/bin",
        "PYTHONPATH": str(job / "python"),
        "TMPDIR": str(job / "tmp"),
        "SLURM_JOB_ID": "12",
        "SLURMD_NODENAME": "osk-gpu95",
        "RENDEZVOUS_HOST": "127.0.0.1",
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-B", job / "sft_node.py", *arguments],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(job: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = start(job, *arguments, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def torch(job: Path, built: str = "'12.8'") -> None:
    folder = job / "python" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "version.py").write_text(f"cuda: Optional[str] = {built}\n")


def test_the_trainer_gets_its_address_and_a_folder_that_goes_with_it(job: Path) -> None:
    code, out, err = run(job, "8", "torchrun", "-m", "trainer")
    assert code == 3, err
    words, gloo, tmp = out.splitlines()
    assert words == "--local-addr=127.0.0.1 -m trainer"
    assert gloo == "gloo lo"
    assert tmp.startswith(f"tmp {job}/tmp/mnrun-12-")
    assert list((job / "tmp").iterdir()) == []


def test_a_program_of_a_users_own_gets_its_arguments_alone(job: Path) -> None:
    (job / "train").write_text('#!/bin/sh\necho "$@" $MNRUN_RECORD | head -c 9\n')
    (job / "train").chmod(0o755)
    code, out, _err = run(job, "0", "train", "--steps", "4")
    assert (code, out.strip()) == (0, "--steps 4")


def test_what_a_killed_job_left_goes_with_the_next(job: Path) -> None:
    old = job / "tmp" / "mnrun-11-0a1b2c"
    (old / "t").mkdir(parents=True)
    os.utime(old, (1, 1))
    assert run(job, "0", "torchrun")[0] == 3
    assert list((job / "tmp").iterdir()) == []


def sockets(job: Path, gpus: str, **environment: str) -> str:
    """What the trainer finds in its environment, on one of two nodes with GPUs."""
    (job / "train").write_text('#!/bin/sh\necho "$NCCL_SOCKET_NTHREADS $NCCL_NSOCKS_PERTHREAD"\n')
    (job / "train").chmod(0o755)
    code, out, err = run(job, gpus, "train", **{"SLURM_NNODES": "2", **environment})
    assert (code, err) == (0, "")
    return out.strip()


def test_nccl_sends_by_more_sockets_where_it_sends_by_sockets(job: Path) -> None:
    torch(job)
    active = Path("/sys/class/infiniband").exists()
    assert active or sockets(job, "1") == "4 4"
    assert sockets(job, "1", NCCL_SOCKET_NTHREADS="2") == "2"
    assert sockets(job, "1", SLURM_NNODES="1") == ""
    assert sockets(job, "0") == ""


def test_without_gpus_nccl_is_left_alone(job: Path) -> None:
    torch(job, built="None")
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        assert sockets(job, "1") == ""


def test_the_use_of_gpus_is_in_the_record(job: Path) -> None:
    (job / "nvidia-smi").write_text("#!/bin/sh\necho '0, GPU-a, 7, 9, 50'; exec sleep 600\n")
    (job / "nvidia-smi").chmod(0o755)
    torchrun(job, "sleep 0.5")
    record = {"MNRUN_RECORD": str(job), "MNRUN_ATTEMPT": "1", "CUDA_VISIBLE_DEVICES": "0"}
    assert run(job, "1", "torchrun", **record)[0] == 0
    assert '"memory_mib": 7' in (job / "gpus-1-osk-gpu95.json").read_text()


def test_an_address_that_is_not_known_is_named(job: Path) -> None:
    code, out, err = run(job, "0", "torchrun", RENDEZVOUS_HOST="no-such-node.invalid")
    assert (code, out) == (1, "")
    assert err.startswith("NodeError: osk-gpu95: no address of the node no-such-node.invalid")


def test_the_first_node_alone_needs_no_network(job: Path) -> None:
    (job / "scontrol").write_text("#!/bin/sh\necho osk-gpu95\n")
    (job / "scontrol").chmod(0o755)
    assert run(job, "address", SLURM_JOB_NODELIST="osk-gpu95")[:2] == (0, "127.0.0.1\n")


@pytest.mark.parametrize(
    ("devices", "seen"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "0"}, "cuda 0 rocr"),
        ({"ROCR_VISIBLE_DEVICES": "0"}, "cuda rocr 0"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "cuda 0 rocr"),
    ],
)
def test_the_gpus_are_named_for_one_maker(job: Path, devices: dict[str, str], seen: str) -> None:
    torchrun(job, "echo cuda $CUDA_VISIBLE_DEVICES rocr $ROCR_VISIBLE_DEVICES")
    code, out, err = run(job, "0", "torchrun", **devices)
    assert (code, out.splitlines()[-1]) == (0, seen), err


def test_a_signal_that_comes_while_the_trainer_starts_is_for_it_too(job: Path) -> None:
    program = """
import os, signal, subprocess, sys
import sft_node
class Started(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Started
sys.exit(sft_node.run(["sleep", "60"], {}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=job, timeout=50, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_a_signal_is_for_the_trainer_and_its_folder_goes(job: Path) -> None:
    torchrun(job, "exec sleep 600")
    process = start(job, "0", "torchrun")
    assert process.stdout
    while not process.stdout.readline().startswith("tmp"):
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list((job / "tmp").iterdir()) == []
