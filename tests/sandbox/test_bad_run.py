"""A run that cannot work: all faults of a step in one message, in seconds; nothing is submitted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Cluster
from .plays import message, play

pytestmark = pytest.mark.sandbox

SPOIL = """
import shutil, sys
import pyarrow as pa, pyarrow.parquet as pq
here = sys.argv[1]
rows = [{"question": "one plus one?", "answer": "#### 2"}] * 64
pq.write_table(pa.Table.from_pylist(rows), f"{here}/raw.parquet")
model = shutil.copytree("model/Llama-3.2-1B-Instruct", f"{here}/model")
with open(f"{model}/model.safetensors", "r+b") as weights:
    weights.truncate(2_000_000)
"""


@pytest.fixture(scope="module")
def spoiled(sandbox: Cluster) -> Iterator[str]:
    """A folder in the cluster's home with a raw data set and a model that is cut off."""
    here = sandbox.run("mktemp -d -p ~ bad-input.XXXXXX")
    sandbox.run(f"~/conda_env/bin/python - {here} <<'END'\n{SPOIL}\nEND")
    yield here
    sandbox.run(f"rm -rf {here}")


# What is judged in one step comes in one message: several faults in one run.
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {
                "mnrun_nodes": 0,
                "mnrun_model": "Qwen/Qwen2.5",
                "mnrun_partition": "YOU_TEAM",
                "sft_dir": "{here}/it's my folder",
                "sft_overide": {},
            },
            ["1 or more", "start with / or ~/", "mnrun_partition", "placeholder YOU_TEAM",
             "sft_dir", "it's my folder", "in a path", "sft_overide",
             "did you mean sft_overrides?"],
        ),
        ({"environment_modules": ["nccl/2.22.9"]}, ["no module nccl/2.22.9", "nccl/2.22.3"]),
        (
            {"mnrun_partition": "gpus", "sft_overrides": {"trainer.total_epoch": 1}},
            ["sft, ray, convert: there is no partition gpus", "debug, gpu",
             "did you mean trainer.total_epochs"],
        ),
        (
            {
                "mnrun_gpus_per_node": 9,
                "sft_overrides": {"optim.lr": "abc", "trainer.default_local_dir": "/tmp/x"},
            },
            ["9 GPUs on each of 2 nodes", "at most 8", "use sft_dir instead",
             "optim.lr is 'abc', but the trainer expects a number"],
        ),
        (
            {
                "mnrun_nodelist": "osk-gpu[94,99]",
                "mnrun_train_files": ["{here}/raw.parquet"],
                "mnrun_model": "{here}/model",
            },
            ["there is no node osk-gpu99", "osk-gpu95", "raw GSM8K", "{here}/raw.parquet",
             "model.safetensors is damaged", "2000000 bytes"],
        ),
        (
            {"sft_overrides": {"trainer.save_freq": 1, "trainer.total_epochs": 9999}},
            ["left: too little for", "x 9.44 MB of checkpoints", "keep fewer (sft_keep"],
        ),
        ({"sft_overrides": {"trainer.max_ckpt_to_keep": 1}}, ["keep 2 or more"]),
    ],
)  # fmt: skip
def test_a_bad_run_ends_before_anything_is_submitted(
    sandbox: Cluster, spoiled: str, variables: dict[str, Any], words: list[str]
) -> None:
    filled = json.loads(json.dumps(variables).replace("{here}", spoiled))
    began = time.monotonic()
    done = play("all.yml", {"mnrun_run_dir": f"{spoiled}/run", **filled})
    took = time.monotonic() - began
    said = message(done)
    assert all(word.replace("{here}", spoiled) in said for word in words), said
    assert sandbox.run(f"find {spoiled} -name record.json") == ""
    assert spoiled not in sandbox.run("squeue --me -h -o %k")
    assert took < 60
