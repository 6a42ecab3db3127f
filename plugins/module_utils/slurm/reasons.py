"""Why a job waits in the queue, in words."""

from __future__ import annotations

_WORDS = {
    "Resources": "it waits for nodes to become free",
    "Priority": "jobs with a higher priority come first",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "the job that it depends on did not end as required",
    "JobHeldUser": "it is held; `scontrol release` lets it start",
    "JobHeldAdmin": "an administrator holds it",
    "JobHoldMaxRequeue": "it is held after it was requeued too often",
    "BeginTime": "its begin time has not come yet",
    "Cleaning": "its last attempt is being cleaned up",
    "Licenses": "it waits for a license",
    "Reservation": "it waits for its reservation",
    "ReservationDeleted": "its reservation is gone",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes no jobs at present",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "ReqNodeNotAvail": "nodes that it needs are reserved, down or in maintenance",
    "NodeDown": "a node that it needs is down",
    "BadConstraints": "no nodes are as it asks for",
    "InvalidAccount": "the account is not valid any more",
    "InvalidQOS": "the QOS is not valid any more",
    "AccountNotAllowed": "the partition does not allow its account",
    "QOSNotAllowed": "the partition does not allow its QOS",
    "FrontEndDown": "no front end is up",
    "SystemFailure": "Slurm or a file system failed",
    "InactiveLimit": "the system is at its limit of inactive jobs",
}
_BY_BEGINNING = {
    "QOS": "a limit of the QOS is reached",
    "Assoc": "a limit of the account is reached",
    "Max": "a limit on jobs is reached",
    "Nodes required for job are DOWN": _WORDS["ReqNodeNotAvail"],
}


def in_words(reason: str) -> str:
    """A reason of squeue in words; empty for one that is not known.

    Args:
        reason: as squeue has it; behind a comma there may be more (`ReqNodeNotAvail, …`).
    """
    word = reason.partition(",")[0].strip()
    known = (text for start, text in _BY_BEGINNING.items() if word.startswith(start))
    return _WORDS.get(word) or next(known, "")
