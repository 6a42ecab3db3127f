"""What is read for a report: records, logs and tracker files of all attempts, bounded."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.record.run_options import keep
from ansible_collections.mnrun.train.plugins.module_utils.runs import report
from ansible_collections.mnrun.train.plugins.module_utils.runs.report import reported
from ansible_collections.mnrun.train.plugins.module_utils.runs.training_runs import TrainingRun
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.trainer import tracker_files
from ansible_collections.mnrun.train.plugins.module_utils.trainer.tracker_files import Logged
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL

from mnrun.report.page import page

WANDB = Path(__file__).parents[1] / "trainer" / "trackers" / "run-f2ouhu8i.wandb.gz"
LOGGED = 1795812930.0  # about when W&B logged the six steps in that file
SPEC = {"stage": "sft", "trainer": "verl.x", "trainer_version": "0.5.0", "options": {"lr": 0.1}}


def silent(command: list[str], seconds: float, stdin: str) -> Result:
    return Result(1, "", "Unable to contact slurm controller")


def line(step: int, value: float | str) -> str:
    return f"step:{step} - train/loss:{value}\n"


def attempt(folder: Path, number: int, phase: Phase, text: str, **more: Any) -> Attempt:
    log = folder / f"sft-{number}.out"
    log.write_text(text, encoding="utf-8")
    made = Attempt(number, f"t{number}", f"sft-{number}", 1.0 * number, phase, job_id=str(number),
                   state=phase.value.upper(), start=10.0 * number, end=10.0 * number + 5,
                   nodes="n[1-2]", stdout=str(log), gpus=4)  # fmt: skip
    return replace(made, **more)


def look(folder: Path, *attempts: Attempt, points: int = 600) -> dict[str, Any]:
    record = Record("sft", "slurm", fingerprint(SPEC), SPEC, {}, list(attempts), None, VERL)
    Ledger(folder, "sft", Clock()).save(record)
    client = SlurmClient(silent, Clock())
    found = reported(TrainingRun("default", folder), client, Clock(), points)
    json.dumps(found)  # it is sent as JSON
    return found


def test_all_attempts_count_in_their_order(tmp_path: Path) -> None:
    first = attempt(tmp_path, 1, Phase.FAILED, line(1, 6.0) + line(2, 5.0) + line(3, 9.0))
    second = attempt(tmp_path, 2, Phase.SUCCEEDED, line(3, 4.0) + line(4, "nan") + line(5, 2.0))
    (stage,) = look(tmp_path, first, second)["stages"]
    loss = stage["curves"]["loss"]
    assert loss == [(1, 6.0), (2, 5.0), (3, 4.0), (4, None), (5, 2.0)]
    assert stage["resumes"] == [{"attempt": 2, "step": 3, "repeated": 1}]
    one, two = stage["attempts"]
    assert (one["number"], one["nodes"], one["gpus"], one["last_step"]) == (1, 2, 4, 3)
    assert one["cause"]["code"]
    assert one["problem"]
    assert two["cause"] is None


def test_the_last_of_many_options_is_there(tmp_path: Path) -> None:
    keep(tmp_path, "# a comment\n" * 1000 + "sft: {optim.lr: 2.0e-5}\n")
    one = attempt(tmp_path, 1, Phase.SUCCEEDED, line(1, 6.0))
    assert look(tmp_path, one)["kept_options"].endswith("sft: {optim.lr: 2.0e-5}\n")


def test_a_long_training_is_thinned(tmp_path: Path) -> None:
    text = "".join(line(step, 1.0 + step % 5) for step in range(1, 5_001) if step != 3777)
    text = text.replace(line(4999, 5.0), line(4999, 123.0))
    (stage,) = look(tmp_path, attempt(tmp_path, 1, Phase.SUCCEEDED, text), points=300)["stages"]
    loss = stage["curves"]["loss"]
    assert len(loss) <= 300
    assert (loss[0][0], loss[-1][0]) == (1, 5_000)
    assert (4999, 123.0) in loss
    assert stage["attempts"][0]["steps_logged"] == 4_999


def test_a_tracker_file_tells_the_times_of_the_attempt_that_it_is_of(tmp_path: Path) -> None:
    folder = tmp_path / "sft" / "wandb" / "offline-run-1"
    (folder / "files").mkdir(parents=True)
    (folder / "run-1.wandb").write_bytes(gzip.decompress(WANDB.read_bytes()))
    (folder / "files" / "requirements.txt").write_text(
        "torch==2.6.0\x1b[31m\nother==1\nray==2.52\n"
    )
    early = attempt(
        tmp_path, 1, Phase.CANCELLED, line(1, 6.0), start=LOGGED - 900, end=LOGGED - 800
    )
    own = attempt(tmp_path, 2, Phase.SUCCEEDED, line(1, 6.0), start=LOGGED - 300, end=LOGGED + 300)
    found = look(tmp_path, early, own)
    first, second = found["stages"][0]["attempts"]
    assert first["times"] is None
    assert LOGGED - 300 < second["times"]["first"] <= second["times"]["last"] < LOGGED + 300
    assert len(second["times"]["saves"]) == 1
    assert found["packages"] == {"ray": "2.52", "torch": "2.6.0"}


def test_without_a_tracker_the_times_are_those_that_the_job_saw(tmp_path: Path) -> None:
    own = attempt(tmp_path, 1, Phase.SUCCEEDED, line(1, 6.0) + line(2, 5.0))
    folder = Path(look(tmp_path, own)["stages"][0]["record"])
    for text, expected in (
        ('{"token": "t1", "first": [1, 12.0], "last": [2, 14.5]}', (12.0, 14.5)),
        ('{"token": "another", "first": [1, 12.0], "last": [2, 14.5]}', None),
        ('{"token": "t1", "first": [1, 15.0], "last": [2, 14.5]}', None),
        ('{"token": "t1", "first": [1, true], "last": [2, NaN]}', None),
        ('{"token": "t1", "first": 1, "last": [1e999, 1e999]}', None),
        ("[", None),
    ):
        (folder / "steps-1.json").write_text(text)
        times = look(tmp_path, own)["stages"][0]["attempts"][0]["times"]
        assert (times and (times["first"], times["last"])) == expected, text


def test_what_is_read_becomes_a_page(tmp_path: Path) -> None:
    keep(tmp_path, "sft:\n  optim.lr: 0.25\n")
    found = look(tmp_path, attempt(tmp_path, 1, Phase.FAILED, line(1, 6.0) + line(2, 5.0)))
    text = page([found], "site x", "0")
    assert "sft.optim.lr=0.25" in text
    assert 'data-points="2"' in text
    assert "Attempts without a result" in text


@pytest.mark.parametrize("name", ["none.out", "."])
def test_a_log_that_is_gone_leaves_no_curve(tmp_path: Path, name: str) -> None:
    gone = attempt(tmp_path, 1, Phase.SUCCEEDED, "", stdout=str(tmp_path / name))
    (stage,) = look(tmp_path, gone)["stages"]
    assert stage["curves"] == {}
    assert stage["attempts"][0]["times"] is None


def test_of_a_tracker_only_what_a_report_shows_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"own/{number}": 1.0 for number in range(100)}
    wanted = {"train/loss": 2.0, "timing_s/save_checkpoint": 0.5}
    monkeypatch.setattr(tracker_files, "found", lambda *_: [tmp_path])
    logged = [Logged(1.0, 1, {**many, **wanted})]
    monkeypatch.setattr(tracker_files, "logged", lambda _: logged)
    record = Record("sft", "slurm", fingerprint(SPEC), SPEC, {}, [], None, VERL)
    assert report._tracked(tmp_path, record) == [Logged(1.0, 1, wanted)]


def test_what_trains_nothing_has_no_step(tmp_path: Path) -> None:
    one = attempt(tmp_path, 1, Phase.SUCCEEDED, "", reached=7)
    record = Record("convert-sft", "slurm", fingerprint(SPEC), SPEC, {}, [one], None, {})
    Ledger(tmp_path, "convert-sft", Clock()).save(record)
    run = TrainingRun("default", tmp_path)
    (stage,) = reported(run, SlurmClient(silent, Clock()), Clock(), 600)["stages"]
    assert stage["attempts"][0]["last_step"] is None
