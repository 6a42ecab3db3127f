"""The action plugins: what they show, what they pass on, and a connection that is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.task import Task
from ansible_collections.mnrun.train.plugins.action import (
    ray_cluster_info,
    ray_job,
    slurm_job,
    slurm_job_info,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.stage.describe import line
from ansible_collections.mnrun.train.plugins.plugin_utils import connection, follow
from ansible_collections.mnrun.train.plugins.plugin_utils.connection import PatientAction

from mnrun.contract import stage_line
from tests.helpers.ray_heads import a_head

Answer = dict[str, Any] | Exception


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Screen:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str) -> None:
        self.lines.append(text)


class Stage:
    """An action plugin on a host which gives prepared answers, one for each call of a module."""

    def __init__(self, plugin: type[PatientAction], clock: Clock, **arguments: Any) -> None:
        self.takes = 0
        self.variables: dict[str, Any] = {}
        task = Task()
        task.args = {"run_dir": "~/run", "stage": "sft", **arguments}
        self.screen = Screen()
        self.clock = clock
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Answer] = []
        connected = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"))
        self.action = plugin(task, connected, None, None, None, None)
        self.action._display = self.screen
        self.action._execute_module = self._answer

    def _answer(self, module_name: str, module_args: dict[str, Any], **_rest: Any) -> Answer:
        self.calls.append((module_name.rpartition(".")[2], module_args))
        self.clock.now += 1 + self.takes
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, *answers: Answer) -> dict[str, Any]:
        self.answers = list(answers)
        result: dict[str, Any] = self.action.run(task_vars=self.variables)
        assert self.answers == [], "every answer was asked for"
        return result


Make = Callable[..., Stage]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    clock = Clock()
    monkeypatch.setattr(connection, "time", clock)
    monkeypatch.setattr(follow, "time", clock)
    monkeypatch.setattr(slurm_job_info, "time", clock)
    return lambda plugin=slurm_job, **arguments: Stage(plugin.ActionModule, clock, **arguments)


FIRST = {
    "changed": True,
    "action": "submitted",
    "msg": "Job 12 was submitted.",
    "attempt": 1,
    "fingerprint": "f" * 64,
    "diff": [],
}
LAST = {"changed": False, "action": "nothing", "msg": "Job 12 ended as COMPLETED.", "attempt": 1}
GONE = AnsibleConnectionFailure("ssh: connection refused")


def entry(phase: str, state: str, step: int | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "attempt": 1,
        "digest": f"{state}-{step}",
        "known": True,
        "seconds": 130.0,
        "job": {"id": "12", "phase": phase, "state": state, "reason": "", "nodes": ""},
        "progress": {"step": step, "total": 160, "metrics": {"loss": 1.93} if step else {}},
        "log": {"lines": [], "offset": {}},
        "stage": "sft",
        **changes,
    }


def info(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"changed": False, "stages": list(entries), "damaged": []}


RUNNING, ENDED = entry("running", "RUNNING", 40), entry("succeeded", "COMPLETED", 160)


def test_each_change_is_shown_once_and_the_last_call_settles(make: Make) -> None:
    stage = make(wait=True, wait_timeout=500)
    result = stage.run(FIRST, info(entry("queued", "PENDING")), info(RUNNING), info(RUNNING),
                       info(ENDED), LAST)  # fmt: skip
    assert stage.screen.lines == [
        "[sft] Job 12 was submitted.",
        "[sft] … job 12 PENDING · 2m 10s",
        "[sft] … job 12 RUNNING · step 40/160 · loss 1.93 · 2m 10s",
        "[sft] … job 12 COMPLETED · step 160/160 · loss 1.93 · 2m 10s",
    ]
    assert result == {**LAST, "changed": True, "action": "submitted", "diff": []}
    names = [name for name, _arguments in stage.calls]
    assert names == ["slurm_job", *["slurm_job_info"] * 4, "slurm_job"]
    assert stage.calls[0][1]["wait"] is False
    last = stage.calls[-1][1]
    assert (last["wait"], last["attempt"]) == (True, 1)
    assert 0 < last["wait_timeout"] < 500


def test_a_job_without_news_shows_that_it_is_still_there(make: Make) -> None:
    stage = make(wait=True, wait_timeout=50_000)
    loading = entry("running", "RUNNING")
    seconds = iter(range(0, 10_000, 30))
    answers = [info({**loading, "seconds": next(seconds), "last_line": f"shard {n}"})
               for n in range(200)]  # fmt: skip
    stage.takes = 29
    stage.run(FIRST, *answers, info(ENDED), LAST)
    shown = [text for text in stage.screen.lines if "RUNNING" in text]
    assert shown[0] == "[sft] … job 12 RUNNING · 0.0 s · shard 0"
    assert shown[1] == "[sft] … job 12 RUNNING · 1m 00s · shard 2"
    assert shown[2] == "[sft] … job 12 RUNNING · 2m 00s · shard 4"
    assert len(shown) < 80, "less often as the job gets older"


def test_a_question_carries_what_was_seen_and_whose_record_it_is(make: Make) -> None:
    head = a_head(Path("/t"))
    stage = make(ray_job, wait=True, spec={"a": 1}, head=head)
    stage.run(FIRST, info(RUNNING), info(ENDED), LAST)
    name, question = stage.calls[2]
    assert name == "ray_job_info"
    assert question.pop("min_interval") >= 2
    assert question == {
        "run_dir": "~/run",
        "stage": "sft",
        "head": head,
        "fingerprint": "f" * 64,
        "wait": True,
        "since": RUNNING["digest"],
        "wait_timeout": 30,
    }


@pytest.mark.parametrize(
    "arguments",
    [{}, {"wait": False}, {"wait": "no"}, {"wait": True, "state": "absent"}, {"attempt": 3}],
)  # fmt: skip
def test_without_anything_to_follow_the_module_runs_as_it_is(
    make: Make, arguments: dict[str, Any]
) -> None:
    stage = make(**arguments)
    assert stage.run(FIRST) == FIRST
    assert stage.calls == [("slurm_job", {"run_dir": "~/run", "stage": "sft", **arguments})]
    assert stage.screen.lines == []


def test_check_mode_passes_straight_through(make: Make) -> None:
    stage = make(wait=True)
    stage.action._task.check_mode = True
    assert stage.run(FIRST) == FIRST
    assert stage.calls[0][1]["wait"] is True


@pytest.mark.parametrize("first", [{**FIRST, "failed": True}, {**FIRST, "action": "nothing"}])
def test_nothing_is_followed_after_a_failure_or_when_all_is_done(
    make: Make, first: dict[str, Any]
) -> None:
    assert make(wait=True).run(first) == first


CUT_OFF = {
    "changed": False,
    "failed": True,
    "retryable": True,
    "attempt": 1,
    "msg": "Job 12 ended as TIMEOUT.\nLog: /err",
}
SECOND = {**FIRST, "action": "resubmitted", "msg": "Job 13 was submitted.", "attempt": 2}


def test_what_goes_on_by_itself_is_followed_to_its_end(make: Make) -> None:
    stage = make(wait=True)
    ended = info(entry("failed", "TIMEOUT", 80))
    second = info({**ENDED, "attempt": 2})
    result = stage.run(FIRST, ended, CUT_OFF, SECOND, second, {**LAST, "attempt": 2})
    assert (result["action"], result["attempt"], result["changed"]) == ("submitted", 2, True)
    assert "failed" not in result
    assert stage.screen.lines[2:5] == [
        *("[sft] Job 12 ended as TIMEOUT.", "[sft] Log: /err", "[sft] Job 13 was submitted."),
    ]
    assert stage.calls[-1][1]["attempt"] == 2


def test_a_successor_that_is_refused_ends_the_task_with_its_words(make: Make) -> None:
    refused = {"failed": True, "msg": "Another spec works on it."}
    result = make(wait=True).run(FIRST, info(entry("failed", "TIMEOUT")), CUT_OFF, refused)
    assert (result["failed"], result["msg"]) == (True, "Another spec works on it.")


def test_a_ray_job_is_left_to_the_play_which_brings_up_its_cluster(make: Make) -> None:
    result = make(ray_job, wait=True).run(FIRST, info(entry("failed", "FAILED")), CUT_OFF)
    assert (result["failed"], result["retryable"], result["attempt"]) == (True, True, 1)


def test_an_end_that_is_only_asked_for_is_shown_if_it_goes_on(make: Make) -> None:
    stage = make(ray_job, attempt=1)
    assert stage.run(CUT_OFF) == CUT_OFF
    assert stage.screen.lines == ["[sft] Job 12 ended as TIMEOUT.", "[sft] Log: /err"]


def test_one_attempt_alone_is_followed_and_never_submitted(make: Make) -> None:
    stage = make(wait=True, attempt=1, spec={"a": 1})
    assert stage.run(info(RUNNING), info(ENDED), CUT_OFF)["retryable"] is True
    assert [name for name, _ in stage.calls] == ["slurm_job_info", "slurm_job_info", "slurm_job"]
    assert stage.calls[0][1]["fingerprint"] == fingerprint({"a": 1})


def test_a_lost_connection_is_survived_and_told(make: Make) -> None:
    stage = make(wait=True)
    unreachable = {"unreachable": True, "msg": "no route"}
    result = stage.run(FIRST, GONE, unreachable, info(ENDED), GONE, LAST)
    assert result["msg"] == LAST["msg"]
    assert "[sft] … no connection; trying again in 2 s" in stage.screen.lines
    assert "[sft] … no connection; trying again in 4 s" in stage.screen.lines


def test_an_ssh_that_was_killed_is_a_lost_connection_but_a_crash_is_not(make: Make) -> None:
    killed = {"failed": True, "rc": -9, "module_stdout": "", "msg": "no json"}
    assert make(wait=True).run(FIRST, killed, info(ENDED), LAST)["msg"] == LAST["msg"]
    crashed = {"failed": True, "rc": 1, "module_stdout": "", "msg": "MODULE FAILURE"}
    assert make(wait=True).run(FIRST, crashed)["msg"] == "MODULE FAILURE"


def test_a_connection_that_does_not_come_back_is_a_failure_that_says_what_goes_on(
    make: Make,
) -> None:
    stage = make(wait=True)
    tries = 23
    result = stage.run(FIRST, *[GONE] * tries)
    assert result["failed"]
    assert "no connection for 600 s. Jobs on the cluster continue" in result["msg"]
    assert result["changed"] is True
    assert stage.clock.now < 700


def test_a_host_that_never_answered_is_unreachable_at_once(make: Make) -> None:
    result = make(wait=True).run(GONE)
    assert result["unreachable"]


def test_when_the_time_is_over_the_module_says_so(make: Make) -> None:
    stage = make(wait=True, wait_timeout=3)
    late = {"failed": True, "msg": "The time to wait is over"}
    assert stage.run(FIRST, info(RUNNING), info(RUNNING), late)["failed"]
    assert stage.calls[-1][1]["wait_timeout"] == 1


def test_an_attempt_of_somebody_else_is_not_followed(make: Make) -> None:
    stage = make(wait=True)
    stage.run(FIRST, info(entry("running", "RUNNING", attempt=2)), LAST)
    assert stage.screen.lines == ["[sft] Job 12 was submitted."]


def test_a_failed_question_ends_the_task(make: Make) -> None:
    damaged = {"failed": True, "msg": "The record is damaged"}
    assert make(wait=True).run(FIRST, damaged)["msg"] == "The record is damaged"


def lines(*texts: str, path: str = "/out") -> dict[str, Any]:
    return {"lines": [{"path": path, "line": text} for text in texts], "offset": {path: 9}}


def test_logs_are_shown_and_followed_to_the_end(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2, follow=True)
    result = stage.run(
        info({**RUNNING, "log": lines("a", "b")}),
        info({**RUNNING, "log": lines("c")}),
        info({**ENDED, "log": lines("oh", path="/err")}),
        info({**ENDED, "log": lines("last", path="/err")}),
    )
    assert stage.screen.lines == [
        *("[sft] … ==> /out <==", "[sft] a", "[sft] b", "[sft] c"),
        *("[sft] … ==> /err <==", "[sft] oh", "[sft] last"),
    ]
    assert stage.calls[1][1]["log_offset"] == {"/out": 9}
    assert result["stages"][0]["job"]["state"] == "COMPLETED"


def test_logs_are_shown_once_without_follow(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2)
    stage.run(info({**RUNNING, "log": lines("a")}))
    assert stage.screen.lines == ["[sft] … ==> /out <==", "[sft] a"]


def test_what_was_skipped_is_told_with_where_it_is(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2)
    stage.run(info({**RUNNING, "log": {**lines("a"), "skipped": {"/out": 1_234_567}}}))
    assert stage.screen.lines == [
        "[sft] … 1.23 MB skipped; all of it: /out",
        "[sft] … ==> /out <==",
        "[sft] a",
    ]


def test_a_job_that_waits_is_named_where_it_has_no_log(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2)
    queued = entry("queued", "PENDING")
    stage.run(info({**queued, "job": {**queued["job"], "reason": "Resources"}}))
    assert stage.screen.lines == [
        "[sft] … Nothing in its log yet: job 12 PENDING (Resources) · 2m 10s."
    ]


def test_an_ended_job_without_a_log_is_named_too(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2)
    stage.run(info(ENDED))
    assert stage.screen.lines[0].startswith("[sft] … Nothing in its log: job 12 COMPLETED")


def test_a_line_of_a_log_is_never_taken_for_one_of_ours(make: Make) -> None:
    stage = make(slurm_job_info, log_lines=2)
    stage.run(info({**RUNNING, "log": lines("… 9 MB skipped")}))
    assert stage.screen.lines[-1] == "[sft]  … 9 MB skipped"


def test_without_log_lines_info_is_passed_on(make: Make) -> None:
    stage = make(slurm_job_info)
    assert stage.run(info(RUNNING)) == info(RUNNING)
    assert stage.screen.lines == []


def test_a_stage_that_never_ran_has_no_log_and_says_so(make: Make) -> None:
    result = make(slurm_job_info, log_lines=2).run(info())
    assert result["msg"] == "The stage sft has not run in ~/run yet, so there is no log."
    assert result["failed"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"job": {"id": "7", "state": "PENDING", "reason": "Resources", "phase": "queued"}},
         "job 7 PENDING (Resources) · step 40/160 · loss 1.93 · 2m 10s"),
        ({"known": False, "detail": "squeue is silent"},
         "job 12 RUNNING when last known (squeue is silent) · step 40/160 · loss 1.93 · 2m 10s"),
        ({"progress": {"step": 3, "metrics": {"val_reward": 0.25, "first_reward": 1}}},
         "job 12 RUNNING · step 3 · val reward 0.25 · 2m 10s"),
        ({"job": {"id": "", "name": "x-1", "state": "INTENT"}, "progress": {}, "seconds": None},
         "job x-1 INTENT"),
        ({"job": {"id": "7", "state": "RUNNING", "reason": "None", "phase": "running",
                  "nodes": "n[1-2]"}, "progress": {}},
         "job 7 RUNNING on n[1-2] · 2m 10s"),
    ],
)  # fmt: skip
def test_one_line_says_how_a_stage_is(changes: dict[str, Any], text: str) -> None:
    assert line({**RUNNING, **changes}) == text


@pytest.mark.parametrize("says", ["Permission denied (publickey).", None])
def test_an_ssh_that_ended_before_it_got_the_module_is_asked_why(
    make: Make, says: str | None
) -> None:
    def alone(command: str, sudoable: bool) -> None:
        assert (command, sudoable) == ("true", False)
        if says:
            raise AnsibleConnectionFailure(says)

    cut_off = AnsibleConnectionFailure("Data could not be sent to remote host 'gpu1'.")
    stage = make(ray_job, attempt=1)
    stage.action._connection.exec_command = alone
    answer = stage.run(cut_off)
    assert (says or "Data could not be sent") in answer["msg"], answer


TARGETS = [{"command": "~/bin/told"}]
NOT_QUITE = {"stage": "sft", "record": "/run/.mnrun/sft/0a1b", "attempt": 1}


def told(stage: Stage) -> list[tuple[str, Any]]:
    """What was given to the module `notify`: events, with the cause in their results."""
    calls = [given for name, given in stage.calls if name == "notify"]
    return [(given["event"], given["result"].get("cause")) for given in calls]


def with_targets(stage: Stage, **more: Any) -> Stage:
    stage.action._templar = SimpleNamespace(template=lambda value: value)
    stage.variables = {"mnrun_notify": TARGETS, **more}
    return stage


@pytest.mark.parametrize(
    ("stage", "sbatch", "expected"),
    [
        ("sft", {"nodes": 2}, {"nodes": 2, "mail-type": "END,FAIL", "mail-user": "me@a.b,you"}),
        ("ray", {"mail-type": "ALL"}, {"mail-type": "ALL", "mail-user": "me@a.b,you"}),
        ("sft", {"mail-user": "other"}, {"mail-user": "other"}),
        ("relay-2", {}, {}),
        ("environment", {}, {}),
    ],
)
def test_slurm_writes_to_the_addresses_for_mail(
    make: Make, stage: str, sbatch: dict[str, Any], expected: dict[str, Any]
) -> None:
    mails = [{"mail": "me@a.b"}, {"mail": "you"}, {"mail": None, "command": "x"}]
    submits = with_targets(make(stage=stage, sbatch=sbatch), mnrun_notify=mails)
    submits.run(FIRST)
    assert submits.calls[0][1]["sbatch"] == expected
    silent = with_targets(make(stage=stage, sbatch=sbatch), mnrun_notify=[])
    silent.run(FIRST)
    assert silent.calls[0][1]["sbatch"] == sbatch


def test_each_end_is_told_that_of_a_retried_attempt_too(make: Make) -> None:
    stage = with_targets(make(wait=True))
    retried = {**NOT_QUITE, "failed": True, "msg": "Why.", "retryable": True, "cause": "c"}
    answer = stage.run(
        FIRST, info(ENDED), retried, {"faults": ["it hangs"]},
        {**FIRST, "attempt": 2}, info({**ENDED, "attempt": 2}),
        {**LAST, **NOT_QUITE, "attempt": 2}, {"failed": True, "msg": "no space"},
    )  # fmt: skip
    assert told(stage) == [("stage", "c"), ("stage", None)]
    assert not answer.get("failed"), "what goes wrong with it harms nothing"
    shown = [text for text in stage.screen.lines if "notification" in text]
    assert shown == [
        "[sft] A notification failed: it hangs", "[sft] A notification failed: no space",
    ]  # fmt: skip


def test_what_was_done_before_is_told_as_well_if_nobody_was(make: Make) -> None:
    stage = with_targets(make(wait=True))
    stage.run({**NOT_QUITE, "action": "nothing", "msg": "Already done."}, {"faults": []})
    assert told(stage) == [("stage", None)]


def test_a_job_that_waits_for_long_is_told_once_for_each_attempt(make: Make) -> None:
    stage = with_targets(make(wait=True), mnrun_notify_waiting_hours=2)
    waits = {**entry("queued", "PENDING"), **NOT_QUITE}
    stage.run(
        FIRST, info({**waits, "seconds": 7199.0}), info({**waits, "seconds": 7200.0}),
        {"faults": []}, info({**waits, "seconds": 9000.0}), info(ENDED), LAST,
    )  # fmt: skip
    assert told(stage) == [("waiting", None)]


def test_nothing_is_told_of_relays_of_dry_runs_and_where_nobody_wants_it(make: Make) -> None:
    done = {**NOT_QUITE, "action": "nothing", "msg": "Already done."}
    for stage in (make(), with_targets(make(stage="relay")), with_targets(make(state="absent"))):
        stage.run({**done, "stage": stage.action._task.args["stage"]})
        assert told(stage) == []
    dry = with_targets(make())
    dry.action._task.check_mode = True
    dry.run(done)
    assert told(dry) == []


def test_how_ppo_ended_is_told_where_that_is_determined(make: Make) -> None:
    failed = {**NOT_QUITE, "stage": "ppo", "failed": True, "msg": "Why.", "cause": "c"}
    on_its_head = with_targets(make(ray_job, stage="ppo", wait=True))
    on_its_head.run({**FIRST, "failed": True, **failed})
    assert told(on_its_head) == []
    afterwards = with_targets(make(ray_job, stage="ppo", attempt=1))
    afterwards.run(failed, {"faults": []})
    assert told(afterwards) == [("stage", "c")]


def test_a_ray_cluster_that_waits_for_long_is_told(make: Make) -> None:
    stage = with_targets(
        make(ray_cluster_info, stage="ray", wait=True), mnrun_notify_waiting_hours="0.5"
    )
    waits = {**entry("queued", "PENDING"), **NOT_QUITE, "seconds": 1800.0, "head": None}
    stage.run({**waits, "msg": "w"}, {"faults": []}, {**waits, "head": {"host": "a"}, "msg": "w"})
    assert told(stage) == [("waiting", None)]


def test_mnrun_gets_what_is_known_behind_each_line_and_asks_no_more_often(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = (FIRST, info(RUNNING), info(RUNNING), info(ENDED), LAST)
    plain = make(wait=True, checkpoints={"path": "/c", "parts": ["a"], "hf": True})
    plain.run(*answers)
    monkeypatch.setenv("MNRUN_LINES", "state")
    read = make(wait=True, checkpoints={"path": "/c", "parts": ["a"], "hf": True})
    read.run(*answers)
    assert [name for name, _ in read.calls] == [name for name, _ in plain.calls]
    assert read.calls[1][1]["checkpoints"] == {"path": "/c", "parts": ["a"]}
    assert "log_lines" not in read.calls[1][1]
    found = [stage_line(text) for text in read.screen.lines[1:]]
    states = [one.state for one in found if one and one.state]
    assert [one["progress"]["step"] for one in states] == [40, 40, 160]
    assert found[0]
    assert found[0].text == plain.screen.lines[1].removeprefix("[sft] … ")
    assert not any("\x1f" in text for text in plain.screen.lines)


def test_with_v_the_job_s_lines_come_with_the_same_answers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNRUN_LINES", "log")
    stage = make(wait=True)
    stage.run(FIRST, info({**RUNNING, "log": lines("a", "b\x1f{}")}), info(ENDED), LAST)
    assert stage.screen.lines[1:3] == ["[sft] a", "[sft] b{}"]
    assert stage.calls[1][1]["log_offset"] == {}
    assert stage.calls[2][1]["log_offset"] == {"/out": 9}
    assert len(stage.calls) == 4


def test_a_watched_run_is_asked_again_and_less_often_where_answers_take_long(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = {**RUNNING, "stage": "relay", "job": {**RUNNING["job"], "start": 1.0}}
    stages = info({**RUNNING, "stage": "sft"}, relay)
    end = {"failed": True, "msg": "it ends"}
    stage = make(slurm_job_info, watch=10)
    stage.clock.now = 0.0
    assert stage.run(stages, stages, end) == end
    assert stage.clock.now == 3 + 2 * 10, "an answer takes a second"
    assert stage.screen.lines[0] == f"[sft] … {line({**RUNNING, 'stage': 'sft'})}"
    slow = make(slurm_job_info, watch=1)
    slow.takes, slow.clock.now = 19, 0.0
    monkeypatch.setenv("MNRUN_LINES", "state")
    slow.run(stages, end)
    assert slow.clock.now == 2 * 20 + 3 * 20
    found = stage_line(slow.screen.lines[0])
    assert found is not None
    assert found.state is not None
    assert [one["stage"] for one in found.state["stages"]] == ["sft"]
    assert found.state["pause"] == 60
