"""What a user sees instead of a traceback."""

from __future__ import annotations


class CliError(Exception):
    """A run could not be started or did not do its work. Its text says how to mend it."""

    exit_code = 1


class UsageError(CliError):
    """The command line is wrong: nothing was started."""

    exit_code = 2
