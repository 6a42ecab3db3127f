"""Hosts by their names."""

from __future__ import annotations

import ipaddress
import socket


def host_name(place: str) -> str:
    """The short name of the host with this address, if the resolver knows it; else `place`."""
    try:
        ipaddress.ip_address(place)
        return socket.gethostbyaddr(place)[0].partition(".")[0] or place
    except (ValueError, OSError):
        return place
