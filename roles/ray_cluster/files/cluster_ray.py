"""`ray start`, faster: without the parts that are not needed here, and without its fixed pauses.

Before some of Ray's own steps, in the same process, come steps of ours that let Ray continue. They
rely on names inside Ray; a Ray without them does all of the work itself, but more slowly. A line in
the node's log reports how many of these shortcuts were taken, and which were not.
Standard library only beside Ray, Python 3.8 or later.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from cluster_net import reserve_port

# Commands of `ray` other than `start`. Ray itself does without those that cannot be imported, and
# these take more than half of the time of its imports.
_OTHER_COMMANDS = (
    "ray.dashboard.modules.job.cli",
    "ray.serve.scripts",
    "ray.util.state.state_cli",
)
# Ports of a node's agents: Ray's constant with the name of its file, and Ray's own option.
_AGENT_PORTS = {
    "METRICS_AGENT_PORT_NAME": "metrics_agent_port",
    "METRICS_EXPORT_PORT_NAME": "metrics_export_port",
    "DASHBOARD_AGENT_LISTEN_PORT_NAME": "dashboard_agent_listen_port",
    "RUNTIME_ENV_AGENT_PORT_NAME": "runtime_env_agent_port",
}
_HELD: list[socket.socket] = []  # as long as `ray start` lives
_PAUSE = 0.05  # seconds between two looks
# Seconds of such looks; then come Ray's own.
_PATIENCE = float(os.environ.get("RAY_raylet_start_wait_time_s", "60"))  # noqa: SIM112 - Ray's name


class LeftOut(ModuleType):
    """Stands in for a module that Ray does without: nothing can be imported from it."""

    wanted = False  # whether somebody tried

    def __getattr__(self, name: str) -> Any:
        self.wanted = self.wanted or not name.startswith("__")
        raise AttributeError(name)


def hook(params: Any, head: bool) -> None:
    """Called by `ray start` before it starts anything: `params` is all that it was asked to do."""
    os.environ.pop("RAY_START_HOOK")  # for this one start only, not for what runs below it
    # No shortcuts: a raylet gives up after 15 s, and Ray itself after 30 s.
    _before("agents announced", "Node.start_raylet", announce_agents)
    _after("Node.start_ray_processes", await_raylet)
    shortcuts = {
        **{f"no import of {name}": _is_left_out(name) for name in _OTHER_COMMANDS},
        "no client server": hasattr(params, "ray_client_server_port"),
        **(_sooner_on_the_head() if head else _sooner_on_a_worker()),
    }
    _hold_ports(params)
    # It would be a process with two more listeners; `ray start` has no option to leave it out.
    params.ray_client_server_port = None
    missed = [name for name, taken in shortcuts.items() if not taken]
    rest = f"; not: {', '.join(missed)}. Ray starts without them, but more slowly" if missed else ""
    _say(f"{len(shortcuts) - len(missed)} of {len(shortcuts)} shortcuts taken{rest}")


def _hold_ports(params: Any) -> None:
    """Choose the ports of this node's agents, so that they can be announced."""
    for name in _AGENT_PORTS.values():
        if name == "metrics_export_port" and not _serves_metrics():
            continue
        if hasattr(params, name) and not getattr(params, name):
            _HELD.append(reserve_port())
            setattr(params, name, _HELD[-1].getsockname()[1])


def _serves_metrics() -> bool:
    return os.environ.get("RAY_enable_metrics_collection") != "0"  # noqa: SIM112 - Ray's name


def _is_left_out(name: str) -> bool:
    # Not by its class: this file is a program and, as the hook's home, a module beside that.
    return bool(getattr(sys.modules.get(name), "wanted", False))


def _sooner_on_the_head() -> dict[str, bool]:
    before = "raylet beside the dashboard"
    return {before: _before(before, "Node.start_api_server", announce_dashboard)}


def _sooner_on_a_worker() -> dict[str, bool]:
    gcs, head = "no pause before the GCS", "no pause before the head"
    return {
        gcs: _before(gcs, "Node._init_gcs_client", await_gcs),
        head: _before(head, "get_all_node_info_until_retrieved", await_head),
    }


def _before(shortcut: str, name: str, part: Callable[..., None]) -> bool:
    """Have `part` called before a function of Ray's module `node`, with the same arguments.

    Returns:
        Whether there is such a function.
    """
    outer, _, inner = name.rpartition(".")
    try:
        from ray._private import node

        owner: Any = getattr(node, outer) if outer else node
        function = getattr(owner, inner)
    except (ImportError, AttributeError):
        return False

    def both(*args: Any, **options: Any) -> Any:
        try:
            part(*args, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, Ray's own step follows
            _say(f"shortcut failed: {shortcut} ({type(error).__name__}: {error})")
        return function(*args, **options)

    setattr(owner, inner, both)
    return True


def _after(name: str, part: Callable[[Any], None]) -> None:
    """Have `part` called with an object of Ray's module `node` after a method of it, if that is
    there."""
    outer, _, inner = name.rpartition(".")
    try:
        from ray._private import node

        owner = getattr(node, outer)
        function = getattr(owner, inner)
    except (ImportError, AttributeError):
        return

    def both(self: Any, *args: Any, **options: Any) -> Any:
        done = function(self, *args, **options)
        try:
            part(self)
        except Exception as error:  # noqa: BLE001 - whatever it is, Ray's own wait follows
            _say(f"its raylet is not waited for ({type(error).__name__}: {error})")
        return done

    setattr(owner, inner, both)


def await_raylet(node: Any) -> None:
    """Wait until the GCS knows this node's raylet, for as long as that lives."""
    started = node.all_processes["raylet"][0].process
    client, own = node.get_gcs_client(), node._node_id

    def settled() -> bool:
        if started.poll() is not None:
            sys.exit(f"The raylet ended by itself, exit code {started.returncode}.")
        return any(each.hex() == own for each in client.get_all_node_info(timeout=5))

    _poll(settled)


def _say(text: str) -> None:
    """One line for the node's log."""
    print(f"mnrun: ray start: {text}", flush=True)


def announce_dashboard(node: Any, **_options: Any) -> None:
    """Let the raylet start beside the dashboard, not after it.

    Ray waits until the dashboard, which takes seconds, has put its address into the GCS. The
    address is known, so put it there now. That the dashboard answers is what cluster.py waits for.
    """
    from ray._private import ray_constants

    params = node._ray_params
    node.get_gcs_client().internal_kv_put(
        ray_constants.DASHBOARD_ADDRESS.encode(),
        f"{params.dashboard_host}:{params.dashboard_port}".encode(),
        True,  # overwrite
        ray_constants.KV_NAMESPACE_DASHBOARD,
    )


def announce_agents(node: Any, *_args: Any, **_options: Any) -> None:
    """Write down the ports of this node's agents, which do that when they have started.

    The raylet waits 15 s for these files, whatever its limits are, and then ends; an agent that has
    started writes the same again. That agents answer the raylet finds out for itself.
    """
    from ray import _raylet

    for constant, name in _AGENT_PORTS.items():
        port = getattr(node._ray_params, name) or -1  # for: not in use
        file = getattr(_raylet, constant)
        _raylet.persist_port(node._session_dir, node._node_id, file, port)


def await_gcs(node: Any) -> None:
    """Wait until something listens at the GCS's address. Ray looks once a second."""
    host, _, port = node.gcs_address.rpartition(":")

    def listens() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True

    _poll(listens)


def await_head(gcs_client: Any, node_selectors: Any = None, **_options: Any) -> None:
    """Wait until the GCS knows the head's raylet. Ray looks every two seconds."""
    _poll(lambda: gcs_client.get_all_node_info(timeout=5, node_selectors=node_selectors))


def _poll(is_there: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_there() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.modules.update({name: LeftOut(name) for name in _OTHER_COMMANDS})
    from ray.scripts.scripts import main

    os.environ["RAY_START_HOOK"] = "cluster_ray.hook"
    main()
