"""Whose turn it is among the relays of a run: who continues it, and who ends.

Three stages take turns in a ring, so that the job that continues the run, the one that waits for
its end, and the one that waits for the end of that one, are each a stage's one live job: where one
dies before it could submit another, there is one more. A relay's exit code says how it left the
run. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

STAGES = ("relay", "relay-2", "relay-3")
LOGIN = "relay-login"
"""The stage of a relay that is a process on a login node (mnrun_relay). None takes over from it."""
ALL = (*STAGES, LOGIN)

DONE, FAILED = 0, 1
"""The run is done; it is not, and the relay's log says why."""
RENEWED, IDLE = 10, 11
"""It ended before its time limit, for its heir to continue; it had nothing to do."""

QUICK = 600.0
"""Seconds: a relay that dies sooner counts as a quick death."""
MOST_DEATHS = 10
"""This many in a row, and no other follows."""

_LIVE = ("queued", "running", "ending", "unknown")
Entry = Mapping[str, Any]


class Turn(NamedTuple):
    """What a relay does when it starts."""

    goes: bool
    why: str = ""
    waits: bool = False
    """It is not known yet: to be asked again."""
    deaths: int = 0
    """How many relays before it died quickly, in a row."""


def relays(stages: Sequence[Entry]) -> list[Entry]:
    """The newest relay of each of the stages."""
    return [entry for entry in stages if entry["stage"] in ALL]


def live(entry: Entry) -> bool:
    """Whether it is, or may be, in the queue or running."""
    return not entry["known"] or entry["job"]["phase"] in _LIVE


def finished(entry: Entry) -> bool:
    """Whether it brought the run to its end, well or not, or was there for nothing."""
    job = entry["job"]
    codes = {"COMPLETED": (DONE,), "FAILED": (FAILED, IDLE)}
    return job["exit_code"] in codes.get(str(job["state"]), ())


def cancelled(entry: Entry) -> bool:
    """Whether a person ended it."""
    return bool(entry["job"]["phase"] == "cancelled" or entry.get("cancelled_by"))


def turn(stages: Sequence[Entry], stage: str, after: str, deaths: int) -> Turn:
    """Decide whether the relay of `stage` continues the run.

    Args:
        stages: the run's, as slurm_job_info returns them.
        stage: the relay's own.
        after: the job for whose end it waited; empty for the first one.
        deaths: quick deaths in a row before that job.
    """
    others = {one["stage"]: one for one in relays(stages) if one["stage"] != stage}
    if not after:
        taken = next(iter(_working(list(others.values()))), None)
        return Turn(not taken, f"{_name(taken)} continues the run." if taken else "")
    other = others.get(STAGES[STAGES.index(stage) - 1])
    if other is None:
        return Turn(False, f"There is no record of job {after}, after which this one came.")
    if other["job"]["id"] != after:
        return Turn(False, f"The run was handed over again, to job {other['job']['id']}.")
    return _of_heir(other, after, deaths)


def returned(held: Mapping[str, Any], job: str, deaths: int) -> Turn | None:
    """The turn of a relay that was killed and comes back in its job: it holds the run still,
    whatever became of the one before it. None for any other."""
    own = bool(held["number"] and job and held["job"] == job)
    return Turn(True, "It holds the run.", deaths=deaths) if own else None


def may_hold(stages: Sequence[Entry], held: Mapping[str, Any], own: Turn, job: str) -> Turn:
    """Decide whether a relay whose turn it is may hold the run.

    Args:
        stages: the run's, as they were after `held` was read. A stage has one live job at a time,
            so a holder that is not its newest is over.
        held: the last holder, as slurm_job_info returns it.
        own: whether it is the relay's turn otherwise.
        job: the relay's own.
    """
    if not own.goes or not held["number"] or held["job"] == job:
        return own
    entry = next((one for one in relays(stages) if one["stage"] == held["stage"]), None)
    if entry is None:
        gone = "there is no record of it. If it is over, move .mnrun/relay/holders of the run away"
        return Turn(False, f"How {_held_by(held)} ended is not known: {gone}.", waits=True)
    if entry["job"]["id"] != held["job"] or not live(entry):
        return own
    if entry["known"]:
        return Turn(False, f"{_held_by(held)} continues the run.")
    return Turn(False, f"How {_held_by(held)} is: {entry['detail']}.", waits=True)


def _held_by(held: Mapping[str, Any]) -> str:
    return (
        f"{_id(held['job'])} on {held['host']}" if held["job"] else "the relay that holds the run"
    )


def _of_heir(other: Entry, after: str, deaths: int) -> Turn:
    job = other["job"]
    if live(other):
        known = job["state"] if other["known"] else f"not known: {other['detail']}"
        return Turn(False, f"How job {after} ended is {known}.", waits=True)
    if cancelled(other):
        return Turn(False, f"Job {after}, the relay before, was cancelled, so nothing new starts.")
    if finished(other):
        return Turn(False, f"Job {after}, the relay before, has finished.")
    died = 0 if job["exit_code"] == RENEWED else deaths + 1 if _quickly(job) else 1
    if died > MOST_DEATHS:
        return Turn(False, f"{died} relays in a row died within {QUICK / 60:.0f} minutes.")
    return Turn(True, f"Job {after} ended as {job['state']}.", deaths=died)


def _quickly(job: Mapping[str, Any]) -> bool:
    return not job["start"] or (job["end"] or job["start"]) - job["start"] < QUICK


class Place(NamedTuple):
    """Where a run is handed over to."""

    stage: str
    void: list[str]
    """Stages whose job only waits for a relay that has left nothing to continue with."""


def place(stages: Sequence[Entry], login: bool = False) -> Place:
    """Choose the stage of a relay that a person wants: that of one that is alive, if any.

    Args:
        stages: the run's, as slurm_job_info returns them.
        login: the relay is to be a process on the login node.
    """
    found = {entry["stage"]: entry for entry in relays(stages)}
    working, waiting = _working(list(found.values())), _waiting(list(found.values()))
    if working or not waiting:
        usual = LOGIN if login else STAGES[0]
        return Place(working[0]["stage"] if working else usual, [])
    first = waiting[0]
    before = found.get(STAGES[STAGES.index(first["stage"]) - 1])
    waits_for = (first.get("labels") or {}).get("after")
    left = before and waits_for == before["job"]["id"] and (finished(before) or cancelled(before))
    if before and left:
        return Place(before["stage"], [one["stage"] for one in waiting[::-1]])
    return Place(first["stage"], [])


def _working(found: Sequence[Entry]) -> list[Entry]:
    return [one for one in found if live(one) and one["job"]["phase"] != "queued"]


def _waiting(found: Sequence[Entry]) -> list[Entry]:
    """Those in the queue, the next one first."""
    queued = [one for one in found if live(one) and one["job"]["phase"] == "queued"]
    return sorted(queued, key=number)


def heirs(stages: Sequence[Entry], job: str) -> list[str]:
    """The stages whose jobs wait for the end of `job`, one behind the other, the last one first.

    None if the next one has begun: it took `job` for dead, as Slurm did, and they are its own.
    """
    line = [job]
    found: list[str] = []
    for one in _waiting(relays(stages)):
        if (one.get("labels") or {}).get("after") in line:
            line.append(one["job"]["id"])
            found.insert(0, one["stage"])
    begun = [
        one for one in _working(relays(stages)) if (one.get("labels") or {}).get("after") == job
    ]
    return [] if begun else found


def number(entry: Entry) -> int:
    """The number of its job, by which relays can be put in order."""
    text = str(entry["job"]["id"])
    return int(text) if text.isdigit() else 0


def current(stages: Sequence[Entry]) -> Entry | None:
    """The relay to look at: that which works, else that which waits, else the last that worked."""
    found = sorted(relays(stages), key=_begin)
    worked = [one for one in found if one["job"]["nodes"] and not _idle(one)]
    groups = (_working(found)[::-1], _waiting(found), worked[::-1], found[::-1])
    return next((group[0] for group in groups if group), None)


def ended_well(stages: Sequence[Entry]) -> bool:
    """Whether the run's last relay finished the run."""
    last = current(stages)
    return last is not None and str(last["job"]["state"]) == "COMPLETED"


def _begin(entry: Entry) -> float:
    return float(entry["job"]["start"] or 0.0)


def lines(stages: Sequence[Entry]) -> Iterator[str]:
    """Say how it is with a run's relay; nothing if it never had one."""
    last = current(stages)
    if last is None:
        return
    waiting = _waiting(relays(stages))
    if not live(last):
        yield f"Relay: {_ending(last)}"
    elif last["job"]["phase"] == "queued" and last["known"]:
        why = f" ({last['job']['reason']})" if last["job"]["reason"] else ""
        yield f"Relay: job {last['job']['id']} waits in the queue{why}; then it continues the run."
    else:
        alone = "" if last["stage"] != LOGIN else " No other one takes over if that host restarts."
        yield f"Relay: {_living(last)}{_heir(waiting)}{alone}"


def _idle(entry: Entry) -> bool:
    return (str(entry["job"]["state"]), entry["job"]["exit_code"]) == ("FAILED", IDLE)


def _living(entry: Entry) -> str:
    job = entry["job"]
    if not entry["known"]:
        return f"{_name(entry)}, as far as is known ({entry['detail']})."
    return f"running in {_name(entry)} on {job['nodes']}: it continues the run by itself."


def _name(entry: Entry) -> str:
    return _id(entry["job"]["id"])


def _id(job: str) -> str:
    """A job's id; of a process on a login node (HOST.PID.START.BOOT), which it is there."""
    return f"process {job.split('.')[-3]}" if "." in job else f"job {job}"


def _heir(waiting: Sequence[Entry]) -> str:
    return f" Job {waiting[0]['job']['id']} takes over when it ends." if waiting else ""


def _ending(entry: Entry) -> str:
    job = entry["job"]
    if cancelled(entry):
        return (
            f"{_name(entry)} was cancelled, and nothing new starts by itself. Jobs that run go "
            "on. To continue the run, type what was typed before, with --detach or without."
        )
    if job["state"] == "COMPLETED":
        return f"{_name(entry)} finished the run."
    if finished(entry):
        return (
            f"{_name(entry)} ended, and the run is not done; `mnrun attach` shows why. Then type "
            "what was typed before to continue."
        )
    gone = f"{_name(entry)} on {job['nodes']} is gone: {job['reason']}"
    ended = f"{_name(entry)} ended as {job['state']}"
    return (
        f"{gone if entry['stage'] == LOGIN else ended}, and no other follows it. To continue the "
        "run, type what was typed before, with --detach or without."
    )
