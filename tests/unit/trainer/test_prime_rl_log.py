"""Lines as prime-rl's logger writes them: in colour, with bars between the values."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.log_reader import Reader
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import words
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile

EXAMPLES = Path(__file__).parents[3] / "docs/examples/trainers"
TOTAL = (
    "\x1b[2m20:53:01\x1b[0m \x1b[1m   INFO\x1b[0m \x1b[1m\x1b[22m"
    "Starting training loop (max_steps=4)\x1b[0m\x1b[0m"
)
STEP = (
    "\x1b[2m20:53:0{0}\x1b[0m \x1b[32m\x1b[1mSUCCESS\x1b[0m \x1b[32m\x1b[1m\x1b[22m"
    "Step {0} | {1} | Loss 0.123{0} | Grad. Norm 0.5000 | LR 1.00e-05 | "
    "Throughput 12 tokens/s | MFU 0.1% | Peak Mem. 0.1/0.2 GiB (50.0%)\x1b[0m\x1b[0m"
)


@pytest.mark.parametrize("colour", [True, False])
def test_steps_total_and_loss_are_read(colour: bool) -> None:
    stage = profile("prime-rl", [EXAMPLES, SHIPPED])["sft"]
    reader = Reader(words({key: stage[key] for key in ("checkpoint", "log")}))
    took = ("  2.50s", "980.00ms", " 1m 20s", "  1h 2m")
    for line in (TOTAL, *(STEP.format(*each) for each in enumerate(took, 1))):
        plain = line
        while not colour and "\x1b" in plain:
            before, _, after = plain.partition("\x1b")
            plain = before + after.partition("m")[2]
        reader.take(plain)
    assert reader.stated == 4
    assert [(step.number, step.values) for step in reader.steps()] == [
        (number, {"loss": float(f"0.123{number}")}) for number in (1, 2, 3, 4)
    ]
