"""ray_job on the head of a real Ray cluster, ended by SIGKILL at its points: exactly once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.ray_head import HEAD_OPTIONS

from .conftest import Cluster
from .ray_runs import Run
from .test_torture import exactly_once
from .torture import Torture, judged

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(1800)]


@pytest.fixture
def torture(sandbox: Cluster) -> Iterator[Torture]:
    torture = Torture(sandbox, f"{time.time_ns()}")
    yield torture
    torture.clear()


@pytest.fixture
def ray(sandbox: Cluster) -> Iterator[Run]:
    run = Run(sandbox, f"torture-{time.time_ns()}")
    yield run
    run.play("stop")
    sandbox.run(f"rm -rf {run.folder}")


def ray_jobs(sandbox: Cluster, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Every job that the head knows."""
    token = f"printf 'header = \"Authorization: Bearer %s\"' $(cat {head['token_file']})"
    ask = f"{token} | curl -s -K - http://127.0.0.1:{head['dashboard_port']}/api/jobs/"
    jobs: list[dict[str, Any]] = json.loads(sandbox.run(ask, head["host"]))
    return jobs


def test_ray_job_killed_at_its_points(torture: Torture, ray: Run) -> None:
    ray.play("start")
    head = ray.head()
    told = {name: head[name] for name in HEAD_OPTIONS}
    options: dict[str, Any] = {"node": head["host"], "ray": {"head": told}}
    cases = [
        {"id": f"ray-{scenario}-{number}", "scenario": scenario, "kill": {"point": point}}
        for scenario, step in (("submit", 2), ("stop", 3))
        for number, point in enumerate(torture.points(scenario, **options)[::step])
    ]
    reports = torture.cases(cases, parallel=4, **options)
    jobs = {}
    for job in ray_jobs(torture.sandbox, head):
        folder = next((r["folder"] for r in reports if f"{r['folder']}/" in job["entrypoint"]), "")
        state = {"SUCCEEDED": "COMPLETED", "STOPPED": "CANCELLED"}.get(job["status"], job["status"])
        jobs[f"{folder} {job['submission_id']}"] = (folder, state)
    for report in reports:
        report["jobs"] = [f"{report['folder']} {name}" for name in report["jobs"]]
    exactly_once(judged(reports, jobs), cases)
