"""What a re-run does, decided by what it finds. Pure: facts in, decision out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..base.fingerprint import differences
from ..base.text import sentence
from ..record.contract import Attempt, Phase, Record, Request
from ..result.verify import stuck
from .snapshot import Facts, Look

UNKNOWN_GRACE = 60.0  # seconds that we wait for a trustworthy answer before we say so
ENDING_GRACE = 120.0  # seconds for a job's nodes to get free; Slurm itself gives up after 60
_LATE = 5.0  # seconds after the quiet window in which the last look at the queue is taken
_MOST_DIFFERENCES = 12  # lines


class Action(str, Enum):
    """What is done; the value is what a module returns."""

    SUBMIT = "submitted"
    ATTACH = "attached"
    ADOPT = "adopted"
    RESUBMIT = "resubmitted"
    REPLACE = "replaced"
    STOP = "stopped"
    NOTHING = "nothing"
    WAIT = "waited"  # look again later; never returned
    REFUSE = "refused"  # never returned

    @property
    def submits(self) -> bool:
        """A new job comes of it."""
        return self in (Action.SUBMIT, Action.RESUBMIT, Action.REPLACE)

    @property
    def changes(self) -> bool:
        """Something is not as it was before."""
        return self.submits or self in (Action.ADOPT, Action.STOP)


@dataclass(frozen=True)
class Decision:
    """What to do, and why, as a sentence for the user."""

    action: Action
    why: str
    patience: float = 0.0  # for WAIT: seconds after which to give up
    stop: list[Look] = field(default_factory=list)  # for REPLACE: whom first


def decide(request: Request, facts: Facts) -> Decision:
    """The table of design: each row is one `return` below."""
    others = _of_others(request, facts)
    if others:
        return others
    if facts.mine and not abandoned(facts.mine, facts):
        return _of_open(facts.mine, facts)
    last = _last_submitted(facts.record)
    if facts.record is None or last is None:
        return Decision(Action.SUBMIT, "No job was submitted for this spec before.")
    if request.service:
        return Decision(Action.SUBMIT, f"The last one is over: {ending(last)}.")
    if facts.output and facts.output.whole:
        whole = ", and its result is whole" if facts.output.checkpoint else ""
        return Decision(Action.NOTHING, f"It is done{whole}.")
    return _again(request, facts, facts.record, last)


def unsettled(look: Look, facts: Facts) -> Decision | None:
    """WAIT if nobody can say yet whether the attempt is alive, or if it is just ending."""
    if look.absent and not abandoned(look, facts):
        left = look.attempt.intent_time + facts.quiet_window - facts.now
        return Decision(
            Action.WAIT,
            f"A submission of {look.attempt.name} was cut off. Its job is not there, but may "
            f"still turn up for {left:.0f} s.",
            patience=facts.quiet_window + _LATE,
        )
    if not look.absent and not look.observation.known:
        return Decision(
            Action.WAIT,
            f"It cannot be said whether {_title(look.attempt)} is alive: "
            f"{look.observation.detail}. Nothing was submitted and nothing cancelled; "
            "run this again when the scheduler answers.",
            patience=UNKNOWN_GRACE,
        )
    if look.observation.phase is Phase.ENDING:
        return Decision(
            Action.WAIT,
            f"{sentence(_title(look.attempt))} has been {look.attempt.state} on "
            f"{look.attempt.nodes or 'its nodes'} for {ENDING_GRACE:.0f} s: a process there does "
            "not end. Nothing was submitted; the cluster's administrators can free the node.",
            patience=ENDING_GRACE,
        )
    return None


def _of_others(request: Request, facts: Facts) -> Decision | None:
    """Jobs of other specs first: nothing may start beside one that is, or may be, alive."""
    for look in facts.others:
        waiting = unsettled(look, facts)
        if waiting:
            return waiting
    live = [look for look in facts.others if look.observation.phase.live]
    if not live:
        return None
    titles = ", ".join(f"{_title(look.attempt)} ({look.attempt.state})" for look in live)
    if request.replace:
        return Decision(Action.REPLACE, f"It replaces {titles}, as told to.", stop=live)
    return Decision(
        Action.REFUSE,
        f"{sentence(titles)} works on the stage {request.stage} with another spec. Wait for it, "
        f"or let this one take its place ({_replace(request)}). The "
        f"difference, running -> wanted:\n{_difference(live[0].record, request)}",
    )


def _of_open(look: Look, facts: Facts) -> Decision:
    waiting = unsettled(look, facts)
    if waiting:
        return waiting
    title = _title(look.attempt)
    if look.adopted:
        return Decision(Action.ADOPT, f"{sentence(title)} was submitted by a run that was cut off.")
    return Decision(Action.ATTACH, f"{sentence(title)} works on it already.")


def _again(request: Request, facts: Facts, record: Record, last: Attempt) -> Decision:
    faults = facts.output.faults if facts.output else []
    why = sentence(ending(last))
    if faults:
        why += f", but its result is not whole: {'; '.join(faults[:3])}"
    if last.phase is Phase.CANCELLED or last.cancelled_by:
        why += "; as this was run by hand, it starts again"
    tried = fruitless(record)
    if tried >= request.max_attempts and not request.replace:
        return Decision(
            Action.REFUSE,
            f"{tried} attempts in a row brought no new {request.aim}, so none is submitted. {why}. "
            f"Mend the cause, then allow more ({_replace(request)}). "
            f"Its log: {last.stderr or last.stdout}",
        )
    # What has no checkpoints is made anew.
    step = (last.last_step or 0) if request.checkpoints else 0
    onward = f"goes on from step {step}" if step else "starts from the beginning"
    if stuck(last, facts.output):
        onward = f"goes on from a checkpoint before step {step}, as that one leads nowhere"
    return Decision(Action.RESUBMIT, f"{why}. The next one {onward}.")


def _replace(request: Request) -> str:
    """The option, as a user of the stage's role gives it."""
    role = {"ray": "ray_cluster"}.get(request.stage, request.stage.partition("-")[0])
    return f"-e {role}_replace=true"


def fruitless(record: Record) -> int:
    """How many attempts in a row, up to now, ended without a new checkpoint. What a person
    cancelled, and what never was submitted, does not count."""
    count = 0
    for attempt in reversed(record.attempts):
        if attempt.phase is Phase.CANCELLED or attempt.cancelled_by or not attempt.job_id:
            continue
        if (attempt.last_step or 0) > attempt.first_step:
            break
        count += 1
    return count


def ending(attempt: Attempt) -> str:
    """How an attempt ended, for the middle of a sentence."""
    text = f"{_title(attempt)} ended as {attempt.state}"
    if attempt.reason:
        text += f" ({attempt.reason})"
    if attempt.exit_code:
        text += f" with exit code {attempt.exit_code}"
    return text


def abandoned(look: Look, facts: Facts) -> bool:
    """True for an intent whose job has not turned up in all the time in which it could."""
    return look.absent and facts.now - look.attempt.intent_time > facts.quiet_window


def _last_submitted(record: Record | None) -> Attempt | None:
    attempts = reversed(record.attempts) if record else iter(())
    return next((attempt for attempt in attempts if attempt.job_id), None)


def _title(attempt: Attempt) -> str:
    return f"job {attempt.job_id}" if attempt.job_id else f"the job {attempt.name}"


def _difference(record: Record, request: Request) -> str:
    lines = differences(record.spec, request.spec)
    more = len(lines) - _MOST_DIFFERENCES
    shown = lines[:_MOST_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
    return "\n".join(f"  {line}" for line in shown)
