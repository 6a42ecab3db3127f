"""Services beside a training: what a run wants, what is wrong with that, and what a job gets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.environment.secret import secret_fault

Service = Mapping[str, Any]

STAGES = ("sft", "ppo")
DECIDES = ("command", "environment")
"""What of a service decides the result of the training: what it is and does, not where it runs."""

_DEFAULTS: Service = {
    "command": [], "nodes": "first", "gpus": 0, "cpus": 0, "memory": "", "health": "",
    "timeout": 600, "environment": {}, "secrets": {},
}  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MEMORY = re.compile(r"[1-9][0-9]{0,11}[KMGT]?")
_HEALTH = re.compile(r"/[^\s#]*", re.ASCII)
_PLACES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*")
# `--api-key=VALUE`, `HF_TOKEN=VALUE` after env, and within what a shell reads.
_PAIR = re.compile(r"(?<![\w-])-{0,2}([A-Za-z_][\w.-]{0,100})=(?=(\S{1,2000}))")
_TAKEN = re.compile(r"[\"']?[$`]")  # of another variable, or what a program prints


def of_stage(stage: str, site: Iterable[Service], profile: Iterable[Service]) -> list[Service]:
    """The services of a stage: those of its trainer's profile, with what the site says of them, and
    the site's own."""
    own = [one for one in site if stage in (one.get("stages") or STAGES)]
    known = {str(one["name"]): one for one in profile}
    named = {str(one.get("name")) for one in own}
    return [
        *({**_DEFAULTS, **one} for name, one in known.items() if name not in named),
        *({**_DEFAULTS, **known.get(str(one.get("name")), {}), **one} for one in own),
    ]


def share(stage: str, site: Iterable[Service]) -> dict[str, int]:
    """The GPUs and cores that services take on each node. A profile's take none."""
    own = of_stage(stage, site, [])
    return {what: sum(int(one[what]) for one in own) for what in ("gpus", "cpus")}


def planned(stage: str, site: Iterable[Service], profile: Iterable[Service], nodes: int) -> Service:
    """What a job gets of its services, and what of them decides the result."""
    own = of_stage(stage, site, profile)
    return {
        "plan": [_entry(one, own[number + 1 :], nodes) for number, one in enumerate(own)],
        "decisive": {
            str(one["name"]): {part: one[part] for part in DECIDES if one[part]}
            for one in own
            if one.get("decides", True)
        },
        **share(stage, own),
    }


def _entry(one: Service, later: Sequence[Service], nodes: int) -> dict[str, Any]:
    """One service. It gets the last GPUs and cores of a node before those of later ones."""
    kept = ("name", "command", "memory", "health", "environment", "secrets")
    return {
        **{part: one[part] for part in kept},
        "nodes": places(one["nodes"], nodes),
        "timeout": float(one["timeout"]),
        **{what: int(one[what]) for what in ("gpus", "cpus")},
        **{f"{what}_behind": sum(int(o[what]) for o in later) for what in ("gpus", "cpus")},
    }


def places(given: Any, nodes: int) -> list[int]:
    """The places, from 0, that a service's `nodes` stand for; empty if they stand for none."""
    named = {"first": [0], "last": [nodes - 1], "each": list(range(nodes))}
    if isinstance(given, str) and given in named:
        return named[given]
    text = ",".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    found = [int(one) for one in text.split(",")] if _PLACES.fullmatch(text) else []
    return (
        sorted({one for one in found if one < nodes}) if max(found, default=nodes) < nodes else []
    )


def faults(own: Sequence[Service], nodes: int, gpus: int, in_image: bool = False) -> list[str]:
    """All that is wrong with the services of a stage. `nodes`, and `gpus` on each, are the job's;
    `in_image`: what starts them is in a container image."""
    found = [
        f"{_called(one, n)}: {text}" for n, one in enumerate(own, 1) for text in _own(one, nodes)
    ]
    names = Counter(variable(one["name"]) for one in own if one.get("name"))
    found += [
        f"there are {count} services for {name}; each needs a name of its own"
        for name, count in names.items()
        if count > 1
    ]
    found += [
        f"{one['name']}: beside PPO in an image, services run on the first node only"
        for one in own
        if in_image and places(one["nodes"], nodes) != [0]
    ]
    taken = sum(int(one["gpus"]) for one in own)
    if taken and taken >= gpus:
        found.append(
            f"services take {taken} of the {gpus} GPUs of each node, which leaves none for the "
            "training"
        )
    return found


def variable(name: Any) -> str:
    """The variable with a service's address."""
    return f"MNRUN_SERVICE_{str(name).upper().replace('-', '_')}"


def _called(one: Service, number: int) -> str:
    return str(one.get("name") or f"item {number}")


def _own(one: Service, nodes: int) -> Iterator[str]:
    if not _NAME.fullmatch(str(one.get("name", ""))):
        yield (
            "its name must begin with a small letter and have small letters, digits, _ and - only"
        )
    if not one.get("command") or not one["command"][0]:
        yield "it has no command"
    if not places(one["nodes"], nodes):
        yield (
            f"nodes: {one['nodes']} does not fit: give first, last, each, or places from 0 to "
            f"{nodes - 1}"
        )
    if one["memory"] and not _MEMORY.fullmatch(str(one["memory"])):
        yield f"memory: {one['memory']} does not fit: give a number and K, M, G or T, as 64G"
    if one["health"] and not _HEALTH.fullmatch(one["health"]):
        yield (
            f"health: {one['health']} does not fit: give a path, as /health; mnrun chooses host"
            " and port"
        )
    if float(one["timeout"]) < 1:
        yield f"timeout: {one['timeout']} is too small: it must be 1 or more"
    yield from _environment_faults(one)


def _environment_faults(one: Service) -> Iterator[str]:
    for part in ("environment", "secrets"):
        for name, value in one[part].items():
            if not _VARIABLE.fullmatch(str(name)):
                yield f"{part}: {name} cannot be the name of an environment variable"
            if not isinstance(value, str):
                yield f"{part}: {name}: the value must be a text; put it in quotes"
    for name, value in one["environment"].items():
        if secret_fault(str(name), value):
            yield _to_file(f"environment: {name}")
    yield from map(_to_file, _secret_words(list(map(str, one.get("command") or ()))))


def _secret_words(command: list[str]) -> Iterator[str]:
    """What stands before each secret among the words of a command, or its place from 1."""
    for number, word in enumerate(command, 1):
        pairs = [(pair[1], pair[2]) for pair in _PAIR.finditer(word)]
        following = command[number] if number < len(command) else ""
        is_value = not following.startswith("-") and not secret_fault("", following)
        if word.startswith("-") and "=" not in word and is_value:
            pairs.append((word, following))
        named = [name for name, value in pairs if _is_secret(name, value)]
        if named:
            yield f"command: {named[0]}"
        elif secret_fault("", word):
            yield f"command: word {number}"


def _is_secret(name: str, value: str) -> bool:
    # A key alone may be a column's, as in a trainer's options. A shell fills in what begins with $.
    return not _TAKEN.match(value) and bool(secret_fault(name, value, of_trainer=True))


def _to_file(what: str) -> str:
    return (
        f"{what} would be visible to others; write the secret to a file of mode 600, and name that "
        "in secrets, as {VARIABLE: FILE}"
    )
