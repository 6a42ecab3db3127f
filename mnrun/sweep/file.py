"""A sweep: the runs that a file asks for. An error names the file and the line.

The keys of the file are in schema.json.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
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
    faults = [*_faults_of_form(loaded), *loaded.twice]
    if not faults:
        faults = [(loaded.line_of(place), text) for place, text in _faults(loaded.value, path)]
    if faults:
        lines = [f"{path}:{line}: {_closed(text)}" for line, text in sorted(set(faults))]
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


def _faults_of_form(loaded: Any) -> Iterator[tuple[int, str]]:
    place = Path(__file__).with_name("schema.json")
    rules = json.loads(place.read_text(encoding="utf-8"))
    schema = plugin_util("schema").Schema(rules, "the sweep")
    for fault in (*schema.faults(loaded.value), *schema.missing(loaded.value)):
        yield loaded.line_of(fault.path), fault.text


def _closed(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _faults(value: Mapping[str, Any], path: Path) -> Iterator[tuple[_Place, str]]:
    """What is wrong with a file of the right form."""
    yield from _name_faults(value, path)
    yield from _grid_faults(value)
    for place, section, options in _sections(value):
        yield from _option_faults(place, section, options, str(value["stage"]))
    for number, run in enumerate(value.get("runs") or ()):
        if not run:
            yield ("runs", number), f"runs.{number} is empty; each run names options or itself"
    count = _count(value)
    if count > MOST:
        yield ("grid",), f"it makes {count} runs, and {MOST} is the most; shorten the lists"
    elif count == 0:
        yield (), "it makes no run; give a grid, runs, or both"
    else:
        yield from _same_names(value, path)


def _name_faults(value: Mapping[str, Any], path: Path) -> Iterator[tuple[_Place, str]]:
    if not value.get("name") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", path.stem):
        yield (), f"name is not set, and {path.stem!r} cannot begin the name of a run: set it"


def _grid_faults(value: Mapping[str, Any]) -> Iterator[tuple[_Place, str]]:
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
) -> Iterator[tuple[_Place, str]]:
    where = ".".join(map(str, place))
    if section == "ppo" and stage == "sft":
        yield place, f"{where} has no effect: each run is only SFT (stage: sft)"
    for name, item in options.items():
        if section == "variables" and name in _NOT_HERE:
            yield (*place, name), f"{where}.{name} cannot be set here: {_NOT_HERE[name]}"
        if any(isinstance(one, date) for one in _leaves(item)):
            yield (*place, name), f"{where}.{name} is a date to YAML; put it in quotes"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | set | tuple):
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


def _same_names(value: Mapping[str, Any], path: Path) -> Iterator[tuple[_Place, str]]:
    seen: set[str] = set()
    for run, place in zip(_sweep(value, path).runs, _places(value), strict=True):
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
        stage=str(value["stage"]),
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
