"""The read-only modules: the state of each stage of a run, and what is new in its logs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..base.clock import Clock, Deadline
from ..base.errors import Invalid
from ..base.files import changed_at, expand
from ..base.logfile import last_lines, news, size_of
from ..record.contract import Attempt, Backend, Observation, Phase, Record
from ..record.holder import holder
from ..record.job_report import claims, read_start
from ..record.ledger import Ledger, stages
from ..record.notified import last_fault
from ..record.services import read_services
from ..trainer.log_reader import body, own_lines
from .budget import spent
from .conclude import explained
from .describe import described, state_digest
from .lineage import origins
from .snapshot import look_at
from .timing import expected_start, saved_at, timing
from .watch import TICK, Watch

_SOME, _WIDTH = 100, 100  # lines that are looked at for the last one, characters of it
_OURS = "mnrun: "  # what the activation script says, which is no progress

BackendOf = Callable[[Record], Backend]


@dataclass(frozen=True)
class Question:
    """A query about the stages of a run."""

    run_dir: Path
    stage: str = ""  # empty: all
    fingerprint: str = ""  # empty: the spec of the newest attempt
    since: str = ""  # the digest of the last answer; empty: answer immediately
    wait: float = 0.0  # seconds to wait for a change since `seen`
    min_interval: float = 0.0  # seconds during which a new step alone does not lead to an answer
    log_lines: int = 0
    log_errors: bool = False  # only the log of errors
    log_service: str = ""  # a service beside the training, in place of the training
    log_attempt: int = 0  # whose logs; 0: those of the newest attempt
    log_offset: dict[str, int] = field(default_factory=dict)
    causes: bool = False  # say why an attempt ended without a result
    checkpoints: dict[str, Any] | None = None  # `path` and `parts`: tell when it was saved last


class RunStatus(NamedTuple):
    """All that is known about a run."""

    stages: list[dict[str, Any]]  # one entry for each stage with an attempt
    damaged: list[dict[str, str]]  # records that cannot be trusted: `stage` and `msg`
    gpu_hours: dict[str, float]  # of these stages' jobs: `used`, and `reserved` for live ones
    notify_fault: str  # what went wrong with the last notification
    holder: dict[str, Any]  # the relay that holds the run, as it was before the stages were read


def answer(question: Question, backend_of: BackendOf, clock: Clock) -> RunStatus:
    """Report on each stage. A damaged record does not hide the others."""
    held = holder(question.run_dir)._asdict()
    wanted = [question.stage] if question.stage else stages(question.run_dir)
    ledgers = [Ledger(question.run_dir, stage, clock) for stage in wanted]
    read = [(ledger, *ledger.readable()) for ledger in ledgers]
    known = [record for _ledger, records, _damaged in read for record in records]
    hours = spent(known, clock.now())._asdict()
    status = RunStatus([], [], hours, last_fault(question.run_dir), held)
    for ledger, records, damaged in read:
        stage = ledger.stage
        status.damaged.extend({"stage": stage, "msg": damage.message} for damage in damaged)
        record = _newest(records, question.fingerprint)
        if record and record.last:
            source = _Source(ledger, record, record.last, backend_of(record), clock)
            entry = source.when_new(question) if question.since else source.now(question)
            status.stages.append({**entry, "from": origins(record, known)})
    return status


def _newest(records: list[Record], key: str) -> Record | None:
    fitting = [one for one in records if one.last and one.fingerprint.startswith(key)]
    return max(fitting, key=lambda record: record.attempts[-1].intent_time, default=None)


@dataclass
class _Source:
    """One stage's newest attempt, and where to query it."""

    ledger: Ledger
    record: Record
    attempt: Attempt
    backend: Backend
    clock: Clock

    def now(self, question: Question) -> dict[str, Any]:
        if self.attempt.settled:
            return self._entry(question, None)
        look = look_at(self.backend, self.ledger, self.record, self.attempt)
        self.attempt = look.attempt
        return self._entry(question, look.observation)

    def when_new(self, question: Question) -> dict[str, Any]:
        """Wait for another state, a step after `min_interval`, or new lines of a followed log."""
        if self.attempt.settled or not self.attempt.job_id:
            return self.now(question)
        deadline = Deadline(self.clock, question.wait)
        patience = Deadline(self.clock, question.min_interval)
        folder = self.ledger.folder(self.record.fingerprint)
        watch = Watch(self.backend, folder, self.attempt, self.clock)
        read = -1  # bytes of the logs when they were last read
        while not deadline.over():
            seen = watch.look()
            logs = [*self.attempt.log_paths, *(self._logs(question, self.attempt))]
            size = sum(map(size_of, logs)) if patience.over() else read
            if size != read or self._state(seen) != question.since.partition("-")[0]:
                read = size
                entry = self._entry(question, seen)
                if entry["digest"] != question.since or entry["log"]["lines"]:
                    return entry
            if seen.phase.ended:
                break
            deadline.pause(TICK)
        return self._entry(question, watch.observation)

    def _state(self, seen: Observation) -> str:
        return state_digest(self._last_known(seen), seen.known)

    def _of(self, number: int) -> Attempt | None:
        """The attempt with a number; None for 0. Raises Invalid if there is no such attempt."""
        found = [one for one in self.record.attempts if one.number == number]
        if number and not found:
            known = ", ".join(str(one.number) for one in self.record.attempts)
            raise Invalid(f"{self.record.stage} has no attempt {number}. It has: {known}.")
        return found[0] if number else None

    def _entry(self, question: Question, seen: Observation | None) -> dict[str, Any]:
        attempt = self._last_known(seen) if seen else self.attempt
        logged = self._of(question.log_attempt) or attempt
        entry: dict[str, Any] = {
            "stage": self.record.stage,
            "kind": self.record.kind,
            "spec": self.record.spec,
            "output": self.record.output,
            "known": seen.known if seen else True,
            "detail": seen.detail if seen else "",
            "seconds": self._seconds(attempt),
            "log": _log(question, logged, self._logs(question, logged)),
            "why": seen.why if seen else "",
            **described(self.record, attempt, self.ledger.folder(self.record.fingerprint)),
        }
        entry["timing"] = self._timing(question, attempt, entry["progress"]["step"], seen)
        if question.causes and attempt.phase.ended:
            entry.update(self._ending(attempt, settled=seen is None))
        if attempt.phase is Phase.RUNNING and entry["progress"]["step"] is None:
            entry["last_line"] = _last_line(attempt)
        state = state_digest(attempt, seen.known if seen else True)
        return {**entry, "digest": f"{state}-{entry['progress']['step']}"}

    def _logs(self, question: Question, attempt: Attempt) -> list[Path]:
        """The logs that are asked for. Raises Invalid for a service that the attempt lacks."""
        if not question.log_service:
            return _paths(question, attempt)
        known = read_services(self.ledger.folder(self.record.fingerprint), attempt)
        logs = [Path(one.log) for one in known if one.name == question.log_service]
        if not logs and (attempt.phase.ended or known):
            names = ", ".join(sorted({one.name for one in known})) or "none"
            raise Invalid(
                f"Attempt {attempt.number} of {self.record.stage} has no service "
                f"{question.log_service}. Its services: {names}."
            )
        return logs

    def _timing(
        self, question: Question, attempt: Attempt, step: int | None, seen: Observation | None
    ) -> dict[str, Any]:
        known = timing(self.ledger, self.record, attempt, step, self.clock)
        rule = question.checkpoints
        saved = saved_at(expand(rule["path"]), rule["parts"], self.record) if rule else None
        return {**known, "expected": expected_start(seen, known["now"]), "saved": saved}

    def _ending(self, attempt: Attempt, settled: bool) -> dict[str, Any]:
        """How an attempt ended: with a verified result, for a cause, or neither is known yet.
        `settled`: its end is in the record."""
        output = self.record.output
        # An earlier attempt may have left the output, and a later one not reached it again.
        verified = settled and output is not None and (attempt.last_step or 0) >= output["step"]
        if verified or attempt.phase is Phase.SUCCEEDED:
            return {"settled": settled, "verified": verified}
        folder = self.ledger.folder(self.record.fingerprint)
        outcome = explained(self.backend, folder, self.record, attempt)
        found = outcome.cause
        return {
            "settled": settled,
            "verified": verified,
            "problem": outcome.problem,
            "cause": found and {"code": found.code, "title": found.title, "passing": found.passing},
        }

    def _last_known(self, seen: Observation) -> Attempt:
        """What was observed; without an answer, the job's own word that it has started."""
        if not seen.known and self.attempt.phase is Phase.QUEUED:
            folder = self.ledger.folder(self.record.fingerprint)
            job = read_start(folder, self.attempt)
            if job and job.job_id == self.attempt.job_id:
                times = {number: time for number, _token, time in claims(folder)}
                begun = times.get(self.attempt.number) or None
                return replace(
                    self.attempt, phase=Phase.RUNNING, state="RUNNING", reason="", start=begun
                )
        return self.attempt.seen(seen)

    def _seconds(self, attempt: Attempt) -> float:
        """How long it has been running or waiting, or how long it ran."""
        begin = attempt.intent_time if attempt.phase is Phase.QUEUED else attempt.start
        return max(0.0, (attempt.end or self.clock.now()) - (begin or attempt.intent_time))


def _last_line(attempt: Attempt) -> str:
    """What a job that has not made a step yet wrote last, shortened."""
    for path in sorted(attempt.log_paths, key=changed_at, reverse=True):
        found = own_lines(last_lines(path, _SOME).lines)
        lines = [line for line in found if not line.startswith(_OURS)]
        if lines:
            return body(lines[-1]).strip()[:_WIDTH]
    return ""


def _paths(question: Question, attempt: Attempt) -> list[Path]:
    """The logs that are asked for."""
    if question.log_errors:  # Ray's jobs have one log for all
        return attempt.log_paths[:1]
    # What matters most comes last: of a failure the log of errors, else that of the training.
    return attempt.log_paths if attempt.phase is not Phase.FAILED else attempt.log_paths[::-1]


def _log(question: Question, attempt: Attempt, paths: list[Path]) -> dict[str, Any]:
    lines: list[dict[str, str]] = []
    offsets: dict[str, int] = {}
    skipped: dict[str, int] = {}
    ended = attempt.phase.ended
    for path in paths if question.log_lines else ():
        name = str(path)
        if name in question.log_offset:
            fresh = news(path, question.log_offset[name], ended)
        else:
            fresh = last_lines(path, question.log_lines, ended)
        offsets[name] = fresh.offset
        if fresh.skipped:
            skipped[name] = fresh.skipped
        lines += [{"path": name, "line": text} for text in fresh.lines]
    return {"lines": lines, "offset": offsets, "skipped": skipped}
