"""A real Apptainer and an image for the sandbox, both of Debian's packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.sandbox import suite

from .conftest import Cluster

APPLI = "/home/appli"  # as the nodes see it
MODULE = "apptainer/of-tests"
IMAGE = f"{APPLI}/images/tiny"
MARK = "/of-the-image"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_PROGRAMS = ("usr/bin/apptainer", f"{_LIBRARIES}/apptainer/bin/starter", "usr/bin/mksquashfs",
             "usr/bin/unsquashfs")  # fmt: skip
_WANTED = ("bash", "coreutils", "grep", "sed", "findutils", "procps", "python3", "libstdc++6",
           "libgomp1")  # fmt: skip
_LEFT_OUT = re.compile(r"/(etc|var)/|/usr/share/(doc|man|locale|info|zoneinfo|lintian)/|/\.$")


def install(cluster: Cluster) -> None:
    """Have the module `MODULE` provide Apptainer on every node."""
    target = cluster.directory / "home" / "appli" / "apptainer"
    if not target.exists():
        _unpack(target, f"{APPLI}/apptainer")
    modules = cluster.directory / "etc" / "environment-modules" / "modules"
    (modules / MODULE).parent.mkdir(exist_ok=True)
    (modules / MODULE).write_text(f"#%Module\nprepend-path PATH {APPLI}/apptainer/usr/bin\n")
    _open_to_all(target, (modules / MODULE).parent)


def _unpack(target: Path, inside: str) -> None:
    """Each program gets the loader and the libraries of its own suite."""
    with tempfile.TemporaryDirectory() as scratch, suite.opened("sid", Path(scratch)) as sid:
        part = Path(scratch, "part")
        for package in sid.fetch("apptainer", "patchelf"):
            _run("dpkg", "--extract", package, part)
        libraries = part / _LIBRARIES
        loader = libraries / "ld-linux-x86-64.so.2"
        patchelf = (loader, "--library-path", libraries, part / "usr" / "bin" / "patchelf")
        final = f"{inside}/{_LIBRARIES}"
        for name in _PROGRAMS:
            settled = ("--set-interpreter", f"{final}/{loader.name}", "--force-rpath")
            _run(*patchelf, *settled, "--set-rpath", final, part / name)
        # It looks for its configuration beside itself.
        for folder, up in (("usr", ".."), ("usr/lib", "../.."), (_LIBRARIES, "../../..")):
            (part / folder / "etc").symlink_to(f"{up}/etc")
            (part / folder / "var/lib/apptainer/mnt/session").mkdir(parents=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(part, target)


def make_root(cluster: Cluster, environment: str) -> None:
    """A folder as image: this machine's Python, and the training environment on its PATH."""
    root = cluster.directory / IMAGE.lstrip("/")
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in (
        "proc",
        "sys",
        "dev",
        "tmp",
        "var/tmp",
        "root",
        "home",
        "etc",
        ".singularity.d/env",
    ):
        (root / name).mkdir(parents=True)
    _copy(root)
    (root / "usr" / "bin" / "sh").unlink(missing_ok=True)
    (root / "usr" / "bin" / "sh").symlink_to("bash")
    for name in ("passwd", "group", "hosts", "resolv.conf", "localtime"):
        (root / "etc" / name).touch()
    (root / MARK.lstrip("/")).touch()
    path = f"export PATH={environment}/bin:/usr/bin WANDB_MODE=of-the-image\n"
    (root / ".singularity.d" / "env" / "90-environment.sh").write_text(path)
    _open_to_all(root)


def _copy(root: Path) -> None:
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    options = [f"--no-{kind}" for kind in kinds]
    listed = _run("apt-cache", "depends", "--recurse", "--installed", *options, *_WANTED)
    packages = re.findall(r"^[a-z0-9][\w.+-]*$", listed, re.MULTILINE)
    files = _run("dpkg", "-L", *packages, check=False).splitlines()
    with tempfile.TemporaryFile() as scratch:
        with tarfile.open(fileobj=scratch, mode="w") as tar:
            for name in dict.fromkeys(files):
                path = Path(name)
                if name.startswith("/") and not _LEFT_OUT.search(name) and path.exists():
                    real = path.parent.resolve() / path.name  # /bin may be a link, and is one there
                    if not path.is_dir() or path.is_symlink():
                        tar.add(real, arcname=str(real), recursive=False)
        scratch.seek(0)
        with tarfile.open(fileobj=scratch) as tar:
            tar.extractall(root, filter="tar")


def _open_to_all(*folders: Path) -> None:
    for folder in folders:
        _run("chmod", "-R", "go+rX", folder)


def _run(*command: str | Path, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=check)
    return done.stdout
