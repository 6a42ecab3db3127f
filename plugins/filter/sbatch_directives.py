"""The filter that turns a mapping of sbatch options into ``#SBATCH`` lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: sbatch_directives
short_description: Turn a mapping of sbatch options into #SBATCH lines
description:
  - Gives one line for each option, quoted where Slurm needs it.
  - An empty value (C(null), C(""), C(false)) leaves the option out, C(true) gives an option
    without a value (C(exclusive)).
  - Refuses the options that mnrun sets itself, because it finds its jobs again by them.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: Options by their long names, without the dashes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: The head of a job script
  ansible.builtin.debug:
    msg: "{{ {'nodes': 2, 'exclusive': true, 'mem': 0} | mnrun.train.sbatch_directives }}"
  # ["#SBATCH --nodes=2", "#SBATCH --exclusive", "#SBATCH --mem=0"]
"""

RETURN = r"""
_value:
  description: The lines, without line ends.
  type: list
  elements: str
"""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
# Characters which Slurm reads as they are in a directive; all else goes in quotes.
_PLAIN = re.compile(r"[\w@%+=:,./\[\]*~-]+", re.ASCII)
_LOGS = "the logs' place follows from the stage's folder (sft_dir, ppo_dir, …)"
_OURS = {
    "job-name": "mnrun finds its jobs by their names; a stage's *_job_name is the start of it",
    "comment": "mnrun finds its jobs by their comments",
    "output": _LOGS,
    "error": _LOGS,
    "parsable": "mnrun asks for it itself",
    "requeue": "mnrun submits a successor itself, which resumes from the last checkpoint",
    "no-requeue": "mnrun sets it itself",
    "array": "a stage is one job",
}
_SHORT = {
    "A": "account", "C": "constraint", "D": "chdir", "G": "gpus", "N": "nodes", "n": "ntasks",
    "c": "cpus-per-task", "p": "partition", "q": "qos", "t": "time", "w": "nodelist",
    "x": "exclude",
}  # fmt: skip


def sbatch_directives(options: Mapping[str, Any]) -> list[str]:
    """Give the ``#SBATCH`` lines of `options`; AnsibleFilterError for a bad name or value."""
    if not isinstance(options, Mapping):
        raise AnsibleFilterError(
            f"sbatch_directives wants a mapping of options, not {type(options).__name__}: "
            f"write one line `option: value` for each."
        )
    checked = {_checked(str(name)): value for name, value in options.items()}
    return [_line(name, value) for name, value in checked.items() if not _absent(value)]


def _checked(name: str) -> str:
    if name in _OURS:
        raise AnsibleFilterError(f"sbatch option {name!r} is not yours to set: {_OURS[name]}.")
    if _NAME.fullmatch(name) is None or len(name) == 1:
        raise AnsibleFilterError(
            f"{name!r} is not a long option of sbatch: write {_better(name)!r}."
            if _better(name)
            else f"{name!r} is not a long option of sbatch: write it like gpus-per-node."
        )
    return name


def _better(name: str) -> str:
    bare = name.lstrip("-")
    better = _SHORT.get(bare, bare.replace("_", "-").lower())
    return better if len(better) > 1 and _NAME.fullmatch(better) else ""


def _absent(value: Any) -> bool:
    return value is None or value is False or value == ""


def _line(name: str, value: Any) -> str:
    if value is True:
        return f"#SBATCH --{name}"
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(
            f"sbatch option {name!r} wants one text or number, not {type(value).__name__}: "
            f"write a list as Slurm does, a,b,c."
        )
    text = str(value)
    if not text.isprintable():
        raise AnsibleFilterError(
            f"sbatch option {name!r} holds a line break or a control character: {text!r}. "
            f"Write it in one line."
        )
    return f"#SBATCH --{name}={text if _PLAIN.fullmatch(text) else shlex.quote(text)}"


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"sbatch_directives": sbatch_directives}
