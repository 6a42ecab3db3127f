"""Stages inside an allocation: real processes, in an allocation of a fake Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Invalid,
    Refused,
    Rejected,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.base.sessions import (
    processes,
    stat_of,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    ALLOCATION_OVER,
    Attempt,
    Observation,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.inside import (
    is_inside,
    new_id,
    slurm_job,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm import inside
from ansible_collections.mnrun.train.plugins.module_utils.slurm.allocation import (
    Allocation,
    read_allocation,
    seconds_left,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.fake_slurm import FakeJob, FakeSlurm

LONG = "trap 'exit 3' TERM\ntrap 'exit 0' USR1\necho up\nwhile :; do sleep 0.05; done\n"


class Held:
    """A run whose relay has an allocation, and one stage in it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.slurm = FakeSlurm(self.clock)  # type: ignore[arg-type]
        self.run_dir, self.folder = folder, folder / ".mnrun" / "sft" / "0123456789ab"
        self.folder.mkdir(parents=True)
        comment = f"mnrun run={folder} stage=relay fp=0123456789ab attempt=1 token=t"
        now = self.clock.now()
        self.job = FakeJob("7", "relay-1", comment, str(folder), now - 50)
        self.slurm.jobs.append(self.job)
        self.slurm.run(self.job)
        self.job.start = now - 40
        known = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "osk-gpu94"}
        self.allocation = Allocation("7", "osk-gpu[94-95]", known)
        self.attempt = Attempt(1, "t0", "n-1", now, submitted_by=os.geteuid(), submitted_on="osk")
        self.commands: list[list[str]] = []

    def run(self, command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] not in ("bash", "srun"):
            return self.slurm(command, seconds, stdin)
        self.commands.append(command)
        own = command[command.index("bash") :]
        done = subprocess.run(own, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def backend(self, script: str = LONG, within: bool = True) -> SlurmBackend:
        job = SlurmJob(
            self.run_dir,
            "sft",
            f"#!/bin/bash\n{script}",
            output=f"{self.run_dir}/logs/%x-%j.out",
            error=f"{self.run_dir}/logs/%x.err",
            allocation=self.allocation if within else None,
        )
        return SlurmBackend(SlurmClient(self.run, self.clock), job)

    def begin(self, script: str = LONG) -> SlurmBackend:
        backend = self.backend(script)
        for name, text in backend.files(self.folder, self.attempt).items():
            (self.folder / name).write_text(text)
        self.attempt.job = backend.submit(self.folder, self.attempt)
        return backend

    def observe(self, within: bool = True) -> Observation:
        return self.backend(within=within).observe(self.folder, self.attempt)

    def until(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (found := what()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found

    def ended(self) -> Observation:
        def over() -> Observation | None:
            seen = self.observe()
            return seen if seen.phase.ended else None

        found: Observation = self.until(over)
        return found

    @property
    def pid(self) -> int:
        return int((self.folder / f"process-{self.attempt.job_id}").read_text().split()[2])

    def claimed(self) -> None:
        self.until(lambda: "up" in Path(self.attempt.stdout).read_text())

    def move_away(self) -> None:
        """Seen from another host than its own."""
        path = self.folder / f"process-{self.attempt.job_id}"
        words = path.read_text().split()
        path.write_text(" ".join(["osk-gpu94", "elsewhere", *words[2:]]))


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    found = Held(tmp_path)
    yield found
    if found.attempt.job_id:
        try:
            os.killpg(found.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def test_its_id_names_the_allocation() -> None:
    one = new_id("4711")
    assert is_inside(one)
    assert slurm_job(one) == slurm_job("4711") == "4711"
    assert not is_inside("4711")
    assert not is_inside("login1.12.345.0123abcd")


def test_it_runs_as_a_batch_script_of_the_allocation(held: Held) -> None:
    held.begin('echo "$SLURM_JOB_ID $SLURMD_NODENAME $MNRUN_JOB in $PWD"; exit 5\n')
    seen = held.ended()
    assert (seen.phase, seen.state, seen.exit_code) == (Phase.FAILED, "FAILED", 5)
    assert slurm_job(held.attempt.job_id) == "7"
    text = Path(held.attempt.stdout).read_text()
    assert text == f"7 osk-gpu94 {held.attempt.job_id} in {held.run_dir}\n"
    assert held.attempt.job_id in held.attempt.stdout
    assert [call[0] for call in held.slurm.calls if call[0] == "sbatch"] == []


@pytest.mark.parametrize("within", [True, False])
def test_it_is_alive_on_its_host_and_from_afar(held: Held, within: bool) -> None:
    held.begin()
    held.claimed()
    seen = held.observe(within)
    assert (seen.phase, seen.nodes) == (Phase.RUNNING, "osk-gpu[94-95]")
    assert seen.start
    held.move_away()
    assert held.observe(within).phase is Phase.RUNNING


def test_a_process_that_was_killed_is_over_where_it_ran(held: Held) -> None:
    held.begin()
    held.claimed()
    os.killpg(held.pid, signal.SIGKILL)
    seen = held.ended()
    assert (seen.phase, seen.exit_code, seen.reason) == (
        Phase.FAILED, 137, "its process was killed")  # fmt: skip


def test_what_an_allocation_left_that_slurm_started_again_is_over(held: Held) -> None:
    held.begin()
    held.claimed()
    os.killpg(held.pid, signal.SIGKILL)
    held.job.start = held.clock.now() + 100
    assert held.ended().state == ALLOCATION_OVER
    path = held.folder / f"process-{held.attempt.job_id}"
    path.write_text(path.read_text().replace("osk-gpu94", "osk-gpu96"))
    assert held.observe(within=False).state == ALLOCATION_OVER


def test_it_is_over_only_without_a_step_of_its_own(held: Held) -> None:
    held.begin("exit 0\n")
    held.until(lambda: stat_of(held.pid) is None)
    held.slurm.steps = None
    assert held.observe().phase is Phase.UNKNOWN
    held.slurm.steps = ["7.0", "7.3"]
    assert (held.observe().phase, held.slurm.steps) == (Phase.ENDING, [])
    assert held.observe().phase is Phase.SUCCEEDED
    # From afar its own word counts: the steps may be those of the next stage.
    held.move_away()
    held.slurm.steps = ["7.4"]
    assert (held.observe().phase, held.slurm.steps) == (Phase.SUCCEEDED, ["7.4"])


def test_the_steps_of_another_stage_that_lives_are_left_alone(held: Held) -> None:
    held.begin("exit 0\n")
    held.until(lambda: stat_of(held.pid) is None)
    other = held.run_dir / ".mnrun" / "ray" / "0123456789cd"
    other.mkdir(parents=True)
    about = stat_of(os.getpid())
    assert about
    words = f"osk-gpu94 {os.uname().nodename} {os.getpid()} {about.start}"
    (other / "process-7.0123ab").write_text(words)
    held.slurm.steps = ["7.5"]
    assert (held.observe().phase, held.slurm.steps) == (Phase.SUCCEEDED, ["7.5"])
    held.attempt.number = 2
    held.begin("exit 0\n")
    assert held.slurm.steps == ["7.5"]


@pytest.mark.parametrize(("steps", "why"), [(None, {"unknown": True}), (["7.0"], {"leaves": True})])
def test_nothing_begins_beside_what_is_left_of_another(
    held: Held, monkeypatch: pytest.MonkeyPatch, steps: list[str] | None, why: dict[str, bool]
) -> None:
    monkeypatch.setattr(inside, "_CLEAR", 0.0)
    held.slurm.steps = steps
    with pytest.raises(Rejected) as error:
        held.begin()
    assert error.value.details == why
    assert not held.attempt.job_id


def test_an_allocation_that_lost_a_node_is_left(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "_CLEAR", 0.0)
    held.slurm.node_states["osk-gpu95"] = "down*"
    with pytest.raises(Rejected, match="osk-gpu95 of the allocation") as error:
        held.begin()
    assert error.value.details == {"leaves": True}


def test_a_node_that_missed_one_ping_is_not_lost(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "_AGAIN", 0.0)
    states = iter(["allocated*"])
    ask = held.run

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] == "sinfo":
            held.slurm.node_states["osk-gpu95"] = next(states, "allocated")
        return ask(command, seconds, stdin)

    monkeypatch.setattr(held, "run", run)
    held.begin("exit 0\n")
    assert held.ended().phase is Phase.SUCCEEDED


def test_it_begins_with_a_python_that_cannot_spawn_sessions(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_arguments: object, **_options: object) -> int:  # as one built for an old glibc
        raise NotImplementedError

    monkeypatch.setattr(os, "posix_spawn", spawn)
    held.begin()
    assert os.getsid(held.pid) == held.pid


@pytest.mark.parametrize(("word", "fails"), [("USR1", False), ("", True)])
def test_it_is_asked_to_end(held: Held, word: str, fails: bool) -> None:
    backend = held.begin()
    held.claimed()
    backend.stop(held.attempt, word)
    seen = held.ended()
    assert bool(seen.exit_code) is fails
    assert stat_of(held.pid) is None


def test_from_afar_a_step_asks_it_to_end(held: Held) -> None:
    held.begin()
    held.claimed()
    held.move_away()
    held.backend(within=False).stop(held.attempt, "USR1")
    (command,) = held.commands
    assert command[:3] == ["srun", "--jobid=7", "--nodelist=osk-gpu94"]
    assert "--overlap" in command


@pytest.mark.parametrize("script_ends", [False, True])
def test_what_ignores_that_it_should_end_is_killed_and_recorded(
    held: Held, monkeypatch: pytest.MonkeyPatch, script_ends: bool
) -> None:
    monkeypatch.setattr(inside, "_GRACE", 0.5)
    ignores = "trap '' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    held.begin(f"({ignores}) &\nwait\n" if script_ends else ignores)
    held.claimed()
    held.move_away()
    held.backend(within=False).stop(held.attempt, "")
    seen = held.observe(within=False)
    assert seen.phase is Phase.FAILED
    assert seen.exit_code == (143 if script_ends else 137)
    assert not processes(held.pid, 0)


def test_the_step_that_asks_may_end_with_the_allocation(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.begin()
    held.claimed()
    held.move_away()
    monkeypatch.setattr(SlurmClient, "do_in", lambda *_arguments: "srun: task 0: Killed")
    with pytest.raises(Unknown, match="task 0: Killed"):
        held.backend(within=False).stop(held.attempt, "")
    held.job.state = "COMPLETING"
    held.backend(within=False).stop(held.attempt, "")
    held.job.state = "RUNNING"
    os.killpg(held.pid, signal.SIGTERM)
    held.until((held.folder / "end-1.json").exists)
    held.backend(within=False).stop(held.attempt, "")


def test_what_took_its_number_is_not_signalled(held: Held) -> None:
    backend = held.begin()
    held.claimed()
    path = held.folder / f"process-{held.attempt.job_id}"
    words = path.read_text().split()
    path.write_text(" ".join([*words[:3], str(int(words[3]) + 1)]))
    backend.stop(held.attempt, "")
    assert stat_of(int(words[2])) is not None
    path.unlink()
    with pytest.raises(Unknown, match="scancel 7"):
        backend.stop(held.attempt, "")
    path.write_text(" ".join(words))


@pytest.mark.parametrize(
    ("state", "phase", "ours"),
    [
        ("TIMEOUT", Phase.FAILED, "TIMEOUT"),
        ("NODE_FAIL", Phase.FAILED, "NODE_FAIL"),
        ("PREEMPTED", Phase.FAILED, "PREEMPTED"),
        ("CANCELLED by 2000", Phase.CANCELLED, "CANCELLED"),
        ("FAILED", Phase.FAILED, ALLOCATION_OVER),
        ("COMPLETED", Phase.FAILED, ALLOCATION_OVER),
    ],
)
@pytest.mark.parametrize("within", [True, False])
def test_it_ends_with_its_allocation(
    held: Held, state: str, phase: Phase, ours: str, within: bool
) -> None:
    held.begin()
    held.claimed()
    held.job.start = held.clock.now()
    os.killpg(held.pid, signal.SIGTERM)  # as Slurm does; what it writes down is how it was killed
    held.until((held.folder / "end-1.json").exists if state != "COMPLETED" else lambda: True)
    if state == "COMPLETED":
        (held.folder / "end-1.json").unlink(missing_ok=True)
        os.killpg(held.pid, signal.SIGKILL)
    held.slurm.end(held.job, state)
    held.job.end = held.clock.now() + 60
    seen = held.observe(within)
    assert (seen.phase, seen.state) == (phase, ours)


def test_a_stage_that_came_late_has_not_had_the_time_of_its_allocation(held: Held) -> None:
    held.begin()
    held.claimed()
    held.job.start = held.clock.now() - 3600
    held.slurm.end(held.job, "TIMEOUT")
    held.job.end = held.clock.now() + 60
    assert held.observe().state == ALLOCATION_OVER


def test_its_own_word_counts_if_it_ended_long_before(held: Held) -> None:
    held.begin("exit 4\n")
    held.until((held.folder / "end-1.json").exists)
    held.slurm.end(held.job, "TIMEOUT")
    held.job.end = held.clock.now() + 600
    seen = held.observe()
    assert (seen.state, seen.exit_code) == ("FAILED", 4)


@pytest.mark.parametrize(
    ("words", "phase", "state"),
    [
        ("CANCELLED AT {} ***", Phase.CANCELLED, "CANCELLED"),
        ("CANCELLED AT {} DUE TO TIME LIMIT ***", Phase.FAILED, ALLOCATION_OVER),
        ("CANCELLED AT {} DUE TO PREEMPTION ***", Phase.FAILED, "PREEMPTED"),
    ],
)
def test_how_an_allocation_ended_that_slurm_forgot_is_in_its_log(
    held: Held, words: str, phase: Phase, state: str
) -> None:
    held.begin()
    held.claimed()
    os.killpg(held.pid, signal.SIGTERM)
    held.until((held.folder / "end-1.json").exists)
    held.slurm.jobs.clear()
    log = held.run_dir / "relay" / "relay.log"
    log.parent.mkdir()
    moment = words.format(time.strftime("%Y-%m-%dT%H:%M:%S"))
    log.write_text(f"slurmstepd: error: *** JOB 7 ON osk-gpu94 {moment}\n")
    seen = held.observe(within=False)
    assert (seen.phase, seen.state) == (phase, state)


def test_a_stage_that_failed_long_before_its_allocation_was_cancelled_was_not(held: Held) -> None:
    held.begin("exit 4\n")
    held.until((held.folder / "end-1.json").exists)
    held.slurm.jobs.clear()
    log = held.run_dir / "relay" / "relay.log"
    log.parent.mkdir()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 600))
    log.write_text(f"slurmstepd: error: *** JOB 7 ON osk-gpu94 CANCELLED AT {moment} ***\n")
    seen = held.observe(within=False)
    assert (seen.phase, seen.exit_code) == (Phase.FAILED, 4)


def test_what_slurm_does_not_say_is_unknown(held: Held) -> None:
    held.begin()
    held.claimed()
    held.slurm.down, held.slurm.accounting_down = True, True
    assert held.observe().phase is Phase.UNKNOWN


def test_a_job_that_took_the_id_of_the_allocation_is_not_it(held: Held) -> None:
    held.begin("exit 0\n")
    held.until((held.folder / "end-1.json").exists)
    held.slurm.jobs[0] = replace(held.job, submit=held.clock.now() + 9999, comment="else")
    assert held.observe(within=False).phase is Phase.SUCCEEDED


def test_no_allocation_is_kept_for_what_runs_elsewhere(held: Held) -> None:
    comment = f"mnrun run={held.run_dir} stage=sft fp=0123456789ab attempt=1 token=t0"
    outside = FakeJob("9", "n-1", comment, str(held.run_dir), held.clock.now())
    held.slurm.jobs.append(outside)
    held.attempt.job_id = "9"
    with pytest.raises(Refused, match=r"Job 9, outside of this allocation \(job 7\)"):
        held.observe()
    assert held.observe(within=False).phase is Phase.QUEUED
    held.attempt.job_id = ""


def test_an_allocation_is_read_from_the_environment_of_its_script(tmp_path: Path) -> None:
    path = tmp_path / "allocation-7"
    path.write_bytes(
        b"SLURM_JOB_ID=7\0SLURM_JOB_NODELIST=osk-gpu[94-95]\0A=b\nc=d\0MNRUN_TOKEN=t\0"
    )
    found = read_allocation(path)
    assert (found.job, found.nodes) == ("7", "osk-gpu[94-95]")
    assert dict(found.environment) == {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "osk-gpu[94-95]", "A": "b\nc=d"}  # fmt: skip
    path.write_bytes(b"A=b\0")
    with pytest.raises(Invalid, match="not the environment of a batch script"):
        read_allocation(path)


def test_a_stage_has_what_is_left_of_the_allocation(held: Held) -> None:
    held.job.end = held.clock.now() + 600
    left = seconds_left(SlurmClient(held.run, held.clock), held.allocation)
    assert left
    assert 590 < left < 602
    held.slurm.down = True
    assert seconds_left(SlurmClient(held.run, held.clock), held.allocation) is None
