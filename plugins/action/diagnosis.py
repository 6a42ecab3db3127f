"""The action of ``mnrun.train.diagnosis``: one list of everything that was found about a site."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import (
    FAULT,
    OK,
    WARNING,
    Finding,
    as_dicts,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.text import size
from ansible_collections.mnrun.train.plugins.plugin_utils.diagnosis import lines, shown

# What Ansible says of a value that stands on one which is not there.
_FOLLOWS = re.compile(r"undefined|has no attribute|finalization of task args|is not available")
_CHECKPOINTS = ("mnrun_base_dir", "mnrun_run_dir")


class ActionModule(ActionBase):
    """Gathers findings on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Put the checks' findings together; fail if there is a fault."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec({"checks": {"type": "dict", "required": True}})
        found = list(gathered(arguments["checks"]))
        every = [shown(one, dict(task_vars or {})) for one in found]
        listed = list(dict.fromkeys(every))
        result.update(
            changed=False,
            failed=any(one.level == FAULT for one in listed),
            msg="\n".join(lines(listed)),
            mnrun_findings=[one._asdict() for one in listed],
        )
        return result


def gathered(checks: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The findings of all results, by the part that each is about."""
    known: list[dict[str, Any]] = []
    for part, result in checks.items():
        new = list(_of(part, result, known))
        known += new
        yield from new
    yield from as_dicts(_of_room(checks))


def _of(part: str, result: Any, known: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if not isinstance(result, Mapping) or result.get("skipped"):
        return
    if "findings" in result:
        yield from result["findings"]
    elif result.get("settled"):
        yield from as_dicts([Finding(OK, part, f"it reaches {result['node'] or 'the nodes'}")])
    elif result.get("failed") or result.get("unreachable"):
        yield from as_dicts([_failed(part, str(result.get("msg") or ""), known)])


def _failed(part: str, message: str, known: list[dict[str, Any]]) -> Finding:
    """A check that failed as a whole: by itself, or for want of what another fault is about."""
    text = " ".join(message.split())
    if _FOLLOWS.search(text) and any(one["level"] == FAULT for one in known):
        return Finding(WARNING, part, "not checked, as it depends on what is wrong above")
    return Finding(FAULT, part, text or "the check failed without a reason; -v shows more")


def _of_room(checks: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the checkpoints of all stages have room at once."""
    place: Mapping[str, Any] = next((one for one in checks.values() if _has(one, "left_by")), {})
    sizes: Mapping[str, Any] = next(
        (one["checkpoints"] for one in checks.values() if _has(one, "checkpoints")), {}
    )
    needed = sum(int(one["step_bytes"]) * int(one["kept"]) for one in sizes.values())
    if place and needed > int(place["left"]):
        text = (
            f"the checkpoints of {', '.join(sizes)} take about {size(needed)}, and"
            f" {place['left_by']} leaves {size(int(place['left']))}: free some room, or keep fewer"
        )
        yield Finding(WARNING, "folder", text, _CHECKPOINTS)


def _has(result: Any, name: str) -> bool:
    return isinstance(result, Mapping) and bool(result.get(name))
