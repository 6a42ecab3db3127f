"""The entry point of every module: one call, and its result or a message for the user."""

from __future__ import annotations

from typing import Any, Callable

from .errors import MnrunError
from .files import explain
from .text import printable_lines


def with_edge(module: Any, act: Callable[[], dict[str, Any]]) -> None:
    """Exit `module` with the result of `act`: as a failure if the result has `failed`, or if `act`
    raises an error. Its `warnings` are issued one by one.

    What people read (`msg`, warnings) holds nothing that a terminal would obey, also where plain
    ansible-playbook shows it.
    """
    try:
        found = act()
    except MnrunError as error:
        module.fail_json(msg=printable_lines(error.message), **error.details)
    except OSError as error:
        module.fail_json(msg=printable_lines(explain(error)))
    else:
        for warning in found.pop("warnings", ()):
            module.warn(printable_lines(warning))
        if isinstance(found.get("msg"), str):
            found["msg"] = printable_lines(found["msg"])
        end = module.fail_json if found.pop("failed", False) else module.exit_json
        end(**found)
