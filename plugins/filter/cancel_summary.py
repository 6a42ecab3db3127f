"""The filter that shows what `mnrun cancel` ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: cancel_summary
short_description: Summarize what was stopped, in a few lines
description:
  - Turns results of M(mnrun.train.slurm_job) and M(mnrun.train.ray_job), called with
    C(state=absent), into lines for people. Results of skipped tasks are ignored.
author: The mnrun authors
version_added: 0.1.0
positional: stage
options:
  _input:
    description: The modules' results.
    type: list
    elements: dict
    required: true
  stage:
    description: The only stage that was to be stopped. Empty for all of the run.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what was ended
  ansible.builtin.debug:
    msg: "{{ stopped.results | mnrun.train.cancel_summary }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

# Whether there is a checkpoint is not known here, so none is promised.
_RESUMES = (
    "The same command as before resumes from the last complete checkpoint, or starts again if"
    " there is none."
)
_AGAIN = "The same command as before starts it again."


def cancel_summary(results: Sequence[Mapping[str, Any]], stage: str = "") -> list[str]:
    """Give one line for each job that was ended."""
    ended = [result for result in results if result.get("action") == "stopped"]
    if not ended:
        return [f"Nothing of {stage or 'this run'} was running."]
    return [
        *(f"{one['stage']}: {one['msg']} It ended as {one['job']['state']}." for one in ended),
        "",
        _RESUMES if any(one["stage"] in ("sft", "ppo") for one in ended) else _AGAIN,
    ]


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"cancel_summary": cancel_summary}
