"""The relay: continues a run that was handed over, unattended.

It runs in a job of one CPU (roles/relay), from an installation on the shared file system, and does
what the command would do. Its heir, a job that waits for its end, takes over if it dies, and before
its time limit it ends for it. It claims the run first, and ends if another relay has claimed it
since. Its exit code says how it left the run; the names are those of
plugins/plugin_utils/relay_turns.py.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from mnrun import cli
from mnrun.arguments import parse
from mnrun.commands import COMMANDS, Command
from mnrun.handover import command_line, sweep_run
from mnrun.sweep.command import sweep
from mnrun.sweep.file import read
from mnrun.terminal import Terminal

DONE, FAILED, RENEWED, IDLE, LEFT = 0, 1, 10, 11, 12
_STAGES = ("relay", "relay-2", "relay-3")
_LOGIN = "relay-login"

_PAUSE = 30.0
_MOST_TRIES = 40
"""How often, and after how many seconds, what is not known is asked again: for twenty minutes, with
what the playbooks themselves wait."""

_LOOKS = 10.0
"""Seconds between two looks at whether it still holds the run."""

_BEGIN = Command("relay", "", "relay_begin", reads=True)
_END = Command("relay", "", "relay_end", reads=True)
_OF_JOBS = ("SLURM_", "SBATCH_", "SRUN_", "PYTHON", "ANSIBLE_")


@dataclass
class Spy:
    """What the events of a playbook tell the relay."""

    turn: Mapping[str, Any] = field(default_factory=dict)
    holder: Mapping[str, Any] = field(default_factory=dict)
    heir: bool = False
    passing: bool = True
    """No task failed, as if Ansible was killed; or one for something that passes: no connection, no
    answer from Slurm."""
    leaves: bool = False
    """The allocation in which the stages run is of no use any more."""
    problem: str = ""
    """What failed, if it is not the end of a job, of which people have been notified."""

    def look(self, event: Mapping[str, Any]) -> None:
        """Look at one event of ansible-runner."""
        data = event.get("event_data") or {}
        result = data.get("res") or {}
        self.turn = result.get("relay_turn") or self.turn
        self.holder = result.get("holder") or self.holder
        if event["event"] == "runner_on_ok" and result.get("stage", "").startswith("relay"):
            self.heir = bool((result.get("job") or {}).get("id"))
        if event["event"] in ("runner_on_failed", "runner_on_unreachable"):
            self.passing = bool(
                result.get("unknown") or result.get("lost") or result.get("unreachable")
            )
            self.leaves = bool(self.leaves or result.get("leaves"))
            ended = result.get("cause") and not result.get("retryable")
            self.problem = "" if ended else str(result.get("msg") or "")


class Relay:
    """One relay, from its start to its end."""

    def __init__(self, given: argparse.Namespace, job: str) -> None:
        self._line = command_line(given.handover)
        self._options = parse(self._line)
        self._inventory = str(self._options.inventory)
        self._since = given.since
        self._run: dict[str, str] = {}
        if self._options.command == "sweep":
            self._run = {"mnrun_run_name": sweep_run(read(Path(self._options.sweep_file)).name)}
        shown = " ".join(self._options.words)
        at = _STAGES.index(given.stage) if given.stage != _LOGIN else None
        self._me: dict[str, Any] = {
            "stage": given.stage, "job": job, "after": given.after, "deaths": given.deaths,
            "heirs": [] if at is None else [_STAGES[at - 2], _STAGES[at - 1]],
            "heir": {"since": str(given.since), "command": shown, "python": sys.executable,
                     "handover": str(given.handover), "shape": given.shape},
        }  # fmt: skip
        if given.allocation:  # in which the stages run, and which this relay therefore never leaves
            self._run["mnrun_allocation"] = given.allocation
        self.renewing = self.replaced = False
        self._holders = given.handover.parent.parent / "holders"
        self._problem = ""

    def run(self) -> int:
        """Return how it left the run."""
        signal.signal(signal.SIGUSR1, self._renew)
        job = (
            f"job {self._me['job']}"
            if self._me["heirs"]
            else f"process {self._me['job'].split('.')[-3]}"
        )
        _say(f"This is the relay in {job} on {os.uname().nodename}.")
        spy = self._begin()
        if not self._holds(spy):
            _say(str(spy.turn.get("why") or "The state of the run is unknown, so this relay ends."))
            return IDLE
        threading.Thread(target=self._watch, args=(spy.holder["number"],), daemon=True).start()
        if self._me["heirs"] and not spy.heir:
            _say("No other job waits to take over from this one.")
        code = self._work()
        if self.replaced:
            return self.over()
        if self.renewing:
            if not spy.heir:
                self._begin()
            _say("Its time limit is near: it ends, and the job that waits continues.")
            return RENEWED
        if code in (DONE, FAILED):
            # Encoded, as Ansible would take what an error quotes for a template.
            problem = base64.b64encode(self._problem.encode()).decode() if code else ""
            self._play(_END, {"relay_me": self._me, "relay_problem": problem}, Spy())
        return code

    def _begin(self) -> Spy:
        for _ in range(_MOST_TRIES):
            spy = Spy()
            code = self._play(_BEGIN, {"relay_me": self._me}, spy)
            known = spy.turn and not spy.turn["waits"] and spy.turn["goes"] == self._holds(spy)
            if code > FAILED or known or (code == FAILED and not spy.passing and not spy.turn):
                break
            time.sleep(_PAUSE)
        return spy

    def _holds(self, spy: Spy) -> bool:
        return bool(spy.turn.get("goes") and spy.holder.get("job") == self._me["job"])

    def _watch(self, number: int) -> None:
        """End the relay when another one has claimed the run: Slurm took this one for dead."""
        while _last(self._holders) <= number:
            self._beat()
            time.sleep(_LOOKS)
        self.replaced = True
        os.kill(os.getpid(), signal.SIGINT)

    def _beat(self) -> None:
        """Leave a sign of life for other hosts (module_utils/handover/process.py)."""
        with suppress(OSError):
            beat = self._holders.with_name("heartbeat")
            part = beat.with_name(f".heartbeat-{os.getpid()}")
            part.write_text(self._me["job"], encoding="utf-8")
            part.replace(beat)

    def over(self) -> int:
        """Say why it ends; its exit code."""
        if self.replaced:
            _say("Another relay has claimed the run, so this one ends.")
            return IDLE
        return RENEWED if self.renewing else 128 + signal.SIGINT

    def _sweep(self) -> int:
        """Drive a sweep; its runs resume, each by its own records, when another relay does so."""
        options = argparse.Namespace(**vars(self._options))
        options.extra_vars = [*options.extra_vars, f"mnrun_handed_over_at={self._since}"]
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of its runs: the installation stays as it is
        table = partial(cli.play, options, COMMANDS["sweep"], self._inventory)
        code = sweep(options, self._inventory, Terminal(sys.stdout), table)
        self._problem = "The sweep has ended, and not all of its runs are done: see its table."
        return code

    def _work(self) -> int:
        if self._options.command == "sweep":
            return self._sweep()
        command = COMMANDS[self._options.command]
        own = cli.extra_vars(self._options, command)
        for _ in range(_MOST_TRIES):
            spy = Spy()
            code = self._play(command, {**own, "mnrun_handed_over_at": self._since}, spy)
            self._problem = spy.problem
            if code == FAILED and spy.leaves:
                _say("It ends, and the job that waits continues in another allocation.")
                return LEFT
            if code != FAILED or not spy.passing or self.renewing or self.replaced:
                break
            _say(f"It tries again in {_PAUSE:.0f} s.")
            time.sleep(_PAUSE)
        return code

    def _play(self, command: Command, variables: Mapping[str, Any], spy: Spy) -> int:
        given = {**self._run, **variables}
        return cli.play(self._options, command, self._inventory, given, spy.look)

    def _renew(self, number: int, _frame: FrameType | None) -> None:
        self.renewing = True
        del number
        os.kill(os.getpid(), signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the relay of a job; its exit code."""
    cli.open_closed()
    parser = argparse.ArgumentParser(prog="mnrun.relay")
    parser.add_argument("handover", type=Path)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--since", type=float, required=True)
    parser.add_argument("--deaths", type=int, required=True)
    parser.add_argument("--after", required=True)
    parser.add_argument("--shape", type=_decoded, default={})
    parser.add_argument("--allocation", default="")
    given = parser.parse_args(argv)
    job = os.environ.get("SLURM_JOB_ID") or _recorded()
    for name in [name for name in os.environ if name.startswith(_OF_JOBS)]:
        if name != "SLURM_CONF":
            del os.environ[name]
    relay = Relay(given, job)
    try:
        return relay.run()
    except KeyboardInterrupt:
        return relay.over()


def _decoded(text: str) -> dict[str, Any]:
    """What sbatch gets for an allocation in which the stages run."""
    found: dict[str, Any] = json.loads(base64.b64decode(text))
    return found


def _recorded() -> str:
    """What this process is called in its record, on a login node."""
    text = Path(os.environ["MNRUN_RECORD"], f"start-{os.environ['MNRUN_ATTEMPT']}.json").read_text()
    return str(json.loads(text)["job_id"])


def _last(folder: Path) -> int:
    """The last number of those that held the run (module_utils/record/holder.py); 0 if it cannot be
    read now."""
    try:
        return max((int(path.name[:6]) for path in folder.glob("[0-9]*.json*")), default=0)
    except OSError:
        return 0


def _say(text: str) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{moment}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
