"""Which Slurm the sandbox runs: this machine's own, or a newer one that is kept beside it."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..base.clock import Clock
from ..base.lock import stage_lock
from . import portable, suite
from .errors import SandboxError
from .layout import SLURMS
from .packages import INSTALL
from .process import run

# The suites of Debian with a Slurm that is not Debian 12's, the newest first.
SUITES = ("sid", "trixie")
HOST, NEWEST = "host", "newest"
DEFAULT = NEWEST  # what a cluster starts with when no version is asked for
SUITE_FILE = "suite"  # names the suite that a kept version comes from
_WANTED = re.compile(rf"|{HOST}|{NEWEST}|\d+\.\d+(\.\d+)*")


class Choice(NamedTuple):
    """A version that is kept, or "" for this machine's own.

    `fetched` says that it was not there before, `warning` what could not be had.
    """

    version: str
    fetched: bool = False
    warning: str = ""


def choose(wanted: str, running: str | None, check: bool, clock: Clock) -> Choice:
    """Return the Slurm that `wanted` asks for; fetch it if necessary, but not if `check`.

    `wanted` is "26.05" or "26.05.5", "host" for this machine's own, "newest", or empty: the one
    that runs now (`running`, None if none does), else DEFAULT. If the newest cannot be fetched, it
    is the newest that is there.

    Raises SandboxError for a version that can be found nowhere.
    """
    if not _WANTED.fullmatch(wanted):
        raise SandboxError(
            f"sandbox_slurm is {wanted!r}: give a version (26.05), {HOST} or {NEWEST}"
        )
    if not wanted and running is not None:
        return Choice(running)
    return _find(wanted or DEFAULT, check, clock)


def _find(wanted: str, check: bool, clock: Clock) -> Choice:
    if wanted == HOST or fits(host_version(), wanted):
        return Choice("")
    there = matching(wanted)
    if there:
        return Choice(there[-1])
    if check:
        return Choice(wanted, fetched=True)
    return _newest(clock) if wanted == NEWEST else _exactly(wanted, clock)


def _exactly(wanted: str, clock: Clock) -> Choice:
    return Choice(_fetch(wanted, SUITES, clock), fetched=True)


def _newest(clock: Clock) -> Choice:
    try:
        return Choice(_fetch(NEWEST, SUITES[:1], clock), fetched=True)
    except SandboxError as error:
        there = kept()
        version = there[-1] if there else ""
        runs = version or f"{host_version()} (this machine's own)"
        return Choice(version, warning=f"Slurm {runs} runs, as no newer one can be had: {error}")


def _fetch(wanted: str, suites: tuple[str, ...], clock: Clock) -> str:
    """Keep the first version that fits, among those that the suites have; return it."""
    SLURMS.mkdir(parents=True, exist_ok=True)
    seen = [f"{host_version()} (this machine's own)", *kept()]
    with stage_lock(SLURMS / "lock", clock, INSTALL):
        there = matching(wanted)  # another process fetched it meanwhile
        if there:
            return there[-1]
        for name in suites:
            with suite.opened(name, SLURMS) as source:
                version = source.version(portable.PACKAGES[0])
                if version and (wanted == NEWEST or fits(version, wanted)):
                    _keep(source, version)
                    return version
            seen.append(f"{version or 'none'} ({name})")
    raise SandboxError(f"there is no Slurm {wanted}; there are: {', '.join(seen)}")


def _keep(source: suite.Suite, version: str) -> None:
    """Fetch and unpack; the folder of the version is complete or does not exist."""
    packages = source.fetch(*portable.PACKAGES, portable.PATCHELF)
    with tempfile.TemporaryDirectory(prefix=f"{version}-", dir=SLURMS) as scratch:
        part = Path(scratch, version)
        portable.unpack(packages, part, SLURMS / version)
        (part / SUITE_FILE).write_text(source.name, encoding="utf-8")
        shutil.rmtree(SLURMS / version, ignore_errors=True)
        part.rename(SLURMS / version)


def matching(wanted: str) -> list[str]:
    """The kept versions that fit, the newest last; for NEWEST those of the newest suite."""
    if wanted != NEWEST:
        return [version for version in kept() if fits(version, wanted)]
    files = ((version, SLURMS / version / SUITE_FILE) for version in kept())
    return [version for version, path in files if path.read_text(encoding="utf-8") == SUITES[0]]


def kept() -> list[str]:
    """All kept versions, the newest last."""
    versions = (path.parent.name for path in SLURMS.glob(f"*/{SUITE_FILE}"))
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])


def fits(version: str, wanted: str) -> bool:
    """Whether 26.05.5 is the 26.05 that is wanted."""
    return f"{version}.".startswith(f"{wanted}.")


def host_version() -> str:
    """This machine's own Slurm, as its program reports; empty where it is not installed."""
    try:
        answer = run(["slurmctld", "-V"], check=False).stdout
    except SandboxError:
        return ""
    found = re.search(r"\b\d{1,6}(\.\d{1,6})+", answer)
    return found.group() if found else ""
