"""Two users on one run folder, two Slurms on one home, a record that was removed, a name with a
line break: one job, and nobody takes for dead what they cannot see."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from string import Template
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import render

from .place import beside
from .test_cluster_life import assert_nothing_left
from .test_outages import Outage

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm, pytest.mark.timeout(900)]

HIDDEN = "PrivateData=jobs,usage\n"


@pytest.fixture
def own() -> Iterator[Outage]:
    """A cluster of the test's own, in a folder in which there is room for another one."""
    cluster = Outage(beside("see") / "first")
    cluster.directory.parent.mkdir()
    yield cluster
    cluster.change("down")
    assert_nothing_left(cluster)
    shutil.rmtree(cluster.directory.parent)


def call(cluster: Outage, arguments: dict[str, Any], user: str = "mluser") -> dict[str, Any]:
    """`slurm_job` as a user; all that it writes can be written by the other one too."""
    given = {"module": "slurm_job", "arguments": arguments, "quiet": 8.0, "point": "",
             "passed": "/dev/null"}  # fmt: skip
    program = f"{cluster.torture.inside}/lib/call.py"
    line = f"umask 0; /usr/bin/python3 {program} {shlex.quote(json.dumps(given))}"
    said = cluster.run(line, f"{user}@login", timeout=300, check=False)
    answers = [json.loads(text) for text in said.splitlines() if text.startswith("{")]
    assert answers, said
    answer: dict[str, Any] = answers[-1]
    return answer


def live(cluster: Outage) -> list[str]:
    """The ids of all live jobs of both users."""
    found = cluster.run("squeue -h -o %i", "root@login").split()
    return sorted(found)


def test_another_user_does_not_take_a_hidden_job_for_dead(
    own: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "SLURM", Template(render.SLURM.template + HIDDEN))
    monkeypatch.setattr(render, "SLURMDBD", Template(render.SLURMDBD.template + HIDDEN))
    own.start("users")
    job = own.job("sleep 600")
    own.run(f"chmod 777 {job['run_dir']}")
    refused = call(own, job)
    assert "can be written by everyone (mode 0777; chmod go-w" in refused["msg"]
    assert "belongs to the user mluser" in call(own, job, "mluser2")["msg"]
    job = {**job, "run_dir_shared": True}
    first = call(own, job)
    assert first["action"] == "submitted", first
    own.wait("squeue -h -o %T", "RUNNING")
    assert own.run("squeue -h -o %i", "mluser2@login") == "", "it is hidden"
    for arguments in (job, {**job, "spec": {"lr": 0.2}}, {**job, "state": "absent"}):
        answer = call(own, arguments, "mluser2")
        assert answer["failed"], answer
        assert "the user mluser submitted it, and Slurm may hide it from" in answer["msg"]
        assert live(own) == [first["job"]["id"]]
    assert call(own, job)["action"] == "attached"
    # What the job itself recorded counts for everybody.
    own.run("scancel --me")
    own.wait("squeue -h -o %i", "^$")
    again = call(own, job, "mluser2")
    assert (again["action"], again["attempt"]) == ("resubmitted", 2), again
    answer = call(own, job)
    assert "the user mluser2 submitted it" in answer["msg"]
    assert live(own) == [again["job"]["id"]]
    own.run("scancel --me", "mluser2@login")


def test_a_second_slurm_with_the_same_home_leaves_the_first_one_s_job_alone(
    own: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.start("slurms", accounting=False)
    job = own.job("sleep 600", run_dir_shared=True)
    first = call(own, job)
    own.wait("squeue -h -o %T", "RUNNING")
    other = Outage(own.directory.parent)
    (other.directory / "home").symlink_to("first/home")
    monkeypatch.setattr(render, "CLUSTER", "other")
    try:
        other.change(accounting=False)
        other.torture = own.torture
        theirs = other.submit("--output=/dev/null", "--wrap='sleep 600'")
        assert theirs == first["job"]["id"], "both count from 1"
        for arguments in (job, {**job, "spec": {"lr": 0.2}}, {**job, "state": "absent"}):
            answer = call(other, arguments)
            assert answer["failed"], answer
            assert "to the Slurm cluster sandbox, and this host uses other" in answer["msg"]
        assert (live(other), live(own)) == ([theirs], [first["job"]["id"]])
    finally:
        other.change("down")
    monkeypatch.undo()
    assert call(own, job)["action"] == "attached"
    own.run("scancel --me")


def test_a_record_that_was_removed_and_a_name_with_a_line_break(own: Outage) -> None:
    own.start("removed", accounting=False)
    own.submit("--output=/dev/null", "--job-name=$'a\\n9|RUNNING|None'", "--wrap='sleep 600'")
    job = own.job("sleep 600", run_dir_shared=True)
    first = call(own, job)
    own.wait(f"squeue -h -o %T -j {first['job']['id']}", "RUNNING")
    own.run(f"rm -r {job['run_dir']}/.mnrun")
    other = call(own, {**job, "spec": {"lr": 0.2}})
    assert f"scancel {first['job']['id']}" in other["msg"]
    again = call(own, job)
    assert (again["action"], again["job"]["id"]) == ("adopted", first["job"]["id"]), again
    own.run(f"rm -r {job['run_dir']}/.mnrun/sft/[0-9a-f]*")
    answer = call(own, {**job, "state": "absent"})
    assert f"scancel {first['job']['id']}" in answer["msg"]
    assert len(live(own)) == 2
    assert call(own, job)["action"] == "adopted"
    assert call(own, {**job, "state": "absent"})["action"] == "stopped"
    assert len(live(own)) == 1
    own.run("scancel --me")
