"""The loop of the role ppo, with stand-ins for its modules: one Ray cluster for each attempt, taken
down whatever happens, and no attempt more than the modules allow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.ray_heads import a_head

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

PLAN = "ray_job ppo present check"
UP = "slurm_job ray present"
HEAD = "ray_cluster_info ray present"
TRAIN = "ray_job ppo present on ray-head"
ASK = "ray_job ppo present"
DOWN = "slurm_job ray absent"

STANDS_FOR = ("slurm_job", "ray_job", "ray_cluster_info", "slurm_job_info", "module")
AGAIN = {"action": "resubmitted", "changed": True}
STARTED = {"action": "submitted", "changed": True}
A_HEAD = {"head": a_head(Path("/t"), "7")}
DONE = {"action": "submitted", "changed": True, "attempt": 2, "output": {"step": 20}}
CUT_OFF = {"failed": True, "attempt": 1, "msg": "Cut off.", "output": None, "retryable": False}
LOST = {"failed": True, "attempt": 1, "msg": "There was no connection.", "lost": True}
RETRYABLE = {**CUT_OFF, "msg": "Job ppo-1 ended. The next one goes on.", "retryable": True}
FINAL = {**CUT_OFF, "msg": "Job ppo-1 ended. Cause: cancelled by hand."}
ENDS: list[dict[str, Any]] = [{**CUT_OFF, "attempt": number} for number in (1, 2)]
RETRIES: list[dict[str, Any]] = [{**RETRYABLE, "attempt": number} for number in (1, 2)]
USUAL: dict[str, list[dict[str, Any]]] = {
    PLAN: [AGAIN], UP: [STARTED], HEAD: [A_HEAD], DOWN: [{"changed": True}],
}  # fmt: skip


class Role:
    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        top = scratch / "ansible_collections" / "mnrun" / "train"
        (top / "plugins").mkdir(parents=True)
        for name in ("roles", "meta", "galaxy.yml"):
            (top / name).symlink_to(ROOT / name)
        for path in (ROOT / "plugins").iterdir():
            if path.name != "action":
                (top / "plugins" / path.name).symlink_to(path)
        (top / "plugins" / "action").mkdir()
        for name in STANDS_FOR:
            (top / "plugins" / "action" / f"{name}.py").symlink_to(HERE / "stub_action.py")

    def run(self, **answers: Any) -> tuple[str, list[str]]:
        """What the play printed, and the calls in their order."""
        return self.play(HERE / "ppo_role.yml", {}, answers)

    def play(
        self, playbook: Path, given: dict[str, str], answers: dict[str, Any]
    ) -> tuple[str, list[str]]:
        """The same of any playbook, with these variables."""
        (self.scratch / "answers.json").write_text(json.dumps(answers))
        (self.scratch / "hosts").write_text("[login]\nlocalhost ansible_connection=local\n")
        variables = {"ansible_python_interpreter": sys.executable, **given}
        play = [sys.executable, "-m", "ansible.cli.playbook", str(playbook)]
        done = subprocess.run(
            [*play, "-i", "hosts", "-e", json.dumps(variables)],
            cwd=self.scratch,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(self.scratch),
                 "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "MNRUN_STUB": str(self.scratch)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (self.scratch / "calls.jsonl").exists(), done.stdout + done.stderr
        calls = (self.scratch / "calls.jsonl").read_text().splitlines()
        return done.stdout + done.stderr, [json.loads(line)["key"] for line in calls]


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


ROUND = [PLAN, UP, HEAD, TRAIN, DOWN]


def test_a_training_that_ends_well_needs_one_cluster(role: Role) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [DONE]})
    assert "step 20" in text
    assert calls == ROUND


def test_a_lost_cluster_is_followed_by_another_one(role: Role) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [CUT_OFF, DONE], ASK: [RETRYABLE]})
    assert "step 20" in text
    assert calls == [*ROUND, ASK, *ROUND]


def test_it_goes_on_as_often_as_the_modules_say(role: Role) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [*ENDS, {**DONE, "attempt": 3}], ASK: RETRIES})
    assert "step 20" in text
    assert calls == [*([*ROUND, ASK] * 2), *ROUND]


def test_what_a_person_ended_fails_with_its_words_and_leaves_no_cluster(role: Role) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [CUT_OFF], ASK: [FINAL]})
    assert "Cause: cancelled by hand." in text
    assert "failed=1" in text
    assert calls == [*ROUND, ASK]


def test_a_head_that_is_gone_is_followed_from_the_login_node(role: Role) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [LOST, DONE], ASK: [CUT_OFF, RETRYABLE]})
    assert "step 20" in text
    assert calls == [PLAN, UP, HEAD, TRAIN, ASK, DOWN, ASK, *ROUND]


def test_a_training_that_ended_well_behind_a_lost_head_is_done(role: Role) -> None:
    text, calls = role.run(
        **{**USUAL, TRAIN: [LOST], ASK: [{"changed": False, "output": {"step": 20}}]}
    )
    assert "step 20" in text
    assert calls == [PLAN, UP, HEAD, TRAIN, ASK, DOWN, ASK]


@pytest.mark.parametrize(
    "broken", [{TRAIN: [{"failed": True, "msg": "Ray refuses."}]},
               {HEAD: [{"failed": True, "msg": "Ray refuses."}]}],
)  # fmt: skip
def test_a_refusal_fails_at_once_and_leaves_no_cluster(role: Role, broken: dict[str, Any]) -> None:
    text, calls = role.run(**{**USUAL, TRAIN: [DONE], **broken})
    assert "Ray refuses." in text
    assert "failed=1" in text
    assert calls[-1] == DOWN
    assert ASK not in calls


def test_an_unused_cluster_is_stopped_by_who_started_it_and_not_once_he_has_trained(
    role: Role,
) -> None:
    refused = {"failed": True, "msg": "Ray refuses."}
    role.run(**{**USUAL, TRAIN: [CUT_OFF, refused], ASK: [RETRYABLE]})
    calls = (role.scratch / "calls.jsonl").read_text().splitlines()
    downs = [call for call in map(json.loads, calls) if call["key"] == DOWN]
    assert [call["if_used"] for call in downs] == [True, False]


def test_done_work_brings_up_nothing(role: Role) -> None:
    done = {"action": "nothing", "changed": False, "output": {"step": 20}}
    _text, calls = role.run(**{**USUAL, PLAN: [done]})
    assert calls == [PLAN, DOWN]


def test_an_unused_cluster_that_did_not_come_up_is_stopped_by_who_started_it(role: Role) -> None:
    gone = {"failed": True, "msg": "No head."}
    text, calls = role.run(**{**USUAL, HEAD: [A_HEAD, gone], TRAIN: [CUT_OFF], ASK: [RETRYABLE]})
    assert "No head." in text
    assert calls == [*ROUND, ASK, PLAN, UP, HEAD, DOWN]
    lines = (role.scratch / "calls.jsonl").read_text().splitlines()
    downs = [call for call in map(json.loads, lines) if call["key"] == DOWN]
    assert [call["if_used"] for call in downs] == [True, False]
