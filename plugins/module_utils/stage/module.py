"""What slurm_job and ray_job have in common: options in, one call, a result or a failure out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from ..base.clock import Clock
from ..base.files import expand
from ..base.fingerprint import fingerprint
from ..base.module_exit import with_edge
from ..base.private import claim_private
from ..base.safe_name import check_name
from ..record.contract import Backend, CheckpointRule, Consent, ManifestRule, Phase, Request
from ..record.ledger import Ledger
from ..record.run_options import keep
from .absent import absent
from .conclude import conclude
from .context import Stage
from .decide import Action
from .describe import result
from .outcome import Outcome
from .present import plan, present
from .scope import Only
from .status import BackendOf, Question, answer
from .stop import StopRule
from .unseen import ended_unseen

STAGE_OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "run_dir": {"type": "str", "required": True},
    "run_dir_shared": {"type": "bool", "default": False},
    "stage": {"type": "str", "required": True},
    "spec": {"type": "dict", "default": {}},
    "spec_before": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "match_labels": {"type": "dict", "default": {}},
    "keep_options": {"type": "str", "default": ""},
    "files": {"type": "dict", "default": {}},
    "directories": {"type": "list", "elements": "str", "default": []},
    "checkpoints": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "parts": {"type": "list", "elements": "str", "default": []},
            "hf": {"type": "bool", "default": False},
            "step_bytes": {"type": "int", "default": 0},
            "kept": {"type": "int", "default": 1},
            "last_step": {"type": "int", "default": 0},
        },
    },
    "trainer": {"type": "dict", "default": {}},
    "manifest": {"type": "dict", "options": {"path": {"type": "str", "required": True}}},
    "replace": {"type": "bool", "default": False},
    "set_aside": {"type": "bool", "default": True},
    "ask_gpu_hours": {"type": "float", "default": 0.0},
    "gpus": {"type": "int", "default": 0},
    "followers": {"type": "list", "elements": "str", "default": []},
    "max_attempts": {"type": "int", "default": 3},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 604800},
    "attempt": {"type": "int"},
    "handed_over_at": {"type": "float", "default": 0.0},
    "stop_signal": {"type": "str", "default": ""},
    "stop_timeout": {"type": "int", "default": 60},
    "cancelled_by": {"type": "str", "default": ""},
}

INFO_OPTIONS: dict[str, Any] = {
    "run_dir": {"type": "str", "required": True},
    "stage": {"type": "str", "default": ""},
    "fingerprint": {"type": "str", "default": ""},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 30},
    "min_interval": {"type": "float", "default": 0.0},
    "since": {"type": "str", "default": ""},
    "log_lines": {"type": "int", "default": 0},
    "log_errors": {"type": "bool", "default": False},
    "log_attempt": {"type": "int", "default": 0},
    "log_service": {"type": "str", "default": ""},
    "log_offset": {"type": "dict", "default": {}},
    "causes": {"type": "bool", "default": False},
    "checkpoints": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "parts": {"type": "list", "elements": "str", "default": []},
        },
    },
}


def make_request(params: dict[str, Any], kind: str, name: str, service: bool = False) -> Request:
    """A module's options as a request. `name` is the validated base of the job's name.

    Raises Invalid for values that cannot be used in a name, on a command line or in a path."""
    rule, result = params["checkpoints"], params["manifest"]
    return Request(
        run_dir=expand(params["run_dir"]),
        stage=check_name("stage", params["stage"]),
        kind=kind,
        name=name,
        spec=params["spec"],
        spec_before=params["spec_before"],
        labels=_texts(params["labels"]),
        directories=[expand(path) for path in params["directories"]],
        checkpoints=_checkpoint_rule(rule, params["trainer"]) if rule else None,
        manifest=ManifestRule(expand(result["path"])) if result else None,
        trainer=params["trainer"],
        service=service,
        replace=params["replace"],
        max_attempts=params["max_attempts"],
        consent=Consent(
            params["set_aside"],
            params["ask_gpu_hours"],
            params["gpus"],
            tuple(check_name("followers", name) for name in params["followers"]),
        ),
    )


def _checkpoint_rule(given: dict[str, Any], trainer: dict[str, Any]) -> CheckpointRule:
    return CheckpointRule(**{**given, "path": expand(given["path"])}, trainer=trainer)


def run_stage(
    module: Any, make: Callable[[], tuple[Request, Backend]], clock: Clock | None = None
) -> None:
    """Do what a module's options request, and exit the module. `make` turns them into a request and
    a backend; an error that it raises becomes the module's failure."""
    clock = clock or Clock()
    with_edge(module, lambda: _run(module, make, clock))


def _run(module: Any, make: Callable[[], tuple[Request, Backend]], clock: Clock) -> dict[str, Any]:
    request, backend = make()
    if not module.params["run_dir_shared"]:
        inside = (".mnrun", f".mnrun/{request.stage}")
        claim_private(request.run_dir, *inside, write=not module.check_mode)
    ledger = Ledger(request.run_dir, request.stage, clock)
    stage = Stage(as_recorded(request, ledger), backend, ledger, clock)
    outcome = _act(stage, module.params, module.check_mode)
    answer = result(outcome, request)
    if not module._diff:
        del answer["diff"]
    return {**answer, "failed": True} if outcome.problem else answer


def as_recorded(request: Request, ledger: Ledger) -> Request:
    """The request with the spec of its record: that of an earlier version if there is only one of
    that."""
    known = ledger.folders()
    if fingerprint(request.spec)[:12] in known or not request.spec_before:
        return request
    if fingerprint(request.spec_before)[:12] not in known:
        return request
    return replace(request, spec=request.spec_before)


def _act(stage: Stage, params: dict[str, Any], check: bool) -> Outcome:
    if params["state"] == "absent":
        rule = StopRule(params["stop_signal"], params["stop_timeout"])
        return absent(stage, _only(stage, params), rule, check, params["cancelled_by"])
    if params["attempt"] is not None and not check:
        return conclude(stage, params["attempt"], params["wait_timeout"])
    return ended_unseen(stage, params["handed_over_at"]) or _present(stage, params, check)


def _present(stage: Stage, params: dict[str, Any], check: bool) -> Outcome:
    if check:
        return plan(stage)
    outcome = present(stage)
    keep(stage.request.run_dir, params["keep_options"])
    if not params["wait"] or outcome.attempt is None or outcome.action is Action.NOTHING:
        return outcome
    ended = conclude(stage, outcome.attempt.number, params["wait_timeout"])
    if ended.retryable:
        return _act(stage, params, check)
    ended.action, ended.notes, ended.diff = outcome.action, outcome.notes, outcome.diff
    return ended


def _only(stage: Stage, params: dict[str, Any]) -> Only:
    users = params.get("unless_in_use_by")
    ledger = None
    if users:
        name = check_name("unless_in_use_by", users)
        ledger = Ledger(stage.request.run_dir, name, stage.clock)
    return Only(
        labels=_texts(params["match_labels"]),
        users=ledger,
        if_used=bool(params.get("if_used")),
    )


def run_info(
    module: Any,
    backend_of: Callable[[Path, Clock], BackendOf],
    names_in: Callable[[str], list[str]] = lambda _nodes: [],
) -> None:
    """Answer the query of an `*_info` module, and exit the module. `names_in` writes a list of
    nodes out."""

    def answered() -> dict[str, Any]:
        found = _info(module.params, backend_of)
        for entry in found["stages"]:
            running = entry["job"]["phase"] == Phase.RUNNING.value
            entry["node_names"] = names_in(entry["timing"]["nodes"]) if running else []
        return found

    with_edge(module, answered)


def _info(params: dict[str, Any], backend_of: Callable[[Path, Clock], BackendOf]) -> dict[str, Any]:
    clock = Clock()
    run_dir = expand(params["run_dir"])
    question = Question(
        run_dir=run_dir,
        stage=check_name("stage", params["stage"]) if params["stage"] else "",
        fingerprint=params["fingerprint"],
        since=params["since"] if params["wait"] else "",
        wait=params["wait_timeout"],
        min_interval=params["min_interval"],
        log_lines=params["log_lines"],
        log_errors=params["log_errors"],
        log_attempt=params["log_attempt"],
        log_service=params["log_service"],
        log_offset={path: int(offset) for path, offset in params["log_offset"].items()},
        causes=params["causes"],
        checkpoints=params["checkpoints"],
    )
    status = answer(question, backend_of(run_dir, clock), clock)
    warnings = [one["msg"] for one in status.damaged]
    return {"changed": False, **status._asdict(), "warnings": warnings}


def _texts(labels: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in labels.items()}
