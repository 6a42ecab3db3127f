"""Kinds of options of the command line, and what may stand behind them, for argparse."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

TRAINED = ("sft", "ppo")

DEFAULT_RUN = "default"
"""The name that `mnrun runs` gives to the site's own run, in the site's own folder."""


def run_name(text: str) -> str:
    """A name of a run. Raises ArgumentTypeError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid run name (1 to 64 letters, digits, dots, dashes, underscores)"
        )
    return text


def own_run_name(text: str) -> str:
    """A name of a run that is not the site's own. Raises ArgumentTypeError."""
    if text == DEFAULT_RUN:
        raise argparse.ArgumentTypeError(
            f"{text!r} is the site's own run: leave out --run, or choose another name"
        )
    return run_name(text)


def count(text: str) -> int:
    """A positive number. Raises ArgumentTypeError."""
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def folder(text: str) -> str:
    """A folder that is there, as an absolute path. Raises ArgumentTypeError."""
    path = Path(text).absolute()  # Ansible works in another folder
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return str(path)


def trained(text: str) -> str:
    """A stage that trains. Raises ArgumentTypeError."""
    if text not in TRAINED:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(TRAINED)}")
    return text


def switch(
    parser: argparse.ArgumentParser,
    *names: str,
    dest: str,
    help: str,  # noqa: A002 - as argparse calls it
    value: bool = True,
) -> None:
    """Add an option that is `value` if given, and else None: the role's own default applies."""
    parser.add_argument(
        *names, dest=dest, action="store_const", const=value, default=None, help=help
    )
