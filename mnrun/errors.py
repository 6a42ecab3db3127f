"""What a user sees instead of a traceback."""

from __future__ import annotations


class CliError(Exception):
    """A run could not be started or did not finish. The text says how to fix that."""

    exit_code = 1


class UsageError(CliError):
    """The command line is invalid: nothing was started."""

    exit_code = 2
