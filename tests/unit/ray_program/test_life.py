"""The whole life of a Ray cluster's job: its programs as they are, on a fake Slurm and Ray."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.ray_head import read_head
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import texts

from tests.helpers.stage_run import HOSTILE

FAKES = Path(__file__).parent / "fakes"
SCONTROL = '#!/bin/sh\n[ "$*" = "show hostnames $SLURM_JOB_NODELIST" ] && echo "$FAKE_NODES"\n'
PATIENCE = 90.0  # seconds for what takes one: this machine may have very much else to do
# A GPU that is there and cannot be used.
TORCH = """
class cuda:
    @staticmethod
    def device_count(): return 4
class ones:
    def __init__(self, count, device):
        if int(device[-1]) == 3: raise RuntimeError("uncorrectable ECC error\\nand a trace")
    def item(self): return 1.0
"""


@dataclass
class Job:
    """A batch job that became cluster.py."""

    record: Path
    steer: Path
    temp: Path
    process: subprocess.Popen[bytes] | None = None

    def have_ray(self, version: str) -> None:
        """Let the environment say that this Ray is installed."""
        about = self.steer / "torch" / f"ray-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\n")

    def pids(self, mark: bytes) -> list[int]:
        """Processes of the job with this in their command line."""
        ours = (str(self.steer).encode(), str(self.record).encode())
        found = {int(entry.name): _command_line(entry) for entry in Path("/proc").glob("[0-9]*")}
        found = {pid: line for pid, line in found.items() if any(own in line for own in ours)}
        return [pid for pid, line in found.items() if mark in line and b"bin/srun" not in line]

    def start(self, nodes: str = "osk-gpu94", started: str = "", **settings: Any) -> None:
        given = {
            "gpus": 4, "port": 0, "dashboard_port": 0, "ready_timeout": PATIENCE,
            "idle_timeout": 60, "linger": 60, "log_dir": str(self.record),
            "temp_root": str(self.temp), "options": {}, **settings,
        }  # fmt: skip
        (self.record / "cluster.json").write_text(json.dumps(given))
        env = {
            "PATH": f"{self.steer}/bin:{os.environ['PATH']}",
            "PYTHONPATH": f"{FAKES}:{self.steer}/torch",
            "FAKE_RAY": str(self.steer),
            "FAKE_NODES": nodes.replace(" ", "\n"),
            "FAKE_STARTED": started or nodes.split(maxsplit=1)[0],
            "SLURM_JOB_ID": "12",
            "SLURM_JOB_NODELIST": "osk-gpu[94-95]",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURMD_NODENAME": nodes.split(maxsplit=1)[0],
        }
        with (self.record / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-B", self.record / "cluster.py"],
                env=env, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def until(self, seen: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < deadline, f"{self.said()}\n{self.logs()}"
            time.sleep(0.02)

    def until_up(self) -> dict[str, Any]:
        assert self.process is not None
        published = self.record / "head.json"
        process = self.process
        self.until(lambda: published.exists() or process.poll() is not None)
        assert published.exists(), f"{self.said()}\n{self.logs()}"
        head: dict[str, Any] = json.loads((self.record / "head.json").read_text())
        found = read_head(self.record)  # as the modules read it
        assert found is not None
        assert {**vars(found.head), **found.cluster} == head
        return head

    def until_not_whole(self, nodes: str, names: str, **settings: Any) -> None:
        """Let it start, and end at its deadline. On a machine that is too busy to bring up by then
        what works, which `names` would be said of, it is tried with a later one."""
        for seconds in (3, 12, 48):
            self.start(nodes, ready_timeout=seconds, **settings)
            assert self.end() == 1
            assert f"not complete after {seconds} s (ray_cluster_ready_timeout)" in self.said()
            if names not in self.said():
                return
        pytest.fail(self.said())

    def end(self) -> int:
        """The exit code; nothing may be left of the job, but its logs."""
        assert self.process is not None
        code = self.process.wait(PATIENCE)
        self.until(lambda: not self.leftovers())
        assert list(self.temp.iterdir()) == []
        assert not (self.record / "head.json").exists()
        assert list(self.record.glob("token-*")) == []
        return code

    def leftovers(self) -> list[bytes]:
        """Command lines of processes that the job started."""
        marks = (str(self.steer).encode(), str(self.record).encode())
        lines = (_command_line(entry) for entry in Path("/proc").iterdir())
        return [line for line in lines if any(mark in line for mark in marks)]

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()}" for log in self.record.glob("*.log"))

    def said(self) -> str:
        return (self.record / "out").read_text()

    def node_log(self) -> str:
        return (self.record / "ray-12-osk-gpu94.log").read_text()


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
    except OSError:
        return b""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / HOSTILE, tmp_path / "steer", Path(f"/tmp/{os.getpid()}"))
    for folder in (job.record, job.steer / "bin", job.temp):
        folder.mkdir(parents=True)
    for name, text in texts(["cluster*.py", "torch_gpus.py"]).items():
        (job.record / name).write_text(text)
    (job.steer / "jobs.json").write_text("[]")
    (job.steer / "version").write_text("2.60.0")
    (job.steer / "bin" / "scontrol").write_text(SCONTROL)
    (job.steer / "bin" / "srun").write_text(
        f"#!{sys.executable}\n{(FAKES / 'srun.py').read_text()}"
    )
    for name in ("scontrol", "srun"):
        (job.steer / "bin" / name).chmod(0o755)
    yield job
    if job.process:
        job.process.kill()
        job.process.wait(5)
    job.temp.rmdir()


def test_up_published_and_stopped_as_asked(job: Job) -> None:
    job.start()
    head = job.until_up()
    assert (head["job_id"], head["host"], head["nodes"]) == ("12", "osk-gpu94", ["osk-gpu94"])
    assert (head["gpus"], head["ray_version"]) == (4, "2.60.0")
    token = Path(head["token_file"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert Path(head["temp_dir"]).stat().st_mode & 0o777 == 0o700  # though Ray opens its own
    secret = token.read_bytes()
    assert not any(secret in line for line in job.leftovers())
    assert job.process is not None
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 0
    assert job.said().endswith("[ray] stopped: asked to (SIGUSR1)\n")
    assert "[ray] Welcome to the cluster\n" in job.said()
    # The fake has no module `ray._private.node`.
    missed = "not: raylet beside the dashboard. Ray starts without them, but more slowly"
    assert f"mnrun: ray start: 4 of 5 shortcuts taken; {missed}\n" in job.node_log()
    assert job.node_log().endswith("mnrun: stopped, as asked\n")
    assert secret.decode() not in job.said() + job.node_log()


def test_stopped_before_it_is_up(job: Job) -> None:
    job.start("osk-gpu94 localhost")
    job.until(lambda: any(job.temp.glob("*/ray")))
    assert job.process is not None
    job.process.terminate()
    assert job.end() == 0
    assert "asked to (SIGTERM)" in job.said()


def test_it_ends_by_itself_when_no_job_has_run_for_a_while(job: Job) -> None:
    (job.steer / "jobs.json").write_text('[{"status": "RUNNING"}]')
    job.start(idle_timeout=1, linger=1)
    job.until_up()
    time.sleep(1.5)  # longer than it waits without a job
    assert job.process is not None
    assert job.process.poll() is None
    (job.steer / "jobs.json").write_text('[{"status": "SUCCEEDED"}]')
    assert job.end() == 0
    assert "no Ray job has run for 1 s (ray_cluster_idle_timeout)" in job.said()


def test_a_cluster_that_is_open_to_everybody_ends_before_it_is_published(job: Job) -> None:
    (job.steer / "no_tokens").touch()
    (job.steer / "version").write_text("2.51.1")
    job.start()
    assert job.end() == 1
    assert "answers without the token" in job.said()
    assert "Ray 2.51.1" in job.said()
    assert "Ray 2.52 or later" in job.said()
    assert "ready after" not in job.said()


def test_a_node_that_is_lost_is_named_with_its_log(job: Job) -> None:
    job.start()
    job.until_up()
    (job.steer / "die").touch()
    assert job.end() == 1
    assert "osk-gpu94: Ray ended by itself, exit code 1." in job.said()
    assert "raylet [exit code=-9]" in job.said()
    assert "raylet.err: Check failed: no room" in job.said()  # its folder is gone


def test_a_ray_that_takes_too_long_is_no_fault_of_its_nodes(job: Job) -> None:
    (job.steer / "late").touch()
    job.start()
    assert job.end() == 1
    assert "osk-gpu94: Ray ended by itself, exit code 1." in job.said()
    assert "raylet.err: Timed out waiting for file" in job.said()
    assert "(+0x" not in job.said()
    faulty = json.loads((job.record / "faulty.json").read_text())
    assert (faulty["nodes"], faulty["slow"]) == (["osk-gpu94"], True)


def test_all_nodes_that_fail_are_named(job: Job) -> None:
    watch = job.record / "cluster_watch.py"  # it waits for those that are missing only
    watch.write_text(watch.read_text().replace("_GATHER = 4.0", f"_GATHER = {PATIENCE}"))
    (job.steer / "die").touch()
    job.start("osk-gpu94 localhost", started="osk-gpu94 localhost")
    assert job.end() == 1
    for node in ("osk-gpu94", "localhost"):  # one of them finds that its folder is the other's
        assert re.search(rf"^{node}: Ray (ended by itself|could not be)", job.said(), re.MULTILINE)
    faulty = json.loads((job.record / "faulty.json").read_text())
    assert (faulty["job_id"], faulty["slow"]) == ("12", False)
    assert sorted(faulty["nodes"]) == sorted(faulty["of"]) == ["localhost", "osk-gpu94"]


def test_a_gpu_that_torch_cannot_use_keeps_it_from_being_up(job: Job) -> None:
    (job.steer / "torch").mkdir()
    (job.steer / "torch" / "torch.py").write_text(TORCH)
    job.start(torch_check="always")
    assert job.end() == 1
    assert "osk-gpu94: torch cannot use GPU 3: uncorrectable ECC error." in job.said()
    assert "ready after" not in job.said()


def test_gpus_that_torch_can_use_let_it_come_up(job: Job) -> None:
    (job.steer / "torch").mkdir()
    (job.steer / "torch" / "torch.py").write_text(TORCH.replace("== 3", "== 99"))
    job.start(torch_check="always")
    job.until_up()
    assert job.process is not None
    job.process.terminate()
    assert job.end() == 0


def test_too_few_gpus_for_torch(job: Job) -> None:
    (job.steer / "torch").mkdir()
    (job.steer / "torch" / "torch.py").write_text(TORCH.replace("return 4", "return 3"))
    job.start(torch_check="always")
    assert job.end() == 1
    assert "osk-gpu94: torch sees 3 GPUs, 4 expected." in job.said()


def test_an_interface_that_is_not_there(job: Job) -> None:
    job.start("osk-gpu94 localhost", interface="enp25s0np0")
    assert job.end() == 1
    assert "osk-gpu94: there is no interface enp25s0np0 with an IPv4 address" in job.said()
    assert "lo (127.0.0.1)" in job.said()


def test_a_node_program_that_is_killed_leaves_no_folder(job: Job) -> None:
    job.start()
    home = Path(job.until_up()["temp_dir"])
    os.utime(home, (time.time() - 60,) * 2)  # young ones are not swept: they may not be held yet
    # Ray ends with it: with a real Slurm by the job's cgroup, which the fake does not know.
    for mark in (b"cluster_node.py", b"cluster_ray.py", b"os.fork()"):
        for pid in job.pids(mark):
            os.kill(pid, signal.SIGKILL)
    assert job.end() == 1
    assert not home.exists()
    assert "srun ended, exit code 137" in job.said()


def test_the_token_of_a_job_that_was_killed_goes(job: Job) -> None:
    (job.record / "token-11").write_text("old")
    job.start()
    assert [path.name for path in job.record.glob("token-*")] != []
    job.until_up()
    assert [path.name for path in job.record.glob("token-*")] == ["token-12"]
    assert job.process is not None
    job.process.terminate()
    assert job.end() == 0


@pytest.mark.parametrize("version", ["2.51.1", "2.9.3"])
def test_a_ray_without_tokens_is_not_even_started(job: Job, version: str) -> None:
    job.have_ray(version)
    job.start()
    assert job.end() == 1
    assert f"Ray {version} answers without the token" in job.said()
    assert "ray_cluster_allow_open" in job.said()
    assert list(job.record.glob("ray-*.log")) == []


def test_a_ray_without_tokens_runs_when_told_to_and_says_what_that_means(job: Job) -> None:
    job.have_ray("2.51.1")
    (job.steer / "no_tokens").touch()
    job.start(allow_open=True)
    assert job.until_up()["open"] is True
    assert job.process is not None
    job.process.terminate()
    assert job.end() == 0
    assert "[ray] warning: this Ray has no tokens: whoever is on osk-gpu94" in job.said()


def test_a_node_that_does_not_come_is_named_at_the_deadline(job: Job) -> None:
    job.until_not_whole("osk-gpu94 localhost", "osk-gpu94:")
    assert "localhost: Ray has not joined." in job.said()


def test_missing_gpus_keep_it_from_being_up(job: Job) -> None:
    job.until_not_whole("osk-gpu94", "does not answer", options={"num-gpus": 3})
    assert "osk-gpu94: has 3 GPUs, 4 expected." in job.said()


def test_nodes_stop_also_when_the_first_process_is_killed(job: Job) -> None:
    job.start()
    head = job.until_up()
    assert job.process is not None
    job.process.kill()
    job.until(lambda: not job.leftovers())
    assert list(job.temp.iterdir()) == []
    assert job.node_log().endswith("mnrun: stopped, as asked\n")
    Path(head["token_file"]).unlink()  # a killed process cannot
    (job.record / "head.json").unlink()


def test_a_folder_that_somebody_else_made_is_not_used(job: Job) -> None:
    job.start()
    head = job.until_up()
    made = Path(head["temp_dir"])
    assert job.process is not None
    job.process.terminate()
    assert job.end() == 0
    made.mkdir()
    plan = {
        "job_id": "12", "head": "osk-gpu94", "ip": "127.0.0.1", "gcs_port": 1, "dashboard_port": 2,
        "token_file": "", "temp_dir": str(made), "log_dir": str(job.record), "gpus": 1,
        "options": {},
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-B", job.record / "cluster_node.py", json.dumps(plan)],
        env={**os.environ, "SLURMD_NODENAME": "osk-gpu94", "SLURM_CPUS_ON_NODE": "1"},
        input="", capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "osk-gpu94 failed Ray could not be started" in done.stdout
    assert "File exists" in done.stdout
    assert made.exists()
    made.rmdir()
