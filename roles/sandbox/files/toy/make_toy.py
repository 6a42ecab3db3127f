"""Write the sandbox's toy model and toy data, once and always the same to the last byte.

    <training environment>/bin/python make_toy.py --home /home/mluser [--uid 2000 --gid 2000]

writes ``model/Llama-3.2-1B-Instruct`` and ``data/gsm8k/{train,test}.parquet`` below the home and
prints ``{"changed": true, "files": [...]}``. A second run checks the files against their recorded
hashes, without importing torch, and writes them again only when one is missing or differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

STAMP = "data/gsm8k/.mnrun-toy.json"
SOURCES = ("make_toy.py", "toy_files.py", "toy_model.py", "toy_task.py")


def sha256(path: Path) -> str:
    """Return the hash of one file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_hash() -> str:
    """Name the generator itself: a changed one writes everything again."""
    here = Path(__file__).resolve().parent
    return hashlib.sha256("".join(sha256(here / name) for name in SOURCES).encode()).hexdigest()


def recorded_files(home: Path) -> list[str] | None:
    """Return the toy's files if all are there as this generator wrote them, else None."""
    try:
        stamp = json.loads((home / STAMP).read_text())
        whole = all(sha256(home / name) == digest for name, digest in stamp["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return sorted(stamp["files"]) if whole and stamp["source"] == source_hash() else None


def move_into_place(scratch: Path, home: Path, names: list[str]) -> None:
    """Put the new files where they belong, and last of all the stamp that vouches for them."""
    hashes = {name: sha256(scratch / name) for name in names}
    stamp = {"source": source_hash(), "files": hashes}
    (scratch / STAMP).write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n")
    for name in [*names, STAMP]:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).chmod(0o644)  # safetensors makes its files 0600
        (scratch / name).replace(home / name)


def own(home: Path, names: list[str], uid: int, gid: int) -> None:
    """Give the files and their folders below the home to the cluster's user."""
    for name in [*names, STAMP]:
        os.chown(home / name, uid, gid)
        for folder in Path(name).parents:
            if str(folder) != ".":
                os.chown(home / folder, uid, gid)


def make(home: Path, uid: int, gid: int) -> dict[str, Any]:
    """Make sure that model and data are there; return what the caller prints."""
    names = recorded_files(home)
    changed = names is None
    if names is None:
        # On the same file system as the home, so that each file arrives whole.
        scratch = Path(tempfile.mkdtemp(prefix=".mnrun-toy-", dir=home))
        try:
            import toy_files  # four seconds of imports, which a second run does without

            names = toy_files.write(scratch)
            move_into_place(scratch, home, names)
        finally:
            shutil.rmtree(scratch)
    own(home, names, uid, gid)
    return {"changed": changed, "files": names}


def main() -> int:
    """Read the arguments, write what is missing, and print the result as JSON."""
    parser = argparse.ArgumentParser(description="Write the sandbox's toy model and data.")
    parser.add_argument("--home", type=Path, required=True, help="home of the cluster's user")
    parser.add_argument("--uid", type=int, default=-1, help="owner of the files (default: you)")
    parser.add_argument("--gid", type=int, default=-1, help="group of the files (default: yours)")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        result = make(arguments.home, arguments.uid, arguments.gid)
    except OSError as error:
        print(f"The toy model and data could not be written: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
