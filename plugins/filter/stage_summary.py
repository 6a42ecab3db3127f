"""The filter that tells in a few lines what a stage came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

DOCUMENTATION = r"""
name: stage_summary
short_description: Tell in a few lines what a stage came to
description:
  - Turns the result of M(mnrun.train.slurm_job) or M(mnrun.train.ray_job) into lines for people.
    What the result does not hold is left out.
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
  # ["sft  job 12 COMPLETED, 160 steps, loss 6.4 → 0.042", "     /home/me/…/huggingface"]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

_SHOWN = ("loss", "val_loss", "reward", "val_reward")
_SCORES = ("greedy_score", "sampled_score")  # of a converted model; these alone are its own


def stage_summary(result: Mapping[str, Any]) -> list[str]:
    """Give the lines of one stage: job, steps and metrics, and where the result is."""
    job = result.get("job") or {}
    output = result.get("output") or {}
    metrics = output.get("metrics") or (result.get("progress") or {}).get("metrics") or {}
    parts = [f"job {job['id']} {job.get('state') or ''}".rstrip()] if job.get("id") else []
    parts += [f"{output['step']} steps"] if output.get("step") else []
    parts += _metrics(metrics)
    stage = str(result.get("stage", ""))
    lines = [f"{stage}  {', '.join(parts) or 'not run'}"]
    where = output.get("model") or output.get("path")
    return [*lines, f"{' ' * len(stage)}  {where}"] if where else lines


def _metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name in [name for name in _SCORES if name in metrics] or _SHOWN:
        if name in metrics:
            first = metrics.get(f"first_{name}", metrics[name])
            yield f"{name.replace('_', ' ')} {first:.3g} → {metrics[name]:.3g}"


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"stage_summary": stage_summary}
