"""The edge of every module: one call, and its result or what went wrong in words for the user."""

from __future__ import annotations

from typing import Any, Callable

from .errors import MnrunError
from .files import explain


def with_edge(module: Any, act: Callable[[], dict[str, Any]]) -> None:
    """End `module` with the result of `act`: as a failure if that says `failed`, or if an error
    came instead. Its `warnings` are given one by one."""
    try:
        found = act()
    except MnrunError as error:
        module.fail_json(msg=error.message, **error.details)
    except OSError as error:
        if error.filename is None:
            raise
        module.fail_json(msg=explain(error))
    else:
        for warning in found.pop("warnings", ()):
            module.warn(warning)
        end = module.fail_json if found.pop("failed", False) else module.exit_json
        end(**found)
