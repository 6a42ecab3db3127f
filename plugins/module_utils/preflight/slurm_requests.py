"""Whether this cluster would ever run the jobs of the stages."""

from __future__ import annotations

from typing import Any

from ..base.errors import Invalid, Unknown
from ..slurm.capacity import Partition, survey
from ..slurm.client import Denied, SlurmClient
from ..slurm.directives import sbatch_options
from ..slurm.judge import Findings
from ..slurm.refusal import by_limits, by_sbatch, of_accounts, unknown_account
from .report import Report

_NO_ANSWER = (
    "Slurm does not respond, so it is unknown whether the jobs could run ({}); try again when"
    " `sinfo` works"
)


def check_requests(requests: list[dict[str, Any]], client: SlurmClient, report: Report) -> None:
    """Judge what each stage asks sbatch for, with one line for what several have in common."""
    faults: list[tuple[str, str]] = []
    read = [(request["stage"], _options(request, client, faults)) for request in requests]
    asked = [(stage, options) for stage, options in read if options is not None]
    partitions = _partitions(client, report) if asked else None
    found = [
        (stage, _verdict(options, client, partitions, report))
        for stage, options in asked
        if partitions is not None
    ]
    faults += [(text, stage) for stage, each in found for text in each.faults]
    report.faults += _by_stages(faults)
    report.warnings += _by_stages(
        [(text, stage) for stage, each in found for text in each.warnings]
    )
    report.limits += _by_stages([(each.limit, stage) for stage, each in found if each.limit])


def _options(
    request: dict[str, Any], client: SlurmClient, faults: list[tuple[str, str]]
) -> dict[str, str] | None:
    """The options of a request; None, and `faults`, if there is something wrong with them."""
    try:
        return sbatch_options(request["options"], client.help)
    except (Invalid, Unknown) as error:
        faults += [(line, request["stage"]) for line in error.message.splitlines()]
        return None


def _verdict(
    options: dict[str, str], client: SlurmClient, partitions: dict[str, Partition], report: Report
) -> Findings:
    """By what the cluster shows, and then by sbatch itself, which knows of accounts."""
    found = by_limits(options, client, partitions) if partitions else Findings([], [])
    if found.faults:
        return _with_accounts(found, options, client)
    try:
        said = by_sbatch(options, client)
    except Unknown as error:
        if not partitions:
            report.faults.append(_NO_ANSWER.format(error))
        return found
    except Invalid as error:  # there is no sbatch
        return Findings([error.message], [])
    whole = Findings(said.faults, [*found.warnings, *said.warnings], found.limit)
    return whole if said.faults else _with_accounts(whole, options, client)


def _with_accounts(found: Findings, options: dict[str, str], client: SlurmClient) -> Findings:
    """The same with what there is to say of the account, which does not depend on the rest."""
    try:
        faults = of_accounts(options, client) if found.faults else []
    except (Invalid, Unknown):
        faults = []
    account = options.get("account")
    doubts = unknown_account(account, client) if account and not faults else ()
    return found._replace(faults=[*found.faults, *faults], warnings=[*found.warnings, *doubts])


def _partitions(client: SlurmClient, report: Report) -> dict[str, Partition] | None:
    """What the cluster has, empty if users may not see it; None if there was no answer, which is
    a fault."""
    try:
        return survey(client)
    except Denied as error:
        report.warnings.append(
            f"Slurm does not show its partitions and nodes to you ({error}), so `sbatch"
            " --test-only` alone judges the requests: one that could never run may wait for ever"
        )
        return {}
    except Unknown as error:
        report.faults.append(_NO_ANSWER.format(error))
    return None


def _by_stages(texts: list[tuple[str, str]]) -> list[str]:
    """One line for what several stages have in common."""
    stages: dict[str, list[str]] = {}
    for text, stage in texts:
        stages.setdefault(text, []).append(stage)
    return [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in stages.items()]
