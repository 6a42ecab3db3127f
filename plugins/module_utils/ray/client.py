"""Ray's job API on the head: one method for each call, each bounded in time.

An `Answer` without a status (None) means that there was no answer: unknown, nothing else. The
token is read from its file for each call and appears in no message.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional

from ..base.files import parse_json

QUERY_LIMIT = 20.0  # seconds for one question
SUBMIT_LIMIT = 90.0  # Ray waits by itself for an agent that takes the job

# Proxies from the environment must not come between a head and a client on it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(NamedTuple):
    """One answer of the head: an HTTP status and its body; or no status, and why."""

    status: int | None
    body: str

    @property
    def summary(self) -> str:
        """The answer, in one short line for a message."""
        # A traceback's last line is its cause.
        lines = [line.strip() for line in self.body.splitlines() if line.strip(" .")]
        words = (lines[-1] if lines else "an empty answer")[:300]
        return words if self.status is None else f"HTTP {self.status}: {words}"


# (method, path, payload or None, seconds): the boundary where tests step in.
Transport = Callable[[str, str, Optional[Dict[str, Any]], float], Answer]


def http_transport(base: str, token_file: str) -> Transport:
    """Calls to the dashboard at `base` (`http://127.0.0.1:8265`) with the token in `token_file`."""

    def call(method: str, path: str, payload: dict[str, Any] | None, seconds: float) -> Answer:
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(  # noqa: S310  always http, see `Head`
            base + path, data=data, headers={"Content-Type": "application/json"}, method=method
        )
        try:
            token = Path(token_file).read_text("ascii").strip()
            request.add_header("Authorization", f"Bearer {token}")
        except (OSError, ValueError) as error:
            # It goes when its cluster ends.
            return Answer(None, f"the token of the Ray cluster cannot be read: {error}")
        try:
            with _OPENER.open(request, timeout=seconds) as reply:
                return Answer(reply.status, reply.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, _rest(error))
        except (OSError, http.client.HTTPException) as error:
            return Answer(None, f"no answer from {base}: {getattr(error, 'reason', error)}")

    return call


def _rest(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(100000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""


class RayClient:
    """One Ray head. The callers interpret the answers."""

    def __init__(self, call: Transport) -> None:
        self._call = call

    def version(self) -> Answer:
        """Whether the head answers and accepts our token."""
        return self._call("GET", "/api/version", None, QUERY_LIMIT)

    def job(self, submission_id: str) -> Answer:
        """All about one job; status 404 if the head does not know it."""
        return self._call("GET", f"/api/jobs/{submission_id}", None, QUERY_LIMIT)

    def jobs(self) -> Answer:
        """All jobs that the head knows."""
        return self._call("GET", "/api/jobs/", None, QUERY_LIMIT)

    def submit(self, submission_id: str, entrypoint: str, metadata: dict[str, str]) -> Answer:
        """Submit a job. An id that exists already: status 500, "already exists" in the body."""
        payload = {
            "submission_id": submission_id,
            "entrypoint": entrypoint,
            "metadata": metadata,
        }
        return self._call("POST", "/api/jobs/", payload, SUBMIT_LIMIT)

    def stop(self, submission_id: str) -> Answer:
        """Ask a job to end: SIGTERM to its processes, SIGKILL 3 s later. Does not wait for it."""
        return self._call("POST", f"/api/jobs/{submission_id}/stop", None, QUERY_LIMIT)


def parse_objects(body: str) -> list[dict[str, Any]] | None:
    """The JSON objects in the list that an answer's body is; None if it is no such list."""
    found = parse_json(body)
    if not isinstance(found, list):
        return None
    return [item for item in found if isinstance(item, dict)]


def parse_object(body: str) -> dict[str, Any] | None:
    """The JSON object in an answer's body; None if it contains none."""
    found = parse_json(body)
    return found if isinstance(found, dict) else None
