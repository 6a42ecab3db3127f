"""Findings about a site: where in the inventory each comes from, and the list that people read."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..module_utils.base.finding import FAULT, OK, WARNING
from ..module_utils.base.text import plural, printable
from .origin import Place, place_of

MARKS = {OK: "✓", WARNING: "!", FAULT: "✗"}

_ROLES_OF_OURS = Path(__file__).resolve().parents[2] / "roles"
_WIDTH = 80
_PART = 12  # columns of the part's name
_IN_TEXT = re.compile(r", in ([^\s,;:]{1,4096}:\d{1,9})(?!\d)")
_MEANT = re.compile(r"[Dd]id you mean ([\w./:@-]+)(?:\?| or )")
_TO_SET = re.compile(r"Set one: (\w{1,80}: \{[^{}]{1,400}\})")
_DOTTED = re.compile(r"(?<![\w./])[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_NAME = re.compile(r"\b[a-z]{1,40}_[a-z0-9_]{1,80}\b")
# Options of sbatch as a complaint names them, and the variables of the whole site for some.
_ASKED = re.compile(r"(?<!-)--([a-z][a-z-]{1,40})=")
_OF_SBATCH = (
    ("partition", r"\bno partition\b", "mnrun_partition"),
    ("account", r"^account: ", ""),
    ("time", r"^time: ", ""),
    ("nodelist", r"^nodelist\b", "mnrun_nodelist"),
    ("nodes", r"^nodes: ", "mnrun_nodes"),
    ("gpus-per-node", r"\bGPUs on each of", "mnrun_gpus_per_node"),
    ("cpus-per-task", r"\bCPUs on each of", ""),
    ("mem", r"\bMB on each of", ""),
)
_ROLES = {"ray": "ray_cluster"}  # of a stage with another name


class Shown(NamedTuple):
    """A finding as people see it. `where` is a place in the inventory, `write` what belongs there;
    either may be empty."""

    level: str
    part: str
    what: str
    where: str = ""
    write: str = ""


def shown(finding: Mapping[str, Any], variables: Mapping[str, Any]) -> Shown:
    """A finding with the place of the variable that it is about. `variables`: those of the host,
    not yet worked out."""
    what = printable(str(finding["what"]).strip())
    level, part = str(finding["level"]), str(finding["part"])
    if level == OK:
        return Shown(level, part, what)
    written = _IN_TEXT.search(what)
    if written:
        what = what.replace(written[0], "", 1)
    named = [*(finding.get("variables") or ()), *_NAME.findall(what)]
    name, place = _first(_places(part, what, named, variables))
    where = written[1] if written else place.text
    return Shown(level, part, what, where, _to_write(what, name))


def _first(places: Iterable[tuple[str, Place]]) -> tuple[str, Place]:
    return next(((name, place) for name, place in places if place.text), ("", Place()))


def _places(
    part: str, what: str, named: list[str], variables: Mapping[str, Any]
) -> Iterator[tuple[str, Place]]:
    """Where the variables in question were written, the most likely one first."""
    if part == "Slurm":
        yield from _of_requests(what, variables)
    if part == "options":
        yield from _of_options(what, variables)
    for name in sorted(named, key=lambda name: not _holds(variables.get(name), what)):
        if name in variables:
            yield name, _within(variables[name], what)


def _holds(value: Any, what: str) -> bool:
    """Whether a text names the last part of a path that is this value, or in it."""
    inner = value if isinstance(value, list) else [value]
    ends = (str(one).rstrip("/").rpartition("/")[2] for one in inner if isinstance(one, str))
    return any(end and re.search(rf"/{re.escape(end)}\b", what) for end in ends)


def _within(value: Any, what: str) -> Place:
    """Where a user wrote a value, and not the defaults of a role; of a list or mapping the part
    that the text names, if it names one."""
    inner = list(value.values()) if isinstance(value, Mapping) else value
    parts = inner if isinstance(inner, list) else []
    named = [one for one in parts if isinstance(one, str) and one and one in what]
    places = map(place_of, [*named, value, *parts])
    place = next((found for found in places if found.text), Place())
    if place.path and Path(place.text).resolve().is_relative_to(_ROLES_OF_OURS):
        return Place()
    return place


def _of_requests(what: str, variables: Mapping[str, Any]) -> Iterator[tuple[str, Place]]:
    """Of a complaint about requests, `sft, ray: …`: what asks for the option that it is about."""
    stages, _, text = what.partition(": ")
    roles = [_ROLES.get(stage, stage) for stage in stages.split(", ")]
    options = _ASKED.findall(text)
    options += [option for option, words, _name in _OF_SBATCH if re.search(words, text)]
    sites = {option: name for option, _words, name in _OF_SBATCH}
    for option in options:
        for owner in [*(f"{role}_sbatch" for role in roles), "mnrun_sbatch"]:
            asked = variables.get(owner)
            if isinstance(asked, Mapping) and option in asked:
                yield owner, place_of(asked[option])
        if sites.get(option) in variables:
            yield sites[option], place_of(variables[sites[option]])


def _of_options(what: str, variables: Mapping[str, Any]) -> Iterator[tuple[str, Place]]:
    """Of a fault of a trainer's options, `sft: …`: the options that it names."""
    stage = what.partition(":")[0]
    for option in _DOTTED.findall(what):
        for owner in (f"{stage}_overrides", f"{stage}_options"):
            given = variables.get(owner)
            if isinstance(given, Mapping) and option in given:
                yield owner, place_of(given[option])


def _to_write(what: str, name: str) -> str:
    """The value that a text proposes, with the name of the variable that gets it."""
    whole = _TO_SET.search(what)
    if whole:
        return whole[1]
    meant = _MEANT.search(what)
    if not meant:
        return ""
    return f"{name}: {meant[1]}" if name and "no partition" in what else meant[1]


def lines(findings: Iterable[Shown]) -> Iterator[str]:
    """The list, and what it comes to."""
    counted = {FAULT: 0, WARNING: 0, OK: 0}
    for finding in findings:
        counted[finding.level] += 1
        yield from _lines_of(finding)
    yield ""
    yield verdict(counted[FAULT], counted[WARNING])


def _lines_of(finding: Shown) -> Iterator[str]:
    start = f"  {MARKS[finding.level]} {finding.part:<{_PART}} "
    indent = " " * len(start)
    yield from textwrap.wrap(
        finding.what, _WIDTH, initial_indent=start, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    more = [finding.where] if finding.where else []
    more += [f"write: {finding.write}"] if finding.write else []
    together = "  ".join(more)
    fits = more and len(indent) + len(together) <= _WIDTH
    yield from (f"{indent}{text}" for text in ([together] if fits else more))


def verdict(faults: int, warnings: int) -> str:
    """`ready`, or how many faults there are."""
    also = [plural(warnings, "warning")] if warnings else []
    if faults:
        return ", ".join([plural(faults, "fault"), *also])
    return ", with ".join(["ready", *also])
