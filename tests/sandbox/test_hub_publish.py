"""Publishing with the real client to a Hub of our own: the program that every place runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.model import manifest

from .hub import READER, TOKEN, Here, Hub, good, refused

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

REPO = "team/toy-ppo"
ABOUT = {
    "stage": "ppo",
    "step": 20,
    "source": "/home/me/training/ppo/checkpoints/global_step_20/actor",
    "fingerprint": "ab" * 32,
    "spec": {"stage": "ppo"},
    "training": {"fingerprint": "cd" * 32},
    "base_model": {"path": "/home/me/model/base"},
    "metrics": {"reward": 0.5},
    "versions": {"verl": "0.5.0", "torch": "2.13.0"},
}


def fill(folder: Path, shards: int = 2, seed: int = 0) -> Path:
    """A folder with the form of a converted model: one shard is sent whole, the next in parts."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "seed": seed}))
    (folder / "tokenizer.json").write_text("{}")
    for shard in range(1, shards + 1):
        content = bytes((seed + shard + n) % 251 for n in range(1000)) * (800 * shard)
        (folder / f"model-{shard:05}-of-{shards:05}.safetensors").write_bytes(content)
    manifest.write(folder, ABOUT)
    return folder


@pytest.fixture
def plan(tmp_path: Path, hub: Hub) -> dict[str, Any]:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN + "\n")
    card = tmp_path / "card.md"
    card.write_text("---\nlibrary_name: transformers\n---\n# A toy\n")
    return {
        "to": "hub",
        "repo": REPO,
        "revision": "main",
        "private": True,
        "endpoint": hub.address,
        "token_files": [str(tmp_path / "none"), str(token)],
        "folder": str(fill(tmp_path / "model")),
        "card": str(card),
        "message": "ppo, step 20",
    }


def test_a_model_is_published_once(hub: Hub, here: Here, plan: dict[str, Any]) -> None:
    first = good(here.run("publish.py", plan))
    assert (first["changed"], first["created"]) == (True, True)
    repo = hub.read(REPO)
    assert repo["private"]
    for path in Path(plan["folder"]).iterdir():
        assert hub.content(REPO, path.name) == path.read_bytes()
    assert b"# A toy" in hub.content(REPO, "README.md")
    assert first["commit"] == repo["sha"]

    hub.forget()
    again = good(here.run("publish.py", plan))
    assert (again["changed"], again["sent"]) == (False, [])
    assert hub.requests("PUT", "") == hub.requests("POST", "") == []
    assert hub.read(REPO) == repo


def test_check_changes_nothing(hub: Hub, here: Here, plan: dict[str, Any]) -> None:
    told = good(here.run("publish.py", {**plan, "check": True}))
    assert told["changed"]
    assert len(told["sent"]) == 6
    assert not hub.repo(REPO).exists()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"do": "507"}, "HTTP 507"),
        # The client tries a part six times, half a minute long; then it still fails.
        pytest.param(
            {"do": "cut", "after": 100_000}, "connection to the Hub", marks=pytest.mark.torture
        ),
    ],
    ids=["full", "cut"],
)
def test_an_upload_that_fails_goes_on_with_what_is_missing(
    hub: Hub, here: Here, plan: dict[str, Any], trouble: dict[str, Any], words: str
) -> None:
    hub.trouble(method="PUT", path="/part/2$", **trouble)  # the second shard's second part
    said = refused(here.run("publish.py", plan))
    assert words in said
    assert "model-00001-of-00002.safetensors" not in hub.read(REPO)["files"]  # all or nothing
    whole = [one for one in hub.requests("PUT", "/lfs/") if one["received"] == 800_000]
    assert len(whole) == 1

    hub.calm()
    hub.forget()
    good(here.run("publish.py", plan))
    sent = sum(one["received"] for one in hub.requests("PUT", "/lfs/"))
    assert 1_600_000 <= sent < 1_600_000 + 100  # the second shard, and a small tokenizer perhaps
    assert hub.content(REPO, "model-00001-of-00002.safetensors")


def test_a_connection_that_breaks_once_costs_nothing(
    hub: Hub, here: Here, plan: dict[str, Any]
) -> None:
    hub.trouble(method="PUT", path="/part/2$", do="cut", after=100_000, times=1)
    assert good(here.run("publish.py", plan))["changed"]


def test_a_hub_that_fails_in_the_middle(hub: Hub, here: Here, plan: dict[str, Any]) -> None:
    hub.trouble(method="POST", path="/commit/", do="503")
    said = refused(here.run("publish.py", plan))
    assert "HTTP 503" in said
    assert "only what is missing" in said
    everything = len(hub.requests("PUT", "/lfs/"))
    assert everything == 4  # the tokenizer, one shard whole, one in two parts
    assert set(hub.read(REPO)["files"]) == {".gitattributes"}  # all or nothing
    hub.calm()
    assert good(here.run("publish.py", plan))["changed"]
    assert len(hub.requests("PUT", "/lfs/")) == everything


def test_a_hub_that_fails_once_at_each_step_costs_nothing(
    hub: Hub, here: Here, plan: dict[str, Any]
) -> None:
    steps = ["/lfs/objects/batch", "/preupload/", "/create", "/commit/"]
    for step in steps:
        hub.trouble(method="POST", path=step, do="503", times=1)
    ran = here.run("publish.py", plan)
    assert good(ran)["changed"]
    assert ran.text.count("HTTP 503: trying again") == len(steps), ran.text


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("hf_wrong", ["does not accept the token", "/token"]),
        (READER, ["no right", "/token"]),
    ],
)
def test_a_token_that_does_not_do(
    here: Here, plan: dict[str, Any], token: str, words: list[str]
) -> None:
    Path(plan["token_files"][1]).write_text(token)
    ran = here.run("publish.py", plan)
    said = refused(ran)
    assert all(word in said for word in words), said
    assert token not in ran.text
    assert len(ran.text.splitlines()) <= 3, ran.text


def test_no_token_and_one_that_others_can_read(here: Here, plan: dict[str, Any]) -> None:
    Path(plan["token_files"][1]).chmod(0o640)
    assert "chmod 600" in refused(here.run("publish.py", plan))
    Path(plan["token_files"][1]).unlink()
    assert "no token" in refused(here.run("publish.py", plan))
    assert good(here.run("publish.py", plan, HF_TOKEN=TOKEN))["changed"]


def test_a_wrong_token_for_a_repository_that_is_there(here: Here, plan: dict[str, Any]) -> None:
    good(here.run("publish.py", plan))
    Path(plan["token_files"][1]).write_text("hf_wrong")
    assert "does not accept the token" in refused(here.run("publish.py", plan))


def test_a_remote_file_that_was_changed_is_noticed(
    hub: Hub, here: Here, plan: dict[str, Any]
) -> None:
    good(here.run("publish.py", plan))
    repo = hub.read(REPO)
    shard = "model-00001-of-00002.safetensors"
    repo["files"][shard]["lfs"]["oid"] = "00" * 32
    repo["files"]["config.json"]["oid"] = "00" * 20
    hub.repo(REPO).write_text(json.dumps(repo))
    told = good(here.run("publish.py", {**plan, "check": True}))
    assert sorted(told["sent"]) == ["config.json", shard]
    good(here.run("publish.py", plan))
    assert hub.content(REPO, shard) == Path(plan["folder"], shard).read_bytes()


def test_a_hub_that_keeps_something_else_is_noticed(
    hub: Hub, here: Here, plan: dict[str, Any]
) -> None:
    hub.trouble(method="POST", path="/commit/", do="garble", times=1)
    said = refused(here.run("publish.py", plan))
    assert "differ from the manifest" in said
    assert "config.json" in said


def test_shards_of_an_earlier_model_go_and_other_files_stay(
    hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path
) -> None:
    good(here.run("publish.py", plan))
    repo = hub.read(REPO)
    repo["files"]["LICENSE"] = repo["files"]["config.json"]
    hub.repo(REPO).write_text(json.dumps(repo))
    folder = fill(tmp_path / "next", shards=1, seed=7)
    told = good(here.run("publish.py", {**plan, "folder": str(folder)}))
    assert told["removed"] == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    names = set(hub.read(REPO)["files"])
    assert {"LICENSE", "model-00001-of-00001.safetensors"} < names
    assert "model-00001-of-00002.safetensors" not in names


def test_to_a_branch(hub: Hub, here: Here, plan: dict[str, Any], tmp_path: Path) -> None:
    good(here.run("publish.py", plan))
    before = hub.read(REPO)["files"]
    other = {**plan, "revision": "next", "folder": str(fill(tmp_path / "next", shards=1))}
    assert good(here.run("publish.py", {**plan, "revision": "copy"}))["changed"]
    assert len(good(here.run("publish.py", other))["removed"]) == 2
    repo = hub.read(REPO)
    assert repo["files"] == before == repo["branches"]["copy"]["files"]
    assert "model-00001-of-00001.safetensors" in repo["branches"]["next"]["files"]
    assert not good(here.run("publish.py", other))["changed"]


def test_a_public_repository_is_not_given_what_is_private(
    hub: Hub, here: Here, plan: dict[str, Any]
) -> None:
    good(here.run("publish.py", {**plan, "private": False}))
    before = hub.read(REPO)
    assert not before["private"]
    assert "is public" in refused(here.run("publish.py", plan))
    assert hub.read(REPO) == before


def test_a_damaged_model_is_not_published(hub: Hub, here: Here, plan: dict[str, Any]) -> None:
    shard = Path(plan["folder"], "model-00002-of-00002.safetensors")
    shard.write_bytes(shard.read_bytes()[:-10])
    assert shard.name in refused(here.run("publish.py", plan))
    (Path(plan["folder"]) / manifest.NAME).unlink()
    assert "not a converted model" in refused(here.run("publish.py", plan))
    assert not hub.repo(REPO).exists()


def test_to_a_folder(here: Here, plan: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "shared" / "toy"
    to = {**plan, "to": "folder", "target": str(target), "token_files": []}
    assert good(here.run("publish.py", {**to, "check": True}))["changed"]
    assert not target.exists()
    assert good(here.run("publish.py", to))["changed"]
    assert manifest.faults(target, every_byte=True) == []
    assert not good(here.run("publish.py", to))["changed"]

    (target / "tokenizer.json").write_text("[]")
    assert good(here.run("publish.py", to))["sent"] == ["tokenizer.json"]
    folder = fill(tmp_path / "next", shards=1, seed=7)
    assert len(good(here.run("publish.py", {**to, "folder": str(folder)}))["removed"]) == 2
    assert manifest.faults(target, every_byte=True) == []
