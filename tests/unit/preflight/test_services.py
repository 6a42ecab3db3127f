"""Whether the programs of services exist."""

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
