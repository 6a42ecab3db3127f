"""The parser of the command line, made from the table of commands."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mnrun.commands import ALIASES, COMMANDS, GROUPS, Command
from mnrun.errors import UsageError

TRAINED = ("sft", "ppo")
STAGES = (
    "sft", "ray", "ppo", "convert-sft", "convert-ppo", "publish", "fetch", "environment",
)  # fmt: skip

SHELL_MARK = "--"
"""What stands behind it is the command that `sandbox shell` runs."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=17)


class Parser(argparse.ArgumentParser):
    """argparse that leaves it to the caller how an error is shown."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise UsageError(f"{message}\nSee: {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. The options that all commands share may stand anywhere in it.

    Returns:
        A namespace with `command` (a key of COMMANDS), `alias` (the old name that was used, or
        None), the shared options, and the command's own under the name of their variable.

    Raises:
        UsageError: the command line is wrong.
        SystemExit: --help or --version was asked for and printed.
    """
    words, shell_command = _split_shell_command(list(argv))
    shared = argparse.Namespace(
        inventory=None, run=None, extra_vars=[], check=False, diff=False, verbose=0
    )
    shared, words = _shared_options().parse_known_args(words, namespace=shared)
    alias = words[0] if words and words[0] in ALIASES else None
    if alias:
        words = [*ALIASES[alias], *words[1:]]
        shared, words = _shared_options().parse_known_args(words, namespace=shared)
    _refuse_unknown_command(words)
    options = _parser().parse_args(words, namespace=shared)
    if shell_command and options.command != "sandbox shell":
        raise UsageError(f"'--' and a command behind it are for sandbox shell only.\n{_SEE_HELP}")
    if options.run:
        options.extra_vars.append(f"mnrun_run_name={options.run}")
    options.alias = alias
    options.shell_command = shell_command
    return options


def refuse_unreadable(values: Sequence[str]) -> None:
    """Raise UsageError for values of -e that Ansible would answer with twenty lines about
    inventories, or would pass over."""
    for value in values:
        if value.startswith("@"):
            if not Path(value[1:]).expanduser().is_file():
                raise UsageError(f"-e {value}: there is no such file.")
        elif value.startswith(("{", "[")):
            _refuse_unless_mapping(value)
        elif "=" not in value:
            raise UsageError(f"-e {value}: write NAME=VALUE, JSON or YAML in {{ }}, or @FILE.")


def _refuse_unless_mapping(value: str) -> None:
    import yaml  # noqa: PLC0415 - slow to import, and seldom needed

    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        why = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise UsageError(f"-e {value}: it is neither JSON nor YAML, {why}") from error
    if not isinstance(read, dict):
        raise UsageError(f"-e {value}: variables are a mapping, {{NAME: VALUE}}.")


def _split_shell_command(argv: list[str]) -> tuple[list[str], list[str]]:
    if SHELL_MARK not in argv:
        return argv, []
    at = argv.index(SHELL_MARK)
    return argv[:at], argv[at + 1 :]


def _refuse_unknown_command(words: Sequence[str]) -> None:
    """argparse would list all commands; a person who mistyped wants the nearest one."""
    named = [word for word in words[:2] if not word.startswith("-")]
    if not named or (len(named) == 1 and named[0] in GROUPS):
        return
    typed = " ".join(named) if named[0] in GROUPS else named[0]
    known = [*COMMANDS, *GROUPS, *ALIASES]
    if typed not in known:
        near = difflib.get_close_matches(typed, known, n=1)
        hint = f"Did you mean: mnrun {near[0]}" if near else _SEE_HELP
        raise UsageError(f"There is no command {typed!r}. {hint}")


def help_text() -> str:
    """Return what `mnrun --help` prints."""
    return _parser().format_help()


def _parser() -> Parser:
    parser = Parser(
        prog="mnrun",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(aliases=_alias_table()),
        usage="mnrun COMMAND [options]",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, prog="mnrun"
    )
    groups: dict[str, Any] = {}
    for command in COMMANDS.values():
        group, _, word = command.name.rpartition(" ")
        if group and group not in groups:
            member = commands.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = member.add_subparsers(title="commands", metavar="COMMAND")
            groups[group].required = True
        _add_command(groups.get(group, commands), word, command)
    return parser


def _add_command(commands: Any, word: str, command: Command) -> None:
    parser = commands.add_parser(
        word,
        help=command.help,
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        parents=[_shared_options()],
    )
    parser.set_defaults(command=command.name)
    _OWN_OPTIONS.get(command.name, lambda _: None)(parser)


def _shared_options() -> Parser:
    """The options of every command. SUPPRESS: a second parser must not reset what it sees."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    add = parser.add_argument_group("options of every command").add_argument
    add("-i", "--inventory", metavar="SITE", help="a site's name or an inventory's path")
    add("--run", type=_run_name, metavar="NAME", help="a run of its own, beside the site's")
    add(
        "-e",
        "--extra-vars",
        action="append",
        metavar="VARS",
        help="variables, as ansible takes them: key=value, JSON, YAML or @file",
    )
    add("--check", action="store_true", help="show what would be done, change nothing")
    add("--diff", action="store_true", help="show what changes, line by line")
    add("-v", "--verbose", action="count", help="show every task; -vv also ansible's own output")
    return parser


def _logs_options(parser: Parser) -> None:
    parser.add_argument("mnrun_logs_stage", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument(
        "-f", "--follow", dest="mnrun_logs_follow", action="store_true", default=None
    )


def _convert_options(parser: Parser) -> None:
    parser.add_argument(
        "convert_stages",
        nargs="*",
        type=_trained,
        metavar="STAGE",
        help=f"{', '.join(TRAINED)}; default: each that has a result",
    )


def _cancel_options(parser: Parser) -> None:
    parser.add_argument(
        "mnrun_cancel_stage",
        nargs="?",
        choices=STAGES,
        metavar="STAGE",
        help=f"only this one: {', '.join(STAGES)}",
    )


def _runs_options(parser: Parser) -> None:
    parser.add_argument(
        "mnrun_runs_names",
        nargs="*",
        type=_run_name,
        metavar="NAME",
        help="of these only; two are compared",
    )


def _prune_options(parser: Parser) -> None:
    parser.add_argument("mnrun_prune_names", nargs="+", type=_run_name, metavar="NAME")
    parser.add_argument(
        "--yes",
        dest="mnrun_prune_confirmed",
        action="store_true",
        default=None,
        help="delete; without it, only show what would go",
    )


def _publish_options(parser: Parser) -> None:
    parser.add_argument(
        "publish_stage",
        nargs="?",
        choices=TRAINED,
        metavar="STAGE",
        help="sft or ppo (default: the site's publish_stage, ppo)",
    )


def _sandbox_up_options(parser: Parser) -> None:
    parser.add_argument(
        "--nodes", dest="sandbox_nodes", type=_count, metavar="N", help="compute nodes"
    )
    parser.add_argument(
        "--gpus",
        dest="sandbox_gpus_per_node",
        type=_count,
        metavar="N",
        help="stand-in GPUs on each",
    )
    parser.add_argument(
        "--no-accounting",
        dest="sandbox_accounting",
        action="store_false",
        default=None,
        help="without slurmdbd and its database",
    )


def _sandbox_down_options(parser: Parser) -> None:
    parser.add_argument(
        "--wipe",
        dest="sandbox_wipe",
        action="store_true",
        default=None,
        help="forget all jobs, accounting and training results",
    )


def _sandbox_shell_options(parser: Parser) -> None:
    parser.usage = "mnrun sandbox shell [NODE] [-- COMMAND ...]"
    parser.add_argument("node", nargs="?", default="login", metavar="NODE", help="default: login")


def _gc_options(parser: Parser) -> None:
    parser.add_argument(
        "--end",
        dest="mnrun_gc_end",
        action="store_true",
        default=None,
        help="end it; without this, only show what there is",
    )


_OWN_OPTIONS = {
    "cancel": _cancel_options,
    "convert": _convert_options,
    "gc": _gc_options,
    "logs": _logs_options,
    "prune": _prune_options,
    "runs": _runs_options,
    "publish": _publish_options,
    "sandbox up": _sandbox_up_options,
    "sandbox down": _sandbox_down_options,
    "sandbox shell": _sandbox_shell_options,
}


def _run_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}|\(default\)", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a run (1 to 64 letters, digits, dots, dashes, underscores)"
        )
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _trained(text: str) -> str:
    if text not in TRAINED:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(TRAINED)}")
    return text


class _Version(argparse.Action):
    """Reads the version only when asked for it: importlib.metadata is slow to import."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"mnrun {version('mnrun')}")
        parser.exit()


def _alias_table() -> str:
    return "\n".join(f"  {old:<15} mnrun {' '.join(new)}" for old, new in ALIASES.items())


_SEE_HELP = "See: mnrun --help"

_DESCRIPTION = """\
SFT and PPO training over several nodes, on Slurm and Ray.

Every command can be run again at any moment: it attaches to what runs and does
only what is still missing.  Ctrl-C leaves training running."""

_EPILOG = """\
which site:
  -i SITE, else $MNRUN_INVENTORY, else ./inventory/osk, else the site osk that
  comes with mnrun.  SITE is a path, or a name that comes with mnrun (osk,
  sandbox).  The sandbox commands use the site sandbox.

exit codes:
  0 the work is done   1 it is not, and the output says why
  2 the command line is wrong, nothing was started   130 interrupted

names of the script that mnrun replaces, and what each runs now:
{aliases}

examples:
  mnrun all --check --diff         what would be done, script by script
  mnrun ppo -e 'ppo_model=~/m'     PPO from another model
  mnrun logs sft -f                follow the log of the SFT job
  mnrun sandbox shell -- sinfo     a command on the sandbox's login node
"""
