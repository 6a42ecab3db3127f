"""The result of a stage: does it exist, is it complete, does it have the last step?"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..record.contract import (
    Attempt,
    CheckpointRule,
    ManifestRule,
    Observation,
    Phase,
    Record,
    ResultRule,
)
from ..trainer.checkpoint import Checkpoint, survey, weights_identity
from ..trainer.progress import Progress, read_progress
from ..trainer.resume_point import newest_whole
from .converted import described, survey_manifest
from .ownership import owned
from .reached import metrics, progress_of


class Output(NamedTuple):
    """What was found of a stage's result. `whole` without a checkpoint: the stage leaves none."""

    checkpoint: Checkpoint | None
    faults: list[str]
    short: bool = False  # intact files, but not of the last step: the training ended too early

    @property
    def whole(self) -> bool:
        """Nothing is missing or damaged."""
        return not self.faults


def verify(rule: ResultRule, record: Record) -> Output:
    """Check the result of a record whose job succeeded."""
    if rule is None:
        return Output(None, [])
    if isinstance(rule, ManifestRule):
        return Output(*survey_manifest(rule, record.fingerprint))
    return _verify_checkpoints(rule, record)


def _verify_checkpoints(rule: CheckpointRule, record: Record) -> Output:
    place = owned(rule, record.fingerprint)
    if place is None:
        return Output(None, [f"{rule.path} contains no checkpoints of these options"])
    found = survey(place, rule.hf)
    if found.newest is None:
        return Output(None, found.faults or [f"{place.path} contains no checkpoint"])
    expected = _expected_step(rule, record)
    if found.newest.step >= expected:
        return Output(found.newest, [])
    short = f"the newest complete checkpoint is step {found.newest.step}, not step {expected}"
    return Output(found.newest, [short, *found.faults], short=not found.faults)


def finished(rule: ResultRule, record: Record) -> Output | None:
    """The result of a record whose newest job is over; None if that job failed, and left nothing
    that is certainly complete. The output decides: a job may be killed after its last checkpoint.

    Raises OSError if the result cannot be read.
    """
    last = record.last
    if last is None or not last.settled:
        return None
    if last.phase is Phase.SUCCEEDED:
        return verify(rule, record)
    last_step = _certainly_last(rule, record) if isinstance(rule, CheckpointRule) else 0
    if rule is None or (isinstance(rule, CheckpointRule) and not last_step):
        return None
    output = verify(rule, record)
    done = output.whole and (output.checkpoint is None or output.checkpoint.step >= last_step)
    return output if done else None


def stuck(attempt: Attempt, output: Output | None) -> bool:
    """True if an attempt resumed, made no step, and succeeded before the last one. The next attempt
    would do the same, unless it resumes from another checkpoint."""
    resumed = attempt.first_step > 0 and (attempt.last_step or 0) <= attempt.first_step
    return bool(output and output.short and resumed)


def newest_step(rule: ResultRule, record: Record) -> int:
    """The newest step from which an attempt could resume, or the step of a complete result; 0 if
    there is none."""
    if isinstance(rule, ManifestRule):
        return survey_manifest(rule, record.fingerprint).step
    place = owned(rule, record.fingerprint) if rule else None
    return newest_whole(place) if place else 0


def settle(record: Record, observation: Observation, rule: ResultRule) -> None:
    """Enter the end of the newest attempt into `record`, and the result if it is complete."""
    attempt = record.attempts[-1].seen(observation)
    # Who cancels a job does not know its checkpoints: the next one who does looks for them.
    attempt.last_step = newest_step(rule, record) if rule else None
    found = progress_of(attempt, record.trainer)
    attempt.shown, attempt.reached = found._asdict(), found.step
    record.attempts[-1] = attempt
    output = finished(rule, record)
    if output and output.whole and output.checkpoint:
        values = described(output.checkpoint) if isinstance(rule, ManifestRule) else metrics(record)
        content = weights_identity(output.checkpoint.model, record.trainer)
        record.output = _as_dict(output.checkpoint, values, content)


def as_result(record: Record, output: Output) -> dict[str, Any] | None:
    """A complete result as modules return it: its current place, the metrics of its training, and
    the identity of its content when the training ended."""
    if output.checkpoint is None:
        return None
    known = record.output
    if known is None:  # an earlier mnrun settled it, by the end of its job alone
        content = weights_identity(output.checkpoint.model, record.trainer)
        return _as_dict(output.checkpoint, metrics(record), content)
    return _as_dict(output.checkpoint, known.get("metrics", {}), known.get("content", ""))


def _as_dict(checkpoint: Checkpoint, values: dict[str, float], content: str) -> dict[str, Any]:
    return {
        "step": checkpoint.step,
        "path": str(checkpoint.path),
        "model": str(checkpoint.model),
        "metrics": values,
        "content": content,
    }


def _expected_step(rule: CheckpointRule, record: Record) -> int:
    """The step that the result reached once, or that the trainer announced it would reach.

    A trainer that resumes and makes no step, or not all of them, still exits successfully. SFT only
    announces the total of its epochs, which the option for the last step can reduce.
    """
    if record.output:
        return int(record.output["step"])
    progress = _announced(record)
    if progress.total_stated:
        return progress.total or 0
    known = [step for step in (rule.last_step, progress.all_epochs) if step]
    return min(known, default=0)


def _certainly_last(rule: CheckpointRule, record: Record) -> int:
    """A step that no announcement goes beyond; 0 if there is none. Code of the user's may print a
    line like the trainer's, and alone that must not make a stage done whose job was ended."""
    if record.output:
        return int(record.output["step"])
    known = [step for step in (rule.last_step, _announced(record).highest) if step]
    return min(known, default=0)


def _announced(record: Record) -> Progress:
    """What the newest attempt shows that announced how many steps there will be."""
    all_ = (
        read_progress(attempt.log_paths, record.trainer) for attempt in reversed(record.attempts)
    )
    return next((one for one in all_ if one.total_stated or one.all_epochs), Progress())
