"""Decides what a re-run does, from what it finds. Pure: facts in, decision out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from ..base.fingerprint import differences
from ..base.text import sentence
from ..record.contract import Attempt, Phase, Record, Request
from ..result.verify import stuck
from ..trainer.resume_point import PASSED_OVER
from ..trainer.words import words
from .save_interval import is_fruitless
from .snapshot import Facts, Look

UNKNOWN_GRACE = 60.0  # seconds to wait for a trustworthy answer before giving up
ENDING_GRACE = 120.0  # seconds for a job's nodes to become free; Slurm itself gives up after 60
_LATE = 5.0  # seconds after the quiet window for the last look at the queue
_MOST_DIFFERENCES = 12  # lines
_MOST_NEWS = 4
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # of content; its beginning suffices


class Action(str, Enum):
    """What is done; a module returns the value."""

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
        """It submits a new job."""
        return self in (Action.SUBMIT, Action.RESUBMIT, Action.REPLACE)

    @property
    def changes(self) -> bool:
        """It changes something."""
        return self.submits or self in (Action.ADOPT, Action.STOP)


@dataclass(frozen=True)
class Decision:
    """What to do, and why, as a sentence for the user."""

    action: Action
    why: str
    patience: float = 0.0  # for WAIT: seconds after which to give up
    stop: list[Look] = field(default_factory=list)  # for REPLACE: the jobs to stop first


def decide(request: Request, facts: Facts) -> Decision:
    """The decision table of a re-run: each row is one `return` below."""
    others = _of_others(request, facts)
    if others:
        return others
    if facts.mine and not abandoned(facts.mine, facts):
        return _of_open(facts.mine, facts)
    last = _last_submitted(facts.record)
    if facts.record is None or last is None:
        return Decision(Action.SUBMIT, f"First attempt with these options.{_news(request, facts)}")
    if request.service:
        return Decision(Action.SUBMIT, f"The previous one is over: {ending(last)}.")
    if facts.output and facts.output.whole:
        verified = ", and its result is complete" if facts.output.checkpoint else ""
        return Decision(Action.NOTHING, f"Already done{verified}.")
    return _again(request, facts, facts.record, last)


def unsettled(look: Look, facts: Facts) -> Decision | None:
    """WAIT if it is not known yet whether the attempt is alive, or if it is just ending."""
    if look.absent and not abandoned(look, facts):
        left = facts.quiet_window - _age(look, facts)
        return Decision(
            Action.WAIT,
            f"The submission of {look.attempt.name} was interrupted. Its job does not exist, but "
            f"may still appear within {left:.0f} s.",
            patience=2 * facts.quiet_window + _LATE,  # its clock may be ahead by as much
        )
    if not look.absent and not look.observation.known:
        return Decision(
            Action.WAIT,
            f"It is unknown whether {_title(look.attempt)} is alive: "
            f"{look.observation.detail}. Nothing was submitted and nothing cancelled; "
            f"{look.observation.advice or 'run this again when the scheduler responds'}.",
            patience=0.0 if look.observation.advice else UNKNOWN_GRACE,
        )
    if look.observation.phase is Phase.ENDING:
        return Decision(
            Action.WAIT,
            f"{sentence(_title(look.attempt))} has been {look.attempt.state} on "
            f"{look.attempt.nodes or 'its nodes'} for {ENDING_GRACE:.0f} s: a process there does "
            "not end. Nothing was submitted; your administrators can free the node.",
            patience=ENDING_GRACE,
        )
    return None


def _of_others(request: Request, facts: Facts) -> Decision | None:
    """Jobs of other specs first: nothing may start while one of them is, or may be, alive."""
    for look in facts.others:
        waiting = unsettled(look, facts)
        if waiting:
            return waiting
    live = [look for look in facts.others if look.observation.phase.live]
    if not live:
        return None
    titles = ", ".join(f"{_title(look.attempt)} ({look.attempt.state})" for look in live)
    if request.replace:
        return Decision(Action.REPLACE, f"It replaces {titles}, as requested.", stop=live)
    return Decision(
        Action.REFUSE,
        f"{sentence(titles)} is working on the stage {request.stage} with other options. Wait for "
        f"it, or replace it ({_replace(request)}). "
        f"Difference (running -> requested):\n{_difference(live[0].record, request)}",
    )


def _of_open(look: Look, facts: Facts) -> Decision:
    waiting = unsettled(look, facts)
    if waiting:
        return waiting
    title = _title(look.attempt)
    if look.adopted:
        why = f"{sentence(title)} was submitted by an invocation that was interrupted."
        return Decision(Action.ADOPT, why)
    doing = "in the queue" if look.observation.phase is Phase.QUEUED else "running"
    return Decision(Action.ATTACH, f"Attached to {title}, already {doing}.")


def _again(request: Request, facts: Facts, record: Record, last: Attempt) -> Decision:
    faults = facts.output.faults if facts.output else []
    why = sentence(ending(last))
    if faults:
        why += f", but its result is not complete: {'; '.join(faults[:3])}"
    tried = fruitless(record)
    if tried >= request.max_attempts and not request.replace:
        return Decision(
            Action.REFUSE,
            f"{tried} attempts in a row brought no new {request.aim}, so no other is submitted. "
            f"{why}. Fix the cause, then allow more ({_replace(request)}). "
            f"Log: {last.stderr or last.stdout}",
        )
    step = resume_step(request, facts, last)
    onward = f"resumes from step {step}" if step else "starts from the beginning"
    if request.checkpoints and words(request.trainer).starts_over:
        onward += f", as this trainer does not resume; checkpoints are kept ({PASSED_OVER}.…)"
    if stuck(last, facts.output):
        onward = f"resumes from a checkpoint before step {step}, which leads nowhere"
    return Decision(Action.RESUBMIT, f"{why}. The next attempt {onward}.")


def resume_step(request: Request, facts: Facts, last: Attempt) -> int:
    """The step from which an attempt after `last` resumes; 0 for the beginning."""
    if request.checkpoints is None:  # it starts over
        return 0
    return (last.last_step or 0) if facts.newest is None else facts.newest


def _news(request: Request, facts: Facts) -> str:
    """What is new since the stage was last tried."""
    last = facts.earlier.last if facts.earlier else None
    if last is None or facts.earlier is None or not last.job_id:
        return ""
    lines = [_HASH.sub(r"\1", line) for line in differences(facts.earlier.spec, request.spec)]
    more = f"; and {len(lines) - _MOST_NEWS} more" if len(lines) > _MOST_NEWS else ""
    return f" New since {_title(last)}: {'; '.join(lines[:_MOST_NEWS])}{more}."


def _replace(request: Request) -> str:
    """The option, as a user of the stage's role would pass it."""
    role = {"ray": "ray_cluster"}.get(request.stage, request.stage.partition("-")[0])
    return f"-e {role}_replace=true"


def fruitless(record: Record) -> int:
    """How many attempts in a row, up to now, ended without a new checkpoint. Those that a person
    cancelled or that were never submitted do not count."""
    count = 0
    for attempt in reversed(record.attempts):
        if attempt.phase is Phase.CANCELLED or attempt.cancelled_by or not attempt.job_id:
            continue
        if not is_fruitless(attempt):
            break
        count += 1
    return count


def ending(attempt: Attempt) -> str:
    """How an attempt ended, for use inside a sentence."""
    text = f"{_title(attempt)} ended as {attempt.state}"
    if attempt.reason:
        text += f" ({attempt.reason})"
    if attempt.exit_code:
        text += f" with exit code {attempt.exit_code}"
    return text


def abandoned(look: Look, facts: Facts) -> bool:
    """True for an intent whose job has not appeared within the time in which it could."""
    return look.absent and _age(look, facts) > facts.quiet_window


def _age(look: Look, facts: Facts) -> float:
    """Seconds since an intent; since we look, if the clock of its controller was far ahead."""
    age = facts.now - look.attempt.intent_time
    return age if age >= -facts.quiet_window else facts.waited


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
