"""Bad input of every kind: one clear message in seconds, and nothing is submitted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.hydra_overrides import hydra_overrides

from tests.helpers.overrides import OVERRIDES

from .conftest import Cluster
from .plays import in_environment, message, play

pytestmark = pytest.mark.sandbox

PROGRAM = "preflight_cases.py"
GOOD = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "one plus one?"}],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"question": "one plus one?", "answer": "#### 2"},
}
TABLES: dict[str, list[dict[str, Any]]] = {
    "good.parquet": [GOOD] * 10,
    "raw.parquet": [{"question": "one plus one?", "answer": "#### 2"}] * 10,
    "rowless.parquet": [],
    "blank.parquet": [
        GOOD,
        {**GOOD, "extra_info": {"question": " \n", "answer": "x"}},
        {**GOOD, "extra_info": {"question": None, "answer": "x"}},
        {**GOOD, "extra_info": None},
        {**GOOD, "prompt": []},
        {**GOOD, "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": " "}]},
        {**GOOD, "prompt": [{"role": "user", "content": None}]},
    ],
    "plain.parquet": [{**GOOD, "prompt": "one plus one?", "extra_info": {"question": 1}}] * 10,
    "messages.parquet": [{"messages": GOOD["prompt"]}] * 10,
}
SFT = [
    "data.prompt_key=extra_info",
    "data.response_key=extra_info",
    "data.prompt_dict_keys=[question]",
    "data.response_dict_keys=[answer]",
    "data.train_batch_size=4",
]
PPO = ["data.train_batch_size=4"]


@pytest.fixture(scope="module")
def folder(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    given = {"folder": str(path), "tables": TABLES, "cases": []}
    assert in_environment(sandbox, PROGRAM, given) == []
    (path / "cut.parquet").write_bytes((path / "good.parquet").read_bytes()[:-20])
    (path / "pointer.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    return path


def checked(sandbox: Cluster, folder: Path, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    given = {"folder": str(folder), "tables": {}, "cases": cases}
    reports: list[dict[str, Any]] = in_environment(sandbox, PROGRAM, given)
    return reports


def case(
    train: Path, stage: str, overrides: list[str], config_name: str = "", test: Path | None = None
) -> dict[str, Any]:
    files = [f"data.train_files=['{train}']", f"data.val_files=['{test or train}']"]
    return {
        "train_files": [str(train)],
        "test_files": [str(test or train)],
        "trainers": [
            {
                "stage": stage,
                "config_name": config_name or f"{stage}_trainer",
                "overrides": [*files, *overrides],
                "refused": {},
            }
        ],
    }


def test_good_data_passes_for_every_trainer(sandbox: Cluster, folder: Path) -> None:
    good = folder / "good.parquet"
    turns = ["data.multiturn.enable=true", "data.train_batch_size=4"]
    reader = ["data.custom_cls.path=/my/reader.py", "data.train_batch_size=4"]
    raw = ["data.train_batch_size=4"]  # verl's defaults: the columns question and answer
    reports = checked(
        sandbox,
        folder,
        case(good, "sft", SFT),
        case(good, "ppo", PPO),
        case(folder / "messages.parquet", "sft", turns),
        case(folder / "messages.parquet", "ppo", reader),
        case(folder / "raw.parquet", "sft", raw),
    )
    assert [report["faults"] for report in reports] == [[]] * 5
    assert reports[0]["rows"] == {str(good): 10}
    first, second = reports[0]["identities"], reports[1]["identities"]
    assert first == second
    assert first["train_files"] == first["test_files"] != reports[4]["identities"]["train_files"]


def test_each_fault_of_the_data_is_named(sandbox: Cluster, folder: Path) -> None:
    expected = [
        (case(folder / "raw.parquet", "sft", SFT), ["raw GSM8K", "extra_info.question", "convert"]),
        (case(folder / "raw.parquet", "ppo", PPO), ["raw GSM8K", "prompt", "ground_truth"]),
        (case(folder / "rowless.parquet", "sft", SFT), ["has no rows"]),
        (
            case(folder / "cut.parquet", "sft", SFT),
            ["not an intact parquet file", "copy or create"],
        ),
        (case(folder / "pointer.parquet", "sft", SFT), ["Git LFS"]),
        (case(folder / "none.parquet", "sft", SFT), ["no data file", "good.parquet"]),
        (case(folder / "messages.parquet", "sft", SFT), ["has no extra_info.question", "messages"]),
        (
            case(folder / "good.parquet", "sft", [*SFT, "data.response_dict_keys=[reply]"]),
            ["has no extra_info.reply", "extra_info.answer"],
        ),
        (case(folder / "plain.parquet", "ppo", PPO), ["prompt holds string", "list of messages"]),
        (
            case(folder / "good.parquet", "ppo", ["data.train_batch_size=11"]),
            ["ppo: 10 rows", "one batch of 11", "no step"],
        ),
        (
            case(folder / "blank.parquet", "sft", SFT),
            ["extra_info.question is empty in 3 of 7 rows, first in row 1"],
        ),
        (
            case(folder / "blank.parquet", "ppo", PPO),
            ["prompt is empty in 2 of 7 rows, first in row 4"],
        ),
    ]
    for report, (_, words) in zip(
        checked(sandbox, folder, *(given for given, _ in expected)), expected, strict=True
    ):
        assert report["faults"], words
        assert all(word in report["faults"][0] for word in words), report["faults"]
        assert report["identities"] == {}


def test_each_fault_of_the_trainers_options_is_named(sandbox: Cluster, folder: Path) -> None:
    good = folder / "good.parquet"
    expected = [
        (case(good, "sft", [*SFT, "trainer.nnode=2"]), ["no option trainer.nnode; did you mean"]),
        (case(good, "ppo", ["data.trian_batch_size=4"]), ["did you mean data.train_batch_size"]),
        (case(good, "sft", ["zzz=1"]), ["no option zzz; to add it, write +zzz"]),
        (case(good, "sft", ["+data.max_length=1"]), ["sft: ", "data.max_length", "++"]),
        (case(good, "sft", ["data.max_length=["]), ["sft: "]),
        (
            case(good, "sft", ["data.train_batch_size=many"]),
            ["is 'many', but the trainer expects a number"],
        ),
        (case(good, "sft", [], "sft_trainr"), ["no configuration sft_trainr", "sft_trainer"]),
    ]
    for report, (_, words) in zip(
        checked(sandbox, folder, *(given for given, _ in expected)), expected, strict=True
    ):
        assert len(report["faults"]) == 1, report["faults"]
        assert all(word in report["faults"][0] for word in words), report["faults"]


def test_all_faults_come_at_once(sandbox: Cluster, folder: Path) -> None:
    wrong = case(folder / "raw.parquet", "sft", [*SFT, "a=1", "b=2"], test=folder / "cut.parquet")
    (report,) = checked(
        sandbox, folder, {**wrong, "model": str(folder / "model"), "other_models": ["", "/x"]}
    )
    # The columns are not judged by options that are wrong.
    assert len(report["faults"]) == 5, report["faults"]
    for word in ("option a", "option b", "folder /x", f"{folder}/model", "cut.parquet"):
        assert any(word in fault for fault in report["faults"]), word


def test_hydra_reads_every_override_back_as_it_was_given(sandbox: Cluster) -> None:
    values = [value for value, _ in OVERRIDES]
    overrides = [hydra_overrides({f"a.b{n}": value})[0] for n, value in enumerate(values)]
    read = in_environment(sandbox, "parse_overrides.py", overrides)
    numbers = {"1e-6": 1e-6, "1.0e6": 1e6}
    for n, (value, (name, found)) in enumerate(zip(values, read, strict=True)):
        wanted = numbers.get(value, value) if isinstance(value, str) else value
        if isinstance(wanted, dict):
            wanted = json.loads(json.dumps(wanted))  # keys of JSON are texts
        assert name == f"a.b{n}"
        assert found == wanted or (isinstance(wanted, float) and math.isclose(found, wanted))
        assert type(found) is type(wanted)


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
            ["left: too little for", "x 9.23 MB of checkpoints", "trainer.max_ckpt_to_keep"],
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
