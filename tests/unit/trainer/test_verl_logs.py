"""Lines of verl 0.9's logs, as its profile reads them. They are of a real training on a GPU."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import Progress, parse
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_options import words_of

PROFILE = profile("verl-0.9", [SHIPPED])
RAY = "\x1b[36m(TaskRunnerV1 pid=4244)\x1b[0m "
SFT = """\
Total steps: 160, num_warmup_steps: 0
step:1 - train/loss:6.628764629364014 - train/grad_norm:1.5 - train/lr:0.003
step:40 - val/loss:0.15538838505744934
"""
PPO = f"""\
{RAY}INFO:2026-11-26 22:49:35,239:Total training steps: 4
\x1b[36m(WorkerDict pid=4750)\x1b[0m Total steps: 8, num_warmup_steps: 0
{RAY}step:0 - val-aux/openai/gsm8k/reward/mean@1:np.float64(0.296875)
{RAY}step:1 - global_seqlen/min:2494.0 - critic/score/mean:np.float64(0.40625)
"""


@pytest.mark.parametrize(
    ("stage", "text", "step", "total", "metrics"),
    [
        ("sft", SFT, 40, 160, {"loss": 6.628764629364014, "val_loss": 0.15538838505744934}),
        ("ppo", PPO, 1, 4, {"val_reward": 0.296875, "reward": 0.40625}),
    ],
)
def test_the_profile_reads_them(
    stage: str, text: str, step: int, total: int, metrics: dict[str, float]
) -> None:
    first = {f"first_{name}": value for name, value in metrics.items()}
    expected = Progress(step, total, {**metrics, **first}, total_stated=True, highest=total)
    assert parse(text, words_of(PROFILE[stage])) == expected
