"""The options that are kept with a run: the file options.yml in its folder.

Options that a user gives by name on the command line are added to it, and count for every later
command of the run. A user may edit it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from .profile_text import NotYamlError, loaded

FILE = "options.yml"
_SECTIONS = ("sft", "ppo")
_HEADER = """\
# Options of the trainers for this run, which override those of the site. `mnrun sft NAME=VALUE`
# adds to them, and every later command of the run uses them. Delete a line to return to the site's
# value.
"""
_SIGN = re.compile(r"\+\+?|~")

Options = Mapping[str, Any]


class Kept(NamedTuple):
    """What a file contains. `faults`: each with its line; the options are empty then."""

    options: dict[str, dict[str, Any]]
    faults: list[str]


def base(name: str) -> str:
    """The name of an option without the sign (+, ++, ~) in front of it."""
    return _SIGN.sub("", name, count=1) if _SIGN.match(name) else name


def options_over(site: Options, *later: Options) -> dict[str, Any]:
    """Options of which the later ones replace those of the same name, whatever sign each has.

    An option that is new to the trainer (+) stays a new one with its later value.
    """
    found = dict(site)
    for options in later:
        for name, value in options.items():
            same = [one for one in found if base(one) == base(name) and one != name]
            added = next((one for one in same if one[:1] == "+"), "")
            for one in same:
                del found[one]
            if name[:1] == "~" and added and value is None:
                continue
            found[added if added and name == base(name) else name] = value
    return found


def read(text: str, path: str) -> Kept:
    """Read a file. `path`: how faults name it."""
    try:
        document = loaded(text)
    except NotYamlError as error:
        return Kept({}, [f"{path}:{error.line}: {error.text}"])
    value = document.value or {}
    faults = [f"{path}:{line}: {fault}" for line, fault in document.twice]
    if not isinstance(value, dict):
        return Kept({}, [f"{path}:1: it must be a mapping with sft and ppo"])
    for section, options in value.items():
        place = f"{path}:{document.line_of((str(section),))}"
        if section not in _SECTIONS:
            faults.append(f"{place}: {section!r} is neither sft nor ppo")
        elif not isinstance(options, dict | None):
            faults.append(f"{place}: {section} must be a mapping of options")
        else:
            numbers = [name for name in options or {} if not isinstance(name, str)]
            for name in numbers:
                line = document.line_of((section, str(name)))
                faults.append(f"{path}:{line}: {name!r} is not the name of an option")
    if faults:
        return Kept({}, faults)
    return Kept({key: dict(value[key]) for key in _SECTIONS if value.get(key)}, [])


def with_more(text: str, more: Mapping[str, Options]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The text of a sound file with more options in it, and all options then. What else a user
    wrote into it stays, unless its form is not the usual one."""
    before = read(text, FILE).options
    after = {
        section: options_over(before.get(section, {}), _plain(more.get(section, {})))
        for section in _SECTIONS
        if before.get(section) or more.get(section)
    }
    if after == before:
        return text, after
    edited = text or _HEADER
    for section, options in after.items():
        edited = _edited(edited, section, before.get(section, {}), options)
    return edited if read(edited, FILE).options == after else _HEADER + _whole(after), after


def _plain(value: Any) -> Any:
    """A value without what ansible-core attaches to it, which YAML has no words for."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    kind = next((one for one in (bool, int, float, str) if isinstance(value, one)), None)
    return kind(value) if kind else value


def _edited(text: str, section: str, before: Options, after: Options) -> str:
    lines = text.splitlines()
    if f"{section}:" not in lines:
        lines.append(f"{section}:")
    end = at = lines.index(f"{section}:") + 1
    gone = [name for name in before if name not in after]
    while end < len(lines) and lines[end][:1] in (" ", "#", ""):
        end += 1
    inside = [line for line in lines[at:end] if _name(line) not in gone]
    for name, value in after.items():
        if name in before and before[name] == value:
            continue
        new = f"  {_shown(name)}: {_shown(value)}"
        places = [number for number, line in enumerate(inside) if _name(line) == name]
        if places:
            inside[places[0]] = new
        else:
            inside.append(new)
    return "\n".join([*lines[:at], *inside, *lines[end:]]) + "\n"


def _name(line: str) -> str:
    """The option that a line sets; empty if it is not the usual form."""
    found = re.match(r"""  (?:"([^"]+)"|'([^']+)'|([^\s"'#:][^\s:]*)):(?:\s|$)""", line)
    return next((name for name in found.groups() if name), "") if found else ""


def _whole(options: Mapping[str, Options]) -> str:
    return "".join(
        f"{section}:\n" + "".join(f"  {_shown(name)}: {_shown(one)}\n" for name, one in own.items())
        for section, own in options.items()
    )


def _shown(value: Any) -> str:
    """A value on one line of YAML, as a user would write it."""
    text = str(yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**20))
    line = text.removesuffix("...\n").strip()
    return line if "\n" not in line else json.dumps(value)
