"""The head of a run's Ray cluster, as the cluster's Slurm job publishes it in its record.

The one reader of head.json: nothing in that file is used before its form was checked.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple

from ..base.errors import Invalid
from ..base.files import parse_json
from ..base.presence import read_text
from .inside import FORM

HEAD_FILE = "head.json"


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_port(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 65535


def _is_ipv4(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.IPv4Address(value))
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


_is_node = _matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_is_word = _matches(r"[A-Za-z0-9._+@:-]{0,252}")
_is_path = _matches(r"/[^\x00-\x1f\x7f]*")

_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "host": (_is_node, "the name of a node"),
    "ip": (_is_ipv4, "an IPv4 address"),
    "gcs_port": (_is_port, "a port (1 to 65535)"),
    "dashboard_port": (_is_port, "a port (1 to 65535)"),
    "job_id": (_matches(FORM), "the id of a Slurm job"),
    "token_file": (_is_path, "an absolute path"),
}


@dataclass(frozen=True)
class Head:
    """How a Ray cluster's head is reached. Made by `Head.of`, which checks each value."""

    host: str  # Slurm's name of its node
    ip: str  # where the other nodes reach it
    gcs_port: int  # of Ray's GCS, on `ip`
    dashboard_port: int  # of the dashboard and the job API, on the loopback of `host`
    job_id: str  # the Slurm job that the cluster lives in
    token_file: str  # absolute path of the file with the cluster's token

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Head:
        """A head from values of any origin; others than its own are left out.

        Raises:
            Invalid: a value is missing, or not of the form that it has to have.
        """
        for name, (fits, what) in _FORMS.items():
            if not fits(given.get(name)):
                raise Invalid(f"{name} of a Ray head must be {what}; it is {given.get(name)!r}.")
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    @property
    def gcs_address(self) -> str:
        """Where Ray's other nodes, and drivers on them, reach the GCS."""
        return f"{self.ip}:{self.gcs_port}"

    @property
    def dashboard_url(self) -> str:
        """The dashboard and the job API, as seen from the head's own node."""
        return f"http://127.0.0.1:{self.dashboard_port}"


HEAD_OPTIONS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "required": True},
    "ip": {"type": "str", "required": True},
    "gcs_port": {"type": "int", "required": True},
    "dashboard_port": {"type": "int", "required": True},
    "job_id": {"type": "str", "required": True},
    "token_file": {"type": "path", "required": True, "no_log": False},
}
"""A head as suboptions of a module's option `head`."""


def _is_rates(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), dict):
        return False
    nodes = value["nodes"]
    return (
        _is_number(value.get("all"))
        and all(map(_is_node, nodes))
        and all(map(_is_number, nodes.values()))
    )


_FACTS: dict[str, Callable[[Any], bool]] = {
    "nodes": lambda value: isinstance(value, list) and all(map(_is_node, value)),
    "gpus": lambda value: type(value) is int and value >= 0,
    "temp_dir": _is_path,
    "ray_version": _is_word,
    "interface": _is_word,
    "open": lambda value: isinstance(value, bool),
    "ready_seconds": _is_number,
    "allreduce": _is_rates,
}


class Published(NamedTuple):
    """All that a Ray cluster has published about itself."""

    head: Head
    cluster: dict[str, Any]  # what there is to show; see `ray_cluster_info`, which documents it


def read_head(folder: Path) -> Published | None:
    """What the Ray cluster with its record in `folder` published when all its nodes were up.

    None if there is nothing, or not all of it has the form that it has to have. The end of the
    cluster's job is not looked at.
    """
    found = parse_json(read_text(folder / HEAD_FILE) or "")
    if not isinstance(found, dict):
        return None
    # Clusters of an mnrun before this one, which called the ip `address`, live through its upgrade.
    written = {"ip": found.get("address"), **found}
    try:
        head = Head.of({**written, "token_file": _own_token(folder, written)})
    except Invalid:
        return None
    return Published(
        head, {name: written[name] for name, fits in _FACTS.items() if fits(written.get(name))}
    )


def _own_token(folder: Path, written: Mapping[str, Any]) -> str | None:
    """The path of the token's file, which is in `folder`; None if another one is named.

    The job may know the folder by another path: with links resolved, or as its node mounts it.
    """
    path = written.get("token_file")
    own = folder / f"token-{written.get('job_id')}"
    same = isinstance(path, str) and Path(path).parts[-2:] == own.parts[-2:]
    return str(own) if same else None
