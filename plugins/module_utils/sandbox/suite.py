"""Packages of another Debian suite than this machine's own: found and fetched, never installed."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple

from .errors import SandboxError
from .packages import INSTALL, PROXIES
from .process import run

KEYRINGS = Path("/usr/share/keyrings")
OS_RELEASE = Path("/etc/os-release")
# What a list of sources may call a suite of Debian, beside the code name of this machine's own.
NAMES = ("stable", "oldstable", "testing", "unstable", "sid")
_SITE = "$(RELEASE) $(COMPONENT) $(REPO_URI)"


class Suite(NamedTuple):
    """A suite as apt sees it from `folder`, which holds all that apt reads and writes for it."""

    name: str
    folder: Path

    def version(self, package: str) -> str:
        """The package's upstream version, such as 26.05.5; empty where the suite has none."""
        shown = self._run("apt-cache", "policy", package)
        found = re.search(r"^ *Candidate: (?:\d+:)?(\d+(?:\.\d+)*)", shown, re.MULTILINE)
        return found.group(1) if found else ""

    def fetch(self, *packages: str) -> list[Path]:
        """Fetch packages and all that they depend on; return the files.

        Raises SandboxError with what apt-get printed.
        """
        self._run("apt-get", "install", "--yes", "--download-only", *packages)
        return sorted((self.folder / "cache" / "archives").glob("*.deb"))

    def update(self) -> None:
        """Fetch the suite's list of packages and check its signature."""
        self._run("apt-get", "--error-on=any", "update")

    def _run(self, tool: str, *words: str) -> str:
        settings = {
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Install-Recommends": "0",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
        }
        options = [f"--option={name}={value}" for name, value in settings.items()]
        extra = {name: os.environ[name] for name in PROXIES if name in os.environ}
        return run([tool, "--quiet", *options, *words], INSTALL, extra=extra).stdout


@contextmanager
def opened(name: str, beside: Path) -> Iterator[Suite]:
    """A suite with its list of packages; all that apt wrote for it, below `beside`, is removed.

    Raises SandboxError when the mirror cannot be reached or its signature is not Debian's.
    """
    address = mirror()  # before the keys: a machine without a mirror needs none
    source = f"deb [signed-by={keyring()}] {address} {name} main\n"
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=beside) as folder:
        suite = Suite(name, Path(folder))
        for part in ("lists/partial", "cache/archives/partial"):
            (suite.folder / part).mkdir(parents=True)
        (suite.folder / "status").touch()
        (suite.folder / "sources.list").write_text(source, encoding="utf-8")
        suite.update()
        yield suite


def mirror() -> str:
    """The address of this machine's own Debian mirror, from apt's sources in either form.

    Raises SandboxError where there is none.
    """
    names = (_code_name(), *NAMES)
    listed = run(["apt-get", "indextargets", f"--format={_SITE}", "Created-By: Packages"]).stdout
    for release, component, address in (line.split(" ", 2) for line in listed.splitlines()):
        if release in names and component == "main":
            return address
    raise SandboxError("apt on this machine has no source of Debian's packages")


def _code_name() -> str:
    """bookworm or trixie on Debian; empty elsewhere, where the mirror has no suite of Debian."""
    text = OS_RELEASE.read_text(encoding="utf-8")
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, re.MULTILINE))
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""


def keyring() -> Path:
    """Debian's own keys. Raises SandboxError where they are not installed."""
    found = sorted(KEYRINGS.glob("debian-archive-keyring.[gp]*"))
    if not found:
        raise SandboxError(f"{KEYRINGS} has no debian-archive-keyring: install that package")
    return found[0]
