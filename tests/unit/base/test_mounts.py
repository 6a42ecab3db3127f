"""Mounts on which a lock excludes only this host's processes are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import mounts
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.base.lock import stage_lock

ROOT = "/dev/vda / ext4 rw,relatime 0 0"


def locks(place: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> str:
    """What a lock in a folder says with such mounts; {} is the folder."""
    table = place / "mounts"
    folder = place / "a run"
    folder.mkdir()
    escaped = str(folder).replace(" ", "\\040")
    table.write_text("".join(f"{line.format(escaped)}\n" for line in lines))
    monkeypatch.setattr(mounts, "MOUNTS", table)
    try:
        with stage_lock(folder / "lock", Clock(), 1.0):
            return ""
    except Invalid as error:
        return error.message


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("nfs", "rw,vers=3,nolock,proto=tcp", "nolock"),
        ("nfs", "rw,vers=3,local_lock=all", "local_lock=all"),
        ("nfs", "rw,vers=3,local_lock=posix,hard", "local_lock=posix"),
        ("lustre", "rw,localflock,lazystatfs", "localflock"),
        ("ocfs2", "rw,localflocks", "localflocks"),
        ("gfs2", "rw,localflocks", "localflocks"),
        ("cifs", "rw,vers=3.0,nobrl", "nobrl"),
        ("fuse.sshfs", "rw,user_id=0", "fuse.sshfs"),
        ("fuse.s3fs", "rw,user_id=0", "fuse.s3fs"),
        ("fuse.gcsfuse", "rw,allow_other", "fuse.gcsfuse"),
        ("fuse.rclone", "rw", "fuse.rclone"),
    ],
)
def test_locks_of_this_host_only_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, named: str
) -> None:
    message = locks(tmp_path, monkeypatch, ROOT, f"server:/x {{}} {kind} {options} 0 0")
    assert f"{tmp_path}/a run is" in message
    assert named in message


@pytest.mark.parametrize(
    "lines",
    [
        (ROOT,),
        (ROOT, "server:/x {} nfs rw,vers=3,local_lock=none 0 0"),
        (ROOT, "server:/x {} nfs rw,vers=3,local_lock=flock 0 0"),
        (ROOT, "x@tcp:/x {} lustre rw,flock 0 0"),
        (ROOT, "server:/x {}x nfs rw,nolock 0 0"),
        ("server:/x / nfs rw,nolock 0 0", "/dev/vda {} ext4 rw 0 0"),
        ("server:/x {} nfs rw,nolock 0 0", "/dev/vda {} ext4 rw 0 0"),
        ("torn", ""),
    ],
)
def test_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...]
) -> None:
    assert locks(tmp_path, monkeypatch, *lines) == ""


def test_a_link_to_such_a_mount_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.mkdir()
    table = tmp_path / "mounts"
    table.write_text(f"server:/x {there} nfs rw,nolock 0 0\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    (tmp_path / "link").symlink_to(there)
    assert "nolock" in mounts.local_locks(tmp_path / "link" / "lock")


def test_the_file_system_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, deep = tmp_path / "mounts", tmp_path / "a b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    folder = str(tmp_path / "a b").replace(" ", "\\040")
    table.write_text(
        f"{ROOT}\nauto {folder} autofs rw 0 0\nx@tcp:/work {folder} lustre rw,flock 0 0\n"
        f"y {folder}/cd nfs rw 0 0\nbroken\n"
    )
    assert mounts.mount_of(tmp_path) is not None
    monkeypatch.setattr(mounts, "MOUNTS", table)
    for path in (deep, tmp_path / "link", deep / "to come"):
        found = mounts.mount_of(path)
        assert found == mounts.Mount(str(tmp_path / "a b"), "lustre", ["rw", "flock"])
    assert mounts.mounted_at(tmp_path) == "/"
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mounts.mount_of(deep) is None
