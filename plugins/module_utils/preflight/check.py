"""Everything that can be checked before a submission, all faults at once. Changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..base.clock import Clock
from ..base.errors import Invalid
from ..base.files import expand
from ..base.process import Runner
from ..model.cache import cache_fault
from ..model.folder import model_faults
from ..model.identity import file_identity, folder_identity
from ..slurm.client import SlurmClient
from ..trainer.content import content_faults
from ..trainer.data import Checked, check_file, is_there
from ..trainer.estimate import checkpoint_bytes, keep_faults, kept, kept_by, too_few_kept
from ..trainer.plain import reads_of
from ..trainer.reads import Field, Reads
from ..trainer.template import read_template, template_faults
from .code import named_files, version_of
from .fits import fit_faults
from .network import network_faults
from .parser import parser_findings
from .report import Report
from .reward import try_reward
from .services import service_findings
from .slurm_requests import check_requests
from .summary import summary, things

_OPTION = re.compile(r"^[+~]*|=.*", re.DOTALL)  # what is around the name
_OF_DATA = ("mnrun_train_files", "mnrun_test_files")
_NOT_HERE = (
    "only a job can run this image, so the trainer's options and the rows of the data were not"
    " checked"
)


class Tools(NamedTuple):
    """What runs a command, and the script that jobs source."""

    run: Runner
    activation: str = ""


def check(params: dict[str, Any], run: Runner) -> Report:
    """Check models, data, trainer options and Slurm requests (the module's own parameters)."""
    report = Report(**(params.get("outside") or {}))
    here = params.get("trainer_is_here", True)
    train = [expand(path) for path in params["train_files"]]
    test = [expand(path) for path in params["test_files"]]
    by = Tools(run, params.get("activation") or "")
    trainers: list[Reads] = []
    checked: dict[Path, Checked] = {}
    template = ""
    with report.about("options"):
        trainers += _check_trainers(params["trainers"] if here else [], train, test, by, report)
        _check_rewards(trainers, by, report)
    with report.about("services", "mnrun_services"):
        services = service_findings(params["trainers"], params.get("image") or "")
        report.faults += services.faults
        report.warnings += services.warnings
    with report.about("Slurm"):
        check_requests(params["slurm"], SlurmClient(run, Clock()), report)
    with report.about("networks", "environment_variables"):
        _check_networks(params.get("networks") or {}, params.get("found") or "", report)
    _check_models(params, report)
    with report.about("model", "mnrun_chat_template"):
        template = _check_template(params, here=here, report=report)
    with report.about("data", *_OF_DATA):
        check_rows = check_file if here else is_there
        checked = _check_data(train, test, trainers, report, check_rows)
    report.warnings += [] if here else [_NOT_HERE]
    with report.about("data", *_OF_DATA):
        templated = [_with(each, template, report) for each in trainers]
        _check_content(params, templated, checked, report)
    with report.about("options"):
        report.faults += [fault for each in trainers for fault in _too_few_kept(each, report)]
        keeps = {trainer["stage"]: trainer.get("keep") or {} for trainer in params["trainers"]}
        for each in trainers:
            report.faults += keep_faults(each.stage, keeps[each.stage], each.saves)
    report.faults = list(dict.fromkeys(report.faults))
    _conclude(params, (train, test), trainers, report)
    return report


def _conclude(
    params: dict[str, Any],
    data: tuple[list[Path], list[Path]],
    trainers: list[Reads],
    report: Report,
) -> None:
    """What there is of the parts without faults; without any, what stages need to know."""
    bad = {report.parts.get(fault, ["site"])[0] for fault in report.faults}
    report.right += [[*each] for each in things(params, trainers, report.rows, bad)]
    if report.faults:
        return
    with report.about("data", *_OF_DATA):
        _identify(params, *data, report)
        _estimate(params, trainers, report)
        report.checked += summary(params, trainers, report.rows, report.checkpoints)
        report.checked += [f"{limit}." for limit in report.limits]


def _check_trainers(
    trainers: list[dict[str, Any]], train: list[Path], test: list[Path], by: Tools, report: Report
) -> list[Reads]:
    known = [_check_trainer(trainer, train, test, by, report) for trainer in trainers]
    return [reads for reads in known if reads is not None]


def _check_trainer(
    trainer: dict[str, Any], train: list[Path], test: list[Path], by: Tools, report: Report
) -> Reads | None:
    report.faults += [
        f"{trainer['stage']}: {option} is set by mnrun; use {variable} instead"
        for option, variable in trainer["refused"].items()
    ]
    report.faults += [f"{trainer['stage']}: {fault}" for fault in trainer.get("faults") or ()]
    unfit = list(fit_faults(trainer))
    report.faults += unfit
    if unfit:
        return None
    try:
        found = reads_of(trainer, train, test)
    except Invalid as error:
        report.faults += error.message.splitlines()
        return _reads_despite(trainer, error.message, train, test)
    report.faults += found.faults
    if trainer.get("parse"):
        _check_parser(trainer, by, report)
    return found


def _reads_despite(
    trainer: dict[str, Any], complaint: str, train: list[Path], test: list[Path]
) -> Reads | None:
    """What a trainer reads by its other options, so that its data is looked at all the same."""
    names = {option: _OPTION.sub("", option) for option in trainer["overrides"]}
    others = [
        option
        for option, name in names.items()
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.]\w)", complaint)
    ]
    if not 0 < len(others) < len(names):
        return None
    try:
        return reads_of({**trainer, "overrides": others}, train, test)
    except Invalid:
        return None


def _check_parser(trainer: dict[str, Any], by: Tools, report: Report) -> None:
    found = parser_findings(trainer["parse"], by.activation, by.run)
    report.faults += [f"{trainer['stage']}: {fault}" for fault in found.faults]
    report.warnings += [f"{trainer['stage']}: {warning}" for warning in found.warnings]


def _check_rewards(trainers: list[Reads], by: Tools, report: Report) -> None:
    """Where the options are right: otherwise the file's own fault is among theirs."""
    for trainer in trainers:
        if trainer.reward and not trainer.faults:
            found = try_reward(trainer.reward, by.activation, by.run)
            report.faults += [f"{trainer.stage}: {found.fault}"] if found.fault else []
            report.warnings += [f"{trainer.stage}: {found.warning}"] if found.warning else []


def _check_template(params: dict[str, Any], *, here: bool, report: Report) -> str:
    """The text of a chat template of the user's own; empty without one, or if it has faults."""
    named = params.get("chat_template") or ""
    if not named:
        return ""
    text, fault = read_template(expand(named))
    faults = [fault] if fault else []
    if not fault and here and params["model"]:
        faults += template_faults(text, expand(params["model"]))
    report.faults += [f"mnrun_chat_template: {named}: {fault}" for fault in faults]
    return "" if faults else text


def _with(trainer: Reads, template: str, report: Report) -> Reads:
    """A trainer whose model has this template."""
    if template and trainer.template:
        option = trainer.template_option or "an option of the trainer"
        report.faults.append(
            f"{trainer.stage}: {option} and mnrun_chat_template both give a chat template; remove"
            " one of them"
        )
    return trainer._replace(template=trainer.template or template)


def _check_networks(named: dict[str, Any], found: str, report: Report) -> None:
    if found:
        report.faults += network_faults(named, found)
    elif named:
        report.warnings.append(
            f"no compute node was looked at, so whether it has what {', '.join(named)} names is"
            " not known (preflight_probe)"
        )


def _check_models(params: dict[str, Any], report: Report) -> None:
    named = [(params["model"], "mnrun_model"), *((o, "ppo_model") for o in params["other_models"])]
    for model, variable in named:
        with report.about("model", variable):
            if model:
                cached = cache_fault(expand(model))
                report.faults += [cached] if cached else model_faults(expand(model))


def _check_data(
    train: list[Path],
    test: list[Path],
    trainers: list[Reads],
    report: Report,
    check_rows: Callable[[Path, list[Field]], Checked],
) -> dict[Path, Checked]:
    wanted: dict[Path, dict[Field, None]] = {path: {} for path in [*train, *test]}
    for trainer in trainers:
        for path in [*trainer.train_files, *trainer.test_files]:
            wanted.setdefault(path, {}).update(dict.fromkeys(trainer.fields))
    parquet = not trainers or any(trainer.parquet for trainer in trainers)
    check = check_rows if parquet else is_there
    checked: dict[Path, Checked] = {}
    for path, fields in wanted.items():
        with report.about("data", *_OF_DATA):
            checked[path] = found = check(path, list(fields))
            report.rows[str(path)] = found.rows
            report.faults += found.faults
    if len(checked) == len(wanted):
        report.faults += [fault for trainer in trainers for fault in _too_few(trainer, checked)]
    return checked


def _check_content(
    params: dict[str, Any], trainers: list[Reads], checked: dict[Path, Checked], report: Report
) -> None:
    """What the rows of intact files come to with this model."""
    others = [model for model in params["other_models"] if model]
    for trainer in trainers:
        files = [*trainer.train_files, *trainer.test_files]
        if all(path in checked and not checked[path].faults for path in files):
            named = others if trainer.stage == "ppo" and others else [params["model"]]
            model = expand(named[0]) if named[0] else Path()
            report.faults += content_faults(trainer, model)


def _too_few(trainer: Reads, checked: dict[Path, Checked]) -> list[str]:
    if any(checked[path].faults for path in [*trainer.train_files, *trainer.test_files]):
        return []
    rows = sum(checked[path].rows for path in trainer.train_files)
    if rows < trainer.batch:
        fewer = f"{rows} rows to train on are fewer than one batch of {trainer.batch}"
        then = "no step would be made; reduce data.train_batch_size or use more data"
        return [f"{trainer.stage}: {fewer}, so {then}"]
    tests = sum(checked[path].rows for path in trainer.test_files)
    if tests >= trainer.least_test or trainer.faults:
        return []
    fewer = (
        f"{tests} rows to validate on are fewer than the {trainer.least_test} of one micro batch"
    )
    then = "the trainer would end at its first validation; reduce data.micro_batch_size_per_gpu"
    return [f"{trainer.stage}: {fewer} for each GPU, so {then} or use more data"]


def _too_few_kept(trainer: Reads, report: Report) -> list[str]:
    rows = sum(report.rows.get(str(path), 0) for path in trainer.train_files)
    return too_few_kept(trainer.stage, trainer.saves, rows, trainer.batch)


def _estimate(params: dict[str, Any], trainers: list[Reads], report: Report) -> None:
    """The size of each stage's checkpoints, by the model that it starts from."""
    given = {trainer["stage"]: trainer for trainer in params["trainers"]}
    for trainer in trainers:
        rows = sum(report.rows[str(path)] for path in trainer.train_files)
        keep = given[trainer.stage].get("keep") or {}
        model = given[trainer.stage].get("model") or params["model"]
        much = (trainer.saves, rows, trainer.batch)
        report.checkpoints[trainer.stage] = {
            "step_bytes": checkpoint_bytes(trainer.saves, expand(model)) if model else 0,
            "kept": kept_by(keep, *much) if keep else kept(*much),
        }


def _code_identity(trainer: dict[str, Any], image: str) -> dict[str, Any]:
    program = trainer["program"]
    # A script of a user's own counts by its content, like the files that options name.
    own = {"trainer": program} if program.startswith("/") else {}
    version = " ".join(filter(None, (version_of(program), image and f"in image {image}")))
    return {"files": named_files({**trainer["options"], **own}), "version": version}


def _identify(params: dict[str, Any], train: list[Path], test: list[Path], report: Report) -> None:
    others = {model: folder_identity(expand(model)) for model in params["other_models"] if model}
    report.identities = {
        "model": folder_identity(expand(params["model"])) if params["model"] else "",
        "train_files": [file_identity(path) for path in train],
        "test_files": [file_identity(path) for path in test],
        "code": {
            one["stage"]: _code_identity(one, params.get("image") or "")
            for one in params.get("code") or []
        },
        **({"other_models": others} if others else {}),
    }
