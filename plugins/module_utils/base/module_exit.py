"""The entry point of every module: one call, and its result or a message for the user."""

from __future__ import annotations

from typing import Any, Callable

from .errors import Busy, MnrunError, Uncertain, Unknown
from .files import explain
from .text import printable_lines

_PASSING = (Busy, Uncertain, Unknown)


def with_edge(module: Any, act: Callable[[], dict[str, Any]]) -> None:
    """Exit `module` with the result of `act`: as a failure if the result has `failed`, or if `act`
    raises an error; with `unknown`, if it may be known later. Its `warnings` are issued one by one.

    What people read (`msg`, warnings) holds nothing that a terminal would obey, also where plain
    ansible-playbook shows it.
    """
    try:
        found = act()
    except MnrunError as error:
        passing = {"unknown": True} if isinstance(error, _PASSING) else {}
        details = {**passing, **_unicode(error.details)}
        module.fail_json(msg=_unicode(printable_lines(error.message)), **details)
    except OSError as error:
        module.fail_json(msg=_unicode(printable_lines(explain(error))))
    else:
        for warning in found.pop("warnings", ()):
            module.warn(_unicode(printable_lines(warning)))
        if isinstance(found.get("msg"), str):
            found["msg"] = printable_lines(found["msg"])
        end = module.fail_json if found.pop("failed", False) else module.exit_json
        end(**_unicode(found))


def _unicode(value: Any) -> Any:
    """`value` with a question mark for each byte of a file's name that is not UTF-8, and each half
    of a character of a file: Ansible refuses the whole answer because of one."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_unicode(name): _unicode(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unicode(one) for one in value]
    return value
