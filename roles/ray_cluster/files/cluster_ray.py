"""`ray start`, sooner: without what nothing here needs, and without its fixed pauses.

Before some steps of Ray's, in its own process, come steps of ours which let Ray go on at once. They
rely on names inside Ray. Where a Ray has others, its own steps do all the work, only later.
Standard library only beside Ray, Python 3.8 or later.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

# Commands of `ray` other than `start`. Ray itself does without those that cannot be imported, and
# these take more than half of the time of its imports.
_OTHER_COMMANDS = (
    "ray.dashboard.modules.job.cli",
    "ray.serve.scripts",
    "ray.util.state.state_cli",
)
_PAUSE = 0.05  # seconds between two looks
_PATIENCE = 60.0  # seconds of such looks; then come Ray's own


def hook(params: Any, head: bool) -> None:
    """Called by `ray start` before it starts anything: `params` is all that it was asked to do."""
    os.environ.pop("RAY_START_HOOK")  # for this one start only, not for what runs below it
    # One process and two listeners more; `ray start` has no option against it.
    params.ray_client_server_port = None
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private import node

        if head:
            _before(node.Node, "start_api_server", announce_dashboard)
        else:
            _before(node.Node, "_init_gcs_client", await_gcs)
            _before(node, "get_all_node_info_until_retrieved", await_head)


def _before(owner: Any, name: str, part: Callable[..., None]) -> None:
    """Have `part` called before the function `name` of `owner`, with the same arguments.

    Raises:
        AttributeError: there is no such function.
    """
    function = getattr(owner, name)

    def both(*args: Any, **options: Any) -> Any:
        with contextlib.suppress(Exception):  # whatever is wrong, Ray's own step will say so
            part(*args, **options)
        return function(*args, **options)

    setattr(owner, name, both)


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
    """Wait until the GCS knows the head's raylet. Ray looks each two seconds."""
    _poll(lambda: gcs_client.get_all_node_info(timeout=5, node_selectors=node_selectors))


def _poll(is_there: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_there() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(_OTHER_COMMANDS))  # type: ignore[arg-type]
    from ray.scripts.scripts import main

    os.environ["RAY_START_HOOK"] = "cluster_ray.hook"
    main()
