"""Four ways to have a Ray cluster in a Slurm job, measured side by side on the sandbox.

    sudo .venv/bin/python -m bench.ray_cluster [--nodes 2 4 8] [--rounds 5] [--file TIMES]
    .venv/bin/python -m bench.ray_cluster --report [--file TIMES] [--plot FILE.png]

Rounds are interleaved, so that a noisy machine disturbs all ways alike, and each measurement is
added to the file of times, so that rounds can be made one after the other. The report is a table of
medians and spreads. Only the plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from . import measure, report, ways

ROOT = Path(__file__).resolve().parents[2]
MNRUN = [str(Path(sys.executable).with_name("mnrun"))]
RUN = "~/bench-ray/run"


def prepare(nodes: int) -> str:
    """Start a sandbox with this many nodes; returns the activation script that all ways source."""
    up = [*MNRUN, "sandbox", "up", "-e", json.dumps({"sandbox_nodes": nodes})]
    site = ["-i", "inventory/sandbox", "-e", json.dumps({"mnrun_run_dir": RUN})]
    for command in (up, [*MNRUN, "environment", *site]):
        if subprocess.run(command, cwd=ROOT, check=False, timeout=1800).returncode:
            sys.exit(1)  # mnrun has printed why
    return measure.ssh(f"readlink -f {RUN}/.mnrun/activate.sh")


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(
        prog="bench.ray_cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=ways.WAYS, default=list(ways.WAYS))
    parser.add_argument("--most-nodes", type=int, default=8, help="of the sandbox")
    parser.add_argument("--file", type=Path, default=ROOT / "bench" / "ray_cluster.jsonl")
    parser.add_argument("--report", action="store_true", help="only from the file")
    parser.add_argument("--plot", type=Path, help="write a plot")
    given = parser.parse_args()
    if not given.report:
        activate = prepare(max(given.most_nodes, *given.nodes))
        for number in range(given.rounds):
            for nodes in given.nodes:
                for way in given.ways:
                    try:
                        times = measure.measure(way, nodes, activate)
                    except measure.MeasureError as error:
                        print(f"left out: {error}", file=sys.stderr, flush=True)
                        continue
                    print(f"round {number + 1}", report.line(times), flush=True)
                    with given.file.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(times) + "\n")
    rows = [json.loads(line) for line in given.file.read_text("utf-8").splitlines()]
    print(report.table(rows))
    if given.plot:
        report.plot(rows, given.plot)


if __name__ == "__main__":
    main()
