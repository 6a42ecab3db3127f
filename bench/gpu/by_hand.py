"""The same trainings launched by hand, without mnrun, in the same cluster: what mnrun costs.

By hand: a batch script with `srun torchrun`, and one with `ray start` on each node and `ray job
submit`, as one writes them. The trainer's options and variables are those that mnrun gave it.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.sandbox import fabric

from . import figures
from .big import BIG, SOCKETS, make_big
from .need import need, wait
from .site import Site
from .variables import variables

STEPS = {"sft": 16, "ppo": 20}
TURNS = 2
WARM = 3  # first steps that do not count
LOGS = {"sft": "sft/logs/*training_sft-*.out", "ppo": "ppo/logs/ppo-*.log"}
# Where Ray's workers print on a node: mnrun's clusters have a folder of their own.
WORKERS = ("tmp/ray/session_2*/logs/worker-*.out", "tmp/*/ray/session_2*/logs/worker-*.out")
SFT = """\
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --ntasks-per-node=1 --cpu-bind=none env -u ROCR_VISIBLE_DEVICES torchrun \\
    --nnodes=$SLURM_NNODES --nproc-per-node={gpus} --rdzv-backend=c10d --rdzv-id=$SLURM_JOB_ID \\
    --rdzv-endpoint=$head:29555 {command}
"""
PPO = """\
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
step="srun --overlap -N1 -n1 --gpus-per-node={gpus} --cpus-per-task={cores}"
on() {{ $step -w $1 env -u ROCR_VISIBLE_DEVICES "${{@:2}}"; }}
address=$(on ${{nodes[0]}} hostname -I | awk '{{print $1}}')
alive() {{ ray status --address=$address:6399 2> /dev/null | grep -c ' node_'; }}
options="--num-cpus={cores} --num-gpus={gpus} --disable-usage-stats --block"
head="--head --node-ip-address=$address --port=6399 --dashboard-host=0.0.0.0"
on ${{nodes[0]}} ray start $head $options &
until [ "$(alive)" = 1 ]; do sleep 0.5; done
for node in "${{nodes[@]:1}}"; do on $node ray start --address=$address:6399 $options & done
until [ "$(alive)" = $SLURM_NNODES ]; do sleep 0.5; done
ray job submit --address=http://$address:8265 -- {command}
"""


class Watch:
    """When each step of a trainer was first seen in its logs.

    Args:
        place: the logs, looked up again and again. Those of before do not count.
    """

    def __init__(self, place: Callable[[], Iterable[Path]]) -> None:
        self.place = place
        self.begun = time.time()
        self.sizes: dict[Path, int] = {}
        self.seen: dict[int, float] = {}
        self.over = threading.Event()

    def follow(self) -> None:
        """Look, until it is over."""
        while not self.over.wait(0.05):
            for file in self.place():
                with suppress(OSError):  # it went while it was looked at
                    self.look(file)

    def look(self, file: Path) -> None:
        """Read a log, if there is more of it."""
        now = file.stat()
        if self.sizes.get(file) == now.st_size or now.st_mtime < self.begun:
            return
        self.sizes[file] = now.st_size
        text = file.read_text(encoding="utf-8", errors="replace")
        for step in map(int, re.findall(r"\bstep:(\d+) - (?!val)", text)):
            self.seen.setdefault(step, time.time())

    def figures(self, submitted: float, logs: list[Path]) -> dict[str, float]:
        """From the submission to the first step, and a step's median after the first few: by the
        trainer's own clock, where its log has one."""
        seen = [self.seen[step] for step in sorted(self.seen) if step]
        need(len(seen) > WARM + 2, f"steps seen: {sorted(self.seen)}")
        own = figures.column(figures.steps(logs), r"^timing_s/step$")
        apart = own[WARM:] or [after - before for before, after in pairwise(seen[WARM:])]
        step = statistics.median(apart)
        need(step > 0, f"steps at {seen}")
        return {"first_step_after": round(seen[0] - submitted, 1), "seconds_a_step": round(step, 3)}


def workers(site: Site) -> Callable[[], Iterable[Path]]:
    """What Ray's workers print. What `ray job submit` shows of it comes late, and in batches."""
    pids = [fabric.find_node(site.options, node) for node in site.options.compute]
    roots = [Path(f"/proc/{pid}/root") for pid in pids if pid]
    return lambda: (file for root in roots for pattern in WORKERS for file in root.glob(pattern))


@contextmanager
def watched(site: Site, stage: str, log: Path) -> Iterator[Watch]:
    """Meanwhile, follow the steps of a stage: PPO's where they are printed, SFT's in its log."""
    watch = Watch(workers(site) if stage == "ppo" else lambda: log.parent.glob(log.name))
    thread = threading.Thread(target=watch.follow)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


def compared(site: Site, stage: str, given: dict[str, Any]) -> dict[str, Any]:
    """One stage by mnrun and by hand with the same options, each twice, in turn."""
    own, other = [], []
    for turn in range(1, TURNS + 1):
        run = site.run(f"hand-{stage}-{turn}")
        own.append(by_mnrun(site, stage, run, given))
        other.append(by_hand(site, stage, run))
    return summed_up(own, other)


def summed_up(own: list[dict[str, float]], other: list[dict[str, float]]) -> dict[str, Any]:
    """The fastest of the launches of each kind, and how far apart two of the same kind were: a
    smaller difference between the kinds says nothing."""
    best = [{name: min(one[name] for one in each) for name in each[0]} for each in (own, other)]
    steps = [[one["seconds_a_step"] for one in each] for each in (own, other)]
    return {
        "mnrun": best[0],
        "hand": best[1],
        "more_a_step_percent": _percent(best[0]["seconds_a_step"], best[1]["seconds_a_step"]),
        "two_of_a_kind_percent": max(_percent(max(each), min(each)) for each in steps),
    }


def _percent(one: float, other: float) -> float:
    return round(100 * (one / other - 1), 1)


def by_mnrun(site: Site, stage: str, run: Path, given: dict[str, Any]) -> dict[str, float]:
    """Run a stage to its end."""
    log = run / LOGS[stage]
    with watched(site, stage, log) as watch:
        begun = time.time()
        answer = site.mnrun(stage, run=run.name, limit=site.patience(240), **given)
    need(answer.code == 0, f"mnrun {stage}: exit code {answer.code}", answer)
    submitted = submitted_at(site, run, "ray" if stage == "ppo" else stage)
    return {
        **watch.figures(submitted, list(log.parent.glob(log.name))),
        "first_step_after_the_command": round(watch.seen[1] - begun, 1),
    }


def submitted_at(site: Site, run: Path, stage: str) -> float:
    """When Slurm got the first job of a stage."""
    file = figures.newest(run, f".mnrun/{stage}/*/start-1.json")
    need(file, f"no job of {stage} has begun")
    job = json.loads(file.read_text(encoding="utf-8"))["job_id"] if file else ""
    return float(site.shell(f"SLURM_TIME_FORMAT=%s sacct -X -n -P -j {job} -o submit").split()[0])


def by_hand(site: Site, stage: str, run: Path) -> dict[str, float]:
    """Run a batch script of one's own to its end."""
    folder = run / "hand"
    seen = f"~/{folder.relative_to(site.options.home)}"
    command, cores = trainer(run, stage, folder, site), cores_of(site)
    text = (SFT if stage == "sft" else PPO).format(command=command, gpus=site.gpus, cores=cores)
    activate = f"source ~/{(run / '.mnrun' / 'activate.sh').relative_to(site.options.home)}"
    given = "\n".join(f"export {name}={value}" for name, value in SOCKETS.items())
    script = f"#!/bin/bash\n{activate}\n{given}\nmkdir -p {seen}; cd {seen}\n{text}"
    (site.out / f"{run.name}.sh").write_text(script, encoding="utf-8")
    asked = f"-p gpu -N{site.options.nodes} --gpus-per-node={site.gpus} --ntasks-per-node=1"
    asked += f" --cpus-per-task={cores} -o {run.name}.log -J hand"
    log = site.options.home / f"{run.name}.log"
    log.unlink(missing_ok=True)
    wait(lambda: not site.shell("squeue -h"), site.patience(60), "an empty queue")
    with watched(site, stage, log) as watch:
        begun = time.time()
        site.shell(f"sbatch {asked} <<'END'\n{script}END")
        wait(lambda: not site.shell("squeue -h -n hand"), site.patience(240), "its end")
    (site.out / f"{run.name}.log").write_text(log.read_text("utf-8"), encoding="utf-8")
    return watch.figures(begun, [log])


def cores_of(site: Site) -> int:
    """The cores of a node, by Slurm."""
    found: list[str] = site.shell("sinfo -h -N -o %c").split()
    return int(found[0])


def trainer(run: Path, stage: str, folder: Path, site: Site) -> str:
    """The trainer's command line as mnrun gave it, but with a folder of its own."""
    (script,) = run.glob(f".mnrun/{stage}/*/script.sh")
    text = script.read_text(encoding="utf-8")
    module = re.findall(r"-m (verl[\w.]+)", text)[-1]
    begin = text.index("train \\\n" if stage == "sft" else f"{module} \\\n")
    words = shlex.split(text[begin:].split("\n", 1)[1].replace("\\\n", " "))
    kept = [word for word in words if "MNRUN_" not in word and "default_local_dir" not in word]
    own = f"trainer.default_local_dir=/home/{site.options.home.name}"
    own += f"/{(folder / 'checkpoints').relative_to(site.options.home)}"
    python = "python " if stage == "ppo" else ""
    return f"{python}-m {module} {shlex.join([*kept, own])}"


def sft(site: Site) -> dict[str, Any]:
    """SFT: the larger model on GPUs, whose steps are long enough to compare."""
    steps = {"trainer.total_training_steps": STEPS["sft"], "trainer.save_freq": 1000,
             "trainer.test_freq": 1000}  # fmt: skip
    if not site.options.real:
        return compared(site, "sft", {"sft_overrides": steps})
    make_big(site)
    given = {**BIG, "environment_variables": {**variables(), **SOCKETS}}
    return compared(site, "sft", {**given, "sft_overrides": {**BIG["sft_overrides"], **steps}})


def ppo(site: Site) -> dict[str, Any]:
    """PPO of the toy."""
    steps = {"trainer.total_training_steps": STEPS["ppo"], "trainer.save_freq": 1000,
             "trainer.test_freq": 1000, "trainer.val_before_train": False}  # fmt: skip
    given = {"ppo_overrides": steps, "ppo_model": "~/model/Llama-3.2-1B-Instruct"}
    if site.options.real:
        given["environment_variables"] = {**variables(), **SOCKETS}
    return compared(site, "ppo", given)
