"""What is published has the same bytes for the same commit, and says what is in it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.archive import normalise
from release.materials import materials

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
FILES = {
    f"mnrun-{VERSION}-py3-none-any.whl", f"mnrun-{VERSION}.tar.gz", f"mnrun-{VERSION}.cdx.json",
    f"mnrun-train-{VERSION}.tar.gz", "SHA256SUMS",
}  # fmt: skip


def build(folder: Path, cwd: Path, **environ: str) -> Path:
    """Build a release as somebody else might."""
    umask = environ.pop("umask")
    line = f'umask {umask}; exec "$0" -m release --any --to "$1"'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, folder],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "dist"
    return build(folder, ROOT, umask="022", TZ="UTC")


def test_two_builds_have_the_same_bytes(built: Path, tmp_path: Path) -> None:
    other = build(tmp_path / "a folder", tmp_path, umask="077", TZ="Asia/Tokyo", HOME=str(tmp_path))
    assert {path.name for path in built.iterdir()} == FILES
    for path in built.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_every_file_has_the_one_version_and_its_checksum(built: Path) -> None:
    sums = dict(line.split()[::-1] for line in (built / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == FILES - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((built / name).read_bytes()).hexdigest() == digest
    with zipfile.ZipFile(built / f"mnrun-{VERSION}-py3-none-any.whl") as wheel:
        about = wheel.read(f"mnrun-{VERSION}.dist-info/METADATA").decode()
        packed = wheel.read("ansible_collections/mnrun/train/galaxy.yml").decode()
    assert f"\nVersion: {VERSION}\n" in about
    assert yaml.safe_load(packed)["version"] == VERSION
    assert metadata.version("mnrun") == VERSION


def test_the_collection_s_own_lists_are_right(built: Path) -> None:
    """As ansible-galaxy checks them when it installs."""
    with tarfile.open(built / f"mnrun-train-{VERSION}.tar.gz") as archive:
        texts = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        content = {name: stream.read() for name, stream in texts.items() if stream}
        assert {one.mtime for one in archive.getmembers()} == {
            int(git("log", "-1", "--format=%ct"))
        }
    manifest = json.loads(content["MANIFEST.json"])
    assert manifest["collection_info"]["version"] == VERSION
    listed = hashlib.sha256(content["FILES.json"]).hexdigest()
    assert manifest["file_manifest_file"]["chksum_sha256"] == listed
    files = json.loads(content["FILES.json"])["files"]
    assert [one["name"] for one in files] == [".", *sorted(one["name"] for one in files[1:])]
    for one in files:
        if one["ftype"] == "file":
            found = hashlib.sha256(content[one["name"]]).hexdigest()
            assert found == one["chksum_sha256"], one["name"]


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def archive(path: Path, names: list[str], time: int, mode: int) -> bytes:
    """A collection as another builder would pack it: another order, time and mode."""
    listed = [{"name": ".", "ftype": "dir"}, *({"name": n, "ftype": "file"} for n in names)]
    first = json.dumps({"files": listed}).encode()
    manifest = {"file_manifest_file": {"chksum_sha256": hashlib.sha256(first).hexdigest()}}
    texts = {"MANIFEST.json": json.dumps(manifest).encode(), "FILES.json": first}
    texts |= {name: name.encode() for name in names}
    with tarfile.open(path, "w:gz") as out:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode, member.uname = len(text), time, mode, "me"
            out.addfile(member, io.BytesIO(text))
    normalise(path, 1000)
    return path.read_bytes()


def test_order_time_and_modes_of_a_builder_do_not_count(tmp_path: Path) -> None:
    names = ["a", "b/c", "b/d", "e"]
    other = names.copy()
    other.reverse()
    one = archive(tmp_path / "one.tar.gz", names, 5, 0o644)
    assert one == archive(tmp_path / "two.tar.gz", other, 7, 0o600)
    assert one != archive(tmp_path / "two.tar.gz", other[1:], 7, 0o600)


def test_the_bill_of_materials_is_of_its_form() -> None:
    text = materials("9.8.7", 86_400)
    assert text == materials("9.8.7", 86_400)
    found: dict[str, Any] = json.loads(text)
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["serialNumber"]
    )
    assert found["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    top = found["metadata"]["component"]
    assert (top["purl"], top["licenses"]) == (
        "pkg:pypi/mnrun@9.8.7", [{"expression": "Apache-2.0"}],
    )  # fmt: skip
    names = {part["name"]: part["version"] for part in found["components"]}
    assert names["ansible-core"] == metadata.version("ansible-core")
    # What only tests, Ray's side or pictures need is no part of it; what a dependency needs is one.
    assert {"pyyaml", "jinja2", "ansible-runner", "markupsafe"} <= set(names)
    assert {"pytest", "ray", "matplotlib", "mnrun"}.isdisjoint(names)
    refs = {part["bom-ref"] for part in [top, *found["components"]]}
    assert len(refs) == len(names) + 1
    assert {one["ref"] for one in found["dependencies"]} == refs
    assert all(set(one["dependsOn"]) <= refs for one in found["dependencies"])
