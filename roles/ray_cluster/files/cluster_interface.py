"""The network interface through which the nodes of the Ray cluster reach each other.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

from cluster_net import address_of, address_towards

_SIOCGIFADDR = 0x8915


class NoInterfaceError(OSError):
    """The interface that the user named does not exist, or has no IPv4 address."""


class Interface(NamedTuple):
    """An interface of this node. `name` may be empty: the address is a second one of it."""

    name: str
    address: str
    why: str  # what it was chosen by

    def __str__(self) -> str:
        return f"{self.address} on {self.name or 'an interface'}, by {self.why}"


def choose(wanted: str, hint: str, peer: str, there: Mapping[str, str] | None = None) -> Interface:
    """The interface that the user named; else the one that the site has NCCL use, if that is
    clear; else the one that packets to another node leave by.

    Args:
        wanted: ray_cluster_interface; empty for none.
        hint: NCCL_SOCKET_IFNAME. The site says there what its nodes reach each other by.
        peer: another node's name or address.
        there: this node's interfaces, name -> IPv4 address.

    Raises:
        NoInterfaceError: `wanted` is not there.
        OSError: no address of the peer is known, or there is no route.
    """
    there = interfaces() if there is None else there
    if wanted:
        if wanted not in there:
            known = ", ".join(f"{name} ({address})" for name, address in there.items())
            raise NoInterfaceError(
                f"there is no interface {wanted} with an IPv4 address (ray_cluster_interface); "
                f"there are: {known}"
            )
        return Interface(wanted, there[wanted], "ray_cluster_interface")
    hinted = _hinted(hint, there)
    if hinted:
        return Interface(hinted, there[hinted], "NCCL_SOCKET_IFNAME")
    address = address_towards(address_of(peer))
    name = next((name for name, found in there.items() if found == address), "")
    return Interface(name, address, f"the route to {peer}")


def _hinted(hint: str, there: Mapping[str, str]) -> str:
    """The one interface that NCCL_SOCKET_IFNAME leaves; empty if there is none, or several."""
    if not hint or hint.startswith("^"):
        return ""
    exact = hint.startswith("=")
    wanted = [word for word in hint.lstrip("=").split(",") if word]
    same = [name for name in there if name in wanted]
    alike = [name for name in there if any(name.startswith(word) for word in wanted)]
    found = same if exact or same else alike
    return found[0] if len(found) == 1 and not there[found[0]].startswith("127.") else ""


def interfaces() -> dict[str, str]:
    """This node's interfaces with an IPv4 address: name -> address."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # without an address
            found[name] = socket.inet_ntoa(answer[20:24])
    return found
