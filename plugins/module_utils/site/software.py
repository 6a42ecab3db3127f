"""Modules, conda, and the Python environments that hold a trainer. No environment is started."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from ..base.process import Runner

_LIMIT = 10.0  # seconds for a shell
_MOST = 400  # folders and modules that are looked at or returned
_MOST_RECORDS = 5000
_INITS = (
    "/etc/profile.d/modules.sh",
    "/etc/profile.d/lmod.sh",
    "/etc/profile.d/z00_lmod.sh",
    "{LMOD_PKG}/init/bash",
    "{MODULESHOME}/init/bash",
    "/usr/share/lmod/lmod/init/bash",
    "/usr/share/modules/init/bash",
    "/usr/share/Modules/init/bash",
)
_DEFINED = (
    '. "$1" > /dev/null 2>&1; declare -F module > /dev/null || exit 1;'
    ' printf "mnrun-kind %s\\n" "${LMOD_VERSION:+Lmod $LMOD_VERSION}"; module -t avail 2>&1'
)
_SHOWN = '. "$1" > /dev/null 2>&1; shift; for name; do module show "$name" 2>&1; done'
_CONDAS = ("miniconda3", "miniforge3", "mambaforge", "anaconda3", "miniconda", "miniforge",
           "anaconda", "conda")  # fmt: skip
_ENVIRONMENTS = (
    "*/bin/python", ".venv/bin/python", "*/.venv/bin/python", "envs/*/bin/python",
    "venvs/*/bin/python", "*/envs/*/bin/python", ".conda/envs/*/bin/python",
    ".virtualenvs/*/bin/python", ".local/share/mamba/envs/*/bin/python",
    ".mamba/envs/*/bin/python",
)  # fmt: skip
_OF_CONDA = re.compile(r"conda|forge|mamba", re.IGNORECASE)


class Modules(NamedTuple):
    """The file that defines the command `module` (empty: there is none), what it is, and what can
    be loaded."""

    init: str = ""
    kind: str = ""
    names: tuple[str, ...] = ()


def modules(environment: Mapping[str, str], run: Runner) -> Modules:
    """The module system of this host, as a shell without start-up files gets it."""
    found = Modules()
    for path in _init_files(environment):
        answer = run(["bash", "--noprofile", "--norc", "-c", _DEFINED, "bash", path], _LIMIT, "")
        kind = re.search(r"^mnrun-kind (.*)$", answer.out, re.MULTILINE)
        if kind:
            names = tuple(_names(answer.out[kind.end() :]))
            found = found if found.init else Modules(path, kind[1].strip(), names)
            if names:
                return Modules(path, kind[1].strip(), names)
    return found


def _init_files(environment: Mapping[str, str]) -> Iterator[str]:
    values = {name: environment.get(name, "") for name in ("LMOD_PKG", "MODULESHOME")}
    for pattern in _INITS:
        path = pattern.format(**values)
        if not path.startswith("/init") and Path(path).is_file():
            yield path


def _names(listed: str) -> Iterator[str]:
    """The names of a terse list: no headings, folders, marks such as <L> or (default)."""
    for line in listed.splitlines()[:5000]:
        name = re.split("[<(]", line, maxsplit=1)[0].strip()
        if name and not re.search(r"[\s{}]|[:/]$", name):
            yield name


def condas(
    environment: Mapping[str, str], roots: list[Path], found: Modules, run: Runner
) -> list[dict[str, str]]:
    """The installations of conda: `hook`, its conda.sh, and `where` it was found."""
    places: dict[str, str] = {}
    program = Path(environment.get("CONDA_EXE", ""))
    if program.is_absolute():
        places[str(program.parent.parent)] = "the login shell"
    for folder in environment.get("PATH", "").split(":"):
        if Path(folder).name == "condabin":
            places.setdefault(str(Path(folder).parent), "PATH")
    for root in (*roots, Path("/opt")):
        for name in _CONDAS:
            places.setdefault(str(root / name), str(root))
    for module in [name for name in found.names if _OF_CONDA.search(name)][-6:]:
        for place in _places_of(module, found.init, run):
            places.setdefault(place, f"module {module}")
    hooks = {str(Path(place, "etc/profile.d/conda.sh")): where for place, where in places.items()}
    return [{"hook": hook, "where": where} for hook, where in hooks.items() if _is_file(hook)]


def _places_of(module: str, init: str, run: Runner) -> list[str]:
    command = ["bash", "--noprofile", "--norc", "-c", _SHOWN, "bash", init, module]
    text = run(command, _LIMIT, "").out
    folders = re.findall(r"/[\w./+-]+", text)
    ends = [re.sub(r"/(?:bin|condabin)/?$", "", folder) for folder in folders]
    return list(dict.fromkeys(end for end, folder in zip(ends, folders) if end != folder))


def environments(roots: list[Path], hooks: list[str], packages: list[str]) -> list[dict[str, Any]]:
    """The environments that hold one of `packages`, by the records of what is installed."""
    found: dict[str, dict[str, Any]] = {}
    for prefix in _prefixes(roots, hooks):
        there = _installed(prefix, packages)
        if there:
            real = os.path.realpath(prefix)
            known = found.get(real)
            if known is None or len(str(prefix)) < len(known["prefix"]):
                found[real] = {
                    "prefix": str(prefix),
                    "conda": Path(prefix, "conda-meta").is_dir(),
                    "packages": there,
                }
    return list(found.values())


def _prefixes(roots: list[Path], hooks: list[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for root in roots:
        for pattern in _ENVIRONMENTS:
            for python in _some(root, pattern):
                found.setdefault(python.parents[1])
    for hook in hooks:
        conda = Path(hook).parents[2]
        for python in _some(conda, "envs/*/bin/python"):
            found.setdefault(python.parents[1])
    for root in roots[:1]:  # home
        for line in _lines(root / ".conda" / "environments.txt"):
            if Path(line, "bin", "python").exists():
                found.setdefault(Path(line))
    return list(found)[:_MOST]


def _some(root: Path, pattern: str, most: int = _MOST) -> list[Path]:
    try:
        return list(islice(root.glob(pattern), most))
    except OSError:  # a folder of somebody else
        return []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").split("\n")[:_MOST]
    except OSError:
        return []


def _installed(prefix: Path, packages: list[str]) -> dict[str, str]:
    """The versions of `packages` in an environment, by their names as given."""
    wanted = {re.sub(r"[-_.]+", "_", name).lower(): name for name in packages}
    found: dict[str, str] = {}
    for record in _some(prefix, "lib*/python3*/site-packages/*.dist-info", _MOST_RECORDS):
        match = re.fullmatch(r"(.+?)-([0-9][^-]*)\.dist-info", record.name)
        package = wanted.get(re.sub(r"[-_.]+", "_", match[1]).lower()) if match else None
        if match and package:
            found[package] = match[2]
    return found


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False
