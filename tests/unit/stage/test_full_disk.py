"""A disk that is full at any one write of a stage, or from there on: once there is room again, the
same command finds what was submitted; no job is submitted twice, and no checkpoint is lost."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.base.files import explain
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.record.run_options import keep, path_of
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

Act = Callable[[Run], Any]
MOST = 150  # more writes than any of these makes


class FullDisk:
    """A file system below `folder` that is full at the `first` write, `count` times."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
        self.calls = self.failed = self.first = self.count = 0
        self._folder, self._number = str(folder), number
        for name in ("mkdir", "rename", "replace", "link"):
            patch.setattr(os, name, self._failing(getattr(os, name)))
        patch.setattr(os, "fsync", lambda _handle: None)  # it takes most of the time
        opened = self._opening(io.open)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)

    def fill(self, first: int, count: int) -> None:
        self.calls, self.failed, self.first, self.count = 0, 0, first, count

    def _strikes(self, path: Any) -> bool:
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self._folder):
            self.calls += 1
            if self.first <= self.calls < self.first + self.count:
                self.failed += 1
                return True
        return False

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **named: Any) -> Any:
            if self._strikes(path):
                raise OSError(self._number, os.strerror(self._number), os.fspath(path))
            return real(path, *rest, **named)

        return call

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """A new file can be made, but there is no room for what is written to it."""

        def call(path: Any, *rest: Any, **named: Any) -> Any:
            mode = str(named.get("mode", rest[0] if rest else "r"))
            if set("wxa").intersection(mode) and self._strikes(path):
                real(path, *rest, **named).close()
                raise OSError(self._number, os.strerror(self._number))  # of a write: without a name
            return real(path, *rest, **named)

        return call


def first_job(run: Run) -> None:
    run.present(checkpoints=run.rule)


def begun(run: Run) -> None:
    first_job(run)
    run.slurm.run(run.job)
    run.log("total number of steps 4\nstep:2 - train/loss:0.5\n")
    write_step(run.rule.path, 2)


def ended_well(run: Run) -> None:
    begun(run)
    write_step(run.rule.path, 4)
    run.log("total number of steps 4\nstep:4 - train/loss:0.5\n")
    run.slurm.end(run.job, "COMPLETED")


def lost_its_node(run: Run) -> None:
    begun(run)
    run.slurm.end(run.job, "NODE_FAIL")


def damaged(run: Run) -> None:
    begun(run)
    folder = run.stage().ledger.folder(fingerprint(run.request.spec))
    (folder / "record.json").write_text("{")


def settle(run: Run) -> None:
    conclude(run.stage(checkpoints=run.rule), 1, 100)


def other_options(run: Run) -> None:
    run.present(checkpoints=run.rule, spec={"lr": 0.2})


def end_it(run: Run) -> None:
    absent(run.stage(checkpoints=run.rule), Only(), StopRule(), check=False)


CASES: dict[str, tuple[Act, Act, int]] = {  # what was before, what is done, the jobs at its end
    "the first submission": (lambda _run: None, first_job, 1),
    "the end of a training": (ended_well, settle, 1),
    "what is done": (ended_well, first_job, 1),
    "a retry": (lost_its_node, first_job, 2),
    "other options": (ended_well, other_options, 2),
    "a damaged record": (damaged, first_job, 1),
    "an end": (begun, end_it, 1),
}


def tried(act: Act, run: Run) -> str:
    """What it says if it fails, in one message."""
    try:
        act(run)
    except MnrunError as error:
        return error.message
    except OSError as error:
        return explain(error)
    return ""


def steps(run: Run) -> int:
    return len(list(run.folder.glob("checkpoints*/global_step_*")))


@pytest.mark.parametrize(("count", "number"), [(1, errno.EDQUOT), (10_000, errno.ENOSPC)])
@pytest.mark.parametrize("case", CASES)
def test_a_disk_that_is_full_at_any_write_costs_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, case: str, count: int, number: int
) -> None:
    before, act, jobs = CASES[case]
    home, disk = run.folder, FullDisk(monkeypatch, run.folder, number)
    for first in range(1, MOST):
        disk.fill(0, 0)
        run.folder = home / str(first)
        run.folder.mkdir()
        run.request = replace(run.request, run_dir=run.folder, directories=[run.folder / "logs"])
        run.slurm.jobs.clear()
        before(run)
        kept = steps(run)
        disk.fill(first, count)
        said = tried(act, run)
        if not disk.failed:
            break
        if said:
            assert os.strerror(number) in said or "unknown" in said, said
        disk.fill(0, 0)
        assert tried(act, run) == ""
        assert len(run.slurm.jobs) == jobs, first
        assert steps(run) == kept
    assert 1 < first < MOST - 1


def test_options_that_find_no_room_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, "sft:\n  a: 1\n")
    disk = FullDisk(monkeypatch, tmp_path, errno.ENOSPC)
    first = 1
    while not is_kept(tmp_path, disk, first):
        assert path_of(tmp_path).read_text() == "sft:\n  a: 1\n"
        assert os.listdir(tmp_path) == ["options.yml"]  # noqa: PTH208
        first += 1
    assert first > 2


def is_kept(folder: Path, disk: FullDisk, first: int) -> bool:
    disk.fill(first, 10_000)
    try:
        keep(folder, "sft:\n  a: 2\n")
    except OSError as error:
        return str(error.filename) != str(path_of(folder))
    finally:
        disk.fill(0, 0)
    return True
