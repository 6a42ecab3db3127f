"""A small Hugging Face Hub: as much of its protocol as `huggingface_hub` needs, over plain HTTP.

    python3 hub_server.py --state DIR [--host 127.0.0.1] [--port 0]

speaks for repositories (models and data sets), their trees, commits, large files (LFS, whole and in
parts) and downloads with ranges. `DIR/address` holds its address once it listens.

Everything lies in DIR, is read anew for each request, and may be edited while the server runs:

    tokens.json     {"hf_write": "write", "hf_read": "read"}
    repos/*.json    one for each repository: its files by path, its commit, whether it is private
    objects/*       the contents, by their SHA-256 or their git name
    trouble.json    what goes wrong: [{"method": "PUT", "path": "regex", "do": "503", "times": 1}];
                    "do" is a status, "cut" (the connection ends after `after` bytes), "stall"
                    (`after` seconds, then cut) or "garble" (a commit keeps another content)
    requests.jsonl  what was asked: method, path, status, bytes of content in and out
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from hub_connection import CHUNK, Connection, Refuse
from hub_state import State, git_name, pointer

PART = 1024 * 1024  # bytes of one part of a large file
WHOLE = 1536 * 1024  # bytes up to which a large file is sent whole
LARGE = re.compile(r"\.(safetensors|bin|pt|parquet|model)$|(^|/)tokenizer\.json$")
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class Handler(Connection):
    """The API of the Hub."""

    def whoami(self) -> None:
        role = self._role()
        if not role:
            raise Refuse(401, "Invalid username or password.")
        self._json({"type": "user", "name": "me", "auth": {"accessToken": {"role": role}}})

    def validate_yaml(self) -> None:
        content = self._body()["content"]
        if not content.startswith("---\n"):
            message = "empty or missing yaml metadata in repo card"
            self._json({"errors": [], "warnings": [{"message": message}]})
        else:
            self._json({"errors": [], "warnings": []})

    def create(self) -> None:
        self._may_write()
        asked = self._body()
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        name = self.state.repo_file(asked.get("type") or "model", repo)
        with self.state.lock:
            if self.state.read(name, None) is not None:
                raise Refuse(409, "You already created this model repo")
            private = bool(asked.get("private"))
            self.state.write(name, {"id": repo, "private": private, "sha": "0" * 40, "files": {}})
            self._keep(name, {".gitattributes": self._small(ATTRIBUTES)})
        self._json({"url": f"{self.address}/{repo}", "name": repo})

    def info(self, kind: str, repo: str, revision: str | None = None) -> None:
        found = self._repo(kind, repo, revision or "main")
        files = [{"rfilename": path} for path in found["files"]]
        self._json(
            {"id": repo, "sha": found["sha"], "private": found["private"], "siblings": files,
             "tags": [], "downloads": 0, "likes": 0}
        )  # fmt: skip

    def tree(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, revision)
        self._json(
            [{"type": "file", "path": path, **file} for path, file in found["files"].items()]
        )

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        self._may_write()
        found = self._repo(kind, repo, revision)
        answer = []
        for file in self._body()["files"]:
            is_large = LARGE.search(file["path"]) or file["size"] > 10_000_000
            known = found["files"].get(file["path"])
            oid = (known.get("lfs") or known)["oid"] if known else None
            mode = "lfs" if is_large else "regular"
            answer.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        self._json({"files": answer})

    def batch(self, kind: str, repo: str) -> None:
        self._may_write()
        self._repo(kind, repo)
        objects = []
        for asked in self._body()["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if not self.state.object(asked["oid"]).exists():
                entry["actions"] = self._actions(asked["oid"], asked["size"])
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def _actions(self, oid: str, size: int) -> dict:
        verify = {"href": f"{self.address}/lfs/verify"}
        url = f"{self.address}/lfs/{oid}"
        if size <= WHOLE:
            return {"upload": {"href": url}, "verify": verify}
        count = -(-size // PART)
        parts = {str(n): f"{url}/part/{n}" for n in range(1, count + 1)}
        header = {"chunk_size": str(PART), **parts}
        return {"upload": {"href": f"{url}/complete", "header": header}, "verify": verify}

    def put(self, oid: str, part: str | None = None) -> None:
        target = self.state.object(f"{oid}.{part}" if part else oid)
        incoming = target.with_name(f"{target.name}.incoming-{threading.get_ident()}")
        digest = hashlib.sha256()
        with incoming.open("wb") as stream:
            for block in self._blocks():
                digest.update(block)
                stream.write(block)
        if not part and digest.hexdigest() != oid:
            raise Refuse(400, "The content does not have the hash it was announced with")
        incoming.replace(target)
        self._content(b"", headers={"ETag": f'"{digest.hexdigest()}"'})

    def complete(self, oid: str) -> None:
        numbers = [part["partNumber"] for part in self._body()["parts"]]
        parts = [self.state.object(f"{oid}.{number}") for number in sorted(numbers)]
        content = b"".join(path.read_bytes() for path in parts)
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refuse(400, "The parts do not make up the content that was announced")
        self.state.object(oid).write_bytes(content)
        for path in parts:
            path.unlink()
        self._json({})

    def verify(self) -> None:
        asked = self._body()
        path = self.state.object(asked["oid"])
        if not path.exists() or path.stat().st_size != asked["size"]:
            raise Refuse(404, "There is no such object")
        self._json({})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        self._may_write()
        lines = [json.loads(line) for line in b"".join(self._blocks()).splitlines()]
        with self.state.lock:
            found = self._repo(kind, repo, revision)
            files = dict(found["files"])
            for line in lines:
                if self.trouble.get("do") == "garble" and line["key"] == "file":
                    line["value"]["content"] = "Z2FyYmxlZA=="
                self._change(files, line["key"], line["value"])
            sha = self._keep(self.state.repo_file(kind, repo), files, revision)
        url = f"{self.address}/{repo}/commit/{sha}"
        self._json({"success": True, "commitUrl": url, "commitOid": sha, "hookOutput": ""})

    def _change(self, files: dict, key: str, value: dict) -> None:
        if key == "file":
            files[value["path"]] = self._small(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if not self.state.object(value["oid"]).exists():
                raise Refuse(400, f"{value['path']} was not uploaded")
            text = pointer(value["oid"], value["size"])
            files[value["path"]] = {
                "size": value["size"], "oid": git_name(text),
                "lfs": {"oid": value["oid"], "size": value["size"], "pointerSize": len(text)},
            }  # fmt: skip
        elif key == "deletedFile" and not files.pop(value["path"], None):
            raise Refuse(404, "A file with this name doesn't exist", "EntryNotFound")

    def _small(self, content: bytes) -> dict:
        oid = git_name(content)
        self.state.object(oid).write_bytes(content)
        return {"size": len(content), "oid": oid}

    def branch(self, kind: str, repo: str, branch: str) -> None:
        self._may_write()
        with self.state.lock:
            found = self._repo(kind, repo)
            if branch == "main" or branch in found.get("branches", {}):
                raise Refuse(409, "Reference already exists")
            self._keep(self.state.repo_file(kind, repo), found["files"], branch)
        self._json({})

    def _keep(self, name: str, files: dict, branch: str = "main") -> str:
        found = self.state.read(name, {})
        told = json.dumps([found["sha"], files]).encode()
        sha = hashlib.sha1(told).hexdigest()  # noqa: S324
        now = {"files": files, "sha": sha}
        if branch != "main":
            now = {"branches": {**found.get("branches", {}), branch: now}}
        self.state.write(name, {**found, **now})
        return sha

    def resolve(self, kind: str, repo: str, revision: str, path: str) -> None:
        found = self._repo(kind, repo, revision)
        file = found["files"].get(path)
        headers = {"X-Repo-Commit": found["sha"]}
        if file is None:
            raise Refuse(404, f"There is no {path}", "EntryNotFound")
        if "lfs" not in file:
            headers["ETag"] = f'"{file["oid"]}"'
            self._content(self.state.object(file["oid"]).read_bytes(), headers=headers)
            return
        oid = file["lfs"]["oid"]
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": file["size"]}
        self._content(b"", 302, {**headers, "Location": f"{self.address}/lfs/{oid}"})

    def download(self, oid: str) -> None:
        path = self.state.object(oid)
        if not path.exists():
            raise Refuse(404, "There is no such object")
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted.group(1)) if wanted else 0
        headers = {"Content-Length": size - start, "ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._head(206 if wanted else 200, headers)
        if self.command == "HEAD":
            return
        with path.open("rb") as stream:
            stream.seek(start)
            while block := stream.read(CHUNK):
                if self.trouble and self.sent + len(block) > self.trouble.get("after", 0):
                    self._spoil(True)
                self.wfile.write(block)
                self.sent += len(block)


_KIND = r"/api/(?P<kind>model|dataset)s/(?P<repo>[\w.-]+/[\w.-]+)"
_PLACE = r"/(?:(?P<kind>dataset)s/)?(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/validate-yaml", Handler.validate_yaml),
    ("POST", r"/api/repos/create", Handler.create),
    ("GET", _KIND + r"(/revision/(?P<revision>.+))?", Handler.info),
    ("POST", _KIND + r"/branch/(?P<branch>.+)", Handler.branch),
    ("GET", _KIND + r"/tree/(?P<revision>[^/]+)", Handler.tree),
    ("POST", _KIND + r"/preupload/(?P<revision>.+)", Handler.preupload),
    ("POST", _KIND + r"/commit/(?P<revision>.+)", Handler.commit),
    ("POST", _PLACE + r"\.git/info/lfs/objects/batch",
     lambda self, kind, repo: self.batch(kind or "model", repo)),
    ("POST", r"/lfs/verify", Handler.verify),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})(/part/(?P<part>\d+))?", Handler.put),
    ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/complete", Handler.complete),
    ("GET HEAD", r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.download),
    ("GET HEAD", _PLACE + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
     lambda self, kind, **found: self.resolve(kind or "model", **found)),
]  # fmt: skip


def main() -> None:
    """Listen until somebody ends it."""
    parser = argparse.ArgumentParser(description="A small Hugging Face Hub, for tests.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    Handler.state, Handler.routes = State(given.state), tuple(ROUTES)
    server = ThreadingHTTPServer((given.host, given.port), Handler)
    server.daemon_threads = True
    address = f"http://{given.host}:{server.server_address[1]}"
    (given.state / "address.part").write_text(address)
    (given.state / "address.part").replace(given.state / "address")
    server.serve_forever()


if __name__ == "__main__":
    main()
