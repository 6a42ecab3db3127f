"""What the guard sees in the lines that each trainer prints: each bound has a value to look at."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer import words
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_options import words_of
from observer_guard import Guard, bounds

RAY = "\x1b[36m(TaskRunner pid=4244)\x1b[0m "
TRL = "learning_rate=0.003 entropy=4.1 num_tokens=900.0 mean_token_accuracy=0.1 epoch=0.1"
# Two steps of each, in the trainer's form, and the line of a third; without most of what no one
# looks at.
LINES = {
    ("verl-0.5", "sft"): """\
Total training steps: 160
step:1 - train/loss:6.628764629364014 - train/lr(1e-3):0.00375
step:2 - train/loss:{loss} - train/lr(1e-3):0.0075
step:3 - train/loss:1.0
""",
    ("verl-0.9", "sft"): """\
Total steps: 160, num_warmup_steps: 0
step:1 - train/loss:6.628764629364014 - train/grad_norm:1.5 - train/lr:0.003
step:2 - train/loss:{loss} - train/grad_norm:{grad_norm} - train/lr:0.003
step:3 - train/loss:1.0
""",
    ("verl-0.5", "ppo"): f"""\
{RAY}Total training steps: 20
{RAY}step:0 - val-core/openai/gsm8k/reward/mean@1:np.float64(nan)
{RAY}step:1 - actor/ppo_kl:np.float64(0.0) - actor/pg_loss:np.float64(0.1) - \
actor/grad_norm:np.float64(0.5) - critic/vf_loss:np.float64(0.3) - critic/score/mean:0.4
{RAY}step:2 - actor/ppo_kl:np.float64({{kl}}) - actor/pg_loss:np.float64({{policy_loss}}) - \
critic/vf_loss:np.float64(0.3) - critic/grad_norm:np.float64({{grad_norm}}) - \
critic/score/mean:{{reward}} - response_length/mean:{{length}}
{RAY}step:3 - critic/score/mean:0.5
""",
    ("trl", "sft"): f"""\
total_steps=40
step=1 loss=4.9 grad_norm=8.1 {TRL}
step=2 loss={{loss}} grad_norm={{grad_norm}} {TRL}
step=3 loss=1.0 {TRL}
""",
    ("trl-grpo", "sft"): f"""\
total_steps=40
step=1 loss=0.0 grad_norm=8.1 completions/mean_length=12.0 reward=0.5 reward_std=0.1 kl=0.01 {TRL}
step=2 loss={{loss}} grad_norm={{grad_norm}} completions/mean_length={{length}} \
reward={{reward}} reward_std=0.1 kl={{kl}} {TRL}
step=3 loss=1.0 {TRL}
""",
}
CASES = [
    (*trainer, metric)
    for trainer, text in LINES.items()
    for metric in ("loss", "policy_loss", "grad_norm", "reward", "kl", "length")
    if "{" + metric + "}" in text
]
GOOD = {"loss": 1.0, "policy_loss": 1.0, "grad_norm": 1.0, "reward": 0.5, "kl": 0.1, "length": 9.0}


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, which in a job has the files of the room `trainer` beside it."""
    monkeypatch.syspath_prepend(str(Path(words.__file__).parent))
    return importlib.import_module("observer")


def judged(
    observer: Any, folder: Path, trainer: str, stage: str, given: dict[str, Any], **values: Any
) -> Any:
    (folder / "out").write_text(LINES[trainer, stage].format(**{**GOOD, **values}))
    form = words.words(observer.guarded(words_of(profile(trainer, [SHIPPED])[stage])))
    found = observer.Follower([str(folder / "out")], folder, form).look(files=False)
    assert found.total
    return observer.judge(Guard(bounds(given)), found)


@pytest.mark.parametrize(("trainer", "stage", "metric"), CASES)
def test_what_is_not_finite_is_seen(
    observer: Any, tmp_path: Path, trainer: str, stage: str, metric: str
) -> None:
    assert judged(observer, tmp_path, trainer, stage, {"finite": True}) is None
    found = judged(observer, tmp_path, trainer, stage, {"finite": True}, **{metric: float("nan")})
    assert (found.step, found.why) == (2, f"{metric}: not finite since step 2")


@pytest.mark.parametrize(
    ("given", "bad"),
    [
        ({"kl_above": 0.3}, {"kl": 0.5}),
        ({"length_above": 900}, {"length": 901.0}),
        ({"reward_floor": 0.3, "reward_steps": 1}, {"reward": 0.1}),
    ],
)
@pytest.mark.parametrize(("trainer", "stage"), [("verl-0.5", "ppo"), ("trl-grpo", "sft")])
def test_each_bound_of_an_rl_training_has_a_value(
    observer: Any, tmp_path: Path, trainer: str, stage: str, given: Any, bad: dict[str, float]
) -> None:
    assert judged(observer, tmp_path, trainer, stage, given) is None
    assert judged(observer, tmp_path, trainer, stage, given, **bad).step == 2


def test_text_of_the_users_own_code_ends_nothing(observer: Any, tmp_path: Path) -> None:
    good = LINES["verl-0.5", "ppo"].format(**GOOD)
    forged = f"{RAY}step:2 - critic/score/mean:nan\n"
    (tmp_path / "out").write_text(good.replace(f"{RAY}step:2", f"{forged}{RAY}step:2"))
    form = words.words(observer.guarded(words_of(profile("verl-0.5", [SHIPPED])["ppo"])))
    found = observer.Follower([str(tmp_path / "out")], tmp_path, form).look(files=False)
    assert observer.judge(Guard(bounds({"finite": True})), found) is None


def test_trl_prints_a_loss_that_is_not_finite() -> None:
    """By default transformers prints the mean of the earlier ones instead, or 0."""
    assert profile("trl", [SHIPPED])["sft"]["defaults"]["logging_nan_inf_filter"] is False
