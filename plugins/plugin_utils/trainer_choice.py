"""The trainers' profiles as the variables choose them, and what is wrong with that choice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError

from .kept_options import options_over
from .option_types import type_faults
from .origin import at
from .profiles import ProfileError, places, profile
from .services import faults as faults_of_services
from .services import of_stage
from .trackers import NONE, TrackerError, named, tracker_names, tracker_options, trackers_in_use
from .trainer_options import Choice, OptionsError, stage_options

STAGES = ("sft", "ppo")  # that train
_TRAINERS_OWN = ("options", "kept", "overrides")  # the later counts


def logs_to_wandb(known: Mapping[str, Any], templar: Any) -> bool:
    """Whether a trainer logs to W&B. What is wrong with that is reported where it is checked."""
    try:
        if templar.template(known.get("environment_wandb_mode")) == "disabled":
            return False
        return any("wandb" in _used(stage, known, templar) for stage in STAGES)
    except (AnsibleError, ProfileError, TrackerError):
        return True


def trackers(known: Mapping[str, Any], templar: Any) -> dict[str, list[str]]:
    """What each stage logs to; nothing where that is not known."""
    return {stage: _used_if_known(stage, known, templar) for stage in STAGES}


def _used_if_known(stage: str, known: Mapping[str, Any], templar: Any) -> list[str]:
    try:
        return _used(stage, known, templar)
    except (AnsibleError, ProfileError, TrackerError):
        return []


def overruled(known: Mapping[str, Any], templar: Any, roles: Iterable[str]) -> Iterator[str]:
    """Where a user's own options choose other trackers than mnrun_tracker."""
    for stage in (stage for stage in STAGES if stage in roles):
        try:
            chosen = set(_chosen(known, templar)) - {NONE}
            used = _used(stage, known, templar)
            options = tracker_names(_profile(known, templar, stage).get(stage) or {})
            own = sorted(options & set(_given(stage, known, templar)))
        except (AnsibleError, ProfileError, TrackerError):
            continue
        if own and _chosen(known, templar) and set(used) != chosen:
            yield (
                f"mnrun_tracker has no effect on {stage}, whose options set {', '.join(own)}:"
                f" it logs to {', '.join(used) or 'none'}"
            )


def _used(stage: str, known: Mapping[str, Any], templar: Any) -> list[str]:
    own = _profile(known, templar, stage).get(stage) or {}
    if not own:
        return []
    chosen = _chosen(known, templar)
    options = options_over(tracker_options(stage, own, chosen), _given(stage, known, templar))
    return trackers_in_use(own, options, chosen)


def _chosen(known: Mapping[str, Any], templar: Any) -> list[str]:
    return named(templar.template(known.get("mnrun_tracker") or ""))


def _given(stage: str, known: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """A stage's options as the user gave them."""
    given = [templar.template(known.get(f"{stage}_{part}")) for part in _TRAINERS_OWN]
    return options_over({}, *(part for part in given if isinstance(part, Mapping)))


def _profile(known: Mapping[str, Any], templar: Any, stage: str) -> Mapping[str, Any]:
    """The trainer's profile of a stage. Raises ProfileError."""
    name = templar.template(known.get(f"{stage}_profile") or known.get("mnrun_trainer") or "")
    return profile(str(name), places(str(known.get("inventory_dir") or "")))


def trainer_faults(known: Mapping[str, Any], templar: Any, roles: Iterable[str]) -> list[str]:
    """What is wrong with the profiles of the stages in `roles`, and with what variables ask of
    them."""
    stages = [stage for stage in STAGES if stage in roles]
    faults = [fault for stage in stages for fault in _stage_faults(stage, known, templar)]
    return list(dict.fromkeys(faults))


def service_faults(
    known: Mapping[str, Any], templar: Any, roles: Iterable[str], specs: Mapping[str, Any]
) -> list[str]:
    """What is wrong with the services of the stages in `roles`. What is wrong with the type of
    `mnrun_services`, by its specification, is reported elsewhere."""
    try:
        names = ("mnrun_services", "mnrun_nodes", "mnrun_gpus_per_node", "environment_image")
        site, nodes, gpus, image = (templar.template(known.get(name) or "") for name in names)
        size = (int(nodes), int(gpus or 0))
    except (AnsibleError, ValueError):  # reported where it is checked
        return []
    spec = specs.get("mnrun_services")
    if spec is None or type_faults("mnrun_services", site or [], spec):
        return []
    found: list[str] = []
    for stage in (stage for stage in STAGES if stage in roles):
        own = of_stage(stage, site or [], _services_of_profile(known, templar, stage))
        found += faults_of_services(own, *size, in_image=stage == "ppo" and bool(image))
    where = at(known.get("mnrun_services"))
    return [f"mnrun_services{where}: {fault}." for fault in dict.fromkeys(found)]


def _services_of_profile(known: Mapping[str, Any], templar: Any, stage: str) -> Any:
    try:
        return (_profile(known, templar, stage).get(stage) or {}).get("services") or []
    except (AnsibleError, ProfileError):  # reported where it is checked
        return []


def _stage_faults(stage: str, known: Mapping[str, Any], templar: Any) -> list[str]:
    """What is wrong with a stage's profile, with lines, or with what variables ask of it."""
    try:
        own = _profile(known, templar, stage).get(stage)
        given = {
            word: templar.template(known.get(f"{stage}_{word}") or 0)
            for word in ("algorithm", "lora_rank", "lora_alpha")
        }
        lora = {"rank": given["lora_rank"], "alpha": given["lora_alpha"]}
        choice = Choice(str(given["algorithm"] or ""), lora, _chosen(known, templar))
        if own:
            stage_options(stage, own, {}, {}, choice)
    except ProfileError as error:
        return str(error).splitlines()
    except OptionsError as error:
        return [str(error).rstrip(".")]
    except AnsibleError:
        pass  # a value that is not known before a task
    return []
