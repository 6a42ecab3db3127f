"""mnrun init: partition, account, nodes, GPUs and what jobs ask for, from what Slurm shows."""

from __future__ import annotations

from typing import Any

import pytest

from mnrun.init.choice import Choice
from mnrun.init.decide import job, open_question
from tests.helpers.clusters import DAY, accepted, decided, kind, partition, site, slurm

NO_ACCOUNT = "sbatch: error: Invalid account or account/partition combination specified"


def of(facts: Any, **answers: str) -> Any:
    return decided(site(slurm=facts), None, **answers)


def test_one_partition_with_gpus_is_no_question() -> None:
    choices = of(slurm(partition("team", kind(12, 8, "h100"), default=True)))
    assert choices["mnrun_partition"].value == "team"
    assert choices["mnrun_partition"].why == (
        "found: sinfo shows 12 nodes of 8 h100 GPUs, limit 7 days"
    )
    assert (choices["mnrun_nodes"].value, choices["mnrun_gpus_per_node"].value) == (2, 8)
    assert choices["mnrun_sbatch"].value == {}
    assert choices["sft_sbatch"].value == {
        "cpus-per-task": 64, "mem": 0, "time": "1-00:00:00",
    }  # fmt: skip
    assert open_question(choices, {}) is None


def test_a_default_partition_without_gpus_is_passed_over() -> None:
    cpus = partition("cpu", kind(400, 0), default=True)
    choices = of(slurm(cpus, partition("gpu", kind(4, 4))))
    assert choices["mnrun_partition"].value == "gpu"
    assert choices["mnrun_partition"].question == ""


def test_a_partition_for_tries_is_no_question_either() -> None:
    debug = partition("debug", kind(1, 8), max_time=1800)
    choices = of(slurm(debug, partition("gpu", kind(2, 8))))
    assert choices["mnrun_partition"].value == "gpu"
    assert "there are also debug (1 node of 8 GPUs, limit 30 minutes)" in (
        choices["mnrun_partition"].why
    )
    assert choices["mnrun_partition"].question == ""


def big() -> dict[str, Any]:
    """Six partitions, three with GPUs of different types, one of them closed to this user."""
    return slurm(
        partition("normal", kind(400, 0), default=True, max_time=2 * DAY),
        partition("highmem", kind(12, 0)),
        partition("a100", kind(40, 4, "a100", up=33), max_time=DAY, max_nodes=16),
        partition("h100", kind(16, 8, "h100"), max_time=DAY // 2),
        partition("lab", kind(64, 8, "h200")),
        partition("debug", kind(2, 4, "a100"), max_time=1800, max_nodes=1),
        accepted=accepted(
            ("a100", "", ""), ("h100", "", ""), ("lab", "", "not in AllowGroups"), ("debug", "", "")
        ),
    )


def test_of_six_partitions_the_usable_ones_are_asked_about() -> None:
    choices = of(big())
    chosen: Choice = choices["mnrun_partition"]
    # 33 x 4 GPUs are up in one, 16 x 8 in the other; 512 in one that is closed.
    assert chosen.value == "a100"
    assert chosen.why.startswith("GUESS: sinfo shows 40 nodes of 4 a100 GPUs, limit 1 day;")
    assert open_question(choices, {}) == chosen
    assert [*chosen.options] == ["a100", "h100", "debug", "lab"]
    again = of(big(), mnrun_partition="h100")
    assert again["mnrun_gpus_per_node"].value == 8
    assert again["sft_sbatch"].value["time"] == "0-12:00:00"
    assert again["mnrun_partition"].question == ""


def test_no_more_nodes_than_the_partition_allows() -> None:
    assert of(big(), mnrun_partition="debug")["mnrun_nodes"].value == 1
    one_up = slurm(partition("gpu", kind(2, 8, up=1)))
    assert of(one_up)["mnrun_nodes"].value == 1


def test_of_types_in_one_partition_the_larger_part_is_named_to_slurm() -> None:
    mixed = partition("gpu", kind(20, 4, "a100"), kind(3, 8, "h100"), kind(9, 0))
    choices = of(slurm(mixed))
    assert choices["mnrun_gpus_per_node"].value == 4
    assert choices["sft_sbatch"].value["gpus-per-node"] == "a100:4"
    assert choices["ray_cluster_sbatch"].value["gpus-per-node"] == "a100:4"
    assert job(choices)["gpus-per-node"] == "a100:1"
    assert "other nodes have 8" in choices["mnrun_gpus_per_node"].why


def accounts(*names: str, default: str = "") -> list[dict[str, Any]]:
    return [
        {"account": one, "partition": "", "qos": [], "default_qos": "", "default": one == default}
        for one in names
    ]


def test_an_account_that_slurm_requires_is_named() -> None:
    facts = slurm(
        partition("gpu", kind(2, 8)),
        accounts=accounts("proj1"),
        accepted=accepted(("gpu", "", NO_ACCOUNT), ("gpu", "proj1", "")),
    )
    choices = of(facts)
    assert choices["mnrun_sbatch"].value == {"account": "proj1"}
    assert choices["account"].question == ""
    assert job(choices) == {"partition": "gpu", "account": "proj1", "gpus-per-node": 1}


def test_of_several_required_accounts_the_user_names_one() -> None:
    tried = accepted(("gpu", "", NO_ACCOUNT), ("gpu", "a", "not there"), ("gpu", "b", ""))
    facts = slurm(partition("gpu", kind(2, 8)), accounts=accounts("a", "b"), accepted=tried)
    choices = of(facts)
    assert choices["account"].value == "b"
    assert open_question(choices, {}) is choices["account"]
    assert of(facts, account="a")["mnrun_sbatch"].value == {"account": "a"}


def test_where_a_default_account_does_none_is_named() -> None:
    facts = slurm(partition("gpu", kind(2, 8)), accounts=accounts("a", "b", default="a"))
    choices = of(facts)
    assert choices["mnrun_sbatch"].value == {}
    assert "your default account is a; you have a, b" in choices["mnrun_sbatch"].why


def test_a_partition_that_refuses_everything_says_whom_to_ask() -> None:
    tried = accepted(("gpu", "", "User's group not permitted to use this partition"))
    choices = of(slurm(partition("gpu", kind(2, 8)), accepted=tried))
    assert choices["mnrun_partition"].value == "gpu"
    assert "not permitted to use this partition. Ask the administrator" in (
        choices["mnrun_partition"].why
    )


@pytest.mark.parametrize(
    "facts",
    [
        None,
        slurm() | {"partitions": None, "unknown": ["partitions: access denied"], "accounts": None},
    ],
)
def test_what_slurm_does_not_show_is_a_placeholder(facts: Any) -> None:
    choices = of(facts)
    assert choices["mnrun_partition"].value == "YOUR_PARTITION"
    assert "ask the administrator" in choices["mnrun_partition"].why
    assert open_question(choices, {}) is choices["mnrun_partition"]


def test_nodes_without_visible_gpus_are_a_question() -> None:
    choices = of(slurm(partition("all", kind(4, 0), default=True)))
    assert choices["mnrun_partition"].question
    assert "GUESS: sinfo shows no GPUs" in choices["mnrun_gpus_per_node"].why
    assert (
        of(slurm(partition("all", kind(4, 0))), mnrun_gpus_per_node="4")[
            "mnrun_gpus_per_node"
        ].value
        == 4
    )


def test_a_closed_accounting_leaves_no_gap() -> None:
    facts = slurm(partition("gpu", kind(2, 8)), accounting=None, accounts=None, accepted=[])
    choices = of(facts)
    assert choices["mnrun_partition"].value == "gpu"
    assert choices["mnrun_sbatch"].value == {}
