"""Rows of the usual forms: what each becomes, and which are refused with which words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.rows import (
    BadRowError,
    converted,
    form_of,
)

USER, ANSWER = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
SYSTEM = {"role": "system", "content": "Be brief."}
ONE: list[dict[str, Any]] = [
    {"prompt": "2+2?", "response": "4"},
    {"prompt": "2+2?", "completion": "4"},
    {"question": "2+2?", "answer": "4"},
    {"query": "2+2?", "response": "4"},
    {"input": "2+2?", "output": "4"},
    {"prompt": [USER], "response": [ANSWER]},
    {"prompt": [USER], "response": "4"},
    {"messages": [USER, ANSWER], "id": 7},
    {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
    {"instruction": "2+2?", "input": "", "output": "4"},
    {"instruction": "2+2?", "output": "4"},
]


def made(row: dict[str, Any]) -> dict[str, Any]:
    return converted(row, form_of(row), "mine", 5)


@pytest.mark.parametrize("row", ONE)
def test_every_form_becomes_the_same_row(row: dict[str, Any]) -> None:
    assert made(row) == {
        "data_source": "mine",
        "prompt": [USER],
        "messages": [USER, ANSWER],
        "ability": "",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 5, "question": "2+2?", "answer": "4"},
    }


def test_alpacas_input_follows_its_instruction() -> None:
    row = {"instruction": "Add.", "input": "2+2", "output": "4"}
    assert made(row)["extra_info"]["question"] == "Add.\n\n2+2"


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [SYSTEM, USER, ANSWER]},
        {"system": "Be brief.", "prompt": "2+2?", "response": "4"},
        {"system": "Be brief.", "instruction": "2+2?", "output": "4"},
    ],
)
def test_what_one_question_would_lose_is_only_in_the_conversation(row: dict[str, Any]) -> None:
    found = made(row)
    assert found["messages"] == [SYSTEM, USER, ANSWER]
    assert found["prompt"] == [SYSTEM, USER]
    assert found["extra_info"] == {"index": 5, "question": None, "answer": None}


def test_the_last_answer_of_several_turns_is_the_answer() -> None:
    found = made({"messages": [USER, ANSWER, USER, {"role": "assistant", "content": "still 4"}]})
    assert found["prompt"] == [USER, ANSWER, USER]
    assert found["reward_model"]["ground_truth"] == "still 4"


def test_a_ground_truth_of_its_own_counts() -> None:
    row = {"prompt": "2+2?", "response": "It is 4.", "ground_truth": 4}
    assert made(row)["reward_model"]["ground_truth"] == "4"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({}, "it has nothing; a row has messages, or"),
        ({"text": "x"}, "it has text; a row has messages"),
        ({"prompt": "x", "response": None}, "its response is no text"),
        ({"prompt": " ", "response": "x"}, "its prompt is empty"),
        ({"prompt": 3, "response": "x"}, "its prompt is no text"),
        ({"messages": []}, "its conversation is empty"),
        ({"messages": [USER]}, "its last message is not the assistant's"),
        ({"messages": [ANSWER]}, "it has no message of a user"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "message 2 has no text"),
        ({"messages": [USER, {"role": "critic", "content": "x"}]}, "has the role 'critic'"),
        ({"messages": ["hello"]}, "message 1 is no mapping"),
        ({"instruction": "x", "input": 3, "output": "y"}, "its input is no text"),
    ],
)
def test_a_row_that_is_none_of_them_is_refused(row: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRowError, match=why):
        made(row)


def test_a_form_that_is_given_is_the_one_that_rows_must_have() -> None:
    with pytest.raises(BadRowError, match="it has no messages"):
        converted(ONE[0], "messages", "mine", 0)
    row = {"instruction": "Add.", "input": "2+2", "output": "4"}
    with pytest.raises(BadRowError, match="it has an instruction"):
        converted(row, "prompt_response", "mine", 0)
    with pytest.raises(BadRowError, match="not both a prompt and a response"):
        converted({"messages": [USER, ANSWER]}, "prompt_response", "mine", 0)
