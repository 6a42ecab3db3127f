"""Brings to the cluster what a relay runs: mnrun's installation, and what was typed."""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

from ..plugin_utils.answer import AnswerAction
from ..plugin_utils.bundle import Bundle, BundleError, handover, installation

MODULE = "mnrun.train.relay_files"


class ActionModule(AnswerAction):
    """Makes the archives here, and sends those that are not there."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task: ask what is there, send the rest."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        words = json.loads(base64.b64decode(arguments.pop("words")))
        try:
            program, minor = installation()
            site = handover(words, str((task_vars or {})["inventory_hostname"]))
        except BundleError as error:
            return {"failed": True, "msg": str(error)}
        installed = self._bring(program, {**arguments, "minor": minor}, task_vars)
        if installed.get("failed"):
            return installed
        given = self._bring(site, {**arguments, "minor": 0}, task_vars)
        if given.get("failed"):
            return given
        return {
            "changed": bool(installed["changed"] or given["changed"]),
            "python": f"{installed['path']}/env/bin/python",
            "handover": given["path"],
            "version": program.name,
            "shown": words["shown"],
        }

    def _bring(self, bundle: Bundle, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        asked = {**arguments, "name": bundle.name, "digest": bundle.digest}
        found = self._call(asked, task_vars)
        if found.get("failed") or not found["missing"] or self._task.check_mode:
            return found
        remote = self._connection._shell.join_path(self._make_tmp_path(), bundle.name)
        with tempfile.TemporaryDirectory(prefix="mnrun-") as folder:
            local = Path(folder, bundle.name)
            local.write_bytes(gzip.compress(bundle.archive, compresslevel=1, mtime=0))
            self._transfer_file(str(local), remote)
        done = self._call({**asked, "archive": remote}, task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return done

    def _call(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        return dict(
            self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        )
