"""Install Debian packages without letting them start or enable daemons on this machine."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Sequence

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


def unavailable(names: Sequence[str]) -> list[str]:
    """Return the packages that none of this machine's sources has, by the newest lists.

    Raises SandboxError with what apt-get printed.
    """
    if not shutil.which("apt-get"):
        return list(names)
    run([*APT, "update"], timeout=INSTALL, extra=_settings())
    shown = run(["apt-cache", "policy", *names], check=False, extra={"LC_ALL": "C"}).stdout
    candidates = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))", shown, re.MULTILINE)
    return [name for name in names if name not in candidates]


def install(names: Sequence[str]) -> None:
    """Install packages; their daemons are not started, and not enabled for the next boot.

    Raises SandboxError with what apt-get printed.
    """
    with quiet(POLICY):
        command = [*APT, "install", "--yes", "--no-install-recommends", *names]
        run(command, timeout=INSTALL, extra=_settings())
    units = [UNITS[name] for name in names if name in UNITS]
    if units and SYSTEMD.is_dir():
        run(["systemctl", "disable", "--quiet", *units], check=False)


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
