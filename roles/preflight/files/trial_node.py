"""One node of `mnrun doctor --deep`: what it sees, as a line of JSON.

srun runs it on each node, as text and not as a file, as a node may not have the shared folder. The
argument is a plan (JSON): `folder` and `token` (what its file `canary` holds), `packages`, `ports`,
`nodes`, `address` of the first node.
Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SECONDS = 20.0  # for the nodes to find each other
_IMPORTS = 60.0  # for the environment's Python to start from a slow file system
_VERSIONS = """
import importlib.metadata as metadata, json, sys
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def canary(folder: Path, token: str, node: str) -> str:
    """What is wrong with the shared folder as this node sees it; empty if nothing is."""
    try:
        if (folder / "canary").read_text("ascii") != token:
            return "has another file in its place"
        (folder / f"seen-{node}").write_text(token, "ascii")
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "is not there" if missing else str(error.strerror)
    return ""


def versions(packages: list[str]) -> Any:
    """The packages of the training environment by this node, or why it cannot say."""
    try:
        done = subprocess.run(
            ["python", "-c", _VERSIONS, *packages],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_IMPORTS,
            check=True,
        )
        return json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"python ended with exit code {error.returncode}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return str(error)


@contextlib.contextmanager
def listening(ports: list[int]) -> Iterator[tuple[list[socket.socket], list[int]]]:
    """Sockets that listen at those of the ports that are free, and the ports that are not."""
    with contextlib.ExitStack() as stack:
        held, taken = [], []
        for port in ports:
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("", port))
                one.listen(64)
                held.append(one)
            except OSError:
                taken.append(port)
        yield held, taken


def serve(ports: list[int], others: int) -> list[int]:
    """Let the other nodes reach the ports. Returns those that are taken."""
    with listening(ports) as (held, taken):
        deadline = time.monotonic() + _SECONDS
        missing = dict.fromkeys(held, others)
        while any(missing.values()) and time.monotonic() < deadline:
            for one in held:
                one.settimeout(0.2)
                with contextlib.suppress(OSError):
                    if missing[one]:
                        one.accept()[0].close()
                        missing[one] -= 1
    return taken


def unreached(address: str, ports: list[int]) -> list[int]:
    """The ports of the first node that this one does not reach."""
    deadline = time.monotonic() + _SECONDS * 0.75
    return [port for port in ports if not _reached(address, port, deadline)]


def _reached(address: str, port: int, deadline: float) -> bool:
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 2.0):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)


def main() -> None:
    """Print what this node sees."""
    plan = json.loads(sys.argv[1])
    node, first = os.environ["SLURMD_NODENAME"], os.environ["SLURM_PROCID"] == "0"
    found = {"node": node, "now": time.time()}
    found["folder"] = canary(Path(plan["folder"]), plan["token"], node)
    found["taken"] = serve(plan["ports"], plan["nodes"] - 1) if first else []
    found["unreached"] = [] if first else unreached(plan["address"], plan["ports"])
    found["versions"] = versions(plan["packages"])
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
