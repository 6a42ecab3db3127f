"""srun as a fake: starts the command for each node in FAKE_STARTED, hands the end of standard input
on, and kills all when one ends badly. An unknown option raises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

OPTIONS = {"--nodes", "--ntasks", "--ntasks-per-node", "--cpu-bind", "--mpi", "--export"}
OPTIONS |= {"--kill-on-bad-exit", "--overlap"}

arguments = sys.argv[1:]
while arguments[0].startswith("--"):
    option = arguments.pop(0).partition("=")[0]
    assert option in OPTIONS, option
assert "SLURM_NTASKS_PER_NODE" not in os.environ


if "cluster_leftovers.py" in str(arguments):
    sys.exit(subprocess.run(arguments, check=False).returncode)

print("\nWelcome to the cluster", flush=True)
tasks = []
for name in os.environ["FAKE_STARTED"].split():
    env = {**os.environ, "SLURMD_NODENAME": name, "SLURM_CPUS_ON_NODE": "4"}
    tasks.append(subprocess.Popen(arguments, env=env, stdin=subprocess.PIPE))


def hand_on() -> None:
    sys.stdin.buffer.read()
    for task in tasks:
        assert task.stdin is not None
        task.stdin.close()


threading.Thread(target=hand_on, daemon=True).start()
codes: list[int | None] = [None]
while None in codes:
    time.sleep(0.02)
    codes = [task.poll() for task in tasks]
    if any(codes):
        for task in tasks:
            task.kill()
        os._exit(137)  # not sys.exit: the thread may hold standard input's lock
