"""The filter that tells in a few lines what a stage came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils.trainer.metrics import compared

DOCUMENTATION = r"""
name: stage_summary
short_description: Summarize the result of a stage in a few lines
description:
  - Turns the result of M(mnrun.train.slurm_job) or M(mnrun.train.ray_job) into lines for people.
    What the result does not contain is left out.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: The module's result.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what SFT came to
  ansible.builtin.debug:
    msg: "{{ sft_result | mnrun.train.stage_summary }}"
  # ["sft  job 12 COMPLETED, 160 steps, loss 6.398 → 0.0417", "     /home/me/…/huggingface"]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def stage_summary(result: Mapping[str, Any]) -> list[str]:
    """Give the lines of one stage: job, steps and metrics, and where the result is."""
    job = result.get("job") or {}
    output = result.get("output") or {}
    metrics = output.get("metrics") or (result.get("progress") or {}).get("metrics") or {}
    parts = [f"job {job['id']} {job.get('state') or ''}".rstrip()] if job.get("id") else []
    parts += [f"{output['step']} steps"] if output.get("step") else []
    parts += compared(metrics)
    stage = str(result.get("stage", ""))
    lines = [f"{stage}  {', '.join(parts) or 'not run'}"]
    where = output.get("model") or output.get("path")
    return [*lines, f"{' ' * len(stage)}  {where}"] if where else lines


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"stage_summary": stage_summary}
