"""The long options of sbatch, as data: which there are, what each takes, which mnrun sets itself.

Asked of the sbatch of Slurm 22.05, 24.11 and 26.05. What a site's own sbatch has beside them
(options of its plugins) is read from its ``--help``.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple


class Kind(NamedTuple):
    """What the value of an option may be."""

    value: bool = True  # the option takes one
    needed: bool = True  # and cannot do without
    number: bool = False  # a whole number stands for what was written
    limit: bool = False  # a duration in one of Slurm's forms


FLAG = Kind(value=False, needed=False)
_OPTIONAL = Kind(needed=False, number=True)
_NUMBER = Kind(number=True)
_LIMIT = Kind(limit=True)
_TEXT = Kind()
_OF_THE_SITE = Kind(needed=False, number=True)

_KINDS = {
    FLAG: "consolidate-segments contiguous hold ignore-pbs overcommit oversubscribe quiet reboot"
    " spread-job spread-segments stepmgr use-min-nodes verbose",
    _OPTIONAL: "exclusive get-user-env nice no-kill oom-kill-step propagate resv-ports",
    _LIMIT: "delay-boot time time-min",
    _NUMBER: "acctg-freq core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task gid"
    " gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task mem mem-per-cpu mem-per-gpu mincpus"
    " nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres"
    " priority segment signal sockets-per-node switches thread-spec threads-per-core tmp uid"
    " wait-all-nodes",
    _TEXT: "account batch bb bbf begin cluster-constraint constraint container container-id"
    " container-type deadline dependency distribution exclude export export-file extra"
    " extra-node-info gpu-bind gres gres-flags hint input kill-on-invalid-dep licenses mail-type"
    " mail-user mcs-label mem-bind mem-update network nodefile nodelist open-mode partition power"
    " prefer profile qos reservation resources tres-bind tres-per-task wckey",
}  # fmt: skip
KINDS = {name: kind for kind, names in _KINDS.items() for name in names.split()}

_LOGS = "the logs' place follows from the stage's folder (sft_dir, ppo_dir, …)"
_PRINTS = "sbatch would print a text and submit nothing"
_SUCCESSOR = "mnrun submits a successor itself, which resumes from the last checkpoint"
OURS = {
    "array": "a stage is one job",
    "autocomplete": _PRINTS,
    "chdir": "a job runs in the run's folder (mnrun_run_dir)",
    "clusters": "mnrun submits to the cluster of the login node that it runs on",
    "comment": "mnrun finds its jobs by their comments",
    "error": _LOGS,
    "external": "such a job runs no script",
    "help": _PRINTS,
    "job-name": "mnrun finds its jobs by their names; a stage's *_job_name is the start of it",
    "no-requeue": "mnrun sets it itself",
    "output": _LOGS,
    "parsable": "mnrun sets it itself",
    "requeue": _SUCCESSOR,
    "test-only": "nothing would be submitted; `mnrun … --check` has Slurm judge the request",
    "usage": _PRINTS,
    "version": _PRINTS,
    "wait": "mnrun follows its jobs itself (*_wait, *_wait_timeout)",
    "wrap": "the script of the stage is what runs",
}
_SHORT = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile",
    "G": "gpus", "H": "hold", "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes",
    "O": "overcommit", "S": "core-spec", "W": "wait", "a": "array", "b": "begin",
    "c": "cpus-per-task", "d": "dependency", "e": "error", "i": "input", "k": "no-kill",
    "m": "distribution", "n": "ntasks", "o": "output", "p": "partition", "q": "qos", "t": "time",
    "w": "nodelist", "x": "exclude",
}  # fmt: skip


def of_help(text: str) -> dict[str, Kind]:
    """The options that `sbatch --help` lists and this file does not: those of a site's plugins, or
    of a newer Slurm."""
    found = re.findall(r"(?<![\w-])--([a-z][a-z0-9]+(?:[-_][a-z0-9]+)*)(\[?=)?", text)
    more = {name: _OF_THE_SITE if equals else FLAG for name, equals in found}
    return {name: kind for name, kind in more.items() if name not in KINDS and name not in OURS}


def likely(name: str, names: list[str]) -> str:
    """Which of `names` was meant by one that is not among them; empty if that is unclear."""
    bare = name.lstrip("-")
    better = _SHORT.get(bare, bare.replace("_", "-").lower())
    return (
        better if better in names else next(iter(difflib.get_close_matches(better, names, 1)), "")
    )
