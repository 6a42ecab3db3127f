"""verl 0.9 with vLLM: PPO and GRPO through mnrun, a resume, and vLLM with the converted model.

Without GPUs the sandbox's rollout for CPU takes vLLM's place (--simulated).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import yaml

from . import figures, machine
from .big import BIG, SOCKETS, make_big
from .need import need, wait
from .site import Answer, Site
from .variables import variables
from .whole import whole_of

HERE = Path(__file__).parent
GIVEN = yaml.safe_load((HERE / "vllm.yml").read_text(encoding="utf-8"))
VARIABLES = {
    # The sampler would import a package that text needs nothing else of.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_USE_DEEP_GEMM": "0",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",  # multicast
    "VLLM_NO_USAGE_STATS": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
# What verl 0.9 needs where there is no GPU.
ON_CPU = {
    "sft_options": {"trainer.device": "cpu", "engine.strategy": "fsdp2",
                    "trainer.total_training_steps": 8, "trainer.save_freq": 8},
    "ppo_options": {"actor_rollout_ref.rollout.name": "hf", "critic.strategy": "fsdp2",
                    "actor_rollout_ref.actor.strategy": "fsdp2",
                    "actor_rollout_ref.actor.use_torch_compile": False,
                    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
                    "actor_rollout_ref.ref.fsdp_config.use_torch_compile": False,
                    "critic.fsdp.use_torch_compile": False},
}  # fmt: skip
ROOMY = {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.4}  # for the larger model
CONVERTED = "ppo/converted"
STEPS = 6  # of GRPO; it is killed once the second is saved


def given(site: Site) -> dict[str, Any]:
    """The variables of these runs."""
    if site.options.real:
        return {**GIVEN, "environment_variables": {**variables(), **VARIABLES}}
    both = {name: {**GIVEN[name], **more} for name, more in ON_CPU.items()}
    return {**GIVEN, **both, "environment_conda_prefix": "~/conda_env-verl-0.9"}


def ppo(site: Site) -> dict[str, Any]:
    """The whole job with PPO."""
    samples = site.out / "vllm-gpus.csv"
    with machine.sampled(samples):
        answer = site.mnrun("all", run="vllm", limit=site.patience(480), **given(site))
    need(answer.code == 0, f"mnrun all: exit code {answer.code}", answer)
    found = {**whole_of(site, "vllm"), **machine.summary(samples)}
    need(found["ppo"]["steps"], "no step of PPO", answer)
    return {"seconds": answer.seconds, **found}


def grpo(site: Site) -> dict[str, Any]:
    """GRPO; a worker is killed by SIGKILL after the first checkpoint, and the command continues."""
    asked = given(site)
    longer = {"trainer.total_training_steps": STEPS, "trainer.val_before_train": False,
              "trainer.test_freq": STEPS, "actor_rollout_ref.rollout.n": 4}  # fmt: skip
    asked |= {"ppo_algorithm": "grpo", "ppo_model": start(site)}
    asked["ppo_options"] = {**asked["ppo_options"], **longer}
    run = site.run("grpo")
    with site.started("ppo", run="grpo", **asked) as first:
        wait(
            (run / "ppo/checkpoints/global_step_2/data.pt").exists,
            site.patience(420),
            "the first checkpoint",
        )
        os.kill(worker(site), signal.SIGKILL)
        killed = time.monotonic()
        logs = run / "ppo" / "logs"
        wait(lambda: len([*logs.glob("ppo-*.log")]) > 1, site.patience(120), "another attempt")
        again = round(time.monotonic() - killed, 1)
        output, _ = first.communicate(timeout=site.patience(420))
    (site.out / "grpo.log").write_text(output, encoding="utf-8")
    ended = Answer(first.returncode, output, round(time.monotonic() - killed, 1))
    need(ended.code == 0, f"mnrun ppo: exit code {ended.code}", ended)
    newest = max(logs.glob("ppo-*.log"), key=lambda path: path.stat().st_mtime)
    steps = [row["step"] for row in figures.steps([newest]) if row["step"]]
    need(steps and min(steps) > 1, f"it began from scratch: {steps}", ended)
    return {"another_attempt_after": again, "resumed_at_step": int(min(steps)),
            "seconds_after_the_kill": ended.seconds, "ppo": figures.ppo(run)}  # fmt: skip


def big(site: Site) -> dict[str, Any]:
    """PPO of the model of Llama 3.2 1B's shape, a few steps, with the room that was expected."""
    make_big(site)
    asked = given(site)
    asked["ppo_options"] = {**asked["ppo_options"], **BIG["ppo_overrides"], **ROOMY}
    asked |= {name: BIG[name] for name in ("mnrun_train_files", "mnrun_test_files")}
    asked["environment_variables"] = {**asked.get("environment_variables", {}), **SOCKETS}
    samples = site.out / "vllm-big-gpus.csv"
    with machine.sampled(samples):
        answer = site.mnrun("ppo", "-vv", run="vllm-big", limit=site.patience(400),
                            ppo_model=BIG["mnrun_model"], **asked)  # fmt: skip
    need(answer.code == 0, f"mnrun ppo: exit code {answer.code}", answer)
    run = site.run("vllm-big")
    found = {"ppo": figures.ppo(run), "room": figures.room(answer.output, run, "ppo")}
    need(found["ppo"]["steps"] and found["room"], "no step, or no checkpoint", answer)
    return {"seconds": answer.seconds, **found, **machine.summary(samples)}


def start(site: Site) -> str:
    """The model that GRPO starts from: SFT's, converted; without that run the toy."""
    converted = site.run("vllm") / "sft" / "converted"
    if (converted / "config.json").exists():
        return f"~/{converted.relative_to(site.options.home)}"
    return "~/model/Llama-3.2-1B-Instruct"


def worker(site: Site) -> int:
    """A process of the trainer in Ray that holds a GPU's share of the model."""
    for pid in site.pids():
        try:
            text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if re.match(r"ray::(WorkerDict|\w*actor_rollout)", text):
            return pid
    raise TimeoutError("no worker of the trainer is there")


def answers(site: Site) -> dict[str, Any]:
    """VLLM alone, in a job of its own, answers with what PPO was converted to."""
    seen = f"$HOME/{(site.run('vllm') / CONVERTED).relative_to(site.options.home)}"
    program = site.options.home / "answer.py"
    program.write_text((HERE / "answer.py").read_text(encoding="utf-8"), encoding="utf-8")
    exported = " ".join(f"{n}={shlex.quote(v)}" for n, v in {**variables(), **VARIABLES}.items())
    python = "$HOME/conda_env-verl-0.9-vllm/bin/python"
    command = f"srun -p gpu -N1 --gpus-per-node=1 env {exported} {python} $HOME/answer.py {seen}"
    said = site.shell(f"{command} 2>$HOME/answer.err", limit=200)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    need("13" in found["answer"], f"it does not know 8 + 5: {found}")
    return found
