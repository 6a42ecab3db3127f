"""Publish a converted model: to the Hugging Face Hub, or to a folder.

    python publish.py PLAN.json

The manifest of the model decides. What the other side has already, whole, is not sent again; the
rest is sent file by file and becomes visible in one commit; then the other side's list of files is
compared with the manifest. Nothing is changed with `"check": true` in the plan.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import manifest
from hub import (
    HubError,
    Meter,
    connect,
    explain,
    from_where,
    git_name,
    listing,
    no_token,
    patiently,
    run_plan,
    say,
)
from inside import inside

CARD = "README.md"
MAIN = "main"


class File(NamedTuple):
    """A file to publish, and the SHA-256 that its content must have."""

    path: Path
    size: int
    sha256: str


def publish(plan: dict[str, Any]) -> dict[str, Any]:
    """Do what the plan says; return what was done."""
    folder = Path(plan["folder"])
    faults = manifest.faults(folder)
    if faults:
        raise HubError(f"{folder} is not a converted model, so nothing is published: {faults[0]}")
    files = wanted(folder, Path(sys.argv[1]).parent / plan["card"])
    result = to_folder(plan, files) if plan["to"] == "folder" else to_hub(plan, files)
    result["files"] = {name: file.sha256 for name, file in files.items()}
    return result


def wanted(folder: Path, card: Path) -> dict[str, File]:
    """All that belongs to the published model, by the path it has there, the manifest last."""
    about = manifest.read(folder)
    files = {
        name: File(folder / name, entry["size"], entry["sha256"])
        for name, entry in sorted((about or {})["files"].items())
        if name != CARD
    }
    for name, path in ((CARD, card), (manifest.NAME, folder / manifest.NAME)):
        files[name] = File(path, path.stat().st_size, manifest.sha256(path))
    return files


# -- to the Hub ----------------------------------------------------------------------------------


def to_hub(plan: dict[str, Any], files: dict[str, File]) -> dict[str, Any]:
    """Make the repository match the manifest."""
    api = connect(plan)
    if not api.token:
        raise HubError(f"there is no token for the Hub. {no_token(plan)}")
    repo, revision = plan["repo"], plan["revision"]
    remote, seen = open_repo(api, plan)
    known = remote or {}
    sending = [name for name, file in files.items() if not same(file, known.get(name))]
    obsolete = sorted(leftovers(api, repo, seen, known, files)) if sending else []
    result = {
        "to": "hub",
        "where": f"{api.endpoint}/{repo}",
        "revision": revision,
        "changed": bool(sending or obsolete or seen != revision),
        "created": remote is None,
        "sent": sending,
        "removed": obsolete,
        "bytes": sum(files[name].size for name in sending),
        "before": {name: oid(file) for name, file in known.items()},
    }
    if plan.get("check") or not result["changed"]:
        if not result["changed"]:
            say(f"{result['where']} already has all {len(files)} files, intact")
        return result
    if remote is None:
        create(api, plan)
    result["commit"] = send(api, plan, {name: files[name] for name in sending}, obsolete)
    compare(listing(api, repo, result["commit"]), files, result["where"])
    say(f"{result['where']} has all {len(files)} files, compared with the manifest")
    return result


def open_repo(api: Any, plan: dict[str, Any]) -> tuple[Any, str]:
    """What is in the repository, None if it does not exist yet, and the branch that it is on: a
    branch that is not there yet will begin as `main`."""
    from huggingface_hub.utils import RepositoryNotFoundError, RevisionNotFoundError

    repo, revision = plan["repo"], plan["revision"]
    try:
        info = patiently(partial(api.repo_info, repo))
    except RepositoryNotFoundError:
        check_token(api, plan)
        return None, revision
    if plan["private"] and not info.private:
        raise HubError(
            f"{repo} is public, but publish_private is set, so nothing was sent. Make it private in"
            " its settings, or set publish_private=false."
        )
    try:
        return listing(api, repo, revision), revision
    except RevisionNotFoundError:
        return listing(api, repo, MAIN), MAIN


def check_token(api: Any, plan: dict[str, Any]) -> None:
    """For a wrong token the Hub hides repositories instead of saying so. Raises HubError."""
    try:
        api.whoami()
    except OSError as error:
        response = getattr(error, "response", None)
        if response is not None and response.status_code == 401:
            where = plan.get("endpoint") or "https://huggingface.co"
            raise HubError(
                f"the Hub ({where}) does not accept the token. {from_where(plan)}"
            ) from error
        raise


def create(api: Any, plan: dict[str, Any]) -> None:
    """Make the repository."""
    kind = "private" if plan["private"] else "public"
    say(f"creating the {kind} repository {plan['repo']}")
    try:
        make = partial(api.create_repo, plan["repo"], private=plan["private"], exist_ok=True)
        patiently(make)
    except OSError as error:
        raise HubError(
            f"the repository {plan['repo']} cannot be created: {explain(error, plan)}"
        ) from error


def same(file: File, remote: Any) -> bool:
    """Whether the Hub has this very content, by its own hashes."""
    if remote is None or remote.size != file.size:
        return False
    if remote.lfs:
        return bool(remote.lfs.sha256 == file.sha256)
    return bool(remote.blob_id == git_name(file.path))


def oid(remote: Any) -> str:
    """A remote file's content in short."""
    return f"sha256:{remote.lfs.sha256[:12]}" if remote.lfs else f"git:{remote.blob_id[:12]}"


def leftovers(
    api: Any, repo: str, seen: str, known: dict[str, Any], files: dict[str, File]
) -> set[str]:
    """Files that an earlier publication put there, by its own manifest, and that this one has not:
    shards of another model would be loaded with it. What others put there stays."""
    if manifest.NAME not in known:
        return set()
    with tempfile.TemporaryDirectory() as scratch:
        path = api.hf_hub_download(repo, manifest.NAME, revision=seen, local_dir=scratch)
        try:
            earlier = json.loads(Path(path).read_text(encoding="utf-8"))["files"]
        except (ValueError, KeyError):
            return set()
    return (set(earlier) & set(known)) - set(files)


def send(api: Any, plan: dict[str, Any], files: dict[str, File], obsolete: list[str]) -> str:
    """Send the files, then make all of it visible at once. Returns the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo, revision = plan["repo"], plan["revision"]
    if revision != MAIN:
        patiently(partial(api.create_branch, repo, branch=revision, exist_ok=True))
    additions, options = [], {"revision": revision, "free_memory": False}
    meter = Meter([file.size for file in files.values()])
    for name, file in files.items():
        addition = CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(file.path))
        if addition.upload_info.sha256.hex() != file.sha256:
            raise HubError(f"{file.path} is damaged: its content differs from the manifest")
        # What is on the Hub's storage from an upload that was cut off is not sent again.
        patiently(partial(api.preupload_lfs_files, repo, [addition], **options))
        additions.append(addition)
        meter.file(file.size, name)
    removals = [CommitOperationDelete(path_in_repo=name) for name in obsolete]
    operations, message = [*additions, *removals], plan["message"]
    commit = patiently(
        partial(api.create_commit, repo, operations, commit_message=message, revision=revision)
    )
    return str(commit.oid)


def compare(remote: dict[str, Any], files: dict[str, File], where: str) -> None:
    """Raise HubError if the files on the Hub, by its own hashes, differ from those to publish."""
    wrong = [name for name, file in files.items() if not same(file, remote.get(name))]
    if wrong:
        raise HubError(
            f"{where} does not have what was sent: {', '.join(wrong[:5])} differ from the manifest."
            " Run this again; if it stays so, look at the repository's history."
        )


# -- to a folder ---------------------------------------------------------------------------------


def to_folder(plan: dict[str, Any], files: dict[str, File]) -> dict[str, Any]:
    """Make a folder match the manifest, which is written last."""
    target = Path(plan["target"])
    earlier = (manifest.read(target) or {"files": {}})["files"]
    paths = places(target, [*files, *earlier])
    sending = [name for name, file in files.items() if not same_file(file, paths[name])]
    gone = [name for name in sorted(earlier) if name not in files and paths[name].is_file()]
    result = {
        "to": "folder",
        "where": str(target),
        "changed": bool(sending or gone),
        "created": not target.is_dir(),
        "sent": sending,
        "removed": gone,
        "bytes": sum(files[name].size for name in sending),
        "before": {name: f"sha256:{entry['sha256'][:12]}" for name, entry in earlier.items()},
    }
    if plan.get("check") or not result["changed"]:
        return result
    if sending and (target / manifest.NAME).exists():
        (target / manifest.NAME).unlink()  # without one the folder counts as unfinished
    last = [name for name in (manifest.NAME,) if name not in sending]
    meter = Meter([files[name].size for name in [*sending, *last]])
    for name in [*sending, *last]:
        copy(files[name], paths[name])
        meter.file(files[name].size, name)
    for name in gone:
        paths[name].unlink()
    wrong = [name for name, file in files.items() if not same_file(file, paths[name])]
    if wrong:
        raise HubError(f"{target} does not contain what was written: {', '.join(wrong[:5])} differ")
    return result


def places(target: Path, names: list[str]) -> dict[str, Path]:
    """Where each file is in the target; none of them is outside. Raises HubError."""
    try:
        return {name: inside(target, name) for name in names}
    except ValueError as error:
        raise HubError(f"{target} cannot be written to: {error}") from error


def same_file(file: File, path: Path) -> bool:
    """Whether a file has this very content."""
    there = path.is_file() and path.stat().st_size == file.size
    return there and manifest.sha256(path) == file.sha256


def copy(file: File, path: Path) -> None:
    """Copy one file, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    shutil.copyfile(str(file.path), str(part))
    part.replace(path)


if __name__ == "__main__":
    sys.exit(run_plan(publish))
