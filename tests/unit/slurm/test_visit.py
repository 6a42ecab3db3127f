"""A compute node to try something on."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.slurm.visit import (
    Visit,
    choose_node,
    hold_node,
)

from tests.helpers.fake_slurm import FakeClock

NODES = "n1|allocated|gpu\nn2|idle|gpu\nn3|down*|gpu\nn4|idle*|gpu\nn0|idle|cpu\n"


class Site:
    """sinfo, sbatch, scontrol and scancel; a job waits for as many looks as `waits` says."""

    def __init__(self, listed: str = NODES, waits: int = 1) -> None:
        self.listed = listed
        self.waits = waits
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.refusal = ""

    def __call__(self, command: list[str], _seconds: float, _stdin: str) -> Result:
        program, *words = command
        if program == "sinfo":
            return Result(0, self.listed, "")
        if program == "sbatch":
            self.submitted = words
            return Result(1, "", self.refusal) if self.refusal else Result(0, "12\n", "")
        if program == "scancel":
            self.cancelled.append(words[-1])
            return Result(0, "", "")
        assert program == "scontrol"
        self.waits -= 1
        state = "PENDING" if self.waits >= 0 else "RUNNING"
        nodes = "n2" if state == "RUNNING" else "(null)"
        return Result(0, f"JobId=12 JobName=x JobState={state} NodeList={nodes}\n", "")


def client(site: Site) -> SlurmClient:
    return SlurmClient(site, FakeClock())


@pytest.mark.parametrize(
    ("options", "node"),
    [
        ({"partition": "gpu"}, "n2"),
        ({"partition": "gpu", "nodelist": "n[1,3]"}, "n1"),
        ({"partition": "gpu", "nodelist": "n3,n4"}, ""),
        ({"partition": "cpu"}, "n0"),
        ({}, "n0"),
    ],
)
def test_a_node_is_chosen_that_the_job_may_get(options: dict[str, str], node: str) -> None:
    found = choose_node(client(Site()), options)
    assert found.node == node
    assert bool(found.why) == (not node)


def test_where_nodes_may_not_be_listed_none_is_chosen() -> None:
    assert choose_node(client(Site(listed="")), {"partition": "gpu"}).node == ""


def test_a_job_holds_a_node_with_what_the_site_needs() -> None:
    site = Site()
    options = {"partition": "gpu", "account": "team", "nodes": "8", "nodelist": "n[1-8]"}
    assert hold_node(client(site), options, FakeClock()) == Visit("n2", "12")
    assert {"--partition=gpu", "--account=team", "--nodes=1"} <= set(site.submitted)
    assert not [word for word in site.submitted if word.startswith("--nodelist")]
    assert site.cancelled == []


def test_a_job_that_does_not_start_is_taken_back() -> None:
    site = Site(waits=1000)
    assert "no node was free" in hold_node(client(site), {}, FakeClock()).why
    assert site.cancelled == ["12"]


def test_a_job_that_is_refused_is_no_answer() -> None:
    site = Site()
    site.refusal = "sbatch: error: invalid account"
    assert hold_node(client(site), {}, FakeClock()) == Visit(why="sbatch: error: invalid account")
