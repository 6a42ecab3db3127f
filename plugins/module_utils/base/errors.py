"""The one family of errors that modules turn into ``fail_json``.

MnrunError
├── Invalid    an option or a file of the user is wrong; nothing was done
│   └── Missing  this host lacks a command
├── Refused    doing it could harm something that exists (a live job of another spec, …)
├── Rejected   Slurm or Ray said no; for sure nothing was submitted
├── Uncertain  a submission did not end cleanly; it may or may not have been accepted
├── Unknown    no answer that can be trusted within the time; nothing was submitted or cancelled
├── Damaged    a record of the ledger cannot be read; it is never trusted
└── Busy       another controller holds the stage's lock
"""

# ruff: noqa: N818 - what happened reads better than `RefusedError`; the family's name says it
from __future__ import annotations

from typing import Any


class MnrunError(Exception):
    """What is wrong, where, and how to mend it, in one text.

    `details` go into the module's result as they are.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Invalid(MnrunError):
    """An option or a file that the user gave is wrong. Nothing was done."""


class Missing(Invalid):
    """This host does not have a command. Nothing was done."""


class Refused(MnrunError):
    """Going on could harm something that exists. Nothing was done."""


class Rejected(MnrunError):
    """The scheduler refused the request. For sure nothing was submitted."""


class Uncertain(MnrunError):
    """A submission did not end cleanly: look for the job before anything else."""


class Unknown(MnrunError):
    """No trustworthy answer came in time. Nothing was submitted, nothing was cancelled."""


class Damaged(MnrunError):
    """A record cannot be read, or does not say what its place says it should."""


class Busy(MnrunError):
    """Another controller works on this stage and did not finish in time."""
