"""A head of a Ray cluster, as its job publishes it, for the tests of those who read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def a_head(folder: Path, job_id: str = "12") -> dict[str, Any]:
    """What a cluster with its record in `folder` says of its head."""
    return {
        "host": "osk-gpu94",
        "ip": "10.94.0.94",
        "gcs_port": 37173,
        "dashboard_port": 37174,
        "job_id": job_id,
        "token_file": str(folder / f"token-{job_id}"),
    }


def publish_head(folder: Path, job_id: str = "12", **more: Any) -> None:
    """Write it, with more that the cluster published."""
    (folder / "head.json").write_text(json.dumps({**a_head(folder, job_id), **more}))
