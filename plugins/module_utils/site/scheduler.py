"""Slurm as this user may use it: partitions, accounts, what its configuration enforces."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any, Iterator

from ..base.errors import MnrunError
from ..slurm.capacity import Partition, survey
from ..slurm.client import Denied, SlurmClient
from ..slurm.nodes import is_lost
from .bounded import bounded

_OUT = ("down", "drain", "fail", "maint", "unknown", "inval")
_MOST_TRIED = 24  # requests that Slurm is asked to judge
_TRYING = 15.0  # seconds for all of them
_ENFORCING = re.compile(r"^AccountingStorageEnforce\s*=\s*(.+)$", re.MULTILINE)
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?)\b")


def scheduler(client: SlurmClient, user: str) -> dict[str, Any]:
    """What Slurm says of itself. A part that it does not tell is None, with why in `unknown`."""
    unknown: list[str] = []
    partitions, lost = _partitions(client, unknown)
    config = _asked(client, ["scontrol", "show", "config"], [])
    enforced = _ENFORCING.search(config)
    keeps_none = client.keeps_no_accounts()
    accounts = [] if keeps_none else _accounts(client, user, unknown)
    version = _VERSION.search(_asked(client, ["sinfo", "--version"], unknown))
    return {
        "version": version.group(1) if version else None,
        "cluster": client.name() or None,
        "accounting": False if keeps_none else (None if accounts is None else True),
        "enforced": enforced.group(1).strip().lower().split(",") if enforced else None,
        "accounts": accounts,
        "partitions": partitions,
        "accepted": _accepted(client, partitions or [], accounts or []),
        "lost": lost,
        "unknown": unknown,
    }


def _asked(client: SlurmClient, command: list[str], unknown: list[str]) -> str:
    try:
        return client.ask(command)
    except MnrunError as error:
        unknown.append(error.message)
        return ""


def _partitions(
    client: SlurmClient, unknown: list[str]
) -> tuple[list[dict[str, Any]] | None, bool]:
    """The partitions, and whether Slurm itself gave no answer."""
    try:
        return [_partition(one) for one in survey(client).values()], False
    except MnrunError as error:
        unknown.append(f"partitions: {error.message}")
        return None, not isinstance(error, Denied)


def _partition(one: Partition) -> dict[str, Any]:
    return {
        "name": one.name,
        "default": one.default,
        "state": one.state,
        "max_time": _finite(one.max_time),
        "default_time": _finite(one.default_time),
        "max_nodes": _finite(one.max_nodes),
        "kinds": list(_kinds(one)),
    }


def _finite(number: float) -> int | None:
    """None for no limit: JSON has no infinity."""
    return None if number == math.inf else int(number)


def _kinds(partition: Partition) -> Iterator[dict[str, Any]]:
    """The nodes that are alike, the largest group first."""
    alike = Counter(
        (node.cpus, node.memory, tuple(sorted(node.gpus.items()))) for node in partition.nodes
    )
    for (cpus, memory, gpus), count in alike.most_common():
        group = (cpus, memory, gpus)
        states = [
            node.state.lower()
            for node in partition.nodes
            if (node.cpus, node.memory, tuple(sorted(node.gpus.items()))) == group
        ]
        up = sum(not (is_lost(state) or state.startswith(_OUT)) for state in states)
        names = dict(gpus)
        total = names.pop("", 0)
        yield {"nodes": count, "up": up, "cpus": cpus, "memory": memory, "gpus": total,
               "types": names}  # fmt: skip


def _accounts(client: SlurmClient, user: str, unknown: list[str]) -> list[dict[str, Any]] | None:
    """The accounts that this user may charge, the default one first."""
    fields = "format=Account,Partition,QOS,DefaultQOS"
    try:
        rows = client.ask(["sacctmgr", "-nP", "show", "assoc", "where", f"user={user}", fields])
        default = client.ask(["sacctmgr", "-nP", "show", "user", user, "format=DefaultAccount"])
    except MnrunError as error:
        unknown.append(f"accounts: {error.message}")
        return None
    own = default.strip().splitlines()[-1:] or [""]
    found = [
        _account(line.split("|"), own[0]) for line in rows.splitlines() if line.count("|") == 3
    ]
    return sorted(found, key=lambda one: not one["default"])


def _account(cells: list[str], default: str) -> dict[str, Any]:
    account, partition, qos, default_qos = cells
    return {
        "account": account,
        "partition": partition,
        "qos": [name for name in qos.split(",") if name],
        "default_qos": default_qos,
        "default": account == default,
    }


def _accepted(
    client: SlurmClient, partitions: list[dict[str, Any]], accounts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What Slurm itself answers to a request for one GPU of each partition that has any: without an
    account, and where that is refused with each of this user's. Nothing is submitted. Of a Slurm
    that is slow, the answers that came in time."""
    found: list[dict[str, Any]] = []
    bounded(lambda: _try_all(client, partitions, accounts, found), None, _TRYING)
    return list(found)


def _try_all(
    client: SlurmClient, partitions: list[dict[str, Any]], accounts: list[dict[str, Any]],
    found: list[dict[str, Any]],
) -> None:  # fmt: skip
    names = list(dict.fromkeys(one["account"] for one in accounts))
    for partition in (one["name"] for one in partitions if any(k["gpus"] for k in one["kinds"])):
        for account in ["", *names]:
            if len(found) >= _MOST_TRIED:
                return
            answer = _judged(client, partition, account)
            found.append({"partition": partition, "account": account, "why": answer})
            if not answer:
                break


def _judged(client: SlurmClient, partition: str, account: str) -> str | None:
    """Why Slurm refuses a request for one GPU; empty if it does not, None if that is not known."""
    charged = [f"--account={account}"] if account else []
    request = ["--test-only", f"--partition={partition}", "--nodes=1", "--gpus-per-node=1",
               "--time=1", "--wrap=true", *charged]  # fmt: skip
    try:
        client.ask(["sbatch", *request])
    except Denied as error:
        return error.message
    except MnrunError:
        return None
    return ""
