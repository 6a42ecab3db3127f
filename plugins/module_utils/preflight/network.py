"""Interfaces and adapters that a site names for NCCL and gloo, against those of a compute node."""

from __future__ import annotations

from typing import Mapping, NamedTuple


class Kind(NamedTuple):
    """What a variable names: entries of a folder of /sys/class, whole or by their start."""

    folder: str
    words: str
    starts: bool


NAMED = {
    "NCCL_SOCKET_IFNAME": Kind("net", "interface", starts=True),
    "GLOO_SOCKET_IFNAME": Kind("net", "interface", starts=False),
    "NCCL_IB_HCA": Kind("infiniband", "InfiniBand adapter", starts=True),
}


def network_faults(named: Mapping[str, object], found: str) -> list[str]:
    """Variables none of whose names a node has, and an image that it cannot run. `found` is what
    the probe wrote there: `node=NAME`, `net=NAMES`, `infiniband=NAMES`, and `image=WHY` if that
    does not run, one a line."""
    seen = dict(line.partition("=")[::2] for line in found.splitlines())
    image = seen.get("image", "").strip()
    faults = [f"the image does not run on {seen.get('node')}: {image}"] if image else []
    return faults + [
        f"environment_variables: {name} is {text}, but {seen.get('node')} has no such {kind.words};"
        f" it has: {seen[kind.folder].strip() or 'none'}"
        for name, kind in NAMED.items()
        if (text := str(named.get(name) or "").strip()) and kind.folder in seen
        if not _has(text, kind, seen[kind.folder].split())
    ]


def _has(text: str, kind: Kind, there: list[str]) -> bool:
    """In NCCL's forms: `^a,b` all but these, `=a,b` exactly these, `a,b` by their start, `a:1` a
    port."""
    if text.startswith("^"):
        return True
    exact = text.startswith("=") or not kind.starts
    names = [name.partition(":")[0].strip() for name in text.lstrip("=").split(",")]
    if exact:
        return any(name in there for name in names)
    return any(each.startswith(name) for name in names if name for each in there)
