"""A Slurm in a folder of its own, which leaves this machine's as it is.

Its programs bring their C library along and find all their libraries by absolute paths. What a
job starts is not concerned by that: those are this machine's programs.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Iterable, Sequence

from .errors import SandboxError
from .process import run

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurmdbd", "slurm-wlm-mysql-plugin")
PATCHELF = "patchelf"  # from the same suite: it need not be installed here
PROGRAMS, LIBRARIES, PLUGINS = "programs", "lib", "slurm-wlm"
PROVED = ("slurmctld-wlm", "slurmd-wlm")
ELF = b"\x7fELF"


def unpack(packages: Sequence[Path], target: Path, final: Path) -> None:
    """Unpack `packages` into the new folder `target`, to be used once it has the name `final`.

    Raises SandboxError when they hold no whole Slurm, or one that cannot run here.
    """
    tree = target / "tree"
    tree.mkdir(parents=True)
    slurm = [package for package in packages if package.name.startswith("slurm")]
    _extract(slurm, tree)
    _take_programs([tree / "usr" / "bin", tree / "usr" / "sbin"], target / PROGRAMS)
    _extract(packages, tree)
    loader = _loader(tree.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    loader.parent.rename(target / LIBRARIES)
    loader = target / LIBRARIES / loader.name
    patchelf = [*_loaded(loader), str(tree / "usr" / "bin" / PATCHELF)]
    for name in PROVED:
        _prove(loader, target / PROGRAMS / name)
    for program in sorted((target / PROGRAMS).iterdir()):
        _settle(patchelf, program, final / LIBRARIES, loader.name)
    shutil.rmtree(tree)


def _extract(packages: Iterable[Path], tree: Path) -> None:
    for package in packages:
        run(["dpkg", "--extract", str(package), str(tree)])


def _take_programs(folders: Iterable[Path], target: Path) -> None:
    target.mkdir()
    for folder in folders:
        for path in folder.iterdir():
            if not path.is_symlink() and path.read_bytes().startswith(ELF):
                path.rename(target / path.name)


def _loader(found: Iterable[Path]) -> Path:
    """The dynamic loader; the libraries are beside it."""
    for path in found:
        return path
    raise SandboxError("the packages hold no dynamic loader")


def _loaded(loader: Path) -> list[str]:
    """The start of a command line that runs a program with the libraries beside `loader`."""
    paths = f"{loader.parent}:{loader.parent / PLUGINS}"
    return [str(loader), "--library-path", paths]


def _settle(patchelf: list[str], program: Path, libraries: Path, loader: str) -> None:
    """Let a program use the loader and the libraries in `libraries` by itself.

    An rpath and not a runpath: it counts also for the libraries that plugins need.
    """
    paths = f"{libraries}:{libraries / PLUGINS}"
    change = ["--set-interpreter", str(libraries / loader), "--force-rpath", "--set-rpath", paths]
    run([*patchelf, *change, str(program)])


def _prove(loader: Path, program: Path) -> None:
    """Start a program once. Raises SandboxError when this kernel or its libraries refuse it."""
    run([*_loaded(loader), str(program), "-V"])
