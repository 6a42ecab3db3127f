"""How long the everyday commands take on this machine's sandbox, each next to a bare baseline.

    .venv/bin/python bench/times.py [ROUNDS]     after `make demo`

Rounds are interleaved, so that a noisy machine disturbs all rows alike. The ratio is what to
compare between machines: seconds are of this one, now.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SITE = ["-i", "inventory/sandbox"]
PING = "ansible -m ping"
# What is measured, the command, and the row that it is compared with.
ROWS: dict[str, tuple[list[object], str]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], ""),
    "mnrun --help": ([BIN / "mnrun", "--help"], "python -c pass"),
    PING: ([BIN / "ansible", "login", "-m", "ping", *SITE], ""),
    "ansible-playbook, one ping": ([BIN / "ansible-playbook", "bench/empty.yml", *SITE], PING),
    "ansible-playbook all.yml, nothing to do": ([BIN / "ansible-playbook", "all.yml", *SITE], PING),
    "mnrun all, nothing to do": ([BIN / "mnrun", "all", *SITE], PING),
    "mnrun status": ([BIN / "mnrun", "status", *SITE], PING),
    "mnrun sandbox up, already up": ([BIN / "mnrun", "sandbox", "up"], PING),
}


class Time(NamedTuple):
    """What one run of a command takes, in seconds."""

    wall: float
    cpu: float  # of all its processes on this side of ssh


def timed(command: list[object]) -> Time:
    """Run a command; what it takes. CalledProcessError if it fails."""
    begun, before = time.monotonic(), os.times()
    subprocess.run(
        [str(part) for part in command], cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Time(time.monotonic() - begun, used)


def main() -> None:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    taken: dict[str, list[Time]] = {name: [] for name in ROWS}
    for _ in range(rounds):
        for name, (command, _) in ROWS.items():
            taken[name].append(timed(command))
    middle = {
        name: Time(*(statistics.median(column) for column in zip(*times, strict=True)))
        for name, times in taken.items()
    }
    print("| command | median s | min max s | CPU s | ratio | ratio of CPU |")
    print("|---|---|---|---|---|---|")
    for name, (_, base) in ROWS.items():
        own, walls = middle[name], [one.wall for one in taken[name]]
        ratios = (
            [f"{a / b:.1f} x {base}" for a, b in zip(own, middle[base], strict=True)]
            if base
            else ["", ""]
        )
        print(
            f"| {name} | {own.wall:.2f} | {min(walls):.2f} {max(walls):.2f} | {own.cpu:.2f} "
            f"| {ratios[0]} | {ratios[1]} |"
        )


if __name__ == "__main__":
    main()
