"""Conversions of a LoRA training by the real verl, whole and disturbed; each test goes on from the
last. test_main_path.py converts plain trainings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun
from .plays import in_environment

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

RUN = f"~/training/convert-{time.time():.0f}"
LORA = {"sft_lora_rank": 8, "sft_lora_alpha": 32}
OPTIONS = {
    "optim.lr": 1e-2,
    "trainer.total_training_steps": 8,
    "trainer.save_freq": 4,
}
STUBS = Path(__file__).parent / "files" / "mergers"


@pytest.fixture(scope="module")
def cases(sandbox: Cluster) -> dict[str, Any]:
    """What the check says of tensors that a merger could write."""
    found: dict[str, Any] = in_environment(sandbox, "convert_cases.py", None)
    return found


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("lost", "the merger wrote too little: 1 of 2 tensors are missing (b.weight)"),
        ("shape", "other shapes than the base model: b.weight is [4], not [3]"),
        ("extra", "tensors that the base model does not have: c.weight"),
        ("nan", "b.weight in model.safetensors holds NaN or infinity"),
        ("infinity", "b.weight in model.safetensors holds NaN or infinity"),
        ("unchanged", "every tensor equals the base model's"),
        ("stray", "2 tensors of the LoRA adapter belong to no weight"),
    ],
)
def test_what_is_not_the_model_is_refused(cases: dict[str, Any], case: str, message: str) -> None:
    assert message in cases[case]


def test_tensors_get_the_base_model_s_type(cases: dict[str, Any]) -> None:
    assert cases["whole"]["types"] == ["torch.float32"]
    assert cases["whole"]["tensors"] == {
        "count": 2, "changed": 2, "bytes": 108, "merged_as": ["bfloat16"]
    }  # fmt: skip
    assert cases["head"]["names"] == ["a.weight", "b.weight"]


def test_an_adapter_is_scaled_and_merged(cases: dict[str, Any]) -> None:
    found = cases["lora"]
    assert (found["merged"], found["left"]) == (True, False)
    assert found["lora"] == {"rank": 2, "alpha": 8, "tensors": 2}
    assert found["tensors"]["changed"] == 1


@pytest.fixture(scope="module")
def trained(sandbox: Cluster) -> Iterator[Cluster]:
    """A sandbox with a short LoRA training, and with mergers that fail on its nodes."""
    run = mnrun("sft", mnrun_run_dir=RUN, sft_overrides=OPTIONS, **LORA)
    assert run.code == 0, run.text
    for stub in STUBS.glob("*.py"):
        text = stub.read_text(encoding="utf-8")
        (sandbox.home / "mergers").mkdir(exist_ok=True)
        (sandbox.home / "mergers" / stub.name).write_text(text, encoding="utf-8")
    yield sandbox
    sandbox.run(f"rm -rf {RUN}*")


def convert(*arguments: str, **variables: Any) -> Run:
    own = {"mnrun_run_dir": RUN, "sft_overrides": OPTIONS, **LORA}
    given = {**own, "convert_score": False, **variables}
    return mnrun("convert", "sft", *arguments, **given)


def stub(name: str) -> dict[str, Any]:
    """Variables that put a merger of `files/mergers` in the place of verl's."""
    variables = {"PYTHONPATH": "/home/mluser/mergers", "HF_HUB_OFFLINE": "1"}
    return {"convert_merger": name, "environment_variables": variables}


def manifest(cluster: Cluster, folder: str = "converted") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.run(f"cat {RUN}/sft/{folder}/mnrun_manifest.json"))
    return found


def folders(cluster: Cluster) -> list[str]:
    """What lies beside the checkpoints and logs, hidden folders too."""
    found = cluster.run(f"find {RUN}/sft -mindepth 1 -maxdepth 1 -type d -printf '%f\\n'")
    return [name for name in found.split() if "convert" in name]


def test_the_adapter_is_merged_into_the_weights(trained: Cluster) -> None:
    run = convert()
    assert (run.code, run.changed) == (0, 1), run.text
    found = manifest(trained)
    assert found["lora"] == {"rank": 8, "alpha": 32.0, "tensors": 28}
    # Seven projections of two layers; the embeddings and the norms were not trained.
    assert (found["tensors"]["count"], found["tensors"]["changed"]) == (20, 14)
    assert "lora" not in " ".join(found["files"])
    home = str(trained.home)
    given = {
        "base": f"{home}/model/Llama-3.2-1B-Instruct",
        "trained": f"{home}/{RUN[2:]}/sft/checkpoints/global_step_8/huggingface",
        "converted": f"{home}/{RUN[2:]}/sft/converted",
        "rank": 8,
        "alpha": 32,
    }
    differences = in_environment(trained, "lora_checks.py", given)
    assert differences["from_base"] > 0.01
    # The merger rounds to bfloat16; half of the scale would be half of the way.
    assert differences["from_peft"] < differences["from_base"] / 20


def test_a_second_run_finds_nothing_to_do(trained: Cluster) -> None:
    run = convert()
    assert (run.code, run.changed) == (0, 0), run.text


def test_ppo_starts_from_it_and_not_from_what_verl_saved(trained: Cluster) -> None:
    run = mnrun("ppo", "--check", "--diff", mnrun_run_dir=RUN, sft_overrides=OPTIONS, **LORA)
    assert run.code == 0, run.text
    assert f"actor_rollout_ref.model.path=/home/mluser/{RUN[2:]}/sft/converted" in run.text
    assert "/huggingface" not in run.text


def test_a_damaged_file_is_noticed_and_only_this_is_done_again(trained: Cluster) -> None:
    weights = f"{RUN}/sft/converted/model.safetensors"
    before = trained.run(f"sha256sum {weights}")
    trained.run(f"printf x | dd of={weights} bs=1 seek=9000 conv=notrunc status=none")
    run = convert()
    assert (run.code, run.changed) == (0, 1), run.text
    assert "model.safetensors is damaged" in run.text
    assert trained.run(f"sha256sum {weights}") == before
    assert folders(trained) == ["converted"]


def test_a_rank_that_is_missing_is_named_and_nothing_is_submitted(trained: Cluster) -> None:
    shard = f"{RUN}/sft/checkpoints/global_step_8/model_world_size_2_rank_1.pt"
    trained.run(f"mv {shard} {shard}.away")
    run = convert()
    assert (run.code, run.changed) == (1, 0), run.text
    assert "SFT has no complete result" in run.text
    assert "model_world_size_2_rank_1.pt is missing" in run.text
    trained.run(f"head -c 1000 {shard}.away > {shard}")
    run = convert(convert_step=8, convert_merger="verl.model_merger.__main__")
    assert run.code == 1, run.text
    assert "model_world_size_2_rank_1.pt is truncated or damaged" in run.text
    trained.run(f"mv {shard}.away {shard}")


def test_a_merger_that_writes_too_little_leaves_no_result(trained: Cluster) -> None:
    run = convert(**stub("too_little"))
    assert run.code == 1, run.text
    assert "ConversionError: the merger wrote too little: 1 of 20 tensors are missing" in run.text
    assert folders(trained) == ["converted"]
    assert manifest(trained)["spec"]["merger"] == "verl.model_merger"


def test_a_conversion_that_is_killed_leaves_nothing_that_looks_done(trained: Cluster) -> None:
    run = convert(**stub("sleeps"), convert_wait=False)
    assert run.code == 0, run.text
    trained.wait(f"ls -A {RUN}/sft", r"\.converted\.part-", timeout=90)
    mine = f"squeue -h -o '%i %j %Z' | grep 'convert-sft.*{RUN[2:]}'"
    (job,) = trained.run(mine).splitlines()
    number = job.split()[0]
    trained.run(f"scancel {number}")
    trained.wait(f"squeue -h -t all -j {number} -o %T", r"CANCELLED|Invalid", timeout=30)
    assert manifest(trained)["spec"]["merger"] == "verl.model_merger"
    left = [name for name in folders(trained) if name != "converted"]
    assert len(left) == 1
    trained.run(f"test ! -e {RUN}/sft/{left[0]}/mnrun_manifest.json")


def test_another_step_sets_the_first_aside_and_both_count(trained: Cluster) -> None:
    run = convert(convert_step=4)
    assert run.code == 0, run.text
    assert "Submitted job" in run.text
    assert manifest(trained)["step"] == 4
    aside, current = sorted(folders(trained), reverse=True)
    assert (current, manifest(trained, aside)["step"]) == ("converted", 8)
    run = convert()
    assert (run.code, run.changed) == (0, 0), run.text
    assert aside in run.text
