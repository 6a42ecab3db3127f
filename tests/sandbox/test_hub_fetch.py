"""Fetching with the real client from a Hub of our own: the program that every place runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .hub import TOKEN, Here, Hub, good, refused
from .plays import in_environment

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

MODEL, DATA = "team/base", "team/gsm8k"
WEIGHTS = bytes(range(256)) * 96_000  # 25 MB: the client writes 10 MB at once
TRAIN = "main/train-00000-of-00001.parquet"
TEST = "main/test-00000-of-00001.parquet"
RAW = [
    {"question": "Ann has 3 pens and buys 4. How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"},
    {"question": "What is a half of 2,468?", "answer": "Half of it.\n#### 1,234"},
    {"question": "What is 2 less than 1?", "answer": "Below zero.\n#### -1"},
]
INSTRUCTION = 'Let\'s think step by step and output the final answer after "####".'


@pytest.fixture
def plan(sandbox: Cluster, tmp_path: Path, hub: Hub) -> dict[str, Any]:
    tables = {"train.parquet": RAW * 40, "test.parquet": RAW}
    given = {"folder": str(tmp_path), "tables": tables, "cases": []}
    in_environment(sandbox, "preflight_cases.py", given)
    hub.publish(MODEL, {"config.json": b"{}", "model.safetensors": WEIGHTS, "original/a.pth": b"x"})
    raw = {name: (tmp_path / path).read_bytes() for name, path in
           ((TRAIN, "train.parquet"), (TEST, "test.parquet"))}  # fmt: skip
    hub.publish(DATA, raw, kind="dataset")
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    data = tmp_path / "data"
    return {
        "phases": ["download", "install"],
        "endpoint": hub.address,
        "token_files": [str(token)],
        "model": {
            "repo": MODEL, "revision": "main", "target": str(tmp_path / "model"),
            "staging": str(tmp_path / ".model.fetching"), "ignore": ["original/*"],
        },
        "data": {
            "repo": DATA, "revision": "main", "staging": str(data / ".fetching"),
            "form": {"data_source": "openai/gsm8k", "instruction": INSTRUCTION},
            "files": [
                {"source": source, "target": str(data / f"{split}.parquet"), "split": split,
                 "raw": False}
                for source, split in ((TRAIN, "train"), (TEST, "test"))
            ],
        },
    }  # fmt: skip


# What an 8-GPU node takes, so that only the data can be at fault.
PPO = [
    "data.train_batch_size=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "critic.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.name=hf",
]


def checked(sandbox: Cluster, plan: dict[str, Any]) -> dict[str, Any]:
    """What preflight says of the files, for a PPO and an SFT that read them."""
    train, test = (file["target"] for file in plan["data"]["files"])
    files = [f"data.train_files=['{train}']", f"data.val_files=['{test}']"]
    sft = ["data.prompt_key=extra_info", "data.response_key=extra_info", "data.train_batch_size=4",
           "data.prompt_dict_keys=[question]", "data.response_dict_keys=[answer]"]  # fmt: skip
    trainers = [
        {
            "stage": "sft",
            "validate": {"config": "sft_trainer"},
            "overrides": [*files, *sft],
            "refused": {},
        },
        {
            "stage": "ppo",
            "validate": {"config": "ppo_trainer"},
            "overrides": [*files, *PPO],
            "refused": {},
        },
    ]
    case = {"train_files": [train], "test_files": [test], "trainers": trainers}
    given = {"folder": "/", "tables": {}, "cases": [case]}
    (report,) = in_environment(sandbox, "preflight_cases.py", given)
    return dict(report)


def test_model_and_data_come_and_the_trainers_accept_them(
    sandbox: Cluster, hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    good(here.run("fetch.py", plan))
    model = tmp_path / "model"
    assert (model / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in model.iterdir()) == [
        ".gitattributes", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert not (tmp_path / ".model.fetching").exists()
    assert not (tmp_path / "data" / ".fetching").exists()
    report = checked(sandbox, plan)
    assert report["faults"] == [], "\n".join(report["faults"])
    assert list(report["rows"].values()) == [120, 3]

    (row, number, negative) = in_environment(
        sandbox, "read_rows.py", {"path": plan["data"]["files"][1]["target"]}
    )
    assert row == {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": f"{RAW[0]['question']} {INSTRUCTION}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "7"},
        "extra_info": {"split": "test", "index": 0, **RAW[0]},
    }
    assert number["reward_model"]["ground_truth"] == "1234"
    assert negative["reward_model"]["ground_truth"] == "-1"


def test_a_download_that_is_cut_goes_on_where_it_was(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    hub.trouble(method="GET", path="/lfs/", do="cut", after=12_000_000, times=1)
    hub.trouble(method="GET", path="/lfs/", do="cut", after=1_000_000)
    said = refused(here.run("fetch.py", {**plan, "data": None}))
    assert "only what is missing" in said, said
    assert not (tmp_path / "model" / "model.safetensors").exists()
    first, *others = hub.requests("GET", "/lfs/")
    assert first["sent"] > 11_000_000
    assert [one["range"] for one in others] == ["bytes=10485760-"] * 2

    hub.calm()
    hub.forget()
    good(here.run("fetch.py", {**plan, "data": None}))
    (one,) = hub.requests("GET", "/lfs/")
    assert one["range"] == "bytes=10485760-"
    assert one["sent"] == len(WEIGHTS) - 10485760
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_breaks_once_costs_nothing(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    hub.trouble(method="GET", path="/lfs/", do="cut", after=12_000_000, times=1)
    good(here.run("fetch.py", {**plan, "data": None}))
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == WEIGHTS


def test_only_what_is_damaged_comes_again(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    only = {**plan, "data": None}
    good(here.run("fetch.py", only))
    own = tmp_path / "model" / "notes.txt"
    own.write_text("mine")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(WEIGHTS[:-1000])
    hub.forget()
    assert good(here.run("fetch.py", only))["sent"] == ["model.safetensors"]
    assert weights.read_bytes() == WEIGHTS
    assert own.read_text() == "mine"
    assert hub.requests("GET", "/resolve/main/config.json") == []


def test_a_raw_file_in_its_place_is_converted_without_the_hub(
    sandbox: Cluster, hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    train = plan["data"]["files"][0]
    target = Path(train["target"])
    target.parent.mkdir()
    target.write_bytes((tmp_path / "train.parquet").read_bytes())
    files = [{**train, "raw": True}]
    good(here.run("fetch.py", {**plan, "model": None, "data": {**plan["data"], "files": files}}))
    assert (target.parent / "train.parquet.raw").read_bytes() == (
        tmp_path / "train.parquet"
    ).read_bytes()
    assert target.stat().st_size
    assert hub.requests("GET", "") == []


def test_what_is_wrong_is_said_in_one_line(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    other = {**plan["data"], "files": [{**plan["data"]["files"][0], "source": "train.parquet"}]}
    said = refused(here.run("fetch.py", {**plan, "model": None, "data": other}))
    assert "has no train.parquet" in said
    assert TRAIN in said
    nowhere = {**plan["model"], "repo": "team/nowhere"}
    assert "team/nowhere" in refused(here.run("fetch.py", {**plan, "model": nowhere}))
    Path(plan["token_files"][0]).write_text("hf_wrong")
    assert "does not accept the token" in refused(here.run("fetch.py", plan))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["{outside}", "../precious", "a/../../precious"])
@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_name_that_leads_out_of_the_folder_is_refused_and_nothing_is_touched(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path, name: str, kind: str
) -> None:
    outside = Path(plan["model"]["staging"]).parent / "precious"
    outside.write_text("mine")
    part = plan["model"] if kind == "model" else plan["data"]
    hub.publish(part["repo"], {name.format(outside=outside): b"theirs"}, kind)
    said = refused(here.run("fetch.py", {**plan, "data" if kind == "model" else "model": None}))
    assert "is not a path within a folder. Nothing was transferred." in said
    assert outside.read_text() == "mine"
    assert not (tmp_path / "model").exists()


def test_check_only_says_what_would_come(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    told = good(here.run("fetch.py", {**plan, "check": True}))
    assert set(told["sent"]) == {".gitattributes", "config.json", "model.safetensors", TRAIN, TEST}
    assert not (tmp_path / "model").exists()
    assert json.dumps(told)
