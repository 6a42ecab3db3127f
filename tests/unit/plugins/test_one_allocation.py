"""One request to Slurm for several stages, and what is said where there can be none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mnrun.train.plugins.filter.one_allocation import one_allocation

BOTH = {"partition": "gpu", "nodes": 2, "gpus-per-node": 8, "ntasks-per-node": 1, "nodelist": ""}


def stages(sft: dict[str, Any], ray: dict[str, Any]) -> list[dict[str, Any]]:
    convert = {"partition": "cpu", "nodes": 1, "cpus-per-task": 8, "time": "1:00:00"}
    return [
        {"stage": "sft", "options": {**BOTH, **sft}},
        {"stage": "ray", "options": {**BOTH, "cpus-per-task": 36, **ray}},
        {"stage": "convert", "options": convert},
    ]


def test_what_they_share_is_asked_for_with_the_most_processors() -> None:
    shared = {name: value for name, value in BOTH.items() if value}
    assert one_allocation(stages({}, {})) == {**shared, "cpus-per-task": 36}
    assert one_allocation(stages({"cpus-per-task": 64}, {}))["cpus-per-task"] == 64


def test_all_differences_are_told_at_once_with_what_to_set() -> None:
    with pytest.raises(AnsibleFilterError) as error:
        one_allocation(stages({"time": "2:00:00", "nodes": 4}, {"account": "team"}))
    text = str(error.value)
    assert "Nothing was submitted" in text
    assert "nodes is 4 for sft, 2 for ray: set it to the same in sft_sbatch" in text
    assert "time is 2:00:00 for sft, not set for ray" in text
    assert "mnrun_allocation_sbatch: {time: …}" in text
    assert "account is not set for sft, team for ray" in text
    assert "mnrun_allocation_sbatch: {nodes" not in text


def test_the_allocation_s_own_options_decide_where_the_stages_differ() -> None:
    given = stages({"time": "2:00:00"}, {"time": "8:00:00"})
    found = one_allocation(given, {"time": "10:00:00", "qos": "long"})
    assert (found["time"], found["qos"]) == ("10:00:00", "long")
    with pytest.raises(AnsibleFilterError, match="mnrun_allocation_sbatch sets nodes"):
        one_allocation(stages({}, {}), {"nodes": 3})


def test_a_number_and_its_text_are_the_same() -> None:
    assert one_allocation(stages({"time": 60}, {"time": "60"}))["time"] == 60
