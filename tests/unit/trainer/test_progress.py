"""Progress read from verl's console lines (0.5.0), as they really come."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.logfile import CHUNK
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import (
    Progress,
    parse,
    read_progress,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.training_logs import PPO, SFT


def test_sft_is_read_behind_its_progress_bar() -> None:
    assert parse(SFT) == Progress(
        step=160,
        total=160,
        metrics={
            "first_loss": 6.397891521453857,
            "loss": 0.0417,
            "first_val_loss": 0.04209913685917854,
            "val_loss": 0.04209913685917854,
        },
        all_epochs=160,
        highest=160,
    )


def test_ppo_is_read_behind_ray_s_prefix() -> None:
    assert parse(PPO) == Progress(
        step=10,
        total=20,
        metrics={
            "first_val_reward": 0.265625,
            "val_reward": 0.78,
            "first_reward": 0.2578125,
            "reward": 0.73,
        },
        total_stated=True,
        highest=20,
    )


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("\rEpoch 2/3:  50%|████ | 80/160 [00:36<00:00,  8.59it/s]", 480),
        ("\rTraining Progress:  50%|█████     | 10/20 [00:00<?, ?it/s]", 20),
        ("\rEpoch 2/3:  50%|██", None),
        ("Total training steps: ", None),
    ],
)
def test_a_total_is_worked_out_from_bars_but_not_stated(text: str, total: int | None) -> None:
    assert parse(text) == Progress(total=total)


@pytest.mark.parametrize(
    "line",
    [
        "step:7 - ",
        "step:7 - train/loss",
        "step:7 - hello",
        "footstep:7 - train/loss:1.0",
        "step:7 - train/loss:1.0",  # still being written: no line's end
        "step: 7 - train/loss:1.0\n",
        "the answer is step:7 - a:1\n",
        "step:9999999999 - train/loss:1.0\n",
    ],
)
def test_what_is_no_whole_step_line_is_no_step(line: str) -> None:
    assert parse(line).step is None


def test_values_of_numpy_and_not_a_number() -> None:
    text = "step:3 - train/loss:np.float64(1.5) - critic/score/mean:nan - actor/x:inf\n"
    assert parse(text) == Progress(step=3, metrics={"first_loss": 1.5, "loss": 1.5})


def test_several_data_sets_give_their_mean() -> None:
    text = "step:3 - val-core/a/reward/mean@1:0.2 - val-aux/b/reward/mean@1:0.4\n"
    assert parse(text).metrics["val_reward"] == pytest.approx(0.3)


def test_a_long_log_is_read_at_both_ends_only(tmp_path: Path) -> None:
    log = tmp_path / "out"
    middle = "noise, and more of it\n" * (CHUNK // 10)
    log.write_text(
        f"total number of steps 9\nstep:1 - train/loss:6.0 - x/y:1\n{middle}"
        "step:8 - train/loss:1.0 - x/y:1\n"
    )
    assert log.stat().st_size > 2 * CHUNK
    assert read_progress([log]) == Progress(
        8, 9, {"first_loss": 6.0, "loss": 1.0}, all_epochs=9, highest=9
    )


def test_two_logs_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("\rEpoch 1/2:  99%|██| 8/9 [00:36<00:00,  8.59it/s]")
    (tmp_path / "out").write_text("step:8 - train/loss:1.0 - x/y:1\n")
    logs = [tmp_path / "err", tmp_path / "out", tmp_path / "none"]
    assert read_progress(logs) == Progress(8, 18, {"first_loss": 1.0, "loss": 1.0})


def test_no_log_no_progress(tmp_path: Path) -> None:
    assert read_progress([]) == read_progress([tmp_path / "none"]) == Progress()


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    assert parse(text).step is None or "step:" in text


@given(st.integers(0, len(SFT)), st.integers(0, len(SFT)))
def test_any_piece_of_a_log_says_nothing_wrong(begin: int, end: int) -> None:
    found = parse(SFT[begin:end])
    assert found.step in (None, 1, 2, 160)
    assert found.metrics.get("loss") in (None, 6.397891521453857, 6.44, 0.0417)
    assert found.total in (None, 160)
