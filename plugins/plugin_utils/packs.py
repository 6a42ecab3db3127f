"""Modules of this collection, packed once and compiled once.

In each command, Ansible packs a module with all that it imports again: it parses every file for its
imports, 0.3 to 0.5 s of processor time for each module. The packs stay in the user's cache, and
the hosts keep what Python compiled of them (module_utils/base/compiled.py).
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ansible
from ansible import constants
from ansible.plugins.loader import module_utils_loader
from ansible.release import __version__

from ..module_utils.base import compiled

_OURS = "mnrun.train."
_INSIDE = "ansible_collections.mnrun.train.plugins.modules."
_START = b'if __name__ == "__main__":\n    _ansiballz_main('
_OUR_START = b'if __name__ == "__main__":\n    run_compiled(_ansiballz_main,'
_MOST = 96
"""Packs that are kept, 0.2 to 0.4 MB each: of a dozen modules, in a few checkouts and versions."""
_PLUGINS = Path(__file__).parents[1]


def with_compiled(sent: bytes) -> bytes:
    """What Ansible would send to a host, with `compiled.py` in front of its start."""
    before, start, arguments = sent.partition(_START)
    if not start:
        return sent
    return b"".join([before, _program(), b"\n\n", _OUR_START, arguments])


@functools.cache
def _program() -> bytes:
    text = Path(compiled.__file__).read_bytes()
    return text.replace(b"from __future__ import annotations\n", b"")  # Ansible's text begins so


@contextmanager
def kept(module: str) -> Iterator[None]:
    """Inside, Ansible finds the pack of one of our modules if it was made before."""
    state = _state() if module.startswith(_OURS) else ""
    if not state:
        yield
        return
    name = _INSIDE + module[len(_OURS) :]
    folder = Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
    cache = Path("~/.cache/mnrun/packs").expanduser()
    ending = f"-{constants.DEFAULT_MODULE_COMPRESSION}-none"  # without a debugger or coverage
    pack, ours = folder / f"{name}{ending}", cache / f"{state}-{name}{ending}"
    known = pack.exists()
    if not known and (content := compiled.load(ours)) is not None:
        folder.mkdir(exist_ok=True)
        pack.write_bytes(content)
        known = True
    yield
    if not known and pack.exists():
        compiled.store(ours, pack.read_bytes(), _MOST)


@functools.cache
def _state() -> str:
    """A digest of all that a pack is made of; empty if someone replaces parts of Ansible."""
    own = Path(ansible.__file__).parent
    places = map(Path, module_utils_loader._get_paths(subdirs=False))
    if any(place.is_dir() and place != own / "module_utils" for place in places):
        return ""
    digest = hashlib.sha256(repr((__version__, sys.version, str(own))).encode())
    files = [own / "release.py", own / "module_utils" / "basic.py"]
    for folder in ("modules", "module_utils"):
        files += sorted((_PLUGINS / folder).rglob("*.py"))
    for path in files:
        seen = path.stat()
        # The time of the last change of the inode: an installer may set the other one.
        digest.update(repr((str(path), seen.st_size, seen.st_ino, seen.st_ctime_ns)).encode())
    return digest.hexdigest()
