"""Does the installed trainer fit its profile? And is there what is to be started?"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator, Mapping

from ..base.version import fits
from ..model.folder import nearest

_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


def fit_faults(trainer: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a profile from being used here. `trainer`: of the module's option `trainers`."""
    needs = trainer.get("needs") or {}
    package = needs.get("package", "")
    if package:
        fault = _version_fault(trainer, package, needs.get("version") or "")
        if fault:
            yield fault
            return
    program = trainer.get("program")
    if program is not None:
        yield from _program_faults(trainer["stage"], program)


def _version_fault(trainer: Mapping[str, Any], package: str, bounds: str) -> str:
    start = f"{trainer['stage']}: the trainer profile {trainer.get('profile')} needs {package}"
    try:
        there = metadata.version(package)
    except metadata.PackageNotFoundError:
        return (
            f"{start} {bounds}, and {sys.prefix} has none; install it, or set"
            " environment_conda_prefix or mnrun_trainer"
        )
    if fits(there, bounds):
        return ""
    others = [
        name
        for name, other in sorted((trainer.get("others") or {}).items())
        if other.get("package") == package and fits(there, other.get("version") or "")
    ]
    which = (
        f"mnrun_trainer: {' or '.join(others)}" if others else "another profile, or install that"
    )
    return f"{start} {bounds}, and {there} is installed; set {which}"


def _program_faults(stage: str, program: str) -> Iterator[str]:
    if not program:
        yield f"{stage}: nothing to start: set {stage}_trainer to a module, a script or a program"
    elif "/" in program or program.endswith(".py"):
        path = Path(program)
        if not path.is_absolute():
            yield f"{stage}: {stage}_trainer is {program}: write the whole path"
        elif not path.is_file():
            yield f"{stage}: {stage}_trainer: there is no file {path}; {nearest(path)}"
    elif "." in program and _MODULE.fullmatch(program):
        package = program.partition(".")[0]
        if find_spec(package) is None:
            yield f"{stage}: {sys.prefix} has no package {package}, which {program} belongs to"
