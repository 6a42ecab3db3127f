"""How nodes reach each other: variables of NCCL and gloo, and ssh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mnrun.init.choice import Choice, Facts, found, guess


def network(looked: Facts | None) -> list[Choice]:
    """Return the choices about networks.

    Args:
        looked: what site_node_info returned; None if no node was looked at.
    """
    node = (looked or {}).get("node")
    return [_variables(node, (looked or {}).get("why", "")), _connection(looked)]


def _variables(node: Facts | None, why: str) -> Choice:
    name = "environment_variables"
    if not node or not node["whole"]:
        how = f"no compute node was looked at{f' ({why})' if why else ''}, so NCCL chooses networks"
        return guess(name, {}, how)
    values: dict[str, Any] = {}
    reasons = [*_interface(node, values), *_adapters(node, values)]
    return found(name, values, f"on {node['host']}: {'; '.join(reasons)}")


def _interface(node: Facts, values: dict[str, Any]) -> Iterator[str]:
    """Name the interface where there is more than one that NCCL might take."""
    usable = [
        one
        for one in node["interfaces"]
        if one["up"] and one["addresses"] and not one["name"].startswith(("lo", "docker", "virbr"))
    ]
    listed = ", ".join(_named(one) for one in usable)
    yield f"interfaces with an address: {listed or 'none'}"
    by_name = [one["name"] for one in usable if one["of_the_name"]]
    own = by_name or [one["name"] for one in usable if one["name"] == node["route"]]
    if len(usable) > 1 and own:
        values["NCCL_SOCKET_IFNAME"] = values["GLOO_SOCKET_IFNAME"] = own[0]
        whose = "the node's name" if by_name else "the default route"
        yield f"{own[0]} is that of {whose}"


def _named(interface: Facts) -> str:
    speed = interface["speed"]
    return f"{interface['name']} ({speed} Mbit/s)" if speed else str(interface["name"])


def _adapters(node: Facts, values: dict[str, Any]) -> Iterator[str]:
    """Name the InfiniBand adapters where some should not be used."""
    active = [one for one in node["adapters"] if one["active"]]
    if not active:
        yield "no active InfiniBand adapter"
        return
    fast = [one for one in active if one["layer"] == "InfiniBand"] or active
    names = list(dict.fromkeys(one["name"] for one in fast))
    everything = list(dict.fromkeys(one["name"] for one in node["adapters"]))
    yield f"adapters: {', '.join(names)} ({fast[0]['layer']}, {fast[0]['rate']})"
    if len(names) < len(everything):
        values["NCCL_IB_HCA"] = ",".join(names)
        rest = [name for name in everything if name not in names]
        yield f"not {', '.join(rest)}: down, or of another kind"
    if fast[0]["layer"] == "Ethernet":
        yield "these use RoCE: ask the administrator for NCCL_IB_GID_INDEX, often 3"


def _connection(looked: Facts | None) -> Choice:
    name = "ray_cluster_head_connection"
    said = (looked or {}).get("ssh")
    if said is None:
        how = "not tried; where ssh to compute nodes is closed, set srun"
        return guess(name, "ssh", how)
    if said:
        return found(name, "srun", f"ssh did not reach a node with your job on it ({said})")
    return found(name, "ssh", "ssh reached a node with your job on it")
