"""Packages are installed without letting them start daemons on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import packages
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError


class Host:
    """A machine at the process boundary: dpkg, apt-get and systemctl."""

    def __init__(self, installed: Sequence[str], policy: Path) -> None:
        self.installed = set(installed)
        self.policy = policy
        self.commands: list[str] = []

    def run(self, argv: Sequence[str], timeout: float = 0, check: bool = True,
            extra: Mapping[str, str] | None = None) -> SimpleNamespace:  # fmt: skip
        if argv[0] == "dpkg-query":
            lines = [f"{name} installed" for name in argv[3:] if name in self.installed]
            return SimpleNamespace(stdout="\n".join([*lines, "old config-files"]))
        words = [w for w in argv if w in {"update", "install", "disable"}]
        assert len(words) == 1, f"unknown command {argv}"
        if words != ["disable"]:
            assert self.policy.exists(), "daemons would start"
            assert extra == {"DEBIAN_FRONTEND": "noninteractive", "https_proxy": "http://p:3128"}
        self.commands.append(" ".join(argv[argv.index(words[0]) :]))
        return SimpleNamespace(stdout="")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    fake = Host(["munge", "slurmd"], tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "run", fake.run)
    for name in packages.PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://p:3128")
    monkeypatch.setattr(packages, "POLICY", fake.policy)
    monkeypatch.setattr(packages, "SYSTEMD", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return fake


def test_only_what_is_missing_counts(host: Host) -> None:
    assert packages.missing(["munge", "old", "slurmd", "procps"]) == ["old", "procps"]


def test_daemons_are_neither_started_nor_enabled(host: Host) -> None:
    packages.install(["mariadb-server", "procps", "openssh-server"])
    assert host.commands == [
        "update",
        "install --yes --no-install-recommends mariadb-server procps openssh-server",
        "disable --quiet mariadb ssh",
    ]
    assert not host.policy.exists()


def test_a_policy_of_the_machine_stays(host: Host) -> None:
    host.policy.write_text("#!/bin/sh\nexit 0\n")
    packages.install(["procps"])
    assert host.policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert len(host.commands) == 2


def test_our_policy_goes_also_when_it_fails_and_when_a_killed_run_left_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with pytest.raises(KeyError), packages.quiet(policy):
        raise KeyError
    assert not policy.exists()
    policy.write_text(packages.POLICY_TEXT)
    with packages.quiet(policy):
        assert policy.exists()
    assert not policy.exists()


def test_without_dpkg_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match="Debian 12"):
        packages.missing(["munge"])
