"""What a report says of its runs, found once for the page and for Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mnrun.report.chart import Line, finite, number

Found = Mapping[str, Any]

TRAINED = ("sft", "ppo")
ORDER = ("loss", "val_loss", "reward", "val_reward", "kl", "length", "grad_norm")
_SECRET = re.compile(r"(?:api|access)_?key|passw|secret|credential|token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b(?:hf|gh[pousr]|github_pat)_\w{9}|\b(?:sk|glpat|nvapi)-\w{9}|://[^/@\s]*@"
)
_LONGEST, _MOST_BRACKETS = 200, 200
_NOT_READ = object()


def stages_of(run: Found) -> dict[str, Found]:
    """Return the stages that train, in order."""
    known = {stage["stage"]: stage for stage in run["stages"]}
    return {name: known[name] for name in TRAINED if name in known}


def metrics(runs: Sequence[Found], stage: str) -> list[str]:
    """Return the metrics of a stage with a value in one of the runs, the usual ones first."""
    named = [name for run in runs for name in _curves(run, stage)]
    every = dict.fromkeys((*ORDER, *sorted(named, key=_last_word)))
    return [name for name in every if lines(runs, stage, name)]


def _last_word(name: str) -> tuple[int, str]:
    word = name.rpartition("/")[2]
    return (ORDER.index(word) if word in ORDER else len(ORDER), name)


def _curves(run: Found, stage: str) -> Mapping[str, Any]:
    curves: Mapping[str, Any] = stages_of(run).get(stage, {}).get("curves") or {}
    return curves


def lines(runs: Sequence[Found], stage: str, metric: str) -> list[Line]:
    """Return the runs' curves of a metric that have a value."""
    found = []
    for place, run in enumerate(runs):
        points = [(int(step), value) for step, value in _curves(run, stage).get(metric, ())]
        entry = stages_of(run).get(stage, {})
        resumes = [(one["attempt"], one["step"]) for one in entry.get("resumes") or ()]
        found.append(Line(str(run["name"]), place % 8, points, resumes))
    return [line for line in found if finite(line)]


def title(metric: str) -> str:
    """Return a metric's name for people."""
    return metric.replace("_", " ") if "/" not in metric else metric


def scores(stage: Found) -> list[tuple[str, str, str]]:
    """Return name, first and last value of each metric of a stage, as texts."""
    got: Mapping[str, Any] = (
        (stage.get("output") or {}).get("metrics") or stage["progress"].get("metrics") or {}
    )
    found = []
    for name, last in got.items():
        if not name.startswith("first_") and isinstance(last, (int, float)):
            first = got.get(f"first_{name}", last)
            shown = number(first) if isinstance(first, (int, float)) else ""
            found.append((title(name), shown, number(last)))
    return found


def state(stage: Found) -> str:
    """Return a stage's state in a word: done, running, failed, …"""
    if stage.get("output"):
        return "done"
    phase = str((stage.get("job") or {}).get("phase"))
    return {"succeeded": "ended", "gone": "ended, not recorded how"}.get(phase, phase)


def origin(stage: Found) -> str:
    """Return whose result a stage started from."""
    found = [f"{one['stage']} (job {one['job']})" for one in stage.get("from") or ()]
    return ", ".join(found)


def options(stage: Found) -> dict[str, str]:
    """Return all options of a stage as texts, without secrets."""
    given = (stage.get("spec") or {}).get("options")
    given = given if isinstance(given, Mapping) else {}
    return {str(name): _value(str(name), value) for name, value in given.items()}


def _value(name: str, value: object) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except TypeError:  # a key that JSON does not have, such as a date
        text = str(value)
    if _SECRET_VALUE.search(text) or any(map(_SECRET.search, (name, *_names_in(value)))):
        return "…"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _names_in(value: object) -> Iterator[str]:
    """The names in a value that is a mapping, or holds some."""
    if isinstance(value, Mapping):
        yield from map(str, value)
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from _names_in(one)


def _is_small(text: str) -> bool:
    """Whether a YAML text is no longer than it looks: many brackets make very long work, and
    aliases very large values. Raises YAMLError."""
    if sum(map(text.count, "{[")) > _MOST_BRACKETS:
        return False
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    return not any(isinstance(one, yaml.AliasEvent) for one in events)


def kept_options(run: Found) -> dict[str, str]:
    """Return the options that were given for this run and differ from the site's, `sft.NAME`; of a
    file that is not read, its name alone."""
    text = run.get("kept_options") or ""
    try:
        read = yaml.safe_load(text) if _is_small(text) else _NOT_READ
    except (yaml.YAMLError, ValueError, RecursionError):
        read = _NOT_READ
    if read is _NOT_READ:
        return {"options.yml": "…"}
    stages = read if isinstance(read, Mapping) else {}
    return {
        f"{stage}.{name}": _value(str(name), value)
        for stage, given in stages.items()
        if isinstance(given, Mapping)
        for name, value in given.items()
    }


def differing(runs: Sequence[Found]) -> list[tuple[str, list[str]]]:
    """Return the options that are not the same in all runs that have their stage, with the value
    in each run."""
    found = []
    for stage in TRAINED:
        parts = [stages_of(run).get(stage) for run in runs]
        given = [None if one is None else options(one) for one in parts]
        for name in dict.fromkeys(name for one in given for name in one or ()):
            values = ["-" if one is None else one.get(name, "not set") for one in given]
            if len({*values} - {"-"}) > 1:
                found.append((f"{stage}.{name}", values))
    return found


def versions(run: Found) -> dict[str, str]:
    """Return the versions of the trainer and of packages, as far as they are known."""
    found: dict[str, str] = {}
    for stage, entry in stages_of(run).items():
        spec = entry.get("spec") or {}
        if spec.get("trainer"):
            found[f"{stage}: {spec['trainer']}"] = str(spec.get("trainer_version") or "not known")
    return {**found, **{str(name): str(one) for name, one in (run.get("packages") or {}).items()}}


def failed(run: Found) -> Iterator[tuple[str, Found]]:
    """Yield stage and attempt of each one that ended without a result, with its cause."""
    for stage in run["stages"]:
        for one in stage.get("attempts") or ():
            if one["cause"] or one["problem"]:
                yield stage["stage"], one


def resumed(run: Found, stage: str) -> Iterator[str]:
    """Yield a sentence for each attempt that took over from another one."""
    for one in stages_of(run).get(stage, {}).get("resumes") or ():
        over = one["step"] <= 1
        begun = "started over" if over else f"resumed and made step {one['step']} first"
        again = f"; {one['repeated']} steps were made again" if one["repeated"] else ""
        yield f"{run['name']}: attempt {one['attempt']} {begun}{again}."
