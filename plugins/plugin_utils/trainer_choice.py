"""The trainers' profiles as the variables choose them, and what is wrong with that choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from .kept_options import options_over
from .profiles import ProfileError, places, profile
from .trainer_options import OptionsError, stage_options

STAGES = ("sft", "ppo")  # that train
_TRAINERS_OWN = ("options", "kept", "overrides")  # the later counts


def logs_to_wandb(known: Mapping[str, Any], templar: Any) -> bool:
    """Whether a trainer logs to W&B, as it does unless its options name other loggers."""
    loggers: list[Any] = []
    try:
        if templar.template(known.get("environment_wandb_mode")) == "disabled":
            return False
        for stage in STAGES:
            given = [templar.template(known.get(f"{stage}_{part}")) for part in _TRAINERS_OWN]
            options = options_over({}, *(part for part in given if isinstance(part, Mapping)))
            of = (_profile(known, templar, stage).get(stage) or {}).get("loggers") or {}
            loggers.append(options.get(str(of.get("option")), of.get("default") or []))
    except (AnsibleError, ProfileError):  # what is wrong with it is reported where it is checked
        return True
    return any("wandb" in logger for logger in loggers if isinstance(logger, (str, list, tuple)))


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


def _stage_faults(stage: str, known: Mapping[str, Any], templar: Any) -> list[str]:
    """What is wrong with a stage's profile, with lines, or with what variables ask of it."""
    try:
        own = _profile(known, templar, stage).get(stage)
        given = {
            word: templar.template(known.get(f"{stage}_{word}") or 0)
            for word in ("algorithm", "lora_rank", "lora_alpha")
        }
        lora = {"rank": given["lora_rank"], "alpha": given["lora_alpha"]}
        if own:
            stage_options(stage, own, {}, {}, str(given["algorithm"] or ""), lora)
    except ProfileError as error:
        return str(error).splitlines()
    except OptionsError as error:
        return [str(error).rstrip(".")]
    except AnsibleError:
        pass  # a value that is not known before a task
    return []
