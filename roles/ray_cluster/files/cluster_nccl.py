"""NCCL between the nodes: what it would use there, what it used, and defaults that are fast.

Over sockets, NCCL opens one connection by one thread for each pair of ranks unless it is configured
otherwise; four by four make an SFT step about three times faster.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping, NamedTuple

from torch_gpus import are_expected

SOCKETS = {"NCCL_SOCKET_NTHREADS": "4", "NCCL_NSOCKS_PERTHREAD": "4"}
# For the network cards of these makers, NCCL has values of its own: Amazon, Google.
_TUNED = {"0x1d0f", "0x1ae0"}
_OFF = {"", "0"}

# A line of NCCL's log, and those that say what it sends by.
_INFO = re.compile(r"[^\s:]+:\d+:\d+ \[\d+\] NCCL INFO (.*)")
_NETWORK = re.compile(r"Using network (\S.*)")
_CHANNEL = re.compile(r"^Channel .{0,200}? via NET/([^/]+)/")
_DEVICES = re.compile(r"NET/(\w+) : Using ([^;]*)")
_DEVICE = re.compile(r"\[\d+\] ?([A-Za-z][^\s:]*):")


class Transport(NamedTuple):
    """What NCCL sends by between nodes."""

    network: str  # NCCL's own word: Socket, IB, or a plugin's
    kind: str  # sockets, InfiniBand, RoCE; of a plugin its name
    devices: list[str]  # network interfaces, or InfiniBand devices

    @property
    def words(self) -> str:
        """It as a user knows it."""
        return f"{self.kind} ({', '.join(self.devices)})" if self.devices else self.kind


def transport(log: str) -> Transport | None:
    """What NCCL chose, by its log at the level INFO; None if that does not say.

    A channel says what really carries it, the line about the network what NCCL meant to use.
    """
    lines = [found[1].strip() for found in map(_INFO.match, log.splitlines()) if found]
    carried, meant, there = (
        [found.groups() for found in map(form.match, lines) if found]
        for form in (_CHANNEL, _NETWORK, _DEVICES)
    )
    if not carried and not meant:
        return None
    network = (carried or meant)[-1][0]
    devices = next((row[1] for row in reversed(there) if row[0] == network), "")
    known = {"Socket": "sockets", "IB": "RoCE" if "/RoCE" in devices else "InfiniBand"}
    names = list(dict.fromkeys(_DEVICE.findall(devices)))
    return Transport(network, known.get(network, network), names)


def active_devices(root: Path = Path("/sys/class/infiniband")) -> dict[str, str]:
    """This node's InfiniBand and RoCE devices with an active port: name -> kind of their link."""
    found = {}
    for port in sorted(root.glob("*/ports/*")):
        if "ACTIVE" in _text(port / "state"):
            link = _text(port / "link_layer")
            found[port.parent.parent.name] = "RoCE" if link == "Ethernet" else "InfiniBand"
    return found


def configured(env: Mapping[str, str], etc: Path = Path("/etc/nccl.conf")) -> dict[str, str]:
    """All of NCCL's variables that the site or the user sets for this process, by the environment
    or by a file of NCCL's. The environment has priority, as for NCCL."""
    home = env.get("HOME", "")
    files = [etc]
    files += [Path(home) / ".nccl.conf"] if home else []
    files += [Path(env["NCCL_CONF_FILE"])] if env.get("NCCL_CONF_FILE") else []
    found = {}
    for file in files:
        lines = (line.partition("=") for line in _text(file).splitlines() if line[:1] != "#")
        found.update({name.strip(): value.strip() for name, sep, value in lines if sep})
    return {**found, **{name: env[name] for name in env if name.startswith("NCCL_")}}


def socket_settings(
    env: Mapping[str, str],
    interface: str,
    devices: Mapping[str, str] | None = None,
    etc: Path = Path("/etc/nccl.conf"),
) -> dict[str, str]:
    """The variables to set where NCCL sends by sockets and no one has set either of them; empty
    elsewhere.

    Args:
        env: the environment in which the ranks will start.
        interface: the network interface to the other nodes; empty if it is not known.
        devices: those of `active_devices`.
        etc: the site's file.
    """
    known = configured(env, etc)
    if any(name in known for name in SOCKETS) or not _by_sockets(known, devices):
        return {}
    vendor = _text(Path("/sys/class/net") / (interface or "-") / "device" / "vendor")
    return {} if vendor in _TUNED else dict(SOCKETS)


def of_job(env: Mapping[str, str], gpus: int, interface: str) -> dict[str, str]:
    """The same for a job on several nodes with `gpus` real ones each; empty for any other."""
    if not gpus or env.get("SLURM_NNODES", "1") == "1" or not are_expected():
        return {}
    return socket_settings(env, interface)


def said(settings: Mapping[str, str]) -> str:
    """What to say when these variables are set."""
    values = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"NCCL sends by sockets here, and no one configured how: mnrun sets {values}"


def _by_sockets(known: Mapping[str, str], devices: Mapping[str, str] | None) -> bool:
    """Whether NCCL has nothing else to send by."""
    if known.get("NCCL_NET"):
        return known["NCCL_NET"] == "Socket"
    active = active_devices() if devices is None else devices
    return not active or known.get("NCCL_IB_DISABLE", "") not in _OFF


def missed(found: Transport, devices: Mapping[str, str], env: Mapping[str, str]) -> str:
    """What to say of sockets on a node whose InfiniBand or RoCE devices are active; else empty."""
    if found.kind != "sockets" or not devices:
        return ""
    there = ", ".join(f"{name} ({link})" for name, link in devices.items())
    known = configured(env)
    if known.get("NCCL_NET") == "Socket":
        what = "NCCL_NET=Socket is set: unset it"
    elif known.get("NCCL_IB_DISABLE", "") not in _OFF:
        what = f"NCCL_IB_DISABLE={known['NCCL_IB_DISABLE']} is set: unset it"
    elif known.get("NCCL_IB_HCA"):
        what = f"NCCL_IB_HCA={known['NCCL_IB_HCA']} has to name one of them"
    else:
        what = (
            "name them in NCCL_IB_HCA (environment_variables), and look whether the environment "
            "has libibverbs.so.1 and the job may lock memory (ulimit -l)"
        )
    return f"NCCL uses {found.words}, although {there} is active, and is much slower so: {what}"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
