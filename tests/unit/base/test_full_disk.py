"""A full or read-only file system under the run folder: a clear message, and no damaged ledger."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.files import write_atomic
from ansible_collections.mnrun.train.plugins.module_utils.base.lock import stage_lock
from ansible_collections.mnrun.train.plugins.module_utils.base.module_exit import with_edge

FULL = Path("/dev/full")  # each write to it finds the disk full


def fails_with(number: int) -> Callable[[int], None]:
    def fail(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def told(number: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a module says when this error comes while it writes `path`."""
    said: list[str] = []

    class Module:
        def fail_json(self, msg: str, **_details: Any) -> None:
            said.append(msg)

    def act() -> dict[str, Any]:
        write_atomic(path, "{}")
        return {}

    monkeypatch.setattr(os, "fsync", fails_with(number))
    with_edge(Module(), act)
    (text,) = said
    return text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device. Nothing further was done. Free some space there"),
        (
            errno.EDQUOT,
            "Nothing further was done. Free some space there, or have your quota raised",
        ),
        (errno.EROFS, "Read-only file system. Nothing further was done. Ask your administrators"),
        (errno.EIO, "Input/output error. Nothing further was done."),
    ],
)
def test_the_file_and_what_to_do_are_named(
    tmp_path: Path, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    path.write_text("whole")
    text = told(number, path, monkeypatch)
    assert text.startswith(f"{path}: ")
    assert words in text
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["record.json"]  # noqa: PTH208


def test_a_lock_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    with stage_lock(FULL, Clock(), 1.0):
        pass
