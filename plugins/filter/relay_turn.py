"""The filter that decides whether a relay continues its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plugin_utils.relay_turns import heirs, may_hold, returned, turn

DOCUMENTATION = r"""
name: relay_turn
short_description: Decide whether a relay continues its run
description:
  - Of all relays of a run one continues it. One that waited for another one's end continues unless
    that one finished the run or was cancelled by a person. None does while the one that holds the
    run (M(mnrun.train.relay_claim)) may be alive.
author: The mnrun authors
version_added: 0.1.0
positional: me
options:
  _input:
    description: The result of M(mnrun.train.slurm_job_info).
    type: dict
    required: true
  me:
    description:
      - The relay's C(stage) and C(job), the job C(after) which it comes, and C(deaths) before.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Whose turn is it
  ansible.builtin.debug:
    msg: "{{ found | mnrun.train.relay_turn({'stage': 'relay', 'after': '12', 'deaths': 0}) }}"
"""

RETURN = r"""
_value:
  description:
    - C(goes), C(why), C(waits) (ask again), C(deaths), and C(heirs), the stages whose jobs wait for
      its end.
  type: dict
"""


def relay_turn(found: Mapping[str, Any], me: Mapping[str, Any]) -> dict[str, Any]:
    """Give the turn of a relay."""
    job, deaths = str(me.get("job") or ""), int(me["deaths"])
    own = returned(found["holder"], job, deaths)
    if own is None:
        own = turn(found["stages"], me["stage"], str(me["after"]), deaths)
        own = may_hold(found["stages"], found["holder"], own, job)
    return {**own._asdict(), "heirs": heirs(found["stages"], job)}


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"relay_turn": relay_turn}
