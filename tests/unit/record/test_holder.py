"""Who holds a run that was handed over: one of all relays that ask at once."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.holder import hold, holder


def claim(job: str) -> dict[str, object]:
    return {"job": job, "stage": "relay", "host": "node1"}


def test_no_relay_has_held_it(tmp_path: Path) -> None:
    assert holder(tmp_path) == (0, "", "", "")


def test_each_number_is_taken_once(tmp_path: Path) -> None:
    assert hold(tmp_path, 0, claim("5")) == (1, "5", "relay", "node1")
    assert hold(tmp_path, 0, claim("6")).job == "5"
    assert hold(tmp_path, 1, claim("6")) == (2, "6", "relay", "node1")
    assert holder(tmp_path).job == "6"


def test_of_many_at_once_one_holds_it(tmp_path: Path) -> None:
    held = dict[str, str]()
    jobs = [str(number) for number in range(16)]
    threads = [
        threading.Thread(
            target=lambda job=job: held.update({job: hold(tmp_path, 0, claim(job)).job})
        )
        for job in jobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = set(held.values())
    assert held[winner] == winner
    assert sorted(held, key=int) == jobs


def test_also_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert hold(tmp_path, 0, claim("5")).job == "5"
    assert hold(tmp_path, 0, claim("6")).job == "5"


def test_a_claim_that_cannot_be_read_names_no_job(tmp_path: Path) -> None:
    hold(tmp_path, 0, claim("5"))
    (tmp_path / ".mnrun" / "relay" / "holders" / "000001.json").write_text("{")
    assert holder(tmp_path) == (1, "", "", "")
