"""The bill of materials: what mnrun stands on, as CycloneDX 1.6 in JSON.

Versions are those of the environment that builds the release, and was tested.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_TOP = "mnrun"


def materials(version: str, epoch: int) -> str:
    """Return the document for this version; the same for the same environment and `epoch`.

    Raises:
        importlib.metadata.PackageNotFoundError: a package that mnrun needs is not installed.
    """
    needs = _needs()
    parts = {name: _component(name) for name in sorted(needs) if name != _TOP}
    top = {**_component(_TOP), "type": "application", "version": version}
    top["purl"] = top["bom-ref"] = f"pkg:pypi/{_TOP}@{version}"
    refs = {_TOP: top["bom-ref"], **{name: part["bom-ref"] for name, part in parts.items()}}
    body = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": top,
        },
        "components": list(parts.values()),
        "dependencies": [
            {"ref": refs[name], "dependsOn": sorted(refs[other] for other in needs[name])}
            for name in sorted(needs)
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    form = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}", "version": 1,
    }  # fmt: skip
    return json.dumps({**form, **body}, indent=2) + "\n"


def _needs() -> dict[str, set[str]]:
    """Each package that mnrun needs, with those that it needs itself."""
    found: dict[str, set[str]] = {}
    waiting = [_TOP]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = set(_required(name))
            waiting += found[name]
    return found


def _required(name: str) -> Iterator[str]:
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _component(name: str) -> dict[str, Any]:
    about: Any = metadata.metadata(name)  # of Message, which the type does not say
    version = metadata.version(name)
    purl = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version}
    expression = about.get("License-Expression")
    named = about.get("License") or ""
    if expression:
        found["licenses"] = [{"expression": expression}]
    elif named and "\n" not in named and len(named) < 80:
        found["licenses"] = [{"license": {"name": named}}]
    return {**found, "purl": purl}
