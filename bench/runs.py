"""How much processor time `mnrun runs` takes for many runs, next to a bare baseline.

    .venv/bin/python -m bench.runs [RUNS [ROUNDS]]     on a sandbox that is up

It writes the records and logs of RUNS runs of three stages (200) into the sandbox's home, and
removes them afterwards.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import UID, Options

from .times import BIN, PING, SITE, timed

STAGES = {"sft": "slurm", "convert-sft": "slurm", "ppo": "ray"}
STEPS = 160
LOG = "".join(f"step:{n} - train/loss:0.{n:04d} - train/lr:0.001\n" for n in range(1, STEPS + 1))
FOLDER = "bench-runs"


def write(run: Path, number: int) -> None:
    """Write the records of a run that is done."""
    for stage, kind in STAGES.items():
        log = run / "logs" / f"{stage}.out"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(LOG + "x" * 500_000 + "\n")
        options = {"lr": number * 0.001, **{f"o{n}": n for n in range(40)}}
        spec = {"stage": stage, "options": options}
        attempt = Attempt(1, "t0", "n-1", intent_time=1.7e9)
        attempt.job_id = "12" if kind == "slurm" else "raysubmit_1"
        attempt.phase, attempt.state = Phase.SUCCEEDED, "COMPLETED"
        attempt.start, attempt.end = 1.7e9, 1.7e9 + 100
        attempt.stdout = attempt.stderr = str(log)
        attempt.reached = attempt.last_step = STEPS
        record = Record(stage, kind, fingerprint(spec), spec, attempts=[attempt])
        record.output = {"step": STEPS, "path": "/x", "model": "/x", "metrics": {}, "content": "c"}
        Ledger(run, stage, Clock()).save(record)


def main() -> None:
    """Measure and print a table."""
    runs, rounds = [*map(int, sys.argv[1:]), *(200, 3)[len(sys.argv) - 1 :]]
    sandbox = Options(os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox"))
    base = sandbox.home / FOLDER
    try:
        for number in range(runs):
            write(base / "runs" / f"run-{number:03d}", number)
        (base / "none").mkdir()
        for path in [base, *base.rglob("*")]:
            os.chown(path, UID, UID)
        show(runs, rounds)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def show(runs: int, rounds: int) -> None:
    """Run each command that often, one after the other, and print the middle."""
    rows: dict[str, list[object]] = {
        PING: [BIN / "ansible", "login", "-m", "ping", *SITE],
        "mnrun runs, without any": mnrun_runs(f"{FOLDER}/none"),
        f"mnrun runs, {runs} runs of three stages": mnrun_runs(FOLDER),
    }
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, command in rows.items():
            taken[name].append(timed(command).cpu)
    print("| command | CPU s | of ping |\n|---|---|---|")
    base = statistics.median(taken[PING])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.2f} | {middle / base:.1f} |")


def mnrun_runs(folder: str) -> list[object]:
    """The command for a folder below the user's home."""
    return [BIN / "mnrun", "runs", *SITE, "-e", f"mnrun_base_dir=~/{folder}"]


if __name__ == "__main__":
    main()
