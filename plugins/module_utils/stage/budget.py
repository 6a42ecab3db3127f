"""GPU-hours: what a run's jobs took, and whether another attempt is within the bound.

What took GPUs is known of Slurm jobs: a Ray job runs in the Slurm job of its cluster. A job that is
over counts from its start to its end, by the accounting or by what it wrote itself; one that is
alive, or whose end is not known, up to its time limit.
"""

from __future__ import annotations

import math
from typing import Iterable, NamedTuple

from ..base.errors import Refused
from ..record.contract import Attempt, Record, Request
from ..record.ledger import Ledger, stages
from ..record.names import RELAYS
from .context import Stage

_HOUR = 3600.0
_OPTIONS, _SHARED = "the role's sbatch options", "mnrun_allocation_sbatch"


class Spent(NamedTuple):
    """GPU-hours of a run."""

    used: float  # until now
    reserved: float  # what live jobs may take in addition


def spent(records: Iterable[Record], now: float) -> Spent:
    """What all attempts took, and may still take."""
    attempts = [one for record in records for one in record.attempts if one.gpus]
    used = sum(one.gpus * _ran(one, now) for one in attempts)
    most = sum(one.gpus * max(_ran(one, now), _may_run(one)) for one in attempts)
    return Spent(used / _HOUR, (most - used) / _HOUR)


def _ran(attempt: Attempt, now: float) -> float:
    """Seconds for which it held its GPUs until now, as far as that is known."""
    if attempt.start is None:
        return 0.0
    if attempt.settled and attempt.end is None:
        return attempt.time_limit or 0.0
    return max(0.0, (attempt.end or now) - attempt.start)


def _may_run(attempt: Attempt) -> float:
    """Seconds for which it may hold its GPUs in all; 0 once it is over."""
    return 0.0 if attempt.settled else attempt.time_limit or 0.0


def require_budget(stage: Stage, record: Record) -> str:
    """Raise Refused if the next attempt may pass the run's bound (`gpu_hours_max`); returns a note
    about what is left otherwise, empty without a bound. Raises Damaged, OSError."""
    request = stage.request
    if not request.gpu_hours_max or not request.gpus:
        return ""
    found = spent(all_records(stage), stage.clock.now())
    left = request.gpu_hours_max - found.used - found.reserved
    seconds, basis = _estimate(request, record)
    need = request.gpus * seconds / _HOUR
    taken = f"{found.used:.1f} of {request.gpu_hours_max:g} GPU-hours are used"
    if found.reserved:
        taken += f", and live jobs may take {found.reserved:.1f}"
    if left <= 0 or need > left:
        raise Refused(
            f"The next job of the stage {request.stage} may take {need:.1f} GPU-hours ({basis}), "
            f"which would pass the run's bound: {taken}. Raise mnrun_gpu_hours_max, or lower the "
            f"job's time limit (`time` in {_OPTIONS if request.stage not in RELAYS else _SHARED})."
        )
    return f"{taken[:1].upper()}{taken[1:]}; this job may take {need:.1f} ({basis})."


def all_records(stage: Stage) -> list[Record]:
    """The records of all stages of the run. Raises Damaged: what cannot be read may be large."""
    run_dir = stage.request.run_dir
    return [one for name in stages(run_dir) for one in Ledger(run_dir, name, stage.clock).records()]


def _estimate(request: Request, record: Record) -> tuple[float, str]:
    """Seconds that the next attempt may take at most, and by what that is known."""
    gpus = f"{request.gpus} GPU{'' if request.gpus == 1 else 's'}"
    if request.time_limit and request.time_limit < math.inf:
        return request.time_limit, f"{gpus} until its time limit"
    ran = [one.end - one.start for one in record.attempts if one.start and one.end]
    return (ran[-1], f"{gpus} for as long as the last attempt") if ran else (0.0, "not known")
