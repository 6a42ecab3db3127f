"""`mnrun`: parse the command line, run the command's playbook, report how it ended."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mnrun import consent
from mnrun.arguments import help_text, parse, words_for
from mnrun.commands import ALIASES, COMMANDS, SWEEP_DETACH, Command
from mnrun.completion import VARIABLE
from mnrun.errors import CliError, UsageError
from mnrun.variables import absolute, refuse_unreadable


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 only if the work is done.

    1: it is not. 2: the command line is invalid. 128 + N: ended by signal N (Ctrl-C: 130).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    open_closed()
    if VARIABLE in os.environ:
        print("\n".join(words_for(words or [""])))
        return 0
    if not words:
        print(help_text(), file=sys.stderr, end="")
        return UsageError.exit_code
    try:
        options = parse(words)
        refuse_unreadable(options.extra_vars)
        return _run(options, COMMANDS[options.command])
    except CliError as error:
        print(f"mnrun: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def open_closed() -> None:
    """Open the null device for each standard stream that the caller closed: Python has None there,
    and nothing else needs to look for that."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, stream)


def _run(options: argparse.Namespace, command: Command) -> int:
    # Imported here because --help and usage errors do not need them.
    from mnrun import sites  # noqa: PLC0415
    from mnrun.handover import VARIABLE, handover  # noqa: PLC0415
    from mnrun.shell import enter_job, run_shell, sandbox_dir  # noqa: PLC0415

    if not command.playbook:
        run_shell(options.node, options.shell_command, sandbox_dir(options.extra_vars))
    if command.name == "init":
        from mnrun.init.command import init  # noqa: PLC0415
        from mnrun.terminal import Terminal  # noqa: PLC0415

        return init(options, command, Terminal(sys.stdout))
    root = sites.collection_root()
    inventory = sites.inventory(options.inventory or command.site, root)
    if command.name != "sweep":
        values = _variables(options, command)
        if getattr(options, "detach", False):
            values[VARIABLE] = handover(options, inventory)
        if command.name == "shell":
            run = partial(play, options, command, inventory)
            return enter_job(run, options.place, options.shell_command)
        if getattr(options, "mnrun_status_watch", None):
            from mnrun.watch import watch  # noqa: PLC0415

            return watch(options, command, _playbook(options, command, inventory, values))
        return play(options, command, inventory, values)

    from mnrun.handover import sweep_run  # noqa: PLC0415
    from mnrun.sweep.command import sweep  # noqa: PLC0415
    from mnrun.terminal import Terminal  # noqa: PLC0415

    def relay(name: str, stops: bool) -> int:
        """Hand a sweep over, or stop the relay that has it."""
        own = {"mnrun_run_name": sweep_run(name)}
        if stops:
            stage = {"mnrun_cancel_stage": "relay"}
            return play(options, COMMANDS["cancel"], inventory, {**own, **stage})
        given = {VARIABLE: handover(options, inventory)}
        return play(options, SWEEP_DETACH, inventory, {**own, **given})

    table = partial(play, options, command, inventory)
    return sweep(options, inventory, Terminal(sys.stdout), table, relay)


def _variables(options: argparse.Namespace, command: Command) -> dict[str, Any]:
    """The playbook's variables. One that trains stops before what needs a yes, without --yes."""
    given = extra_vars(options, command)
    if consent.SET_ASIDE not in command.variables or options.check:
        return given
    if given.get(consent.SET_ASIDE) or consent.always():
        return {**given, **consent.AGREED}
    return {**given, **consent.not_yet(options.extra_vars, consent.can_ask())}


def _playbook(
    options: argparse.Namespace, command: Command, inventory: str, variables: Mapping[str, Any]
) -> Any:
    from mnrun import sites  # noqa: PLC0415
    from mnrun.runner import Playbook  # noqa: PLC0415

    return Playbook(
        name=command.fqcn,
        inventory=inventory,
        collection=sites.collection_root(),
        arguments=tuple(_ansible_arguments(options)),
        extra_vars=variables,
        verbose=options.verbose > 0,
    )


def play(
    options: argparse.Namespace,
    command: Command,
    inventory: str,
    variables: Mapping[str, Any],
    look: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> int:
    """Run the command's playbook with these variables and return mnrun's exit code.

    `look` is called with each event of ansible-runner.
    """
    from mnrun import closing, display, runner, sites  # noqa: PLC0415
    from mnrun.terminal import Terminal  # noqa: PLC0415

    playbook = _playbook(options, command, inventory, variables)
    # A log, or JSON, is all that is on standard output, so that it can be piped.
    piped = command.raw_lines or getattr(options, "mnrun_output", None) is not None
    terminal = Terminal(sys.stderr if piped else sys.stdout)
    log = Terminal(sys.stdout) if command.raw_lines else None
    if options.alias:
        terminal.line(f"{options.alias} is now: mnrun {' '.join(ALIASES[options.alias])}")
    where = sites.title(inventory, options.run)
    titled = terminal.live or command.name == "status"
    if command.reads and titled and not piped:
        terminal.line(terminal.style(where, "dim"))
    screen = display.Display(terminal, _style(options, command, where), log=log)
    start = time.monotonic()

    def handle(event: Mapping[str, Any]) -> bool:
        look(event)
        return screen.handle(event)

    code, signal_number = runner.run_playbook(playbook, handle, screen.tick)
    screen.end()
    if code and screen.outcome.needs_yes and consent.can_ask():
        messages = [failure.message for failure in screen.outcome.failures]
        if consent.agreed(messages, terminal):
            agreed = {**variables, **consent.AGREED}
            return play(options, command, inventory, agreed, look)
        terminal.line("Nothing was started.")
        return 1
    seconds = time.monotonic() - start
    ending = closing.Ending(command, options, playbook.inventory, code, signal_number, seconds)
    exit_code = closing.close(ending, screen.outcome, terminal)
    if exit_code == 0 and screen.outcome.report is not None:
        _write_report(options, playbook.inventory, screen.outcome.report, terminal)
    gone = terminal.gone or (log and log.gone)
    asked = exit_code == 0 or screen.outcome.findings is not None
    if piped and asked and screen.outcome.document is not None:
        gone = not _print_document(command.name, playbook.inventory, screen.outcome.document)
    if gone:
        _silence_stdout()
    return exit_code


def _print_document(command: str, inventory: str, found: Mapping[str, Any]) -> bool:
    """Print what `-o json` prints; False if there is no reader any more."""
    from mnrun.document import document  # noqa: PLC0415

    try:
        print(document(command, inventory, time.time(), found), flush=True)
    except OSError:
        return False
    return True


def _write_report(
    options: argparse.Namespace, inventory: str, found: Mapping[str, Any], terminal: Any
) -> None:
    """Write the report and print where it is. Raises CliError."""
    from importlib.metadata import version  # noqa: PLC0415 - slow to import

    from mnrun import sites  # noqa: PLC0415
    from mnrun.report.write import FOLDER, write  # noqa: PLC0415

    folder = Path(options.report_folder or FOLDER).expanduser()
    for line in write(found["runs"], folder, sites.title(inventory, None), version("mnrun")):
        terminal.line(line)


def _style(options: argparse.Namespace, command: Command, where: str) -> Any:
    from mnrun.display import Style  # noqa: PLC0415

    return Style(options.verbose, options.diff, headings=not command.reads, where=where)


def _ansible_arguments(options: argparse.Namespace) -> Iterator[str]:
    for value in options.extra_vars:
        yield from ("-e", absolute(value))
    if options.check:
        yield "--check"
    if options.diff:
        yield "--diff"
    if options.verbose > 1:
        yield f"-{'v' * (options.verbose - 1)}"


def extra_vars(options: argparse.Namespace, command: Command) -> dict[str, Any]:
    """Return the command's own options that were given; the defaults are in the roles."""
    values = {name: getattr(options, name) for name in command.variables}
    return {name: value for name, value in values.items() if value is not None}


def _silence_stdout() -> None:
    """Prevent an error at exit about a pipe without a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
