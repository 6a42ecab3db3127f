"""Prepare all that a machine with GPUs needs that has no network, in parts.

    .venv/bin/python -m bench.gpu.pack [--sources FILE] [--python 3.12] [--without pyarrow]
        [--trainer verl-0.5 --trainer verl-0.9-vllm]

build/gpu/pack gets the packages (debs) and wheels, and build/gpu/parts the same in files of at most
60 MiB, pack.tar.00 and so on, and the project, mnrun.tar. There: `tar -xf mnrun.tar`, and
`cat pack.tar.* | tar -x`. What is here already is not fetched again. The packages are for this
machine's own distribution, or for that of an apt source FILE. Wheels that the other machine's own
Python has, beside torch, can be left out: by name, or as NAME==VERSION of a trainer's lock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from .light import lighten

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / "roles" / "sandbox" / "files" / "env"
PART = 60 * 2**20
GLIBC = (39, 36, 35, 34, 31, 28, 27, 24, 17, 12, 5)  # of manylinux wheels, the newest first
SOURCE_ONLY = ("antlr4-python3-runtime",)


class Wanted(NamedTuple):
    """What the other machine is."""

    sources: Path | None
    python: str
    without: tuple[str, ...]
    trainers: tuple[str, ...] = ("verl-0.5",)

    @property
    def locks(self) -> dict[str, list[str]]:
        """The lines of each trainer's lock that travel: not torch, which the machine has."""
        left = {"torch", *self.without}
        return {
            trainer: [line for line in lock if not {line, line.split("==")[0]} & left]
            for trainer in self.trainers
            for lock in [(ENV / f"{trainer}-{self.python}.lock").read_text("utf-8").split()]
        }

    @property
    def packages(self) -> list[str]:
        """The names of the packages."""
        role = yaml.safe_load((ROOT / "roles/sandbox/vars/main.yml").read_text(encoding="utf-8"))
        return [*role["sandbox_packages"], "make"]

    @property
    def controller(self) -> list[str]:
        """What mnrun itself needs, and pip for its virtual environment."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        build = project["build-system"]["requires"]
        return [*project["project"]["dependencies"], *build, "editables", "pip"]


def say(text: str) -> None:
    """Show one line of progress."""
    print(f"[pack] {text}", flush=True)


def run(command: Sequence[object]) -> None:
    """Run a command. CalledProcessError if it fails."""
    subprocess.run([str(word) for word in command], check=True, timeout=1800)


def once(folder: Path, wanted: object) -> bool:
    """Empty a folder unless it was filled for just that; whether it is to be filled."""
    stamp = folder.with_suffix(".stamp")
    text = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == text:
        return False
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def done(folder: Path, wanted: object) -> None:
    """Note what a folder was filled for."""
    text = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()
    folder.with_suffix(".stamp").write_text(text, encoding="ascii")


def debs(folder: Path, wanted: Wanted) -> None:
    """Fetch the packages and all that they need, as for a machine that has none."""
    source = wanted.sources.read_text(encoding="utf-8") if wanted.sources else "this machine's"
    key = [wanted.packages, source]
    if not once(folder, key):
        return
    say("packages")
    with tempfile.TemporaryDirectory() as scratch:
        options = apt_options(Path(scratch), wanted.sources)
        run(["apt-get", "-qq", *options, "update"])
        run(["apt-get", "-qq", *options, "install", "--yes", "--download-only", *wanted.packages])
        for file in Path(scratch, "cache", "archives").glob("*.deb"):
            shutil.move(file, folder)
    done(folder, key)


def apt_options(scratch: Path, sources: Path | None) -> list[str]:
    """Options with which apt believes that nothing is installed, and changes nothing here."""
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    (scratch / "status").touch()
    settings = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root",
    }
    if sources:
        other = {"Dir::Etc::SourceList": sources.absolute(), "Dir::Etc::SourceParts": "/dev/null"}
        none = {"Dir::Etc::Preferences": "/dev/null", "Dir::Etc::PreferencesParts": "/dev/null"}
        settings |= other | none
    return [f"--option={name}={value}" for name, value in settings.items()]


def wheels(folder: Path, wanted: Wanted) -> None:
    """Fetch the wheels of the trainer's environment and of mnrun's."""
    key = [wanted.locks, wanted.controller, wanted.python]
    if not once(folder, key):
        return
    say("wheels")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64"]
    target = ["--only-binary=:all:", f"--python-version={wanted.python}", "--implementation=cp"]
    target += [f"--platform={name}" for name in platforms] + [f"--dest={folder}"]
    for lock in wanted.locks.values():  # each by itself: two may have a package in two versions
        built = [line for line in lock if line.split("==")[0] in SOURCE_ONLY]
        run([*pip, "download", "--no-deps", *target, *(line for line in lock if line not in built)])
        run([*pip, "wheel", "--no-deps", f"--wheel-dir={folder}", *built])
    run([*pip, "download", *target, *wanted.controller])
    for file in folder.glob("*.whl"):
        lighten(file)
    done(folder, key)


def project(target: Path) -> None:
    """Archive the project's files as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with tarfile.open(target, "w") as archive:
        for name in sorted(filter(None, listed.split("\0"))):
            if os.path.lexists(ROOT / name):
                archive.add(ROOT / name, f"mnrun/{name}")


def split(source: Path, target: Path, size: int = PART) -> list[Path]:
    """Archive a folder in files of a limited size: target.00, target.01, …"""
    archive = target.with_name(f"{target.name}.whole")
    with tarfile.open(archive, "w") as file:
        file.add(source, source.name)
    parts: list[Path] = []
    with archive.open("rb") as whole:
        while content := whole.read(size):
            parts.append(target.with_name(f"{target.name}.{len(parts):02}"))
            parts[-1].write_bytes(content)
    archive.unlink()
    return parts


def main() -> None:
    """Fetch what is missing, and put the parts together."""
    parser = argparse.ArgumentParser(prog="bench/gpu/pack.py", description="See the file itself.")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--sources", type=Path, metavar="FILE")
    parser.add_argument("--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}")
    parser.add_argument("--without", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--trainer", action="append", metavar="NAME", help="default: verl-0.5")
    given = parser.parse_args()
    trainers = tuple(given.trainer or ["verl-0.5"])
    wanted = Wanted(given.sources, given.python, tuple(given.without), trainers)
    pack, parts = given.to / "pack", given.to / "parts"
    debs(pack / "debs", wanted)
    wheels(pack / "wheels", wanted)
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    project(parts / "mnrun.tar")
    for part in [parts / "mnrun.tar", *split(pack, parts / "pack.tar")]:
        say(f"{part.stat().st_size / 2**20:5.1f} MiB  {part}")


if __name__ == "__main__":
    main()
