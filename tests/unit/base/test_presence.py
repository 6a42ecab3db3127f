"""Files that are no files: nobody waits for a pipe, or reads a device to its end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.logfile import (
    News,
    head,
    last_lines,
    news,
    tail,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.presence import read_text

KINDS = ("pipe", "socket", "folder", "endless", "empty", "loop")


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "odd"
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o600),
        "folder": path.mkdir,
        "endless": lambda: path.symlink_to("/dev/zero"),
        "empty": lambda: path.symlink_to("/dev/null"),
        "loop": lambda: path.symlink_to(path),
    }
    make[request.param]()
    return path


@pytest.mark.timeout(20)
def test_it_is_damaged_and_no_text(odd: Path) -> None:
    leads_nowhere = odd.is_symlink() and odd.readlink() == odd
    assert read_text(odd) == (None if leads_nowhere else "")


@pytest.mark.timeout(20)
def test_it_is_an_empty_log(odd: Path) -> None:
    assert (head(odd), tail(odd)) == ("", "")
    assert (news(odd, 0), last_lines(odd, 5)) == (News([], 0), News([], 0))


def test_a_text_is_read_as_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\xff\n")
    assert read_text(path) == "a\nb\ufffd\n"
