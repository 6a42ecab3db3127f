#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: offline_runs
short_description: Send runs of W&B that were logged offline
description:
  - Sends what the trainings of the named runs logged to Weights & Biases offline, from this host
    and with the C(wandb) of the run's training environment. Each is sent once; one that grew since
    then, or that was interrupted, is sent on. One that a job still writes is left for later.
  - The key is in the environment of that program only. Nothing is deleted.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.folders.site
attributes:
  check_mode:
    support: full
    description: Lists what would be sent.
options:
  names:
    description: The runs, V(default) for the site's own.
    type: list
    elements: str
    default: [default]
  key:
    description: The API key.
    type: str
    default: ""
  key_file:
    description: >-
      File of mode 600 that contains it, if O(key) is empty. Without one, the key counts that is
      kept with the run, and then C(~/.netrc).
    type: path
    default: ""
  minutes:
    description: For how long to send. What is left then is sent the next time.
    type: int
    default: 120
seealso:
  - module: mnrun.train.run_report_info
"""

EXAMPLES = r"""
- name: Send what was logged offline
  mnrun.train.offline_runs:
    base_dir: ~/training/multinode
    key_file: ~/.config/wandb/key
"""

RETURN = r"""
lines:
  description: What was sent, and what was not, for people.
  type: list
  elements: str
  returned: always
sent:
  description: The folders of the runs that were sent now, or would be.
  type: list
  elements: str
  returned: always
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock, Deadline
from ..module_utils.base.errors import Busy, Invalid
from ..module_utils.base.files import expand
from ..module_utils.base.lock import stage_lock
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.presence import read_text
from ..module_utils.base.process import run as run_command
from ..module_utils.base.text import plural
from ..module_utils.runs.offline_runs import (
    Found,
    Offline,
    is_sent,
    offline_runs,
    send,
    why_silent,
)
from ..module_utils.runs.training_runs import chosen
from ..module_utils.slurm.client import SlurmClient

_OTHER = 5.0  # seconds to wait for another call that sends


def sync(module: AnsibleModule) -> dict[str, Any]:
    params, clock = module.params, Clock()
    client = SlurmClient(run_command, clock)
    runs = [offline_runs(one, client, clock) for one in chosen(_base(params), params["names"])]
    left = [f"{one}: its job is not over" for found in runs for one in found.growing]
    before = sum(len(found.sent) for found in runs)
    if module.check_mode:
        waiting = [one for found in runs for one in found.waiting]
        lines = [f"{one}: would be sent" for one in waiting]
        return _answer(waiting, [*lines, *left], before, [])
    sending = _Sending(params, clock)
    for found in runs:
        sending.send(found)
    lines = [*(f"{one}: sent" for one in sending.sent), *left]
    return _answer(sending.sent, lines, before, sending.problems)


def _base(params: dict[str, Any]) -> Path:
    return expand(params["base_dir"])


class _Sending:
    """What was sent, and what was not and why; what is wrong with one is no reason to leave the
    others."""

    def __init__(self, params: dict[str, Any], clock: Clock) -> None:
        self.sent: list[Offline] = []
        self.problems: list[str] = []
        self._params, self._clock = params, clock
        self._deadline = Deadline(clock, 60.0 * params["minutes"])

    def send(self, found: Found) -> None:
        """Send what waits of one run."""
        left = list(found.waiting)
        if not left:
            return
        kept = left[0].run.path / ".mnrun"
        activate = kept / "activate.sh"
        try:
            secret = _secret(self._params, kept / "wandb_key")
            # Of two calls that send one file W&B keeps what both sent.
            with stage_lock(kept / "wandb.lock", self._clock, _OTHER):
                why = why_silent(activate, secret)
                while left:
                    self._one(left.pop(0), activate, secret, why)
        except Busy as error:
            self.problems += [f"{one}: another call is sending. {error.message}" for one in left]
        except Invalid as error:
            self.problems += [f"{one}: {error.message}" for one in left]

    def _one(self, one: Offline, activate: Path, secret: dict[str, str], why: str) -> None:
        if is_sent(one.file):  # meanwhile, by another call
            return
        if not why and self._deadline.over():
            why = "there was no time left; run this again"
        problem = why or send(one, activate, secret, self._deadline)
        if problem:
            self.problems.append(f"{one}: {problem}")
        else:
            self.sent.append(one)


def _secret(params: dict[str, Any], kept: Path) -> dict[str, str]:
    """The key as a variable; none if W&B finds it by itself. Raises Invalid without a key."""
    if params["key"]:
        return {"WANDB_API_KEY": params["key"]}
    places = [*(expand(path) for path in [params["key_file"]] if path), kept]
    for path in places:
        if not path.exists():
            continue
        if path.stat().st_mode & 0o077:
            raise Invalid(f"Others can read the W&B key in {path}: run chmod 600 {path}")
        key = (read_text(path) or "").partition("\n")[0].strip()
        if key:
            return {"WANDB_API_KEY": key}
    if "machine " in (read_text(Path.home() / ".netrc") or ""):
        return {}
    raise Invalid(
        f"there is no W&B key (looked for: {', '.join(map(str, places))},"
        " ~/.netrc). Write it to a file of mode 600, and name that in environment_wandb_key_file."
    )


def _answer(
    sent: list[Offline], lines: list[str], before: int, problems: list[str]
) -> dict[str, Any]:
    if before:
        lines.append(f"{plural(before, 'run')} sent before")
    answer = {
        "changed": bool(sent),
        "sent": [str(one.file.parent) for one in sent],
        "lines": lines or ["There is no run of W&B that was logged offline."],
    }
    if problems:
        rest = f"{plural(len(problems), 'run')} not sent; the files stay as they are:"
        answer.update(failed=True, msg="\n".join([*lines, rest, *problems]))
    return answer


def main() -> None:
    options = {
        "base_dir": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "default": ["default"]},
        "key": {"type": "str", "default": "", "no_log": True},
        # Not a secret itself, and error messages must be able to name it.
        "key_file": {"type": "path", "default": "", "no_log": False},
        "minutes": {"type": "int", "default": 120},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: sync(module))


if __name__ == "__main__":
    main()
