"""Finds a Python on the login node, and has the module of this name look around with it."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import _PY_MIN  # the oldest that Ansible's modules run with

from ..plugin_utils.connection import PatientAction
from ..plugin_utils.login_python import SCRIPT, chosen, none_fits

MODULE = "mnrun.train.site_info"


class ActionModule(PatientAction):
    """Needs no Python on the host to say that there is none."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return what the module returns, and `python`, the one that it ran with."""
        super().run(tmp, task_vars)
        given = dict(task_vars or {})
        python = str(given.get("ansible_python_interpreter") or "")
        if not python.startswith("/"):
            printed = self._low_level_execute_command(SCRIPT, executable="/bin/sh")
            python = chosen(printed["stdout"], _PY_MIN)
            if not python:
                host = str(given.get("inventory_hostname"))
                return {"failed": True, "msg": none_fits(host, printed["stdout"], _PY_MIN)}
        variables = {**given, "ansible_python_interpreter": python}
        found = self.call(MODULE, dict(self._task.args), variables)
        return found if found.get("failed") else {**found, "python": python}
