"""No pattern of the code looks again and again at a text: its time grows with the text, not with
its square. Lines of logs, values and Slurm's answers may be a megabyte, of whatever is repeated."""

from __future__ import annotations

import ast
import gc
import importlib
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import words
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, known, profile
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_options import words_of

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [path for folder in ("plugins", "mnrun", "roles/*/files")
           for path in sorted(ROOT.glob(f"{folder}/**/*.py"))
           if path.stem not in ("__main__", "__init__")]  # fmt: skip
METHODS = ("search", "match", "fullmatch", "sub", "split", "findall", "finditer")
LENGTH = 24_000  # characters; a square of it are seconds
LIMIT = 0.2  # seconds of CPU; one look takes less than a twentieth of it
PIECES = ("a", "1", " ", "_", "-", "[", "(", ":", "=", "/", "\\", "'", "*", "\x1b", "\x9b", "a.",
          "1,", "a:", "a=", "1 ", "-a", "[1", "\r")  # fmt: skip
TAILS = ("", " \n!")  # so that what began does not end


def names_of(path: Path, tree: ast.Module) -> dict[str, object]:
    """The names of a module: of a program for jobs, which may need torch, only its patterns."""
    inside = path.relative_to(ROOT).with_suffix("").parts
    if inside[0] == "plugins":
        inside = ("ansible_collections.mnrun.train", *inside)
    if inside[0] != "roles":
        return vars(importlib.import_module(".".join(inside)))
    names: dict[str, object] = {"re": re}
    for node in tree.body:
        if isinstance(node, ast.Assign) and "re.compile" in ast.unparse(node.value):
            exec(ast.unparse(node), names)  # noqa: S102 - our own source
    return names


def compiled(value: object) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, dict):
        yield from (pattern for item in value.values() for pattern in compiled(item))
    elif isinstance(value, (tuple, list, set, frozenset)):
        yield from (pattern for item in value for pattern in compiled(item))


def tree_of(path: Path) -> ast.Module:
    """An empty one for a file that uses no pattern: most of them, and trees take the time."""
    text = path.read_text(encoding="utf-8")
    return ast.parse(text if any(f".{word}" in text for word in (*METHODS, "compile")) else "")


def calls(tree: ast.Module) -> list[ast.Attribute | ast.Call]:
    """What may use a pattern: each tree is searched once, as that is what takes the time."""
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Call))]


def used(nodes: Iterable[ast.AST]) -> dict[str, set[str]]:
    """The methods with which each name is used: `_ID.match(…)`, `filter(_ID.match, …)`."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            owner = node.value.value if isinstance(node.value, ast.Subscript) else node.value
            if isinstance(owner, ast.Name):
                found.setdefault(owner.id, set()).add(node.attr)
    return found


def in_place(
    nodes: Iterable[ast.AST], names: dict[str, object]
) -> Iterator[tuple[str, re.Pattern[str]]]:
    """The patterns in calls such as `re.search("a+", text)`; those in a local name too."""
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, method = node.func.value, node.func.attr
        if isinstance(owner, ast.Name) and owner.id == "re" and method in METHODS:
            code = compile(ast.Expression(node.args[0]), "pattern", "eval")
            try:
                text = eval(code, dict(names))  # noqa: S307 - our own source
            except NameError:  # it is made of what a function gets
                continue
            if isinstance(text, str):
                yield method, re.compile(text)


def patterns() -> dict[tuple[str, int], tuple[str, set[str], re.Pattern[str]]]:
    """Every pattern of the code: where it is, how it is used."""
    trees: dict[Path, ast.Module] = {path: tree_of(path) for path in SOURCES}
    nodes = {path: calls(tree) for path, tree in trees.items()}
    own = {path: used(each) for path, each in nodes.items()}
    ways: dict[str, set[str]] = {}
    for each in own.values():
        for name, methods in each.items():
            ways.setdefault(name, set()).update(methods)
    found: dict[tuple[str, int], tuple[str, set[str], re.Pattern[str]]] = {}

    def add(where: str, methods: set[str], pattern: re.Pattern[str]) -> None:
        known = found.setdefault((pattern.pattern, pattern.flags), (where, set(), pattern))
        known[1].update(methods)

    for path, tree in trees.items():
        names = names_of(path, tree)
        place = str(path.relative_to(ROOT))
        for name, value in names.items():
            known = own[path] if name.startswith("_") else ways
            for pattern in compiled(value):
                add(f"{place}: {name}", known.get(name, {"search"}), pattern)
        for method, pattern in in_place(nodes[path], names):
            add(place, {method}, pattern)
    for place, pattern in of_profiles():
        add(place, {"match", "fullmatch"}, pattern)
    return found


def of_profiles() -> Iterator[tuple[str, re.Pattern[str]]]:
    """The patterns of lines in the trainers' profiles, those of the examples too."""
    folders = [SHIPPED, ROOT / "docs/examples/trainers"]
    for name in known(folders):
        whole = profile(name, folders)
        for stage in ("sft", "ppo"):
            for found in compiled(words(words_of(whole[stage])) if stage in whole else ()):
                yield f"{name}.yml: {stage}", found


def of_its_own(pattern: str) -> set[str]:
    """Words of a pattern, which bring it to begin again and again."""
    return {word for word in re.split(r"[^\w :=/@,'\"-]+|\\.", pattern) if len(word) > 1}


class _LateError(Exception):
    pass


@pytest.fixture
def bounded() -> Iterator[None]:
    def late(_number: int, _frame: object) -> None:
        raise _LateError

    before = signal.signal(signal.SIGVTALRM, late)
    gc.disable()  # in a process that has run many tests it takes longer than a pattern
    yield
    gc.enable()
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def is_linear(pattern: re.Pattern[str], method: str, text: str) -> bool:
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        if method == "sub":
            pattern.sub("", text)
        elif method == "finditer":
            list(pattern.finditer(text))
        else:
            getattr(pattern, method)(text)
    except _LateError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return True


# One test, so that one worker of those side by side looks for the patterns.
@pytest.mark.usefixtures("bounded")
def test_a_pattern_looks_at_a_text_once() -> None:
    found = patterns()
    assert len(found) > 150
    assert "mnrun.variables" in sys.modules
    slow = [
        (where, method, piece, tail)
        for where, methods, pattern in found.values()
        for method in methods
        for piece in {*PIECES, *of_its_own(pattern.pattern)}
        for tail in TAILS
        if not is_linear(pattern, method, (piece * (LENGTH // len(piece) + 1))[:LENGTH] + tail)
    ]
    assert slow == []
