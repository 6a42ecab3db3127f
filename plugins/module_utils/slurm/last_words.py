"""What Slurm wrote to the log of a job that it ended, and has forgotten since."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Iterable

from ..base.logfile import clean_lines, tail
from ..record.contract import Observation, Phase

_ENDED = re.compile(r"\*\*\* JOB ([0-9]+) ON \S+ CANCELLED AT (\S+)(?: DUE TO ([A-Z ]+))?")
# By the reason; without one somebody cancelled it.
_STATES = {
    "": "CANCELLED",
    "TIME LIMIT": "TIMEOUT",
    "PREEMPTION": "PREEMPTED",
    "NODE FAILURE": "NODE_FAIL",
}


def told_by_log(seen: Observation, logs: Iterable[Path], job: str) -> Observation:
    """How a job ended of which Slurm knows nothing any more, so that `seen` is what else is known:
    as Slurm wrote to one of its logs, if it ended the job. Raises OSError."""
    if seen.phase not in (Phase.FAILED, Phase.GONE):
        return seen
    for path in logs:
        for line in clean_lines(tail(path)):
            found = _ENDED.search(line)
            state = _STATES.get((found[3] or "").strip(), "") if found and found[1] == job else ""
            if found and state:
                return _ended(seen, state, seen.end or _seconds(found[2]))
    return seen


def _ended(seen: Observation, state: str, end: float | None) -> Observation:
    phase = Phase.CANCELLED if state == "CANCELLED" else Phase.FAILED
    return replace(seen, phase=phase, state=state, reason="as Slurm wrote to its log", end=end)


def _seconds(moment: str) -> float | None:
    """A time of Slurm's, which is local; None in a form of the site's own (SLURM_TIME_FORMAT)."""
    try:
        return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
