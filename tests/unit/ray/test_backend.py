"""Ray as a backend: alone, and under the stage logic with its re-runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Refused,
    Rejected,
    Uncertain,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.ray.backend import (
    RayBackend,
    RayJob,
    RayRecords,
)
from ansible_collections.mnrun.train.plugins.module_utils.ray.client import Answer, RayClient
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Found,
    JobRef,
    Phase,
    Request,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.record.log_pattern import log_pattern
from ansible_collections.mnrun.train.plugins.module_utils.record.mark import mark
from ansible_collections.mnrun.train.plugins.module_utils.stage.context import Stage
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.outcome import Outcome
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan, present

from tests.helpers.fake_ray import FakeRay
from tests.helpers.fake_slurm import FakeClock
from tests.helpers.stage_run import HOSTILE

NAME = "ppo-0a1b2c3d-1"
LOST = Answer(None, "no answer: timed out")


@dataclass
class Ray:
    """Heads by their Slurm job ids, and one stage of a run on them."""

    folder: Path
    clock: FakeClock
    head: FakeRay = field(default_factory=FakeRay)
    cluster: str = "7"
    over: dict[str, bool | None] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        """The folder of the record of an attempt that no ledger has."""
        folder = self.folder / ".mnrun" / "ppo" / "0a1b2c3d4e5f"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def backend(self, script: str = "echo trained\n") -> RayBackend:
        output = log_pattern(f"{self.folder}/logs/%x.log", self.folder)
        job = RayJob(self.folder, "ppo", script, {}, output, self.cluster)
        return RayBackend(RayClient(self.head), job, self._over)

    def records(self) -> RayRecords:
        return RayRecords(RayJob(self.folder, "ppo"), self._over)

    def _over(self, cluster: str, _used: float) -> bool | None:
        return self.over.get(cluster, False)

    def next_head(self, cluster: str) -> None:
        self.over[self.cluster] = True
        self.head, self.cluster = FakeRay(), cluster

    def stage(self, backend: RayRecords | None = None) -> Stage:
        request = Request(self.folder, "ppo", "ray", "ppo", {"lr": 1})
        ledger = Ledger(self.folder, "ppo", self.clock)
        return Stage(request, backend or self.backend(), ledger, self.clock)

    def present(self) -> Outcome:
        return present(self.stage())

    def attempt(self) -> Attempt:
        (record,) = Ledger(self.folder, "ppo", self.clock).records()
        assert record.last is not None
        return record.last

    def write_end(self, exit_code: int) -> None:
        (record,) = Ledger(self.folder, "ppo", self.clock).records()
        attempt = self.attempt()
        _write(self.folder / ".mnrun" / "ppo" / record.fingerprint[:12], attempt, exit_code)


def _write(folder: Path, attempt: Attempt, exit_code: int | None = None) -> None:
    """What the job writes about its start, and with an exit code about its end."""
    said = {"job_id": attempt.name, "token": attempt.token, "start": 5}
    (folder / f"start-{attempt.number}.json").write_text(json.dumps(said))
    if exit_code is not None:
        said |= {"end": 9, "exit_code": exit_code}
        (folder / f"end-{attempt.number}.json").write_text(json.dumps(said))


@pytest.fixture
def ray(tmp_path: Path, clock: FakeClock) -> Ray:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    return Ray(folder, clock)


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(1, "t0ken", NAME, intent_time=1_700_000_000.0, head_job="7", job_id=NAME)


# submit, find


def test_submit_sends_paths_only_and_remembers_the_log(ray: Ray, attempt: Attempt) -> None:
    assert ray.backend().submit(ray.record, attempt) == JobRef(NAME, head_job="7")
    assert attempt.stdout == f"{ray.folder}/logs/{NAME}.log"
    said = mark(ray.folder, "ppo", ray.record, attempt)
    assert ray.head.jobs[NAME]["metadata"] == {"mnrun_mark": said}
    assert "trained" not in ray.head.jobs[NAME]["entrypoint"]


def test_the_entrypoint_runs_and_leaves_log_and_end_on_the_shared_file_system(
    ray: Ray, attempt: Attempt
) -> None:
    backend = ray.backend("echo trained; echo oops >&2; exit 3\n")
    for name, text in backend.files(ray.record, attempt).items():
        (ray.record / name).write_text(text)
    backend.submit(ray.record, attempt)
    command = ["/bin/sh", "-c", ray.head.jobs[NAME]["entrypoint"]]  # as Ray runs it
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 3
    assert done.stdout == f"mnrun: the log of this job is {attempt.stdout}\n"
    assert Path(attempt.stdout).read_text() == "trained\noops\n"
    ray.next_head("8")
    seen = ray.backend().observe(ray.record, attempt)
    assert (seen.phase, seen.exit_code) == (Phase.FAILED, 3)


def test_without_a_path_the_log_lies_with_the_record(ray: Ray, attempt: Attempt) -> None:
    backend = RayBackend(
        RayClient(ray.head),
        RayJob(ray.folder, "ppo", "true", head_job="7"),
        lambda _cluster, _used: False,
    )
    backend.submit(ray.record, attempt)
    assert attempt.stdout == f"{ray.record}/{NAME}.log"


def test_a_job_that_is_there_is_attached_to(ray: Ray, attempt: Attempt) -> None:
    for _ in range(2):
        assert ray.backend().submit(ray.record, attempt) == JobRef(NAME, head_job="7")
    assert ray.head.submissions() == 1


def test_a_job_of_that_name_which_is_not_ours_is_refused(ray: Ray, attempt: Attempt) -> None:
    ray.backend().submit(ray.record, replace(attempt, token="another"))  # noqa: S106
    with pytest.raises(Rejected, match="not in this run's ledger"):
        ray.backend().submit(ray.record, attempt)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (LOST, Uncertain),
        (Answer(500, "No available agent to submit job, please try again later."), Uncertain),
        (Answer(400, "Traceback\nTypeError: bad"), Rejected),
        (Answer(403, "Forbidden: Invalid authentication token"), Rejected),
    ],
)
def test_what_a_submission_without_success_means(
    ray: Ray, attempt: Attempt, answer: Answer, error: type[Exception]
) -> None:
    ray.head.refusals = [answer]
    with pytest.raises(error):
        ray.backend().submit(ray.record, attempt)


def test_find_is_sure_only_if_the_head_answers(ray: Ray, attempt: Attempt) -> None:
    assert ray.backend().find(ray.record, attempt) == Found(True, None)
    ray.head.down = True
    found = ray.backend().find(ray.record, attempt)
    assert (found.sure, found.job) == (False, None)
    assert "Connection refused" in found.detail


def test_find_knows_a_job_that_started_on_an_earlier_head(ray: Ray, attempt: Attempt) -> None:
    _write(ray.record, attempt)
    assert ray.backend().find(ray.record, attempt) == Found(True, JobRef(NAME))


# observe


@pytest.mark.parametrize(
    ("status", "phase", "code"),
    [
        ("PENDING", Phase.QUEUED, None),
        ("RUNNING", Phase.RUNNING, None),
        ("SUCCEEDED", Phase.SUCCEEDED, 0),
        ("FAILED", Phase.FAILED, 1),
        ("STOPPED", Phase.CANCELLED, None),
        ("DREAMING", Phase.UNKNOWN, None),
    ],
)
def test_the_status_is_the_truth(
    ray: Ray, attempt: Attempt, status: str, phase: Phase, code: int | None
) -> None:
    ray.backend().submit(ray.record, attempt)
    ray.head.jobs[NAME].update(status=status, driver_exit_code=code)
    _write(ray.record, attempt, exit_code=1)  # what the job wrote counts only without its head
    seen = ray.backend().observe(ray.record, attempt)
    assert (seen.phase, seen.exit_code) == (phase, code)
    assert seen.start == 1_700_000_000.0


def test_a_failure_does_not_repeat_the_log_in_its_reason(ray: Ray, attempt: Attempt) -> None:
    ray.backend().submit(ray.record, attempt)
    ray.head.end(NAME, "FAILED", 1)
    assert ray.backend().observe(ray.record, attempt).reason == ""
    ray.head.jobs[NAME].update(driver_exit_code=None, message="Job supervisor died.\nmore")
    assert ray.backend().observe(ray.record, attempt).reason == "Job supervisor died."


def test_a_head_that_does_not_answer_leaves_it_unknown(ray: Ray, attempt: Attempt) -> None:
    ray.head.down = True
    seen = ray.backend().observe(ray.record, attempt)
    assert seen.phase is Phase.UNKNOWN
    assert "Connection refused" in seen.detail


def test_a_job_that_its_head_does_not_know_is_gone_or_wrote_its_end(
    ray: Ray, attempt: Attempt
) -> None:
    assert ray.backend().observe(ray.record, attempt).phase is Phase.GONE
    _write(ray.record, attempt, exit_code=0)
    assert ray.backend().observe(ray.record, attempt).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("over", "started", "phase"),
    [
        (True, True, Phase.GONE),
        (False, True, Phase.RUNNING),
        (False, False, Phase.QUEUED),
        (None, True, Phase.UNKNOWN),
    ],
)
def test_a_job_on_another_head_lives_as_long_as_that(
    ray: Ray, attempt: Attempt, over: bool | None, started: bool, phase: Phase
) -> None:
    if started:
        _write(ray.record, attempt)
    ray.over["7"] = over
    ray.cluster = "8"
    for backend in (ray.backend(), ray.records()):
        assert backend.observe(ray.record, attempt).phase is phase
    assert ray.head.calls == []


def test_a_driver_that_was_killed_with_its_cluster_says_so(ray: Ray, attempt: Attempt) -> None:
    _write(ray.record, attempt, exit_code=143)
    ray.next_head("8")
    seen = ray.backend().observe(ray.record, attempt)
    assert (seen.phase, seen.reason) == (Phase.FAILED, "its Ray cluster is over, Slurm job 7")


def test_a_job_known_by_its_start_only_was_on_a_head_that_is_over(
    ray: Ray, attempt: Attempt
) -> None:
    _write(ray.record, attempt)
    seen = ray.backend().observe(ray.record, replace(attempt, head_job=""))
    assert seen.phase is Phase.GONE


# check, stop


def test_check_needs_a_head_that_answers_and_takes_the_token(ray: Ray, attempt: Attempt) -> None:
    ray.backend().check(ray.record, attempt)
    ray.head.down = True
    with pytest.raises(Unknown, match="does not respond"):
        ray.backend().check(ray.record, attempt)


def test_stop_asks_ray(ray: Ray, attempt: Attempt) -> None:
    backend = ray.backend()
    backend.stop(attempt, "TERM")  # not there any more: nothing to do
    backend.submit(ray.record, attempt)
    backend.stop(attempt, "TERM")
    assert backend.observe(ray.record, attempt).phase is Phase.CANCELLED
    ray.head.down = True
    with pytest.raises(Unknown, match="could not be stopped"):
        backend.stop(attempt, "")


def test_without_a_head_nothing_is_submitted_or_stopped(ray: Ray, attempt: Attempt) -> None:
    with pytest.raises(Refused, match="head"):
        ray.records().submit(ray.record, attempt)
    with pytest.raises(Refused, match="head"):
        ray.records().stop(attempt, "")


# under the stage logic


def test_a_second_run_attaches(ray: Ray) -> None:
    assert ray.present().action is Action.SUBMIT
    ray.head.run(ray.attempt().name)
    assert ray.present().action is Action.ATTACH
    assert ray.head.submissions() == 1


def test_a_submission_that_was_cut_off_is_adopted(ray: Ray) -> None:
    ray.head.unclean = [LOST]
    assert ray.present().action is Action.ADOPT
    assert ray.head.submissions() == 1
    assert (ray.attempt().head_job, ray.attempt().phase) == ("7", Phase.QUEUED)
    assert ray.attempt().stdout.endswith(f"/logs/{ray.attempt().name}.log")


def test_a_submission_that_was_lost_is_made_again(ray: Ray) -> None:
    ray.head.refusals = [LOST]
    assert ray.present().action.submits
    assert ray.head.submissions() == 2
    assert list(ray.head.jobs) == [ray.attempt().name]


def test_done_is_known_without_a_head(ray: Ray) -> None:
    ray.present()
    ray.write_end(0)
    ray.over["7"] = True
    assert plan(ray.stage(ray.records())).action is Action.NOTHING


def test_a_plan_without_a_head_sees_a_job_that_runs(ray: Ray) -> None:
    ray.present()
    assert plan(ray.stage(ray.records())).action is Action.ATTACH


def test_a_job_lost_with_its_cluster_gets_a_successor_on_the_next(ray: Ray) -> None:
    ray.present()
    ray.head.run(ray.attempt().name)
    ray.next_head("8")
    assert ray.present().action is Action.RESUBMIT
    assert (ray.attempt().number, ray.attempt().head_job) == (2, "8")
    assert list(ray.head.jobs) == [ray.attempt().name]


def test_nothing_is_submitted_beside_a_job_whose_head_may_live(ray: Ray) -> None:
    ray.present()
    ray.over["7"] = None
    ray.cluster, ray.head = "8", FakeRay()
    with pytest.raises(Unknown, match="job 7"):
        ray.present()
    assert ray.head.submissions() == 0


# who else uses the head


def test_a_live_job_of_another_run_or_stage_on_the_same_head_is_no_concern(
    ray: Ray, tmp_path: Path
) -> None:
    for folder, stage in ((tmp_path / "another run", "ppo"), (ray.folder, "judge")):
        job = RayJob(folder, stage, "true", head_job="7")
        other = Attempt(1, "t1", f"{stage}-00000000-{folder.name[0]}", intent_time=1.0)
        RayBackend(RayClient(ray.head), job, ray._over).submit(folder / "0a1b2c3d4e5f", other)
        ray.head.run(other.name)
    assert ray.present().action is Action.SUBMIT
    assert len(ray.head.jobs) == 3


def test_a_live_job_whose_record_was_removed_is_followed_and_not_doubled(ray: Ray) -> None:
    ray.present()
    name = ray.attempt().name
    ray.head.run(name)
    shutil.rmtree(ray.folder / ".mnrun")
    assert ray.present().action is Action.ADOPT
    assert (list(ray.head.jobs), ray.attempt().number) == ([name], 1)
