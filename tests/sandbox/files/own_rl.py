"""A trainer of a user's own on a Ray cluster: a bandit, by the contract of command.yml."""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import ray

parser = argparse.ArgumentParser()
for name in ("--model", "--output_dir"):
    parser.add_argument(name, required=True)
for name in ("--train_files", "--test_files"):
    parser.add_argument(name, nargs="+", required=True)
for name in ("--nodes", "--gpus_per_node", "--max_steps"):
    parser.add_argument(name, type=int, default=1)
parser.add_argument("--resume_from", default="")
parser.add_argument("--pace", type=float, default=0.0)
parser.add_argument("--fail_at", type=int, default=0)
given = parser.parse_args()


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
class Worker:
    """Plays with what is known of the arms."""

    def play(self, known: list[float], seed: int) -> tuple[int, float]:
        draw = random.Random(seed)  # noqa: S311 - no secret
        arm = known.index(max(known)) if draw.random() > 0.3 else draw.randrange(len(known))
        return arm, draw.gauss(arm / 2, 0.1)

    def fail(self, step: int) -> None:
        raise ValueError(f"the reward of step {step} is not a number")


ray.init()
workers = [Worker.remote() for _ in range(given.nodes)]
known, step = [0.0, 0.0, 0.0], 0
if given.resume_from:
    state = json.loads(Path(given.resume_from, "state.json").read_text())
    known, step = state["known"], state["step"]
    print(f"resumed from {given.resume_from}", flush=True)
print(f"total_steps={given.max_steps}", flush=True)
while step < given.max_steps:
    step += 1
    if step == given.fail_at:
        ray.get(workers[-1].fail.remote(step))
    played = ray.get(
        [worker.play.remote(known, step * 100 + n) for n, worker in enumerate(workers)]
    )
    for arm, reward in played:
        known[arm] += 0.5 * (reward - known[arm])
    mean = sum(reward for _arm, reward in played) / len(played)
    print(f"step={step} reward={mean:.4f}", flush=True)
    folder = Path(given.output_dir, f"checkpoint-{step}")
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"known": known, "step": step}))
    (folder / "complete.json").write_text("{}")
    time.sleep(given.pace)
