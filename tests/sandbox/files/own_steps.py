"""A program of a user's own that takes no second: steps and checkpoints by the contract of
command.yml, where a test is about what mnrun does with them."""

from __future__ import annotations

import argparse
import os
import time
import zipfile
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("--model", "--output_dir"):
    parser.add_argument(name, required=True)
for name in ("--train_files", "--test_files"):
    parser.add_argument(name, nargs="+", required=True)
parser.add_argument("--resume_from", default="")
parser.add_argument("--max_steps", type=int, default=4)
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("--hold_at", type=int, default=0)  # until it is killed; not once resumed
parser.add_argument("--fail_at", type=int, default=0)
parser.add_argument("--pace", type=float, default=0.0)  # seconds of a step
parser.add_argument("--nan_at", type=int, default=0)  # from there on, with a rate of 1 or more
parser.add_argument("--read_at", default="")  # STEP:FILE, which rank 0 reads then; not once resumed
given = parser.parse_args()

rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
step = 0
if given.resume_from:
    with zipfile.ZipFile(Path(given.resume_from, "state.pt")) as state:
        step = int(state.read("step"))
    print(f"resumed from {given.resume_from}", flush=True)
if rank == 0:
    print(f"total_steps={given.max_steps}", flush=True)
    print(f"rank 0 is process {os.getpid()} of {os.environ['SLURMD_NODENAME']}", flush=True)

read_at, _colon, wanted = given.read_at.partition(":")
while step < given.max_steps:
    step += 1
    time.sleep(given.pace)
    if rank == 0 and str(step) == read_at and not given.resume_from:
        Path(wanted).expanduser().read_text()
    if rank == 0:
        folder = Path(given.output_dir, f"checkpoint-{step}")
        if step != given.fail_at:
            diverges = given.nan_at and step >= given.nan_at and given.rate >= 1
            loss = float("nan") if diverges else 1 / (1 + given.rate * step)
            print(f"step={step} loss={loss:.4f} ranks={ranks}", flush=True)
            folder.mkdir()
            with zipfile.ZipFile(folder / "state.pt", "w") as state:  # as torch.save does
                state.writestr("step", str(step))
            (folder / "complete.json").write_text("{}")
    # The last rank fails only once the first one has saved what comes before.
    if step == given.fail_at and rank == ranks - 1:
        before = Path(given.output_dir, f"checkpoint-{step - 1}", "complete.json")
        while not before.exists():
            time.sleep(0.05)
        raise ValueError(f"the loss of step {step} is not a number")
    if given.resume_from == "" and step in {given.hold_at, given.fail_at}:
        time.sleep(600)
