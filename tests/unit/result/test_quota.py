"""What quotas leave: answers of `quota` and `lfs quota`, and what is made of none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing, Refused
from ansible_collections.mnrun.train.plugins.module_utils.base.mounts import Mount
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    CheckpointRule,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.result import quota, space
from ansible_collections.mnrun.train.plugins.module_utils.result.quota import (
    Quota,
    quotas,
)

UID, GID = os.geteuid(), os.getegid()
LATER = 4_000_000_000  # a moment of 2096; the tests are named after their rows
HEAD = "     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace\n"


def quota_says(rows: str, group: str = "") -> str:
    text = f"Disk quotas for user alice (uid {UID}): \n{HEAD}{rows}"
    return text + (f"Disk quotas for group lab (gid {GID}): \n{HEAD}{group}" if group else "")


class Shell:
    """Stands where commands are run; answers by the command's first word."""

    def __init__(self, out: str = "", code: int | None = 0) -> None:
        self.asked: list[list[str]] = []
        self._result = Result(code, out, "")

    def __call__(self, command: list[str], seconds: float, stdin: str = "") -> Result:
        assert seconds <= 10
        self.asked.append(command)
        return self._result


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "mount_of", lambda path: Mount("/home", "nfs4", []))
    monkeypatch.setattr(quota, "_group_name", lambda number: "lab")


@pytest.fixture
def on_lustre(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "mount_of", lambda path: Mount("/work", "lustre", []))
    monkeypatch.setattr(quota, "_group_name", lambda number: "lab")


@pytest.mark.parametrize(
    ("row", "left", "limit"),
    [
        (
            "nfs:/home    12288  100000  200000       0      10       0       0       0\n",
            187712,
            200000,
        ),
        (
            "nfs:/home    12288       0   20000       0      10       0       0       0\n",
            7712,
            20000,
        ),
        (
            "nfs:/home    12288   20000       0       0      10       0       0       0\n",
            7712,
            20000,
        ),
        (
            f"/dev/sda1   12288*  10000   20000  {LATER}      1       0       0       0\n",
            7712,
            20000,
        ),
        ("/dev/sda1   12288*  10000   20000  1790000      1       0       0       0\n", 0, 20000),
        ("/dev/sda1   30000*  10000   20000  1790000      1       0       0       0\n", 0, 20000),
    ],
)
def test_what_quota_leaves(on: None, tmp_path: Path, row: str, left: int, limit: int) -> None:
    shell = Shell(quota_says(row), code=1)
    assert quotas(tmp_path, shell) == [Quota("your quota", left * 1024, limit * 1024)]
    assert shell.asked == [["quota", "-w", "-p", "-u", "-g", "-f", "/home"]]


def test_the_group_that_new_files_get_counts_too(on: None, tmp_path: Path) -> None:
    user = "nfs:/home 0 0 0 0 10 0 0 0\n"
    group = "nfs:/home 5000 0 9000 0 10 0 0 0\n"
    told = quota_says(user, group)
    assert quotas(tmp_path, Shell(told)) == [
        Quota("the quota of group lab", 4000 * 1024, 9000 * 1024)
    ]
    other = told.replace(f"gid {GID}", f"gid {GID + 1}")
    assert quotas(tmp_path, Shell(other)) == []
    if UID == 0:  # who is not root may not give a folder to another group
        os.chown(tmp_path, -1, GID + 1)
        tmp_path.chmod(stat.S_ISGID | 0o755)
        assert len(quotas(tmp_path, Shell(other))) == 1


@pytest.mark.parametrize(
    ("row", "left", "limit"),
    [
        (
            "          /work   12288  100000  200000       -      10       0       0       -\n",
            187712,
            200000,
        ),
        ("/work/a/long/name/of/a/file/system\n   [12288] 0 20000  - 10 0 0 -\n", 7712, 20000),
        (
            "/work   12288*  10000   20000 6d23h59m58s      10       0       0       -\n",
            7712,
            20000,
        ),
        ("/work   12288*  10000   20000    none      10       0       0       -\n", 0, 20000),
    ],
)
def test_what_lustre_leaves(
    on_lustre: None, tmp_path: Path, row: str, left: int, limit: int
) -> None:
    shell = Shell(row)
    found = quotas(tmp_path, shell)
    assert found[0] == Quota("your quota", left * 1024, limit * 1024)
    assert found[1].whose == "the quota of group lab"
    assert shell.asked[0] == ["lfs", "quota", "-q", "-u", str(UID), "/work"]


@pytest.mark.parametrize(
    "told",
    [
        "",
        f"Disk quotas for user alice (uid {UID}): none\n",
        quota_says("nfs:/home 12288 0 0 0 10 0 0 0\n"),
        quota_says("nfs:/home what is this\n"),
        "quota: error while getting quota from nfs:/home for alice (id 1): Connection refused\n",
        "Disk quotas for user",
    ],
)
def test_what_says_nothing_is_no_quota(on: None, tmp_path: Path, told: str) -> None:
    assert quotas(tmp_path, Shell(told)) == []
    assert quotas(tmp_path, Shell(told, code=None)) == []


def test_a_command_that_is_not_there_is_no_fault(on: None, tmp_path: Path) -> None:
    def missing(command: list[str], seconds: float, stdin: str = "") -> Result:
        raise Missing(f"There is no {command[0]}")

    assert quotas(tmp_path, missing) == []


def test_too_little_quota_is_refused_with_what_to_do(on: None, tmp_path: Path) -> None:
    rule = CheckpointRule(
        tmp_path / "deep" / "checkpoints", [], hf=True, step_bytes=4_000_000, kept=2
    )
    record = Record("sft", "slurm", "a" * 64, {})
    shell = Shell(quota_says("nfs:/home 12288 0 20000 0 10 0 0 0\n"))
    with pytest.raises(Refused) as error:
        space.require_space(rule, record, shell)
    for words in (f"Your quota on {tmp_path} leaves 7.9 MB of 20.5 MB", "2 x 4 MB", "sft_keep"):
        assert words in error.value.message
    space.require_space(rule._replace(kept=1), record, shell)
    space.require_space(rule, record, Shell())
