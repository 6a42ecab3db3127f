"""A real browser without a window: Chromium, spoken to through a pipe in its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = shutil.which("chromium") or ""
_COMMANDS, _ANSWERS = 3, 4
"""The file descriptors at which Chromium reads and writes."""


class Seen(NamedTuple):
    """What a page did in a browser."""

    requests: list[str]
    """Addresses that it asked for, its own among them."""
    errors: list[str]
    """Messages of the console, and exceptions."""
    value: Any
    """What the script returned."""


class Browser:
    """One page of a running Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._rest = 0, b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, **params: Any) -> Any:
        """Send a command and return its result; events in between are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def until(self, event: str) -> None:
        """Wait for an event."""
        while not any(one.get("method") == event for one in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._answers, 1 << 16)
            assert block, "Chromium has ended"
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def open(self) -> None:
        """Begin with an empty page."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium; `folder` is for its files."""
    to_it, commands = os.pipe()
    answers, from_it = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
               "--disable-background-networking", "--disable-dev-shm-usage",
               "--remote-debugging-pipe", f"--user-data-dir={folder}"]  # fmt: skip
    # As the descriptors that it expects, whatever these numbers are here.
    shell = f'exec "$@" {_COMMANDS}<&{to_it} {_ANSWERS}>&{from_it}'
    with (folder / "chromium.log").open("wb") as log:
        started = subprocess.Popen(
            ["bash", "-c", shell, "-", PROGRAM, *options],
            pass_fds=(to_it, from_it), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    os.close(to_it)
    os.close(from_it)
    try:
        one = Browser(commands, answers)
        one.open()
        yield one
    finally:
        os.close(commands)  # which ends it
        os.close(answers)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(20)


def look(one: Browser, page: Path, width: int, script: str, dark: bool = False) -> Seen:
    """Load a page in a window of this width, and run a script in it."""
    one.events.clear()
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    one.ask("Emulation.setEmulatedMedia", features=scheme)
    one.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
            mobile=False)  # fmt: skip
    one.ask("Page.navigate", url=page.as_uri())
    one.until("Page.loadEventFired")
    found = one.ask("Runtime.evaluate", expression=script, returnByValue=True)
    return Seen(
        [event["params"]["request"]["url"] for event in _named(one, "Network.requestWillBeSent")],
        [json.dumps(event["params"]) for name in ("Runtime.exceptionThrown",
         "Runtime.consoleAPICalled", "Log.entryAdded") for event in _named(one, name)],
        found["result"].get("value", found),
    )  # fmt: skip


def picture(one: Browser, height: int) -> bytes:
    """The upper part of the page that is open, as PNG."""
    width = one.ask("Runtime.evaluate", expression="innerWidth")["result"]["value"]
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = one.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    return base64.b64decode(shot["data"])


def _named(one: Browser, method: str) -> list[dict[str, Any]]:
    return [event for event in one.events if event.get("method") == method]
