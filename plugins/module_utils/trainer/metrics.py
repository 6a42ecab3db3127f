"""Metrics as people read them: which are shown, in which order and form."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

# Those that are shown first, in this order; a profile may name others.
_FIRST = ("loss", "val_loss", "reward", "val_reward")
# Of a converted model; they alone are its own, the others its training's.
_SCORES = ("greedy_score", "sampled_score")
_MOST_TELLING = ("sampled_score", "val_reward", "reward", "val_loss", "loss")


def words(name: str) -> str:
    """A metric's name for people: `val loss`."""
    return name.replace("_", " ")


def steps_of(progress: Mapping[str, Any]) -> list[str]:
    """How far, as `12/160`; nothing if neither is known."""
    step, total = progress.get("step"), progress.get("total")
    if step is None and total is None:
        return []
    return [f"{step or 0}/{total}" if total else str(step)]


def number(value: float) -> str:
    """A metric's value with four digits."""
    return f"{value:.4g}"


def shown(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that are shown while a stage runs, as `val loss 0.0421`."""
    return [_text(name, metrics) for name in (*_trained(metrics), *_SCORES) if name in metrics]


def compared(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What a stage came to, from its first value to its last: `loss 6.398 → 0.0417`."""
    for name in [name for name in _SCORES if name in metrics] or _trained(metrics):
        first = metrics.get(f"first_{name}", metrics[name])
        yield f"{words(name)} {number(first)} → {number(metrics[name])}"


def most_telling(metrics: Mapping[str, Any]) -> list[str]:
    """The one metric that tells most, if there is any."""
    name = telling(metrics)
    return [_text(name, metrics)] if name else []


def telling(metrics: Mapping[str, Any]) -> str:
    """The name of the most telling metric; empty without one."""
    names = (*_MOST_TELLING, *_trained(metrics))
    return next((name for name in names if name in metrics), "")


def _trained(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics of a training that are there."""
    others = (name for name in metrics if not name.startswith("first_") and name not in _SCORES)
    return [name for name in dict.fromkeys((*_FIRST, *others)) if name in metrics]


def _text(name: str, metrics: Mapping[str, Any]) -> str:
    return f"{words(name)} {number(metrics[name])}"
