"""Runs a module with what Python compiled of it before.

Ansible sends a module with all that it imports, as source text, and Python compiles it for each
task: half of what a short module takes. plugin_utils/packs.py puts this file in front of Ansible's
own start, so that the compiled code is kept in the user's cache, in a file for each text. Where it
cannot be kept, the module runs as Ansible sent it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import marshal
import os
import stat
import sys
import tempfile
import zipfile
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

FOLDER = "~/.cache/mnrun/modules"
MOST = 32
"""Files of a host; the oldest go first. A dozen modules are in use, 0.5 to 1.2 MB each."""

Modules = Dict[str, Tuple[bool, str, CodeType]]
"""By name: whether it is a package, its file in the pack, its code."""

_SEAL = hashlib.sha256().digest_size
_KEY = 2 * _SEAL
"""Hexadecimal digits with which the name of each file begins."""
_NEW = ".new-"
_FAULTS = (OSError, EOFError, ValueError, TypeError, SyntaxError, RuntimeError, zipfile.BadZipFile)


class Finder:
    """Imports modules from compiled code."""

    def __init__(self, modules: Modules, packed: bytes) -> None:
        self.modules, self._packed = modules, packed

    def find_spec(self, name: str, *_more: Any) -> ModuleSpec | None:
        """How to import a module; None if it is not among these."""
        if name not in self.modules:
            return None
        is_package, file, _code = self.modules[name]
        spec = ModuleSpec(name, cast("Loader", self), origin=file, is_package=is_package)
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of a module in it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - that is an import

    def get_code(self, name: str) -> CodeType:
        """The compiled code of a module."""
        return self.modules[name][2]

    def get_source(self, name: str) -> str:
        """The text of a module, for those who look into themselves, and for tracebacks."""
        with zipfile.ZipFile(io.BytesIO(self._packed)) as texts:
            return texts.read(self.modules[name][1]).decode()


def run_compiled(main: Callable[..., None], zip_data: str, **more: Any) -> None:
    """Call Ansible's `main`, with the modules of `zip_data` compiled."""
    if len(sys.argv) < 2:  # else somebody looks for a fault, with Ansible's own commands
        with suppress(*_FAULTS):  # Ansible's own importer meets the same, and says what it is
            packed = base64.b64decode(zip_data)
            sys.meta_path.insert(0, cast("Any", Finder(_modules(packed), packed)))
    main(zip_data=zip_data, **more)


def _modules(packed: bytes) -> Modules:
    text = MAGIC_NUMBER + bytes([sys.flags.optimize]) + packed
    path = Path(FOLDER).expanduser() / hashlib.sha256(text).hexdigest()
    content = load(path)
    if content is not None:
        kept: Modules = marshal.loads(content)  # noqa: S302 - the user's own, sealed
        return kept
    modules = _compiled(packed)
    if not sys.dont_write_bytecode:
        store(path, marshal.dumps(modules), MOST)
    return modules


def _compiled(packed: bytes) -> Modules:
    modules: Modules = {}
    with zipfile.ZipFile(io.BytesIO(packed)) as texts:
        for file in texts.namelist():
            parts = file[: -len(".py")].split("/")
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            code = compile(texts.read(file), file, "exec", dont_inherit=True)
            modules[name] = (is_package, file, code)
    return modules


def load(path: Path) -> bytes | None:
    """What `store` put there; None if it is not whole, another file's, or not this user's alone."""
    try:
        # Of another kind of file, a pipe would keep its reader waiting.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            seen = os.fstat(handle)
            content = stream.read() if stat.S_ISREG(seen.st_mode) else b""
    except OSError:
        return None
    private = seen.st_uid == os.geteuid() and not seen.st_mode & 0o077
    seal, content = content[:_SEAL], content[_SEAL:]
    return content if private and _seal(path, content) == seal else None


def _seal(path: Path, content: bytes) -> bytes:
    """It holds for one name: a file in the place of another is not that."""
    return hashlib.sha256(os.fsencode(path.name) + b"\0" + content).digest()


def store(path: Path, content: bytes, most: int) -> None:
    """Keep something for `load`, if that is possible. Of what is kept in its folder, the newest
    `most` stay; the name begins with a digest."""
    part = None
    with suppress(OSError):
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_NEW, dir=str(path.parent))
        part = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(_seal(path, content) + content)
        part.replace(path)
        for old in sorted(filter(_is_kept, path.parent.iterdir()), key=_age)[:-most]:
            with suppress(OSError):  # one that stays does not keep the others
                old.unlink()
    with suppress(OSError):  # it is in its place
        if part is not None:
            part.unlink()


def _is_kept(path: Path) -> bool:
    """Whether `store` made a file, by its name: whatever else is there is not ours to delete."""
    key = path.name[:_KEY]
    digits = len(key) == _KEY and not key.strip("0123456789abcdef")
    return digits or key.startswith(_NEW)


def _age(path: Path) -> float:
    return path.lstat().st_mtime
