"""The sandbox comes up, goes down and survives the death of anything, on a cluster of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import process, run
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import Options

from .conftest import ROOT, Cluster
from .place import PLACE, beside

pytestmark = pytest.mark.sandbox

FILES = ROOT / "roles" / "sandbox" / "files" / "cluster"
FREEZER = Path("/sys/fs/cgroup/freezer")


class OwnCluster(Cluster):
    """A cluster that a test may break, with the Slurm of the usual one."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.ssh = self.ssh[:3]  # no login stays: what is left of the cluster is looked for

    @property
    def slurm(self) -> str:
        """The version, as the module `sandbox` takes it."""
        return str(run.info(str(PLACE))["options"]["slurm"])

    def change(self, state: str = "up", check: bool = False, **options: Any) -> dict[str, Any]:
        """The module `sandbox`, in this process."""
        params = {"state": state, "directory": str(self.directory), "nodes": 2, "gpus": 8,
                  "accounting": True, "ssh_to_nodes": True, "wipe": False,
                  "slurm": self.slurm, "files": str(FILES), "conda_env": ""}  # fmt: skip
        return run.apply({**params, **options}, check, Clock())

    def info(self) -> dict[str, Any]:
        """The module `sandbox_info`."""
        return run.info(str(self.directory))

    def pids(self) -> list[int]:
        """This machine's processes that belong to the cluster."""
        mark = Options(str(self.directory)).cgroup
        ours = {p for p in process.pids() if mark in process.read(f"/proc/{p}/cgroup")}
        return sorted(ours | {p for p in process.pids() if str(self.directory) in command(p)})

    def saved(self) -> None:
        """Wait until Slurm has saved its state, which it does every five seconds.

        Killed before, it would start a young job again, or know nothing of it.
        """
        now, path = time.time(), Options(str(self.directory), slurm=self.slurm).spool / "job_state"
        process.wait_until(
            lambda: path.exists() and path.stat().st_mtime > now, 30, lambda: "not saved", Clock()
        )

    def first(self, *words: str) -> int:
        """The first process of the fabric or of a node."""
        line = " ".join(["/usr/bin/python3 -IS", f"{self.directory}/bin/init.py", *words])
        return next(p for p in process.pids() if command(p).startswith(line))

    def kill(self, name: str, node: str) -> None:
        """kill -9 of a daemon of one node."""
        pid = self.first("node", str(self.directory), node)
        enter = ["nsenter", "--target", str(pid), "--mount", "--pid"]
        line = f"kill -9 $(cat /run/{name}.pid)"
        subprocess.run([*enter, "sh", "-c", line], check=True, timeout=10)


def command(pid: int) -> str:
    """A process's command line."""
    return " ".join(process.arguments(pid))


@pytest.fixture
def own(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    """A second cluster beside the default one; it ends with the test."""
    cluster = OwnCluster(beside("life"))
    before = links()
    yield cluster
    cluster.change("down")
    assert_nothing_left(cluster)
    assert links() == before
    shutil.rmtree(cluster.directory)


def links() -> str:
    """This machine's network interfaces."""
    command = ["ip", "-o", "-brief", "link"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout


def assert_nothing_left(cluster: OwnCluster) -> None:
    """No process, mount, cgroup or socket."""
    assert cluster.pids() == []
    assert str(cluster.directory) not in Path("/proc/self/mountinfo").read_text()
    assert not (FREEZER / Options(str(cluster.directory)).cgroup).exists()
    assert not (cluster.directory / "login.sock").exists()


def test_check_mode_says_what_would_happen(own: OwnCluster) -> None:
    result = own.change(check=True)
    assert result["actions"] == ["start the cluster: osk-ctl, login, osk-gpu94, osk-gpu95"]
    assert not own.directory.exists()
    own.directory.mkdir()


def test_two_clusters_do_not_meet(own: OwnCluster, sandbox: Cluster) -> None:
    theirs = sandbox.submit("--output=/dev/null", "--wrap='sleep 600'")
    own.change(accounting=False)
    job = own.submit("--output=/dev/null", "--wrap='sleep 600'")
    own.wait("squeue -h -o %T", "RUNNING")
    own.run(f"scancel {job}")
    own.wait("squeue -h -o %T", "^$")
    assert own.change("down")["actions"] == ["take the cluster down"]
    assert own.change("down")["actions"] == []
    assert sandbox.run(f"squeue -h -o %T -j {theirs}") == "RUNNING"
    sandbox.run(f"scancel {theirs}")


@pytest.mark.slurm
@pytest.mark.slurm_core
def test_up_mends_only_what_died(own: OwnCluster) -> None:
    own.change()
    own.submit("--nodes=2", "--output=/dev/null", "--wrap='srun sleep 600'")
    own.wait("squeue -h -o %T", "RUNNING")
    own.saved()
    daemons = {
        "slurmctld": "osk-ctl", "mariadbd": "osk-ctl", "slurmdbd": "osk-ctl", "relay": "login",
        "slurmd": "osk-gpu94", "munged": "osk-gpu95", "sshd": "login",
    }  # fmt: skip
    for name, node in daemons.items():
        own.kill(name, node)
    assert own.info()["state"] == "damaged"
    actions = own.change()["actions"]
    assert sorted(actions) == sorted(f"start {name} on {node}" for name, node in daemons.items())
    assert own.info()["state"] == "up"
    own.wait("squeue -h -o %T", "^RUNNING$")
    os.kill(own.first("node", str(own.directory), "osk-gpu95"), signal.SIGKILL)
    assert own.change()["actions"] == ["start the node osk-gpu95"]
    assert own.run("srun --overlap --nodelist=osk-gpu95 hostname") == "osk-gpu95"


@pytest.mark.torture
def test_jobs_of_a_cluster_that_died_do_not_come_back(own: OwnCluster) -> None:
    own.change()
    own.submit("--nodes=2", "--output=/dev/null", "--wrap='srun sleep 600'")
    own.submit("--nodes=2", "--exclusive", "--output=/dev/null", "--wrap='sleep 600'")
    own.wait("squeue -h -o %T", "RUNNING")
    own.saved()
    os.kill(own.first("fabric", str(own.directory)), signal.SIGKILL)
    process.wait_until(lambda: not own.pids(), 10, lambda: "still there", Clock())
    assert own.info()["state"] == "down"
    # Without a `down` in between: a machine that lost power has none either.
    assert own.change()["actions"] == ["start the cluster: osk-ctl, login, osk-gpu94, osk-gpu95"]
    own.assert_none_queued()
    own.wait("sacct -X -n -a -o State", r"^CANCELLED.*\n *CANCELLED")
    assert own.run("srun --nodes=2 hostname", timeout=20).count("osk-gpu") == 2
    assert int(own.submit("--output=/dev/null", "--wrap=true")) > 2


@pytest.mark.torture
@pytest.mark.parametrize("victim", ["init", "unshare"])
def test_down_cleans_up_after_a_dead_fabric(own: OwnCluster, victim: str) -> None:
    own.change(accounting=False)
    own.submit("--nodes=2", "--output=/dev/null", "--wrap='srun sleep 600'")
    own.wait("squeue -h -o %T", "RUNNING")
    pid = own.first("fabric", str(own.directory))
    parent = int(process.status(pid)["PPid"])
    os.kill(pid if victim == "init" else parent, signal.SIGKILL)
    process.wait_until(lambda: not own.pids(), 10, lambda: "still there", Clock())
    removed = own.change("down")["actions"]
    assert f"remove {own.directory}/login.sock" in removed
    assert_nothing_left(own)


def other_up(cluster: OwnCluster) -> subprocess.Popen[bytes]:
    """Another process that brings the cluster up."""
    code = f"""import sys
sys.path[:0] = {[str(ROOT), str(ROOT / "collections")]!r}
from pathlib import Path
from tests.sandbox.test_cluster_life import OwnCluster
OwnCluster(Path({str(cluster.directory)!r})).change(accounting=False)"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


@pytest.mark.torture
def test_an_up_that_was_cut_off_is_finished_or_taken_down(own: OwnCluster) -> None:
    for delay in (0.5, 0.7, 0.9, 1.2):
        child = other_up(own)
        time.sleep(delay)
        child.kill()
        child.wait()
        if delay == 0.7:
            own.change("down")
            assert_nothing_left(own)
    own.change(accounting=False)
    assert own.run("srun --nodes=2 hostname", timeout=20).count("osk-gpu") == 2


@pytest.mark.torture
def test_two_at_once_make_one_cluster(own: OwnCluster) -> None:
    others = [other_up(own), other_up(own)]
    own.change(accounting=False)
    assert [child.wait(60) for child in others] == [0, 0]
    assert len([p for p in own.pids() if command(p).startswith("slurmctld")]) == 1
    assert own.change(accounting=False)["actions"] == []


def test_options_are_taken_and_a_change_of_them_is_refused(own: OwnCluster) -> None:
    own.change(nodes=3, gpus=2, accounting=False)
    line = "echo $(hostname) $CUDA_VISIBLE_DEVICES"
    output = own.run(f"srun --nodes=3 --gpus-per-node=2 bash -c '{line}'")
    assert sorted(output.splitlines()) == [f"osk-gpu{n} 0,1" for n in (94, 95, 96)]
    with pytest.raises(
        SandboxError, match=r"3 nodes, 2 simulated GPUs.*`mnrun sandbox down` first"
    ):
        own.change(nodes=2)


@pytest.mark.slurm
def test_wipe_forgets_jobs_and_results_and_keeps_the_rest(own: OwnCluster) -> None:
    own.change()
    own.run("mkdir -p training/multinode data; touch training/multinode/x data/y")
    own.submit("--output=/dev/null", "--wrap=true")
    own.wait("sacct -X -n -o State", "COMPLETED")
    own.change(wipe=True)
    assert own.run("ls") == "data"
    assert own.run("sacct -X -n -a") == ""
    assert own.submit("--output=/dev/null", "--wrap=true") == "1"


@pytest.mark.slurm
def test_a_drained_node_is_resumed(own: OwnCluster) -> None:
    own.change(accounting=False)
    own.run("scontrol update nodename=osk-gpu94 state=drain reason=test", node="root@login")
    assert own.change(accounting=False)["actions"] == ["resume the drained node osk-gpu94"]
    own.wait("sinfo -h -p gpu -o %T", "^idle$")


@pytest.mark.torture
def test_without_a_freezer_it_chooses_what_works_and_says_so(
    own: OwnCluster, tmp_path: Path
) -> None:
    files = tmp_path / "cluster"
    shutil.copytree(FILES, files)
    init = files / "bin" / "init.py"
    init.write_text(init.read_text().replace('"cgroup", 0, "freezer"', '"cgroup", 0, "nosuch"'))
    result = own.change(files=str(files), accounting=False)
    assert result["proctrack"] == "linuxproc"
    assert "no freezer cgroup" in result["warnings"][0]
    assert own.run("srun --nodes=2 hostname", timeout=20).count("osk-gpu") == 2
