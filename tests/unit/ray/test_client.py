"""The HTTP side of Ray's job API, against a real server on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.ray.client import (
    Answer,
    RayClient,
    http_transport,
)

TOKEN = "0123456789abcdef"  # noqa: S105  of this test only


class Head(BaseHTTPRequestHandler):
    """Says back what it was asked; /api/jobs/gone is unknown, /api/jobs/slow never answers."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._say(403, "Forbidden: Invalid authentication token")
        if self.path == "/api/jobs/gone":
            return self._say(404, "Job gone does not exist")
        if self.path == "/api/jobs/slow":
            self.server.stopping.wait(10)  # type: ignore[attr-defined]
            return None
        return self._say(200, json.dumps({"path": self.path}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(200, json.dumps({"path": self.path, "body": body.decode()}))

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Head)
    server.stopping = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopping.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return str(path)


def test_the_token_goes_with_each_call(address: str, token_file: str) -> None:
    client = RayClient(http_transport(address, token_file))
    assert json.loads(client.job("ppo-1").body) == {"path": "/api/jobs/ppo-1"}
    assert client.version().status == 200


def test_a_submission_carries_id_entrypoint_and_metadata(address: str, token_file: str) -> None:
    answer = RayClient(http_transport(address, token_file)).submit("ppo-1", "true", {"a": "b"})
    sent = json.loads(answer.body)
    assert sent["path"] == "/api/jobs/"
    assert json.loads(sent["body"]) == {
        "submission_id": "ppo-1",
        "entrypoint": "true",
        "metadata": {"a": "b"},
    }


def test_a_refused_token_is_an_answer_that_does_not_hold_it(address: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("very-secret")
    answer = RayClient(http_transport(address, str(wrong))).version()
    assert answer.status == 403
    assert "very-secret" not in answer.summary


def test_an_unknown_job_is_an_answer(address: str, token_file: str) -> None:
    answer = RayClient(http_transport(address, token_file)).job("gone")
    assert answer == Answer(404, "Job gone does not exist")


def test_a_head_that_hangs_is_no_answer(address: str, token_file: str) -> None:
    answer = http_transport(address, token_file)("GET", "/api/jobs/slow", None, 0.2)
    assert answer.status is None
    assert "timed out" in answer.summary


def test_a_closed_port_is_no_answer(token_file: str) -> None:
    answer = RayClient(http_transport("http://127.0.0.1:9", token_file)).version()
    assert answer.status is None
    assert "http://127.0.0.1:9" in answer.summary


def test_a_token_that_is_gone_is_no_answer(address: str, tmp_path: Path) -> None:
    answer = RayClient(http_transport(address, str(tmp_path / "gone"))).version()
    assert answer.status is None
    assert "token" in answer.summary


def test_proxies_of_the_environment_are_passed_over(
    address: str, token_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert RayClient(http_transport(address, token_file)).version().status == 200


def test_the_summary_is_the_cause_in_one_short_line() -> None:
    text = "Traceback (most recent call last):\n  File x\nValueError: no such thing\n.\n"
    assert Answer(500, text).summary == "HTTP 500: ValueError: no such thing"
    assert Answer(500, "").summary == "HTTP 500: an empty answer"
    assert len(Answer(None, "x" * 1000).summary) == 300
