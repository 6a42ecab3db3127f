"""A plan of a Ray cluster, for the tests of its programs."""

from __future__ import annotations

from typing import Any

import cluster_node


def make_plan(**changes: Any) -> cluster_node.Plan:
    plan = cluster_node.Plan(
        job_id="12",
        head="osk-gpu94",
        ip="127.0.0.1",
        gcs_port=37173,
        dashboard_port=37174,
        token_file="/shared/token-12",  # noqa: S106
        temp_dir="/tmp/mnrun-12-0a1b2c",
        log_dir="/shared/it's logs",
        gpus=8,
        options={"object-store-memory": 100, "no-monitor": True},
    )
    return plan._replace(**changes)
