"""The trainer's own lines, among text of data and models that looks like them."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.log_reader import (
    LONGEST,
    Reader,
    own_lines,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import (
    parse,
    read_progress,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.telling import (
    behind_last_step,
    find_telling,
)

from tests.helpers.training_logs import RAY

VALUE = "val-core/openai/gsm8k/reward/mean@1"


def ppo(steps: int, samples: tuple[str, ...] = (), seed: int = 0) -> str:
    """A log of PPO with a validation every ten steps, which prints `samples` before its values."""
    choose = random.Random(seed)  # noqa: S311 - the same log each time
    lines = [f"Total training steps: {steps}"]
    for step in range(steps + 1):
        values = f"critic/score/mean:{step}.5 - training/global_step:{step}" if step else ""
        if step % 10 == 0:
            lines += choose.sample(samples, len(samples))
            values = " - ".join(filter(None, (values, f"{VALUE}:0.{step:03d}")))
        lines.append(f"step:{step} - {values}")
    return "".join(f"{RAY}{line}\n" for text in lines for line in text.split("\n"))


FAKES = (
    "[response] First step:99999 - add them",
    "[prompt] How?\n[response] Total training steps: 3\nstep:41 - critic/score/mean:9.0\n[score] 1",
    f"[prompt] How?\n[response] step by step\nstep:30 - {VALUE}:9.9\n[ground_truth] 4\n[acc] True",
    "Total training steps: 5",
    "total number of steps 5",
    "step:45 - critic/score/mean:9.0",
    "step:45 - critic/score/mean:9.0",
    "step:3 - critic/score/mean:9.0",
    "step:99999 - critic/score/mean:9.0",
    f"step:7 - {VALUE}:9.0",
    "(TaskRunner pid=1) step:44 - critic/score/mean:9.0",
    "mnrun: [2/5] compare the tensors",
    "\rTraining Progress: 100%|█| 3/3 [00:00<?, ?it/s",
    "I see step:44 - critic/score/mean:9.0",
    "step:44 - critic/score/mean:1e999",
    "step:44 - critic/score/mean:nine",
    "step:\u0664\u0664 - critic/score/mean:9.0",
)


@pytest.mark.parametrize("seed", range(20))
def test_samples_change_nothing_of_the_progress(seed: int) -> None:
    assert parse(ppo(50, FAKES, seed)) == parse(ppo(50))


def test_the_resume_guard_expects_what_the_trainer_announced(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(ppo(50, FAKES))
    found = read_progress([tmp_path / "log"])
    assert (found.total, found.total_stated, found.all_epochs) == (50, True, None)


def test_a_jump_that_the_next_lines_deny_is_forgotten() -> None:
    text = "".join(f"step:{n} - train/loss:{n}.5\n" for n in (1, 2, 3, 150, 4, 5))
    assert parse(f"total number of steps 160\n{text}").step == 5


OTHER = "\x1b[36m(RewardManager pid=77, ip=10.0.0.3)\x1b[0m "


@pytest.mark.parametrize(("lines", "announces"), [(1, True), (3, True), (40, True), (400, False)])
def test_what_another_process_prints_is_not_the_trainers(lines: int, announces: bool) -> None:
    """A process of Ray that scores answers, however much like the trainer it prints."""
    forged = [
        *([f"{OTHER}Total training steps: {lines + 60}"] if announces else []),
        *(f"{OTHER}step:{n} - critic/score/mean:9.0 - {VALUE}:9.9" for n in range(1, lines + 1)),
    ]
    own = ppo(50).splitlines()
    for at in (0, 1, 2, 20, len(own)):
        text = "\n".join([*own[:at], *forged, *own[at:], ""])
        assert parse(text)._replace(highest=50) == parse(ppo(50)), at


def test_a_step_far_ahead_counts_once_another_line_bears_it_out() -> None:
    steps = "".join(f"step:{n} - train/loss:{n}.5\n" for n in range(1, 8))
    announced = "total number of steps 160\n"
    assert parse(f"{announced}{steps}step:150 - train/loss:0.1\n").step == 7
    assert parse(f"{announced}{steps}step:9 - train/loss:0.1\n").step == 9
    borne_out = "step:150 - train/loss:0.1\nstep:151 - train/loss:0.1\n"
    assert parse(f"{announced}{steps}{borne_out}").step == 151


def test_a_step_behind_lines_that_were_not_read_may_be_far_ahead(tmp_path: Path) -> None:
    steps = "".join(f"step:{n} - train/loss:{n}.5\n" for n in range(1, 8))
    noise = "noise, and more of it\n" * 40_000
    (tmp_path / "log").write_text(f"{steps}{noise}step:900 - train/loss:0.1\n")
    assert read_progress([tmp_path / "log"]).step == 900


def of(lines: str) -> dict[str, float]:
    return parse(f"step:1 - train/loss:5.0\n{lines}step:3 - x/y:1\n").metrics


def test_where_two_lines_of_a_step_differ_neither_is_believed() -> None:
    own, forged = "step:2 - train/loss:4.0 - val/loss:3.0\n", "step:2 - train/loss:0.1\n"
    for both in (own + forged, forged + own):
        assert of(both) == {"first_loss": 5.0, "loss": 5.0, "first_val_loss": 3.0, "val_loss": 3.0}
    assert of(own + own)["loss"] == 4.0


def test_a_trainer_whose_ranks_print_each_step_has_the_values_of_the_first() -> None:
    lines = [f"step:{n} - train/loss:{rank}.{n}\n" for n in range(1, 9) for rank in (1, 2)]
    assert parse("".join(lines)).metrics == {"first_loss": 1.1, "loss": 1.8}


def test_a_sample_that_does_not_end_hides_nothing() -> None:
    text = "[prompt] x\nstep:1 - train/loss:1.0\nstep:2 - train/loss:1.0\n"
    assert parse(text).step == 2
    assert own_lines(text.splitlines()) == text.splitlines()


def test_a_very_long_sample_is_given_up() -> None:
    reader = Reader()
    reader.take("[prompt] x")
    for step in range(1, 5002):
        reader.take(f"step:{step} - train/loss:1.0")
    assert reader.steps()[-1].number == 5001


SAMPLE = """\
[prompt] Explain this:
Traceback (most recent call last):
torch.OutOfMemoryError: CUDA out of memory.
[response] slurmstepd: error: *** JOB 12 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***
[ground_truth] The actor died
[score] 0.0
"""


def test_an_error_in_a_sample_is_not_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"step:4 - train/loss:1.0\n{SAMPLE}ValueError: the batch\n")
    found = find_telling([log])
    assert found is not None
    assert found.line == "ValueError: the batch"
    assert behind_last_step([log]) == ["ValueError: the batch"]


HOSTILE = (
    "Training Progress:",
    "Epoch 1/1:  1%|",
    "Epoch 1/1:   1%|| 1/160 [",
    "step:1 - ",
    "step:1 - train/loss:",
    " - train/loss:1.0",
    "val-core/a/",
    "(TaskRunner pid=1, ip=",
    "1" * 10,
    "\x1b[",
    "\r",
    "[prompt] ",
    "Total training steps: ",
    "mnrun: [1/5] ",
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_line_of_a_megabyte_is_read_at_once(piece: str) -> None:
    line = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    begun = time.process_time()
    parse(f"{line}\n")
    parse(line)
    # Patterns that look again and again take minutes; this is for a machine under load.
    assert time.process_time() - begun < 2
    assert LONGEST < 100_000
