"""A Ray head at the HTTP boundary. An unknown call raises."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.ray.client import Answer

DUPLICATE = (
    'Traceback (most recent call last):\n  File "job_head.py", line 134, in _raise_error\n'
    "RuntimeError: Request failed with status code 400: Traceback (most recent call last):\n"
    "ValueError: Job with submission_id {} already exists. Please use a different submission_id.\n"
    ".\n"
)


@dataclass
class FakeRay:
    """Answers like the job API of Ray 2.60 to what mnrun asks, and to nothing else."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    down: bool = False
    unclean: list[Answer] = field(default_factory=list)  # next submission: accepted, answered so
    refusals: list[Answer] = field(default_factory=list)  # next submission: not accepted

    def __call__(
        self, method: str, path: str, payload: dict[str, Any] | None, seconds: float
    ) -> Answer:
        assert 0 < seconds <= 120
        self.calls.append((method, path))
        if self.down:
            return Answer(None, "no answer from http://127.0.0.1:1: Connection refused")
        if method == "GET" and path in ("/api/version", "/api/jobs/"):
            about = {"version": "4", "ray_version": "2.60.0"}
            return Answer(200, json.dumps(about if "v" in path else list(self.jobs.values())))
        if (method, path) == ("POST", "/api/jobs/"):
            assert payload is not None
            return self._submit(payload)
        name = path.removeprefix("/api/jobs/").removesuffix("/stop")
        if name not in self.jobs:
            return Answer(404, f"Job {name} does not exist")
        if (method, path) == ("POST", f"/api/jobs/{name}/stop"):
            self.end(name, "STOPPED", None)
            return Answer(200, json.dumps({"stopped": True}))
        assert (method, path) == ("GET", f"/api/jobs/{name}")
        return Answer(200, json.dumps(self.jobs[name]))

    def _submit(self, payload: dict[str, Any]) -> Answer:
        assert set(payload) == {"submission_id", "entrypoint", "metadata"}
        if self.refusals:
            return self.refusals.pop(0)
        name = payload["submission_id"]
        if name in self.jobs:
            return Answer(500, DUPLICATE.format(name))
        self.jobs[name] = {
            "type": "SUBMISSION",
            "status": "PENDING",
            "message": "Job has not started yet.",
            "start_time": 1_700_000_000_000,
            "end_time": 0,
            "driver_exit_code": None,
            **payload,
        }
        if self.unclean:
            return self.unclean.pop(0)
        return Answer(200, json.dumps({"job_id": name, "submission_id": name}))

    def submissions(self) -> int:
        return self.calls.count(("POST", "/api/jobs/"))

    def run(self, name: str) -> None:
        self.jobs[name].update(status="RUNNING", message="Job is currently running.")

    def end(self, name: str, status: str, exit_code: int | None) -> None:
        said = f"Job entrypoint command failed with exit code {exit_code}, last available logs (…"
        self.jobs[name].update(
            status=status,
            message=said if exit_code else "Job was intentionally stopped.",
            end_time=1_700_000_060_000,
            driver_exit_code=exit_code,
        )
