"""The one family of errors that modules turn into ``fail_json``.

MnrunError
├── Invalid    an option or a file of the user is wrong; nothing was done
│   └── Missing  this host lacks a command
├── Refused    doing it could harm something that exists (a live job of another spec, …)
├── Rejected   Slurm or Ray refused the request; certainly nothing was submitted
├── Uncertain  a submission did not end cleanly; it may or may not have been accepted
├── Unknown    no trustworthy answer in time; nothing was submitted or cancelled
├── Damaged    a record of the ledger cannot be read; it is never trusted
│   └── Newer    a later mnrun wrote it; it is left as it is
└── Busy       another controller holds the stage's lock
"""

# ruff: noqa: N818 - `Refused` reads better than `RefusedError`; the base class is called an error
from __future__ import annotations

from typing import Any


class MnrunError(Exception):
    """What is wrong, where, and how to fix it, in one text.

    `details` are added to the module's result unchanged.
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
    """Continuing could harm something that exists. Nothing was done."""


class Rejected(MnrunError):
    """The scheduler refused the request. Certainly nothing was submitted."""


class Uncertain(MnrunError):
    """A submission did not end cleanly: look for the job before anything else."""


class Unknown(MnrunError):
    """There was no trustworthy answer in time. Nothing was submitted, nothing was cancelled."""


class Damaged(MnrunError):
    """A record cannot be read, or its content does not belong to its place."""


class Newer(Damaged):
    """A later mnrun wrote a record, which alone knows all that is in it. It is left as it is."""


class Busy(MnrunError):
    """Another controller works on this stage and did not finish in time."""
