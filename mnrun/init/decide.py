"""From facts to an inventory's values, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnrun.init.choice import Answers, Choice, Facts
from mnrun.init.network import network
from mnrun.init.places import places
from mnrun.init.software import Fitting, software
from mnrun.init.where import where


@dataclass(frozen=True)
class Seen:
    """All that was looked at."""

    site: Facts
    looked: Facts | None = None
    """What site_node_info returned; None: no compute node was looked at."""
    hub_here: bool = False
    """Whether this machine reaches the Hugging Face Hub."""


def decide(seen: Seen, fitting: Fitting, default: str, answers: Answers) -> dict[str, Choice]:
    """Return the choices by their names, in the order in which they are asked.

    Args:
        seen: the facts.
        fitting: returns the profiles that fit installed packages.
        default: the profile that a site has without one.
        answers: what the user has answered so far.
    """
    node = (seen.looked or {}).get("node")
    choices = [
        *where(seen.site["slurm"], answers),
        *software(seen.site, fitting, default, answers),
        *places(seen.site, node, seen.hub_here, answers),
        *network(seen.looked),
    ]
    return {choice.name: choice for choice in choices}


def open_question(choices: Mapping[str, Choice], answers: Answers) -> Choice | None:
    """Return the first choice that needs an answer; None if all have one."""
    waiting = (one for one in choices.values() if one.question and one.name not in answers)
    return next(waiting, None)


def job(choices: Mapping[str, Choice]) -> dict[str, object]:
    """Return the options of sbatch of the short job that looks at a compute node."""
    options: dict[str, object] = {"partition": choices["mnrun_partition"].value}
    options |= choices["mnrun_sbatch"].value
    typed = choices["sft_sbatch"].value.get("gpus-per-node", "1")
    gpu_type = str(typed).rpartition(":")[0]
    return {**options, "gpus-per-node": f"{gpu_type}:1" if gpu_type else 1}
