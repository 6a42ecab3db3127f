"""A program of a user's own that asks a service in each step, by the contract of command.yml."""

from __future__ import annotations

import argparse
import os
import time
import urllib.request
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("--model", "--output_dir", "--tool"):
    parser.add_argument(name, required=True)
for name in ("--train_files", "--test_files"):
    parser.add_argument(name, nargs="+", required=True)
parser.add_argument("--resume_from", default="")
parser.add_argument("--max_steps", type=int, default=4)
parser.add_argument("--die_at", type=int, default=0)  # the service; not once resumed
parser.add_argument("--fail_at", type=int, default=0)
parser.add_argument("--nodes", type=int, default=0)
parser.add_argument("--gpus_per_node", type=int, default=0)
given = parser.parse_args()


def ask_tool(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - always http
        return str(answer.read().decode())


# As PPO's driver it starts a worker on each node, which is to know the service as well.
on_ray = bool(given.nodes)
if on_ray:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    ray.init()

    @ray.remote(num_cpus=1)
    def ask() -> str:
        return f"{os.environ['SLURMD_NODENAME']} knows {os.environ['MNRUN_SERVICE_TOOL']}"

    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    for told in ray.get(
        [ask.options(scheduling_strategy=On(node, soft=False)).remote() for node in alive]
    ):
        print(told, flush=True)

rank = 0 if on_ray else int(os.environ["RANK"])
step = int(Path(given.resume_from, "complete.json").read_text()) if given.resume_from else 0
if rank == 0:
    print(f"option {given.tool}, variable {os.environ['MNRUN_SERVICE_TOOL']}", flush=True)
    print(f"own gpus {os.environ.get('CUDA_VISIBLE_DEVICES')}, total_gpus {given.gpus_per_node}")
    print(f"total_steps={given.max_steps}", flush=True)
urls = os.environ["MNRUN_SERVICE_TOOL"].split(",")
while step < given.max_steps:
    step += 1
    if step == given.fail_at:
        raise ValueError("this training fails by itself")
    if rank == 0:
        kill = step == given.die_at and not given.resume_from
        answers = [ask_tool(f"{url}/{'die' if kill else ''}") for url in urls]
        print(f"tool says {' | '.join(answers)}", flush=True)
        print(f"step={step} loss={1 / step:.4f} reward={step:.4f}", flush=True)
        folder = Path(given.output_dir, f"checkpoint-{step}")
        folder.mkdir()
        (folder / "complete.json").write_text(str(step))
    time.sleep(0.1)
