"""Everything that the composed options say before a row is read, put into one `Reads`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

from .accepted import value_faults
from .attention import attention_faults
from .own_files import file_faults, own_reward
from .ranks import ppo_faults, sft_faults
from .reads import CHAT, Limit, Reads
from .scores import scored

Get = Callable[[str], Any]

_PPO_MODEL = "actor_rollout_ref.model"


def judged(found: Reads, source: Path, get: Get, default: Get, ranks: int) -> Reads:
    """`found` with the faults of the options and what the rows have to be.

    `source` is the trainer's own folder; `get` and `default` give an option by its dotted name, as
    it is and as it would be.
    """
    ppo = get("actor_rollout_ref.model.path") is not None
    known = _of_ppo(found, source, get) if ppo else _of_sft(found, get, ranks)
    faults = [
        *_step_faults(get, ppo=ppo),
        *(ppo_faults(get) if ppo else sft_faults(get, ranks)),
        *value_faults(source, get, default),
        *file_faults(get),
        *attention_faults(get, ppo=ppo),
    ]
    return known._replace(faults=tuple(f"{found.stage}: {fault}" for fault in faults))


def _step_faults(get: Get, *, ppo: bool) -> Iterator[str]:
    for name in ("data.train_batch_size", "trainer.total_epochs", "trainer.total_training_steps"):
        value = get(name)
        if isinstance(value, int) and value < 1:
            yield f"{name} is {value}, so no step would be made; set it to 1 or more"
    if ppo:
        return
    for name in ("trainer.save_freq", "trainer.test_freq"):
        if get(name) == 0:
            yield f"{name} is 0, by which the trainer divides; write -1 for never"
    if get("data.chat_template") is not None and get("engine.strategy") is None:
        yield "data.chat_template is not supported by this trainer: put it into the model's folder"


def _of_ppo(found: Reads, source: Path, get: Get) -> Reads:
    own = (get(f"{part}custom_reward_function.path") for part in ("", "reward."))
    models = (get(f"{part}reward_model.enable") for part in ("", "reward."))
    by_itself = found.fields and not any(own) and not any(models)
    chat = next((field.path for field in found.fields if field.kind == CHAT), "")
    ends = get("data.truncation") == "error" and not get("data.filter_overlong_prompts")
    return found._replace(
        chats=bool(found.fields),
        template=str(get(f"{_PPO_MODEL}.custom_chat_template") or ""),
        template_option=f"{_PPO_MODEL}.custom_chat_template",
        trusts=bool(get(f"{_PPO_MODEL}.trust_remote_code")),
        trust_option=f"{_PPO_MODEL}.trust_remote_code",
        limit=_limit(get, "data.max_prompt_length", chat) if ends else None,
        source=str(get("data.reward_fn_key") or "data_source"),
        scored=scored(source) if by_itself else None,
        reward=own_reward(get),
    )


def _of_sft(found: Reads, get: Get, ranks: int) -> Reads:
    paths = [field.path for field in found.fields]
    micro, sequences = get("data.micro_batch_size_per_gpu"), get("ulysses_sequence_parallel_size")
    # Each rank validates on its own share, and leaves out what is no whole batch.
    shares = ranks // sequences if isinstance(sequences, int) and sequences > 0 else 0
    ends = get("data.truncation") == "error"
    least = shares * micro if isinstance(micro, int) else 1
    if get("engine.strategy") is not None:
        # The trainer with engines validates in batches as large as those of the training.
        least = get("data.train_batch_size")
    return found._replace(
        chats=bool(found.fields),
        least_test=max(1, least if isinstance(least, int) else 1),
        template=str(get("model.custom_chat_template") or ""),
        trusts=bool(get("model.trust_remote_code")),
        trust_option="model.trust_remote_code",
        limit=_limit(get, "data.max_length", *paths[:2]) if ends and paths else None,
    )


def _limit(get: Get, option: str, chat: str = "", answer: str = "") -> Limit | None:
    most = get(option)
    return Limit(option, most, chat, answer) if isinstance(most, int) and chat else None
