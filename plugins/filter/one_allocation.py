"""The filter that makes one request to Slurm of those of several stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: one_allocation
short_description: One allocation for several stages
description:
  - Returns the options of sbatch for an allocation in which all stages run, one after the other.
  - The trainings must ask for the same, but for C(cpus-per-task), of which the allocation gets the
    most that any asks for. A conversion takes one of its nodes.
author: The mnrun authors
version_added: 0.1.0
positional: own
options:
  _input:
    description: C(stage) and C(options) of each, the trainings and the conversion.
    type: list
    elements: dict
    required: true
  own:
    description: Options for the allocation, where the stages differ.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: The options of the allocation
  ansible.builtin.debug:
    msg: "{{ [sft_stage.slurm, ray_cluster_stage.slurm] | mnrun.train.one_allocation }}"
"""

RETURN = r"""
_value:
  description: All options of the allocation.
  type: dict
"""

_CPUS = "cpus-per-task"
_SHAPE = ("nodes", "gpus-per-node", "ntasks-per-node")
_ROLES = {"ray": "ray_cluster"}


def one_allocation(
    stages: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Give the options; AnsibleFilterError, with all differences, if there can be no such one."""
    given, faults = dict(own or {}), []
    trainings = {one["stage"]: _set(one["options"]) for one in stages if one["stage"] != "convert"}
    faults += [f"mnrun_allocation_sbatch sets {name}, which the trainings decide: leave it out"
               for name in _SHAPE if name in given]  # fmt: skip
    names = dict.fromkeys(name for options in trainings.values() for name in options)
    merged = {}
    for name in (name for name in names if name != _CPUS):
        values = {stage: options.get(name) for stage, options in trainings.items()}
        merged[name] = next(value for value in values.values() if value is not None)
        if name not in given and len(set(map(str, values.values()))) > 1:
            faults.append(_differs(name, values))
    if faults:
        words = "\n".join(f"- {fault}" for fault in faults)
        raise AnsibleFilterError(
            "mnrun_one_allocation: the stages cannot share one allocation. Nothing was submitted."
            f"\n{words}"
        )
    cpus = [int(str(one["options"].get(_CPUS) or 0)) for one in stages]
    return {**merged, **({_CPUS: max(cpus)} if any(cpus) else {}), **given}


def _set(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "", False)}


def _differs(name: str, values: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{'not set' if value is None else value} for {stage}"
                      for stage, value in values.items())  # fmt: skip
    where = " and ".join(f"{_ROLES.get(stage, stage)}_sbatch" for stage in values)
    how = f"set it to the same in {where}"
    if name not in _SHAPE:
        how += f", or say what the allocation gets: mnrun_allocation_sbatch: {{{name}: …}}"
    return f"{name} is {shown}: {how}"


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"one_allocation": one_allocation}
