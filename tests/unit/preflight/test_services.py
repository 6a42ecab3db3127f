"""Whether the programs of services exist, and the files of their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.preflight.services import (
    Findings,
    service_findings,
)


def found(*programs: str, image: str = "") -> Findings:
    own = [{"name": f"s{n}", "command": [one]} for n, one in enumerate(programs)]
    return service_findings([{"stage": "ppo", "services": own}, {"stage": "sft"}], image)


def test_those_in_the_home_folder_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "serve").write_text("#!/bin/sh\n")
    assert found("~/none", "~/serve").faults == [
        f"ppo: the service s0: there is no file {tmp_path}/none",
        f"ppo: the service s1: {tmp_path}/serve is not executable",
    ]
    (tmp_path / "serve").chmod(0o755)
    assert found("~/serve", "python3", "/bin/sh") == ([], [])


def test_nodes_may_have_what_is_not_here() -> None:
    seen = found("/opt/none/serve", "no-such-program")
    assert seen.faults == []
    assert len(seen.warnings) == 2
    assert found("/opt/none/serve", "~/none", image="i").warnings == []


def of_secret(path: str, image: str = "") -> Findings:
    one = {"name": "s", "command": ["/bin/sh"], "secrets": {"KEY": path}}
    return service_findings([{"stage": "sft", "services": [one]}], image)


@pytest.mark.parametrize("image", ["", "i"])
def test_the_files_of_secrets_must_be_there_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    about, key = "sft: the service s: secrets: KEY:", tmp_path / "key"
    assert of_secret("~/key", image) == ([f"{about} there is no file {key}"], [])
    key.write_text("word\n")
    for mode in (0o644, 0o640, 0o620):
        key.chmod(mode)
        told = f"{about} others can read or change {key}. Run: chmod 600 {key}"
        assert of_secret("~/key", image) == ([told], [])
    key.chmod(0o600)
    assert of_secret("~/key", image) == ([], [])
    key.write_text(" \n")
    assert of_secret("~/key", image) == ([f"{about} {key} is empty"], [])
    key.unlink()
    key.mkdir()
    assert of_secret("~/key", image) == ([f"{about} there is no file {key}"], [])


def test_nodes_may_have_secrets_that_are_not_here() -> None:
    warned = ["sft: the service s: secrets: KEY: there is no file /opt/none/key"]
    assert of_secret("/opt/none/key") == ([], warned)
