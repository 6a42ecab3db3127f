"""What the time of a run was spent on: slices of its attempts, and hours of nodes and GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Found = Mapping[str, Any]

KINDS = ("queued", "starting", "training", "saving", "working", "stopping", "idle")
"""`working` is the time of a job that does not train, or of which nothing recorded when its steps
were; `idle` that of a Ray cluster without a Ray job."""
_HOUR = 3600.0


class Slice(NamedTuple):
    """A stretch of time that was spent on one thing. Seconds since the epoch."""

    kind: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.start


class Row(NamedTuple):
    """The slices of one attempt of a stage."""

    stage: str
    attempt: int
    slices: list[Slice]
    nodes: int
    gpus: int
    """Of its Slurm job. 0 for a Ray job, which has those of its cluster."""


class Hours(NamedTuple):
    """What one kind of slice took."""

    hours: float
    node_hours: float
    gpu_hours: float


def rows(run: Found) -> list[Row]:
    """Return the attempts of all stages, each cut into slices; those that took no time left out."""
    found = [
        Row(stage["stage"], one["number"], _slices(stage, one, run), one["nodes"], one["gpus"])
        for stage in run["stages"]
        for one in stage.get("attempts") or ()
    ]
    return [row for row in found if row.slices]


def _slices(stage: Found, attempt: Found, run: Found) -> list[Slice]:
    submitted, start, end = attempt["submitted"], attempt["start"], attempt["end"]
    live = attempt["phase"] in ("queued", "running", "ending", "unknown")
    end = run["time"] if end is None and live else end
    if attempt["phase"] == "queued":  # its start is only expected
        return _whole([Slice("queued", submitted, run["time"])])
    if start is None or end is None:
        return []
    if stage["stage"] == "ray":
        inner = _of_cluster(attempt, start, end, run)
    else:
        inner = _of_job(attempt, start, end)
    return _whole([Slice("queued", submitted, start), *inner])


def _of_job(attempt: Found, start: float, end: float) -> list[Slice]:
    times = attempt["times"]
    if not times:
        return [Slice("working", start, end)]
    first, last = (min(max(times[name], start), end) for name in ("first", "last"))
    made = attempt.get("steps_logged") or 0
    # What is logged is a step's end, so the first one began before.
    first = max(start, first - (last - first) / (made - 1)) if made > 1 else first
    saves = [Slice("saving", max(a, first), min(b, last)) for a, b in times["saves"]]
    trained, at = [], first
    for save in sorted(_whole(saves), key=lambda one: one.start):
        trained += [Slice("training", at, save.start), save]
        at = save.end
    training = [*trained, Slice("training", at, last)]
    return [Slice("starting", start, first), *training, Slice("stopping", last, end)]


def _of_cluster(cluster: Found, start: float, end: float, run: Found) -> list[Slice]:
    """The slices of a Ray cluster: those of the Ray jobs in it, and between them it is idle."""
    inside = sorted(_of_ray_jobs(cluster, start, end, run), key=lambda one: one.start)
    found: list[Slice] = []
    at = start
    for one in inside:
        found += [Slice("idle" if found else "starting", at, one.start), one]
        at = max(at, one.end)
    return [*found, Slice("idle", at, end)]


def _of_ray_jobs(cluster: Found, start: float, end: float, run: Found) -> Iterator[Slice]:
    for stage in run["stages"]:
        for one in stage.get("attempts") or ():
            if one["head_job"] and one["head_job"] == cluster["job"]:
                for each in _slices(stage, one, run):
                    if each.kind != "queued":
                        yield Slice(each.kind, max(each.start, start), min(each.end, end))


def _whole(slices: Sequence[Slice]) -> list[Slice]:
    return [one for one in slices if one.end > one.start]


def hours(found: Sequence[Row]) -> dict[str, Hours]:
    """Return what each kind took. Nothing is held while a job is queued, and a Ray job's nodes are
    those of its cluster, so both count in hours alone."""
    totals: dict[str, Hours] = {}
    for kind in KINDS:
        parts = [(row, one.seconds / _HOUR) for row in found for one in row.slices
                 if one.kind == kind]  # fmt: skip
        if parts:
            holds = kind != "queued"
            totals[kind] = Hours(
                sum(each for row, each in parts if row.stage != "ray" or kind == "idle"),
                sum(each * row.nodes for row, each in parts if holds),
                sum(each * row.gpus for row, each in parts if holds),
            )
    return totals


def share_trained(totals: Mapping[str, Hours]) -> float | None:
    """Return the part of all GPU-hours, or else of all node-hours, in which steps were made; None
    where nothing recorded them."""
    if "training" not in totals:
        return None
    for number in (2, 1):
        whole = sum(each[number] for each in totals.values())
        if whole:
            return totals["training"][number] / whole
    return None
