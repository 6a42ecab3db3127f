"""A file that one of several makes, with hard links and without."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.exclusive import (
    create,
    read,
    remove,
)


def no_links(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_paths: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)


@pytest.mark.parametrize("links", [True, False])
def test_of_many_one_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        no_links(errno.EPERM, monkeypatch)
    path = tmp_path / "000001.json"
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda text: create(path, str(text)), range(16)))
    assert made.count(True) == 1
    assert read(path) == str(made.index(True))
    assert not create(path, "later")
    remove(path)
    assert (read(path), list(tmp_path.iterdir())) == (None, [])
    assert create(path, "again")


def test_a_link_whose_answer_was_lost_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert create(tmp_path / "a", "text")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT])
def test_any_other_error_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    no_links(number, monkeypatch)
    with pytest.raises(OSError, match=os.strerror(number)):
        create(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


def test_what_died_between_folder_and_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_links(errno.EOPNOTSUPP, monkeypatch)
    path = tmp_path / "a"
    assert create(path, "text")
    path.unlink()
    assert read(path) == "text"
    assert not create(path, "other")
