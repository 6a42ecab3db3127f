"""What one attempt logged, by its log and by its tracker, and the sample answers in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.trainer.curves import with_every_metric
from ansible_collections.mnrun.train.plugins.module_utils.trainer.history import history, times_of
from ansible_collections.mnrun.train.plugins.module_utils.trainer.tracker_files import Logged
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL

GUARD = {"grad_norm": "(?:train|actor|critic)/grad_norm", "length": "response_length/mean"}
TRAINER: dict[str, Any] = with_every_metric({**VERL, "log": {**VERL["log"], "guard": GUARD}})
RAY = "\x1b[36m(TaskRunner pid=9)\x1b[0m "
SAMPLE = (
    f"{RAY}[prompt] user\n{RAY}How many?\n{RAY}[response] six\n{RAY}step:9 - train/loss:0.0\n"
    f"{RAY}[ground_truth] 6\n{RAY}[score] 1.0\n"
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ppo.log"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_log_gives_the_metrics_of_the_guard_as_well(tmp_path: Path) -> None:
    text = (
        "step:1 - actor/grad_norm:0.5 - critic/grad_norm:4.0 - response_length/mean:nan - x/y:1\n"
        "step:2 - actor/grad_norm:0.25 - critic/grad_norm:inf - response_length/mean:9.0\nstep:3 -"
    )
    first, second = history(write(tmp_path, text), TRAINER, [], 8).steps
    assert first.values == {"actor/grad_norm": 0.5, "critic/grad_norm": 4.0}
    assert first.broken == ("length",)
    assert second.values == {"actor/grad_norm": 0.25, "length": 9.0}


def test_sample_answers_belong_to_the_validation_behind_them(tmp_path: Path) -> None:
    text = f"{SAMPLE}{RAY}step:1 - critic/score/mean:0.5\n{SAMPLE}"
    found = history(write(tmp_path, text), TRAINER, [], 8)
    assert [step.number for step in found.steps] == [1]  # and none of a sample
    first, last = found.answers
    assert (first.step, last.step) == (1, None)
    assert first.prompt == "user\nHow many?"
    assert first.answer == "six\nstep:9 - train/loss:0.0"
    assert (first.truth, first.score) == ("6", 1.0)


def test_the_first_answers_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    line = "{}{}step:{} - critic/score/mean:0.5\n"
    text = "".join(line.format(SAMPLE, RAY, number) for number in range(1, 101))
    answers = history(write(tmp_path, text), TRAINER, [], 4).answers
    assert [one.step for one in answers] == [1, 98, 99, 100]


def test_an_answer_is_bounded_and_holds_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    endless = "".join(f"{RAY}{'y' * 500}\n" for _ in range(5000))
    text = f"{RAY}[prompt] a\x1b[31m\x07\n{RAY}[response] b\n{endless}{RAY}[score] nan\n"
    (answer,) = history(write(tmp_path, text), TRAINER, [], 4).answers
    assert answer.prompt == "a"
    assert len(answer.answer) < 2100
    assert answer.score is None


def test_a_tracker_tells_when_steps_were_made_and_saved() -> None:
    saved = {"timing_s/save_checkpoint": 4.0}
    logged = [Logged(90.0, 0, {}), Logged(100.0, 1, {}), Logged(120.0, 2, saved)]
    times = times_of(logged)
    assert times is not None
    assert (times.first, times.last, times.saves) == (100.0, 120.0, [(116.0, 120.0)])
    assert times_of([]) is None


def test_a_trainer_without_steps_in_its_log_has_those_of_its_tracker(tmp_path: Path) -> None:
    logged = [Logged(1.0, 1, {"train/loss": 2.0, "x": 1.0}), Logged(2.0, 2, {"eval/loss": 1.0})]
    silent: dict[str, Any] = {"checkpoint": {"folder": "{step}"}, "log": {}}
    steps = history(write(tmp_path, "hello\n"), silent, logged, 8).steps
    assert [(step.number, step.values) for step in steps] == [
        (1, {"loss": 2.0}), (2, {"val_loss": 1.0})
    ]  # fmt: skip
    own = history(write(tmp_path, "step:7 - train/loss:3.0\n"), TRAINER, logged, 8).steps
    assert [step.number for step in own] == [7]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert history(tmp_path / "none.log", TRAINER, [], 8) == ([], None, [])
    assert history(None, TRAINER, [], 8) == ([], None, [])
