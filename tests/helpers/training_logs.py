"""Logs as verl writes them."""

from __future__ import annotations

SFT = """\
Number of steps/epoch 160, number of epochs 1, total number of steps 160
Epoch 1/1:   0%|          | 0/160 [00:00<?, ?it/s]/site-packages/x.py:386: UserWarning: This
step:1 - train/loss:6.397891521453857 - train/lr(1e-3):0.1875
\rEpoch 1/1:   1%|| 1/160 [00:03<07:59, 3.0s/it]step:2 - train/loss:6.44 - train/lr(1e-3):0.37
\rEpoch 1/1:  99%|█| 159/160 [00:36<00:00, 8.5it/s]step:160 - train/loss:0.0417 - train/lr(1e-3):0.0
step:160 - val/loss:0.04209913685917854
Final validation metrics: {'val/loss': 0.04209913685917854}
"""
RAY = "\x1b[36m(TaskRunner pid=29371, ip=10.0.0.2)\x1b[0m "
PPO = (
    f"{RAY}Total training steps: 20\n"
    f"{RAY}step:0 - val-core/openai/gsm8k/reward/mean@1:0.265625\n"
    f"{RAY}step:1 - global_seqlen/min:2565 - critic/lr:0.001 - critic/score/mean:0.2578125 - "
    "critic/advantages/mean:-7.805007307126743e-09\n"
    f"{RAY}step:10 - critic/score/mean:0.73 - val-core/openai/gsm8k/reward/mean@1:0.78\n"
)
