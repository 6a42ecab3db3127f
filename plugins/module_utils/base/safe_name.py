"""Names that become part of paths, job names and command lines."""

from __future__ import annotations

import re

from .errors import Invalid

DEFAULT_RUN = "default"  # the name of the site's own run; users cannot choose it for another run
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(what: str, name: str) -> str:
    """`name` itself. Raises Invalid unless it is safe everywhere."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{what} must be 1 to 64 letters, digits, dots, dashes or underscores, and start "
            f"with a letter or a digit; it is {name!r}."
        )
    return name
