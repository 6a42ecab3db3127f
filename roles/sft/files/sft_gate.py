"""Before SFT, on all nodes at once: every GPU can be used and is free, all ranks reach each other.

The batch script runs `sft_gate.py GPUS auto|always` on the first node, with the address of that one
in RENDEZVOUS_HOST. `auto` leaves out jobs without real GPUs. What was found is in the job's log and
in its record (gate-N.json).
Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from cluster_bandwidth import Found, TrialError, described, measure
from cluster_files import publish
from cluster_nccl import said as socket_words
from cluster_net import node_names
from cluster_reports import Wanted
from torch_gpus import are_expected

_SECONDS = 600.0  # for everything: the first import of torch may take minutes from a slow disk
_MIB, _MIB_ON_CPU = 64.0, 4.0


def wanted(gpus: int, record: Path, number: str) -> Wanted:
    """What is tried: all GPUs, or one rank of each node without."""
    real = gpus > 0 and are_expected()
    return Wanted(
        nodes=node_names(os.environ["SLURM_JOB_NODELIST"]),
        gpus=gpus if real else 0,
        nccl=real,
        address=os.environ["RENDEZVOUS_HOST"],
        interface="",
        mib=_MIB if real else _MIB_ON_CPU,
        check=True,
        seconds=_SECONDS,
        log=record / f"gate-{number}.log",
    )


def content(found: Found) -> dict[str, object]:
    """What the record keeps."""
    return {
        "job_id": os.environ.get("SLURM_JOB_ID", ""),
        "seconds": found.seconds,
        "ready_seconds": found.ready,
        "allreduce": found.rates,
        "transport": found.transport,
        "sockets": found.sockets,
        "warnings": found.warnings,
    }


def report(asked: Wanted, found: Found) -> None:
    """Say what was found."""
    for node, texts in found.warnings.items():
        for text in texts:
            say(f"warning: {node}: {text}")
    if found.rates:
        say(described(found.rates, found.transport))
    if found.sockets:
        say(socket_words(found.sockets))
    each = ", ".join(f"{node} {seconds:.1f} s" for node, seconds in found.ready.items())
    of = f"{_plural(asked.gpus, 'GPU')} each" if asked.gpus else "no GPUs"
    nodes = _plural(len(asked.nodes), "node")
    say(f"passed in {found.seconds:.1f} s: {nodes}, {of} (ready: {each})")


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


class Stop:
    """Whether the job is to end."""

    def __init__(self) -> None:
        self._reason: str | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def _asked(self, number: int, _: object) -> None:
        self._reason = signal.Signals(number).name

    def wait(self, seconds: float) -> str | None:
        """Let time pass. Returns the signal to end, if it came."""
        time.sleep(seconds)
        return self._reason


def say(text: str) -> None:
    """One line for the job's log."""
    print(f"[gate] {text}", flush=True)


def main() -> int:
    """Entry point. Exit code 0 if the training may start."""
    gpus, when = int(sys.argv[1]), sys.argv[2]
    record, number = Path(os.environ["MNRUN_RECORD"]), os.environ["MNRUN_ATTEMPT"]
    asked = wanted(gpus, record, number)
    if when != "always" and not asked.nccl:
        return 0
    try:
        found = measure(asked, Stop().wait)
    except TrialError as error:
        for node, texts in error.faults.items():
            for text in texts:
                print(f"NodeError: {node}: {text}", file=sys.stderr)
        print(f"mnrun: {error} (sft_gate)", file=sys.stderr, flush=True)
        return 1
    if isinstance(found, str):
        say(f"stopped by {found}")
        return 1
    report(asked, found)
    publish(record / f"gate-{number}.json", content(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
