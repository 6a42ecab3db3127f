"""A file system that fails for a moment, or for long: nothing is trained again, nothing moved."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import presence
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.base.files import explain
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.model import manifest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import ManifestRule
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action

from tests.helpers.checkpoints import write_hf, write_step
from tests.helpers.crashes import claim
from tests.helpers.stage_run import SPEC, Run

ERRORS = (errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT)
TWO_KINDS = (errno.EIO, errno.EACCES)  # one that passes, and one that does not
# Each error alone; more of them in a row of one of each kind.
CASES = [*((1, number) for number in ERRORS),
         *((count, number) for count in (2, 10_000) for number in TWO_KINDS)]  # fmt: skip


class Stumbling:
    """A file system below `folder` whose reading calls fail from the `first` on, `count` times."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
        self.calls, self.failed, self.number = 0, 0, number
        self.first, self.count = 0, 0
        self._folder = str(folder)
        for name in ("stat", "lstat", "listdir", "scandir"):
            patch.setattr(os, name, self._failing(getattr(os, name)))
        opened = self._failing(io.open, reading=True)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)

    def fail(self, first: int, count: int) -> None:
        self.calls, self.failed, self.first, self.count = 0, 0, first, count

    def strike(self, path: Any) -> None:
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self._folder):
            self.calls += 1
            if self.first <= self.calls < self.first + self.count:
                self.failed += 1
                raise OSError(self.number, os.strerror(self.number), os.fspath(path))

    def _failing(self, real: Callable[..., Any], reading: bool = False) -> Callable[..., Any]:
        def call(path: Any = ".", *rest: Any, **named: Any) -> Any:
            mode = str(named.get("mode", rest[0] if rest else "r"))
            if not reading or not set("wax+").intersection(mode):
                self.strike(path)
            found = real(path, *rest, **named)
            return self._stream(found, path) if reading and "r" in mode else found

        return call

    def _stream(self, stream: Any, path: Any) -> Any:
        """What is read of an open file may fail too."""
        if not isinstance(stream, io.BufferedReader):
            return stream
        return FailingReader(stream.detach(), self, path)


class FailingReader(io.BufferedReader):
    def __init__(self, raw: Any, disk: Stumbling, path: Any) -> None:
        super().__init__(raw)
        self._disk, self._path = disk, path

    def read(self, size: int | None = -1, /) -> bytes:
        self._disk.strike(self._path)
        return super().read(-1 if size is None else size)


def whole(run: Run) -> set[str]:
    return {path.name for path in run.folder.glob("**/*") if not path.name.startswith(".")}


def done(run: Run) -> Run:
    rule = run.rule._replace(hf=True)
    run.present(checkpoints=rule)
    run.log("total number of steps 4\nstep:4 - train/loss:0.5 - train/lr:1\n")
    for step in (2, 4):
        write_hf(write_step(rule.path, step) / "huggingface")
    run.slurm.end(run.job, "COMPLETED")
    conclude(run.stage(checkpoints=rule), 1, 100)
    return run


def tried(run: Run, disk: Stumbling, **changes: Any) -> tuple[str, bool]:
    """Present the stage: how that ended, and whether anything failed. It may submit nothing."""
    first, count = disk.first, disk.count
    disk.fail(0, 0)
    jobs = len(run.slurm.jobs)
    disk.fail(first, count)
    try:
        outcome = run.present(**changes)
    except MnrunError as error:
        ended = error.message
    except OSError as error:
        ended = explain(error)
    else:
        assert outcome.action is Action.NOTHING, outcome.why
        ended = ""
    failed = disk.failed > 0
    disk.fail(0, 0)
    assert len(run.slurm.jobs) == jobs, "it was trained again"
    return ended, failed


def each_point(run: Run, disk: Stumbling, count: int, **changes: Any) -> list[str]:
    """How it ended with errors from the first read on, from the second one on, and so on. None of
    them may move anything."""
    ends: list[str] = []
    before = whole(run)
    while True:
        disk.fail(len(ends) + 1, count)
        ended, failed = tried(run, disk, **changes)
        if not failed:
            assert whole(run) == before, "something was set aside"
            return ends
        ends.append(ended)


def check(ends: list[str], number: int, count: int) -> None:
    for ended in filter(None, ends):
        assert "unknown" in ended or "permissions" in ended
    if count == 1 and number != errno.EACCES:
        assert not any(ends), "one error is looked past"


@pytest.mark.parametrize(("count", "number"), CASES)
def test_an_error_at_any_read_of_a_finished_training_is_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, count: int, number: int
) -> None:
    rule = done(run).rule._replace(hf=True)
    ends = each_point(run, Stumbling(monkeypatch, run.folder, number), count, checkpoints=rule)
    assert len(ends) > 30
    check(ends, number, count)


@pytest.mark.parametrize(("count", "number"), CASES)
def test_an_error_at_any_read_of_a_finished_conversion_is_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, count: int, number: int
) -> None:
    rule = ManifestRule(run.folder / "converted")
    run.present(manifest=rule)
    write_hf(rule.path)
    about: dict[str, Any] = {"spec": {}, "training": {}, "base_model": {}}
    about |= {"metrics": {}, "stage": "sft", "step": 4, "source": "x", "versions": {}}
    manifest.write(rule.path, {**about, "fingerprint": fingerprint(SPEC)})
    run.slurm.end(run.job, "COMPLETED")
    conclude(run.stage(manifest=rule), 1, 100)
    ends = each_point(run, Stumbling(monkeypatch, run.folder, number), count, manifest=rule)
    assert len(ends) > 10
    check(ends, number, count)


@pytest.mark.parametrize("number", TWO_KINDS)
def test_an_error_while_a_failed_stage_is_continued_skips_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    run.present(checkpoints=run.rule)
    for step in (2, 4):
        write_step(run.rule.path, step)
    run.slurm.end(run.job, "NODE_FAIL")
    disk = Stumbling(monkeypatch, run.folder, number)
    for first in range(1, 200):
        disk.fail(first, 10_000)
        try:
            run.present(checkpoints=run.rule)
        except (MnrunError, OSError):
            disk.fail(0, 0)
            assert len(run.slurm.jobs) == 1
            assert not list(run.rule.path.glob("passed_over*"))
            assert not list(run.folder.glob("checkpoints.*"))
        else:
            break
    disk.fail(0, 0)
    assert run.attempt().first_step == 4


def test_a_record_that_is_damaged_for_a_moment_is_not_rebuilt(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run)
    real, cut = presence.opened, [True]

    def once_cut(path: Path) -> BinaryIO:
        with real(path) as stream:
            data = stream.read()
        first = path.name == "record.json" and cut and cut.pop()
        return io.BytesIO(data[: len(data) // 2] if first else data)

    monkeypatch.setattr(presence, "opened", once_cut)
    outcome = run.present(checkpoints=run.rule)
    assert (outcome.action, outcome.notes) == (Action.NOTHING, [])
    assert not cut


def test_a_checkpoint_that_is_damaged_for_a_moment_is_complete(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run)
    shard = run.rule.path / "global_step_4" / "model_world_size_2_rank_1.pt"
    content, looks = shard.read_bytes(), []
    real = os.listdir

    def listing(path: Any) -> list[str]:
        if str(path).endswith("global_step_4"):
            looks.append(path)
            shard.write_bytes(content if len(looks) > 1 else content[:-30])
        return real(path)

    monkeypatch.setattr(os, "listdir", listing)
    assert run.present(checkpoints=run.rule).action is Action.NOTHING
    assert len(looks) > 1


@pytest.mark.parametrize("number", ERRORS)
def test_a_job_that_slurm_forgot_is_not_over_while_its_log_cannot_be_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    run.present(checkpoints=run.rule)
    claim(run, run.job.job_id)
    run.log("step:1 - train/loss:1.0\n")
    moment = run.clock.now()
    os.utime(run.attempt().stdout, (moment, moment))
    run.slurm.jobs.clear()
    disk = Stumbling(monkeypatch, run.folder / "logs", number)
    disk.fail(1, 10_000)
    with pytest.raises(MnrunError, match="unknown"):
        run.present(checkpoints=run.rule)
    assert run.slurm.count("sbatch") == 1
