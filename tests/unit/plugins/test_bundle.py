"""What is handed over: the site as it is here, reached locally there."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.bundle import (
    Bundle,
    BundleError,
    handover,
)

from mnrun import handover as cli
from mnrun.arguments import parse


def site(folder: Path, **files: str) -> Path:
    for name, text in {"hosts_yml": "all: {}", **files}.items():
        path = folder / name.replace("__", "/").replace("_yml", ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def words(inventory: Path, **files: str) -> dict[str, Any]:
    return {"command": json.dumps({"words": ["all"], "extra_vars": []}), "files": files,
            "inventory": str(inventory)}  # fmt: skip


def unpacked(bundle: Bundle, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_login_host_is_reached_locally(tmp_path: Path) -> None:
    given = site(tmp_path / "in", group_vars__all_yml="a: 1", host_vars__gate_yml="b: 2")
    there = unpacked(handover(words(given), "gate"), tmp_path / "out")
    assert names(there / "site") == {
        "hosts.yml", "group_vars/all.yml", "host_vars/gate/00.yml", "host_vars/gate/zz-relay.yml",
    }  # fmt: skip
    local = yaml.safe_load((there / "site/host_vars/gate/zz-relay.yml").read_text())
    assert local["ansible_connection"] == "local"


def test_the_same_has_the_same_name(tmp_path: Path) -> None:
    given = site(tmp_path / "in", group_vars__all_yml="a: 1")
    before = handover(words(given), "gate").name
    assert handover(words(given), "gate").name == before
    (given / "group_vars/all.yml").write_text("a: 2")
    assert handover(words(given), "gate").name != before


def test_a_single_file_takes_what_is_beside_it(tmp_path: Path) -> None:
    given = site(tmp_path / "in", group_vars__all_yml="a: 1", trainers__x_yml="b: 2", other="c")
    there = unpacked(handover(words(given / "hosts.yml"), "gate"), tmp_path / "out")
    assert {"hosts.yml", "group_vars/all.yml", "trainers/x.yml"} < names(there / "site")
    assert "other" not in names(there / "site")


@pytest.mark.parametrize("text", ["$ANSIBLE_VAULT;1.1;AES256\n00", "a: !vault |\n  00"])
def test_what_is_encrypted_is_refused(tmp_path: Path, text: str) -> None:
    given = site(tmp_path / "in", group_vars__all_yml=text)
    with pytest.raises(BundleError, match="encrypted"):
        handover(words(given), "gate")
    with pytest.raises(BundleError, match="encrypted"):
        handover(words(site(tmp_path / "b"), **{"0.yml": text}), "gate")


def test_a_list_of_hosts_cannot_be_handed_over() -> None:
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        handover(words(Path("one,two")), "one")


def test_what_was_typed_is_typed_again(tmp_path: Path) -> None:
    given = site(tmp_path / "in", group_vars__all_yml="a: 1")
    extra = tmp_path / "more.yml"
    extra.write_text("sft_options: {a: '{{ b }}'}")
    line = ["convert", "sft", "--detach", "-e", f"@{extra}", "-e", "a=1", "--run", "x"]
    encoded = cli.handover(parse(line), str(given))
    import base64  # noqa: PLC0415

    data = json.loads(base64.b64decode(encoded))
    there = unpacked(handover(data, "gate"), tmp_path / "out")
    again = parse(cli.command_line(there))
    assert again.words == ["convert", "sft"]
    assert again.extra_vars == [f"@{there}/variables/0.yml", "a=1", "mnrun_run_name=x"]
    assert (there / "variables/0.yml").read_text() == extra.read_text()
    assert again.inventory == str(there / "site")
    assert data["shown"]["attach"].startswith("mnrun attach ")
