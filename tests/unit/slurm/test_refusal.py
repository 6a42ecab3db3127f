"""What sbatch answers: a refusal is told with what exists, a lost connection is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Rejected,
    Uncertain,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.fake_slurm import FakeClock, FakeSlurm
from tests.helpers.stage_run import SCRIPT, an_attempt

LOST = ["Socket timed out on send/recv operation", "Unable to contact slurm controller"]
LOST += ["Zero Bytes were transmitted or received", "Slurm temporarily unable to accept job"]
# The others of Slurm's own list (slurm_errno.c) after which the job may be there.
LOST += ["Message send failure", "Message receive failure", "Communication shutdown failure"]
LOST += ["Communication connection failure", "Unexpected message received"]
LOST += ["Header lengths are longer than data received", "Insane message length"]
LOST += ["Protocol authentication error", "Connection forced closed by quiesce timeout"]
LOST += ["Connection rejected by handler", "Rate limit exceeded, please retry later"]
LOST += ["Resource temporarily unavailable", "Broken pipe", "No route to host"]


@pytest.mark.parametrize("words", LOST)
def test_a_lost_connection_is_not_a_refusal(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, words: str
) -> None:
    error = Result(1, "", f"sbatch: error: Batch job submission failed: {words}")
    slurm.refusals = [error, error]
    with pytest.raises(Uncertain):
        backend.submit(tmp_path, an_attempt(""))
    with pytest.raises(Unknown):
        backend.check(tmp_path, an_attempt(""))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "invalid partition specified: YOU_TEAM",
            ["--partition=gpu", "Existing partitions: gpu*"],
        ),
        ("Invalid node name specified", ["Existing nodes: osk-gpu[94-95] in gpu* (idle)"]),
        ("Requested node configuration is not available", ["--nodes=2", "64 CPUs", "gpu:8"]),
        ("Requested time limit is invalid", ["time limit 7-00:00:00"]),
        ("Invalid account or account/partition combination specified", ["--partition=gpu"]),
        ("The site says no", []),
    ],
)
def test_a_refusal_names_the_option_and_what_exists(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, words: str, said: list[str]
) -> None:
    slurm.refusals = [Result(1, "", f"sbatch: error: Batch job submission failed: {words}")]
    with pytest.raises(Rejected, match="nothing was submitted") as caught:
        backend.submit(tmp_path, an_attempt(""))
    for text in [words, *said]:
        assert text in caught.value.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": "3"}, "nodes: 3 are requested, partition gpu allows 2"),
        ({"nodes": "3-4", "partition": "gpu"}, "nodes: 3 are requested"),
        ({"time": "8-0"}, "time: 8-0 = 8 days, but partition gpu allows 7 days"),
        ({"time": "0"}, "time: 0 = no limit"),
        ({"partition": "other"}, "there is no partition other; available: gpu"),
        ({"gpus-per-node": "9"}, "9 GPUs on each of 1 nodes are requested"),
        ({"nodes": "2", "time": "7-0"}, ""),
    ],
)
def test_a_job_that_could_never_start_is_refused(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    job = SlurmJob(Path("/run"), "sft", SCRIPT, options)
    backend = SlurmBackend(SlurmClient(slurm, clock), job)
    if not said:
        backend.check(tmp_path, an_attempt(""))
        return
    with pytest.raises(Rejected, match="could not start, so nothing was submitted") as caught:
        backend.check(tmp_path, an_attempt(""))
    assert said in caught.value.message


def test_where_slurm_does_not_answer_sbatch_judges(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path
) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] == "sbatch":
            return slurm(command, seconds, stdin)
        return Result(1, "", "access denied")

    job = SlurmJob(Path("/run"), "sft", SCRIPT, {"nodes": "9"})
    SlurmBackend(SlurmClient(run, clock), job).check(tmp_path, an_attempt(""))
    assert slurm.calls[-1][:2] == ["sbatch", "--test-only"]


BANNER = "*** Welcome to this site ***\nMaintenance on Monday: jobs may wait\n"
REFUSED = (
    "sbatch: error: invalid partition specified: YOU\nsbatch: error: Batch job submission failed"
)


@pytest.mark.parametrize("result", [
    Result(1, BANNER, f"{BANNER}{REFUSED}\n{BANNER}"), Result(1, f"{BANNER}{REFUSED}", BANNER),
])  # fmt: skip
def test_a_banner_is_no_part_of_a_refusal(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path, result: Result
) -> None:
    slurm.refusals = [result]
    with pytest.raises(Rejected) as caught:
        backend.submit(tmp_path, an_attempt(""))
    assert "nothing was submitted: invalid partition specified: YOU" in caught.value.message
    assert "Monday" not in caught.value.message


def test_what_a_wrapper_of_the_site_says_is_shown_as_it_is(
    backend: SlurmBackend, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.refusals = [Result(1, "", "submit-wrapper: your project has no hours left")]
    with pytest.raises(Rejected, match="your project has no hours left"):
        backend.submit(tmp_path, an_attempt(""))
