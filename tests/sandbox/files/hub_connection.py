"""One connection to the small Hub: what goes in and out, who asks, and the trouble on the way."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from hub_state import State

CHUNK = 64 * 1024  # bytes read or written at once


class Refuse(Exception):  # noqa: N818 - an answer, not a fault
    """An answer with an error status."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Cut(Exception):  # noqa: N818
    """The connection ends here, in the middle."""


class Connection(BaseHTTPRequestHandler):
    """One connection; a subclass knows the routes."""

    protocol_version = "HTTP/1.1"
    state: State
    routes: tuple = ()  # (methods, pattern of the path, what answers) each

    @property
    def address(self) -> str:
        """The server's, as the client knows it: it may come through a tunnel."""
        return f"http://{self.headers['Host']}"

    def log_message(self, *_: object) -> None:
        """Nothing: the requests are noted in the state."""

    def _serve(self) -> None:
        self.received = self.sent = self.status = 0
        self.left = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.trouble = self.state.trouble(self.command, path)
        try:
            self._route(path)
        except Refuse as refusal:
            self._drain()
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._json({"error": refusal.message}, refusal.status, headers)
        except (Cut, BrokenPipeError, ConnectionResetError):
            self.status = -1
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        finally:
            self.state.note(
                method=self.command, path=path, status=self.status,
                received=self.received, sent=self.sent,
                range=self.headers.get("Range", ""),
            )  # fmt: skip

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

    def _route(self, path: str) -> None:
        if self.trouble.get("do", "").isdigit():
            raise Refuse(int(self.trouble["do"]), "The server has a bad day")
        for method, pattern, action in self.routes:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                action(self, **match.groupdict())
                return
        raise Refuse(404, f"There is no {self.command} {path}")

    # -- what goes in and out ------------------------------------------------------------------

    def _blocks(self) -> object:
        """The request's content, block by block; it may be cut."""
        limit = self.trouble.get("after", 0) if self.trouble else None
        while self.left:
            block = self.rfile.read(min(CHUNK, self.left))
            if not block:
                raise Cut
            self.left -= len(block)
            self.received += len(block)
            if limit is not None:
                self._spoil(self.received >= limit)
            yield block
        if limit is not None:
            self._spoil(True)

    def _spoil(self, now: bool) -> None:
        if self.trouble.get("do") == "stall":
            time.sleep(self.trouble["after"])
            raise Cut
        if now and self.trouble.get("do") == "cut":
            raise Cut

    def _body(self) -> dict:
        return json.loads(b"".join(self._blocks()) or b"{}")

    def _drain(self) -> None:
        while self.left:
            block = self.rfile.read(min(CHUNK, self.left))
            if not block:
                break
            self.left -= len(block)

    def _json(self, value: object, status: int = 200, headers: dict | None = None) -> None:
        self._content(json.dumps(value).encode(), status, headers, "application/json")

    def _content(
        self, content: bytes, status: int = 200, headers: dict | None = None, kind: str = "text"
    ) -> None:  # fmt: skip
        self._head(
            status, {"Content-Type": kind, "Content-Length": len(content), **(headers or {})}
        )
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, headers: dict) -> None:
        self.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    # -- who asks, and for what ------------------------------------------------------------------

    def _role(self) -> str:
        """The role of the token: "write", "read", or "" without a token."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not given:
            return ""
        role = self.state.read("tokens.json", {}).get(given)
        if role is None:
            raise Refuse(401, "Invalid credentials in Authorization header")
        return role

    def _may_write(self) -> None:
        role = self._role()
        if role != "write":
            raise Refuse(403 if role else 401, "You don't have the rights to do this")

    def _repo(self, kind: str, repo: str, revision: str = "main") -> dict:
        role = self._role()
        found = self.state.read(self.state.repo_file(kind, repo), None)
        if found is None or (found["private"] and not role):
            raise Refuse(404 if role else 401, "Repository not found", "RepoNotFound")
        branches = found.get("branches", {})
        for branch in (found, *branches.values()):
            if revision == branch["sha"]:
                return {**found, **branch}
        if revision != "main" and revision not in branches:
            raise Refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return {**found, **branches.get(revision, {})}
