"""Rows of the usual forms of training data, as the trainers read them.

prompt_response: a question and its answer, as texts. messages: a conversation. alpaca: instruction,
input and output. Each becomes one row that has what SFT and PPO read: the conversation up to the
last answer, that answer, and both as texts where the conversation is one question.
"""

from __future__ import annotations

from typing import Any, Mapping

FORMS = ("prompt_response", "messages", "alpaca")

_PAIRS = (
    ("prompt", "response"), ("prompt", "completion"), ("question", "answer"),
    ("query", "response"), ("input", "output"),
)  # fmt: skip
_CHATS = ("messages", "conversations", "conversation")
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_KNOWN_ROLES = ("system", "user", "assistant", "tool", "developer")

Row = Mapping[str, Any]


class BadRowError(Exception):
    """A row that has not the form it should have."""


def form_of(row: Row) -> str:
    """The form that a row has. Raises BadRowError."""
    if any(isinstance(row.get(name), list) for name in _CHATS):
        return "messages"
    if "instruction" in row and "output" in row:
        return "alpaca"
    if any(first in row and second in row for first, second in _PAIRS):
        return "prompt_response"
    raise BadRowError(
        f"it has {', '.join(map(str, row)) or 'nothing'}; a row has messages, or prompt and"
        " response, or instruction and output"
    )


def converted(row: Row, form: str, source: str, index: int) -> dict[str, Any]:
    """The row for the trainers. `source`: the name by which PPO's reward is chosen.

    Raises BadRowError for a row that is not of this form, or without a question or an answer.
    """
    messages = _MAKERS[form](row)
    *before, last = messages
    if last["role"] != "assistant":
        raise BadRowError("its last message is not the assistant's")
    if not any(one["role"] == "user" for one in before):
        raise BadRowError("it has no message of a user before the answer")
    alone = len(before) == 1
    truth = row.get("ground_truth")
    return {
        "data_source": source,
        "prompt": before,
        "messages": messages,
        "ability": "",
        "reward_model": {
            "style": "rule",
            "ground_truth": last["content"] if truth is None else str(truth),
        },
        "extra_info": {
            "index": index,
            # Only where nothing is lost: not the last question of several.
            "question": before[0]["content"] if alone else None,
            "answer": last["content"] if alone else None,
        },
    }


def _text(row: Row, name: str, empty: bool = False) -> str:
    value = row.get(name)
    if value is None and empty:
        return ""
    if not isinstance(value, str):
        raise BadRowError(f"its {name} is no text")
    if not value.strip() and not empty:
        raise BadRowError(f"its {name} is empty")
    return value


def _of_pair(row: Row) -> list[dict[str, str]]:
    if "instruction" in row:  # without which input and output would be a pair
        raise BadRowError("it has an instruction, as rows of alpaca")
    pair = next((pair for pair in _PAIRS if pair[0] in row and pair[1] in row), None)
    if pair is None:
        raise BadRowError("it has not both a prompt and a response")
    question, answer = pair
    if isinstance(row[question], list):
        before = _of_list(row[question])
    else:
        before = [*_system(row), {"role": "user", "content": _text(row, question)}]
    if isinstance(row[answer], list):
        return before + _of_list(row[answer])
    return [*before, {"role": "assistant", "content": _text(row, answer)}]


def _of_alpaca(row: Row) -> list[dict[str, str]]:
    question, more = _text(row, "instruction"), _text(row, "input", empty=True)
    both = f"{question}\n\n{more}" if more.strip() else question
    answer = _text(row, "output")
    return [
        *_system(row),
        {"role": "user", "content": both},
        {"role": "assistant", "content": answer},
    ]


def _of_chat(row: Row) -> list[dict[str, str]]:
    name = next((name for name in _CHATS if isinstance(row.get(name), list)), None)
    if name is None:
        raise BadRowError("it has no messages")
    return [*_system(row), *_of_list(row[name])]


def _system(row: Row) -> list[dict[str, str]]:
    text = _text(row, "system", empty=True)
    return [{"role": "system", "content": text}] if text.strip() else []


def _of_list(given: list[Any]) -> list[dict[str, str]]:
    if not given:
        raise BadRowError("its conversation is empty")
    return [_message(one, number) for number, one in enumerate(given, 1)]


def _message(given: Any, number: int) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise BadRowError(f"message {number} is no mapping with role and content")
    role = given.get("role", given.get("from"))
    role = _ROLES.get(str(role), str(role))
    content = given.get("content", given.get("value"))
    if role not in _KNOWN_ROLES:
        raise BadRowError(
            f"message {number} has the role {role!r}, not one of {', '.join(_KNOWN_ROLES)}"
        )
    if not isinstance(content, str) or not content.strip():
        raise BadRowError(f"message {number} has no text")
    return {"role": role, "content": content}


_MAKERS = {"prompt_response": _of_pair, "messages": _of_chat, "alpaca": _of_alpaca}
