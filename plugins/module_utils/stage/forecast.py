"""What a submission would do, for a person who has to decide on it: `mnrun plan`."""

from __future__ import annotations

import re
from typing import Any, Iterator

from ..base.errors import Refused
from ..base.fingerprint import MISSING, differences
from ..base.presence import names
from ..record.contract import Record, Request
from ..record.ledger import Ledger
from ..result.ownership import owned, owner_of
from ..trainer.checkpoint import count
from .context import Stage
from .decide import Action, Decision, resume_step
from .save_interval import seconds_a_step
from .snapshot import Facts

_LINE = re.compile(r"(?P<key>\S+): (?P<old>.*) -> (?P<new>.*)")
_OF_LENGTH = re.compile(r"epoch|batch|step|train_files", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{40,}")
_MOST = 4  # changes in a message
_CONTENT = {
    "inputs.model": "another base model",
    "inputs.train_files": "other training data",
    "inputs.test_files": "other validation data",
    "model.sft": "another SFT",
    "model.content": "other weights of SFT",
    "source.fingerprint": "another training",
    "source.content": "other weights",
}


def forecast(stage: Stage, facts: Facts, decision: Decision) -> dict[str, Any]:
    """What is planned for a stage, as the modules return it in check mode."""
    request, submits = stage.request, decision.action.submits
    last = facts.record.last if facts.record else None
    begin = resume_step(request, facts, last) if submits and last else 0
    steps = _steps(request, facts)
    aside, finished = _aside(stage, facts) if submits else ("", False)
    return {
        "does": decision.action.value,
        "first_step": begin,
        "steps": steps,
        "changes": list(_changes(request, facts)) if submits else [],
        "seconds": _seconds(facts, steps - begin) if submits else None,
        "aside": aside,
        "finished": finished,
        "bytes": _room(request, facts) if submits else 0,
        "start": None,
    }


def require_consent(stage: Stage, facts: Facts, decision: Decision) -> None:
    """Raise Refused if what would begin needs a yes that the request does not have."""
    allowed, found = stage.request.consent, forecast(stage, facts, decision)
    costs = [] if allowed.set_aside else list(_finished_work(stage, found))
    hours = (found["seconds"] or 0) * allowed.gpus / 3600
    if decision.action is not Action.RESUBMIT and 0 < allowed.gpu_hours < hours:
        costs.append(f"It would take about {hours:,.0f} GPU-hours.")
    if costs:
        changes = found["changes"][:_MOST]
        why = f" ({', '.join(changes)})" if changes else ""
        text = " ".join([f"{stage.request.stage} would be trained again{why}.", *costs])
        raise Refused(f"{text} Nothing was changed or submitted.", needs_yes=True, plan=found)


def _finished_work(stage: Stage, found: dict[str, Any]) -> Iterator[str]:
    if found["finished"]:
        yield f"The finished work in {found['aside']} would be moved aside, not deleted."
    if found["does"] == Action.SUBMIT.value:
        for name in stage.request.consent.followers:
            ledger = Ledger(stage.request.run_dir, name, stage.clock)
            if any(record.output for record in ledger.records()):
                yield f"That of {name}, which begins with its result, would be out of date."


def _steps(request: Request, facts: Facts) -> int:
    """How many steps the training has, or had with options that leave that as it was; 0 if it is
    not known."""
    if request.checkpoints and request.checkpoints.last_step:
        return request.checkpoints.last_step
    output = facts.output.checkpoint if facts.output else None
    if output:
        return int(output.step)
    if any(_OF_LENGTH.search(line) for line in _changed(request, facts)):
        return 0
    known = [record.output for record in (facts.record, facts.earlier) if record and record.output]
    return int(known[0].get("step") or 0) if known else 0


def _seconds(facts: Facts, steps: int) -> float | None:
    """How long the steps take by the stage's newest attempts; None if that is not known."""
    for record in (facts.record, facts.earlier):
        each = [one for one in map(seconds_a_step, record.attempts) if one] if record else []
        if each and steps > 0:
            return each[-1] * steps
    return None


def _changes(request: Request, facts: Facts) -> Iterator[str]:
    """What is not as it was when the stage was last tried, in the words of its options."""
    for line in _changed(request, facts):
        found = _LINE.fullmatch(line)
        key = found["key"] if found else line
        known = [text for start, text in _CONTENT.items() if key.startswith(start)]
        if found is None or known:
            yield known[0] if known else line
        elif _HASH.search(found["old"] + found["new"]):
            yield f"{_short(key)} has other content"
        else:
            old, new = (found[side].replace(MISSING, "not set") for side in ("old", "new"))
            yield f"{_short(key)} {old} → {new}"


def _changed(request: Request, facts: Facts) -> list[str]:
    tried = facts.record and facts.record.last
    before = None if tried else facts.earlier
    return differences(before.spec, request.spec) if before else []


def _short(key: str) -> str:
    return key[len("options.") :] if key.startswith("options.") else key


def _aside(stage: Stage, facts: Facts) -> tuple[str, bool]:
    """Where checkpoints of other options would be moved from, and whether those were finished."""
    rule = stage.request.checkpoints
    if rule is None:
        return "", False
    owner = owner_of(rule.path)
    if owner == facts.key or not names(rule.path):
        return "", False
    return str(rule.path), any(_is_finished(one, owner) for one in stage.ledger.records())


def _is_finished(record: Record, owner: str) -> bool:
    return record.fingerprint == owner and record.output is not None


def _room(request: Request, facts: Facts) -> int:
    """Bytes of the checkpoints that are still to be written; 0 if it is not known."""
    rule = request.checkpoints
    if rule is None:
        return 0
    place = owned(rule, facts.key)
    return max(1, rule.kept - (count(place) if place else 0)) * rule.step_bytes
