"""What Slurm wrote to the log of a job that it ended, and has forgotten since."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Iterable

from ..base.logfile import clean_lines, tail
from ..record.contract import Observation, Phase

# Without a reason (`DUE TO`): somebody cancelled it.
_CANCELLED = re.compile(r"\*\*\* JOB ([0-9]+) ON \S+ CANCELLED AT (\S+) \*\*\*")


def told_by_log(seen: Observation, logs: Iterable[Path], job: str) -> Observation:
    """How a job ended of which Slurm knows nothing any more, so that `seen` is what else is known:
    cancelled, with the time of that, if one of its logs says so. Raises OSError."""
    if seen.phase not in (Phase.FAILED, Phase.GONE):
        return seen
    for path in logs:
        for line in clean_lines(tail(path)):
            found = _CANCELLED.search(line)
            if found and found[1] == job:
                why, end = "as Slurm wrote to its log", seen.end or _seconds(found[2])
                return replace(seen, phase=Phase.CANCELLED, state="CANCELLED", reason=why, end=end)
    return seen


def _seconds(moment: str) -> float | None:
    """A time of Slurm's, which is local; None in a form of the site's own (SLURM_TIME_FORMAT)."""
    try:
        return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
