"""What Slurm refuses, explained so that a user can fix it: the option, its value, what exists."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable, Mapping, NamedTuple

from ..base.errors import Unknown
from ..base.process import this_user
from .capacity import Partition, survey
from .client import Denied, SlurmClient, lost, own_words
from .directives import with_directives
from .judge import Findings, excused, judge

# Of nodes that are busy, down or reserved now: sbatch itself would take the job.
_LATER = re.compile(r"are busy|is busy|node not available|not available now", re.IGNORECASE)
# Of a command of the site's own that stands in the place of sbatch.
_NO_ACCOUNTS = re.compile(r"(?i)no accounting|not running a supported|accounting \w+ is disabled")
_OF_ACCOUNTS = ("account", "qos")
_NOT_THAT = re.compile(r"(?i)(unrecognized|unknown|invalid) (option|argument).{0,200}test-only")


class _Case(NamedTuple):
    """One of Slurm's complaints: its text, the options that it is about, what exists instead."""

    words: str
    options: tuple[str, ...]
    existing: Callable[[SlurmClient], str]


def explain(complaint: str, options: Mapping[str, str], client: SlurmClient) -> str:
    """One message for sbatch's `complaint` about a job of these options."""
    core = _core(complaint)
    case = next((case for case in _CASES if re.search(case.words, core, re.IGNORECASE)), None)
    message = f"Slurm refuses the job, and nothing was submitted: {core}."
    if case is None:
        return message
    asked = [f"--{name}={options[name]}" for name in case.options if name in options]
    if asked:
        message += f" Requested: {' '.join(asked)}."
    return f"{message} {case.existing(client)}".rstrip()


def _core(complaint: str) -> str:
    """sbatch's own message without its prefixes; the most informative line first."""
    lines = [
        re.sub(r"^(sbatch: )?((fatal|error): )?", "", line).strip().rstrip(".")
        for line in complaint.splitlines()
        if line.strip()
    ]
    short = [
        re.sub(r"^(Batch job submission failed|allocation failure): ", "", line) for line in lines
    ]
    return "; ".join(dict.fromkeys(short))[:500] or "sbatch did not say why"


def never_starts(options: Mapping[str, str], client: SlurmClient) -> str:
    """What keeps a job of these options from ever starting; nothing if Slurm does not answer.

    Many sites' sbatch accepts such a request, and the job waits for ever.
    """
    try:
        faults = by_limits(options, client, survey(client)).faults
    except Unknown:
        return ""
    if not faults:
        return ""
    return (
        f"The job could not start, so nothing was submitted: {'; '.join(faults)}."
        f" {_partitions(client)}"
    )


def by_limits(
    options: Mapping[str, str], client: SlurmClient, partitions: Mapping[str, Partition]
) -> Findings:
    """The request against the partitions; a QOS of the user's own may lift what they allow."""
    found = judge(options, partitions)
    if found.faults and partitions and _a_qos_lifts_limits(client):
        known = all(name in partitions for name in options.get("partition", "").split(",") if name)
        return excused(found, "your QOS") if known else found
    return found


def _a_qos_lifts_limits(client: SlurmClient) -> bool:
    """Whether some QOS may do that: also where users may not see which there are."""
    try:
        shown = client.ask(["sacctmgr", "-n", "-P", "show", "qos", "format=Flags"])
    except Denied as error:
        return not (_NO_ACCOUNTS.search(error.message) or client.keeps_no_accounts())
    except Unknown:
        return False
    return "partition" in shown.lower()


def by_sbatch(options: Mapping[str, str], client: SlurmClient) -> Findings:
    """What `sbatch --test-only` says to a job of these options. Raises Unknown if it is not known,
    as where the connection was lost."""
    result = client.sbatch(["--test-only"], with_directives("#!/bin/bash\ntrue\n", options))
    if result.code == 0:
        return Findings([], [])
    complaint = own_words("sbatch", result)
    if lost(result) or _NOT_THAT.search(complaint):
        raise Unknown(f"sbatch --test-only: {_core(complaint)}")
    if _LATER.search(complaint):
        return Findings([], [f"the job will wait: {_core(complaint)}"])
    return Findings([explain(complaint, options, client)], [])


def of_accounts(options: Mapping[str, str], client: SlurmClient) -> list[str]:
    """What sbatch says against the account or the QOS of a request that has other faults, as where
    there is no such partition: those would be all that it reports. Raises Unknown."""
    asked = {name: options[name] for name in _OF_ACCOUNTS if options.get(name)}
    if not asked:
        return []
    result = client.sbatch(["--test-only"], with_directives("#!/bin/bash\ntrue\n", asked))
    complaint = own_words("sbatch", result)
    if not result.code or lost(result) or not re.search(r"(?i)account|qos", complaint):
        return []
    return [explain(complaint, asked, client)]


@lru_cache(maxsize=None)
def unknown_account(name: str, client: SlurmClient) -> tuple[str, ...]:
    """That the accounting does not know an account, which a Slurm that does not enforce accounts
    takes all the same. Asks once, however many requests name it."""
    try:
        shown = client.ask(["sacctmgr", "-n", "-P", "show", "account", name, "format=Account"])
    except Unknown:
        return ()
    if shown.strip():
        return ()
    return (f"account: the accounting knows no {name}, which Slurm takes here all the same",)


def _partitions(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%l")
    if not rows:
        return ""
    names = (f"{name} ({count} nodes, time limit {limit})" for name, count, limit in rows)
    return f"Existing partitions: {'; '.join(names)}."


def _nodes(client: SlurmClient) -> str:
    rows = client.info("%P|%N|%T")
    if not rows:
        return ""
    names = (f"{nodes} in {partition} ({state})" for partition, nodes, state in rows)
    return f"Existing nodes: {'; '.join(names)}."


def _equipment(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%c|%m|%G|%N")
    if not rows:
        return ""
    kinds = (
        f"{partition}: {count} x ({cpus} CPUs, {memory} MB, {gres}) {nodes}"
        for partition, count, cpus, memory, gres, nodes in rows
    )
    return f"The nodes have: {'; '.join(kinds)}."


def _features(client: SlurmClient) -> str:
    found = {name for (cell,) in client.info("%f") or () for name in cell.split(",")}
    there = ", ".join(sorted(found - {"(null)"}))
    return f"The nodes have the features {there}." if there else "The nodes have no features."


def _accounts(client: SlurmClient) -> str:
    """What the user may charge: the accounting knows it, and no manual page does."""
    user = this_user()[0]
    form = "format=Account,Partition,QOS"
    try:
        shown = client.ask(["sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", form])
    except Unknown:
        return "`sacctmgr show assoc user=$USER` lists your accounts."
    rows = [line.split("|") for line in shown.splitlines() if line.count("|") == 2]
    if not rows:
        return f"The accounting knows no account of {user}; ask the site for one."
    kinds = (
        account
        + (f" in partition {partition}" if partition else "")
        + (f" (QOS {qos})" if qos else "")
        for account, partition, qos in rows
    )
    there = "; ".join(dict.fromkeys(kinds))
    return f"Your accounts: {there}. Set one: mnrun_sbatch: {{account: {rows[0][0]}}}."


_CASES = (
    _Case(r"invalid partition", ("partition",), _partitions),
    _Case(r"partition not available|time limit", ("partition", "time"), _partitions),
    _Case(r"invalid node name|node.* not in partition", ("nodelist", "exclude"), _nodes),
    _Case(r"required node not available|Requested nodes? (are|is) busy", ("nodelist",), _nodes),
    _Case(
        r"node configuration is not available|generic resource|more processors|memory spec|"
        r"node count|cpu count",
        (
            "nodes",
            "gpus-per-node",
            "gres",
            "gpus",
            "cpus-per-task",
            "ntasks-per-node",
            "mem",
            "constraint",
            "nodelist",
            "partition",
        ),
        _equipment,
    ),
    _Case(r"feature", ("constraint",), _features),
    _Case(r"account|charge", ("account", "partition"), _accounts),
    _Case(r"invalid qos|QOS", ("qos",), _accounts),
)
