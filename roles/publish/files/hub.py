"""What the programs that talk to the Hugging Face Hub share: the token, the client, clear errors.

They run with the Python of the training environment, on a compute node, on the login node or on
the controller, and carry this file with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inside import name_fault

MARK = "mnrun-result: "
"""What stands before the result, in the last line of the output."""

WAITS = (1, 4)
"""Seconds before the second and the third try."""

PACE = 5.0
"""Seconds between two lines about a file that is on its way."""

TIMEOUT = (20, 300)  # seconds to connect, and without a byte of an answer


class HubError(Exception):
    """What went wrong and how to fix it, as a message for the user."""


def say(text: str) -> None:
    """Show one line of progress."""
    print(text, flush=True)


class Meter:
    """The progress of a transfer, in lines that mnrun shows: `1.2 GB of 4.8 GB, files (3/7)`."""

    def __init__(self, sizes: list[int]) -> None:
        self._files, self._total = len(sizes), sum(sizes)
        self._number = self._done = 0

    def file(self, size: int, name: str) -> None:
        """Count one more complete file."""
        self._number, self._done = self._number + 1, self._done + size
        self._tell(self._done)
        say(f"{name}: {size_text(size)}")

    @contextmanager
    def watching(self, arrived: Callable[[], int]) -> Iterator[None]:
        """Print from time to time how much of the next file has `arrived`, in bytes."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(PACE):
                self._tell(self._done + arrived())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, done: int) -> None:
        far = f"{size_text(done)} of {size_text(self._total)}, files"
        say(f"mnrun: [{self._number}/{self._files}] {far}")


def run_plan(act: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do what the plan (a JSON file, the only argument) says, and print the result.

    Returns the exit code.
    """
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    prepare(plan)
    try:
        result = act(plan)
    except HubError as error:
        say(f"HubError: {error}")
        return 1
    except OSError as error:
        # The client's own errors are OSErrors too; those of files have a file.
        if error.filename is None:
            reason = explain(error, plan)
            say(f"HubError: {reason}")
        else:
            say(f"HubError: {error.filename}: {error.strerror}")
        return 1
    except Exception as error:  # noqa: BLE001 - the client raises its errors in many wrappings
        reason = explain(error, plan)
        if reason == plain(error):
            traceback.print_exc()
        say(f"HubError: {reason}")
        return 1
    say(MARK + json.dumps(result))
    return 0


def prepare(plan: dict[str, Any]) -> None:
    """Set what the client reads from its environment, before it is imported."""
    # Trainings run offline, and nothing may be taken from another place than the plan names.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DEBUG"):
        os.environ.pop(name, None)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"  # noqa: S105 - a switch
    # No progress bars in a log; lines show the progress.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if plan.get("endpoint"):
        os.environ["HF_ENDPOINT"] = plan["endpoint"]


def read_token(files: list[str]) -> str:
    """The token: in the first of `files` that is there, else in HF_TOKEN; empty if nowhere.

    Raises HubError for a file that others can read, or without a token.
    """
    for name in files:
        path = Path(name).expanduser()
        if not path.exists():
            continue
        if path.stat().st_mode & 0o077:
            raise HubError(f"others can read the Hub's token in {path}: run chmod 600 {path}")
        lines = path.read_text(encoding="utf-8").split()
        if not lines:
            raise HubError(f"there is no token in {path}: write it on the first line")
        return lines[0]
    return os.environ.get("HF_TOKEN", "")


def connect(plan: dict[str, Any]) -> Any:
    """The client, for the plan's endpoint and with its token."""
    bound_requests()
    from huggingface_hub import HfApi

    token = read_token(plan["token_files"])
    return HfApi(endpoint=plan.get("endpoint") or None, token=token or False)


def bound_requests() -> None:
    """Give each request a limit in time; the client itself sets none for most of them."""
    import requests
    from huggingface_hub import configure_http_backend

    class Bound(requests.Session):
        """A session whose requests end."""

        def request(self, *args: Any, **options: Any) -> Any:
            """Add the limit where there is none."""
            if options.get("timeout") is None:
                options["timeout"] = TIMEOUT
            return super().request(*args, **options)

    configure_http_backend(Bound)


def patiently(act: Callable[[], Any]) -> Any:
    """Return what `act` returns; after a failure that passes, try again, a few times.

    The client does so itself for some of its requests only. It gives up on a connection that could
    not be made after minutes of its own, so that is not tried again.
    """
    for wait in WAITS:
        try:
            return act()
        except Exception as error:
            status = _status(error)
            broken = "ChunkedEncodingError" in {type(one).__name__ for one in _chain(error)}
            if not broken and (status is None or status < 500):
                raise
            cause = "a connection that broke" if broken else f"HTTP {status}"
            say(f"{cause}: trying again in {wait} s")
            time.sleep(wait)
    return act()


def explain(error: BaseException, plan: dict[str, Any]) -> str:
    """An error of the client in words that say what to do."""
    repo = plan.get("repo", "")
    where = plan.get("endpoint") or "https://huggingface.co"
    again = "Run this again: only what is missing is transferred."
    status = _status(error)
    if status in (401, 403):
        return refusal(status, repo, where, plan)
    if status is not None and status >= 500:
        return f"the Hub ({where}) failed with HTTP {status}. {again}"
    names = {type(one).__name__ for one in _chain(error)}
    if names & {"ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "ProxyError",
                "ChunkedEncodingError", "ProtocolError", "SSLError"}:  # fmt: skip
        return (
            f"the connection to the Hub ({where}) failed on {os.uname().nodename}: {_root(error)}. "
            f"{again} If this machine has no way to the Hub, set mnrun_hub_place, or a proxy in "
            "environment_variables."
        )
    if "RepositoryNotFoundError" in names:
        return f"there is no {repo} on the Hub ({where}), or this token may not see it."
    return plain(error)


def refusal(status: int, repo: str, where: str, plan: dict[str, Any]) -> str:
    """What the Hub means when it refuses access."""
    if status == 403:
        return f"the token has no right to do this with {repo} ({where}). {from_where(plan)}"
    if not read_token(plan["token_files"]):
        return f"the Hub ({where}) requires a token for {repo}. {no_token(plan)}"
    return f"the Hub ({where}) does not accept the token. {from_where(plan)}"


def plain(error: BaseException) -> str:
    """An error's text in one line."""
    return " ".join(str(error).split())


def no_token(plan: dict[str, Any]) -> str:
    """What to do about a token that is not there."""
    looked = ", ".join(plan["token_files"])
    return f"Set HF_TOKEN, or put a token in a file of mode 600 (looked for: {looked})."


def from_where(plan: dict[str, Any]) -> str:
    """Where the token came from, for a user who has to change it."""
    there = [name for name in plan["token_files"] if Path(name).expanduser().exists()]
    source = there[0] if there else "HF_TOKEN"
    return f"It is from {source}; create one with write access at /settings/tokens."


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    found: Any = error
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or found.__context__
    return chain


def _status(error: BaseException) -> Any:
    for one in _chain(error):
        response = getattr(one, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def _root(error: BaseException) -> str:
    return str(_chain(error)[-1]).splitlines()[0][:200]


def git_name(path: Path) -> str:
    """The name that git gives a file's content; what the Hub knows small files by."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)  # noqa: S324 - git's own
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content; what the Hub knows large files by."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def listing(api: Any, repo: str, revision: str, kind: str = "model") -> dict[str, Any]:
    """The files of a repository by path, with their sizes and hashes.

    Raises HubError if one has a name that would lead out of the folder that it is put into.
    """
    found = patiently(
        lambda: list(api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind))
    )
    files = {file.path: file for file in found if hasattr(file, "blob_id")}
    faults = [fault for fault in map(name_fault, files) if fault]
    if faults:
        raise HubError(f"{repo} on the Hub cannot be used: {faults[0]}. Nothing was transferred.")
    return files


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
