"""Options that a trainer's own parser has passed are known for a while, in the user's cache."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, run
from ansible_collections.mnrun.train.plugins.module_utils.preflight.parser import (
    Findings,
    parser_findings,
)
from ansible_collections.mnrun.train.plugins.module_utils.preflight.passed import AGE, FOLDER

TEXT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)
parser.add_argument("--plan")
parser.{read}
"""


class Home:
    """A user's home, the packages there, and how often a parser was started."""

    def __init__(self, home: Path) -> None:
        self.started = 0
        self.cache = home / FOLDER[2:]
        self.packages = home / "site-packages"
        (self.packages / "trl-1.16.0.dist-info").mkdir(parents=True)

    def run(self, *command: Any) -> Result:
        self.started += 1
        return run(*command)

    def check(self, read: str = "parse_args()", **options: Any) -> Findings:
        parse = {"program": "own.py", "text": TEXT.format(read=read), "syntax": "flags",
                 "options": {"steps": 3, **options}, "owned": [], "arguments": [],
                 "file_option": "", "file": ""}  # fmt: skip
        return parser_findings(parse, "", self.run)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    user = Home(tmp_path)
    monkeypatch.setattr(sys, "path", [*filter(is_not_a_site, sys.path), str(user.packages)])
    return user


def is_not_a_site(place: str) -> bool:
    return not place.endswith("site-packages")


def test_what_passed_is_not_checked_again(home: Home) -> None:
    assert home.check() == home.check() == Findings([], [])
    assert home.started == 1
    assert home.check(steps=4) == Findings([], [])
    assert home.started == 2


def test_warnings_are_given_again(home: Home) -> None:
    first = home.check("parse_known_args()", other=1)
    assert "which something else may read" in first.warnings[0]
    assert home.check("parse_known_args()", other=1) == first
    assert home.started == 1


@pytest.mark.parametrize(
    ("read", "options"),
    [("parse_args()", {"steps": "many"}), ("none_such()", {}), ("exit()", {})],
)
def test_what_did_not_pass_is_checked_again(home: Home, read: str, options: dict[str, Any]) -> None:
    first = home.check(read, **options)
    assert first != Findings([], [])
    assert home.check(read, **options) == first
    assert home.started == 2


def test_another_package_or_another_file_that_an_option_names_counts(
    home: Home, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("{}")
    home.check(plan=str(plan))
    plan.write_text("[]")
    home.check(plan=str(plan))
    assert home.started == 2
    (home.packages / "trl-1.16.0.dist-info").rename(home.packages / "trl-1.17.0.dist-info")
    home.check(plan=str(plan))
    assert home.started == 3


@pytest.mark.parametrize("name", ["__editable__.trl-1.16.0.pth", "_trl.pth", "trl.egg-link"])
def test_of_code_that_may_change_in_its_place_nothing_is_kept(home: Home, name: str) -> None:
    (home.packages / name).write_text("/home/me/trl\n")
    home.check()
    home.check()
    assert home.started == 2


def test_of_a_reward_function_nothing_is_kept(home: Home, tmp_path: Path) -> None:
    for _ in range(2):
        home.check(plan=f"{tmp_path}/own.py:score")
    assert home.started == 2


@pytest.mark.parametrize("what", ["cut", "mode", "link", "old", "folder"])
def test_only_what_is_whole_and_this_users_alone_is_believed(home: Home, what: str) -> None:
    home.check()
    (kept,) = home.cache.iterdir()
    if what == "cut":
        kept.write_bytes(kept.read_bytes()[:-1])
    elif what == "mode":
        kept.chmod(0o666)
    elif what == "old":
        os.utime(kept, (time.time() - AGE - 9,) * 2)
    else:
        aside = kept.rename(home.cache / "aside")
        kept.symlink_to(aside) if what == "link" else kept.mkdir()
    assert home.check() == Findings([], [])
    assert home.started == 2


def test_without_a_cache_it_is_checked_each_time(home: Home) -> None:
    home.cache.parent.mkdir(parents=True)
    home.cache.write_text("")
    assert home.check() == home.check() == Findings([], [])
    assert home.started == 2


def test_few_are_kept(home: Home) -> None:
    home.cache.mkdir(parents=True, mode=0o700)
    for number in range(60):
        (home.cache / f"{number:064}").write_text("")
    home.check()
    assert len(list(home.cache.iterdir())) <= 32
