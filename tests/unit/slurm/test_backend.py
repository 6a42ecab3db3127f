"""Slurm as a backend: whom it asks in which order, what it believes, what it says of refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Invalid,
    Missing,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.process import (
    Result,
    clean_environment,
    find_tool,
    run,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Found,
    JobRef,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.log_pattern import (
    log_pattern,
    resolve,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
    job_files,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.fake_slurm import MIN_JOB_AGE, FakeClock, FakeJob, FakeSlurm
from tests.helpers.stage_run import COMMENT, SBATCH, SCRIPT, an_attempt


def tools(slurm: FakeSlurm) -> list[str]:
    return [call[0] for call in slurm.calls]


def test_a_running_job_costs_one_question(
    backend: SlurmBackend, slurm: FakeSlurm, job: FakeJob, tmp_path: Path
) -> None:
    slurm.run(job)
    seen = backend.observe(tmp_path, an_attempt())
    assert (seen.phase, seen.nodes, seen.exit_code) == (Phase.RUNNING, "osk-gpu[94-95]", None)
    assert tools(slurm) == ["squeue"]


def test_one_answer_of_squeue_serves_several_questions(
    backend: SlurmBackend, slurm: FakeSlurm, clock: FakeClock, job: FakeJob, tmp_path: Path
) -> None:
    slurm.run(job)
    for _ in range(5):
        backend.observe(tmp_path, an_attempt())
    assert len(slurm.calls) == 1
    clock.sleep(1.5)
    backend.observe(tmp_path, an_attempt())
    assert len(slurm.calls) == 2


@pytest.mark.parametrize(
    ("state", "code", "phase", "exit_code"),
    [
        ("COMPLETED", "0:0", Phase.SUCCEEDED, 0),
        ("FAILED", "3:0", Phase.FAILED, 3),
        ("OUT_OF_MEMORY", "0:9", Phase.FAILED, 137),
        ("CANCELLED by 2000", "0:15", Phase.CANCELLED, 143),
    ],
)
@pytest.mark.parametrize("age", [1.0, MIN_JOB_AGE + 1])
def test_an_end_is_read_from_memory_or_accounting(  # noqa: PLR0917
    backend: SlurmBackend,
    slurm: FakeSlurm,
    clock: FakeClock,
    job: FakeJob,
    tmp_path: Path,
    state: str,
    code: str,
    phase: Phase,
    exit_code: int,
    age: float,
) -> None:
    slurm.end(job, state, code)
    (tmp_path / "start-1.json").write_text('{"job_id": "12", "token": "t0"}')
    clock.sleep(age)
    seen = backend.observe(tmp_path, an_attempt())
    assert (seen.phase, seen.exit_code) == (phase, exit_code)
    assert ("sacct" in tools(slurm)) == (age > MIN_JOB_AGE)


def write_end(folder: Path, code: int, **changes: Any) -> None:
    data = {"job_id": "12", "token": "t0", "host": "n", "start": 1, "end": 2, "exit_code": code}
    (folder / "end-1.json").write_text(json.dumps({**data, **changes}))


@pytest.mark.parametrize(("code", "phase"), [(0, Phase.SUCCEEDED), (7, Phase.FAILED)])
@pytest.mark.parametrize("why", ["no accounting", "no sacct", "database down", "everything down"])
def test_the_job_s_own_word_counts_where_slurm_has_none(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, code: int, phase: Phase, why: str
) -> None:
    slurm.accounting = why != "no accounting"
    slurm.has_sacct = why != "no sacct"
    slurm.accounting_down = True
    slurm.down = why == "everything down"
    write_end(tmp_path, code)
    seen = backend.observe(tmp_path, an_attempt())
    assert (seen.phase, seen.exit_code, seen.end) == (phase, code, 2.0)


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        ("JOB 12 ON n1 CANCELLED AT 2026-11-28T01:02:03 ***", Phase.CANCELLED),
        ("JOB 12 ON n1 CANCELLED AT 2026-11-28T01:02:03 DUE TO TIME LIMIT ***", Phase.FAILED),
        ("JOB 11 ON n1 CANCELLED AT 2026-11-28T01:02:03 ***", Phase.FAILED),
    ],
)
def test_how_a_job_ended_that_slurm_forgot_is_in_its_log(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, words: str, phase: Phase
) -> None:
    slurm.accounting = False
    write_end(tmp_path, 143)
    attempt = an_attempt()
    attempt.stdout = str(tmp_path / "relay.log")
    Path(attempt.stdout).write_text(f"slurmstepd: error: *** {words}\nThe next one begins.\n")
    seen = backend.observe(tmp_path, attempt)
    assert (seen.phase, seen.end) == (phase, 2.0)


def test_slurm_s_word_counts_more_than_the_job_s(
    backend: SlurmBackend, slurm: FakeSlurm, job: FakeJob, tmp_path: Path
) -> None:
    write_end(tmp_path, 0)
    slurm.end(job, "TIMEOUT", "0:15")
    assert backend.observe(tmp_path, an_attempt()).state == "TIMEOUT"
    job.state, job.end = "COMPLETING", None
    backend._client._queues.clear()
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.ENDING


@pytest.mark.parametrize("silent", ["down", "accounting_down"])
def test_without_a_trustworthy_answer_it_is_unknown(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, silent: str
) -> None:
    setattr(slurm, silent, True)
    seen = backend.observe(tmp_path, an_attempt())
    assert (seen.phase, seen.known) == (Phase.UNKNOWN, False)
    assert "Unable to contact" in seen.detail or "database" in seen.detail


def test_a_question_that_is_not_answered_in_time_is_unknown(tmp_path: Path) -> None:
    client = SlurmClient(lambda *_arguments: Result(None, "", ""), FakeClock())
    seen = SlurmBackend(client, SlurmJob(Path("/run"), "sft")).observe(tmp_path, an_attempt())
    assert seen.phase is Phase.UNKNOWN
    assert "did not answer within 30 s" in seen.detail


def test_empty_answers_are_no_answers(tmp_path: Path) -> None:
    client = SlurmClient(lambda *_arguments: Result(0, "", ""), FakeClock())
    backend = SlurmBackend(client, SlurmJob(Path("/run"), "sft"))
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.UNKNOWN
    assert not backend.find(tmp_path, an_attempt("")).sure


def test_a_table_beside_an_error_is_no_answer(slurm: FakeSlurm, clock: FakeClock) -> None:
    """As of a federation of which one cluster does not answer, or from a wrapper of a site."""

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        said = slurm(command, seconds, stdin)
        error = "slurm_load_jobs error: Socket timed out on send/recv operation\n"
        return said._replace(err=error) if command[0] == "squeue" else said

    assert SlurmClient(slurm, clock).queue().rows == []
    rows, error = SlurmClient(run, clock).queue()
    assert rows is None
    assert "Socket timed out" in error


def test_harmless_errors_beside_a_table_are_passed_over(slurm: FakeSlurm, clock: FakeClock) -> None:
    noise = "squeue: error: mpi/pmix_v4: can not load PMIx library\nThe login banner timed out\n"

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        return slurm(command, seconds, stdin)._replace(err=noise)

    assert SlurmClient(run, clock).queue().rows == []


def test_a_folder_s_name_is_not_slurm_s_word(
    backend: SlurmBackend, slurm: FakeSlurm, clock: FakeClock, job: FakeJob, tmp_path: Path
) -> None:
    job.work_dir = "/data/Slurm accounting storage is disabled"
    slurm.end(job, "COMPLETED", "0:0")
    (tmp_path / "start-1.json").write_text('{"job_id": "12", "token": "t0"}')
    clock.sleep(MIN_JOB_AGE + 1)
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.SUCCEEDED


NOT_FOR_USERS = [
    Result(1, "", "slurm_load_jobs error: Access/permission denied"),
    Result(1, "sacct is restricted to administrators on this cluster\n", ""),
    Result(126, "", "bash: /usr/bin/scontrol: Permission denied"),
    None,
]


@pytest.mark.parametrize("tool", ["scontrol", "sacct"])
@pytest.mark.parametrize("answer", NOT_FOR_USERS, ids=["denied", "wrapped", "mode", "removed"])
def test_a_command_that_users_may_not_ask_is_done_without(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path, tool: str, answer: Result | None
) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] != tool:
            return slurm(command, seconds, stdin)
        if answer is None:
            raise Missing(f"There is no {tool} on login1.")
        return answer

    backend = SlurmBackend(SlurmClient(run, clock), SlurmJob(Path("/run"), "sft"))
    seen = backend.observe(tmp_path, an_attempt())
    # squeue alone does not prove that a job is gone.
    assert seen.phase is (Phase.UNKNOWN if tool == "scontrol" else Phase.GONE)
    if tool == "scontrol":
        assert f"squeue has no such job, move {tmp_path}" in seen.detail
    found = backend.find(tmp_path, an_attempt(""))
    assert (found.sure, found.job) == (True, None)
    slurm.down = True
    clock.sleep(2)
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.UNKNOWN
    assert not backend.find(tmp_path, an_attempt("")).sure


def test_what_never_answers_is_no_dead_end(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path
) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        wrapped = Result(0, "Please use our portal.\n", "")
        return wrapped if command[0] == "sacct" else slurm(command, seconds, stdin)

    backend = SlurmBackend(SlurmClient(run, clock), SlurmJob(Path("/run"), "sft"))
    seen = backend.observe(tmp_path, an_attempt())
    assert seen.phase is Phase.UNKNOWN
    assert f"squeue has no such job, move {tmp_path}" in seen.detail


def test_gone_only_if_all_who_could_know_say_no(backend: SlurmBackend, tmp_path: Path) -> None:
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.GONE


def test_a_job_that_only_the_database_thinks_alive_is_unknown(
    backend: SlurmBackend, slurm: FakeSlurm, clock: FakeClock, job: FakeJob, tmp_path: Path
) -> None:
    slurm.end(job, "RUNNING")
    clock.sleep(MIN_JOB_AGE + 1)
    seen = backend.observe(tmp_path, an_attempt())
    assert seen.phase is Phase.UNKNOWN
    assert seen.detail.startswith("Slurm calls the job RUNNING (if it is over, move ")


@pytest.mark.parametrize("state", ["FUTURE_STATE", "REVOKED"])
def test_a_state_that_nobody_knows_is_unknown(
    backend: SlurmBackend, job: FakeJob, tmp_path: Path, state: str
) -> None:
    job.state = state
    job.end = job.submit + 1
    seen = backend.observe(tmp_path, an_attempt())
    assert seen.phase is Phase.UNKNOWN
    assert seen.detail.startswith(f"Slurm calls the job {state} (if it is over, move {tmp_path} ")


@pytest.mark.parametrize("change", [{"name": "other-1"}, {"submit": 1.0, "end": 2.0}])
def test_an_id_that_is_used_again_is_not_ours(
    backend: SlurmBackend, job: FakeJob, tmp_path: Path, change: dict[str, Any]
) -> None:
    job.state = "COMPLETED"
    for name, value in change.items():
        setattr(job, name, value)
    assert backend.observe(tmp_path, an_attempt()).phase is Phase.GONE


def test_a_job_of_another_token_is_not_adopted(
    backend: SlurmBackend, slurm: FakeSlurm, job: FakeJob, tmp_path: Path
) -> None:
    job.comment = COMMENT.replace("t0", "t1")
    assert backend.find(tmp_path, an_attempt("")) == Found(True)
    job.comment = COMMENT
    backend._client._queues.clear()
    assert backend.find(tmp_path, an_attempt("")).job == JobRef("12")
    slurm.jobs.insert(0, FakeJob("11", "n-1", COMMENT, "/run", job.submit))
    backend._client._queues.clear()
    assert backend.find(tmp_path, an_attempt("")).job == JobRef("11"), "the first of two"


@pytest.mark.parametrize(("work_dir", "found"), [("/run", True), ("/other", False)])
def test_without_comments_the_folder_tells_whose_job_it_was(
    backend: SlurmBackend,
    slurm: FakeSlurm,
    clock: FakeClock,
    job: FakeJob,
    tmp_path: Path,
    work_dir: str,
    found: bool,
) -> None:
    job.work_dir = work_dir
    slurm.end(job, "COMPLETED")
    slurm.comments_in_accounting = False
    clock.sleep(MIN_JOB_AGE + 1)
    assert (backend.find(tmp_path, an_attempt("")).job is not None) == found


def test_a_job_on_another_cluster_is_asked_about_there(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def record(command: list[str], _seconds: float, _stdin: str) -> Result:
        calls.append(command)
        return Result(1, "", "down")

    backend = SlurmBackend(SlurmClient(record, FakeClock()), SlurmJob(Path("/run"), "sft"))
    there = an_attempt()
    there.slurm_cluster = "osk"
    backend.observe(tmp_path, there)
    with pytest.raises(Unknown):
        backend.stop(there, "USR1")
    assert [call[0] for call in calls] == ["squeue", "scontrol", "sacct", "scancel"]
    assert all(call[1] == "--clusters=osk" for call in calls)


def test_log_paths_are_patterns_but_the_run_folder_is_not(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "50%j of it"
    logs = [log_pattern(path, folder) for path in (f"{folder}/logs/%x-%j.out", "~/%x.err")]
    job = SlurmJob(folder, "sft", SCRIPT, SBATCH, output=logs[0], error=logs[1])
    backend = SlurmBackend(SlurmClient(slurm, clock), job)
    (tmp_path / "script.sh").write_text(SCRIPT)
    new = an_attempt("")
    backend.submit(tmp_path, new)
    assert f"--output={tmp_path}/50%%j of it/logs/%x-%j.out" in slurm.calls[-1]
    assert new.stdout == f"{folder}/logs/n-1-12.out"
    assert new.stderr == f"{Path.home()}/n-1.err"


def test_without_patterns_the_logs_are_where_sbatch_puts_them(
    backend: SlurmBackend, tmp_path: Path
) -> None:
    (tmp_path / "script.sh").write_text(SCRIPT)
    new = an_attempt("")
    backend.submit(tmp_path, new)
    assert (new.stdout, new.stderr) == ("/run/slurm-12.out", "/run/slurm-12.out")


def test_patterns_resolve_as_sbatch_does() -> None:
    assert resolve("/a%%j/%x-%j-%N.out", "n-1", "12") == "/a%j/n-1-12-%N.out"


@pytest.mark.parametrize(
    "name", ["record.json", "script.sh", "end-1.json", "a/b", "", "../x", "a b"]
)
def test_files_cannot_take_the_ledger_s_names_or_leave_its_folder(name: str) -> None:
    with pytest.raises(Invalid):
        job_files({name: "text"})


def test_a_job_s_environment_does_not_depend_on_the_shell_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SBATCH_PARTITION", "SLURM_JOB_ID", "VIRTUAL_ENV", "RAY_ADDRESS", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/other.conf")
    environment = clean_environment("/opt/slurm/bin")
    assert environment["PATH"].startswith("/opt/slurm/bin:/usr/local/bin:/usr/bin")
    assert environment["SLURM_CONF"] == "/etc/slurm/other.conf"
    assert set(environment) - {"TZ"} == {
        *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "PATH", "SLURM_CONF"),
    }


def test_a_command_is_run_bounded_and_without_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "squeue"
    tool.write_text('#!/bin/sh\necho "$1|$SLURM_TIME_FORMAT"; cat; [ "$1" = wait ] && sleep 5\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run(["squeue", "$(id); x"], 5.0, "in\n") == Result(1, "$(id); x|%s\nin\n", "")
    (tmp_path / "squeue").rename(tmp_path / "sbatch")
    (tmp_path / "sinfo").write_text("no program")
    (tmp_path / "sinfo").chmod(0o755)
    with pytest.raises(Invalid, match="sinfo cannot be run: Exec format error"):
        run(["sinfo"], 5.0)
    assert run(["sbatch", "wait"], 0.3) == Result(None, "wait|\n", "")


def test_a_missing_command_is_named_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Missing, match=r"no no-such-tool on .*group `login`"):
        find_tool("no-such-tool")
