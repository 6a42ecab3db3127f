"""A trainer of a user's own: all ranks fit a line to points, by the contract of torchrun.yml."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist

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
given = parser.parse_args()

dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
weight, step = torch.zeros(2), 0
if given.resume_from:
    state = torch.load(Path(given.resume_from, "state.pt"))
    weight, step = state["weight"], state["step"]
    print(f"resumed from {given.resume_from}", flush=True)
if rank == 0:
    print(f"total_steps={given.max_steps}", flush=True)
    print(f"rank 0 is process {os.getpid()} of {os.environ['SLURMD_NODENAME']}", flush=True)
rows = sum(Path(name).stat().st_size for name in given.train_files)
assert rows, "the data is empty"

while step < given.max_steps:
    step += 1
    x = torch.randn(64)
    error = weight[0] * x + weight[1] - (3 * x + 1)
    gradient = torch.stack([(2 * error * x).mean(), (2 * error).mean()])
    if step == given.fail_at and rank == ranks - 1:
        raise ValueError(f"the loss of step {step} is not a number")
    dist.all_reduce(gradient)
    weight = weight - given.rate * gradient / ranks
    if rank == 0:
        print(f"step={step} loss={error.square().mean():.4f} ranks={ranks}", flush=True)
        folder = Path(given.output_dir, f"checkpoint-{step}")
        folder.mkdir()
        torch.save({"weight": weight, "step": step}, folder / "state.pt")
        (folder / "complete.json").write_text(json.dumps({"step": step}))
    if step == given.hold_at and not given.resume_from:
        time.sleep(600)
dist.destroy_process_group()
