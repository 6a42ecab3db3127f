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
from ansible_collections.mnrun.train.plugins.module_utils.slurm.refusal import (
    directives,
    limit_seconds,
)

from tests.helpers.fake_slurm import FakeClock, FakeSlurm
from tests.helpers.stage_run import an_attempt

LOST = ["Socket timed out on send/recv operation", "Unable to contact slurm controller"]
LOST += ["Zero Bytes were transmitted or received", "Slurm temporarily unable to accept job"]


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
            ["--partition=gpu", "Partitions that exist: gpu*"],
        ),
        ("Invalid node name specified", ["Nodes that exist: osk-gpu[94-95] in gpu* (idle)"]),
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


def test_directives_are_read_in_every_form() -> None:
    script = (
        "#!/bin/bash\n#SBATCH --partition=gpu -N 2\n#SBATCH --time '1:00:00' # a comment\n"
        "#SBATCH -w a[1-2]\n##SBATCH --nodes=9\n#SBATCH --exclusive\n#SBATCH -p'quo ted'\n"
        "echo\n#SBATCH --nodes=7\n"
    )
    assert directives(script) == {
        "partition": "quo ted",
        "nodes": "2",
        "time": "1:00:00",
        "nodelist": "a[1-2]",
        "exclusive": "",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:10", 1810),
        ("1:00:00", 3600),
        ("6-00:00:00", 518400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("infinite", None),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_time_limits_are_read_as_slurm_writes_them(text: str, seconds: int | None) -> None:
    assert limit_seconds(text) == seconds


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nodes=3", "3 nodes (--nodes=3), but the default partition has 2"),
        ("--nodes=3-4", "3 nodes (--nodes=3-4)"),
        ("--nodes=3 --partition=gpu", "the partition gpu has 2"),
        ("--time=8-0", "--time=8-0, but the default partition allows 7-00:00:00"),
        ("--nodes=2 --time=7-0", ""),
        ("--nodes=9 --partition=other", ""),  # sbatch itself will say that it does not exist
    ],
)
def test_a_job_that_could_never_start_is_refused(
    slurm: FakeSlurm, clock: FakeClock, tmp_path: Path, line: str, said: str
) -> None:
    script = f"#!/bin/bash\n#SBATCH {line}\ntrue\n"
    backend = SlurmBackend(SlurmClient(slurm, clock), SlurmJob(Path("/run"), "sft", script))
    if not said:
        backend.check(tmp_path, an_attempt(""))
        return
    with pytest.raises(Rejected, match="would wait for ever, so nothing was submitted") as caught:
        backend.check(tmp_path, an_attempt(""))
    assert said in caught.value.message
