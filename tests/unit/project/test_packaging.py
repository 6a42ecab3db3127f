"""What the tree must be to be a collection and a wheel, and to run on an old login node."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())
ON_OLD_PYTHONS = sorted(
    path.relative_to(ROOT)
    for folder in (
        "plugins/modules",
        "plugins/module_utils",
        "roles/ray_cluster/files",
        "roles/sft/files",
    )
    for path in (ROOT / folder).rglob("*.py")
)
GENERIC_SINCE_3_9 = {"dict", "frozenset", "list", "set", "tuple", "type"}


def test_the_link_that_makes_the_checkout_a_collection() -> None:
    link = ROOT / "collections/ansible_collections/mnrun/train"
    assert link.readlink() == Path("../../..")
    assert (link / "galaxy.yml").samefile(ROOT / "galaxy.yml")


def test_the_wheel_carries_every_folder_of_the_collection() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    ours = folders - set(GALAXY["build_ignore"]) - {"docs"}
    assert ours <= set(included)
    for source, target in included.items():
        assert (ROOT / source).exists()
        assert target == f"ansible_collections/mnrun/train/{source}"


def test_collection_and_wheel_want_the_same_ansible() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    (wanted,) = [name for name in PYPROJECT["project"]["dependencies"] if "ansible-core" in name]
    range_ = runtime["requires_ansible"]
    assert wanted == f"ansible-core {range_}"
    # What is told to somebody who has none, and what is installed to test the collection.
    for path in ("mnrun/runner.py", "tests/packaging/test_installed.py"):
        assert f"ansible-core{range_}" in (ROOT / path).read_text()


def test_the_docs_name_each_ansible_core_that_is_allowed() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    first, end = (int(minor) for minor in re.findall(r"2\.(\d+)\.0", runtime["requires_ansible"]))
    text = (ROOT / "docs/versions.md").read_text()
    named = re.findall(r"^\| (2\.\d+) +\|", text, re.MULTILINE)
    assert named == [f"2.{minor}" for minor in range(first, end)]


def test_the_tools_that_judge_the_tree_are_pinned() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    tools = {*extras["dev"], *extras["docs"]} - {"mnrun[docs]"}
    assert len(tools) > 10
    assert [tool for tool in tools if not re.fullmatch(r"[\w-]+ ==[\d.]+", tool)] == []


def test_the_change_log_knows_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased = text.partition("\n## [Unreleased]\n")[2].partition("\n##")[0]
    assert f"\n## [{GALAXY['version']}] - " in text or GALAXY["version"] in unreleased


def test_the_change_log_is_in_the_form_that_it_names() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "[Unreleased]"
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip
    assert [line for line in re.findall(r"^## (.*)$", text, re.MULTILINE)[1:]
            if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line)] == []  # fmt: skip


@pytest.mark.parametrize("path", ON_OLD_PYTHONS, ids=str)
def test_a_module_is_python_3_8(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(), feature_version=(3, 8))
    assert [f"line {node.lineno}: {ast.unparse(node)}" for node in generics_at_run_time(tree)] == []


def generics_at_run_time(tree: ast.Module) -> Iterator[ast.Subscript]:
    """Yield what 3.8 cannot subscript, outside annotations (they are never evaluated)."""
    modern = set(GENERIC_SINCE_3_9)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "collections.abc":
            modern |= {name.asname or name.name for name in node.names}
    nodes = list(ast.walk(tree))
    annotations = {id(part) for node in nodes for part in _annotation_parts(node)}
    for part in nodes:
        if isinstance(part, ast.Subscript) and id(part) not in annotations:
            value = part.value
            yield from [part] if isinstance(value, ast.Name) and value.id in modern else []


def _annotation_parts(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("annotation", "returns"):
        annotation = getattr(node, field, None)
        if annotation is not None:
            yield from ast.walk(annotation)


def test_generics_at_run_time_are_found() -> None:
    source = (
        "from collections.abc import Callable, Mapping as M\n"
        "def f(x: list[int]) -> dict[str, M[str, int]]: y: tuple[int] = (1,); x[0]\n"
        "Run = Callable[[list[str]], int]\n"
        "class A(M[str, int]): ...\n"
    )
    found = [ast.unparse(node) for node in generics_at_run_time(ast.parse(source))]
    assert sorted(found) == ["Callable[[list[str]], int]", "M[str, int]", "list[str]"]


IMPORT_ALL = """
import importlib, pathlib, sys, types

root = pathlib.Path(sys.argv[1])
sys.dont_write_bytecode = True
package = "ansible_collections.mnrun.train.plugins"
for end in range(1, 5):
    name = ".".join(package.split(".")[:end])
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(root / "plugins")] if end == 4 else []
for path in sorted((root / "plugins" / "module_utils").rglob("*.py")):
    parts = path.relative_to(root / "plugins").with_suffix("").parts
    try:
        importlib.import_module(".".join((package,) + parts))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ansible"):
            raise
"""


def test_module_utils_can_be_imported_by_a_real_3_8() -> None:
    candidates = [*Path("/usr/bin").glob("python3.8"), *Path("/usr/local/bin").glob("python3.8")]
    candidates += (Path.home() / ".pyenv/versions").glob("3.8.*/bin/python3.8")
    if not candidates:
        pytest.skip("no Python 3.8 here; the tests above and vermin stand in for it")
    command = [str(candidates[0]), "-c", IMPORT_ALL, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
