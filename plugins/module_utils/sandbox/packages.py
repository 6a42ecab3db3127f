"""Install Debian packages without letting them start or enable daemons on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Sequence

from .errors import SandboxError
from .process import run

POLICY = Path("/usr/sbin/policy-rc.d")
# Debian's own way to say "start nothing": packages ask this program.
POLICY_TEXT = "#!/bin/sh\n# mnrun sandbox: only while it installs packages\nexit 101\n"
SYSTEMD = Path("/run/systemd/system")
UNITS = {
    "mariadb-server": "mariadb",
    "munge": "munge",
    "openssh-server": "ssh",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
}
# A program of packages that others need. Small images lack it although dpkg has the package.
PROGRAMS = {"openssh-client": "ssh-keygen"}
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
INSTALL = 900.0  # seconds
APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]


def missing(names: Sequence[str]) -> list[str]:
    """Return those packages that are not installed: all of them where there is no dpkg."""
    if not shutil.which("dpkg-query"):
        return list(names)
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", *names]
    lines = run(query, check=False).stdout.splitlines()
    there = {line.split()[0] for line in lines if line.endswith(" installed")}
    return [name for name in names if name not in there]


def unavailable(names: Sequence[str], apt: Sequence[str] = ()) -> list[str]:
    """Return the packages that none of the sources has, by the newest lists.

    `apt` are options for apt: this machine's own sources without them.

    Raises SandboxError with what apt-get printed.
    """
    if not shutil.which("apt-get"):
        return list(names)
    run([*APT, *apt, "update"], timeout=INSTALL, extra=_settings())
    shown = run(["apt-cache", *apt, "policy", *names], check=False, extra={"LC_ALL": "C"}).stdout
    candidates = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))", shown, re.MULTILINE)
    return [name for name in names if name not in candidates]


def install(names: Sequence[str], apt: Sequence[str] = ()) -> None:
    """Install packages; their daemons are not started, and not enabled for the next boot.

    Raises SandboxError with what apt-get printed.
    """
    again = [
        name
        for name, program in PROGRAMS.items()
        if not shutil.which(program) and not missing([name])
    ]
    repair = ["--reinstall", *again] if again else []
    with quiet(POLICY):
        command = [*APT, *apt, "install", "--yes", "--no-install-recommends", *repair, *names]
        run(command, timeout=INSTALL, extra=_settings())
    units = [UNITS[name] for name in names if name in UNITS]
    if units and SYSTEMD.is_dir():
        run(["systemctl", "disable", "--quiet", *units], check=False)


@contextmanager
def source(folder: str | None) -> Iterator[list[str]]:
    """The options with which apt takes packages from a folder of .deb files only; none without one.

    Raises SandboxError if the folder holds none.
    """
    if folder is None:
        yield []
        return
    files = sorted(Path(folder).glob("*.deb"))
    if not files:
        raise SandboxError(f"{folder} has no packages (*.deb)")
    with tempfile.TemporaryDirectory(prefix="mnrun-apt-") as scratch:
        site = Path(scratch)
        for part in ("lists/partial", "debs"):
            (site / part).mkdir(parents=True)
        for file in files:
            (site / "debs" / file.name).symlink_to(file.absolute())
        (site / "Packages").write_text("\n".join(map(_entry, files)), encoding="utf-8")
        (site / "list").write_text(f"deb [trusted=yes] file:{site} ./\n", encoding="utf-8")
        yield [
            f"--option=Dir::Etc::SourceList={site}/list",
            "--option=Dir::Etc::SourceParts=/dev/null",
            f"--option=Dir::State::Lists={site}/lists",
            "--option=APT::Sandbox::User=root",
        ]


def _entry(file: Path) -> str:
    """What an index of packages says of one."""
    content = file.read_bytes()
    lines = [f"Filename: ./debs/{file.name}", f"Size: {len(content)}",
             f"SHA256: {hashlib.sha256(content).hexdigest()}"]  # fmt: skip
    return run(["dpkg-deb", "--field", str(file)]).stdout + "\n".join(lines) + "\n"


def _settings() -> dict[str, str]:
    """The environment of apt-get."""
    proxies = {name: os.environ[name] for name in PROXIES if name in os.environ}
    return {**proxies, "DEBIAN_FRONTEND": "noninteractive"}


@contextmanager
def quiet(policy: Path) -> Iterator[None]:
    """Meanwhile, packages may not start daemons; a policy of the machine's own is left alone.

    The one of a killed run is recognised by its text, and removed at the end.
    """
    with suppress(FileExistsError):
        descriptor = os.open(policy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o755)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(POLICY_TEXT)
    try:
        yield
    finally:
        if policy.read_text(encoding="utf-8", errors="replace") == POLICY_TEXT:
            policy.unlink()
