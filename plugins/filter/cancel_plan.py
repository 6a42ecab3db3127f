"""The filter that decides what `mnrun cancel` ends, and in what way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils.record.contract import Phase
from ..plugin_utils.relay_turns import LOGIN, number
from ..plugin_utils.relay_turns import STAGES as RELAYS

DOCUMENTATION = r"""
name: cancel_plan
short_description: Decide which jobs of a run to stop
description:
  - Turns the result of M(mnrun.train.slurm_job_info) into the jobs to stop. A damaged record may
    hide a job that is alive, so its stage is included; the record is rebuilt before its job is
    stopped.
  - PPO is stopped on its Ray cluster first, so that its own record names who stopped it. A cluster
    that PPO started is stopped with it; one of C(mnrun ray start) only if everything or C(ray) is
    requested.
author: The mnrun authors
version_added: 0.1.0
positional: stage
options:
  _input:
    description: The module's result.
    type: dict
    required: true
  stage:
    description: The only stage to stop. Empty for all of the run.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: What has to be ended of PPO
  ansible.builtin.debug:
    msg: "{{ found | mnrun.train.cancel_plan('ppo') }}"
  # {"ppo": true, "relays": [],
  #  "jobs": [{"stage": "ray", "labels": {"owner": "ppo"}, "signal": "USR1"}]}
"""

RETURN = r"""
_value:
  description: >-
    C(ppo), whether PPO's job has to be stopped on its Ray cluster; C(jobs), a list of the Slurm
    jobs to stop, each with its C(stage), the C(labels) that it must have, and the C(signal) to send
    first; C(relays), stages of relays, which are stopped before all others; C(login), whether one
    is a process on the login node.
  type: dict
"""


def cancel_plan(found: Mapping[str, Any], stage: str = "") -> dict[str, Any]:
    """Give what to end of the stages in `found`; of all, or of one stage."""
    damaged = [entry["stage"] for entry in found["damaged"]]
    known = dict.fromkeys([*(entry["stage"] for entry in found["stages"]), *damaged])
    wanted = [name for name in known if stage in ("", name)]
    jobs = [_job(name) for name in wanted if name not in ("ppo", "ray", LOGIN, *RELAYS)]
    if "ray" in known and stage in ("", "ppo", "ray"):
        # Ray on all nodes ends before the job does, so that the job is COMPLETED.
        jobs.append(_job("ray", {"owner": "ppo"} if stage == "ppo" else {}, "USR1"))
    alive = "ppo" in damaged or any(_alive(entry) for entry in found["stages"])
    relays = _relays(found, known) if stage in ("", RELAYS[0]) else []
    login = LOGIN in known and stage in ("", RELAYS[0])
    return {"ppo": "ppo" in wanted and alive, "jobs": jobs, "relays": relays, "login": login}


def _relays(found: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """The relays, the last one first: each would begin when the one before it ends."""
    jobs = {entry["stage"]: number(entry) for entry in found["stages"] if entry["stage"] in RELAYS}
    mine = (name for name in known if name in RELAYS)
    return sorted(mine, key=lambda name: jobs.get(name, 0), reverse=True)


def _job(stage: str, labels: Mapping[str, str] | None = None, signal: str = "") -> dict[str, Any]:
    return {"stage": stage, "labels": dict(labels or {}), "signal": signal}


def _alive(entry: Mapping[str, Any]) -> bool:
    return entry["stage"] == "ppo" and not Phase(entry["job"]["phase"]).ended


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"cancel_plan": cancel_plan}
