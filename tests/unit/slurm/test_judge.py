"""Requests to Slurm against a cluster as `scontrol` and `sinfo` show it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, Runner
from ansible_collections.mnrun.train.plugins.module_utils.preflight import check as preflight
from ansible_collections.mnrun.train.plugins.module_utils.slurm.capacity import Partition, survey
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.slurm.judge import Findings, judge

from tests.helpers.fake_slurm import FakeClock

# The form of Slurm 22.05, with the fields that do not matter here left out.
PARTITIONS = """\
PartitionName=gpu AllowAccounts=ALL Default=YES DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=7-00:00:00 Nodes=osk-gpu[94-97] State=UP TotalNodes=4
PartitionName=debug AllowAccounts=ALL Default=NO DefaultTime=NONE MaxNodes=1 MaxTime=00:30:00 Nodes=osk-gpu[94-95] State=UP TotalNodes=2
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
GOOD = {"partition": "gpu", "nodes": "2", "nodelist": "osk-gpu[94-95]", "gpus-per-node": "8"}


def fake(command: list[str], seconds: float, stdin: str) -> Result:
    """Slurm at the process boundary; what it does not know raises."""
    assert seconds > 0
    if command == ["sbatch", "--test-only"]:
        return Result(0, "", "sbatch: Job 7 to start at 2026-11-27T03:45:37")
    assert stdin == ""
    if command[:5] == ["sacctmgr", "-n", "-P", "show", "qos"]:
        return Result(0, "\nDenyOnLimit\n", "")
    if command == ["scontrol", "-a", "show", "partition", "-o"]:
        return Result(0, PARTITIONS, "")
    if command == ["sbatch", "--help"]:
        return Result(0, "  -A, --account=name  charge job to specified account\n", "")
    if command[:4] == ["sinfo", "-h", "-a", "-o"]:
        return Result(0, "", "")
    assert command == ["sinfo", "-a", "-h", "-N", "-o", "%N|%R|%c|%m|%G|%T"]
    return Result(0, NODES, "")


def surveyed(run: Runner = fake) -> dict[str, Partition]:
    return survey(SlurmClient(run, FakeClock()))


def judged(options: dict[str, str]) -> Findings:
    return judge(options, surveyed())


def test_the_request_of_the_real_site_passes() -> None:
    ray = {"ntasks-per-node": "2", "cpus-per-task": "32", "time": "6-00:00:00", "mem": "0"}
    assert judged({**GOOD, **ray}) == Findings([], [], "time limit: 6-00:00:00 = 6 days")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"partition": "gpu,debug", "nodes": "4"},
        {"nodes": "2-4", "exclusive": ""},
        {"gpus-per-node": "h100:8", "nodes": "2"},
        {"gres": "gpu:a100:4,nvme:1"},
        {"nodes": "2", "exclude": "osk-gpu[94-95]"},
        {"nodes": "3", "nodelist": "osk-gpu[94-95]"},
        {"time": "30-0", "time-min": "1-0"},
        {"mem": "60G", "time": "UNLIMITED", "partition": "night"},
        {"time": "10"},
        {"partition": "odd", "gpus-per-node": "15"},
        {"partition": "odd", "gpus-per-node": "nvidia_a100-sxm4-80gb:8"},
        {"partition": "odd", "gpus-per-node": "1g.5gb:7"},
        {"partition": "odd", "gres": "nvme:1,gpu:2080ti:4"},
    ],
)
def test_other_forms_pass(options: dict[str, str]) -> None:
    assert judged(options).faults == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "gpus"}, ["no partition gpus", "debug, gpu, night, odd, old", "mean gpu?"]),
        ({"partition": "gpu,nope"}, ["no partition nope"]),
        ({"partition": "old"}, ["old accepts no jobs", "INACTIVE"]),
        ({**GOOD, "nodelist": "osk-gpu[95,99]"}, ["no node osk-gpu99", "osk-gpu96, osk-gpu97"]),
        ({"nodelist": "cpu1"}, ["cpu1 is in partition night", "not in gpu", "osk-gpu94"]),
        ({"nodes": "1", "nodelist": "osk-gpu[94-95]"}, ["names 2 nodes", "nodes is 1"]),
        ({"nodes": "5"}, ["nodes: 5", "gpu allows 4"]),
        ({"partition": "debug", "nodes": "2"}, ["nodes: 2", "debug allows 1"]),
        ({**GOOD, "gpus-per-node": "9"}, ["9 GPUs on each of 2", "gpu have at most 8"]),
        ({"gpus-per-node": "8", "nodes": "4"}, ["8 GPUs", "only osk-gpu94, osk-gpu95, osk-gpu97"]),
        ({"gpus-per-node": "b200:1"}, ["1 b200 GPUs", "at most 0"]),
        ({"cpus-per-task": "64", "ntasks-per-node": "2"}, ["128 CPUs", "at most 64"]),
        ({"partition": "odd", "gpus-per-node": "16"}, ["16 GPUs", "odd have at most 15"]),
        ({"partition": "odd", "gres": "gpu:2080ti:5"}, ["5 2080ti GPUs", "odd have at most 4"]),
        ({"partition": "odd", "gpus-per-node": "1g.5gb:8"}, ["8 1g.5gb GPUs", "at most 7"]),
        ({"mem": "3T"}, ["3145728 MB of memory", "at most 2000000"]),
        ({"time": "8-00:00:00"}, ["time: 8-00:00:00 = 8 days, but partition gpu allows 7 days"]),
        ({"time": "31", "partition": "debug"}, ["31 minutes = 31 minutes", "allows 30 minutes"]),
        ({"time": "UNLIMITED"}, ["UNLIMITED = no limit"]),
        ({"time": "0"}, ["time: 0 = no limit, but partition gpu allows 7 days"]),
        ({"time": "9-0", "time-min": "8-0"}, ["8-0 = 8 days"]),
    ],
)
def test_a_fault_names_what_is_asked_and_what_is_there(
    options: dict[str, str], words: list[str]
) -> None:
    faults = judged(options).faults
    assert len(faults) == 1, faults
    assert all(word in faults[0] for word in words), faults


def test_several_faults_come_together() -> None:
    found = judged({"nodes": "9", "time": "99-0", "nodelist": "osk-gpu[95,99]"}).faults
    assert len(found) == 3


def test_nodes_that_are_down_are_a_warning() -> None:
    found = judged({"nodelist": "osk-gpu97"})
    assert found.warnings == ["osk-gpu97 is down*: the job will wait for it"]
    assert judged({"nodes": "4"}).warnings == [
        "too few nodes of partition gpu are up (osk-gpu97 down*): the job will wait"
    ]
    assert "is down: the job will wait" in judged({"partition": "night"}).warnings[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time": "7200"}, "time limit: 7200 minutes = 5 days"),
        ({}, "time limit: 10 minutes (the default of partition gpu)"),
        ({"partition": "debug"}, "time limit: 30 minutes (the default of partition debug)"),
        ({"partition": "night"}, "time limit: no limit (the default of partition night)"),
    ],
)
def test_a_limit_is_told_as_what_it_comes_to(options: dict[str, str], said: str) -> None:
    assert judged(options).limit == said


@pytest.mark.parametrize(
    "answer",
    [
        Result(1, "", "slurm_load_partitions: Unable to contact slurm controller"),
        Result(None, "", ""),
    ],
)
def test_no_answer_is_no_verdict(answer: Result) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        del command, seconds, stdin
        return answer

    with pytest.raises(Unknown):
        surveyed(run)
    report = preflight.check(params(slurm=[{"stage": "sft", "options": GOOD}]), run)
    assert len(report.faults) == 1
    assert "unknown" in report.faults[0]
    assert "sinfo" in report.faults[0]


DENIED = Result(1, "", "slurm_load_node: Access/permission denied")


def site(*changed: tuple[str, Result | None]) -> Runner:
    """The fake with other answers for commands that start so; None: this host has no such one."""

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        for start, answer in changed:
            if " ".join(command).startswith(start):
                if answer is None:
                    raise Missing(f"There is no {command[0]} on login1.")
                return answer
        return fake(command, seconds, stdin)

    return run


@pytest.mark.parametrize("command", ["sinfo", "scontrol -a show partition"])
@pytest.mark.parametrize(
    "answer",
    [DENIED, None, Result(0, "", ""), Result(0, "use `site-nodes` instead\n", "")],
    ids=["denied", "removed", "empty", "wrapped"],
)
def test_a_cluster_that_does_not_show_its_nodes_is_judged_by_sbatch(
    command: str, answer: Result | None
) -> None:
    given = params(slurm=[{"stage": "sft", "options": {**GOOD, "nodes": 9}}])
    report = preflight.check(given, site((command, answer)))
    assert report.faults == []
    (warning,) = report.warnings
    assert "does not show its partitions and nodes" in warning
    refused = Result(1, "", "allocation failure: Requested node configuration is not available")
    report = preflight.check(given, site((command, answer), ("sbatch --test-only", refused)))
    (fault,) = report.faults
    assert "Requested node configuration is not available" in fault
    silent = Result(1, "", "sbatch: error: Unable to contact slurm controller")
    report = preflight.check(given, site((command, answer), ("sbatch --test-only", silent)))
    assert "Slurm does not respond" in report.faults[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("allocation failure: Invalid feature specification", "--constraint=a100"),
        ("sbatch: error: Invalid generic resource (gres) specification", "generic resource"),
        ("allocation failure: Requested reservation is invalid", "reservation is invalid"),
        ("sbatch: error: You must specify an account", "Your accounts: blue; red in partition gpu"),
    ],
)
def test_what_only_sbatch_knows_is_a_fault(said: str, words: str) -> None:
    given = params(slurm=[{"stage": "sft", "options": {**GOOD, "constraint": "a100"}}])
    known = site(
        ("sbatch --test-only", Result(1, "", said)),
        ("sacctmgr -n -P show assoc", Result(0, "blue||\nred|gpu|\n", "")),
        ("sinfo -h -a -o", Result(0, "(null)\nh100,ib\n", "")),
    )
    (fault,) = preflight.check(given, known).faults
    assert words in fault


@pytest.mark.parametrize(
    "said",
    ["allocation failure: Requested nodes are busy", "sbatch: unrecognized option '--test-only'"],
)
def test_what_is_busy_now_or_a_wrapper_does_not_know_is_no_fault(said: str) -> None:
    given = params(slurm=[{"stage": "sft", "options": GOOD}])
    report = preflight.check(given, site(("sbatch --test-only", Result(1, "", said))))
    assert report.faults == []


@pytest.mark.parametrize("lifted_by", ["qos", "reservation"])
@pytest.mark.parametrize("limit", [{"time": "8-0"}, {"nodes": "9"}, {"gpus-per-node": "9"}])
def test_what_a_qos_or_a_reservation_may_allow_is_a_warning(
    lifted_by: str, limit: dict[str, str]
) -> None:
    found = judged({**limit, lifted_by: "long"})
    assert found.faults == []
    assert f"unless the {lifted_by} long allows it" in found.warnings[0]


def test_a_qos_that_users_have_by_default_may_allow_it_too() -> None:
    given = params(slurm=[{"stage": "sft", "options": {"partition": "gpu", "time": "8-0"}}])
    flags = Result(0, "\nPartitionTimeLimit\n", "")
    report = preflight.check(given, site(("sacctmgr -n -P show qos", flags)))
    assert report.faults == []
    assert "unless your QOS allows it" in report.warnings[0]
    no_accounting = Result(1, "", "You are not running a supported accounting_storage plugin")
    for none in (no_accounting, Result(0, "\nDenyOnLimit\n", "")):
        report = preflight.check(given, site(("sacctmgr", none)))
        assert "but partition gpu allows 7 days" in report.faults[0]
    nowhere = params(slurm=[{"stage": "sft", "options": {"partition": "nope"}}])
    assert preflight.check(nowhere, site(("sacctmgr -n -P show qos", flags))).faults


@pytest.mark.parametrize("sacctmgr", [DENIED, None, Result(1, "use our portal", "")])
def test_where_users_may_not_see_the_qos_one_may_allow_it(sacctmgr: Result | None) -> None:
    given = params(slurm=[{"stage": "sft", "options": {"partition": "gpu", "time": "8-0"}}])
    config = "AccountingStorageType   = {}\nClusterName             = osk\n"
    slurmdbd = Result(0, config.format("accounting_storage/slurmdbd"), "")
    run = site(("sacctmgr", sacctmgr), ("scontrol show config", slurmdbd))
    report = preflight.check(given, run)
    assert report.faults == []
    assert "unless your QOS allows it" in report.warnings[0]
    off = Result(0, config.format("(null)"), "")
    report = preflight.check(given, site(("sacctmgr", sacctmgr), ("scontrol show config", off)))
    assert "but partition gpu allows 7 days" in report.faults[0]


def test_a_partition_whose_nodes_alone_are_hidden_is_left_to_sbatch() -> None:
    hidden = "".join(line for line in NODES.splitlines(True) if "|gpu|" not in line)
    given = params(slurm=[{"stage": "sft", "options": GOOD}])
    report = preflight.check(given, site(("sinfo -a -h -N", Result(0, hidden, ""))))
    assert report.faults == []
    assert "does not show the nodes of partition gpu" in report.warnings[0]


def test_nodes_that_a_reservation_keeps_are_not_out_for_its_users() -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        done = fake(command, seconds, stdin)
        return Result(done.code, done.out.replace("down*", "maint"), "")

    assert judge({"nodelist": "osk-gpu97"}, surveyed(run)).warnings
    mine = {"nodelist": "osk-gpu97", "reservation": "course"}
    assert judge(mine, surveyed(run)).warnings == []


def test_a_cluster_without_a_default_partition_wants_a_name() -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        done = fake(command, seconds, stdin)
        return Result(done.code, done.out.replace("Default=YES", "Default=NO"), "")

    (fault,) = judge({"nodes": "1"}, surveyed(run)).faults
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


def test_faults_of_the_options_and_of_the_request_come_together() -> None:
    requests = [
        {"stage": "sft", "options": {"time": 7200, "acount": "team", "nodelist": None}},
        {"stage": "ray", "options": {"nodes": 9, "time": "6-0"}},
        {"stage": "convert", "options": {"time": "6-0"}},
    ]
    report = preflight.check(params(slurm=requests), fake)
    assert report.faults == [
        (
            "sft: sbatch option time is the number 7200, and YAML makes the same of 2:00:00 without"
            " quotes: put it in quotes, '2:00:00' for 2 hours or '7200' for 5 days"
        ),
        "sft: sbatch option acount is not one of sbatch's: write account if you mean that",
        "ray: nodes: 9 are requested, partition gpu allows 4",
    ]
    report = preflight.check(params(slurm=requests[2:]), fake)
    assert report.checked[1:] == ["convert: time limit: 6-0 = 6 days."]
