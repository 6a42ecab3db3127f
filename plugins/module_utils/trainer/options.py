"""The trainer's options, checked with the trainer's own configuration, without importing it."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

from ..base.errors import Invalid
from .composed import NotComposed, composed
from .estimate import Saves, saves
from .judged import judged
from .reads import ANY, CHAT, TEXT, Field, Reads

_INTERVALS = ("trainer.save_freq", "trainer.test_freq")


def reads(
    stage: str,
    config_name: str,
    overrides: list[str],
    ranks: int = 0,
    how: Mapping[str, Any] | None = None,
) -> Reads:
    """Compose the trainer's configuration as the trainer does, and find out what it reads.

    `ranks`: the GPUs of SFT; 0 if they are not known. `how`: what the profile says about the
    options (`validate`). Raises Invalid if the configuration or an
    option does not exist, or a value has no form.
    """
    folder = _config_folder()
    if not (folder / f"{config_name}.yaml").is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*trainer*.yaml")))
        raise Invalid(
            f"{stage}: verl has no configuration {config_name} in {folder}; there are: {there}."
            f" Set {stage}_config_name."
        )
    how = how or {}
    default, config = _compose(stage, folder, config_name, overrides, how.get("each_epoch"))
    data = config.get("data") or {}
    found = Reads(
        stage,
        _files(data.get("train_files")),
        _files(data.get("val_files")),
        _fields(config_name, config, data),
        _batch(stage, data),
        _saves(stage, config_name, config, how),
    )
    return judged(found, folder.parents[1], _getter(config), _getter(default), ranks)


def _getter(config: Any) -> Callable[[str], Any]:
    return lambda name: _value(config, name)


def _saves(stage: str, config_name: str, config: Any, how: Mapping[str, Any]) -> Saves:
    try:
        return saves(config_name, config, how)
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"{stage}: trainer.save_freq, total_epochs and the like must be numbers ({error})"
        ) from None


def _batch(stage: str, data: Any) -> int:
    value = data.get("train_batch_size")
    try:
        return int(value or 1)
    except ValueError:
        raise Invalid(f"{stage}: data.train_batch_size is {value!r}, not a number") from None


def _config_folder() -> Path:
    found = importlib.util.find_spec("verl")
    if found is None or not found.origin:
        raise Invalid(f"there is no verl in {sys.prefix}; set environment_conda_prefix")
    return Path(found.origin).parent / "trainer" / "config"


def _compose(
    stage: str, folder: Path, name: str, overrides: list[str], each_epoch: str | None
) -> tuple[Any, Any]:
    """The configuration without and with the overrides."""
    default = config = composed(folder, name, [])
    faults: list[str] = []
    try:
        config = composed(folder, name, overrides)
    except NotComposed as error:
        unknown = _unknown(default, overrides)
        faults = list(unknown.values()) or [error.message]
        overrides = [override for override in overrides if override not in unknown]
        with suppress(NotComposed):  # for the faults of the others
            config = composed(folder, name, overrides) if unknown else default
    faults += _other_kinds(default, config, overrides, each_epoch)
    if faults:
        raise Invalid("\n".join(f"{stage}: {fault}" for fault in faults))
    return default, config


def _other_kinds(
    default: Any, config: Any, overrides: list[str], each_epoch: str | None
) -> list[str]:
    """Options whose value cannot be what the trainer expects: a text in place of a number."""
    faults = []
    for name in (override.partition("=")[0] for override in overrides):
        if not re.fullmatch(r"[\w.]+", name):  # added, removed, or of a group
            continue
        was, now = _value(default, name), _value(config, name)
        if name in _INTERVALS and now == each_epoch:
            continue
        if _kind(was) and now is not None and _kind(now) != _kind(was):
            faults.append(f"{name} is {now!r}, but the trainer expects {_kind(was)}, as {was!r}")
    return faults


def _value(config: Any, name: str) -> Any:
    """None for a missing value, or one that depends on a missing value."""
    from omegaconf import OmegaConf  # noqa: PLC0415 - only in the environment
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    try:
        return OmegaConf.select(config, name)
    except OmegaConfBaseException:
        return None


def _kind(value: Any) -> str:
    """`a number`, `true or false`, or nothing for what may be anything."""
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float)) else ""


def _unknown(config: Any, overrides: list[str]) -> dict[str, str]:
    """The overrides of options that the configuration does not have, each with similar ones."""
    from omegaconf import OmegaConf  # noqa: PLC0415 - only in the environment

    known = list(_names(OmegaConf.to_container(config, resolve=False)))
    faults = {}
    for override in overrides:
        name = override.partition("=")[0]
        if name[:1] in ("+", "~") or "/" in name or "@" in name or name in known:
            continue
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(close)}?" if close else f"to add it, write +{name}."
        faults[override] = f"the trainer has no option {name}; {hint}"
    return faults


def _names(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _names(value, f"{prefix}{key}.")


def _files(value: Any) -> list[Path]:
    names = [value] if isinstance(value, str) else list(value or [])
    return [Path(name).expanduser() for name in names]


def _fields(config_name: str, config: Any, data: Any) -> list[Field]:
    if (data.get("custom_cls") or {}).get("path"):
        return []  # a reader of the user's own: only it knows what it reads
    if "ppo" in config_name:
        return _ppo_fields(config, data)
    if data.get("prompt_key") is None or (data.get("multiturn") or {}).get("enable"):
        turns = data.get("multiturn") or data
        return [Field(str(turns.get("messages_key", "messages")), CHAT)]
    pairs = (("prompt_key", "prompt_dict_keys"), ("response_key", "response_dict_keys"))
    return [
        Field(".".join([str(data.get(key)), *map(str, data.get(inner) or [])]), TEXT)
        for key, inner in pairs
    ]


def _ppo_fields(config: Any, data: Any) -> list[Field]:
    fields = [Field(str(data.get("prompt_key", "prompt")), CHAT)]
    if not (config.get("reward_model") or {}).get("enable"):
        fields.append(Field(str(data.get("reward_fn_key", "data_source")), TEXT))
        fields.append(Field("reward_model.ground_truth", ANY))
    return fields
