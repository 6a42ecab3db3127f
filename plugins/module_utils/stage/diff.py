"""What a submission would change, for `--diff`: scripts, files, folders, the spec."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..base.fingerprint import canonical, fingerprint
from ..base.presence import read_text
from ..record.contract import Attempt, Backend, Record, Request
from ..record.ledger import Ledger
from ..record.recorder import without_recorder


def difference(
    request: Request, backend: Backend, ledger: Ledger, attempt: Attempt
) -> list[dict[str, Any]]:
    """The parts of a diff, as Ansible shows them. Before: the stage's last submission."""
    earlier = _newest(ledger.records())
    old = ledger.folder(earlier.fingerprint) if earlier else None
    new = ledger.folder(fingerprint(request.spec))
    parts = [
        _part(
            str(new / name),
            _shown(name, read_text(old / name) if old else None),
            _shown(name, text),
        )
        for name, text in sorted(backend.files(new, attempt).items())
    ]
    wanted = [*request.directories, *([request.checkpoints.path] if request.checkpoints else [])]
    missing = sorted({f"{path}\n" for path in wanted if not path.is_dir()})
    parts.append(_part("folders", "", "".join(missing)))
    parts.append(_part("spec", _spec(earlier.spec) if earlier else "", _spec(request.spec)))
    return [part for part in parts if part["before"] != part["after"]]


def _shown(name: str, text: str | None) -> str:
    """A file as shown in a diff. Our own programs are not shown: users do not want to read them."""
    if not text or not name.endswith(".py"):
        return text or ""
    return f"(a program of mnrun, {hashlib.sha256(text.encode()).hexdigest()[:12]})\n"


def _newest(records: list[Record]) -> Record | None:
    tried = [record for record in records if record.last]
    return max(tried, key=lambda record: record.attempts[-1].intent_time, default=None)


def _part(name: str, before: str, after: str) -> dict[str, Any]:
    return {
        "before_header": f"{name} (last submitted)",
        "after_header": name,
        "before": without_recorder(before),
        "after": without_recorder(after),
    }


def _spec(spec: dict[str, Any]) -> str:
    return json.dumps(canonical(spec), indent=2, sort_keys=True) + "\n"
