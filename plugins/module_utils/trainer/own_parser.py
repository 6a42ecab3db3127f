"""Compares a trainer's options with those of its own parser (argparse, and what stands on it).

Its text runs by itself, in the training environment: `python -c TEXT GIVEN`. The trainer is started
as a job starts it, up to the moment at which it reads its options; it gets no further.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import re
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

Options = Dict[str, Any]
Finding = Tuple[str, str]  # "fault" or "warning", and its text

# What a constructor refuses on a login node, and perhaps not on a node with GPUs.
_OF_THE_NODE = re.compile(r"(?i)gpu|cuda|[bft]f16|[bft]p16|tf32|rocm|npu|xpu|device|accelerator")
_FEW = 12  # words that are all listed, with a hint beside them
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


class Parser:
    """What one parser takes. `syntax`: flags, or file, in which options have their inner names."""

    def __init__(self, parser: argparse.ArgumentParser, syntax: str) -> None:
        self.real = parser
        self.flags = syntax != "file"
        actions = [action for action in parser._actions if action.option_strings]
        self.actions: dict[str, argparse.Action] = {}
        for action in actions:
            for name in action.option_strings if self.flags else [f"--{action.dest}"]:
                self.actions.setdefault(name[2:] if name.startswith("--") else name, action)

    def knows_any(self, options: Options) -> bool:
        """Whether it is the one that reads these options."""
        return any(name in self.actions for name in options)

    def findings(self, options: Options, owned: list[str], *, alone: bool) -> Iterator[Finding]:
        """All that is wrong with options. `alone`: nothing else reads what this one does not
        know; `owned`: names that are always given."""
        good = {}
        for name, value in options.items():
            if name not in self.actions:
                yield ("fault" if alone else "warning", self._unknown(name, alone=alone))
                continue
            found = list(self._value(name, self.actions[name], value))
            yield from found
            if not found:
                good[name] = value
        yield from self._missing(options, owned)
        yield from self._together(options)
        yield from self._constructed(good)

    def _unknown(self, name: str, *, alone: bool) -> str:
        close = difflib.get_close_matches(name, self.actions, n=3, cutoff=0.6)
        near = f"; did you mean {' or '.join(close)}?" if close else ""
        if alone:
            return f"the trainer has no option {name}{near}"
        return f"the trainer's parser has no option {name}, which something else may read{near}"

    def _value(self, name: str, action: argparse.Action, value: Any) -> Iterator[Finding]:
        if value is None:
            return
        expected = ""
        if value is False and self.flags:
            if action.default is True:
                expected = "another form, as false gives nothing and its default is true"
        elif action.nargs == 0:
            expected = "" if value is True else "true or false"
        else:
            expected = _misfit(action, value, flags=self.flags)
        if expected:
            yield "fault", f"{name} is {value!r}, but the trainer expects {expected}"

    def _missing(self, options: Options, owned: list[str]) -> Iterator[Finding]:
        there = {id(self.actions[name]) for name in [*options, *owned] if name in self.actions}
        for name, action in self.actions.items():
            if action.required and id(action) not in there:
                there.add(id(action))
                yield "fault", f"the trainer needs the option {name}"

    def _together(self, options: Options) -> Iterator[Finding]:
        for group in self.real._mutually_exclusive_groups:
            given = [
                name
                for name, value in options.items()
                if self.actions.get(name) in group._group_actions and value not in (None, False)
            ]
            if len(given) > 1:
                yield "fault", f"the trainer takes only one of {', '.join(given)}"

    def _constructed(self, options: Options) -> Iterator[Finding]:
        """What the classes say that a parser makes of its options."""
        classes = getattr(self.real, "dataclass_types", [])
        given = {}
        for name, value in options.items() if classes else ():
            action = self.actions[name]
            as_text = value is not None and (isinstance(value, str) or self.flags)
            given[action.dest] = _converted(action, value) if as_text else value
        for made in classes:
            fields = {field.name for field in dataclasses.fields(made) if field.init}
            try:
                made(**{name: value for name, value in given.items() if name in fields})
            except Exception as error:  # noqa: BLE001 - whatever a class of the trainer raises
                text = " ".join(str(error).split())
                if isinstance(error, TypeError) and "required positional" in text:
                    continue  # reported as missing
                unsure = _OF_THE_NODE.search(text)
                yield "warning" if unsure else "fault", f"the trainer refuses its options: {text}"


def _misfit(action: argparse.Action, value: Any, *, flags: bool) -> str:
    """What an option expects in place of a value; empty if it takes it."""
    typed = isinstance(action.type, type) and action.type in _KINDS
    several = action.nargs in ("+", "*") or (isinstance(action.nargs, int) and action.nargs > 1)
    if isinstance(value, list):
        if not (several or type(action).__name__ == "_AppendAction"):
            return "one value" if flags or typed or action.choices else ""
        return next(filter(None, (_misfit_one(action, one) for one in value)), "")
    if several and not flags:
        return "a list"
    return _misfit_one(action, value)


def _misfit_one(action: argparse.Action, value: Any) -> str:
    choices = list(action.choices or [])
    if isinstance(value, dict) and not choices and not _number(action):
        return ""
    try:
        made = _converted(action, value)
    except Exception:  # noqa: BLE001 - a type of the trainer's own may raise anything
        return _KINDS.get(_number(action) or type(None)) or _words(action)
    if choices and made not in choices:
        near = difflib.get_close_matches(str(value), map(str, choices), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        few = len(choices) <= _FEW or not near
        return f"{'one of ' + ', '.join(map(str, choices)) if few else 'another word'}{hint}"
    return ""


def _number(action: argparse.Action) -> Any:
    """int or float, if the option is such a number, even through a wrapper of that name."""
    name = getattr(action.type, "__name__", "")
    return {"int": int, "float": float, "bool": bool, "string_to_bool": bool}.get(name)


def _words(action: argparse.Action) -> str:
    return f"another form ({getattr(action.type, '__name__', action.type)})"


def _converted(action: argparse.Action, value: Any) -> Any:
    """A value as the parser would make it of its text."""
    if isinstance(value, list):
        return [_converted(action, one) for one in value]
    if isinstance(value, dict) and not _number(action):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    if action.type is None or not callable(action.type):
        return text
    return action.type(text)


def _stopping(given: Options, end: Callable[[list[Finding]], None]) -> None:
    """Have argparse end this process as soon as it is to read the options."""
    real = argparse.ArgumentParser.parse_known_args, argparse.ArgumentParser.parse_args

    def look(parser: argparse.ArgumentParser, *, alone: bool) -> None:
        own = Parser(parser, given["syntax"])
        # One that knows none of them is for something else.
        if own.knows_any(given["options"]):
            end(list(own.findings(given["options"], given["owned"], alone=alone)))

    def known(parser: Any, *args: Any, **more: Any) -> Any:
        look(parser, alone=hasattr(parser, "dataclass_types"))
        return real[0](parser, *args, **more)

    def whole(parser: Any, *args: Any, **more: Any) -> Any:
        look(parser, alone=True)
        return real[1](parser, *args, **more)

    argparse.ArgumentParser.parse_known_args = known  # type: ignore[assignment]
    argparse.ArgumentParser.parse_args = whole  # type: ignore[assignment]


def _start(given: Options, folder: str) -> None:
    """The program, as a job starts it."""
    arguments = list(given["arguments"])
    if given["file"]:
        path = Path(folder) / "options.json"
        path.write_text(given["file"])
        arguments = [*filter(None, [given["file_option"]]), str(path), *arguments]
    program = given["program"]
    if given["text"]:
        program = str(Path(folder) / "program.py")
        Path(program).write_text(given["text"])
    sys.argv = [program, *arguments]
    if program.endswith(".py") or "/" in program:
        sys.path[0] = str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    """Entry point: one line with what was found, behind the mark."""
    given = json.loads(sys.argv[1])
    out = os.dup(1)
    os.dup2(2, 1)  # a trainer may print whatever it likes
    with tempfile.TemporaryDirectory() as folder:

        def end(found: Any) -> None:
            for path in Path(folder).iterdir():
                path.unlink()
            Path(folder).rmdir()
            os.write(out, f"{given['mark']}{json.dumps(found)}\n".encode())
            os._exit(0)

        _stopping(given, end)
        try:
            _start(given, folder)
        except BaseException as error:  # noqa: BLE001 - whatever ends a program
            text = f"{type(error).__name__}: {error}"
            sure = isinstance(error, (SyntaxError, ModuleNotFoundError))
            end([("unstarted" if sure else "unread", text)])
        end([("unread", "it ended")])


if __name__ == "__main__":
    main()
