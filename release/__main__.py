"""Build a release from the committed files: `python -m release [--to DIR]`, or `make dist`."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.archive import normalise
from release.materials import materials

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def main() -> None:
    """Build everything into a folder. SystemExit with a text for people if that is not sound."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument("--any", action="store_true", help="also with changes not committed")
    options = parser.parse_args()
    if _git("status", "--porcelain") and not options.any:
        sys.exit("There are changes that are not committed; a release is what the commit holds.")
    epoch = int(_git("log", "-1", "--format=%ct"))
    version = _version()
    os.umask(0o022)
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree, built = Path(scratch) / "tree", Path(scratch) / "built"
        _copy(tree, epoch)
        built.mkdir()
        _build(tree, built, epoch)
        (built / f"mnrun-{version}.cdx.json").write_text(materials(version, epoch))
        names = sorted(path.name for path in built.iterdir())
        _refuse_other_versions(names, version)
        (built / "SHA256SUMS").write_text("".join(f"{_sum(built / one)}  {one}\n" for one in names))
        for path in sorted(built.iterdir()):
            shutil.copy(path, options.to / path.name)
            print(options.to / path.name)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version() -> str:
    """The version in galaxy.yml; a tag of this commit, if there is one, has to name the same."""
    found = re.search(r"^version: ([0-9.]+)$", (ROOT / "galaxy.yml").read_text(), re.MULTILINE)
    if found is None:
        sys.exit("galaxy.yml has no version.")
    version = found[1]
    tags = [tag for tag in _git("tag", "--points-at", "HEAD").split() if tag[:1] == "v"]
    if tags and tags != [f"v{version}"]:
        sys.exit(f"The commit is tagged {', '.join(tags)}, and galaxy.yml has {version}.")
    changes = (ROOT / "CHANGELOG.md").read_text()
    if tags and f"\n## [{version}] - " not in changes:
        sys.exit(f"CHANGELOG.md has no section of {version}: rename Unreleased.")
    return version


def _refuse_other_versions(names: list[str], version: str) -> None:
    others = [name for name in names if not re.search(rf"-{re.escape(version)}[.-]", name)]
    if others:
        sys.exit(f"These are not of version {version}: {', '.join(others)}")


def _copy(tree: Path, epoch: int) -> None:
    """The tracked files alone, with the same modes and times for each builder."""
    for name in _git("ls-files", "-z").split("\0"):
        source, target = ROOT / name, tree / name
        if not name or not (source.is_symlink() or source.exists()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target, follow_symlinks=False)
        if not target.is_symlink():
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        os.utime(target, (epoch, epoch), follow_symlinks=False)


def _build(tree: Path, built: Path, epoch: int) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
    python: list[str | Path] = [
        sys.executable, "-m", "build", "--no-isolation", "--outdir", built, ".",
    ]  # fmt: skip
    galaxy: list[str | Path] = [
        BIN / "ansible-galaxy", "collection", "build", "--output-path", built, ".",
    ]  # fmt: skip
    for command in (python, galaxy):
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    (archive,) = built.glob("mnrun-train-*.tar.gz")
    normalise(archive, epoch)


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
