"""The parser of the command line, made from the table of commands."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from mnrun.commands import ALIASES, COMMANDS, GROUPS, Command
from mnrun.completion import SCRIPTS, candidates
from mnrun.errors import UsageError
from mnrun.help import DESCRIPTION, OLD_NAMES, epilog, front_page, old_names
from mnrun.named_options import VARIABLE, named_options
from mnrun.options import add_own, add_shared

_SEE_HELP = "See: mnrun --help"

SHELL_MARK = "--"
"""Separates the command that `shell` and `sandbox shell` run."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=17)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are shown by the caller."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise UsageError(f"{message}\nSee: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            hint = meant(str(value), known)
            message = f"there is no {value!r}.{hint} There are: {', '.join(known)}."
            raise argparse.ArgumentError(action, message)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. The options that all commands share may appear anywhere in it.

    Returns:
        A namespace with `command` (a key of COMMANDS), `alias` (the old name that was used, or
        None), `words` (the command with its own options as typed), the shared options, and the
        command's own options under the names of their variables.

    Raises:
        UsageError: the command line is invalid.
        SystemExit: --help or --version was requested and printed.
    """
    words, shell_command = _split_shell_command(list(argv))
    shared = argparse.Namespace(
        inventory=None, run=None, extra_vars=[], check=False, diff=False, verbose=0
    )
    shared, words = _shared().parse_known_args(words, namespace=shared)
    _print_text(words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    alias = words[0] if words and words[0] in ALIASES else None
    if alias:
        words = [*ALIASES[alias], *words[1:]]
        shared, words = _shared().parse_known_args(words, namespace=shared)
    _refuse_unknown_command(words)
    parser = _parser()
    options, unknown = parser.parse_known_args(words, namespace=shared)
    _refuse_unknown_options(parser, options.command, unknown)
    if shell_command and options.command not in ("shell", "sandbox shell"):
        raise UsageError(f"Only shell and sandbox shell take '--' and a command.\n{_SEE_HELP}")
    if options.run and not COMMANDS[options.command].one_run:
        raise UsageError(f"mnrun {options.command} does not take --run.")
    unchecked = COMMANDS[options.command].unchecked
    with_it = COMMANDS[options.command].checked_with
    if options.check and unchecked and not (with_it and getattr(options, with_it)):
        raise UsageError(f"mnrun {options.command} {unchecked}; it takes no --check.")
    if options.run:
        options.extra_vars.append(f"mnrun_run_name={options.run}")
    if VARIABLE in COMMANDS[options.command].variables:
        typed = getattr(options, VARIABLE)
        setattr(
            options, VARIABLE, named_options(options.command, typed, options.extra_vars) or None
        )
    options.check |= COMMANDS[options.command].dry
    options.alias = alias
    options.words = words
    options.shell_command = shell_command
    return options


def _print_text(words: Sequence[str]) -> None:
    """Print what needs no playbook, and exit; return for every other command line."""
    if words[:1] == ["completion"]:
        if len(words) != 2 or words[1] not in SCRIPTS:
            raise UsageError(f"Name the shell: mnrun completion {'|'.join(SCRIPTS)}")
        print(SCRIPTS[words[1]], end="")
    elif list(words) == ["help", OLD_NAMES]:
        print(old_names(), end="")
    else:
        return
    raise SystemExit(0)


def _split_shell_command(argv: list[str]) -> tuple[list[str], list[str]]:
    if SHELL_MARK not in argv:
        return argv, []
    at = argv.index(SHELL_MARK)
    return argv[:at], argv[at + 1 :]


def _refuse_unknown_command(words: Sequence[str]) -> None:
    """argparse would list all commands; after a typing error the closest one is more useful."""
    named = [word for word in words[:2] if not word.startswith("-")]
    if not named or (len(named) == 1 and named[0] in GROUPS):
        return
    typed = " ".join(named) if named[0] in GROUPS else named[0]
    known = [*COMMANDS, *GROUPS, *ALIASES]
    if typed not in known:
        near = difflib.get_close_matches(typed, known, n=1)
        hint = f"Did you mean: mnrun {near[0]}" if near else _SEE_HELP
        raise UsageError(f"There is no command {typed!r}. {hint}")


def _refuse_unknown_options(parser: Parser, command: str, unknown: Sequence[str]) -> None:
    """Name each, with the option of the command that was meant."""
    if not unknown:
        return
    known = [one for one in candidates(parser, [*command.split(), "-"]) if one.startswith("--")]
    hints = "".join(meant(one.partition("=")[0], known) for one in unknown)
    text = f"mnrun {command} does not take {' '.join(unknown)}.{hints}"
    raise UsageError(f"{text}\nSee: mnrun {command} --help")


def meant(typed: str, known: Sequence[str]) -> str:
    """Return a question for what was meant, with a space before it; empty if nothing is near."""
    word = typed.strip("-")
    names = {one.strip("-"): one for one in known}
    begun = [one for one in names if word and one.startswith(word)]
    near = [names[one] for one in begun or difflib.get_close_matches(word, names, n=1)]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def help_text() -> str:
    """Return what `mnrun --help` prints."""
    return _parser().format_help()


def words_for(words: Sequence[str]) -> list[str]:
    """Return what may stand in place of the last of these words."""
    parser = _parser()
    if words[:1] == ["help"]:
        return candidates(parser, words[1:])
    own = ["help", "completion"] if len(words) == 1 else []
    own = [*SCRIPTS] if words[:-1] == ["completion"] else own
    return sorted({*candidates(parser, words), *(one for one in own if one.startswith(words[-1]))})


def _parser() -> Parser:
    parser = Parser(
        prog="mnrun",
        description=DESCRIPTION,
        epilog=front_page(),
        usage="mnrun COMMAND [options]",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands = parser.add_subparsers(
        metavar="COMMAND", required=True, prog="mnrun", help=argparse.SUPPRESS
    )
    groups: dict[str, Any] = {}
    for command in COMMANDS.values():
        group, _, word = command.name.rpartition(" ")
        if group and group not in groups:
            member = commands.add_parser(group, description=GROUPS[group])
            groups[group] = member.add_subparsers(title="commands", metavar="COMMAND")
            groups[group].required = True
        _add_command(groups.get(group, commands), word, command)
    return parser


def _add_command(commands: Any, word: str, command: Command) -> None:
    # The front page lists the commands itself, in sections.
    shown = {"help": command.help} if " " in command.name else {}
    parser = commands.add_parser(
        word,
        **shown,
        epilog=epilog(command.name),
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        parents=[_shared(command.one_run, not command.unchecked)],
    )
    parser.set_defaults(command=command.name)
    add_own(parser, command)


def _shared(run: bool = True, check: bool = True) -> Parser:
    """The options of every command. SUPPRESS: a second parser must not reset them."""
    parser = Parser(prog="mnrun", add_help=False, argument_default=argparse.SUPPRESS)
    add_shared(parser, run, check)
    return parser


class _Version(argparse.Action):
    """Reads the version only when it is requested: importlib.metadata is slow to import."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"mnrun {version('mnrun')}")
        parser.exit()
