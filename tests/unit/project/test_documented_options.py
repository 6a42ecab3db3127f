"""What is documented is what is accepted: options of modules, defaults of roles."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PLUGINS = "ansible_collections.mnrun.train.plugins"
# The others are only the documentation of an action plugin.
MODULES = sorted(
    path.stem
    for path in (ROOT / "plugins" / "modules").glob("*.py")
    if "AnsibleModule(" in path.read_text()
)
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
_COMPARED = {
    "type": "str",
    "default": None,
    "required": False,
    "choices": None,
    "elements": None,
}


class Captured(BaseException):
    """What a module would have given to AnsibleModule."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec


def accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")

    def capture(*given: Any, **options: Any) -> None:
        raise Captured(given[0] if given else options["argument_spec"])

    monkeypatch.setattr(module, "AnsibleModule", capture)
    with pytest.raises(Captured) as captured:
        module.main()
    return captured.value.spec


def documented(name: str) -> dict[str, Any]:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    found = yaml.safe_load(module.DOCUMENTATION)
    options = dict(found.get("options") or {})
    fragments = found.get("extends_documentation_fragment", [])
    for fragment in [fragments] if isinstance(fragments, str) else fragments:
        file, _, part = fragment.removeprefix("mnrun.train.").partition(".")
        shared = importlib.import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
        text = getattr(shared, part.upper() or "DOCUMENTATION")
        options.update(yaml.safe_load(text).get("options") or {})
    return options


def differences(
    documents: Mapping[str, Any], spec: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    for name in sorted({*documents, *spec}):
        if name not in documents or name not in spec:
            yield f"{path}{name}: only {'documented' if name in documents else 'accepted'}"
            continue
        left, right = documents[name], spec[name]
        for key, unset in _COMPARED.items():
            stated, taken = left.get(key, unset), right.get(key, unset)
            if stated != taken:
                yield f"{path}{name}.{key}: documented {stated!r}, accepted {taken!r}"
        inner = left.get("suboptions") or {}, right.get("options") or {}
        yield from differences(*inner, path=f"{path}{name}.")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_accepts_what_it_documents(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(differences(documented(name), accepted(name, monkeypatch))) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_defaults_are_those_that_it_documents(role: str) -> None:
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    options: dict[str, Any] = {}
    for entry in specs["argument_specs"].values():
        options |= entry.get("options") or {}
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    defaults = yaml.safe_load(path.read_text()) if path.exists() else {}
    stated = {name: one["default"] for name, one in options.items() if "default" in one}
    # A default that is computed from other variables is documented in words.
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert {name for name in defaults if name not in options} == set()
    assert {name: stated.get(name) for name in plain} == plain
    own = {name: value for name, value in stated.items() if name.startswith(f"{role}_")}
    assert {name: defaults[name] for name in own if name in plain} == {
        name: value for name, value in own.items() if name in plain
    }
    assert set(own) - set(defaults) == set()
