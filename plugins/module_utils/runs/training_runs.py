"""Several runs side by side: `<base>` is the site's own, `<base>/runs/<name>` is a named one.

A folder is a run if it contains records (`.mnrun`). A run is renamed before it is deleted, so that
an interrupted removal does not leave half a run under its name.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ..base.clock import Clock
from ..base.errors import Invalid, Refused, Unknown
from ..base.fingerprint import differences
from ..base.presence import is_dir, is_link, names
from ..base.safe_name import DEFAULT_RUN, check_name
from ..record.contract import Record
from ..record.ledger import Ledger, stages
from ..record.mark import MARK, names_run
from ..slurm.client import SlurmClient
from ..stage.snapshot import look_at
from ..stage.status import Question, answer
from .backends import slurm_or_ray

_LEDGER = ".mnrun"
_RUNS = "runs"
_GOING = ".removed-"  # before the name of a run that is being removed
_LEFT = re.compile(r"\.removed-[^~/]+(?:~[0-9a-f]{8})?")


class TrainingRun(NamedTuple):
    """One run folder."""

    name: str  # DEFAULT_RUN for the site's own
    path: Path


class Size(NamedTuple):
    """The size of a folder."""

    files: int
    bytes: int


def training_runs(base: Path) -> list[TrainingRun]:
    """All runs below `base`, the site's own first."""
    folder = base / _RUNS
    found = [TrainingRun(DEFAULT_RUN, base)]
    named = [name for name in names(folder) if name[:1] != "." and name != DEFAULT_RUN]
    found += [TrainingRun(name, folder / name) for name in named]
    return [run for run in found if _has_records(run.path)]


def _has_records(path: Path) -> bool:
    try:
        return is_dir(path / _LEDGER)
    except PermissionError:  # somebody else's, and none of this user's runs
        return False


def chosen(base: Path, wanted: list[str], skip: bool = False) -> list[TrainingRun]:
    """The runs with these names; all if there are no names.

    `skip`: leave out a name without a run, instead of raising Invalid.
    """
    runs = training_runs(base)
    known = [run.name for run in runs]
    unknown = [name for name in wanted if name not in known]
    if unknown and skip:
        return [run for run in runs if run.name in wanted]
    if unknown:
        there = ", ".join(known) or "none"
        raise Invalid(f"There is no run {', '.join(unknown)} in {base}. Existing runs: {there}.")
    return [runs[known.index(name)] for name in wanted] if wanted else runs


def require(run_dir: Path) -> None:
    """Raise Invalid, with the runs that exist, if a folder is no run: its name may be mistyped."""
    if _has_records(run_dir):
        return
    if run_dir.parent.name == _RUNS:
        chosen(run_dir.parent.parent, [run_dir.name])
    raise Invalid(f"There is no run in {run_dir}.")


def described(run: TrainingRun, client: SlurmClient, clock: Clock) -> dict[str, Any]:
    """A run as the modules return it: each stage as slurm_job_info returns it."""
    status = answer(Question(run.path), slurm_or_ray(run.path, client), clock)
    return {"name": run.name, "path": str(run.path), **status._asdict()}


def comparison(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Each stage of two described runs: how the specs differ, and the metrics of both."""
    left, right = _by_stage(first), _by_stage(second)
    return [
        {
            "stage": stage,
            "missing": [run["name"] for run in (first, second) if stage not in _by_stage(run)],
            "spec": _spec_differences(left.get(stage), right.get(stage)),
            "metrics": [_metrics(left.get(stage)), _metrics(right.get(stage))],
        }
        for stage in dict.fromkeys([*left, *right])
    ]


def _by_stage(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["stage"]: entry for entry in run["stages"]}


def _spec_differences(left: dict[str, Any] | None, right: dict[str, Any] | None) -> list[str]:
    return differences(left["spec"], right["spec"]) if left and right else []


def _metrics(entry: dict[str, Any] | None) -> dict[str, float]:
    """Those of the result if there is one, otherwise those in the log so far."""
    if entry is None:
        return {}
    return dict((entry["output"] or {}).get("metrics") or entry["progress"]["metrics"])


def going(base: Path, wanted: list[str], client: SlurmClient, clock: Clock) -> list[TrainingRun]:
    """The existing runs with these names, if they may be removed.

    Raises:
        Invalid: the name is not one of a run that could be removed.
        Refused: a job of it is alive, or may be.
        Unknown: Slurm does not list this user's jobs.
    """
    if DEFAULT_RUN in wanted:
        raise Invalid(f"{DEFAULT_RUN} is the site's own run, {base}, which cannot be removed.")
    named = [check_name("The name of a run", name) for name in wanted]
    runs = [run for run in training_runs(base) if run.name in named]
    for run in runs:
        _refuse_alive(run, client, clock)
        _refuse_queued(run, client)
    return runs


def _refuse_alive(run: TrainingRun, client: SlurmClient, clock: Clock) -> None:
    backend_of = slurm_or_ray(run.path, client)
    for stage in stages(run.path):
        ledger = Ledger(run.path, stage, clock)
        for record in ledger.records():
            if _may_live(ledger, record, backend_of(record)):
                job = record.last.job_id or record.last.name if record.last else ""
                raise Refused(
                    f"Not removed: {run.name} has a job that is active or may be ({stage}, job "
                    f"{job}). Stop it first: mnrun cancel --run {run.name}"
                )


def _refuse_queued(run: TrainingRun, client: SlurmClient) -> None:
    """A job may be alive whose record was removed."""
    queue = client.queue()
    if queue.rows is None:
        raise Unknown(f"Not removed: Slurm does not list the jobs ({queue.error}). Run this again.")
    for row in queue.rows:
        sign = MARK.fullmatch(row.comment)
        if sign and not row.phase.ended and names_run(sign, run.path):
            raise Refused(
                f"Not removed: {run.name} has a job that is {row.state} and in none of its records "
                f"({sign.group('stage')}, job {row.job_id}). Stop it first: scancel {row.job_id}"
            )


def _may_live(ledger: Ledger, record: Record, backend: Any) -> bool:
    attempt = record.open_attempt
    if attempt is None:
        return False
    look = look_at(backend, ledger, record, attempt)
    return not (look.absent or look.observation.phase.ended)


def size_of(path: Path) -> Size:
    """Count the files below `path`; links are not followed."""
    found = [
        os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - of very many files
        for folder, _folders, files in os.walk(path)
        for name in files
    ]
    return Size(len(found), sum(found))


def remove(run: TrainingRun) -> None:
    """Delete a run, and what interrupted removals of one with its name left.

    A run behind a link is where the link leads; the link goes too.
    """
    folder = Path(os.path.realpath(run.path))
    for name in names(folder.parent):
        if _LEFT.fullmatch(name) and name[len(_GOING) :].partition("~")[0] == folder.name:
            _remove_folder(folder.parent / name)
    if is_link(run.path):
        _refuse_shared(run, folder)
        run.path.unlink()
    target = folder.with_name(f"{_GOING}{folder.name}")
    if os.path.lexists(target):
        target = folder.with_name(f"{target.name}~{secrets.token_hex(4)}")
    folder.rename(target)
    _remove_folder(target)


def _refuse_shared(run: TrainingRun, folder: Path) -> None:
    """A link may lead to another run, or to what holds one."""
    base = Path(os.path.realpath(run.path.parent.parent))
    others = [one.path for one in training_runs(base) if one.name != run.name]
    for other in map(Path, map(os.path.realpath, others)):
        within = other != base and other in folder.parents
        if folder == other or folder in other.parents or within:
            raise Refused(
                f"Not removed: {run.path} is a link to {folder}, where the run {other} is too. "
                "Remove the link yourself if you do not need it."
            )


def _remove_folder(path: Path) -> None:
    if is_dir(path) and not is_link(path):
        shutil.rmtree(path)
