"""What a file names as a job, a cluster or a node gets into a command only if it can be one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Damaged, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.record.job_report import (
    claim_of,
    read_start,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import SlurmBackend

from tests.helpers.crashes import folder_of
from tests.helpers.fake_slurm import FakeSlurm
from tests.helpers.stage_run import Run, an_attempt

ODD = ["--me", "-u root", "1 2", "1;id", "$(id)", "a/b", "../1", "1\n2", "-1", "٣"]


@pytest.mark.parametrize("job_id", ODD)
def test_an_odd_job_id_in_a_claim_is_no_claim(tmp_path: Path, job_id: str) -> None:
    said = {"job_id": job_id, "token": "t0", "start": 1}
    (tmp_path / "start-1.json").write_text(json.dumps(said))
    assert read_start(tmp_path, an_attempt("")) is None
    assert claim_of(tmp_path, an_attempt("")) is None


@pytest.mark.parametrize("job_id", [*ODD, "abc", "0", "1_2"])
def test_slurm_is_not_asked_about_it(backend: SlurmBackend, slurm: FakeSlurm, job_id: str) -> None:
    assert backend._client.show(job_id).rows is None
    with pytest.raises(Unknown, match="is not the id of a Slurm job"):
        backend.stop(an_attempt(job_id), "")
    assert slurm.calls == []


@pytest.mark.parametrize("cluster", ["-a", "a b", "a;b", "all,x", "a\n"])
def test_an_odd_cluster_is_not_asked(backend: SlurmBackend, slurm: FakeSlurm, cluster: str) -> None:
    with pytest.raises(Unknown, match="is not the name of a Slurm cluster"):
        backend._client.show("12", cluster)
    assert slurm.calls == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("job_id", text) for text in ODD),
        ("slurm_cluster", "--x"),
        ("head_job", "--me"),
        ("exclude", "a,--x"),
        ("lost_nodes", "a b"),
        ("submitted_on", "-x"),
    ],
)
def test_a_record_with_it_is_damaged_even_with_a_right_sum(run: Run, name: str, value: str) -> None:
    run.present()
    path = folder_of(run) / "record.json"
    data = json.loads(path.read_text())
    del data["sum"]
    data["attempts"][0][name] = value
    text = json.dumps(data, sort_keys=True).encode()
    path.write_text(json.dumps({**data, "sum": hashlib.sha256(text).hexdigest()[:16]}))
    with pytest.raises(Damaged, match=f"an attempt's {name} is"):
        run.record()
