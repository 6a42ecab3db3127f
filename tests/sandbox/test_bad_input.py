"""Bad input of every kind: one clear message in seconds, and nothing is submitted."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.hydra import hydra_overrides

from tests.helpers.overrides import OVERRIDES

from .conftest import Cluster
from .plays import in_environment

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
    "mine.parquet": [{**GOOD, "data_source": "mine/x"}] * 10,
    "parts.parquet": [
        {**GOOD, "prompt": [{"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}]}
    ]
    * 10,
    "long.parquet": [
        *[GOOD] * 3,
        {
            **GOOD,
            "prompt": [{"role": "user", "content": "one two " * 400}],
            "extra_info": {"question": "one two " * 600, "answer": "#### 2"},
        },
        *[GOOD] * 6,
    ],
    "messages.parquet": [{"messages": GOOD["prompt"]}] * 10,
}
SFT = [
    "data.prompt_key=extra_info",
    "data.response_key=extra_info",
    "data.prompt_dict_keys=[question]",
    "data.response_dict_keys=[answer]",
    "data.train_batch_size=4",
    "data.micro_batch_size_per_gpu=2",
]
PPO = [
    "trainer.nnodes=2",
    "trainer.n_gpus_per_node=1",
    "data.train_batch_size=4",
    "actor_rollout_ref.actor.ppo_mini_batch_size=4",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.name=hf",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
    "critic.ppo_micro_batch_size_per_gpu=1",
]


@pytest.fixture(scope="module")
def folder(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    given = {"folder": str(path), "tables": TABLES, "cases": []}
    assert in_environment(sandbox, PROGRAM, given) == []
    (path / "cut.parquet").write_bytes((path / "good.parquet").read_bytes()[:-20])
    (path / "rows.jsonl").write_text('{"question": "one?"}\n')
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
                "validate": {"by": "verl-hydra", "config": config_name or f"{stage}_trainer"},
                "overrides": [*files, *overrides],
                "refused": {},
            }
        ],
    }


def test_good_data_passes_for_every_trainer(
    sandbox: Cluster, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = folder / "good.parquet"
    turns = ["data.multiturn.enable=true", "data.train_batch_size=4"]
    (folder / "reader.py").write_text("class Rows: ...\n")
    reader = [f"data.custom_cls.path={folder}/reader.py", "data.custom_cls.name=Rows", *PPO]
    raw = ["data.train_batch_size=4"]  # verl's defaults: the columns question and answer
    cases = [
        case(good, "sft", SFT),
        case(good, "ppo", PPO),
        case(folder / "messages.parquet", "sft", turns),
        case(folder / "messages.parquet", "ppo", reader),
        case(folder / "raw.parquet", "sft", raw),
    ]
    monkeypatch.setenv("HOME", str(tmp_path))  # nothing is kept there yet
    reports = checked(sandbox, folder, *cases, *cases)
    assert [report["faults"] for report in reports] == [[]] * 10
    assert reports[5:] == reports[:5]  # by what was kept of Hydra's answers
    assert len(list((tmp_path / ".cache/mnrun/composed").iterdir())) == 7  # 2 without options
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
        (case(folder, "sft", SFT), ["is a folder: name the files in it", "good.parquet"]),
        (
            case(folder / "rows.jsonl", "sft", SFT),
            ["is not parquet", "have `mnrun fetch` make a parquet file of it (fetch_tables"],
        ),
        (case(folder / "messages.parquet", "sft", SFT), ["has no extra_info.question", "messages"]),
        (
            case(folder / "good.parquet", "sft", [*SFT, "data.response_dict_keys=[reply]"]),
            ["has no extra_info.reply", "extra_info.answer"],
        ),
        (case(folder / "plain.parquet", "ppo", PPO), ["prompt holds string", "list of messages"]),
        (
            case(
                folder / "good.parquet",
                "ppo",
                [*PPO, "trainer.nnodes=1", "data.train_batch_size=11"],
            ),
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
        (
            case(good, "ppo", [*PPO, "data.trian_batch_size=4"]),
            ["did you mean data.train_batch_size"],
        ),
        (case(good, "sft", ["zzz=1"]), ["no option zzz; to add it, write +zzz"]),
        (case(good, "sft", ["+data.max_length=1"]), ["sft: ", "data.max_length", "++"]),
        (case(good, "sft", ["data.max_length=["]), ["sft: "]),
        (
            case(good, "sft", ["data.train_batch_size=many"]),
            ["is 'many', but the trainer expects a number"],
        ),
        (case(good, "sft", [], "sft_trainr"), ["no configuration sft_trainr", "sft_trainer"]),
    ]
    several = case(good, "sft", [*SFT, "trainer.nnode=2", "data.train_batch_size=many"])
    *reports, last = checked(sandbox, folder, *(given for given, _ in expected), several)
    for report, (_, words) in zip(reports, expected, strict=True):
        (fault,) = (one for one in report["faults"] if one.startswith(("sft: ", "ppo: ")))
        assert all(word in fault for word in words), report["faults"]
    told = " ".join(last["faults"])
    assert "no option trainer.nnode" in told
    assert "is 'many', but the trainer expects a number" in told


REWARD = (
    "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1\n"
)
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def test_what_verl_would_refuse_in_the_job_is_refused_here(sandbox: Cluster, folder: Path) -> None:
    good = folder / "good.parquet"
    (folder / "score.py").write_text(REWARD)
    (folder / "broken.py").write_text("def compute_score(:\n")
    (folder / "other.py").write_text("def compute_score(question, answer):\n    return 1\n")
    mine = "custom_reward_function.path"
    expected = [
        ("sft", ["data.micro_batch_size_per_gpu=16"], "does not divide the 2 rows that a GPU gets"),
        ("sft", ["data.train_batch_size=5"], "cannot be spread over 2 GPUs"),
        ("sft", ["trainer.total_epochs=0"], "no step would be made"),
        ("sft", ["trainer.test_freq=0"], "by which the trainer divides"),
        ("sft", ["trainer.logger=[console,wandbb]"], "did you mean wandb?"),
        ("sft", ["optim.lr_scheduler=coseine"], "did you mean cosine?"),
        ("sft", ["trainer.logger=[clearml]"], "no package clearml"),
        ("sft", ["trainer.checkpoint.save_contents=[model,hf-model]"], "did you mean hf_model?"),
        ("ppo", ["data.train_batch_size=5"], "cannot be spread over 2 GPUs"),
        ("ppo", [f"{ROLLOUT}.tensor_model_parallel_size=3"], "does not divide the 2 GPUs"),
        ("ppo", [f"{ROLLOUT}.name=vlm"], "did you mean vllm?"),
        ("ppo", [f"{ROLLOUT}.name=vllm"], "no package vllm"),
        ("ppo", ["algorithm.adv_estimator=grpoo"], "did you mean grpo?"),
        ("ppo", [f"{ACTOR}.loss_agg_mode=token-men"], "did you mean token-mean?"),
        ("ppo", [f"{ACTOR}.ppo_mini_batch_size=8"], "more than the 4 rows"),
        ("ppo", ["critic.ppo_micro_batch_size_per_gpu=4"], "does not divide the 2 rows"),
        ("ppo", [f"{mine}={folder}/none.py"], "does not exist"),
        ("ppo", [f"{mine}='~/score.py'"], "does not expand ~"),
        ("ppo", [f"{mine}={folder}/broken.py"], "not valid Python (line 1"),
        ("ppo", [f"{mine}={folder}/other.py"], "other.py:1: compute_score cannot be called with"),
        ("ppo", [f"{mine}={folder}/score.py", "custom_reward_function.name=score"],
         "does not define; it has compute_score"),
    ]  # fmt: skip
    base = {"sft": SFT, "ppo": PPO}
    cases = [case(good, stage, [*base[stage], *more]) for stage, more, _ in expected]
    for given in cases:
        given["trainers"][0]["ranks"] = 2
    for report, (stage, _, words) in zip(checked(sandbox, folder, *cases), expected, strict=True):
        assert len(report["faults"]) == 1, report["faults"]
        assert report["faults"][0].startswith(f"{stage}: ")
        assert words in report["faults"][0]


def test_verl_and_mnrun_refuse_the_same_batches(sandbox: Cluster) -> None:
    given = {"configurations": 200, "seed": 5}
    counts = in_environment(sandbox, "ranks_against_verl.py", given, timeout=300)
    assert (counts["missed"], counts["wrong"]) == (0, 0)
    assert min(counts["taken"], counts["refused"]) > 20


def test_rows_and_models_that_the_trainer_cannot_use_are_refused(
    sandbox: Cluster, folder: Path
) -> None:
    toy = Path(sandbox.run("readlink -f ~/model/Llama-3.2-1B-Instruct"))
    toy = Path(sandbox.directory) / "home" / "mluser" / toy.relative_to("/home/mluser")
    bare, own = folder / "bare", folder / "own"
    for made in (bare, own):
        shutil.copytree(toy, made, dirs_exist_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((own / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "mine.Model"}, "model_type": "mine"}
    (own / "config.json").write_text(json.dumps(config))
    good, template = folder / "good.parquet", "actor_rollout_ref.model.custom_chat_template='{{1}}'"
    (folder / "score.py").write_text(REWARD)
    reward = f"custom_reward_function.path={folder}/score.py"
    cases = [
        ("ppo", good, PPO, toy, ""),
        ("sft", good, SFT, toy, ""),
        ("ppo", folder / "mine.parquet", PPO, toy, "no reward function for data_source 'mine/x'"),
        ("ppo", folder / "mine.parquet", [*PPO, reward], toy, ""),
        ("ppo", folder / "parts.parquet", PPO, toy, "content in prompt holds list<"),
        ("ppo", good, PPO, bare, "has no chat template"),
        ("ppo", good, [*PPO, template], bare, ""),
        ("sft", good, SFT, bare, "has no chat template"),
        ("ppo", good, PPO, own, "trust_remote_code=true"),
        ("ppo", folder / "long.parquet", PPO, toy, "row 3 of"),
        ("ppo", folder / "long.parquet", [*PPO, "data.filter_overlong_prompts=true"], toy, ""),
        ("ppo", folder / "long.parquet", [*PPO, "data.truncation=left"], toy, ""),
        ("sft", folder / "long.parquet", SFT, toy, "more than data.max_length (1024)"),
        (
            "sft",
            good,
            [*SFT, "data.train_batch_size=8", "data.micro_batch_size_per_gpu=4"],
            toy,
            "",
        ),
    ]
    given = [
        {**case(data, stage, options), "model": str(model)}
        for stage, data, options, model, _ in cases
    ]
    for each in given:
        each["trainers"][0]["ranks"] = 2
    for report, (*_, words) in zip(checked(sandbox, folder, *given), cases, strict=True):
        assert len(report["faults"]) == bool(words), report["faults"]
        assert words in "".join(report["faults"])


def test_all_faults_come_at_once(sandbox: Cluster, folder: Path) -> None:
    wrong = case(folder / "raw.parquet", "sft", [*SFT, "a=1", "b=2"], test=folder / "cut.parquet")
    (report,) = checked(
        sandbox, folder, {**wrong, "model": str(folder / "model"), "other_models": ["", "/x"]}
    )
    assert len(report["faults"]) == 6, report["faults"]
    named = ("option a", "option b", "folder /x", f"{folder}/model", "raw.parquet", "cut.parquet")
    for word in named:
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
