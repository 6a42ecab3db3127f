"""Templates of this collection, compiled once.

Ansible compiles a template each time that it reads it, and each task in a process of its own: 1,200
times for 490 texts in a `mnrun all`, a third of its processor time. What Jinja made of the texts
stays in memory, and of those that stand in the collection's own files also in the user's cache.
Texts of a site may hold secrets; they are never written.

Ansible has no public interface for this. Where its internals are not as expected here, it compiles
each template as it would without mnrun.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import jinja2
from ansible.errors import AnsibleError
from ansible.plugins.loader import filter_loader, lookup_loader, test_loader
from ansible.release import __version__
from jinja2 import nodes
from jinja2.environment import TemplateExpression

FOLDER = "~/.cache/mnrun/templates"
_MOST_FILES = 8
_MOST_BYTES = 8_000_000
"""Of a file. The collection's texts make 1.5 MB; more than that is of versions that are gone."""
_MOST_CODES = 4_000
_SEAL = hashlib.sha256().digest_size
_HEAD = _SEAL + 4
_FAULTS = (OSError, EOFError, ValueError, TypeError, RuntimeError)
_COLLECTION = f"{Path(__file__).parents[2]}{os.sep}"
_ROOMS = tuple(f"{Path(_COLLECTION).resolve() / name}{os.sep}" for name in ("playbooks", "roles"))
"""Where its own texts are. A checkout also has inventories, which are a site's."""
_SETTINGS = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix"),
    *("line_comment_prefix", "trim_blocks", "lstrip_blocks", "newline_sequence"),
    *("keep_trailing_newline", "optimized", "autoescape", "is_async"),
)

Plugin = tuple[str, str, str]
"""A filter or test that a template calls: the kind, its name, what Jinja passes to it first."""


class Compiled(NamedTuple):
    """What Jinja made of a text."""

    plugins: tuple[Plugin, ...]
    code: CodeType


class Codes:
    """Compiled texts by their keys, in memory and in a file to which processes append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._codes: dict[bytes, Compiled] = {}

    def get(self, key: bytes) -> Compiled | None:
        """What is known of a text, perhaps since another process compiled it."""
        if key not in self._codes:
            self._read_on()
        return self._codes.get(key)

    def add(self, key: bytes, compiled: Compiled, keep: bool) -> None:
        """Remember what became of a text; `keep` it for other processes too."""
        if len(self._codes) < _MOST_CODES:
            self._codes[key] = compiled
        if keep:
            with suppress(*_FAULTS):
                self._append(marshal.dumps((key, *compiled)))

    def plugins(self) -> set[tuple[str, str]]:
        """The kind and name of all filters and tests that the known texts call."""
        self._read_on()
        return {(kind, name) for one in self._codes.values() for kind, name, _first in one.plugins}

    def _read_on(self) -> None:
        with suppress(*_FAULTS), os.fdopen(_opened(self.path, os.O_RDONLY), "rb") as stream:
            stream.seek(self._read)
            for entry in _entries(stream.read(), self.path):
                self._read += _HEAD + len(entry)
                key, *compiled = marshal.loads(entry)  # noqa: S302 - the user's own, sealed
                self._codes.setdefault(key, Compiled(*compiled))

    def _append(self, content: bytes) -> None:
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        file = _opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            if os.fstat(file).st_size == 0:
                _remove_old(self.path.parent)
            elif os.fstat(file).st_size > _MOST_BYTES:
                self.path.unlink()
            length = len(content).to_bytes(4, "big")
            os.write(file, hashlib.sha256(length + content).digest() + length + content)
        finally:
            os.close(file)


def _opened(path: Path, flags: int) -> int:
    """A file of this user alone. OSError if it cannot be opened, ValueError if it is not that."""
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    seen = os.fstat(file)
    if stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o077:
        return file
    os.close(file)
    raise ValueError(f"{path} is not this user's alone")


def _entries(content: bytes, path: Path) -> Iterator[bytes]:
    """The whole ones. After one that is damaged no entry can be found: the file is removed."""
    while len(content) > _HEAD:
        seal, length = content[:_SEAL], content[_SEAL:_HEAD]
        end = _HEAD + int.from_bytes(length, "big")
        if end > len(content):  # it is being written
            return
        if hashlib.sha256(content[_SEAL:end]).digest() != seal:
            path.unlink()
            return
        yield content[_HEAD:end]
        content = content[end:]


def _remove_old(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in files[:-_MOST_FILES]:
        path.unlink()


@functools.cache
def install() -> Codes | None:
    """Let Ansible's templates be compiled once, in this process and those that it forks."""
    with suppress(ImportError, AttributeError, *_FAULTS):  # also without a home
        from ansible._internal._datatag._tags import Origin  # noqa: PLC0415 - may not be there
        from ansible._internal._templating import _jinja_bits  # noqa: PLC0415 - likewise

        environment, codes = _jinja_bits.AnsibleEnvironment, Codes(_path())
        escapes = _jinja_bits._TemplateCompileContext.current
        Memory(codes, environment, Origin.get_tag, escapes).take_over()
        return codes
    return None


def preload() -> None:
    """Load what most tasks need, before Ansible forks a process for each of them."""
    codes = install()
    loaders = {"filters": filter_loader, "tests": test_loader}
    for kind, name in codes.plugins() if codes else ():
        with suppress(AnsibleError, KeyError):  # it was removed: templates that need it fail
            loaders[kind].get(name)
    for path in (Path(_COLLECTION) / "plugins" / "lookup").glob("*.py"):
        lookup_loader.get(f"mnrun.train.{path.stem}")


def _path() -> Path:
    bits = sys.modules["ansible._internal._templating._jinja_bits"].__file__ or ""
    seen = Path(bits).stat()
    versions = (__version__, jinja2.__version__, sys.version, sys.flags.optimize, _SETTINGS)
    text = repr((versions, bits, seen.st_size, seen.st_ctime_ns, _COLLECTION))
    return Path(FOLDER).expanduser() / hashlib.sha256(MAGIC_NUMBER + text.encode()).hexdigest()


class Memory:
    """Takes the place of the two methods with which Ansible's environment compiles."""

    def __init__(
        self, codes: Codes, environment: Any, origin: Callable[[str], Any], context: Any
    ) -> None:
        self.codes, self._class = codes, environment
        self._origin, self._context = origin, context
        self._compile = environment.compile
        self._compile_expression = environment.compile_expression
        self._expression: str | None = None  # whose nodes are being compiled

    def take_over(self) -> None:
        """Install both."""

        @functools.wraps(self._compile)
        def compiled(environment: Any, source: Any, *names: Any, **more: Any) -> Any:
            text = source if isinstance(source, str) else self._expression
            if names or more or text is None or not self._knows(environment):
                return self._compile(environment, source, *names, **more)
            return self._code(environment, text, source)

        @functools.wraps(self._compile_expression)
        def expression(environment: Any, source: str, *more: Any) -> Any:
            if len(more) != 1 or not self._knows(environment):
                return self._compile_expression(environment, source, *more)
            known = self._known(environment, self._key(environment, source, expression=True))
            if known is None:
                self._expression = source
                try:
                    return self._compile_expression(environment, source, *more)
                finally:
                    self._expression = None
            template = environment.template_class.from_code(
                environment, known, environment.make_globals(None), None
            )
            return TemplateExpression(template, *more)

        self._class.compile = compiled
        self._class.compile_expression = expression

    def _knows(self, environment: Any) -> bool:
        return type(environment) is self._class and not environment._debuggable_template_source

    def _code(self, environment: Any, text: str, source: Any) -> CodeType:
        is_expression = not isinstance(source, str)
        key = self._key(environment, text, is_expression)
        known = self._known(environment, key)
        if known is not None:
            return known
        code: CodeType = self._compile(environment, source)
        tree = source if is_expression else environment._parse(source, None, None)
        self.codes.add(key, Compiled(_called(environment, tree), code), self._is_ours(text))
        return code

    def _known(self, environment: Any, key: bytes) -> CodeType | None:
        """If the code fits the filters and tests that there are now."""
        known = self.codes.get(key)
        if known and all(
            _passed(environment, kind, name) == first for kind, name, first in known.plugins
        ):
            return known.code
        return None

    def _key(self, environment: Any, text: str, expression: bool) -> bytes:
        context = self._context(optional=True)
        settings = [getattr(environment, name) for name in _SETTINGS]
        extensions = sorted(environment.extensions)
        whole = (expression, bool(context and context.escape_backslashes), settings, extensions)
        return hashlib.sha256(f"{whole!r}\n{text}".encode("utf-8", "surrogatepass")).digest()

    def _is_ours(self, text: str) -> bool:
        origin = self._origin(text)
        path = os.path.realpath(origin.path) if origin and origin.path else ""
        return path.startswith(_ROOMS)


def _called(environment: Any, tree: nodes.Template) -> tuple[Plugin, ...]:
    found = {("filters", one.name) for one in tree.find_all(nodes.Filter)}
    found |= {("tests", one.name) for one in tree.find_all(nodes.Test)}
    return tuple((kind, name, _passed(environment, kind, name)) for kind, name in sorted(found))


def _passed(environment: Any, kind: str, name: str) -> str:
    """What Jinja passes first to a filter or test, by which it writes the call."""
    try:
        return str(getattr(getattr(environment, kind)[name], "jinja_pass_arg", None))
    except KeyError:
        return "not there"
