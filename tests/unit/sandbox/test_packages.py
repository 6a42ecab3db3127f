"""Packages are installed without letting them start daemons on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import host, packages, run
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.modules.sandbox_packages import install

# As apt prints it for a package that has never been installed; "seen" has no candidate.
POLICY = """\
{name}:
  Installed: (none)
  Candidate: 1:24.11.5-4+deb13u1
  Version table:
     1:24.11.5-4+deb13u1 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
seen:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


class Host:
    """A machine at the process boundary: dpkg, apt and systemctl."""

    def __init__(self, installed: Sequence[str], policy: Path) -> None:
        self.installed = set(installed)
        self.unknown: set[str] = set()  # to apt
        self.tools = {"dpkg-query", "apt-get"}
        self.policy = policy
        self.commands: list[str] = []

    def run(self, argv: Sequence[str], timeout: float = 0, check: bool = True,
            extra: Mapping[str, str] | None = None) -> SimpleNamespace:  # fmt: skip
        if argv[0] == "dpkg-query":
            lines = [f"{name} installed" for name in argv[3:] if name in self.installed]
            return SimpleNamespace(stdout="\n".join([*lines, "old config-files"]))
        if argv[:2] == ["apt-cache", "policy"]:
            assert self.commands[-1] == "update"
            known = [name for name in argv[2:] if name not in self.unknown]
            return SimpleNamespace(stdout="".join(POLICY.format(name=name) for name in known))
        words = [w for w in argv if w in {"update", "install", "disable"}]
        assert len(words) == 1, f"unknown command {argv}"
        assert self.policy.exists() or words != ["install"], "daemons would start"
        if words != ["disable"]:
            assert extra == {"DEBIAN_FRONTEND": "noninteractive", "https_proxy": "http://p:3128"}
        self.commands.append(" ".join(argv[argv.index(words[0]) :]))
        return SimpleNamespace(stdout="")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    fake = Host(["munge", "slurmd"], tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "run", fake.run)
    for name in packages.PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://p:3128")
    monkeypatch.setattr(packages, "POLICY", fake.policy)
    monkeypatch.setattr(packages, "SYSTEMD", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in fake.tools else None)
    monkeypatch.setattr(host, "OS_RELEASE", tmp_path / "os-release")
    (tmp_path / "os-release").write_text('NAME="Own"\nPRETTY_NAME="Own Linux 9"\n')
    (tmp_path / "python3.13").touch()
    (tmp_path / "python3").symlink_to("python3.13")
    monkeypatch.setattr(host, "PYTHON", tmp_path / "python3")
    monkeypatch.setattr(run, "need_root", lambda: None)
    return fake


def test_only_what_is_missing_counts(machine: Host) -> None:
    assert packages.missing(["munge", "old", "slurmd", "procps"]) == ["old", "procps"]


def test_daemons_are_neither_started_nor_enabled(machine: Host) -> None:
    packages.install(["mariadb-server", "procps", "openssh-server"])
    assert machine.commands == [
        "install --yes --no-install-recommends mariadb-server procps openssh-server",
        "disable --quiet mariadb ssh",
    ]
    assert not machine.policy.exists()


def test_a_package_whose_program_was_taken_out_of_the_image_is_installed_again(
    machine: Host,
) -> None:
    machine.installed.add("openssh-client")
    packages.install(["openssh-server"])
    words = "install --yes --no-install-recommends --reinstall openssh-client openssh-server"
    assert machine.commands[0] == words
    machine.tools.add("ssh-keygen")
    packages.install(["openssh-server"])
    assert "--reinstall" not in machine.commands[-2]


def test_a_policy_of_the_machine_stays(machine: Host) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 0\n")
    packages.install(["procps"])
    assert machine.policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert len(machine.commands) == 1


def test_our_policy_goes_also_when_it_fails_and_when_a_killed_run_left_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with pytest.raises(KeyError), packages.quiet(policy):
        raise KeyError
    assert not policy.exists()
    policy.write_text(packages.POLICY_TEXT)
    with packages.quiet(policy):
        assert policy.exists()
    assert not policy.exists()


PYTHONS = ["3.11", "3.13"]


def test_in_check_mode_nothing_is_run(machine: Host) -> None:
    assert install(["munge", "procps"], [], check=True)["installed"] == ["procps"]
    assert machine.commands == []


def test_all_that_a_machine_lacks_is_named_before_anything_is_installed(machine: Host) -> None:
    machine.unknown = {"slurmctld", "slurmdbd", "seen"}
    with pytest.raises(SandboxError) as caught:
        install(["munge", "slurmctld", "procps", "slurmdbd", "seen"], ["3.11"], check=False)
    assert str(caught.value).startswith(
        "The sandbox cannot be installed on this machine (Own Linux 9), and nothing was changed. "
        "Missing: Python 3.11 (/usr/bin/python3 is Python 3.13), slurmctld, slurmdbd, seen. "
    )
    assert machine.commands == ["update"]


def test_a_machine_that_is_not_of_debians_family_is_refused(machine: Host) -> None:
    machine.tools = set()
    with pytest.raises(SandboxError, match=r"Missing: apt-get, dpkg-query, munge\. "):
        install(["munge"], PYTHONS, check=False)
    assert machine.commands == []


def test_the_role_names_each_python_that_has_a_lock() -> None:
    role = Path(__file__).parents[3] / "roles" / "sandbox"
    locks = {path.stem.rpartition("-")[2] for path in role.glob("files/env/*.lock")}
    assert set(yaml.safe_load((role / "vars/main.yml").read_text())["sandbox_pythons"]) == locks


def test_a_folder_of_packages_is_the_only_source(
    machine: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "debs"
    folder.mkdir()
    with pytest.raises(SandboxError, match="has no packages"), packages.source(str(folder)):
        pass
    (folder / "munge_1_amd64.deb").write_bytes(b"content")
    fields = SimpleNamespace(stdout="Package: munge\nVersion: 1\n")
    monkeypatch.setattr(packages, "run", lambda argv: fields)
    with packages.source(str(folder)) as apt:
        options = dict(option.removeprefix("--option=").split("=", 1) for option in apt)
        site = Path(options["Dir::Etc::SourceList"]).parent
        index = (site / "Packages").read_text()
        assert "Package: munge\nVersion: 1\nFilename: ./debs/munge_1_amd64.deb\nSize: 7\n" in index
        assert (site / "debs" / "munge_1_amd64.deb").read_bytes() == b"content"
        assert (site / "list").read_text() == f"deb [trusted=yes] file:{site} ./\n"
        assert options["Dir::Etc::SourceParts"] == "/dev/null"
    assert not site.exists()


def test_without_a_folder_the_machine_s_own_sources_are_used() -> None:
    with packages.source(None) as apt:
        assert apt == []
