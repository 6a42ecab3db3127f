"""A sweep: the runs that a file asks for. An error names the file and the line.

The keys of the file are in schema.json.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from mnrun.collection import plugin_util
from mnrun.errors import UsageError
from mnrun.sweep.names import run_name

MOST = 100
"""Runs of one sweep: more are probably a mistake in the grid."""

_SECTIONS = {"sft": "sft_overrides", "ppo": "ppo_overrides", "variables": ""}
_NOT_HERE = {
    "mnrun_run_name": "the sweep names its runs",
    "mnrun_run_dir": "each run of a sweep has its own",
    "mnrun_base_dir": "all runs of a sweep are in one folder; set it with -e or in the inventory",
    "sft_wait": "the sweep waits for each run",
    "ppo_wait": "the sweep waits for each run",
    "sft_overrides": "write these options under sft",
    "ppo_overrides": "write these options under ppo",
}
_LONGEST_FILE = 1024 * 1024  # bytes

Settings = Mapping[str, Mapping[str, Any]]
"""Options of the trainers and variables, by the keys of _SECTIONS."""

_Place = tuple[str | int, ...]
_Found = tuple[_Place, str]
"""A fault: the keys that lead there, and what is wrong."""


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    name: str
    own: Settings
    """What distinguishes it from the others."""
    variables: Mapping[str, Any]
    """What is set for it, as variables of mnrun."""


@dataclass(frozen=True)
class Sweep:
    """What a file asks for."""

    name: str
    stage: str
    """The command that each run is: sft, ppo or all."""
    at_most: int
    metric: str
    """Empty: the most telling one."""
    best: str
    """lowest, highest, or empty: as the metric's name says."""
    runs: tuple[SweepRun, ...]
    lines: Mapping[str, int]
    """Where options are written: the line of each by its name."""


def read(path: Path) -> Sweep:
    """Read a file.

    Raises:
        UsageError: all that is wrong with it, each fault with its line.
    """
    loaded = _loaded(path)
    of_form = list(_faults_of_form(loaded.value))
    inside = _sound(loaded.value, of_form) if isinstance(loaded.value, Mapping) else {}
    found = [*of_form, *(_faults(inside, path, of_form) if inside else ())]
    faults = {(loaded.line_of(place), text) for place, text in found} | set(loaded.twice)
    if faults:
        lines = [f"{path}:{line}: {_closed(text)}" for line, text in sorted(faults)]
        raise UsageError("\n".join([*lines, "Nothing was submitted."]))
    written = {
        name: loaded.line_of((*place, name))
        for place, _section, options in _sections(loaded.value)
        for name in options
    }
    return replace(_sweep(loaded.value, path), lines=written)


def _loaded(path: Path) -> Any:
    profile_text = plugin_util("profile_text")
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path}: it is not a regular file.")  # a pipe may never end
        with path.open("rb") as file:
            text = file.read(_LONGEST_FILE + 1).decode()
        if len(text) > _LONGEST_FILE:
            raise UsageError(f"{path}: larger than 1 MiB; a sweep is a short YAML file.")
        loaded = profile_text.loaded(text)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UsageError(f"{path}: {why}.") from None
    except profile_text.NotYamlError as problem:
        raise UsageError(f"{path}:{problem.line}: {problem.text}.") from None
    return loaded


def _faults_of_form(value: Any) -> Iterator[_Found]:
    place = Path(__file__).with_name("schema.json")
    rules = json.loads(place.read_text(encoding="utf-8"))
    schema = plugin_util("schema").Schema(rules, "the sweep")
    for fault in (*schema.faults(value), *schema.missing(value)):
        yield fault.path, fault.text


def _sound(value: Any, of_form: Iterable[_Found]) -> Mapping[str, Any]:
    """What of a file has its form, so that what is wrong inside it is found as well."""
    top = _mapping(value)
    bad = {place[:2] for place, _text in of_form}
    runs: Any = top.get("runs")
    return {
        **{key: top[key] for key in ("name", "stage") if isinstance(top.get(key), str)},
        "base": _settings(top.get("base")),
        "grid": {
            section: {name: one for name, one in options.items() if one is None or _is_list(one)}
            for section, options in _settings(top.get("grid")).items()
        },
        "runs": [
            # Its name counts only if it has one: this is no other run's.
            {**_settings(run), "name": f"({number})"} if ("runs", number) in bad else run
            for number, run in enumerate(runs if _is_list(runs) else ())
        ],
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _settings(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """The sections of options that are mappings, with those of their keys that are texts."""
    return {
        section: {name: item for name, item in options.items() if isinstance(name, str)}
        for section, options in _mapping(value).items()
        if section in _SECTIONS and isinstance(options, Mapping)
    }


def _closed(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _faults(value: Mapping[str, Any], path: Path, of_form: Iterable[_Found]) -> Iterator[_Found]:
    """What is wrong inside the parts that have their form."""
    bad = {place[0] for place, _text in of_form if place}
    if "name" not in bad:
        yield from _name_faults(value, path)
    of_grid = list(_grid_faults(value))
    yield from of_grid
    for place, section, options in _sections(value):
        yield from _option_faults(place, section, options, str(value.get("stage")))
    for number, run in enumerate(value.get("runs") or ()):
        if not run:
            yield ("runs", number), f"runs.{number} is empty; each run names options or itself"
    if of_grid or "grid" in bad:
        value = {**value, "grid": {}}
    count = _count(value)
    if count > MOST:
        yield ("grid",), f"it makes {count} runs, and {MOST} is the most; shorten the lists"
    elif count:
        yield from _same_names(value, path)
    elif not (of_grid or bad & {"grid", "runs"}):
        yield (), "it makes no run; give a grid, runs, or both"


def _name_faults(value: Mapping[str, Any], path: Path) -> Iterator[_Found]:
    if not value.get("name") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", path.stem):
        yield (), f"name is not set, and {path.stem!r} cannot begin the name of a run: set it"


def _grid_faults(value: Mapping[str, Any]) -> Iterator[_Found]:
    for section, options in (value.get("grid") or {}).items():
        for name, values in (options or {}).items():
            place = ("grid", section, name)
            if not values:
                yield place, f"{'.'.join(place)} is empty; it must be a list of values"


def _sections(value: Mapping[str, Any]) -> Iterator[tuple[_Place, str, Mapping[str, Any]]]:
    """Each mapping of options in a file, with its place."""
    inside: list[tuple[_Place, Mapping[str, Any]]] = [
        *(((key,), value.get(key) or {}) for key in ("base", "grid")),
        *((("runs", number), run or {}) for number, run in enumerate(value.get("runs") or ())),
    ]
    for place, settings in inside:
        for section in _SECTIONS:
            if settings.get(section):
                yield (*place, section), section, settings[section]


def _option_faults(
    place: _Place, section: str, options: Mapping[str, Any], stage: str
) -> Iterator[_Found]:
    where = ".".join(map(str, place))
    if section == "ppo" and stage == "sft":
        yield place, f"{where} has no effect: each run is only SFT (stage: sft)"
    for name, item in options.items():
        if section == "variables" and name in _NOT_HERE:
            yield (*place, name), f"{where}.{name} cannot be set here: {_NOT_HERE[name]}"
        odd = next(filter(None, map(_odd, _leaves(item))), "")
        if odd:
            yield (*place, name), f"{where}.{name} is {odd}"


def _odd(value: Any) -> str:
    """What a value is that no option of a trainer can be; empty for others."""
    if isinstance(value, date):
        return "a date to YAML; put it in quotes"
    if isinstance(value, bytes | set | frozenset):
        return "binary data or a set to YAML; write a text or a list"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is not a finite number"
    return ""


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _count(value: Mapping[str, Any]) -> int:
    """How many runs there are, without making them."""
    lists = [
        len(values or ())
        for options in (value.get("grid") or {}).values()
        for values in (options or {}).values()
    ]
    return (math.prod(lists) if lists else 0) + len(value.get("runs") or ())


def _same_names(value: Mapping[str, Any], path: Path) -> Iterator[_Found]:
    seen: set[str] = set()
    for run, place in zip(_sweep(value, path).runs, _places(value), strict=True):
        if place[0] == "runs" and not value["runs"][place[1]]:
            continue  # reported as empty
        if run.name in seen:
            yield place, f"two runs would be {run.name}: {_shown(run.own)}"
        seen.add(run.name)


def _shown(own: Settings) -> str:
    texts = [f"{name}={item}" for options in own.values() for name, item in options.items()]
    return ", ".join(texts) or "without options of its own"


def _places(value: Mapping[str, Any]) -> Iterator[_Place]:
    """Where each run is written, in the order of the runs."""
    for _run in _combinations(value):
        yield ("grid",)
    for number, _listed in enumerate(value.get("runs") or ()):
        yield ("runs", number)


def _combinations(value: Mapping[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    axes = [
        [(section, name, item) for item in values]
        for section, options in (value.get("grid") or {}).items()
        for name, values in (options or {}).items()
    ]
    for chosen in itertools.product(*axes) if axes else ():
        own: dict[str, dict[str, Any]] = {}
        for section, name, item in chosen:
            own.setdefault(section, {})[name] = item
        yield own


def _sweep(value: Mapping[str, Any], path: Path) -> Sweep:
    name, base = str(value.get("name") or path.stem), value.get("base") or {}
    listed = [((run or {}).get("name") or "", run or {}) for run in value.get("runs") or ()]
    sets = [*(("", own) for own in _combinations(value)), *listed]
    return Sweep(
        name=name,
        stage=str(value.get("stage")),
        at_most=int(value.get("at_most") or 2),
        metric=str(value.get("metric") or ""),
        best=str(value.get("best") or ""),
        runs=tuple(_run(name, given, own, base) for given, own in sets),
        lines={},
    )


def _run(prefix: str, given: str, written: Mapping[str, Any], base: Mapping[str, Any]) -> SweepRun:
    own = {section: dict(written[section]) for section in _SECTIONS if written.get(section)}
    variables = {**(base.get("variables") or {}), **own.get("variables", {})}
    for section, variable in _SECTIONS.items():
        options = {**(base.get(section) or {}), **own.get(section, {})}
        if variable and options:
            variables[variable] = options
    return SweepRun(run_name(prefix, given, own), own, variables)
