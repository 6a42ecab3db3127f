"""What both sides of the Ray cluster need of the network: ports, addresses, the dashboard.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# No proxy of the environment is used between two processes of one node.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")

# Ray's state API answers with 100 entries by default, and with at most 10,000.
_MOST_NODES = 10000


class NoAnswerError(Exception):
    """The dashboard does not answer, or not as Ray's does. The message says what it did."""


def reserve_port(preferred: int = 0) -> socket.socket:
    """Hold a free TCP port until the socket is closed: the preferred one if it is free.

    The socket is bound but does not listen. Ray's servers, which set SO_REUSEADDR, can bind the
    port all the same; whoever looks for a free port, another cluster on this node for one, sees
    that it is taken. So there is no moment in which two clusters choose the same port.

    Raises:
        OSError: no port is free.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        _bind_first_free(holder, preferred)
        # Set after the bind: while it binds, this socket must not share with another holder.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        holder.close()
        raise
    return holder


def _bind_first_free(holder: socket.socket, preferred: int) -> None:
    try:
        holder.bind(("", preferred))
    except OSError:
        if preferred == 0:
            raise
        holder.bind(("", 0))


def node_names(nodelist: str) -> list[str]:
    """The single names of a node list of any form, in Slurm's order."""
    command = ["scontrol", "show", "hostnames", nodelist]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    return done.stdout.decode("ascii").split()


def address_towards(peer: str) -> str:
    """The IPv4 address of this node that packets to `peer` (host name or address) leave from.

    Raises:
        OSError: the name does not resolve, or there is no route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))  # UDP: nothing is sent
        return str(probe.getsockname()[0])


def address_of(node: str) -> str:
    """The IPv4 address of a node as Slurm knows it, or else as its name has it on this one.

    Names may be missing here, or lead back to this node's own loopback.

    Raises:
        OSError: no address of it is known. The message says what was tried.
    """
    if _ADDRESS.fullmatch(node):
        return node
    tried = []
    for name in dict.fromkeys([*_slurm_names(node), node]):
        try:
            found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            tried.append(f"{name}: {error.strerror or error}")
            continue
        addresses = [str(each[4][0]) for each in found]
        for address in addresses:
            if not address.startswith("127.") or node == "localhost":
                return address
        tried.append(f"{name}: {', '.join(addresses)}, which is this node's own loopback")
    raise OSError(
        f"no address of the node {node} is known on {socket.gethostname()} ({'; '.join(tried)}). "
        "Name the interface that the nodes reach each other by: NCCL_SOCKET_IFNAME, or for Ray "
        "ray_cluster_interface"
    )


def _slurm_names(node: str) -> list[str]:
    """NodeAddr and NodeHostName of a node; empty where users may not ask for that."""
    command = ["scontrol", "show", "node", "-o", node]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    text = done.stdout.decode("utf-8", "replace")
    return re.findall(r"\b(?:NodeAddr|NodeHostName)=([A-Za-z0-9][A-Za-z0-9._-]*)", text)


class Dashboard:
    """Reads from the Ray dashboard on this node's loopback, with the cluster's token."""

    def __init__(self, port: int, token_file: Path, timeout: float = 5.0) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._token_file = token_file
        self._timeout = timeout

    def nodes(self) -> list[dict[str, Any]]:
        """Ray's nodes: `node_name`, `state`, `resources_total` and more."""
        answer = self._get(f"/api/v0/nodes?limit={_MOST_NODES}")
        try:
            return list(answer["data"]["result"]["result"])
        except (KeyError, TypeError) as error:
            raise NoAnswerError(f"GET /api/v0/nodes: not a list of nodes: {answer}") from error

    def jobs(self) -> list[dict[str, Any]]:
        """Ray's jobs and drivers: `status`, `submission_id` and more."""
        answer = self._get("/api/jobs/")
        if not isinstance(answer, list):
            raise NoAnswerError(f"GET /api/jobs/: not a list of jobs: {answer}")
        return answer

    def is_open(self) -> bool:
        """Whether it answers also without the token, so to everybody on this node."""
        try:
            with _OPENER.open(f"{self._url}/api/jobs/", timeout=self._timeout):
                return True
        except (OSError, ValueError) as error:  # HTTPError is an OSError
            if getattr(error, "code", None) in {401, 403}:
                return False
            raise NoAnswerError(f"GET /api/jobs/: {error}") from error

    def ray_version(self) -> str:
        """The version of Ray that runs, like `2.60.0`."""
        answer = self._get("/api/version")
        return str(answer.get("ray_version", "")) if isinstance(answer, dict) else ""

    def _get(self, path: str) -> Any:
        try:
            token = self._token_file.read_text("ascii").strip()
            request = urllib.request.Request(  # noqa: S310  always http, to our own loopback
                self._url + path, headers={"Authorization": f"Bearer {token}"}
            )
            with _OPENER.open(request, timeout=self._timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise NoAnswerError(f"GET {path}: HTTP {error.code} {_body(error)}") from error
        except (OSError, ValueError) as error:
            raise NoAnswerError(f"GET {path}: {error}") from error


def _body(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(2000).decode("utf-8", "replace").strip()
    except OSError:
        return ""
