"""A driver that trains nothing, on all GPUs of its cluster, and prints its steps as verl does."""

import os
import sys
import time

import ray


@ray.remote(num_gpus=1)
def where() -> tuple[str, str]:
    """The Slurm job and the node that this task runs in."""
    time.sleep(0.2)
    return os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"]


ray.init(log_to_driver=False)
gpus = int(ray.cluster_resources()["GPU"])
print("Total training steps: 3")
for step in (1, 2, 3):
    places = sorted(set(ray.get([where.remote() for _ in range(gpus)])))
    print(f"step:{step} - critic/score/mean:0.{step}")
    if sys.argv[1] == "fail":
        raise ValueError("the trainer says why")
    if sys.argv[1] == "slow":
        time.sleep(600)
    if sys.argv[1] == "brief":
        time.sleep(2)
print("ran in", places)
