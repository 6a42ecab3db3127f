"""A Hub of our own on this machine, and the programs that talk to it with the real client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import ROOT, Cluster, spoken

SERVER = Path(__file__).parent / "files" / "hub_server.py"
TOKEN = "hf_writeWRITEwriteWRITE0123456789"  # noqa: S105 - of the server here
READER = "hf_readREADreadREADread0123456789"
MARK = "mnrun-result: "


class Ran(NamedTuple):
    """What a program came to."""

    code: int
    text: str
    result: dict[str, Any]


def good(ran: Ran) -> dict[str, Any]:
    """What a program said that did its work."""
    assert ran.code == 0, ran.text
    return ran.result


def refused(ran: Ran) -> str:
    """The one line that says what is wrong; never a traceback."""
    assert ran.code == 1, ran.text
    assert "Traceback" not in ran.text, ran.text
    last = ran.text.splitlines()[-1]
    assert last.startswith("HubError: "), ran.text
    return last


class Hub:
    """The server's state, as its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokens.json").write_text(json.dumps({TOKEN: "write", READER: "read"}))

    @property
    def address(self) -> str:
        """Where it listens; waits until it does."""
        deadline = time.monotonic() + 20
        while not (self.folder / "address").exists():
            assert time.monotonic() < deadline, "the Hub's server does not come up"
            time.sleep(0.05)
        return (self.folder / "address").read_text()

    def trouble(self, **trouble: Any) -> None:
        """Let something go wrong: a method, a path, what to do, how often (default for ever)."""
        path = self.folder / "trouble.json"
        before = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*before, {"times": -1, **trouble}]))

    def calm(self) -> None:
        """No more trouble."""
        (self.folder / "trouble.json").write_text("[]")

    def requests(self, method: str, part: str) -> list[dict[str, Any]]:
        """The requests so far, of one method, whose path holds a part."""
        path = self.folder / "requests.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        noted = [json.loads(line) for line in lines]
        return [one for one in noted if one["method"] == method and part in one["path"]]

    def forget(self) -> None:
        """Forget the requests so far."""
        (self.folder / "requests.jsonl").unlink(missing_ok=True)

    def repo(self, repo: str, kind: str = "model") -> Path:
        """The file that a repository lies in."""
        return self.folder / "repos" / f"{kind}--{repo.replace('/', '--')}.json"

    def read(self, repo: str, kind: str = "model") -> dict[str, Any]:
        """A repository."""
        found: dict[str, Any] = json.loads(self.repo(repo, kind).read_text())
        return found

    def publish(self, repo: str, files: dict[str, bytes], kind: str = "model") -> None:
        """Put a repository there, without the client."""
        objects = self.folder / "objects"
        objects.mkdir(exist_ok=True)
        listed: dict[str, Any] = {}
        for path, content in {".gitattributes": b"*.x filter=lfs\n", **files}.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324
            listed[path] = {"size": len(content), "oid": git}
            if len(content) > 1_000_000 or path.endswith(".parquet"):
                sha256 = hashlib.sha256(content).hexdigest()
                listed[path]["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
                git = sha256
            (objects / git).write_bytes(content)
        about = {"id": repo, "private": True, "sha": "12" * 20, "files": listed}
        self.repo(repo, kind).parent.mkdir(exist_ok=True)
        self.repo(repo, kind).write_text(json.dumps(about))

    def content(self, repo: str, path: str, kind: str = "model") -> bytes:
        """A file's content, as everybody sees it."""
        file = self.read(repo, kind)["files"][path]
        return Path(self.folder, "objects", file.get("lfs", file)["oid"]).read_bytes()


class Here:
    """Programs of the roles, run with the training environment's Python on this machine."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder

    def run(self, program: str, plan: dict[str, Any], **environment: str) -> Ran:
        """Run a program with a plan."""
        self.folder.mkdir(exist_ok=True)
        for source in (
            *(ROOT / "roles" / "publish" / "files").glob("*.py"),
            *(ROOT / "roles" / "fetch" / "files").glob("*.py"),
            ROOT / "plugins" / "module_utils" / "base" / "presence.py",
            ROOT / "plugins" / "module_utils" / "model" / "inside.py",
            ROOT / "plugins" / "module_utils" / "model" / "manifest.py",
        ):
            (self.folder / source.name).write_text(source.read_text())
        (self.folder / "plan.json").write_text(json.dumps(plan))
        done = spoken(
            [self.python, self.folder / program, self.folder / "plan.json"],
            timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
        )
        last = done.stdout.splitlines()[-1:] or [""]
        told = json.loads(last[0][len(MARK) :]) if last[0].startswith(MARK) else {}
        return Ran(done.returncode, done.stdout, told)


@contextmanager
def on_login_node(cluster: Cluster) -> Iterator[Hub]:
    """The server on the sandbox's login node, which the compute nodes reach."""
    name = cluster.run("mktemp -d -p ~ hub.XXXXXX").rpartition("/")[2]
    folder = cluster.home / name
    for program in SERVER.parent.glob("hub_*.py"):
        shutil.copy(program, folder)
    hub = Hub(folder)
    pid = cluster.run(
        f"cd ~/{name} && (setsid python3 {SERVER.name} --state . --host login"
        " > log 2>&1 < /dev/null & echo $!)"
    )
    assert hub.address
    yield hub
    cluster.run(f"kill {pid}; rm -rf ~/{name}")


@contextmanager
def tunnel(cluster: Cluster, hub: Hub) -> Iterator[str]:
    """The login node's server, through ssh: this machine has no other way to it."""
    port = hub.address.rpartition(":")[2]
    here = f"127.0.0.1:{port}"
    config = cluster.directory / "ssh_config"
    ssh = subprocess.Popen(
        [
            "ssh",
            "-F",
            config,
            "-o",
            "ControlPath=none",
            "-N",
            "-L",
            f"{here}:login:{port}",
            "login",
        ],
        stdin=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=1):
            break
        assert time.monotonic() < deadline, "the tunnel does not come up"
        time.sleep(0.1)
    try:
        yield f"http://{here}"
    finally:
        ssh.terminate()
        ssh.wait(timeout=10)


def serve(folder: Path) -> subprocess.Popen[bytes]:
    """Start the server on this machine's loopback."""
    return subprocess.Popen([sys.executable, SERVER, "--state", folder], stdin=subprocess.DEVNULL)


def end(server: subprocess.Popen[bytes]) -> None:
    """End it, and see that it ended."""
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        pytest.fail("the Hub's server did not end")
