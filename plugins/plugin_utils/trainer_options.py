"""What a profile makes of a stage's options: all of them, those that decide, arguments, facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .option_syntax import start_of
from .trackers import TrackerError, tracker_names, tracker_options, trackers_in_use

Options = Mapping[str, Any]

_PLACE = re.compile(r"\{(model|train_files|test_files|output|nodes|gpus|ranks)\}")
_RANK = "{_rank}"
# Their content decides, or their place does not matter.
_PATHS = frozenset({"model", "train_files", "test_files", "output"})
# The variable that a value follows from.
_VARIABLES = {
    "model": "mnrun_model",
    "train_files": "mnrun_train_files",
    "test_files": "mnrun_test_files",
    "nodes": "mnrun_nodes",
    "gpus": "mnrun_gpus_per_node",
    "ranks": "mnrun_nodes and mnrun_gpus_per_node",
}
_DEFAULT_ALPHA = 16
_KEPT = 3  # checkpoints that stay where mnrun chooses how often to save


class OptionsError(Exception):
    """Options that this profile cannot take. The message is for the user."""


class Choice(NamedTuple):
    """What a user chose by mnrun's own words, and a profile has options for."""

    algorithm: str = ""
    lora: Options = MappingProxyType({})  # the `rank` and `alpha` of an adapter
    trackers: Sequence[str] = ()


def stage_options(
    stage: str,
    profile: Options,
    values: Options,
    given: Options,
    choice: Choice = Choice(),  # noqa: B008 - it cannot be changed
    keep: bool = False,
) -> dict[str, Any]:
    """The options of a stage, and what follows from them.

    `values`: what mnrun knows, by the names of the profile's {places}; an option with one that is
    not known yet is left out. `given`: the user's own options, which win. Raises OptionsError.
    """
    owned, defaults = _set(profile.get("owned"), values), _set(profile.get("defaults"), values)
    chosen = _chosen(stage, profile, choice)
    keep_all = dict(profile.get("keep_all") or {}) if keep else {}
    everything = {**defaults, **owned, **chosen, **given, **keep_all}
    for name in profile.get("joined") or ():
        if isinstance(everything.get(name), list | tuple):
            everything[name] = ",".join(map(str, everything[name]))
    ours = _by_path(profile.get("owned")) | (_by_path(profile.get("defaults")) - set(given))
    # What mnrun_tracker sets determines nothing; a user's own counts as without `trackers`.
    trackers = tracker_names(profile) - set(given)
    aside = ours | set(profile.get("cosmetic") or ()) | trackers
    return {
        "all": everything,
        "decisive": {name: value for name, value in everything.items() if name not in aside},
        "refused": {
            name: _variable(stage, value)
            for name, value in _places(profile.get("owned"))
            if name in given
        },
        "trackers": trackers_in_use(profile, everything, choice.trackers),
        **_facts(profile, everything),
    }


def _chosen(stage: str, profile: Options, choice: Choice) -> dict[str, Any]:
    try:
        logs = tracker_options(stage, profile, choice.trackers)
    except TrackerError as error:
        raise OptionsError(str(error)) from None
    algorithm = _algorithm(stage, profile, choice.algorithm)
    return {**algorithm, **_lora(stage, profile, choice.lora), **logs}


def _facts(profile: Options, everything: Options) -> dict[str, Any]:
    lora = profile.get("lora") or {}
    parts = profile["checkpoint"].get("parts") or {}
    cpu = profile.get("cpu")
    return {
        "parts": [part for part, when in parts.items() if holds(when or {}, everything)],
        "on_cpu": cpu is not None and holds(cpu, everything),
        "last_step": _whole(everything.get(profile.get("last_step", ""))),
        "has_adapter": _whole(everything.get(lora.get("rank", ""))) > 0,
        "lora_alpha": everything.get(
            lora.get("alpha", ""), lora.get("default_alpha", _DEFAULT_ALPHA)
        ),
        "rhythm": {
            "saves": _every(profile.get("save_every"), everything),
            "validates": _every(profile.get("validate_every"), everything),
        },
        "faults": [
            one["why"]
            for one in profile.get("refuses") or ()
            if all(holds(condition, everything) for condition in one["when"])
        ],
    }


def holds(condition: Options, options: Options) -> bool:
    """Whether a condition of a profile holds for these options."""
    if "option" not in condition:
        return True
    value = options.get(condition["option"], condition.get("default"))
    if "given" in condition:
        return bool(condition["given"]) == (value is not None)
    if "differs" in condition:
        return value is not None and str(value) != str(condition["differs"])
    if "above" in condition:
        return bool(_whole(value) > condition["above"])
    return str(value) == str(condition.get("equals"))


def save_words(profile: Options, everything: Options) -> list[str]:
    """The shell words by which mnrun sets how often to save, where the user leaves that open and
    the trainer cannot save when asked: MNRUN_SAVE_EVERY, and how many checkpoints to keep."""
    every, start = profile.get("save_every") or "", start_of(profile.get("syntax") or "")
    if not every or every in everything or profile.get("early_save") or start is None:
        return []
    kept = [name for name in profile.get("keep_all") or {} if name not in everything]
    return [
        f'${{MNRUN_SAVE_EVERY:+"{start}{every}=$MNRUN_SAVE_EVERY"}}',
        *(f"${{MNRUN_SAVE_EVERY:+{start}{name}={_KEPT}}}" for name in kept),
    ]


def words_of(
    profile: Options, ranks: int = 0, given: Options | None = None, seconds: int = 0
) -> dict[str, Any]:
    """What goes to the cluster of a profile: the trainer's files and lines. `ranks`: how many
    train; 0 if that is not known. `given`: the stage's options. `seconds`: how much work a time
    limit may cost; 0 for ten minutes."""
    saved = dict(profile["checkpoint"])
    saved.pop("parts", None)
    if saved.get("files"):
        saved["files"] = [name for one in saved["files"] for name in _of_ranks(one, ranks)]
    share = str((given or {}).get(saved.pop("loader_shared_by", "")) or "")
    if share.isdecimal() and int(share) > 1:
        saved["loader_share"] = int(share)
    kept = {name: profile[name] for name in ("last_step", "causes", "advice") if profile.get(name)}
    every = profile.get("save_every") or ""
    if every:
        same = every in (profile.get("cosmetic") or ())
        kept["save_every"] = {"option": every, "same_training": same}
        if save_words(profile, given or {}):
            kept["save_every"]["open"] = True
        if seconds:
            kept["save_every"]["seconds"] = seconds
    return {"checkpoint": saved, "log": dict(profile["log"]), **kept}


def _of_ranks(name: str, ranks: int) -> list[str]:
    """A file's name for each rank; a pattern where their number is not known."""
    numbers = list(map(str, range(ranks)))
    if _RANK in name:
        behind = ["*"] if not ranks else [""] if ranks == 1 else [f"_{one}" for one in numbers]
        return [name.replace(_RANK, one) for one in behind]
    return [name.replace("{rank}", one) for one in numbers or ["*"]] if "{rank}" in name else [name]


def _algorithm(stage: str, profile: Options, name: str) -> Options:
    known: Mapping[str, Options] = profile.get("algorithms") or {}
    if not name:
        return {}
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "its profile has none"
        raise OptionsError(f"{stage}_algorithm is {name}, which the trainer lacks; {there}.")
    return known[name]


def _lora(stage: str, profile: Options, given: Options) -> Options:
    rank, alpha = _whole(given.get("rank")), _whole(given.get("alpha"))
    if alpha and not rank:
        raise OptionsError(f"{stage}_lora_alpha has no effect without {stage}_lora_rank.")
    if not rank:
        return {}
    names = profile.get("lora") or {}
    if not names.get("rank"):
        raise OptionsError(f"{stage}_lora_rank is {rank}, but its trainer profile has no LoRA.")
    if alpha and not names.get("alpha"):
        raise OptionsError(f"{stage}_lora_alpha is {alpha}, which its trainer profile cannot set.")
    own = {names["rank"]: rank, **({names["alpha"]: alpha} if alpha else {})}
    return {**(names.get("with") or {}), **own}


def _places(options: Options | None) -> Iterator[tuple[str, Any]]:
    """Options with their values, without those that a profile took away."""
    return ((name, value) for name, value in (options or {}).items() if value is not None)


def _set(options: Options | None, values: Options) -> dict[str, Any]:
    filled = {name: _filled(value, values) for name, value in _places(options)}
    return {name: value for name, value in filled.items() if value is not None}


def _filled(value: Any, values: Options) -> Any:
    """A value with what its {places} stand for; None if one is not known."""
    if isinstance(value, Mapping):
        return _set(value, values)
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    names = set(_PLACE.findall(value))
    if not names <= set(values):
        return None
    whole = _PLACE.fullmatch(value)
    return values[whole.group(1)] if whole else _PLACE.sub(lambda m: str(values[m.group(1)]), value)


def _by_path(options: Options | None) -> set[str]:
    """The options that hold where something is."""
    return {name for name, value in _places(options) if _PATHS & set(_names(value))}


def _names(value: Any) -> list[str]:
    """The places in a value, in order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [name for item in value for name in _names(item)]
    return _PLACE.findall(value) if isinstance(value, str) else []


def _variable(stage: str, value: Any) -> str:
    places = _names(value)
    if not places:
        return "another profile"
    if places[0] == "output":
        return f"{stage}_dir"
    if places[0] == "model" and stage != "sft":
        return f"{stage}_model"
    return _VARIABLES[places[0]]


def _every(option: str | None, options: Options) -> int | None:
    """The number of steps that an option sets; 0 if it says never, None if it is not known."""
    value = str(options.get(option or ""))
    return max(0, int(value)) if re.fullmatch(r"-?[0-9]{1,12}", value) else None


def _whole(value: Any) -> int:
    """A whole number; 0 for anything else."""
    return int(value) if re.fullmatch(r"[0-9]{1,12}", str(value)) else 0
