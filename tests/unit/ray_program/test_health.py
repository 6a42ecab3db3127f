"""What nvidia-smi says of GPUs before a training, and what follows from it."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
from pathlib import Path

import cluster_health
import pytest

GPUS = "0, GPU-aa, 4, 143771\n1, GPU-bb, 20480, 143771\n"
SMI = """#!/bin/sh
case $1 in
  --query-gpu=index*) printf '{gpus}' ;;
  --query-compute-apps*) echo 'GPU-bb, {pid}, 20476, /opt/bin/python3' ;;
  *) echo 'Field "x" is not a valid field to query.'; exit 2 ;;
esac
"""


def judge(visible: str | None = None, job: str = "12", **answers: str) -> cluster_health.Findings:
    chosen = cluster_health.of_job(cluster_health.gpus(answers.get("gpus", GPUS)), visible)
    return cluster_health.judge(answers, chosen, job, Path("/no/proc"))


def test_memory_that_another_holds_is_refused_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text(
        SMI.format(gpus=GPUS.replace("\n", "\\n"), pid=os.getpid())
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    command = Path("/proc/self/comm").read_text().strip()
    (fault,) = cluster_health.look().faults
    held = f"20,476 MiB by {getpass.getuser()} (process {os.getpid()}, {command})"
    assert fault == f"GPU 1: of 143,771 MiB, {held} are in use"
    assert cluster_health.look(only=0).faults == []
    assert cluster_health.look(only=1).faults == [fault]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert cluster_health.look(only=0).faults == [fault]


def test_without_nvidia_smi_nothing_is_known_and_nothing_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster_health.look() == cluster_health.Findings([], [])


@pytest.mark.timeout(60)
def test_an_nvidia_smi_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a child that keeps the pipe open, as with a driver that lets nothing end."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 600 & echo $! >> {tmp_path}/left\nwait\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, seconds in (("_SECONDS", 0.5), ("_PATIENCE", 0.2)):
        monkeypatch.setattr(cluster_health, name, seconds)
    try:
        assert cluster_health.look() == cluster_health.Findings([], [])
    finally:
        for pid in (tmp_path / "left").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


class Hung:
    """A question that is never answered; waiting for it moves the clock."""

    stdout = None

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        self.clock[0] += timeout
        raise subprocess.TimeoutExpired("nvidia-smi", timeout)

    def terminate(self) -> None:
        """It ends."""

    kill = terminate

    def wait(self, _timeout: float) -> int:
        return 0


def test_several_questions_that_hang_have_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("cluster_health.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(cluster_health.Look, "_ask", lambda self, name, _command: asked(self, name))

    def asked(look: cluster_health.Look, name: str) -> None:
        look._asked[name] = Hung(clock)  # type: ignore[assignment]

    assert set(cluster_health.Look().answers().values()) == {""}
    assert clock[0] == 100.0 + cluster_health._SECONDS


def test_little_memory_is_only_a_warning() -> None:
    gpus = "0, GPU-aa, 504, 143771\n"
    found = judge(gpus=gpus, processes="GPU-aa, 7, 500, dcgm\n")
    assert found.faults == []
    (text,) = found.warnings
    assert "500 MiB by a user who is not known here (process 7, dcgm)" in text


def test_memory_of_processes_that_are_not_shown_is_refused_when_it_is_much() -> None:
    (fault,) = judge(gpus="0, GPU-aa, 70000, 143771\n").faults
    assert fault == "GPU 0: of 143,771 MiB, 70,000 MiB are in use by processes that you cannot see"
    found = judge(gpus="0, GPU-aa, 2000, 143771\n")
    assert (len(found.faults), len(found.warnings)) == (0, 1)
    assert judge(gpus="0, GPU-aa, 600, 143771\n") == cluster_health.Findings([], [])


def test_processes_of_this_job_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(b"A=1\0SLURM_JOB_ID=12\0")
    answers = {"processes": "GPU-bb, 7, 20476, python\n"}
    chosen = cluster_health.gpus(GPUS)
    assert cluster_health.judge(answers, chosen, "12", tmp_path).faults == []
    assert len(cluster_health.judge(answers, chosen, "13", tmp_path).faults) == 1


@pytest.mark.parametrize(
    ("rows", "errors", "faults", "warnings"),
    [
        ("GPU-aa, 0, 0", ", 0", 0, 0),
        ("GPU-aa, No, Yes", ", 3", 1, 1),
        ("GPU-aa, 1, 0", ", [N/A]", 0, 1),
        ("GPU-aa, [N/A], [N/A]", ", [N/A]", 0, 0),
        ("GPU-other, 1, 1", "", 0, 0),
        ("", "", 0, 0),
    ],
)
def test_only_what_the_hardware_says_for_certain_refuses(
    rows: str, errors: str, faults: int, warnings: int
) -> None:
    found = judge(gpus=f"0, GPU-aa, 4, 143771{errors}\n", rows=rows)
    assert (len(found.faults), len(found.warnings)) == (faults, warnings)


def test_xids_of_the_hardware_are_warned_of() -> None:
    kernel = "[1.2] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, off the bus\n" * 2
    kernel += "[1.3] NVRM: Xid (PCI:0000:3b:00): 31, pid=1, MMU Fault\n"
    found = judge(gpus="", kernel=kernel)
    assert found.warnings == ["the kernel's log has Xid 79 of the GPU at 0000:3b:00"]


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [(None, "01"), ("1", "1"), ("1,0", "10"), ("GPU-b", "1"), ("MIG-aa", ""), ("", "")],
)
def test_only_the_jobs_own_gpus_are_looked_at(visible: str | None, numbers: str) -> None:
    found = cluster_health.of_job(cluster_health.gpus(GPUS), visible)
    assert "".join(gpu.number for gpu in found) == numbers


def test_answers_of_another_form_are_no_gpus() -> None:
    broken = "No devices were found\n0, GPU-aa, [N/A], [N/A]\n0, GPU-aa, [GPU requires reset], 1\n"
    assert cluster_health.gpus(broken) == []
