"""What the small Hub knows, all of it in files: repositories, contents, and the trouble to come."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path


def git_name(content: bytes) -> str:
    """The name that git gives a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def pointer(oid: str, size: int) -> bytes:
    """What git keeps in place of a large file."""
    spec = "https://git-lfs.github.com/spec/v1"
    return f"version {spec}\noid sha256:{oid}\nsize {size}\n".encode()


class State:
    """What the server knows; all of it is in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        for name in ("repos", "objects"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def read(self, name: str, default: object) -> object:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else default

    def write(self, name: str, value: object) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(value, indent=1))
        part.replace(self.folder / name)

    def object(self, oid: str) -> Path:
        return self.folder / "objects" / oid

    @staticmethod
    def repo_file(kind: str, repo: str) -> str:
        return f"repos/{kind}--{repo.replace('/', '--')}.json"

    def trouble(self, method: str, path: str) -> dict:
        """The first trouble that a request meets; it is counted down."""
        with self.lock:
            troubles = self.read("trouble.json", [])
            for trouble in troubles:
                if trouble["method"] == method and re.search(trouble["path"], path):
                    if not trouble["times"]:
                        continue
                    trouble["times"] -= 1
                    self.write("trouble.json", troubles)
                    return trouble
        return {}

    def note(self, **entry: object) -> None:
        with self.lock, (self.folder / "requests.jsonl").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
