"""The one reader of what a Ray cluster publishes about its head: nothing passes unchecked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.record.ray_head import (
    HEAD_OPTIONS,
    Head,
    read_head,
)

from tests.helpers.ray_heads import a_head, publish_head

WRONG = {
    "host": ["", "-oProxyCommand=sh", "n1 n2", "n1\n", "n1;id", 5, None, ["n1"]],
    "ip": ["", "n1", "10.0.0", "10.0.0.1:5", "10.0.0.1\n", "fe80::1", 5, True, None],
    "gcs_port": [0, 65536, -1, "37173", 1.0, True, None],
    "dashboard_port": [0, 65536, "1/../", 1.5, False, None],
    "job_id": ["", "0", "12+0", "12_1", "../12", "12\n", "\u0661\u0662", 12, None],
    "token_file": ["", "token-12", "~/token-12", "/a\nb", "/a\0", 5, None],
}


def write(folder: Path, **changes: Any) -> None:
    (folder / "head.json").write_text(json.dumps({**a_head(folder), **changes}))


def test_a_head_knows_its_addresses(tmp_path: Path) -> None:
    head = Head.of(a_head(tmp_path))
    assert (head.gcs_address, head.dashboard_url) == ("10.94.0.94:37173", "http://127.0.0.1:37174")
    assert vars(head) == a_head(tmp_path)


def test_the_options_of_modules_are_what_a_head_has() -> None:
    assert list(HEAD_OPTIONS) == list(Head.__dataclass_fields__)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, wrong in WRONG.items() for v in wrong])
def test_a_value_of_another_form_is_refused_and_no_head(
    tmp_path: Path, name: str, value: Any
) -> None:
    with pytest.raises(Invalid, match=f"{name} of a Ray head"):
        Head.of({**a_head(tmp_path), name: value})
    write(tmp_path, **{name: value})
    assert read_head(tmp_path) is None


@pytest.mark.parametrize("name", HEAD_OPTIONS)
def test_a_value_that_is_missing_is_no_head(tmp_path: Path, name: str) -> None:
    given = a_head(tmp_path)
    del given[name]
    (tmp_path / "head.json").write_text(json.dumps(given))
    assert read_head(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"host"', "1"])
def test_a_file_that_is_not_an_object_is_no_head(tmp_path: Path, text: str) -> None:
    assert read_head(tmp_path) is None
    (tmp_path / "head.json").write_text(text)
    assert read_head(tmp_path) is None


def test_the_token_lies_in_the_record_wherever_its_node_sees_that(tmp_path: Path) -> None:
    write(tmp_path, token_file=f"/mnt/disk7/somewhere/{tmp_path.name}/token-12")
    found = read_head(tmp_path)
    assert found is not None
    assert found.head.token_file == str(tmp_path / "token-12")


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "{folder}/token-13", "{folder}/../token-12", "{folder}/a/token-12"]
)
def test_a_token_outside_of_the_record_is_no_head(tmp_path: Path, path: str) -> None:
    write(tmp_path, token_file=path.format(folder=tmp_path))
    assert read_head(tmp_path) is None


def test_a_cluster_of_an_older_mnrun_has_a_head_too(tmp_path: Path) -> None:
    given = a_head(tmp_path)
    given["address"] = given.pop("ip")
    (tmp_path / "head.json").write_text(json.dumps(given))
    found = read_head(tmp_path)
    assert found is not None
    assert vars(found.head) == a_head(tmp_path)


FACTS: dict[str, Any] = {
    "nodes": ["osk-gpu94", "osk-gpu95"],
    "gpus": 8,
    "temp_dir": "/tmp/mnrun-12-0a1b2c",
    "ray_version": "2.60.0",
    "interface": "eth0",
    "open": False,
    "ready_seconds": 8.01,
    "allreduce": {"all": 1.5, "nodes": {"osk-gpu94": 2, "osk-gpu95": 1.5}},
}


def test_what_the_cluster_says_of_itself_beside_its_head(tmp_path: Path) -> None:
    publish_head(tmp_path, **FACTS, of_a_newer_mnrun=1)
    found = read_head(tmp_path)
    assert found is not None
    assert found.cluster == FACTS


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": "osk-gpu94"}, {"nodes": ["-o"]}, {"nodes": [1]}, {"gpus": "8"}, {"gpus": -1},
        {"gpus": True}, {"temp_dir": "tmp"}, {"ray_version": "\x1b[2J"}, {"interface": "a b"},
        {"open": 1}, {"ready_seconds": "8"}, {"allreduce": 1}, {"allreduce": {"all": 1}},
        {"allreduce": {"all": "1", "nodes": {}}}, {"allreduce": {"all": 1, "nodes": {"n": "1"}}},
        {"allreduce": {"all": 1, "nodes": {"-n": 1}}},
    ],
)  # fmt: skip
def test_a_fact_of_another_form_is_left_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    publish_head(tmp_path, **{**FACTS, **wrong})
    found = read_head(tmp_path)
    assert found is not None
    assert found.cluster == {name: value for name, value in FACTS.items() if name not in wrong}
