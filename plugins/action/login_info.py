"""The login node, or why it does not answer, in words that say what to do."""

from __future__ import annotations

import re
import time
from typing import Any

from ..module_utils.base.finding import FAULT, WARNING, Finding, as_dicts
from ..module_utils.base.text import duration, printable
from ..plugin_utils.connection import PatientAction

MODULE = "mnrun.train.login_info"
_APART = 30.0  # seconds between two clocks that matter: times in logs, deadlines of jobs
# What ssh says, and what to do.
_OF_SSH = (
    (r"(?i)could not resolve|name or service not known", "correct ansible_host", "ansible_host"),
    (
        r"(?i)host key verification failed|identification has changed",
        "log in once by hand and check the key",
        "ansible_host",
    ),
    (
        r"(?i)permission denied|too many authentication",
        "log in once by hand; if that works, give Ansible the same key and user",
        "ansible_user",
    ),
    (
        r"(?i)timed out|no route to host|network is unreachable",
        "is the network or the VPN up, and is a jump host needed (ansible_ssh_common_args)?",
        "ansible_host",
    ),
    (r"(?i)connection refused|connection closed", "is it the login node, and up?", "ansible_host"),
)
_OF_PYTHON = re.compile(
    r"(?i)python\S{0,99}: (?:command )?not found|no such file|interpreter|syntax"
)


class ActionModule(PatientAction):
    """Asks the host once."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Give the module's answer, or a finding in place of it."""
        super().run(tmp, task_vars)
        known = str(self._task.args.get("silent") or "")
        before = time.time()
        answer: dict[str, Any] = (
            {"unreachable": True, "msg": known}
            if known
            else self.call(MODULE, dict(self._task.args), task_vars)
        )
        after = time.time()
        if "now" in answer:
            answer["findings"] += as_dicts(_clock(answer["now"], before, after))
            return answer
        host = str((task_vars or {}).get("inventory_hostname"))
        return {"changed": False, "answers": False, "findings": as_dicts([_silent(host, answer)])}


def _clock(there: float, before: float, after: float) -> list[Finding]:
    """Whether the clock of the host is right, as far as the time that the answer took tells."""
    apart = max(before - there, there - after, 0.0)
    if apart < _APART:
        return []
    which = "behind" if there < before else "ahead of"
    text = f"its clock is {duration(apart)} {which} this machine's: have both set by NTP"
    return [Finding(WARNING, "login node", text)]


def _silent(host: str, answer: dict[str, Any]) -> Finding:
    """Why the host does not answer."""
    said = [str(answer.get(name) or "") for name in ("msg", "module_stderr", "module_stdout")]
    text = " ".join(printable(" ".join(said)).split())[:400]
    if not answer.get("unreachable"):
        of_python = _OF_PYTHON.search(text) is not None
        advice = "it needs Python 3.8 or later (ansible_python_interpreter)" if of_python else ""
        what = f"{host} cannot run mnrun's modules: {text}"
        variables = ("ansible_python_interpreter",)
        return Finding(FAULT, "login node", f"{what}; {advice}" if advice else what, variables)
    what = f"{host} does not answer: {text}"
    for words, advice, variable in _OF_SSH:
        if re.search(words, text):
            return Finding(FAULT, "login node", f"{what}; {advice}", (variable, "ansible_host"))
    return Finding(FAULT, "login node", what, ("ansible_host",))
