"""`ray start` without Ray's client server, which nothing here needs.

It is one process and two listeners more, and `ray start` has no option against it.
"""

import os

from ray.scripts.scripts import main


def without_client_server(params: object, _head: bool) -> None:
    """Ray's hook before it starts anything: `params` is all that it was asked to do."""
    os.environ.pop("RAY_START_HOOK")  # for this one start only, not for what runs below it
    params.ray_client_server_port = None  # type: ignore[attr-defined]


if __name__ == "__main__":
    os.environ["RAY_START_HOOK"] = "cluster_ray.without_client_server"
    main()
