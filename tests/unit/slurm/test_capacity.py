"""Requests to Slurm against a cluster as `scontrol` and `sinfo` show it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.preflight import check as preflight
from ansible_collections.mnrun.train.plugins.module_utils.slurm import capacity as slurm

# The form of Slurm 22.05, with the fields that do not matter here left out.
PARTITIONS = """\
PartitionName=gpu AllowAccounts=ALL Default=YES MaxNodes=UNLIMITED MaxTime=7-00:00:00 Nodes=osk-gpu[94-97] State=UP TotalNodes=4
PartitionName=debug AllowAccounts=ALL Default=NO MaxNodes=1 MaxTime=00:30:00 Nodes=osk-gpu[94-95] State=UP TotalNodes=2
PartitionName=old AllowAccounts=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED Nodes=cpu1 State=INACTIVE TotalNodes=1
PartitionName=odd AllowAccounts=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED Nodes=gpu[1-2] State=UP TotalNodes=2
PartitionName=night AllowAccounts=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED Nodes=cpu1 State=DOWN TotalNodes=1
"""  # noqa: E501
NODES = """\
osk-gpu94|gpu|64|2000000|gpu:h100:8(S:0-1),nvme:1|idle
osk-gpu94|debug|64|2000000|gpu:h100:8(S:0-1),nvme:1|idle
osk-gpu95|gpu|64|2000000|gpu:8|mixed
osk-gpu95|debug|64|2000000|gpu:8|mixed
osk-gpu96|gpu|32|1000000+|gpu:a100:4|allocated
osk-gpu97|gpu|64|2000000|gpu:h100:8|down*
gpu1|odd|64|2000000|gpu:nvidia_a100-sxm4-80gb:8(S:0-1),gpu:1g.5gb:7|idle
gpu2|odd|64|2000000|gpu:2080ti:4,nvme:1|idle
cpu1|old|16|64000|(null)|idle
cpu1|night|16|64000|(null)|idle
"""
HOSTNAMES = {
    "osk-gpu[94-95]": "osk-gpu94\nosk-gpu95\n",
    "osk-gpu97": "osk-gpu97\n",
    "osk-gpu[95,99]": "osk-gpu95\nosk-gpu99\n",
    "cpu1": "cpu1\n",
}
GOOD = {"partition": "gpu", "nodes": 2, "nodelist": "osk-gpu[94-95]", "gpus-per-node": 8}


def fake(command: list[str], seconds: float, stdin: str) -> Result:
    """Slurm at the process boundary; what it does not know raises."""
    assert seconds > 0
    assert stdin == ""
    if command == ["scontrol", "-a", "show", "partition", "-o"]:
        return Result(0, PARTITIONS, "")
    if command[0] == "sinfo":
        return Result(0, NODES, "")
    assert command[:3] == ["scontrol", "show", "hostnames"]
    return Result(0, HOSTNAMES[command[3]], "")


def check(**options: Any) -> slurm.Findings:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return slurm.check(given, slurm.survey(fake))


def test_the_request_of_the_real_site_passes() -> None:
    ray = {"ntasks-per-node": 2, "cpus-per-task": 32, "time": "6-00:00:00", "mem": 0}
    assert slurm.check({**GOOD, **ray}, slurm.survey(fake)) == slurm.Findings([], [])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"partition": "gpu,debug", "nodes": 4},
        {"partition": None, "nodes": "2-4", "gpus-per-node": "", "exclusive": True},
        {"gpus-per-node": "h100:8", "nodes": 2},
        {"gres": "gpu:a100:4,nvme:1"},
        {"nodes": 2, "exclude": "osk-gpu[94-95]"},
        {"nodes": 3, "nodelist": "osk-gpu[94-95]"},
        {"mem": "60G", "time": "UNLIMITED", "partition": "night"},
        {"time": "10"},
        {"partition": "odd", "gpus-per-node": 15},
        {"partition": "odd", "gpus-per-node": "nvidia_a100-sxm4-80gb:8"},
        {"partition": "odd", "gpus-per-node": "1g.5gb:7"},
        {"partition": "odd", "gres": "nvme:1,gpu:2080ti:4"},
    ],
)
def test_other_forms_pass(options: dict[str, Any]) -> None:
    assert slurm.check(options, slurm.survey(fake)).faults == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "gpus"}, ["no partition gpus", "debug, gpu, night, odd, old", "mean gpu?"]),
        ({"partition": "gpu,nope"}, ["no partition nope"]),
        ({"partition": "old"}, ["old takes no jobs", "INACTIVE"]),
        ({**GOOD, "nodelist": "osk-gpu[95,99]"}, ["no node osk-gpu99", "osk-gpu96, osk-gpu97"]),
        ({"nodelist": "cpu1"}, ["cpu1 is in partition night", "not in gpu", "osk-gpu94"]),
        ({"nodes": 1, "nodelist": "osk-gpu[94-95]"}, ["names 2 nodes", "nodes is 1"]),
        ({"nodes": 5}, ["nodes: 5", "gpu gives 4"]),
        ({"partition": "debug", "nodes": 2}, ["nodes: 2", "debug gives 1"]),
        ({**GOOD, "gpus-per-node": 9}, ["9 GPUs on each of 2", "gpu have 8 at most"]),
        ({"gpus-per-node": 8, "nodes": 4}, ["8 GPUs", "only osk-gpu94, osk-gpu95, osk-gpu97"]),
        ({"gpus-per-node": "b200:1"}, ["1 b200 GPUs", "0 at most"]),
        ({"cpus-per-task": 64, "ntasks-per-node": 2}, ["128 CPUs", "64 at most"]),
        ({"partition": "odd", "gpus-per-node": 16}, ["16 GPUs", "odd have 15 at most"]),
        ({"partition": "odd", "gres": "gpu:2080ti:5"}, ["5 2080ti GPUs", "odd have 4 at most"]),
        ({"partition": "odd", "gpus-per-node": "1g.5gb:8"}, ["8 1g.5gb GPUs", "7 at most"]),
        ({"mem": "3T"}, ["3145728 MB of memory", "2000000 at most"]),
        ({"time": "8-00:00:00"}, ["8-00:00:00", "allows, 7-00:00:00"]),
        ({"time": "31", "partition": "debug"}, ["31 is more", "0-00:30:00"]),
        ({"time": "UNLIMITED"}, ["UNLIMITED is more"]),
        ({"time": "soon"}, ["'soon' is no time", "days-hours"]),
    ],
)
def test_a_fault_names_what_is_asked_and_what_is_there(
    options: dict[str, Any], words: list[str]
) -> None:
    faults = slurm.check(options, slurm.survey(fake)).faults
    assert len(faults) == 1, faults
    assert all(word in faults[0] for word in words), faults


def test_several_faults_come_together() -> None:
    found = check(nodes=9, time="99-0", nodelist="osk-gpu[95,99]").faults
    assert len(found) == 3


def test_nodes_that_are_down_are_a_warning() -> None:
    assert check(nodelist="osk-gpu97").warnings == ["osk-gpu97 is down*: the job will wait for it"]
    assert check(nodes=4).warnings == [
        "too few nodes of partition gpu are up (osk-gpu97 down*): the job will wait"
    ]
    assert "is down: the job will wait" in check(partition="night").warnings[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 5400.0),
        ("1:30", 90.0),
        ("2:00:00", 7200.0),
        ("1-0", 86400.0),
        ("1-12", 129600.0),
        ("1-12:30", 131400.0),
        ("6-00:00:01", 518401.0),
        ("UNLIMITED", math.inf),
        ("0", math.inf),
    ],
)
def test_forms_of_a_time(text: str, value: float) -> None:
    assert slurm.seconds(text) == value


@pytest.mark.parametrize(
    "answer",
    [
        Result(1, "", "slurm_load_partitions: Unable to contact slurm controller"),
        Result(None, "", ""),
        Result(0, "", ""),
    ],
)
def test_no_answer_is_no_verdict(answer: Result) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        del command, seconds, stdin
        return answer

    with pytest.raises(Unknown):
        slurm.survey(run)
    report = preflight.check(params(slurm=[{"stage": "sft", "options": GOOD}]), run)
    assert len(report.faults) == 1
    assert "unknown" in report.faults[0]
    assert "sinfo" in report.faults[0]


def test_a_cluster_without_a_default_partition_wants_a_name() -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        done = fake(command, seconds, stdin)
        return Result(done.code, done.out.replace("Default=YES", "Default=NO"), "")

    (fault,) = slurm.check({"nodes": 1}, slurm.survey(run)).faults
    assert "no default" in fault
    assert "debug, gpu" in fault


def params(**given: Any) -> dict[str, Any]:
    nothing = {"model": "", "other_models": [], "train_files": [], "test_files": []}
    return {**nothing, "trainers": [], "slurm": [], **given}


def test_what_stages_have_in_common_is_told_once() -> None:
    requests = [
        {"stage": "sft", "options": {"partition": "nope"}},
        {"stage": "ray", "options": {"partition": "nope"}},
        {"stage": "ray", "options": {"nodes": 9}},
    ]
    report = preflight.check(params(slurm=requests), fake)
    assert [fault.split(":")[0] for fault in report.faults] == ["sft, ray", "ray"]
    assert report.identities == {}


def test_without_requests_slurm_is_not_asked() -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        raise AssertionError(command, seconds, stdin)

    assert preflight.check(params(), run).faults == []
