"""What a trainer logs to: the options that choose it, and which trackers its options name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Options = Mapping[str, Any]

NONE = "none"
NAMES = (NONE, "wandb", "tensorboard", "mlflow", "trackio")

# Folders of trackers below the one of the stage, where `mnrun report` looks for their files.
_FOLDERS = {
    "wandb": {"WANDB_DIR": ""},
    "tensorboard": {"TENSORBOARD_DIR": "tensorboard", "TENSORBOARD_LOGGING_DIR": "tensorboard"},
    "trackio": {"TRACKIO_DIR": "trackio"},
}


class TrackerError(Exception):
    """A choice of trackers that a profile cannot make. The message is for the user."""


def named(value: Any) -> list[str]:
    """The trackers that a user chose, as one word, several with commas, or a list."""
    words = value if isinstance(value, list | tuple) else str(value or "").split(",")
    return [word for word in (str(one).strip() for one in words) if word]


def tracker_options(stage: str, profile: Options, chosen: Sequence[str]) -> dict[str, Any]:
    """The options by which the trainer logs to these. Raises TrackerError."""
    known: Mapping[str, Options] = profile.get("trackers") or {}
    for name in chosen:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none to choose"
            raise TrackerError(
                f"mnrun_tracker is {name}, which the trainer profile of {stage} lacks; {there}"
                " (leave mnrun_tracker empty, and set the trainer's own options)."
            )
    if NONE in chosen and len(chosen) > 1:
        raise TrackerError(f"mnrun_tracker is {', '.join(chosen)}; none excludes the others.")
    found: dict[str, Any] = {}
    for name in chosen:
        for option, value in known[name].items():
            found[option] = _joined(found.get(option), value)
    return found


def trackers_in_use(profile: Options, options: Options, chosen: Sequence[str]) -> list[str]:
    """The trackers that a stage with these options logs to."""
    known: Mapping[str, Options] = profile.get("trackers") or {}
    if not known:
        return ["wandb"] if "wandb" in _value(profile, options, _logger(profile)) else []
    return [name for name in known if name != NONE and _used(name, profile, options, chosen)]


def tracker_names(profile: Options) -> set[str]:
    """The options that choose a tracker."""
    every = (profile.get("trackers") or {}).values()
    return {option for options in every for option in options or {}}


def folders(trackers: Sequence[str], stage_folder: str) -> dict[str, str]:
    """Environment variables by which these trackers write into the folder of a stage."""
    return {
        variable: f"{stage_folder}/{below}".rstrip("/")
        for tracker in trackers
        for variable, below in _FOLDERS.get(tracker, {}).items()
    }


def _used(name: str, profile: Options, options: Options, chosen: Sequence[str]) -> bool:
    own = profile["trackers"][name] or {}
    if not own:
        return name in chosen
    option, value = next(iter(own.items()))
    there = _value(profile, options, option)
    if not isinstance(value, list):
        return bool(there)
    always = (profile["trackers"].get(NONE) or {}).get(option) or []
    return all(word in there for word in value if word not in always)


def _value(profile: Options, options: Options, option: str) -> Any:
    """An option's value; a text or a list, also where there is none."""
    default = profile["loggers"].get("default") if option and option == _logger(profile) else None
    value = options.get(option, default)
    if isinstance(value, list | tuple):
        return value
    return "" if value is None or value is False else str(value)


def _logger(profile: Options) -> str:
    return (profile.get("loggers") or {}).get("option") or ""


def _joined(before: Any, value: Any) -> Any:
    if isinstance(before, list) and isinstance(value, list):
        return [*before, *(one for one in value if one not in before)]
    return value
