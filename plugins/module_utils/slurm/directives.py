"""The sbatch options of a job: what a user may write, and how it stands in the script.

They come as a mapping of long names, and stay one: the text of a script is written from it and
never read again.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Callable, Mapping

from ..base.errors import Invalid
from ..record.recorder import split_head
from .options import FLAG, KINDS, OURS, Kind, likely, of_help
from .times import in_words, slurm_time

# Characters which Slurm reads as they are in a directive; all else goes in quotes.
_PLAIN = re.compile(r"[\w@%+=:,./\[\]*~-]+", re.ASCII)
_DIRECTIVE = re.compile(r"^#(?:SBATCH|PBS|BSUB)\b", re.MULTILINE)
_MINUTE = 60  # the smallest number that YAML may have made of something like 1:00


def sbatch_options(options: Mapping[str, Any], ask_help: Callable[[], str]) -> dict[str, str]:
    """The options of a job by their long names, each value as sbatch takes it, empty for a flag.

    What is empty (None, "", False where no value is needed) is left out. `ask_help` gives the text
    of `sbatch --help`, and is called only for a name that is not known. Raises Invalid, with a line
    for each option that cannot be used, and what `ask_help` raises.
    """
    known = KINDS.keys() >= set(options) - set(OURS)
    kinds = KINDS if known else {**of_help(ask_help()), **KINDS}
    wrong = ((name, _fault(name, value, kinds)) for name, value in options.items())
    faults = [f"sbatch option {_shown(name)} {fault}" for name, fault in wrong if fault]
    if faults:
        raise Invalid("\n".join(faults))
    return {
        name: "" if value is True else str(value)
        for name, value in options.items()
        if not _absent(value)
    }


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _absent(value: Any) -> bool:
    return value is None or value is False or value == ""


def _fault(name: str, value: Any, kinds: Mapping[str, Kind]) -> str:
    """What is wrong with an option, or nothing."""
    if name in OURS:
        return f"is not yours to set: {OURS[name]}"
    if name not in kinds:
        return _other_name(likely(name, [*kinds, *OURS]))
    return _of_value(value, kinds[name])


def _of_value(value: Any, kind: Kind) -> str:
    if isinstance(value, bool):
        return _of_bool(value) if kind.needed else ""
    if _absent(value):
        return ""
    if kind == FLAG:
        return f"takes no value: write true, not {value!r}"
    if isinstance(value, int):
        return _of_number(value, kind)
    return _of_text(value, kind) if isinstance(value, str) else _of_another_type(value)


def _other_name(close: str) -> str:
    if close in OURS:
        return f"is not one of sbatch's, and {close} is not yours to set: {OURS[close]}"
    better = f"write {close} if you mean that" if close else "write it like gpus-per-node"
    return f"is not one of sbatch's: {better}"


def _of_bool(value: bool) -> str:
    words = "yes, on and true" if value else "no, off and false"
    leave_out = "" if value else ", or write '' to leave it out"
    return (
        f"takes a value, and YAML reads {words} without quotes as a boolean: put the value in"
        f" quotes{leave_out}"
    )


def _of_number(value: int, kind: Kind) -> str:
    """YAML reads 2:00:00 as a number to the base of 60, and 0123 as an octal one."""
    if kind.number or (kind.limit and 0 <= value < _MINUTE):
        return ""
    if not kind.limit or value < 0:
        return f"is the number {value}, which YAML may have made of another text: put it in quotes"
    clock = _clock(value)
    return (
        f"is the number {value}, and YAML makes the same of {clock} without quotes: put it in"
        f" quotes, '{clock}' for {in_words(slurm_time(clock))}"
        f" or '{value}' for {in_words(slurm_time(str(value)))}"
    )


def _clock(number: int) -> str:
    minutes, seconds = divmod(number, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _of_text(text: str, kind: Kind) -> str:
    if not text.isprintable():
        return f"holds a line break or a control character ({text!r}): write it in one line"
    if not kind.limit:
        return ""
    try:
        slurm_time(text)
    except ValueError:
        return f"is not a time ({text!r}): write days-hours:minutes:seconds"
    return ""


def _of_another_type(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "takes one text or number, not a list: write it as Slurm does, a,b,c"
    if isinstance(value, Mapping):
        return "takes one text or number, not a mapping"
    return f"is the number {value}: write a whole one, or put it in quotes"


def with_directives(script: str, options: Mapping[str, str]) -> str:
    """The body of a script with its options below the first line, where sbatch looks for them."""
    first, _newline, rest = script.partition("\n")
    lines = "".join(f"{_line(name, value)}\n" for name, value in options.items())
    return f"{first}\n{lines}{rest}"


def _line(name: str, value: str) -> str:
    quoted = value if _PLAIN.fullmatch(value) else shlex.quote(value)
    return f"#SBATCH --{name}={quoted}" if value else f"#SBATCH --{name}"


def check_body(script: str) -> str:
    """The body of a script, as it was given. Raises Invalid if it holds directives of its own:
    mnrun would not know of them."""
    head, _body = split_head(script)
    found = _DIRECTIVE.search(head)
    if found:
        line = head[found.start() :].splitlines()[0]
        raise Invalid(f"The script holds the line {line!r}. Give the options as `sbatch` instead.")
    return script
