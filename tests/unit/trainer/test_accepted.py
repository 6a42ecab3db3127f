"""What a plug-in adds to a trainer's own values is accepted, where the trainer loads plug-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.accepted import value_faults

ROLLOUT = "actor_rollout_ref.rollout.name"
LOADS = 'entry_points(group="verl.plugins")\n'


def faults(source: Path, value: str) -> list[str]:
    """Of a rollout by this name, where another one would be the default."""
    return value_faults(source, {ROLLOUT: value}.get, {ROLLOUT: None}.get)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A trainer that loads plug-ins and knows one rollout."""
    folder = tmp_path / "verl"
    folder.mkdir()
    (folder / "__init__.py").write_text(LOADS + '_REGISTRY = {("sglong", "async"): None}\n')
    return folder


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a plug-in, which brings the rollout `quill`."""
    place = tmp_path / "site-packages"
    for name, text in {
        "quills-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: quills\nVersion: 1\n",
        "quills-1.dist-info/entry_points.txt": "[verl.plugins]\nquills = quills.start:install\n",
        "quills/__init__.py": "",
        "quills/start.py": 'def install():\n    register("quill")\n',
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    monkeypatch.syspath_prepend(str(place))
    return place


def test_what_a_plug_in_adds_is_accepted(source: Path, plug_in: Path) -> None:
    assert faults(source, "quill") == []
    assert faults(source, "sglong") == []


def test_beside_a_plug_in_what_nothing_knows_is_refused(source: Path, plug_in: Path) -> None:
    assert "does not know; did you mean sglong?" in faults(source, "sglon")[0]


def test_without_the_plug_in_its_values_are_refused(source: Path) -> None:
    assert "is 'quill', which this trainer does not know" in faults(source, "quill")[0]


def test_a_trainer_that_loads_no_plug_ins_knows_only_its_own(source: Path, plug_in: Path) -> None:
    start = source / "__init__.py"
    start.write_text(start.read_text().replace(LOADS, ""))
    assert "is 'quill', which this trainer does not know" in faults(source, "quill")[0]
