"""A trainer's composed configuration is kept until something that it follows from changes."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer import composed as module
from ansible_collections.mnrun.train.plugins.module_utils.trainer.composed import (
    FOLDER,
    NotComposed,
    composed,
)


class Hydra:
    """Stands for Hydra: what it composes says how often it was asked before."""

    def __init__(self) -> None:
        self.asked, self.version, self.more = 0, "1.3.8", ""

    def compose(self, folder: Path, name: str, overrides: list[str]) -> Any:
        self.asked += 1
        if "wrong=1" in overrides:
            raise NotComposed("no wrong")
        return {"count": self.asked, "more": self.more}

    def version_of(self, package: str) -> str:
        if not self.version:
            raise metadata.PackageNotFoundError(package)
        return self.version


@pytest.fixture
def hydra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hydra:
    one = Hydra()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "_compose", one.compose)
    monkeypatch.setattr(metadata, "version", one.version_of)
    return one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config" / "actor").mkdir(parents=True)
    (tmp_path / "config" / "actor" / "a.yaml").write_text("a: 1\n")
    return tmp_path / "config"


def kept() -> list[Path]:
    place = Path(FOLDER).expanduser()
    return sorted(place.iterdir()) if place.exists() else []


def test_it_is_composed_once(hydra: Hydra, folder: Path) -> None:
    first = composed(folder, "sft", ["a=1"])
    assert composed(folder, "sft", ["a=1"]) == first
    assert hydra.asked == 1
    assert [path.stat().st_mode & 0o777 for path in kept()] == [0o600]


def test_other_options_and_another_name_are_something_else(hydra: Hydra, folder: Path) -> None:
    found = [composed(folder, name, o) for name, o in (("a", []), ("b", []), ("a", ["a=1"]))]
    assert [one["count"] for one in found] == [1, 2, 3]


def changed(folder: Path, _hydra: Hydra) -> None:
    (folder / "actor" / "a.yaml").write_text("a: 2\n")


def more(folder: Path, _hydra: Hydra) -> None:
    (folder / "actor" / "b.yaml").write_text("")


def newer(_folder: Path, hydra: Hydra) -> None:
    hydra.version = "1.4.0"


def unknown(_folder: Path, hydra: Hydra) -> None:
    hydra.version = ""


def damaged(_folder: Path, _hydra: Hydra) -> None:
    (file,) = kept()
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("happens", [changed, more, newer, unknown, damaged])
def test_it_is_composed_again_after(happens: Any, hydra: Hydra, folder: Path) -> None:
    composed(folder, "sft", [])
    happens(folder, hydra)
    assert composed(folder, "sft", [])["count"] == 2


@pytest.mark.parametrize(
    ("override", "more"),
    [("a=1", "${now:%Y}"), ("hydra.searchpath=[/x]", ""), ("a=${hydra:job.name}", "")],
)
def test_what_hydra_alone_can_work_out_is_not_kept(
    override: str, more: str, hydra: Hydra, folder: Path
) -> None:
    hydra.more = more
    composed(folder, "sft", [override])
    assert kept() == []


def test_what_anyone_can_work_out_is(hydra: Hydra, folder: Path) -> None:
    hydra.more = "${oc.env:HOME} ${trainer.n}"
    composed(folder, "sft", [])
    assert len(kept()) == 1


def test_what_is_refused_is_refused_again(hydra: Hydra, folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(NotComposed, match="no wrong"):
            composed(folder, "sft", ["wrong=1"])
    assert (hydra.asked, kept()) == (2, [])


@pytest.mark.parametrize(
    "text",
    [
        "hydra:\n  searchpath: [file:///elsewhere]\n",
        "defaults:\n  - _self_\n\n  # which\n  - actor: ${oc.env:WHICH}\n",
    ],
)
def test_what_has_parts_from_elsewhere_is_composed_each_time(
    hydra: Hydra, folder: Path, text: str
) -> None:
    (folder / "actor" / "a.yaml").write_text(text)
    composed(folder, "sft", [])
    composed(folder, "sft", [])
    assert (hydra.asked, kept()) == (2, [])


def test_a_choice_within_the_configuration_and_values_are_kept(hydra: Hydra, folder: Path) -> None:
    text = "defaults:\n  - actor: ${engine}_actor\npath: ${oc.env:HOME}\n"
    (folder / "actor" / "a.yaml").write_text(text)
    composed(folder, "sft", [])
    composed(folder, "sft", [])
    assert hydra.asked == 1
