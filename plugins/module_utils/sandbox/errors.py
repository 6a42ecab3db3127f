"""What can go wrong with the sandbox."""

from __future__ import annotations

from ..base.errors import MnrunError

NO_NAMESPACES = (
    "Where namespaces are not permitted, as in most containers, there can be no sandbox: "
    "use a machine or a virtual machine."
)


class SandboxError(MnrunError):
    """The sandbox cannot do what was requested; the text names the fault and how to fix it."""
