"""`ray start --block` as a fake: a head with a dashboard, a daemon, a folder open to everybody.

An unknown option raises. The test steers it by files in the folder FAKE_RAY.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STEER = Path(os.environ["FAKE_RAY"])
OPTIONS = {
    "block", "disable-usage-stats", "log-color", "node-name", "num-gpus", "num-cpus", "temp-dir",
    "min-worker-port", "max-worker-port", "dashboard-agent-listen-port", "head", "node-ip-address",
    "port", "include-dashboard", "dashboard-host", "dashboard-port", "no-monitor",
}  # fmt: skip


def main() -> None:
    """Start, and block until somebody ends it or the test tells it to fail."""
    assert sys.argv[1] == "start"
    given = dict(part.removeprefix("--").partition("=")[::2] for part in sys.argv[2:])
    assert set(given) <= OPTIONS, set(given) - OPTIONS
    _call_hook()
    folder = Path(given["temp-dir"])
    folder.mkdir()
    folder.chmod(0o777)
    logs = folder / "session_2026-01-01" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.err").write_text("Check failed: no room\n")
    if (STEER / "late").exists():
        frame = "/env/ray/raylet(+0xfc0d92) [0x56349aba6d92] boost::asio::io_context::run()\n"
        (logs / "raylet.err").write_text(f"Timed out waiting for file x\n{frame * 9}")
        sys.exit("Exception: The current node timed out during startup.")
    daemon = f"import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)  # {STEER}"
    subprocess.run([sys.executable, "-c", daemon], check=True)
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text()
    _serve(given, token)
    while not (STEER / "die").exists():
        time.sleep(0.05)
    print("raylet [exit code=-9]")
    sys.exit(1)


def _call_hook() -> None:
    for name in ("util.state.state_cli", "dashboard.modules.job.cli", "serve.scripts"):
        try:
            exec(f"from ray.{name} import cli")  # noqa: S102 - as Ray imports its other commands
        except ImportError:
            continue
        raise AssertionError(f"ray.{name} was not left out")
    module, _, name = os.environ["RAY_START_HOOK"].rpartition(".")
    params = SimpleNamespace(ray_client_server_port=10001)
    getattr(importlib.import_module(module), name)(params, True)
    assert params.ray_client_server_port is None
    assert "RAY_START_HOOK" not in os.environ


def _serve(given: dict[str, str], token: str) -> None:
    node = {
        "node_name": given["node-name"],
        "state": "ALIVE",
        "resources_total": {"GPU": float(given["num-gpus"])},
    }

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: dict[str, Any] = {
                "/api/v0/nodes?limit=10000": {"data": {"result": {"result": [node]}}},
                "/api/jobs/": json.loads((STEER / "jobs.json").read_text()),
                "/api/version": {"ray_version": (STEER / "version").read_text()},
            }
            # As a Ray that does not know of tokens, if the test says so.
            open_to_all = (STEER / "no_tokens").exists()
            right = open_to_all or self.headers["Authorization"] == f"Bearer {token}"
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(json.dumps(answers[self.path]).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    server = ThreadingHTTPServer((given["dashboard-host"], int(given["dashboard-port"])), Dashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
