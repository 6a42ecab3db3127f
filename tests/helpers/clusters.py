"""What mnrun init's modules return of several clusters, in their own form."""

from __future__ import annotations

from typing import Any

from ansible_collections.mnrun.train.plugins.plugin_utils import profiles

from mnrun.init.choice import Choice
from mnrun.init.decide import Seen, decide

NEEDS: dict[str, dict[str, Any]] = {
    "verl-0.5": {"package": "verl", "version": ">=0.5,<0.6"},
    "verl-0.9": {"package": "verl", "version": ">=0.9,<0.10"},
    "trl": {"package": "trl", "version": ">=1.0,<2"},
    "trl-grpo": {"package": "trl", "version": ">=1.0,<2"},
    "torchrun": {},
}
DAY = 86400
VERL = {"verl": "0.5.0", "torch": "2.6.0", "ray": "2.49.0", "vllm": "0.8.5"}


def fitting(packages: Any) -> list[str]:
    """As plugin_utils/profiles.py does it, with few profiles."""
    found: list[str] = profiles.fitting(NEEDS, packages)
    return found


def kind(nodes: int, gpus: int, types: str = "", up: int | None = None, **more: int) -> Any:
    """Nodes that are alike."""
    named = {types: gpus} if types else {}
    own = {"cpus": 64, "memory": 1_000_000, **more}
    return {"nodes": nodes, "up": nodes if up is None else up, "gpus": gpus, "types": named, **own}


def partition(name: str, *kinds: Any, **more: Any) -> Any:
    """One partition."""
    own = {"default": False, "state": "UP", "max_time": 7 * DAY, "default_time": 3600}
    return {"name": name, **own, "max_nodes": None, **more, "kinds": list(kinds)}


def accepted(*tried: tuple[str, str, str]) -> list[dict[str, str]]:
    """What Slurm answered, for partition and account."""
    return [dict(zip(("partition", "account", "why"), one, strict=True)) for one in tried]


def slurm(*partitions: Any, **more: Any) -> dict[str, Any]:
    """Slurm's own facts."""
    own = {"version": "24.11.5", "cluster": "osk", "accounting": True, "enforced": ["none"]}
    yes = accepted(*((one["name"], "", "") for one in partitions if one["kinds"][0]["gpus"]))
    rest = {"accounts": [], "accepted": yes, "unknown": [], "lost": False}
    return {**own, **rest, "partitions": list(partitions), **more}


def folder(path: str, why: str = "home", free: int = 10_000, **more: Any) -> dict[str, Any]:
    """A folder; `free` in GiB."""
    own = {"kind": "nfs4", "shared": True, "quota": None}
    return {"path": path, "why": why, **own, "free": free * 1024**3, **more}


def site(**more: Any) -> dict[str, Any]:
    """A cluster as the login node shows it: osk's kind."""
    own: dict[str, Any] = {
        "host": "login1", "user": "me", "home": "/home/me", "shell": "/bin/bash",
        "python": "/usr/bin/python3",
        "slurm": slurm(partition("team", kind(12, 8, "h100"), default=True)),
        "modules": {"init": "/etc/profile.d/modules.sh", "kind": "",
                    "names": ["nccl/2.22.3", "hpcx/2.18.1-gcc-cuda12/hpcx-mt", "gcc/13"]},
        "conda": [{"hook": "/opt/conda/etc/profile.d/conda.sh", "where": "/opt"}],
        "environments": [{"prefix": "/home/me/conda_env", "conda": True, "packages": VERL}],
        "folders": [folder("/home/me")],
        "models": ["/home/me/model/Llama"],
        "tables": [{"train": "/home/me/data/train.parquet", "test": "/home/me/data/test.parquet"}],
        "hub": True, "wandb_key": "",
    }  # fmt: skip
    return {**own, **more}


def decided(facts: Any, looked: Any = None, **answers: str) -> dict[str, Choice]:
    """The choices for a cluster."""
    return decide(Seen(facts, looked), fitting, "verl-0.5", answers)
