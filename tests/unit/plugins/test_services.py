"""The services of a run: what a job gets of them, and what is refused beforehand."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.services import (
    faults,
    of_stage,
    places,
    planned,
    share,
)

JUDGE = {"name": "judge", "command": ["serve", "{port}"]}


def told(*services: dict[str, Any], nodes: int = 2, gpus: int = 8, **how: bool) -> list[str]:
    return faults(of_stage("ppo", services, []), nodes, gpus, **how)


def test_a_sound_one_has_no_faults() -> None:
    assert (
        told({**JUDGE, "gpus": 1, "nodes": "each", "health": "/health?x=1", "memory": "64G"}) == []
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "Judge"}, "Judge: its name must begin with a small letter"),
        ({"name": ""}, "item 1: its name must begin"),
        ({"command": []}, "judge: it has no command"),
        (
            {"nodes": 2},
            "judge: nodes: 2 does not fit: give first, last, each, or places from 0 to 1",
        ),
        ({"nodes": [0, 2]}, "judge: nodes: [0, 2] does not fit"),
        ({"nodes": "middle"}, "judge: nodes: middle does not fit"),
        ({"memory": "64 GB"}, "judge: memory: 64 GB does not fit"),
        ({"health": "http://localhost:8000/health"}, "judge: health: http://localhost:8000/health"),
        ({"timeout": 0}, "judge: timeout: 0 is too small"),
        ({"environment": {"A-B": "1"}}, "judge: environment: A-B cannot be the name"),
        ({"environment": {"A": 1}}, "judge: environment: A: the value must be a text"),
        ({"environment": {"HF_TOKEN": "x"}}, "judge: environment: HF_TOKEN would be visible"),
        ({"command": ["a", "--api-key", "x"]}, "judge: command: --api-key would be visible"),
        ({"command": ["a", "--hf-token=x"]}, "judge: command: hf-token would be visible"),
        ({"gpus": 8}, "services take 8 of the 8 GPUs of each node"),
    ],
)
def test_a_fault_is_named(given: dict[str, Any], says: str) -> None:
    (one,) = told({**JUDGE, **given})
    assert one.startswith(says)
    assert "=x" not in one


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
        ("OPENAI_KEY", "sk-aaaaaaaaaaaaaaaaaaaa"),
        ("DB_PASSWD", "hunter2"),
        ("GOOGLE_CREDENTIALS", "word"),
        ("STORE", "postgres://u:pw@h/db"),
    ],
)
def test_a_secret_of_the_environment_is_refused(name: str, value: str) -> None:
    (one,) = told({**JUDGE, "environment": {name: value}})
    assert one.startswith(f"judge: environment: {name} would be visible")
    assert value not in one


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["HF_TOKEN=hf_x", "serve"], "HF_TOKEN"),
        (["--secret-key=abc"], "secret-key"),
        (["--env=HF_TOKEN=abc"], "HF_TOKEN"),
        (["--export=ALL,HF_TOKEN=abc"], "HF_TOKEN"),
        (["--secret-key", "abc"], "--secret-key"),
        (["--db-passwd", "abc"], "--db-passwd"),
        (["--header=Authorization: Bearer abcdefgh"], "word 2"),
        (["--header", "Authorization: Bearer abcdefgh"], "word 3"),
        (["--store=postgres://u:pw@h"], "store"),
        (["postgres://u:pw@h"], "word 2"),
        (["sk-aaaaaaaaaaaaaaaaaaaa"], "word 2"),
        (["-c", "export HF_TOKEN=hf_x; exec serve"], "HF_TOKEN"),
    ],
)
def test_a_secret_among_the_words_is_refused(words: list[str], called: str) -> None:
    (one,) = told({**JUDGE, "command": ["env", *words]})
    assert one.startswith(f"judge: command: {called} would be visible")
    assert not any(text in one for text in ("hf_x", "abc", "pw@", "sk-a"))


@pytest.mark.parametrize(
    "words",
    [
        ["-c", 'HF_TOKEN="$(cat ~/.token)" API_KEY=$KEY exec serve'],
        ["--ssl-keyfile", "/etc/key.pem", "--sort-key=name", "--served-model-name", "judge"],
        ["--api-key", "{host}"],
        ["--key", "question", "--reward-key=score", "--url=http://{host}:{port}/v1"],
    ],
)
def test_words_that_hold_no_secret_pass(words: list[str]) -> None:
    assert told({**JUDGE, "command": ["bash", *words]}) == []


def test_what_only_looks_like_a_secret_is_none() -> None:
    words = ["a", "--max-tokens", "9", "--tokenizer", "b", "--max-token", "5", "--secretary"]
    assert told({**JUDGE, "command": words, "environment": {"TOKENIZERS_PARALLELISM": "1"}}) == []


def test_all_faults_come_at_once() -> None:
    other = {"name": "my-tool", "command": ["x"], "nodes": 9}
    found = told({**JUDGE, "command": []}, other, {"name": "my_tool", "command": ["x"]})
    assert len(found) == 3
    assert "there are 2 services for MNRUN_SERVICE_JUDGE" in told(JUDGE, JUDGE)[0]
    assert (
        found[2] == "there are 2 services for MNRUN_SERVICE_MY_TOOL; each needs a name of its own"
    )


def test_in_an_image_those_of_ppo_are_on_the_first_node() -> None:
    assert told(JUDGE, in_image=True) == []
    assert "on the first node only" in told({**JUDGE, "nodes": "each"}, in_image=True)[0]


@pytest.mark.parametrize(
    ("given", "there"),
    [("first", [0]), ("last", [2]), ("each", [0, 1, 2]), (1, [1]), ("2,0", [0, 2]), ([1, 1], [1]),
     (3, []), ([], []), (True, []), ("-1", [])],
)  # fmt: skip
def test_nodes_are_places(given: Any, there: list[int]) -> None:
    assert places(given, 3) == there


def test_a_site_adds_to_what_a_profile_has() -> None:
    profile: list[dict[str, Any]] = [
        {"name": "judge", "command": ["a"], "health": "/h"},
        {"name": "own", "command": ["b"]},
    ]
    site: list[dict[str, Any]] = [
        {"name": "judge", "gpus": 2},
        {"name": "sft-only", "command": ["c"], "stages": ["sft"]},
    ]
    found = planned("ppo", site, profile, 2)
    own, judge = found["plan"]
    assert (judge["command"], judge["health"], judge["gpus"], own["name"]) == (
        ["a"],
        "/h",
        2,
        "own",
    )
    assert share("ppo", site) == {"gpus": 2, "cpus": 0}
    assert [one["name"] for one in planned("sft", site, [], 2)["plan"]] == ["judge", "sft-only"]


def test_each_has_gpus_of_its_own() -> None:
    site: list[dict[str, Any]] = [
        {**JUDGE, "gpus": 2},
        {"name": "tool", "command": ["x"], "gpus": 1, "cpus": 4},
    ]
    found = planned("sft", site, [], 1)
    assert [one["gpus_behind"] for one in found["plan"]] == [1, 0]
    assert [one["cpus_behind"] for one in found["plan"]] == [4, 0]
    assert (found["gpus"], found["cpus"]) == (3, 4)


def test_what_it_is_decides_and_not_where_it_runs() -> None:
    def decisive(**given: Any) -> Any:
        return planned("ppo", [{**JUDGE, **given}], [], 2)["decisive"]

    assert decisive() == {"judge": {"command": ["serve", "{port}"]}}
    same = decisive(nodes="each", cpus=2, memory="1G", health="/h", timeout=9, secrets={"K": "f"})
    assert same == decisive()
    assert decisive(command=["serve2"]) != decisive() != decisive(environment={"MODE": "strict"})
    assert decisive(decides=False) == {}
