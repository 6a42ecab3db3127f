"""What the controller brings along for a run that is handed over, as archives.

`installation()` is mnrun with the packages that it runs on, as they are installed here: their
Python only, so that they run on a host of another kind, without a network. `handover()` is what was
typed, with the site. Both are named by their content.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_COLLECTION = Path(__file__).resolve().parents[2]
_PARTS = ("ansible.cfg", "galaxy.yml", "inventory", "meta", "playbooks", "plugins", "profiles",
          "roles")  # fmt: skip
_IN_SITE = "site/ansible_collections/mnrun/train"
_NOT_PURE = (".so", ".pyd", ".dylib", ".pyc")
_NOT_NEEDED = ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED")
# Compiled, and used by Ansible only for encrypted variables.
_LEFT_OUT = ("cryptography",)
_OLDEST = re.compile(r">=\s*3\.(\d+)")

Content = Mapping[str, "Path | bytes"]


class BundleError(Exception):
    """It cannot be made here; the text says what to do."""


class Bundle(NamedTuple):
    """Files by their names in the archive."""

    name: str
    """Of its folder: the same for the same content."""
    archive: bytes
    digest: str
    """SHA-256 of the archive."""


def installation() -> tuple[Bundle, int]:
    """Give mnrun with its packages, and the oldest Python 3.N that they run on.

    Raises:
        BundleError: they are not installed here as pip does it.
    """
    found = [metadata.distribution(name) for name in sorted(_needed("ansible-core", "mnrun"))]
    content: dict[str, Path | bytes] = {}
    for each in found:
        content.update(_own_files() if each.name == "mnrun" else _files(each))
    limits = [
        _OLDEST.search(str(each.metadata.json.get("requires_python") or "")) for each in found
    ]
    version = metadata.version("mnrun")
    return pack(f"mnrun-{version}", content), max(int(one[1]) for one in limits if one)


def pack(prefix: str, content: Content) -> Bundle:
    """Give an archive of files. The same files give the same archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, source in sorted(content.items()):
            data = source if isinstance(source, bytes) else source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            runs = isinstance(source, Path) and source.stat().st_mode & 0o100
            entry.mode = 0o700 if runs else 0o600
            archive.addfile(entry, io.BytesIO(data))
    digest = hashlib.sha256(raw.getvalue()).hexdigest()
    return Bundle(f"{prefix}-{digest[:12]}", raw.getvalue(), digest)


def _needed(*names: str) -> set[str]:
    """The distributions that these need, and they themselves."""
    seen: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in seen or name in _LEFT_OUT:
            continue
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            raise BundleError(
                f"The Python package {name} is not installed beside Ansible. mnrun hands itself "
                "over as it is installed: pip install mnrun"
            ) from None
        seen.add(name)
        parsed = [Requirement(text) for text in wanted]
        left += [one.name for one in parsed if not one.marker or one.marker.evaluate()]
    return seen


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    if distribution.files is None:
        raise BundleError(
            f"It is not known which files the Python package {distribution.name} has here. Install "
            "mnrun with pip, into an environment of its own."
        )
    for path in distribution.files:
        outside = path.parts[0] == ".." or path.is_absolute()
        if not outside and path.suffix not in _NOT_PURE and path.name not in _NOT_NEEDED:
            yield f"site/{path.as_posix()}", Path(str(path.locate()))


def _own_files() -> Iterator[tuple[str, Path | bytes]]:
    """mnrun's, from a checkout as from a wheel."""
    found = util.find_spec("mnrun")
    if found is None or not found.origin:
        raise BundleError("The Python package mnrun is not installed beside Ansible.")
    package = Path(found.origin).parent
    yield from _below(package, "site/mnrun")
    for part in _PARTS:
        yield from _below(_COLLECTION / part, f"{_IN_SITE}/{part}")
    version = metadata.version("mnrun")
    about = f"Metadata-Version: 2.1\nName: mnrun\nVersion: {version}\n"
    yield f"site/mnrun-{version}.dist-info/METADATA", about.encode()


def _below(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The files in a folder, or the file itself, by their names in the archive."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        hidden = any(part == "__pycache__" for part in file.parts)
        if file.is_file() and not hidden and file.suffix not in _NOT_PURE:
            relative = file.relative_to(path)
            yield (f"{name}/{relative}" if file != path else name), file


def handover(words: Mapping[str, Any], host: str) -> Bundle:
    """Give what was typed and the site, whose login host is then reached locally.

    Args:
        words: `command` (its words, as JSON), `files` (name -> text, of values of -e) and
            `inventory` (path).
        host: name of the login host in the inventory.

    Raises:
        BundleError: the site cannot be taken along.
    """
    content: dict[str, Path | bytes] = {
        f"variables/{name}": str(text).encode() for name, text in words["files"].items()
    }
    content.update(_site(Path(words["inventory"]), host))
    content["words.json"] = str(words["command"]).encode()
    for name, source in content.items():
        data = source if isinstance(source, bytes) else source.read_bytes()
        if data.lstrip().startswith(b"$ANSIBLE_VAULT") or b"!vault" in data:
            raise BundleError(
                f"{source if isinstance(source, Path) else name} is encrypted, and no one will be "
                "there to enter its password. Keep secrets in files on the cluster instead."
            )
    return pack("handover", content)


def _site(path: Path, host: str) -> Iterator[tuple[str, Path | bytes]]:
    """An inventory's files, and variables of its login host that come last."""
    if path.is_dir():
        files = dict(_below(path, "site"))
    elif path.is_file():
        files = {"site/hosts" + path.suffix: path}
        for part in ("group_vars", "host_vars", "trainers"):
            if (path.parent / part).is_dir():
                files.update(_below(path.parent / part, f"site/{part}"))
    else:
        raise BundleError(
            f"The inventory {path} is neither a file nor a folder, and cannot be handed over."
        )
    for name, file in files.items():
        alone = re.fullmatch(rf"site/host_vars/{re.escape(host)}(\.ya?ml|\.json|)", name)
        yield (f"site/host_vars/{host}/00{alone[1] or '.yml'}" if alone else name), file
    yield f"site/host_vars/{host}/zz-relay.yml", yaml.safe_dump(_LOCAL).encode()


_LOCAL = {
    "ansible_connection": "local",
    # Of the machine where it was typed.
    "ansible_ssh_common_args": "",
    "ansible_ssh_extra_args": "",
    "ansible_ssh_private_key_file": "",
    "ansible_user": "",
    # Where jobs are submitted steps can be started; a key for ssh may only be on that machine.
    "ray_cluster_head_connection": "srun",
}
