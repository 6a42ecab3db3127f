"""Whether the metrics of a training say that it has diverged. Pure.

Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any, Iterable, Mapping, NamedTuple

_USUAL = 50  # steps whose median a spike is compared with
_FEWEST = 10  # steps until there is a usual loss
_SHOWN = 10  # last values that are kept
_MAY_BE_0 = ("finite", "reward_floor")
# What must be a number: all of these.
_FINITE = ("loss", "policy_loss", "grad_norm", "reward", "kl", "length")


class Bounds(NamedTuple):
    """What is too much. None: not looked at."""

    finite: bool = True
    reward_floor: float | None = None  # at or below it …
    reward_steps: int = 20  # … for this many steps
    kl_above: float | None = None
    length_above: float | None = None
    loss_spike: float | None = None  # times the usual loss …
    spike_steps: int = 3  # … for this many steps


def bounds(given: Mapping[str, Any]) -> Bounds:
    """The bounds that a user set; null, and 0 except for the reward, set none."""
    known = {name: given[name] for name in Bounds._fields if given.get(name) is not None}
    return Bounds(**{name: value for name, value in known.items() if value or name in _MAY_BE_0})


class Diverged(NamedTuple):
    """Since when, and why."""

    step: int
    why: str


class Guard:
    """The metrics of one training."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._losses: deque[float] = deque(maxlen=_USUAL)
        self._since: dict[str, list[int]] = {}  # of what is too much now, the steps
        self.last: deque[dict[str, Any]] = deque(maxlen=_SHOWN)

    def take(
        self, number: int, values: Mapping[str, float], broken: Iterable[str] = ()
    ) -> Diverged | None:
        """Take in the values of a step. `broken`: metrics that were no finite numbers."""
        broken = [name for name in broken if name in _FINITE]
        self.last.append({"step": number, **values, **dict.fromkeys(broken, "not finite")})
        bounds = self._bounds
        found = [
            self._for(
                number, bounds.finite and bool(broken), 1, f"{', '.join(broken)}: not finite"
            ),
            self._above(number, values, "kl", bounds.kl_above),
            self._above(number, values, "length", bounds.length_above),
            self._reward(number, values),
            self._spike(number, values),
        ]
        return next(filter(None, found), None)

    def _for(self, number: int, is_so: bool, steps: int, why: str) -> Diverged | None:
        """Something held for this many steps in a row."""
        kind = why.partition(":")[0]
        since = self._since.setdefault(kind, [])
        since[:] = [*since, number] if is_so else []
        return Diverged(since[0], f"{why} since step {since[0]}") if len(since) >= steps else None

    def _above(
        self, number: int, values: Mapping[str, float], name: str, bound: float | None
    ) -> Diverged | None:
        if bound is None or name not in values:
            return None
        return self._for(number, values[name] > bound, 1, f"{name}: above {bound:g}")

    def _reward(self, number: int, values: Mapping[str, float]) -> Diverged | None:
        bounds = self._bounds
        if bounds.reward_floor is None or "reward" not in values:
            return None
        is_low = values["reward"] <= bounds.reward_floor
        why = f"reward: at its floor of {bounds.reward_floor:g}"
        return self._for(number, is_low, bounds.reward_steps, why)

    def _spike(self, number: int, values: Mapping[str, float]) -> Diverged | None:
        loss, bounds = values.get("loss"), self._bounds
        if not bounds.loss_spike or loss is None:
            return None
        known = len(self._losses) >= _FEWEST
        usual = median(self._losses) if known else 0.0
        is_spike = known and usual > 0 and loss > bounds.loss_spike * usual
        if not is_spike:
            self._losses.append(loss)
        why = f"loss: more than {bounds.loss_spike:g} times the usual {usual:.4g}"
        return self._for(number, is_spike, bounds.spike_steps, why)
