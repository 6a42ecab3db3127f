"""A run folder that others can change is refused: what is in it runs as its user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import private
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.base.private import (
    claim_private,
    warnings_above,
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    claim_private(folder, ".mnrun", write=True)
    (folder / ".mnrun" / "sft").mkdir(parents=True)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(Refused) as raised:
        claim_private(folder, ".mnrun", ".mnrun/sft", write=True)
    return raised.value.message


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o755), (0o777, 0o700), (0o377, 0o700)])
def test_a_new_folder_is_its_owners_alone_whatever_the_umask_is(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        claim_private(tmp_path / "a" / "b", write=True)
        (tmp_path / "a" / "b" / ".mnrun").mkdir()
    finally:
        os.umask(before)
    for path in ("a/b", "a/b/.mnrun"):
        assert (tmp_path / path).stat().st_mode & 0o777 == mode
    claim_private(tmp_path / "a" / "b", ".mnrun", write=False)


def test_in_check_mode_nothing_is_made(tmp_path: Path) -> None:
    claim_private(tmp_path / "a", write=False)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("inside", [".", ".mnrun", ".mnrun/sft"])
@pytest.mark.parametrize(
    ("mode", "who"), [(0o777, "everyone"), (0o757, "everyone"), (0o775, "group")]
)
def test_a_folder_that_others_can_write_to_is_refused(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, inside: str, mode: int, who: str
) -> None:
    monkeypatch.setattr(private, "_is_own_group", lambda _gid, _uid: False)
    (run_dir / inside).chmod(mode)
    words = refusal(run_dir)
    assert f"can be written by {'the ' * (who == 'group')}{who}" in words
    assert f"(mode {mode:04o}; chmod go-w" in words
    assert "mnrun_run_folder_shared" in words


def test_the_users_own_group_may_write(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_is_own_group", lambda _gid, _uid: True)
    run_dir.chmod(0o775)
    claim_private(run_dir, ".mnrun", write=True)


def test_a_folder_of_another_user_is_refused(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.geteuid()
    if not mine:  # root's own is everybody's
        os.chown(run_dir, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert "belongs to the user" in refusal(run_dir)


def test_a_folder_that_everyone_can_rename_is_refused(run_dir: Path) -> None:
    run_dir.parent.chmod(0o777)
    assert "everyone can rename what is in" in refusal(run_dir)
    run_dir.parent.chmod(0o1777)  # as /tmp
    claim_private(run_dir, ".mnrun", write=True)


@pytest.mark.parametrize("above", [".", ".."])
def test_a_group_that_can_rename_a_folder_above_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    """As where a team has one folder: a run is not refused there, but its user is to know."""
    run_dir = tmp_path / "team" / "alice" / "run"
    claim_private(run_dir, write=True)
    monkeypatch.setattr(private, "_is_own_group", lambda _gid, _uid: False)
    assert warnings_above(run_dir) == []
    folder = (run_dir.parent / above).resolve()
    folder.chmod(0o2775)
    (warning,) = warnings_above(run_dir)
    assert f"can rename what is in {folder}. " in warning
    assert "(mode 2775)" in warning
    assert "mnrun_run_folder_shared" in warning
    claim_private(run_dir, write=True)
    folder.chmod(0o3775)  # sticky: only its owner can
    assert warnings_above(run_dir) == []


def test_the_users_own_group_above_is_no_warning(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "_is_own_group", lambda _gid, _uid: True)
    run_dir.parent.chmod(0o775)
    assert warnings_above(run_dir) == []


def test_another_owner_of_a_folder_above_is_a_warning(run_dir: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(run_dir.parent, 12345, -1)
    (warning,) = warnings_above(run_dir)
    assert "the user with uid 12345, its owner, can rename" in warning
    run_dir.parent.chmod(0o1755)  # sticky does not bind its owner
    assert warnings_above(run_dir) != []


def test_a_link_counts_as_what_it_leads_to(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run_dir)
    run_dir.chmod(0o777)
    assert "everyone" in refusal(tmp_path / "link")
