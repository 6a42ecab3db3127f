"""Which Slurm the sandbox runs, where it comes from, and what it is called in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import (
    portable,
    render,
    suite,
    teardown,
    versions,
)
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import SLURMS, Options

from tests.helpers.fake_slurm import FakeClock

BOOKWORM = """\
bookworm main http://mirror.example/debian/
bookworm-updates main http://mirror.example/debian/
bookworm-security main http://security.example/debian-security/
nodistro main https://node.example/
"""


class Mirror:
    """Suites of Debian and their Slurm, at the boundary to apt."""

    def __init__(self, has: dict[str, str], kept: Path) -> None:
        self.has = has
        self.kept = kept
        self.asked: list[str] = []

    @contextmanager
    def opened(self, name: str, beside: Path) -> Iterator[Mirror]:
        if not self.has:
            raise SandboxError("the mirror does not answer")
        self.asked.append(name)
        self.name = name
        yield self

    def version(self, package: str) -> str:
        assert package == "slurmctld"
        return self.has[self.name]

    def fetch(self, *packages: str) -> list[Path]:
        assert {"slurmctld", "slurmd", "slurm-client", "slurmdbd", "patchelf"} <= {*packages}
        return [Path("slurmctld.deb")]


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mirror:
    fake = Mirror({"sid": "26.05.5", "trixie": "24.11.5"}, tmp_path / "slurm")
    monkeypatch.setattr(suite, "opened", fake.opened)
    monkeypatch.setattr(versions, "SLURMS", fake.kept)
    monkeypatch.setattr(versions, "host_version", lambda: "22.05.8")
    monkeypatch.setattr(portable, "unpack", lambda packages, part, final: part.mkdir())
    return fake


def choose(
    wanted: str = "newest", running: str | None = None, check: bool = False
) -> tuple[str, bool, str]:
    return versions.choose(wanted, running, check, FakeClock())


def test_a_version_is_fetched_once_and_kept_for_all(debian: Mirror) -> None:
    assert choose("24.11") == ("24.11.5", True, "")
    assert debian.asked == ["sid", "trixie"]
    assert choose("24.11") == choose("24.11.5") == ("24.11.5", False, "")
    assert len(debian.asked) == 2
    assert sorted(path.name for path in debian.kept.iterdir()) == ["24.11.5", "lock"]


def test_the_machines_own_needs_no_mirror(debian: Mirror) -> None:
    debian.has = {}
    assert choose("22.05") == choose("host") == choose("22.05.8") == ("", False, "")


def test_by_default_what_runs_goes_on(debian: Mirror) -> None:
    assert choose("", running="24.11.5") == ("24.11.5", False, "")
    assert choose("", running="") == ("", False, "")
    assert choose("host", running="24.11.5") == ("", False, "")
    assert debian.asked == []


def test_by_default_a_cluster_that_is_down_starts_with_the_newest(debian: Mirror) -> None:
    choose("24.11")
    assert choose("") == ("26.05.5", True, "")


def test_the_newest_is_taken_also_where_an_older_one_is_kept(debian: Mirror) -> None:
    choose("24.11")
    assert choose() == ("26.05.5", True, "")
    debian.has = {}
    assert choose() == ("26.05.5", False, "")


def test_without_a_mirror_the_newest_that_is_there_runs_and_it_is_said(debian: Mirror) -> None:
    debian.has = {}
    version, fetched, warning = choose()
    assert (version, fetched) == ("", False)
    assert warning == (
        "Slurm 22.05.8 (this machine's own) runs, as no newer one can be had: "
        "the mirror does not answer"
    )
    debian.has = {"sid": "26.05.5", "trixie": "24.11.5"}
    choose("24.11")
    debian.has = {}
    assert choose()[0] == "24.11.5"


def test_what_is_nowhere_is_refused_with_what_there_is(debian: Mirror) -> None:
    choose("24.11")
    with pytest.raises(SandboxError, match=r"no Slurm 25\.05; there are: 22\.05\.8 \(this machine"):
        choose("25.05")
    debian.has = {}
    with pytest.raises(SandboxError, match="mirror does not answer"):
        choose("26.05")


@pytest.mark.parametrize("wanted", ["latest", "26", "../etc", "26.05 ", "26.05-1"])
def test_what_is_no_version_is_refused(debian: Mirror, wanted: str) -> None:
    with pytest.raises(SandboxError, match="give a version"):
        choose(wanted)


def test_check_mode_fetches_nothing(debian: Mirror) -> None:
    assert choose("26.05", check=True) == ("26.05", True, "")
    assert choose(check=True) == ("newest", True, "")
    assert (debian.asked, versions.kept()) == ([], [])


def test_versions_are_numbers(debian: Mirror) -> None:
    for version in ("9.11.10", "24.11.5", "24.11.10"):
        (debian.kept / version).mkdir(parents=True)
        (debian.kept / version / versions.SUITE_FILE).write_text("sid")
    assert versions.kept() == ["9.11.10", "24.11.5", "24.11.10"]
    assert versions.fits("26.05.5", "26.05")
    assert not versions.fits("26.05.5", "26.0")
    assert not versions.fits("", "26.05")


def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, sources: str) -> str:
    (tmp_path / "os-release").write_text(release)
    monkeypatch.setattr(suite, "OS_RELEASE", tmp_path / "os-release")

    def run(argv: Sequence[str]) -> SimpleNamespace:
        assert argv[:2] == ["apt-get", "indextargets"]
        return SimpleNamespace(stdout=sources)

    monkeypatch.setattr(suite, "run", run)
    return suite.mirror()


def test_the_mirror_is_this_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = 'ID=debian\nVERSION_CODENAME=bookworm\nNAME="Debian GNU/Linux"\n'
    assert listed(monkeypatch, tmp_path, release, BOOKWORM) == "http://mirror.example/debian/"


def test_another_system_has_no_mirror_of_debian(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = "noble main http://archive.example/ubuntu/\n"
    monkeypatch.setattr(suite, "KEYRINGS", tmp_path / "none")
    with pytest.raises(SandboxError, match="no source of Debian's packages"):
        listed(monkeypatch, tmp_path, "ID=ubuntu\nVERSION_CODENAME=noble\n", sources)
    # Where there is no mirror, keys to check it with would not help.
    opened = suite.opened("sid", tmp_path)
    with pytest.raises(SandboxError, match="no source of Debian's packages"), opened:
        pass


def test_each_series_has_its_own_jobs_and_accounting(tmp_path: Path) -> None:
    own = Options("/srv/box")
    newer = own._replace(slurm="26.05.5")
    assert (own.spool, newer.spool) == (Path("/srv/box/spool"), Path("/srv/box/spool-26.05"))
    assert "PluginDir" not in render.slurm_conf(own, "cgroup") + render.slurmdbd_conf(own)
    plugins = f"PluginDir={SLURMS}/26.05.5/lib/slurm-wlm\n"
    assert plugins in render.slurm_conf(newer, "cgroup")
    assert plugins in render.slurmdbd_conf(newer)
    assert "StorageLoc=slurm_acct_db\n" in render.slurmdbd_conf(own)
    assert "StorageLoc=slurm_acct_db_26_05\n" in render.slurmdbd_conf(newer)
    box = Options(str(tmp_path))
    for name in ("spool", "spool-26.05"):
        (tmp_path / name).mkdir()
    assert teardown.wipeable(box) == [tmp_path / "spool", tmp_path / "spool-26.05"]
