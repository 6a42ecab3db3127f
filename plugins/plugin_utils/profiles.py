"""Trainer profiles: where they are, and what they say. An error names the file and the line.

A profile is a YAML file of the collection (`profiles/`) or of the site (`trainers/` in the folder
of its inventory), checked against profiles/schema.json.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..module_utils.base.version import fits
from .profile_text import NotYamlError, loaded
from .schema import Schema

SHIPPED = Path(__file__).resolve().parents[2] / "profiles"
DEFAULT = "verl-0.5"
FOLDER = "trainers"  # of a site

_STAGES = ("sft", "ppo")
_NONE: Mapping[str, Any] = {}


class ProfileError(Exception):
    """A profile that cannot be used; the message names every fault with its file and line."""


def places(inventory: str) -> list[Path]:
    """The folders with profiles, the site's own first. `inventory`: the folder of its inventory."""
    return [*([Path(inventory) / FOLDER] if inventory else []), SHIPPED]


def known(folders: Iterable[Path]) -> dict[str, Path]:
    """Every profile's file by its name; the first folder's counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yml")) if folder.is_dir() else ():
            found.setdefault(path.stem, path)
    return found


def profile(name: str, folders: Iterable[Path]) -> dict[str, Any]:
    """A profile with all that it stands on, and its own `name`.

    Raises ProfileError with all faults of its files.
    """
    there = known(folders)
    merged: dict[str, Any] = {}
    for one in reversed(_line(name or DEFAULT, there)):
        merged = _merged(merged, one)
    faults = [] if merged.get("sft") or merged.get("ppo") else ["it has neither sft nor ppo"]
    faults += [fault.text for fault in schema().missing(merged)]
    faults += [
        f"{stage}.validate {fault}"
        for stage in _STAGES
        for fault in _unchecked(merged.get(stage) or {})
    ]
    if faults:
        path = there[name or DEFAULT]
        raise ProfileError("\n".join(f"{path}: {fault}." for fault in faults))
    merged.pop("extends", None)
    return {**merged, "name": name or DEFAULT}


def _unchecked(own: Mapping[str, Any]) -> Iterator[str]:
    """Why a stage's options cannot be checked as its profile says."""
    how = own.get("validate") or _NONE
    syntax = own.get("syntax") or "flags"
    if how.get("by") == "verl-hydra" and not how.get("config"):
        yield "by verl-hydra needs a config"
    if how.get("by") == "argparse" and syntax not in ("flags", "file"):
        yield f"is by argparse, which reads no options of the syntax {syntax}"


def needs(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What each profile of these folders needs, by its name, and the variable by which its PPO
    learns when to save early; those with faults are left out."""
    there = known(folders)
    found = {}
    for name in there:
        try:
            one = profile(name, there_only(there))
            early = (one.get("ppo") or _NONE).get("early_save") or ""
            found[name] = {**(one.get("needs") or _NONE), "early_save": early}
        except ProfileError:
            continue
    return found


def fitting(needs: Mapping[str, Mapping[str, Any]], packages: Mapping[str, str]) -> list[str]:
    """The profiles whose trainer is among installed packages, in a version that they fit: first the
    default trainer's, and of one trainer those with the shortest name."""

    def place(name: str) -> tuple[bool, str, int]:
        package = needs[name]["package"]
        return package != needs[DEFAULT].get("package"), package, len(name)

    found = [
        name
        for name, own in needs.items()
        if own.get("package") in packages
        and fits(packages[own["package"]], own.get("version") or "")
    ]
    return sorted(found, key=place)


def there_only(there: Mapping[str, Path]) -> list[Path]:
    """The folders that known profiles are in."""
    return list(dict.fromkeys(path.parent for path in there.values()))


@functools.cache
def schema() -> Schema:
    """The published schema."""
    return Schema(json.loads((SHIPPED / "schema.json").read_text(encoding="utf-8")))


def _line(name: str, there: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A profile and those that it stands on, itself first."""
    line: list[dict[str, Any]] = []
    seen: list[str] = []
    by = ""
    while name:
        if name in seen:
            raise ProfileError(f"{by}: extends goes round: {' → '.join([*seen, name])}.")
        if name not in there:
            raise ProfileError(_unknown(name, there, by))
        seen.append(name)
        by = str(there[name])
        line.append(_read(there[name]))
        name = str(line[-1].get("extends") or "")
    return line


def _unknown(name: str, there: Mapping[str, Path], by: str) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(there))}."
    where = f"{by}: extends: " if by else ""
    return f"{where}there is no trainer profile {name}; {hint}"


def _read(path: Path) -> dict[str, Any]:
    return _checked(path, path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)
def _checked(path: Path, text: str) -> dict[str, Any]:
    """A file's own content. What is missing in it may be in what it stands on."""
    try:
        read = loaded(text)
    except NotYamlError as problem:
        raise ProfileError(f"{path}:{problem.line}: {problem.text}.") from None
    faults = sorted(
        {(read.line_of(fault.path), fault.text) for fault in schema().faults(read.value)}
    )
    faults += [(line, text) for line, text in read.twice]
    if faults:
        raise ProfileError("\n".join(f"{path}:{line}: {_closed(text)}" for line, text in faults))
    return read.value if isinstance(read.value, dict) else {}


def _closed(text: str) -> str:
    """A text as a sentence."""
    return text if text.endswith("?") else f"{text}."


def _merged(base: Any, top: Any) -> Any:
    """`top` on `base`: mappings key by key, null removes a key, anything else replaces."""
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    merged = dict(base)
    for key, value in top.items():
        if value is None and key in base and isinstance(base[key], Mapping | list):
            merged.pop(key)
        else:
            merged[key] = _merged(base[key], value) if key in base else value
    return merged
