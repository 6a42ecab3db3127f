"""A compute node, by what a script prints that runs there in a step of a short job."""

from __future__ import annotations

import re
from typing import Any

from ..slurm.client import SlurmClient
from .outside import HUB

_SCRIPT = r"""
say() { printf 'mnrun-node %s\n' "$*"; }
say "name=$(uname -n)"
say "cpus=$(nproc --all 2> /dev/null)"
say "address=$(timeout 3 getent hosts "$(uname -n)" 2> /dev/null | cut -d' ' -f1 | head -n 1)"
for one in /sys/class/net/*; do
  physical=no; [ -e "$one/device" ] && physical=yes
  state=$(cat "$one/operstate" 2> /dev/null) speed=$(cat "$one/speed" 2> /dev/null)
  say "net=${one##*/}|$state|$speed|$physical"
done
ip -o addr show 2> /dev/null |
  while read -r _ name _ address _; do say "ip=$name|${address%%/*}"; done
route=$(ip -o route show default 2> /dev/null)
say "route=$(sed -n 's/.* dev \([^ ]*\).*/\1/p' <<< "$route" | head -n 1)"
for port in /sys/class/infiniband/*/ports/*; do
  [ -e "$port" ] || continue
  adapter=${port%/ports/*}
  about="$(cat "$port/state")|$(cat "$port/link_layer")|$(cat "$port/rate")"
  say "ib=${adapter##*/}|${port##*/}|$about"
done
columns=name,memory.total,driver_version
timeout 10 nvidia-smi --query-gpu=$columns --format=csv,noheader 2> /dev/null |
  while read -r line; do say "gpu=$line"; done
for path in "$@"; do
  (
    # SIGKILL is all that a file system without a server obeys.
    answer=$(LC_ALL=C timeout -k 1 5 stat -L -c %i "$path" 2>&1)
    case "$? $answer" in
      "0 "*) same=yes ;;
      "1 "*": No such file or directory" | "1 "*": Not a directory") same=no ;;
      *) same=unknown ;;
    esac
    say "same=$same|${path%/*}"
  ) &
done
wait
to=${https_proxy:-${HTTPS_PROXY:-}}; to=${to#*://}; to=${to%%/*}; to=${to##*@}
host=HUB port=443; [ -z "$to" ] || { host=${to%%:*}; port=${to##*:}; }
hub=no
timeout 4 bash -c 'exec 3<> "/dev/tcp/$0/$1"' "$host" "$port" 2> /dev/null && hub=yes
say "hub=$hub"
say end=yes
""".replace("HUB", HUB)
_ANSWERS = {"yes": True, "no": False}


def look(client: SlurmClient, job_id: str, canaries: list[str]) -> dict[str, Any]:
    """What a compute node shows, in a step of the running job `job_id`. Raises Unknown or Denied.

    `canaries`: paths of files of the login node to look for.
    """
    step = ["srun", f"--jobid={job_id}", "--overlap", "--nodes=1", "--ntasks=1"]
    return seen(client.ask([*step, "bash", "-c", _SCRIPT, "bash", *canaries]))


def seen(text: str) -> dict[str, Any]:
    """What the script printed, by kind; whatever else was printed around it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.search(r"mnrun-node (\w+)=(.*)$", line)
        if match:
            found.setdefault(match[1], []).append(match[2].strip())

    def one(name: str) -> str:
        return found.get(name, [""])[0]

    addresses = [tuple(line.split("|")) for line in found.get("ip", []) if line.count("|") == 1]
    return {
        "name": one("name"),
        "whole": "end" in found,
        "cpus": int(one("cpus")) if one("cpus").isdecimal() else None,
        "interfaces": [
            _interface(line.split("|"), addresses, one("address"))
            for line in found.get("net", [])
            if line.count("|") == 3
        ],
        "route": one("route"),
        "adapters": [
            _adapter(line.split("|")) for line in found.get("ib", []) if line.count("|") == 4
        ],
        "gpus": found.get("gpu", []),
        "same": {
            folder: _ANSWERS.get(answer)
            for answer, _, folder in (line.partition("|") for line in found.get("same", []))
        },
        "hub": _ANSWERS.get(one("hub")),
    }


def _interface(cells: list[str], addresses: list[tuple[str, ...]], own: str) -> dict[str, Any]:
    name, state, speed, physical = cells
    mine = [address for interface, address in addresses if interface.partition("@")[0] == name]
    return {
        "name": name,
        "up": state in ("up", "unknown"),
        "speed": int(speed) if speed.isdecimal() else None,
        "physical": physical == "yes",
        "addresses": mine,
        "of_the_name": own in mine if own else False,
    }


def _adapter(cells: list[str]) -> dict[str, Any]:
    name, port, state, layer, rate = cells
    return {"name": name, "port": port, "active": "ACTIVE" in state, "layer": layer, "rate": rate}
