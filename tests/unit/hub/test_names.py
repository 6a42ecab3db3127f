"""Names from the Hub and from manifests lead to nothing outside the folder that they belong to."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.manifests import ABOUT

ROOT = Path(__file__).parents[3]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program by its name, with what jobs carry beside it."""
    library = ("plugins/module_utils/base", "plugins/module_utils/model")
    for folder in ("roles/publish/files", "roles/fetch/files", *library):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    return importlib.import_module


def listed(*names: str) -> Any:
    files = [SimpleNamespace(path=name, blob_id="1", size=1, lfs=None) for name in names]
    return SimpleNamespace(list_repo_tree=lambda *_given, **_options: files)


@pytest.mark.parametrize("name", ["/abs", "../x", "a/../../x", "a\x1b]0;x\x07"])
def test_a_repository_with_such_a_name_is_refused_whole(program: Any, name: str) -> None:
    hub = program("hub")
    with pytest.raises(hub.HubError, match=r"team/m on the Hub cannot be used: .*Nothing was tran"):
        hub.listing(listed("config.json", name), "team/m", "main")
    assert set(hub.listing(listed("config.json", "a/b"), "team/m", "main")) == {
        "config.json",
        "a/b",
    }


def test_nothing_is_published_or_removed_through_a_link_of_the_target(
    program: Any, tmp_path: Path
) -> None:
    publish = program("publish")
    target, precious = tmp_path / "target", tmp_path / "precious"
    precious.mkdir()
    (precious / "old.bin").write_bytes(b"mine")
    target.mkdir()
    (target / "sub").symlink_to(precious)
    manifest = program("manifest")
    about = manifest.write(target, ABOUT)
    about["files"]["sub/old.bin"] = {"size": 4, "sha256": "0" * 64}
    (target / manifest.NAME).write_text(json.dumps(about))
    with pytest.raises(publish.HubError, match="leads through a link"):
        publish.to_folder({"target": str(target)}, {})
    assert (precious / "old.bin").read_bytes() == b"mine"
