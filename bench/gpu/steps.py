"""What is tried on the GPUs, one function each: what has to come of it, and its figures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import by_hand, figures, machine, own_site, room, vllm
from .big import BIG, SOCKETS, make_big
from .gate import gate, held, hung, one_socket
from .need import named, need, wait
from .site import MNRUN, ROOT, Answer, Site
from .variables import variables
from .whole import whole_of

Figures = dict[str, Any]
CHECKPOINT = 80  # the toy's SFT saves at this step, the first of two


def describe(site: Site) -> Figures:
    """The machine, and what the sandbox made of it."""
    need(site.real_enough, "the sandbox has no real GPUs: mnrun sandbox up says why")
    if not site.options.real:
        return {"nodes": site.options.nodes, "gpus": ["simulated"]}
    nodes = {"nodes": site.options.nodes, "gpus_per_node": site.options.gpus}
    return {**machine.describe(site.python), **nodes}


def toy(site: Site) -> Figures:
    """The whole job with the toy."""
    return whole(site, "toy", 420)


def whole(site: Site, run: str, limit: float, **variables: Any) -> Figures:
    """The whole job, to both conversions."""
    samples = site.out / f"{run}-gpus.csv"
    with machine.sampled(samples):
        answer = site.mnrun("all", run=run, limit=limit, **variables)
    need(answer.code == 0, f"mnrun all: exit code {answer.code}", answer)
    return {"seconds": answer.seconds, **whole_of(site, run), **machine.summary(samples)}


def again(site: Site) -> Figures:
    """The same command a second time: nothing is submitted."""
    before = site.jobs()
    answer = site.mnrun("all", run="toy", limit=120)
    need(answer.code == 0, f"mnrun all: exit code {answer.code}", answer)
    need(site.jobs() == before, "it submitted a job", answer)
    return {"seconds": answer.seconds, "jobs": site.jobs() - before}


def killed(site: Site) -> Figures:
    """A rank is killed after the first checkpoint; the same command continues from there."""
    run = site.run("kill")
    with site.started("sft", run="kill") as first:
        checkpoint = run / "sft" / "checkpoints" / f"global_step_{CHECKPOINT}"
        wait(checkpoint.is_dir, 120, "the first checkpoint")
        os.kill(site.rank(1), signal.SIGKILL)
        at = time.monotonic()
        output, _ = first.communicate(timeout=120)
        noticed = round(time.monotonic() - at, 1)
    (site.out / "killed.log").write_text(output, encoding="utf-8")
    ended = Answer(first.returncode, output, noticed)
    need(ended.code != 0, "SFT did not fail", ended)
    need("SIGKILL" in output or "signal 9" in output, "the signal is not named", ended)
    answer = site.mnrun("sft", run="kill", limit=180)
    need(answer.code == 0, f"the same command: exit code {answer.code}", answer)
    losses = by_step(run)
    need(losses and losses[-1], "no loss was logged", answer)
    need(min(losses[-1]) > 1, "it began from scratch", answer)
    return {
        "noticed_seconds": noticed,
        "resumed_at_step": int(min(losses[-1])),
        "seconds": answer.seconds,
        "largest_difference_of_loss": difference(site.run("toy"), losses[-1]),
    }


def by_step(run: Path) -> list[dict[float, float]]:
    """The losses of each attempt at SFT, by step."""
    logs = sorted(run.glob("sft/logs/*training_sft-*.out"), key=lambda path: path.stat().st_mtime)
    return [
        {row["step"]: row["train/loss"] for row in figures.steps([log]) if "train/loss" in row}
        for log in logs
    ]


def difference(undisturbed: Path, losses: dict[float, float]) -> float:
    """How far losses are from those of an undisturbed run, at most."""
    usual = by_step(undisturbed)[-1]
    return max(abs(loss - usual[step]) for step, loss in losses.items() if step in usual)


def gone(site: Site) -> Figures:
    """The second node's GPU may not be opened: Ray's gate names the node and the fault."""
    node = site.options.compute[-1].name
    site.device(-1, "000")
    try:
        answer = site.mnrun("ray", "start", run="gone", limit=120)
    finally:
        site.device(-1, "666")
        site.mnrun("ray", "stop", run="gone", limit=120)
    need(answer.code != 0, "Ray started", answer)
    shown = named(answer, rf".*{node}.*torch sees 0 GPUs.*")
    need(shown, "neither node nor fault is named", answer)
    return {"seconds": answer.seconds, "shown": shown}


def gone_for_sft(site: Site) -> Figures:
    """The same for SFT."""
    node = site.options.compute[-1].name
    site.device(-1, "000")
    try:
        answer = site.mnrun("sft", run="gone", limit=150)
    finally:
        site.device(-1, "666")
    need(answer.code != 0, "SFT ended well", answer)
    shown = named(answer, rf".*{node}.*(GPU|CUDA).*")
    need(shown, "neither node nor fault is named", answer)
    return {"seconds": answer.seconds, "shown": shown}


def memory(site: Site) -> Figures:
    """Rows and batches that a GPU has no room for: named, with advice."""
    make_big(site)
    too_much = {**BIG["sft_overrides"], "data.max_length": 8192, "data.train_batch_size": 64,
                "data.micro_batch_size_per_gpu": 32, "trainer.total_training_steps": 2,
                "model.enable_gradient_checkpointing": False}  # fmt: skip
    answer = site.mnrun("sft", run="memory", limit=200, **{**BIG, "sft_overrides": too_much})
    need(answer.code != 0, "SFT ended well", answer)
    shown = named(answer, r".*out of (GPU )?memory.*")
    need(shown, "the cause is not named", answer)
    return {"seconds": answer.seconds, "shown": shown}


def network(site: Site) -> Figures:
    """All-reduce over all ranks, with NCCL's defaults and with more sockets."""
    found: Figures = {}
    for name, more in (("gb_per_s", {}), ("gb_per_s_with_more_sockets", SOCKETS)):
        given = {"ray_cluster_allreduce": 1024, "environment_variables": {**variables(), **more}}
        answer = site.mnrun("ray", "start", run=name, limit=150, **given)
        site.mnrun("ray", "stop", run=name, limit=120)
        need(answer.code == 0, f"mnrun ray start: exit code {answer.code}", answer)
        rate = re.search(r"all-reduce: ([\d.]+) GB/s", answer.output + logs(site.run(name)))
        need(rate, "no rate", answer)
        found[name] = float(rate[1]) if rate else None
    return found


def logs(run: Path) -> str:
    """What the jobs of Ray wrote."""
    files = [path for path in run.rglob("*") if path.suffix in {".out", ".log"} and path.is_file()]
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def big(site: Site) -> Figures:
    """The whole job with a model of Llama 3.2 1B's shape."""
    weights = make_big(site)
    given = {**BIG, "environment_variables": {**variables(), **SOCKETS}}
    return {"weights": weights, **whole(site, "big", 480, **given)}


def empty(site: Site) -> Figures:
    """The sandbox goes down, and the GPUs are free."""
    subprocess.run([MNRUN, "sandbox", "down"], cwd=ROOT, check=True, timeout=120)
    if not site.options.real:
        return {}
    deadline = time.monotonic() + 20
    while max(used := machine.used()) > machine.FREE and time.monotonic() < deadline:
        time.sleep(0.5)
    need(max(used) <= machine.FREE, f"MiB in use on the GPUs: {used}")
    return {"used_mib": max(used)}


STEPS: dict[str, Callable[[Site], Figures]] = {
    "machine": describe,
    "gate": gate,
    "one-socket": one_socket,
    "held": held,
    "doctor": own_site.doctor,
    "init": own_site.init,
    "report": own_site.report,
    "hung": hung,
    "toy": toy,
    "again": again,
    "killed": killed,
    "gone": gone,
    "gone-sft": gone_for_sft,
    "memory": memory,
    "network": network,
    "big": big,
    "room": room.room,
    "vllm": vllm.ppo,
    "vllm-grpo": vllm.grpo,
    "vllm-answers": vllm.answers,
    "vllm-big": vllm.big,
    "hand-sft": by_hand.sft,
    "hand-ppo": by_hand.ppo,
    "empty": empty,
}

SETS = {
    "all": [step for step in STEPS if not step.startswith(("vllm", "hand"))],
    "gate": ["machine", "gate", "held", "hung", "one-socket", "empty"],
    "site": ["machine", "doctor", "init", "gate", "hung", "report", "room", "empty"],
    "vllm": ["machine", "vllm", "vllm-answers", "vllm-grpo", "vllm-big", "empty"],
    "hand": ["machine", "hand-sft", "hand-ppo", "empty"],
}
"""Steps that belong together. The gate's take two minutes, those by hand ten, a site's seven, and
vLLM's twelve."""
