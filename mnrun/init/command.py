"""`mnrun init`: look, ask what the facts do not settle, write the inventory."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mnrun import consent
from mnrun.collection import module_util, plugin_util
from mnrun.commands import Command
from mnrun.errors import CliError, UsageError
from mnrun.init.choice import Choice, Facts
from mnrun.init.decide import Seen, decide, job, open_question
from mnrun.init.look import EndedError, look
from mnrun.init.render import hosts_text, variables_text
from mnrun.init.target import Target, partial, refuse_unsafe, target, writing
from mnrun.terminal import Terminal, printable

_HUB = "huggingface.co"


def init(options: argparse.Namespace, command: Command, terminal: Terminal) -> int:
    """Run one `mnrun init` and return its exit code.

    Raises:
        CliError: it cannot be done; nothing was written.
    """
    if options.inventory:
        raise UsageError("mnrun init makes a site; it takes none with -i.")
    asked = target(options.init_dir, options.init_login, options.extra_vars)
    if not options.init_yes and not consent.always() and not consent.can_ask():
        raise UsageError("No one can be asked here. To take the best guesses:  mnrun init --yes")
    try:
        return _Init(options, command, terminal, asked).run()
    except EndedError as ended:
        return ended.exit_code


@dataclass
class _Init:
    options: argparse.Namespace
    command: Command
    terminal: Terminal
    asked: Target
    answers: dict[str, str] = field(default_factory=dict)

    def run(self) -> int:
        """Look, decide, write."""
        self.answers = dict(self.asked.answers)
        with partial(self.asked.folder) as folder:
            hosts = folder / "hosts.yml"
            self._write_hosts(hosts, {})
            self.terminal.line(f"Looking at {self.asked.host or 'this login node'}.")
            site = self._look(hosts, {})
            self._refuse_without_slurm(site)
            self._write_hosts(hosts, {"ansible_python_interpreter": site["python"]})
            choices = self._asked(Seen(site))
            looked = None
            if not self.options.init_no_job and choices["mnrun_partition"].value in _names(site):
                self.terminal.line("Looking at a compute node, with a job of a few seconds.")
                # Ansible would take braces for a template.
                paths = [one["path"] for one in site["folders"] if "{" not in one["path"]]
                variables = {"mnrun_init_sbatch": job(choices), "mnrun_init_folders": paths}
                looked = self._look(hosts, variables)
            choices = self._asked(Seen(site, looked, self._hub_here(site, looked)))
            self._write_variables(folder, site, choices)
        for line in self._closing(choices):
            self.terminal.line(line)
        return 0

    def _look(self, hosts: Path, variables: Mapping[str, object]) -> Facts:
        where = (hosts, self.asked.host, variables)
        return look(self.command, self.options, self.terminal, *where)

    def _write_hosts(self, path: Path, more: Mapping[str, str]) -> None:
        variables = {**more, **self.asked.variables}
        ordered = {**self.asked.variables, **variables}
        text = hosts_text(self.asked.name, ordered, self.asked.comments)
        with writing(self.asked.folder):
            path.write_text(text, encoding="utf-8")

    def _refuse_without_slurm(self, site: Facts) -> None:
        slurm = site["slurm"]
        if slurm and slurm["version"] and not slurm["lost"]:
            return
        where = self.asked.host or "this machine"
        why = next(iter(slurm["unknown"]), "no answer") if slurm else "no answer in time"
        here = "" if self.asked.host else "\nFrom a laptop:  mnrun init --login HOST"
        raise CliError(f"Slurm does not answer on {where}: {why}{here}")

    def _asked(self, seen: Seen) -> dict[str, Choice]:
        """Decide; each answer may change what follows from it."""
        profiles = plugin_util("profiles")
        needs = profiles.needs(profiles.places(""))

        def fitting(packages: Mapping[str, str]) -> list[str]:
            found: list[str] = profiles.fitting(needs, packages)
            return found

        while True:
            choices = decide(seen, fitting, profiles.DEFAULT, self.answers)
            waiting = open_question(choices, self.answers)
            if self.options.init_yes or consent.always() or waiting is None:
                return choices
            self.answers[waiting.name] = self._answer(waiting)

    def _answer(self, choice: Choice) -> str:
        self.terminal.line()
        self.terminal.line(f"{choice.why.removeprefix('GUESS: ')}.")
        offered = "" if refuse_unsafe(choice.name, str(choice.value)) else str(choice.value)
        prompt = printable(
            f"{choice.question} [{offered}]: " if offered else f"{choice.question}: "
        )
        while True:
            try:
                typed = input(prompt).strip() or offered
            except EOFError:
                raise CliError("No answer. Nothing was written.") from None
            wrong = refuse_unsafe(choice.name, typed) if typed else "type one"
            if choice.options and choice.name in ("mnrun_partition", "account"):
                known = typed in choice.options
                wrong = wrong or ("" if known else f"one of {', '.join(choice.options)}")
            if not wrong:
                return typed
            self.terminal.line(f"  {typed}: {wrong}" if typed else f"  {wrong}")

    def _hub_here(self, site: Facts, looked: Facts | None) -> bool:
        """Whether this machine reaches the Hub, asked only where the cluster does not."""
        node = (looked or {}).get("node") or {}
        if site["hub"] or node.get("hub") or not self.asked.host:
            return False
        return bool(module_util("site.outside").reaches(_HUB, os.environ))

    def _write_variables(self, folder: Path, site: Facts, choices: Mapping[str, Choice]) -> None:
        slurm = site["slurm"]
        about = {
            "cluster": f"The cluster {slurm['cluster'] or self.asked.host or site['host']}",
            "slurm": slurm["version"] or "of an unknown version",
            "date": time.strftime("%Y-%m-%d"),
            "accounting": _accounting(slurm),
        }
        text = variables_text(choices, about)
        place = folder / "group_vars"
        with writing(self.asked.folder):
            place.mkdir()
            (place / "all.yml").write_text(text, encoding="utf-8")

    def _closing(self, choices: Mapping[str, Choice]) -> Iterator[str]:
        folder = shlex.quote(str(self.asked.folder))
        guesses = [one for one in choices.values() if one.why.startswith("GUESS: ")]
        yield ""
        yield f"Written: {self.asked.folder} (hosts.yml, group_vars/all.yml)"
        for one in choices.values():
            if one.name in _SHOWN:
                mark = "?" if one in guesses else "✓"
                yield f"  {mark} {one.name}: {one.value}"
        if guesses:
            yield ""
            yield "Guesses, marked in the file, with what was found:"
            yield f"  {', '.join(one.name for one in guesses)}"
        yield ""
        yield "Next:"
        if guesses:
            yield f"  $EDITOR {folder}/group_vars/all.yml"
        yield f"  export MNRUN_INVENTORY={folder}"
        yield "  mnrun doctor"
        yield "  mnrun plan"
        yield "  mnrun all"


_SHOWN = (
    "mnrun_model", "mnrun_train_files", "mnrun_partition", "mnrun_nodes", "mnrun_gpus_per_node",
    "mnrun_base_dir", "mnrun_trainer", "environment_conda_prefix", "ray_cluster_head_connection",
    "mnrun_hub_place",
)  # fmt: skip


def _accounting(slurm: Facts) -> str:
    if slurm["accounting"] is None:
        return "not known whether there is any; mnrun keeps its own records either way"
    words = ", ".join(slurm["enforced"] or ["none"])
    return f"yes; enforced: {words}" if slurm["accounting"] else "none; mnrun keeps its own records"


def _names(site: Facts) -> list[str]:
    return [one["name"] for one in site["slurm"]["partitions"] or ()]
