"""Four ways to have a Ray cluster in a Slurm job, each as a batch script.

All write the same marks into their folder, each a file with a time: `start` (the job's first line),
`alive` (Ray's GCS has registered the last node), `driver` (the way itself lets the user's program
start) and `end` (that program has ended). The program is the same for all, and does nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template

SOURCE = Path(__file__).resolve().parents[2] / "roles" / "ray_cluster" / "files"
HERE = Path(__file__).resolve().parent
OURS, HAND, SYMMETRIC, FLOOR = "ours", "by hand", "symmetric-run", "floor"
WAYS = (OURS, HAND, SYMMETRIC, FLOOR)
NEEDS_SCANCEL = (HAND,)
"""These do not end by themselves: the best case is measured, a scancel at that very moment."""

PREFIX = Template("""\
#!/bin/bash
#SBATCH --partition=gpu --nodes=$nodes --ntasks-per-node=1 --cpus-per-task=8 --gpus-per-node=1
#SBATCH --mem=20000 --time=10 --output=$folder/out --error=$folder/out
date +%s.%N > $folder/start
source $activate
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
cd $folder
PORT=37173
TEMP=/tmp/r$$SLURM_JOB_ID
RESOURCES="--num-cpus=8 --num-gpus=1"
python -IS watch.py $nodes $folder/alive "/tmp/*$temp*/**/gcs_server.out" &
""")

HAND_SCRIPT = """\
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address)
srun --nodes=1 --ntasks=1 -w "$head" ray start --head --node-ip-address="$address" --port=$PORT \\
    $RESOURCES --temp-dir=$TEMP --block &
sleep 10
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 -w "$node" ray start --address="$address:$PORT" $RESOURCES --block &
    sleep 5
done
./driver.sh
sleep 600
"""

SYMMETRIC_SCRIPT = """\
address=$(hostname --ip-address)
# 30 s by default, in which eight nodes on a busy machine do not come.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=180
srun --nodes=$SLURM_NNODES --ntasks=$SLURM_NNODES ray symmetric-run --address="$address:$PORT" \\
    --min-nodes=$SLURM_NNODES $RESOURCES -- ./driver.sh
"""

FLOOR_SCRIPT = """\
export address=$(hostname --ip-address) PORT TEMP RESOURCES
srun --nodes=$SLURM_NNODES --ntasks=$SLURM_NNODES bash -c '
if [ "$SLURM_NODEID" = 0 ]; then
    exec ray start --head --node-ip-address="$address" --port=$PORT $RESOURCES \\
        --temp-dir=$TEMP --block
fi
exec ray start --address="$address:$PORT" $RESOURCES --block' &
while [ ! -e alive ]; do sleep 0.05; done
./driver.sh
"""

OUR_SCRIPT = """\
# What a client does: it waits for the head's address, and ends the cluster when its work is done.
(while [ ! -e head.json ]; do sleep 0.05; done
 ./driver.sh
 scancel --batch --signal=USR1 "$SLURM_JOB_ID") &
export MNRUN_RECORD=$PWD
exec python -B cluster.py
"""

SCRIPTS = {
    HAND: HAND_SCRIPT,
    SYMMETRIC: SYMMETRIC_SCRIPT,
    FLOOR: FLOOR_SCRIPT,
    OURS: OUR_SCRIPT,
}

DRIVER = "#!/bin/sh\ncd {folder}\ndate +%s.%N > driver\nsleep 1\ndate +%s.%N > end\n"


def write(way: str, nodes: int, folder: Path, inside: str, activate: str) -> None:
    """Put all that a way needs into `folder`, which the cluster knows as `inside`.

    `activate` is the activation script that mnrun wrote; all ways source it.
    """
    # symmetric-run finds its own head in Ray's usual folder only.
    temp = "ray" if way == SYMMETRIC else "$SLURM_JOB_ID"
    prefix = PREFIX.substitute(nodes=nodes, folder=inside, activate=activate, temp=temp)
    (folder / "job.sbatch").write_text(prefix + SCRIPTS[way])
    driver = folder / "driver.sh"
    driver.write_text(DRIVER.format(folder=inside))
    driver.chmod(0o755)
    shutil.copyfile(HERE / "watch.py", folder / "watch.py")
    if way == OURS:
        for path in SOURCE.glob("cluster*.py"):
            shutil.copyfile(path, folder / path.name)
        (folder / "cluster.json").write_text(json.dumps(_settings(inside)))


def _settings(inside: str) -> dict[str, object]:
    return {
        "gpus": 1,
        "port": 37173,
        "dashboard_port": 37174,
        "ready_timeout": 300,
        "idle_timeout": 600,
        "linger": 600,
        "log_dir": inside,
        "temp_root": "/tmp",  # noqa: S108 - each node has its own
        "options": {},
    }
