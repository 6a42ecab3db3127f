"""The larger model, of Llama 3.2 1B's shape, and what it is trained with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from .site import Site

HERE = Path(__file__).parent
BIG = yaml.safe_load((HERE / "big.yml").read_text(encoding="utf-8"))
# NCCL over sockets: several threads and connections for each pair of ranks.
SOCKETS = {"NCCL_SOCKET_NTHREADS": "4", "NCCL_NSOCKS_PERTHREAD": "4"}


def make_big(site: Site, name: str = "big", **shape: object) -> int:
    """Write the model, with its rows, once; its number of weights. Another one by its name, with
    what is different of its shape."""
    marker = site.options.home / "model" / name / "weights"
    if not marker.exists():
        home, uid = site.options.home, next(iter(site.options.homes))
        other = [name, json.dumps(shape)] if name != "big" else []
        command = [site.python, str(HERE / "make_big.py"), str(home), str(uid), *other]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
        marker.write_text(done.stdout.split()[-1], encoding="ascii")
    return int(marker.read_text(encoding="ascii"))
