"""The activation script on this machine: whether it works, and putting it in place."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Sequence

from ..base.errors import Invalid
from ..base.process import clean_environment, end_group
from .tracker import NEEDS, tracker_faults

# Seconds. Modules on a busy network file system are slow, but not slower than this.
PATIENCE = 120.0

_MARK = "mnrun-environment: "
_NOTE = "note: "  # before a line that is not an error
# Reads the packages' own records: importing torch takes seconds.
_PROBE = """
import hashlib, importlib.metadata as metadata, importlib.util, json, os, platform, sys
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
modules, packages = json.loads(sys.argv[2])
found = {name: version(name) for name in packages}
there = {name: importlib.util.find_spec(name) is not None for name in modules}
uri = os.environ.get("MLFLOW_TRACKING_URI", "")
mode = os.environ.get("WANDB_MODE", "")
all_of_it = metadata.distributions() if os.environ.get("MNRUN_IN_IMAGE") else []
names = sorted(f"{one.name}=={one.version}" for one in all_of_it)
digest = hashlib.sha256(json.dumps([platform.python_version(), names]).encode()).hexdigest()
print(sys.argv[1] + json.dumps([platform.python_version(), found, mode, digest, there, uri]))
"""
_SHELL = 'source "$1" || exit 3; shift; [ -z "$1" ] || exec python -c "$@"'


class Needed(NamedTuple):
    """What the environment has to hold: packages, whose versions are reported, and trackers."""

    packages: Sequence[str] = ()
    trackers: Sequence[str] = ()


class Verified(NamedTuple):
    """The environment that the script set up. `notices` are other lines that it printed;
    `packages` is a SHA-256 over the versions of all that is installed in an image."""

    versions: dict[str, str]
    wandb_mode: str
    notices: list[str]
    packages: str = ""


def verify(
    script: str,
    prefix: str,
    needed: Needed,
    wandb_key: str = "",
    patience: float = PATIENCE,
) -> Verified:
    """Source the file `script` as a job would, and check the Python that it provides.

    `wandb_key` is one that the job will find in a file that is not written yet. With an empty
    `prefix` there is no Python to check. Raises Invalid if the script fails, takes longer than
    `patience` seconds, or the environment lacks a package, or what a tracker needs.
    """
    modules = [module for name in needed.trackers for module in NEEDS[name]]
    probe = [_PROBE, _MARK, json.dumps([modules, list(needed.packages)])] if prefix else [""]
    command = ["bash", "--noprofile", "--norc", "-c", _SHELL, "mnrun", script, *probe]
    key = {"WANDB_API_KEY": wandb_key} if wandb_key else {}
    code, out, err = _run(command, patience, dict(clean_environment("/usr/bin"), **key))
    lines = [line[len("mnrun: ") :] for line in err.splitlines() if line.startswith("mnrun: ")]
    notices = [line[len(_NOTE) :] if line.startswith(_NOTE) else line for line in lines]
    if code == 0 and not prefix:
        return Verified({}, "", notices)
    answers = [line for line in out.splitlines() if line.startswith(_MARK)]
    if code != 0 or not answers:
        raise Invalid(_failure(lines, code, err), stderr=err)
    version, found, mode, digest, there, uri = json.loads(answers[-1][len(_MARK) :])
    _require(found, prefix, tracker_faults(needed.trackers, there, uri, prefix))
    return Verified(dict(found, python=version), mode, notices, digest)


def _failure(lines: list[str], code: int, err: str) -> str:
    reasons = [line for line in lines if not line.startswith(_NOTE)]
    if not reasons:
        tail = err.strip().splitlines()[-5:] or ["no message"]
        reasons = [f"exit code {code}: " + " / ".join(tail)]
    node = os.uname().nodename
    return f"The training environment cannot be activated on {node}: " + "\n".join(reasons)


def _require(found: dict[str, Any], prefix: str, faults: list[str]) -> None:
    missing = [name for name, version in found.items() if version is None]
    if missing:
        faults.insert(
            0,
            f"The environment {prefix} lacks {', '.join(missing)}: install it there, or set"
            " environment_conda_prefix (for an image environment_image) to the one that has it.",
        )
    if faults:
        raise Invalid("\n".join(faults))


def _run(command: list[str], patience: float, environment: dict[str, str]) -> Any:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        universal_newlines=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        raise Invalid(
            f"The training environment was not active within {patience:.0f} s on"
            f" {os.uname().nodename}: a module or the conda hook hangs there. Try it by hand:"
            " `module load …`, `conda activate …`."
        ) from None
    finally:
        end_group(process)
    return process.returncode, out, err


def store_secret(path: Path, text: str) -> None:
    """Write `text` to a file that only its owner can ever read."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    part.touch(0o600, exist_ok=False)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except BaseException:
        part.unlink()
        raise
