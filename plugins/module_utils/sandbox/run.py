"""From a module's parameters to its result: find, plan, and, but for check mode, apply."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping

from ..base.clock import Clock
from ..base.lock import stage_lock
from ..sandbox import cluster, fabric, files, jobs, teardown, versions
from .errors import SandboxError
from .layout import CONTROLLER, LOGIN, Options, checked

LOCK = 120.0  # seconds to wait for another process that starts or stops the sandbox
NO_FREEZER = (
    "This kernel has no freezer cgroup: Slurm follows a job's processes by their parents "
    "(proctrack/linuxproc), and what a job sends to the background may outlive it."
)


def apply(params: Mapping[str, Any], check_mode: bool, clock: Clock) -> dict[str, Any]:
    """Do what the module `sandbox` requests; return its result, with `warnings`.

    Raises SandboxError.
    """
    wanted = ("directory", "nodes", "gpus", "real", "accounting", "ssh_to_nodes", "slurm")
    options = checked(Options(**{name: params[name] for name in wanted if name in params}))
    need_root()
    if check_mode:
        return _change(options, params, check_mode, clock)
    Path(options.directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    with stage_lock(options.path("lock"), clock, LOCK):
        return _change(options, params, check_mode, clock)


def info(directory: str) -> dict[str, Any]:
    """What is running: the result of the module `sandbox_info`. Changes nothing."""
    options = checked(cluster.started_with(Options(directory)))
    need_root()
    found = cluster.find(options)
    result = _describe(options, found)
    names = [node.name for node in options.machines]
    return {
        "changed": False,
        "state": "down" if found.fabric is None else "damaged" if found.dead else "up",
        "machines": {name: "up" if name in found.nodes else "down" for name in names},
        "dead": [str(service) for service in found.dead],
        "options": options._asdict(),
        **result,
    }


def choose_slurm(params: Mapping[str, Any], check_mode: bool, clock: Clock) -> dict[str, Any]:
    """Choose and fetch the Slurm to be run: the result of the module `sandbox_slurm`.

    Raises SandboxError.
    """
    need_root()
    before = cluster.started_with(checked(Options(params["directory"])))
    running = before.slurm if fabric.find_fabric(before) else None
    there = versions.kept()
    choice = versions.choose(params["version"], running, check_mode, clock)
    after = sorted({*there, choice.version} - {""}) if choice.fetched else there
    return {
        "changed": choice.fetched,
        "version": choice.version,
        "warnings": [choice.warning] if choice.warning else [],
        "diff": {"before": "\n".join(there), "after": "\n".join(after)},
    }


def need_root() -> None:
    """Raise SandboxError when this process is not root's."""
    if os.geteuid():
        raise SandboxError(
            "The sandbox makes namespaces, mounts and devices, which needs root: run this as root, "
            "or install sudo and let this user use it (with a password: --ask-become-pass)."
        )


def _change(
    options: Options, params: Mapping[str, Any], check_mode: bool, clock: Clock
) -> dict[str, Any]:
    running = cluster.started_with(options)
    before = cluster.find(running)
    goes_down = params["state"] == "down" or params["wipe"]
    actions = _plan_down(options, params["wipe"]) if goes_down else []
    found = cluster.NOTHING if goes_down else before
    if params["state"] == "up":
        actions += cluster.plan(options, found, _request(options, params))
    if actions and not check_mode:
        if goes_down or not before.fabric:
            teardown.down(running, before, clock)
        _apply(options, params, clock)
    after = before if check_mode else cluster.find(options)
    result = _describe(options, after) if params["state"] == "up" else {"warnings": []}
    diff = {"before": _text(running, before), "after": _text(options, after)}
    return {"changed": bool(actions), "actions": actions, "diff": diff, **result}


def _plan_down(options: Options, wipe: bool) -> list[str]:
    if fabric.all_fabrics(options):
        actions = ["take the cluster down"]
    else:
        actions = [f"remove {path}" for path in teardown.leftovers(options)]
    return actions + [f"remove {path}" for path in teardown.wipeable(options) if wipe]


def _apply(options: Options, params: Mapping[str, Any], clock: Clock) -> None:
    if params["wipe"]:
        teardown.wipe(options)
    if params["state"] == "up":
        cluster.up(options, _request(options, params), clock)


def _request(options: Options, params: Mapping[str, Any]) -> cluster.Request:
    return cluster.Request(Path(params["files"]), files.owner(options), params["conda_env"] or "")


def _describe(options: Options, found: cluster.Found) -> dict[str, Any]:
    """The state of the cluster and how to reach it; empty warnings only if it is down."""
    if not found.fabric:
        return {"warnings": []}
    tracked = fabric.tracked(options, found.fabric)
    return {
        "nodes": found.states,
        "slurm": jobs.version(options, found.nodes.get(CONTROLLER, found.fabric)),
        "proctrack": "cgroup" if tracked else "linuxproc",
        "ssh": f"ssh -F {options.path('ssh_config')} {LOGIN}",
        "warnings": [] if tracked else [NO_FREEZER],
    }


def _text(options: Options, found: cluster.Found) -> str:
    """What is running, for the diff."""
    if not found.fabric:
        return "down\n"
    lines = [f"{node.name} {'up' if node.name in found.nodes else 'down'}\n"
             for node in options.machines]  # fmt: skip
    lines += [f"{service} down\n" for service in found.dead]
    return "".join(lines + [f"{name} drained\n" for name in found.drained])
