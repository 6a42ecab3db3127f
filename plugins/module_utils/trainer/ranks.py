"""verl's rules of division: batches, mini and micro batches against the GPUs of all nodes.

verl looks at them once it runs, a minute and a half into a job of all nodes. `get` gives an option
of the composed configuration by its dotted name, None for one that this version does not have; a
rule about such an option says nothing.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator

Get = Callable[[str], Any]

_ACTOR = "actor_rollout_ref.actor"
_ROLLOUT = "actor_rollout_ref.rollout"
_REF = "actor_rollout_ref.ref"


def sft_faults(get: Get, ranks: int) -> list[str]:
    """What SFT would refuse on this many ranks; 0: their number is not known."""
    return list(_sft(get, ranks)) if ranks > 0 else []


def ppo_faults(get: Get) -> list[str]:
    """What PPO would refuse on the GPUs of its configuration."""
    gpus = (_number(get, "trainer.nnodes") or 0) * (_number(get, "trainer.n_gpus_per_node") or 0)
    if gpus <= 0 or get(f"{_ACTOR}.strategy") == "megatron":
        return []  # megatron has rules of its own
    actor = list(_trained(get, gpus, _ACTOR, f"{_ROLLOUT}.n"))
    # The critic's size is the actor's, unless it is set: then its fault has been reported.
    size = "ppo_mini_batch_size"
    again = bool(actor) and get(f"critic.{size}") == get(f"{_ACTOR}.{size}")
    critic = has_critic(get) and not again
    return [
        *_batch(get, gpus),
        *_parallel(get, gpus),
        *actor,
        *(_trained(get, gpus, "critic", "critic.rollout_n") if critic else ()),
        *_micro_batches(get),
    ]


def has_critic(get: Get) -> bool:
    """verl trains a critic for advantages by GAE only, unless critic.enable says otherwise."""
    enabled = get("critic.enable")
    return get("algorithm.adv_estimator") == "gae" if enabled is None else bool(enabled)


def _number(get: Get, name: str) -> int | None:
    value = get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sft(get: Get, ranks: int) -> Iterator[str]:
    name = "ulysses_sequence_parallel_size"
    name = name if get(name) is not None else f"engine.{name}"
    parallel = _number(get, name) or 1
    if parallel < 1 or ranks % parallel:
        yield _does_not_divide(name, parallel, ranks)
        return
    if parallel > 1 and get("use_remove_padding") is False:
        yield f"{name} is {parallel}, which needs use_remove_padding=true"
    shares = ranks // parallel
    batch, micro = (
        _number(get, f"data.{size}") for size in ("train_batch_size", "micro_batch_size_per_gpu")
    )
    if batch is None or batch < 1:
        return  # reported where the rows are counted
    if batch % shares:
        yield f"data.train_batch_size is {batch}, {_multiple(shares, ranks, parallel)}"
    elif micro is not None and not get("data.use_dynamic_bsz"):
        yield from _micro(
            "data.train_batch_size", batch, batch // shares, "data.micro_batch_size_per_gpu", micro
        )


def _batch(get: Get, gpus: int) -> Iterator[str]:
    batch, answers = _number(get, "data.train_batch_size"), _number(get, f"{_ROLLOUT}.n")
    if batch is None or answers is None or batch < 1:
        return
    if answers < 1:
        yield f"{_ROLLOUT}.n is {answers}; it must be 1 or more"
    elif batch * answers % gpus:
        product = (
            f"data.train_batch_size x {_ROLLOUT}.n" if answers > 1 else "data.train_batch_size"
        )
        yield f"{product} is {batch * answers}, {_multiple(gpus, gpus, 1)}"


def _parallel(get: Get, gpus: int) -> Iterator[str]:
    """What splits the GPUs into groups."""
    sizes = [f"{kind}_parallel_size" for kind in ("tensor_model", "data", "pipeline_model")]
    product, shown = 1, []
    for size in sizes:
        number = _number(get, f"{_ROLLOUT}.{size}")
        if number is not None and (number != 1 or size == sizes[0]):
            product *= number
            shown.append(f"{_ROLLOUT}.{size}")
    if shown and (product < 1 or gpus % product):
        yield _does_not_divide(" x ".join(shown), product, gpus)
    yield from _sequences(get, gpus, _ACTOR, "actor_rollout_ref")
    if has_critic(get):
        yield from _sequences(get, gpus, "critic", "critic")
    shards = _number(get, f"{_ACTOR}.fsdp_config.fsdp_size")
    if shards is not None and 0 < shards < gpus and gpus % shards:
        yield _does_not_divide(f"{_ACTOR}.fsdp_config.fsdp_size", shards, gpus)


def _sequences(get: Get, gpus: int, part: str, model: str) -> Iterator[str]:
    name = f"{part}.ulysses_sequence_parallel_size"
    number = _number(get, name)
    if number is None:
        return
    if number < 1 or gpus % number:
        yield _does_not_divide(name, number, gpus)
    elif number > 1 and get(f"{model}.model.use_remove_padding") is False:
        yield f"{name} is {number}, which needs {model}.model.use_remove_padding=true"


def _trained(get: Get, gpus: int, part: str, repeated: str) -> Iterator[str]:
    """The mini batches of a part that is trained, which verl spreads over its GPUs."""
    name = f"{part}.ppo_mini_batch_size"
    mini, batch = _number(get, name), _number(get, "data.train_batch_size")
    if mini is None:
        return
    if mini < 1:
        yield f"{name} is {mini}; it must be 1 or more"
        return
    dynamic = get(f"{part}.use_dynamic_bsz")
    parallel = _number(get, f"{part}.ulysses_sequence_parallel_size") or 1
    if parallel < 1 or gpus % parallel:
        return  # reported with the groups
    shares, answers = gpus // parallel, _number(get, repeated) or 1
    if batch is not None and batch < mini and not dynamic:
        yield f"{name} is {mini}, more than the {batch} rows of data.train_batch_size"
    if mini * answers < shares:
        product = f"{name} x {repeated} is {mini * answers}"
        yield f"{product}, fewer than one for each of {shares} GPUs"
        return
    own = f"{part}.ppo_micro_batch_size_per_gpu"
    micro = _number(get, own)
    # Before its V1 trainer verl looks at it even where it is not used.
    if micro is not None and not (dynamic and get("trainer.use_v1") is not None):
        product = f"{name} x {repeated}" if answers > 1 else name
        yield from _micro(product, mini * answers, mini * answers // shares, own, micro)


def _micro(name: str, batch: int, share: int, micro_name: str, micro: int) -> Iterator[str]:
    """A micro batch that divides what one GPU gets of a batch."""
    if micro < 1:
        yield f"{micro_name} is {micro}; it must be 1 or more"
    elif share % micro or share < micro:
        fits = [number for number in range(1, share + 1) if share % number == 0][-4:]
        yield (
            f"{micro_name} is {micro}, which does not divide the {share} rows that a GPU gets of"
            f" the {batch} of {name}; set it to {' or '.join(map(str, fits))}, or change the batch"
        )


def _micro_batches(get: Get) -> Iterator[str]:
    """Each part needs its size of micro batches, given in one way."""
    wanted = [(_ACTOR, "ppo_micro_batch_size", f"{_ACTOR}.use_dynamic_bsz")]
    dynamic = "log_prob_use_dynamic_bsz"
    if get("algorithm.use_kl_in_reward") or get(f"{_ACTOR}.use_kl_loss"):
        wanted.append((_REF, "log_prob_micro_batch_size", f"{_REF}.{dynamic}"))
    wanted.append((_ROLLOUT, "log_prob_micro_batch_size", f"{_ROLLOUT}.{dynamic}"))
    if has_critic(get):
        wanted.append(("critic", "ppo_micro_batch_size", "critic.use_dynamic_bsz"))
    if get("reward_model.enable"):
        wanted.append(("reward_model", "micro_batch_size", "reward_model.use_dynamic_bsz"))
    for part, size, is_dynamic in wanted:
        whole, own = get(f"{part}.{size}"), get(f"{part}.{size}_per_gpu")
        if get(is_dynamic) is False:
            yield from _given_once(f"{part}.{size}", whole, own)


def _given_once(name: str, whole: Any, own: Any) -> Iterator[str]:
    if whole is None and own is None:
        yield f"{name}_per_gpu is not set; set it to the rows that one GPU takes at once"
    elif whole is not None and own is not None:
        yield f"{name} and {name}_per_gpu are both set; remove {name}"
    elif isinstance(own, int) and own < 1:
        yield f"{name}_per_gpu is {own}; it must be 1 or more"


def _does_not_divide(name: str, number: int, gpus: int) -> str:
    return f"{name} is {number}, which does not divide the {gpus} GPUs of all nodes"


def _multiple(shares: int, ranks: int, parallel: int) -> str:
    spread = f"{ranks} GPUs" if parallel == 1 else f"{ranks} GPUs in groups of {parallel}"
    return f"which cannot be spread over {spread}: make it a multiple of {shares}"
