"""Slurm's daemons stop, hang and are wiped, and disks are full: one job, and the right outcome."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from string import Template
from typing import Any
from unittest import mock

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import render

from .faults import kill_node, record
from .place import beside
from .test_cluster_life import OwnCluster, assert_nothing_left
from .test_torture import SHORT_QUIET, exactly_once
from .torture import Torture, judged

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm, pytest.mark.timeout(900)]


class Outage(OwnCluster):
    """A cluster whose daemons can be stopped, and one run on it."""

    def start(self, name: str, **options: Any) -> None:
        self.change(**options)
        self.options = options
        self.torture = Torture(self, name)

    def signal(self, name: str, word: str) -> None:
        """Send a signal to a daemon of the controller's node."""
        pid = self.first("node", str(self.directory), "osk-ctl")
        line = f"kill -{word} $(cat /run/{name}.pid)"
        enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "sh", "-c", line]
        subprocess.run(enter, check=True, timeout=10)

    @property
    def works(self) -> str:
        """What the jobs of the run `one` wrote when they began and ended."""
        path = self.torture.outside / "one" / "works"
        return path.read_text() if path.exists() else ""

    def job(self, body: str = "sleep 1", **options: Any) -> dict[str, Any]:
        """Arguments of slurm_job for the run `one`."""
        script = "#!/bin/bash\necho begin >> works\n"
        folder = f"{self.torture.inside}/one"
        self.run(f"mkdir -p {folder}")
        return {"run_dir": folder, "stage": "sft", "name": "one", "spec": {"lr": 0.1},
                "sbatch": {"ntasks": 1, "time": 9},
                "script": f"{script}{body}\necho end >> works\n", **options}  # fmt: skip

    def call(self, arguments: dict[str, Any], **more: Any) -> Any:
        return self.torture.call(arguments, quiet=SHORT_QUIET, **more)

    def jobs(self) -> list[str]:
        return sorted(self.torture.slurm_jobs())


@pytest.fixture
def own() -> Iterator[Outage]:
    """A second cluster beside the default one; it ends with the test."""
    cluster = Outage(beside("outage"))
    yield cluster
    cluster.change("down")
    assert_nothing_left(cluster)
    shutil.rmtree(cluster.directory)


def later(act: Any, *arguments: Any, **options: Any) -> Future[Any]:
    """Do something beside the test."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(act, *arguments, **options)
    pool.shutdown(wait=False)
    return future


@pytest.mark.slurm_core
def test_slurmctld_hangs_during_sbatch_and_accepts_the_job_nevertheless(own: Outage) -> None:
    short = render.SLURM.template.replace("MessageTimeout=10", "MessageTimeout=3")
    assert short != render.SLURM.template
    with mock.patch.object(render, "SLURM", Template(short)):
        own.start("hang", accounting=False)
    own.signal("slurmctld", "STOP")
    call = later(own.call, own.job(wait=True))
    time.sleep(9)  # sbatch gives up after 3 s, and squeue too
    own.signal("slurmctld", "CONT")
    answer = call.result(180)
    assert not answer.get("failed"), answer["msg"]
    assert (answer["action"], answer["job"]["state"]) in {
        ("adopted", "COMPLETED"), ("submitted", "COMPLETED"),
    }  # fmt: skip
    assert own.works == "begin\nend\n"
    own.wait("squeue -h -t pending,running,completing -o %i", "^$")
    assert own.works == "begin\nend\n"
    assert own.call(own.job(wait=True))["action"] == "nothing"


@pytest.mark.torture
def test_slurmctld_hangs_for_longer_than_anybody_waits(own: Outage) -> None:
    """The request lies in slurmctld's socket while the controller dies and the window passes."""
    own.start("stall", accounting=False)
    own.signal("slurmctld", "STOP")
    assert own.call(own.job(wait=True), after=5.0) is None
    time.sleep(20)
    again = later(own.call, own.job(wait=True))
    time.sleep(10)
    own.signal("slurmctld", "CONT")
    answer = again.result(180)
    assert answer["job"]["state"] == "COMPLETED", answer["msg"]
    own.wait("squeue -h -t pending,running,completing -o %i", "^$")
    assert own.works == "begin\nend\n"


@pytest.mark.torture
def test_slurmctld_is_down_before_sbatch(own: Outage) -> None:
    own.start("down", accounting=False)
    own.signal("slurmctld", "9")
    refused = own.call(own.job(wait=True))
    assert refused["failed"]
    assert "Nothing was submitted and nothing cancelled" in refused["msg"]
    call = later(own.call, own.job(wait=True))
    time.sleep(5)
    own.change(**own.options)
    answer = call.result(180)
    assert answer["job"]["state"] == "COMPLETED", answer["msg"]
    assert own.works == "begin\nend\n"
    assert len(own.jobs()) == 1


@pytest.mark.torture
def test_slurmdbd_is_down(own: Outage) -> None:
    own.start("dbd")
    own.signal("slurmdbd", "9")
    assert own.call(own.job(wait=True))["job"]["state"] == "COMPLETED"
    assert own.call(own.job(wait=True))["action"] == "nothing"
    # An intent without a job: the accounting might know it, so that nothing is guessed.
    other = own.job(wait=True, spec={"lr": 0.2})
    assert own.call(other, point="before sbatch #1") is None
    call = later(own.call, other)
    time.sleep(15)
    assert not call.done()
    own.change(**own.options)
    assert call.result(120)["job"]["state"] == "COMPLETED"
    assert own.works == "begin\nend\n" * 2


@pytest.mark.torture
def test_without_accounting_every_scenario_is_exactly_once(own: Outage) -> None:
    own.start("without", accounting=False)
    cases = [
        {"id": f"{scenario}-{number}", "scenario": scenario, "kill": {"point": point}}
        for scenario in ("submit", "resume", "stop", "replace")
        for number, point in enumerate(own.torture.points(scenario)[2::5])
    ]
    counts = judged(own.torture.cases(cases, quiet=SHORT_QUIET), own.torture.slurm_jobs())
    exactly_once(counts, cases)


@pytest.mark.torture
def test_ids_that_are_used_again_after_a_wipe(own: Outage) -> None:
    own.start("reused")
    first = own.call(own.job("sleep 300"))
    own.wait("squeue -h -o %T", "RUNNING")
    own.change("down")
    own.change(wipe=True)
    other = own.submit("--output=/dev/null", "--job-name=theirs", "--wrap='sleep 300'")
    assert other == first["job"]["id"]
    assert own.torture.call({**own.job(), "state": "absent"}, quiet=SHORT_QUIET)["changed"] is False
    assert own.run(f"squeue -h -o %T -j {other}") in ("RUNNING", "PENDING", "CONFIGURING")
    answer = own.call(own.job(wait=True))
    assert (answer["action"], answer["attempt"], answer["job"]["state"]) == (
        "resubmitted", 2, "COMPLETED",
    )  # fmt: skip
    assert own.works == "begin\nbegin\nend\n"
    assert own.run(f"squeue -h -o %T -j {other}") == "RUNNING"


@pytest.mark.torture
@pytest.mark.parametrize("accounting", [False, True])
def test_jobs_that_slurmctld_has_forgotten(
    own: Outage, monkeypatch: pytest.MonkeyPatch, accounting: bool
) -> None:
    """MinJobAge=2, and no accounting, or one that keeps no comments."""
    monkeypatch.setattr(render, "SLURM", Template(f"{render.SLURM.template}MinJobAge=2\n"))
    plain = "".join(x for x in render.WITH_ACCOUNTING.splitlines(True) if "StoreFlags" not in x)
    monkeypatch.setattr(render, "WITH_ACCOUNTING", plain)
    own.start("forgotten", accounting=accounting)

    def forgotten() -> None:
        own.wait("squeue -h -t all -o %i; ls /nowhere", r"^ls: ", 180)

    # It ended well, and nobody looked.
    well = own.job()
    own.call(well)
    forgotten()
    answer = own.call(well)
    assert (answer["action"], answer["job"]["state"]) == ("nothing", "COMPLETED")
    # It failed.
    fails = own.job("exit 7", spec={"lr": 0.2})
    own.call(fails)
    forgotten()
    answer = own.call({**fails, "attempt": 1, "wait": True})
    assert answer["failed"]
    assert (answer["job"]["state"], answer["job"]["exit_code"]) == ("FAILED", 7)
    answer = own.call(own.job(spec={"lr": 0.2}, wait=True))
    assert (answer["action"], answer["job"]["state"]) == ("resubmitted", "COMPLETED")
    # Its controller was killed before it knew the id; the job ended well.
    cut_off = own.job(spec={"lr": 0.3}, wait=True)
    assert own.call(cut_off, point="after sbatch #1") is None
    forgotten()
    answer = own.call(cut_off)
    assert (answer["attempt"], answer["job"]["state"]) == (1, "COMPLETED")
    # The same, and somebody cancelled it before it began: only the accounting can know.
    never = own.job(spec={"lr": 0.4}, wait=True)
    own.submit("--output=/dev/null", "--nodes=2", "--exclusive", "--wrap='sleep 600'")
    own.wait("squeue -h -o %T", "RUNNING")
    assert own.call(never, point="after sbatch #1") is None
    assert "PENDING" in own.run("squeue -h -o %T")
    own.run("scancel --me")
    forgotten()
    answer = own.call(never)
    assert (answer["attempt"], answer["job"]["state"]) == (2, "COMPLETED")
    assert answer["action"] == ("resubmitted" if accounting else "submitted")
    # It ran, and somebody cancelled it.
    stays = own.job("sleep 600", spec={"lr": 0.5})
    own.call(stays)
    own.wait("squeue -h -o %T", "RUNNING")
    own.wait(f"tail -n 1 {stays['run_dir']}/works", "begin")
    own.run("scancel --me")
    forgotten()
    answer = own.call({**stays, "attempt": 1, "wait": True})
    assert answer["job"]["state"] == ("CANCELLED" if accounting else "FAILED")
    assert answer["cause"]["code"] == "cancelled"
    assert not answer["retryable"]

    assert own.works.count("begin") == 6
    assert own.submit("--output=/dev/null", "--wrap=true") == "9", "eight were submitted before"


@pytest.mark.torture
def test_a_successor_does_without_the_node_that_failed(own: Outage) -> None:
    own.start("nodes", nodes=3, accounting=False)
    body = 'if [ "$MNRUN_ATTEMPT" = 1 ]; then srun sleep 300; fi\nsrun hostname > hosts'
    arguments = own.job(body, wait=True)
    script = arguments["script"].replace("--ntasks=1", "--nodes=2 --ntasks-per-node=1")
    call = later(own.call, {**arguments, "script": script})
    folder = arguments["run_dir"]
    own.wait(f"cat {folder}/works", "begin")
    kill_node(own, "osk-gpu95")
    answer = call.result(180)
    assert not answer.get("failed"), answer["msg"]
    assert (answer["attempt"], answer["job"]["state"]) == (2, "COMPLETED")
    assert sorted(own.run(f"cat {folder}/hosts").split()) == ["osk-gpu94", "osk-gpu96"]
    first, second = record(own, folder, "sft")["attempts"]
    assert (first["state"], first["lost_nodes"]) == ("NODE_FAIL", "osk-gpu95")
    assert second["exclude"] == "osk-gpu95"


@pytest.mark.torture
def test_a_job_that_another_one_took_the_nodes_from_goes_on(
    own: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's own preemption: the partition `debug` comes before `gpu`."""
    prior = "PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n"
    name = "PartitionName=debug"
    text = render.SLURM.template.replace(name, f"{name} PriorityTier=9")
    assert text != render.SLURM.template
    monkeypatch.setattr(render, "SLURM", Template(f"{text}{prior}"))
    own.start("preempted")
    body = 'if [ "$MNRUN_ATTEMPT" = 1 ]; then sleep 300; fi'
    arguments = own.job(body, wait=True)
    script = arguments["script"].replace("--ntasks=1", "--nodes=2 --exclusive")
    call = later(own.call, {**arguments, "script": script})
    own.wait(f"cat {arguments['run_dir']}/works", "begin")
    other = "--partition=debug --time=5 --exclusive --output=/dev/null"
    own.submit(other, "--wrap='sleep 3'")
    answer = call.result(180)
    assert not answer.get("failed"), answer["msg"]
    assert (answer["attempt"], answer["job"]["state"]) == (2, "COMPLETED")
    first, _second = record(own, arguments["run_dir"], "sft")["attempts"]
    assert first["state"] == "PREEMPTED"
    assert own.works == "begin\nbegin\nend\n"


@pytest.mark.torture
def test_a_disk_that_is_full_and_one_that_cannot_be_written(own: Outage) -> None:
    own.start("disk", accounting=False)
    arguments = own.job(wait=True)
    folder = arguments["run_dir"]

    def as_root(line: str) -> str:
        return own.run(line, "root@login")

    as_root(f"mount -t tmpfs -o size=256k,uid=2000,mode=755 none {folder}")
    # Full before the intent: nothing is submitted.
    as_root(f"head -c 300000 /dev/zero > {folder}/full || true")
    answer = own.call(arguments)
    assert answer["failed"]
    assert "No space left on device. Nothing further was done. Free some space" in answer["msg"]
    assert own.jobs() == []
    # Full between the intent and the job's id: the job is found again. It cannot claim its attempt,
    # as only this host has the file system: so it does not work.
    as_root(f"rm {folder}/full")
    answer = own.call(arguments, point="before sbatch #1", fill=f"{folder}/full")
    assert answer["failed"]
    assert "record.json: No space left on device" in answer["msg"]
    assert own.jobs() == ["1"]
    as_root(f"rm {folder}/full")
    own.wait("squeue -h -t pending,running,completing -o %i", "^$")
    answer = own.call({**arguments, "wait": False})
    assert (answer["action"], answer["attempt"]) == ("resubmitted", 2), answer["msg"]
    assert "job 1 ended as FAILED" in answer["msg"].replace("Job", "job")
    assert own.jobs() == ["1", "2"]
    # Read-only: said so, and the record stays as it is.
    before = as_root(f"cat {folder}/.mnrun/sft/*/record.json")
    as_root(f"mount -o remount,ro {folder}")
    answer = own.call({**arguments, "spec": {"lr": 0.2}})
    assert answer["failed"]
    assert "Read-only file system. Nothing further was done." in answer["msg"]
    assert as_root(f"cat {folder}/.mnrun/sft/*/record.json") == before
    own.wait("squeue -h -t pending,running,completing -o %i", "^$")
    as_root(f"umount {folder}")
    assert own.works == ""
