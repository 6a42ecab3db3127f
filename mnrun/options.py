"""The options and arguments of each command."""

from __future__ import annotations

import argparse

from mnrun.commands import DOCS, Command
from mnrun.option_types import (
    DEFAULT_RUN,
    TRAINED,
    count,
    folder,
    own_run_name,
    run_name,
    switch,
    trained,
)

STAGES = (
    "sft", "ray", "ppo", "convert-sft", "convert-ppo", "publish", "fetch", "environment", "relay",
)  # fmt: skip

_WATCHED = 10
"""Seconds between two queries of `status --watch`."""


def add_shared(parser: argparse.ArgumentParser, run: bool, check: bool) -> None:
    """Add the options that every command has; `run`, `check`: including --run and --check."""
    add = parser.add_argument_group("options of every command").add_argument
    add("-i", "--inventory", metavar="SITE", help="name of a site, or path of an inventory")
    if run:
        add(
            "--run",
            type=own_run_name,
            metavar="NAME",
            help="use a separate, named run with its own folder",
        )
    add(
        "-e",
        "--extra-vars",
        action="append",
        metavar="VARS",
        help="set variables, as in ansible: key=value, JSON, YAML or @file",
    )
    if check:
        add("--check", action="store_true", help="show what would be done, change nothing")
    add("--diff", action="store_true", help="show what changes, line by line")
    add("-v", "--verbose", action="count", help="show every task; -vv: ansible's output as well")


def add_own(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the options that only this command has, each under the name of its variable."""
    _OWN.get(command.name, lambda _: None)(parser)


def _named_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mnrun_options",
        nargs="*",
        metavar="OPTION=VALUE",
        help="options of the trainer, kept with the run (all: sft.NAME=VALUE, ppo.NAME=VALUE)",
    )


def _logs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mnrun_logs_stage", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    switch(parser, "-f", "--follow", dest="mnrun_logs_follow", help="keep printing new lines")
    parser.add_argument(
        "-n", dest="mnrun_logs_lines", type=count, metavar="N", help="lines of each log (40)"
    )
    switch(parser, "--err", dest="mnrun_logs_errors", help="only the log of errors")
    parser.add_argument(
        "--service", dest="mnrun_logs_service", metavar="NAME", help="of a service beside it"
    )
    parser.add_argument(
        "--attempt",
        dest="mnrun_logs_attempt",
        type=count,
        metavar="N",
        help="of an earlier attempt",
    )


def _wait_options(parser: argparse.ArgumentParser) -> None:
    stages = [stage for stage in STAGES if stage != "relay"]  # mnrun attach waits for that
    parser.add_argument("mnrun_wait_stage", choices=stages, metavar="STAGE", help=", ".join(stages))
    parser.add_argument(
        "--timeout",
        dest="mnrun_wait_minutes",
        type=count,
        metavar="MIN",
        help="fail after this many minutes (default: no limit)",
    )


def _convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "convert_stages",
        nargs="*",
        type=trained,
        metavar="STAGE",
        help=f"{', '.join(TRAINED)}; default: every stage that has a result",
    )
    _detach_option(parser)


def _cancel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mnrun_cancel_stage",
        nargs="?",
        choices=STAGES,
        metavar="STAGE",
        help=f"stop only this stage: {', '.join(STAGES)}",
    )


def _output_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        dest="mnrun_output",
        choices=["json"],
        metavar="json",
        help=f"print JSON alone on standard output ({DOCS}/json.md)",
    )


def _status_options(parser: argparse.ArgumentParser) -> None:
    _output_option(parser)
    parser.add_argument(
        "--watch",
        dest="mnrun_status_watch",
        nargs="?",
        const=_WATCHED,
        type=count,
        metavar="SECONDS",
        help=f"repeat it on a terminal every {_WATCHED} s, or SECONDS; q ends it",
    )


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    switch(
        parser,
        "--deep",
        dest="_mnrun_deep",
        help="look at the nodes too, with a job of a minute that leaves nothing",
    )
    _output_option(parser)


def _runs_options(parser: argparse.ArgumentParser) -> None:
    _output_option(parser)
    parser.add_argument(
        "mnrun_runs_names",
        nargs="*",
        type=run_name,
        metavar="NAME",
        help=f'show only these runs ("{DEFAULT_RUN}" is the site\'s own); two names compare them',
    )


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mnrun_report_runs",
        nargs="*",
        type=run_name,
        metavar="RUN",
        help=f'the runs (default: "{DEFAULT_RUN}", the site\'s own); several are compared',
    )
    parser.add_argument(
        "--to",
        dest="report_folder",
        metavar="DIR",
        help="the folder that it is written into (mnrun-report)",
    )
    switch(
        parser,
        "--sync",
        dest="mnrun_report_sync",
        help="write nothing here: send the runs of W&B that were logged offline",
    )


def _prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mnrun_prune_names", nargs="+", type=own_run_name, metavar="NAME")
    switch(
        parser,
        "--yes",
        dest="mnrun_prune_confirmed",
        help="delete; without it, only show what would be deleted",
    )


def _sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep_file", metavar="FILE", help=f"YAML with the runs ({DOCS}/sweeps.md)")
    parser.add_argument(
        "--yes",
        dest="sweep_yes",
        action="store_true",
        help="runs may set finished work aside, which they do with other options",
    )
    only = parser.add_mutually_exclusive_group()
    for word, text in (
        ("table", "only show the table of its runs"),
        ("cancel", "stop all its runs; checkpoints are kept"),
    ):
        only.add_argument(
            f"--{word}", dest="sweep_only", action="store_const", const=word, help=text
        )
    _detach_option(only)


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "init_dir",
        nargs="?",
        default="mnrun-site",
        metavar="DIR",
        help="the new site's folder (default: mnrun-site)",
    )
    parser.add_argument(
        "--login",
        dest="init_login",
        metavar="HOST",
        help="the login node's ssh name; without it, this machine is the login node",
    )
    for word, text in (
        ("yes", "ask nothing: take the best guesses, which are marked"),
        ("no-job", "do not look at a compute node with a short job"),
    ):
        dest = f"init_{word.replace('-', '_')}"
        parser.add_argument(f"--{word}", dest=dest, action="store_true", help=text)


def _detach_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--detach",
        action="store_true",
        help="check, hand the rest over to a job on the cluster, and return",
    )


def _training_options(parser: argparse.ArgumentParser) -> None:
    _named_options(parser)
    _detach_option(parser)
    switch(
        parser,
        "--yes",
        dest="mnrun_set_aside",
        help="do not ask before finished work is set aside or many GPU-hours begin",
    )


def _publish_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "publish_stage",
        nargs="?",
        choices=TRAINED,
        metavar="STAGE",
        help="sft or ppo (default: the site's publish_stage, ppo)",
    )
    _detach_option(parser)


def _sandbox_up_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes", dest="sandbox_nodes", type=count, metavar="N", help="compute nodes"
    )
    parser.add_argument(
        "--gpus",
        dest="sandbox_gpus_per_node",
        type=count,
        metavar="N",
        help="GPUs per node (default: this machine's own, shared out; 8 simulated without any)",
    )
    switch(
        parser,
        "--simulated",
        dest="sandbox_simulated",
        help="simulated GPUs even on a machine that has real ones",
    )
    parser.add_argument(
        "--offline",
        dest="sandbox_offline",
        type=folder,
        metavar="DIR",
        help="install from the packages and wheels in DIR, without a network",
    )
    parser.add_argument(
        "--slurm",
        dest="sandbox_slurm",
        metavar="VERSION",
        help="22.05, 24.11, 26.05, newest, or host for this machine's own",
    )
    switch(
        parser,
        "--no-accounting",
        dest="sandbox_accounting",
        value=False,
        help="without slurmdbd and its database",
    )


def _sandbox_down_options(parser: argparse.ArgumentParser) -> None:
    switch(
        parser,
        "--wipe",
        dest="sandbox_wipe",
        help="delete all jobs, the accounting and the training results",
    )


def _sandbox_shell_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "mnrun sandbox shell [NODE] [-- COMMAND ...]"
    parser.add_argument("node", nargs="?", default="login", metavar="NODE", help="default: login")


def _shell_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "mnrun shell [NODE|STAGE] [-- COMMAND ...]"
    parser.add_argument(
        "place",
        nargs="?",
        metavar="NODE|STAGE",
        help="default: the first node of the stage that trains",
    )


def _gc_options(parser: argparse.ArgumentParser) -> None:
    switch(
        parser,
        "--end",
        dest="mnrun_gc_end",
        help="remove them; without it, only list them",
    )


_OWN = {
    **dict.fromkeys(("all", "sft", "ppo"), _training_options),
    "plan": _named_options,
    "cancel": _cancel_options,
    "convert": _convert_options,
    "gc": _gc_options,
    "init": _init_options,
    "logs": _logs_options,
    "prune": _prune_options,
    "runs": _runs_options,
    "report": _report_options,
    "publish": _publish_options,
    "wait": _wait_options,
    "shell": _shell_options,
    "status": _status_options,
    "doctor": _doctor_options,
    "sweep": _sweep_options,
    "sandbox up": _sandbox_up_options,
    "sandbox down": _sandbox_down_options,
    "sandbox shell": _sandbox_shell_options,
}
