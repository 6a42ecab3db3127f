"""Get a model and a data set from the Hugging Face Hub, into the folders where trainings look.

    python fetch.py PLAN.json

Two phases, which the plan names: `download` brings what is missing to a folder of its own, from
which an interrupted download resumes; `install` puts it, whole and compared with the Hub's own
hashes, into its place, and turns a raw GSM8K into the form that the trainers read.
"""

from __future__ import annotations

import fnmatch
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gsm8k
from hub import (
    HubError,
    Meter,
    connect,
    git_name,
    listing,
    patiently,
    run_plan,
    say,
    sha256,
    size_text,
)
from inside import inside

Plan = dict[str, Any]


def fetch(plan: Plan) -> dict[str, Any]:
    """Do what the plan says; return what was fetched."""
    sent: list[str] = []
    where = [one["target"] for one in [plan["model"]] if one]
    where += [file["target"] for file in plan["data"]["files"]] if plan["data"] else []
    if "download" in plan["phases"]:
        sent += download(plan)
    if "install" in plan["phases"] and not plan.get("check"):
        if plan["model"]:
            install_model(Path(plan["model"]["staging"]), Path(plan["model"]["target"]))
        for file in plan["data"]["files"] if plan["data"] else []:
            install_data(plan["data"], file)
        if plan["data"]:
            shutil.rmtree(plan["data"]["staging"], ignore_errors=True)
    return {"changed": True, "where": ", ".join(where), "sent": sent}


# -- from the Hub ----------------------------------------------------------------------------------


def download(plan: Plan) -> list[str]:
    """Download what is missing to the staging folders; return its names."""
    model, data = plan["model"], plan["data"]
    wanted_data = [file for file in data["files"] if not file["raw"]] if data else []
    names = []
    if model:
        files = remote_files(plan, model, "model")
        skip = model["ignore"]
        files = {
            name: file
            for name, file in files.items()
            if not any(fnmatch.fnmatch(name, pattern) for pattern in skip)
        }
        names += bring(plan, model, "model", files)
    if wanted_data:
        there = remote_files(plan, data, "dataset")
        names += bring(plan, data, "dataset", {one: there[one] for one in chosen(data, there)})
    return names


def remote_files(plan: Plan, part: Plan, kind: str) -> dict[str, Any]:
    """The files of a repository. Errors are reported with this repository."""
    plan["repo"] = part["repo"]
    api = connect(plan)
    # One commit for all that follows, whatever is pushed meanwhile.
    options = {"revision": part["revision"], "repo_type": kind}
    part["commit"] = patiently(partial(api.repo_info, part["repo"], **options)).sha
    files: dict[str, Any] = listing(api, part["repo"], part["commit"], kind)
    return files


def chosen(data: Plan, there: dict[str, Any]) -> list[str]:
    """The files of the data set that are wanted, by their names there. Raises HubError."""
    names = [file["source"] for file in data["files"] if not file["raw"]]
    missing = [name for name in names if name not in there]
    if missing:
        tables = ", ".join(name for name in there if name.endswith(".parquet"))
        raise HubError(
            f"{data['repo']} has no {', '.join(missing)}; its parquet files are:"
            f" {tables or 'none'}. Name them in fetch_data_files."
        )
    return names


def bring(plan: Plan, part: Plan, kind: str, files: dict[str, Any]) -> list[str]:
    """Download what neither the target nor the staging folder has."""
    api, staging = connect(plan), Path(part["staging"])
    target = Path(part["target"]) if kind == "model" and part["target"] else None
    names = [name for name in files if not (target and same(target / name, files[name]))]
    total = sum(files[name].size for name in names)
    say(f"{part['repo']}: {len(names)} of {len(files)} files to get, {size_text(total)}")
    if plan.get("check"):
        return names
    options = {"revision": part["commit"], "repo_type": kind, "local_dir": staging}
    meter = Meter([files[name].size for name in names])
    for name in names:
        path = within(staging, name)
        if not same(path, files[name]):
            path.unlink(missing_ok=True)
            with meter.watching(partial(arriving, staging)):
                patiently(partial(api.hf_hub_download, part["repo"], name, **options))
        if not same(path, files[name]):
            path.unlink(missing_ok=True)
            raise HubError(f"{name} of {part['repo']} arrived damaged. Run this again.")
        meter.file(files[name].size, name)
    shutil.rmtree(staging / ".cache", ignore_errors=True)  # the client's notes for resuming
    return names


def within(folder: Path, name: str) -> Path:
    """A file of the Hub in `folder`, even if a link is in its way. Raises HubError."""
    try:
        return inside(folder, name)
    except ValueError as error:
        raise HubError(f"{folder} cannot be written to: {error}") from error


def arriving(staging: Path) -> int:
    """Bytes of the file that is being downloaded; the client writes it beside its own metadata."""
    sizes = [0]
    for path in (staging / ".cache").rglob("*.incomplete"):
        with suppress(OSError):  # it is whole by now, and has its name
            sizes.append(path.stat().st_size)
    return max(sizes)


def same(path: Path, remote: Any) -> bool:
    """Whether a file here is the Hub's, by the Hub's own hash."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    if remote.lfs:
        return bool(sha256(path) == remote.lfs.sha256)
    return bool(git_name(path) == remote.blob_id)


# -- into its place --------------------------------------------------------------------------------


def install_model(staging: Path, target: Path) -> None:
    """Move the files into the model's folder; other files are kept."""
    found = [path for path in staging.rglob("*") if path.is_file()] if staging.is_dir() else []
    # Weights first: until the small files are there, the folder does not look like a model.
    for path in sorted(found, key=lambda path: -path.stat().st_size):
        place = within(target, path.relative_to(staging).as_posix())
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    shutil.rmtree(staging, ignore_errors=True)
    say(f"{target} contains the model")


def install_data(data: Plan, file: Plan) -> None:
    """Move one table to its destination, converted if it is raw."""
    target = Path(file["target"])
    source = target if file["raw"] else Path(data["staging"], file["source"])
    target.parent.mkdir(parents=True, exist_ok=True)
    if not gsm8k.is_raw(source):
        source.replace(target)
        say(f"{target} was moved into place unchanged")
        return
    form = {**data["form"], "split": file["split"]}
    if source == target:
        source = target.with_name(f"{target.name}.raw")
        target.replace(source)
    rows = gsm8k.convert(source, target, form)
    say(f"{target} holds {rows} rows of {file['split']}, converted from the raw GSM8K")


if __name__ == "__main__":
    sys.exit(run_plan(fetch))
