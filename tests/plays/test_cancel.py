"""The playbook of `mnrun cancel`, with stand-ins for its modules: a relay that cannot be stopped
keeps no job running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plays.test_ppo_role import ROOT, Role

FIND = "slurm_job_info ray present"
LOGIN = "relay_process relay-login absent"
RELAY = "slurm_job relay absent"
SFT = "slurm_job sft absent"
STOPPED = {"action": "stopped", "msg": "Stopped: job 7.", "job": {"state": "CANCELLED"}}
ELSEWHERE = {"failed": True, "unknown": True, "msg": "The relay is on login2: run this there."}
DAMAGED = {"failed": True, "msg": "A later mnrun wrote this record."}


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


def cancelled(role: Role, **answers: Any) -> tuple[str, list[str]]:
    stages = [{"stage": key.split()[1], "job": {"phase": "running", "id": "7"}} for key in answers]
    found = {"stages": stages, "damaged": []}
    variables = {"mnrun_run_dir": str(role.scratch / "run")}
    given = {key: [one] for key, one in answers.items()}
    return role.play(ROOT / "playbooks" / "cancel.yml", variables, {FIND: [found], **given})


@pytest.mark.parametrize(
    ("key", "failure"), [(LOGIN, ELSEWHERE), (RELAY, ELSEWHERE), (RELAY, DAMAGED)]
)
def test_a_relay_that_cannot_be_stopped_keeps_no_job_running(
    role: Role, key: str, failure: dict[str, Any]
) -> None:
    text, calls = cancelled(role, **{key: failure, SFT: {**STOPPED, "stage": "sft"}})
    assert calls == [FIND, key, SFT]
    assert "sft: Stopped: job 7. It ended as CANCELLED." in text
    assert failure["msg"] in text
    assert "failed=1" in text


def test_nothing_is_said_to_be_running_no_more_while_the_relay_may_be(role: Role) -> None:
    text, _calls = cancelled(role, **{LOGIN: ELSEWHERE})
    assert "Nothing of this run" not in text
    assert "failed=1" in text


def test_all_that_is_stopped_is_no_failure(role: Role) -> None:
    text, calls = cancelled(role, **{LOGIN: {**STOPPED, "stage": "relay-login"}})
    assert calls == [FIND, LOGIN]
    assert "relay-login: Stopped: job 7." in text
    assert "failed=0" in text
