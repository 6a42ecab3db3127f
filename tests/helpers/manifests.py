"""What a manifest says of a converted model."""

from __future__ import annotations

from typing import Any

ABOUT: dict[str, Any] = {
    "stage": "sft",
    "step": 160,
    "source": "/run/sft/checkpoints/global_step_160",
    "fingerprint": "ab" * 32,
    "spec": {"stage": "convert-sft"},
    "training": {"fingerprint": "cd" * 32, "spec": {"stage": "sft"}},
    "base_model": {"path": "/model", "identity": "ef" * 32},
    "metrics": {"loss": 0.1},
    "versions": {"verl": "0.5.0"},
}
