"""Templates are compiled once, and a site's own are never written to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible._internal._datatag._tags import Origin
from ansible._internal._templating import _jinja_bits
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible.errors import AnsibleTemplateSyntaxError
from ansible.template import trust_as_template
from ansible_collections.mnrun.train.plugins.plugin_utils import templates
from ansible_collections.mnrun.train.plugins.plugin_utils.templates import Codes, Memory

OURS = Origin(path=str(Path(__file__).parents[3] / "roles" / "sft" / "vars" / "main.yml"))
THEIRS = Origin(path="/home/me/site/group_vars/all.yml")
IN_A_CHECKOUT = Origin(path=str(Path(__file__).parents[3] / "inventory/mine/group_vars/all.yml"))
Context = _jinja_bits._TemplateCompileContext


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "templates" / "state"


class Process:
    """A process that has the file at `path`, and what it compiled."""

    def __init__(self, path: Path) -> None:
        generated: list[object] = []

        class Own(_jinja_bits.AnsibleEnvironment):
            def _generate(self, *source: Any, **more: Any) -> Any:
                generated.append(source[0])
                return super()._generate(*source, **more)

        Memory(Codes(path), Own, Origin.get_tag, Context.current).take_over()
        self.engine = TemplateEngine(variables={"a": [3, 1]})
        self.engine._environment, self.generated = Own(), generated

    def value(self, text: str, origin: Origin = OURS, escape: bool = True) -> Any:
        options = TemplateOptions(escape_backslashes=escape)
        return self.engine.template(trust_as_template(origin.tag(text)), options=options)

    def holds(self, text: str) -> Any:
        """What an expression comes to."""
        return self.engine.evaluate_expression(trust_as_template(OURS.tag(text)))


def test_a_text_of_the_collection_is_compiled_once_for_all_processes(path: Path) -> None:
    running = Process(path)
    for process in (Process(path), Process(path), running):
        assert [process.value("{{ a | max }} of {{ a }}"), process.holds("a is defined")] == [
            "3 of [3, 1]",
            True,
        ]
    assert running.generated == [], "it was there before the others compiled them"
    assert [path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777] == [0o700, 0o600]


@pytest.mark.parametrize("origin", [THEIRS, IN_A_CHECKOUT, Origin(description="given with -e")])
def test_a_text_of_a_site_stays_in_memory(path: Path, origin: Origin) -> None:
    process = Process(path)
    for _ in range(2):
        assert process.value("hunter2{{ a[0] }}", origin) == "hunter23"
    assert len(process.generated) == 1
    assert not path.exists()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"root", b"ROOT"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def readable(path: Path) -> None:
    path.chmod(0o644)


def link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("else")))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [damage, cut, readable, link, folder])
def test_a_file_that_cannot_be_trusted_is_not_used(
    path: Path, harm: Callable[[Path], None]
) -> None:
    Process(path).value("{{ a | max }}")
    harm(path)
    process = Process(path)
    assert process.value("{{ a | max }}") == 3
    assert len(process.generated) == 1
    Process(path).value("{{ a | max }}")
    again = Process(path)
    assert again.value("{{ a | max }}") == 3
    assert again.generated == [] or harm in (readable, link, folder)


def test_the_same_text_means_another_thing_with_other_settings(path: Path) -> None:
    text = r"{{ 'x\n' | length }}"
    seen = [Process(path).value(text, escape=each) for each in (True, False, True)]
    assert seen == [3, 2, 3]
    process = Process(path)
    before = process.value("{% if a %}\ny{% endif %}")
    process.engine.environment.trim_blocks = False
    assert [before, process.value("{% if a %}\ny{% endif %}")] == ["y", "\ny"]


def test_a_filter_that_takes_the_context_now_is_called_with_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path)
    process.value("{{ a | max }}")
    passed = {"max": "_PassArg.context"}
    monkeypatch.setattr(templates, "_passed", lambda _env, _kind, name: passed.get(name, "None"))
    process.value("{{ a | max }}")
    assert len(process.generated) == 2


def test_a_fault_is_reported_as_by_ansible_alone_and_not_kept(path: Path) -> None:
    process = Process(path)
    for _ in range(2):
        with pytest.raises(AnsibleTemplateSyntaxError, match="Syntax error"):
            process.value("{{ a b }}")
        with pytest.raises(AnsibleTemplateSyntaxError, match="Syntax error"):
            process.holds("a b")
    assert not path.exists()


def test_the_folder_does_not_grow_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_MOST_BYTES", 3000)
    path.parent.mkdir(parents=True)
    for number in range(20):
        path.with_name(f"old-{number}").touch()
    sizes = []
    for number in range(20):
        Process(path).value(f"{{{{ {number} }}}}")
        sizes.append(path.stat().st_size if path.exists() else 0)
    assert 3000 < max(sizes) < 6000
    assert sizes.count(0) > 1
    assert len(list(path.parent.iterdir())) <= 9


def test_an_ansible_with_other_internals_compiles_on_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates.install.cache_clear()
    environment = _jinja_bits.AnsibleEnvironment
    before = environment.compile
    monkeypatch.delattr(_jinja_bits, "_TemplateCompileContext")
    assert templates.install() is None
    monkeypatch.setitem(sys.modules, "ansible._internal._templating._jinja_bits", None)
    templates.install.cache_clear()
    assert templates.install() is None
    templates.preload()
    assert environment.compile is before
    templates.install.cache_clear()


def test_without_a_home_folder_ansible_compiles_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "FOLDER", "~nobody-of-that-name/templates")
    templates.install.cache_clear()
    assert templates.install() is None
    templates.install.cache_clear()
