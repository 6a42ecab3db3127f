"""Which collection and which inventory a command uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnrun import sites
from mnrun.errors import CliError, UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A collection with the sites osk and sandbox."""
    folder = tmp_path / "lib/ansible_collections/mnrun/train"
    for name in ("playbooks", "inventory/osk", "inventory/sandbox"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_checkout_is_used_in_place() -> None:
    checkout = Path(__file__).parents[3]
    assert sites.collection_root() == checkout / "collections/ansible_collections/mnrun/train"
    assert sites.collection_root().resolve() == checkout


def test_a_wheel_carries_its_collection(root: Path) -> None:
    assert sites.collection_root(root.parents[2] / "mnrun") == root


def test_a_checkout_without_its_link_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "galaxy.yml").touch()
    with pytest.raises(CliError, match="git checkout collections"):
        sites.collection_root(tmp_path / "mnrun")


def test_no_site_of_somebody_else_is_the_default(root: Path, here: Path) -> None:
    with pytest.raises(UsageError, match="No site is named") as refusal:
        sites.inventory(None, root, {})
    assert "mnrun init ~/my-site" in str(refusal.value)
    assert "export MNRUN_INVENTORY=~/my-site" in str(refusal.value)


def test_in_a_checkout_its_own_site_is_the_default(root: Path, here: Path) -> None:
    (here / "inventory/osk").mkdir(parents=True)
    assert sites.inventory(None, root, {}) == str(here / "inventory/osk")


def test_the_variable_comes_before_that_and_the_option_first(root: Path, here: Path) -> None:
    (here / "inventory/osk").mkdir(parents=True)
    environ = {"MNRUN_INVENTORY": "sandbox"}
    assert sites.inventory(None, root, environ) == str(root / "inventory/sandbox")
    assert sites.inventory("osk", root, environ) == str(root / "inventory/osk")


@pytest.mark.parametrize("name", ["sandbox", "inventory/sandbox", "./inventory/sandbox/"])
def test_a_known_site_goes_by_its_name(name: str, root: Path, here: Path) -> None:
    assert sites.inventory(name, root, {}) == str(root / "inventory/sandbox")


def test_a_path_here_comes_before_a_known_name(root: Path, here: Path) -> None:
    (here / "sandbox").mkdir()
    assert sites.inventory("sandbox", root, {}) == str(here / "sandbox")


def test_a_folder_of_sites_is_no_site(root: Path, here: Path) -> None:
    for name in ("a", "b"):
        (here / "inventory" / name).mkdir(parents=True)
        (here / "inventory" / name / "hosts.yml").touch()
    with pytest.raises(UsageError, match=r"holds 2 sites(.|\n)*inventory/a\n.*inventory/b"):
        sites.inventory("./inventory", root, {})
    (here / "inventory" / "hosts").touch()
    assert sites.inventory("./inventory", root, {}) == str(here / "inventory")


def test_a_list_of_hosts_stays_what_it_is(root: Path, here: Path) -> None:
    assert sites.inventory("a,b", root, {}) == "a,b"


def test_home_is_expanded(root: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "mine").mkdir()
    assert sites.inventory("~/mine", root, {}) == str(here / "mine")


@pytest.mark.parametrize(
    ("chosen", "environ", "source"),
    [("oskk", {}, "-i"), (None, {"MNRUN_INVENTORY": "oskk"}, "$MNRUN_INVENTORY")],
)
def test_an_unknown_site_lists_the_known_ones(
    chosen: str | None, environ: dict[str, str], source: str, root: Path, here: Path
) -> None:
    with pytest.raises(UsageError) as error:
        sites.inventory(chosen, root, environ)
    text = str(error.value)
    assert f"'oskk' (from {source})" in text
    for name in ("osk", "sandbox"):
        assert f"{name:<10} {root}/inventory/{name}\n" in text
