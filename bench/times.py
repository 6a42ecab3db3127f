"""How long the everyday commands take on this machine's sandbox, each next to a bare baseline.

    .venv/bin/python bench/times.py [ROUNDS]     after `make demo`

Rounds are interleaved, so that a noisy machine disturbs all rows alike. The ratio is what to
compare between machines: seconds are of this one, now.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SITE = ["-i", "inventory/sandbox"]
EMPTY = "ansible-playbook, an empty play"
# What is measured, the command, and the row that it is compared with.
ROWS: dict[str, tuple[list[object], str]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], ""),
    "mnrun --help": ([BIN / "mnrun", "--help"], "python -c pass"),
    EMPTY: ([BIN / "ansible-playbook", "bench/empty.yml", *SITE], ""),
    "ansible-playbook all.yml, nothing to do": (
        [BIN / "ansible-playbook", "all.yml", *SITE],
        EMPTY,
    ),
    "mnrun all, nothing to do": ([BIN / "mnrun", "all", *SITE], EMPTY),
    "mnrun sandbox up, already up": ([BIN / "mnrun", "sandbox", "up"], EMPTY),
}


def seconds(command: list[object]) -> float:
    """Run a command; its time. CalledProcessError if it fails."""
    begun = time.monotonic()
    subprocess.run(
        [str(part) for part in command], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
    return time.monotonic() - begun


def main() -> None:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(rounds):
        for name, (command, _) in ROWS.items():
            times[name].append(seconds(command))
    print("| command | median s | min max s | ratio |\n|---|---|---|---|")
    for name, (_, base) in ROWS.items():
        middle = statistics.median(times[name])
        ratio = f"{middle / statistics.median(times[base]):.1f} x {base}" if base else ""
        spread = f"{min(times[name]):.2f} {max(times[name]):.2f}"
        print(f"| {name} | {middle:.2f} | {spread} | {ratio} |")


if __name__ == "__main__":
    main()
