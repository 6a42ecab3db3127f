"""Where the head is: what the cluster's Slurm job published, and whether that still counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.ray.cluster import (
    Cluster,
    as_result,
    newest,
    refuse_ended,
    wait_for_head,
)
from ansible_collections.mnrun.train.plugins.module_utils.ray.head import Heads, ask_slurm
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Phase, Request
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.record.log_pattern import log_pattern
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.stage.context import Stage
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import present

from tests.helpers.fake_slurm import MIN_JOB_AGE, FakeClock, FakeSlurm
from tests.helpers.ray_heads import a_head, publish_head
from tests.helpers.stage_run import HOSTILE

SPEC = {"nodes": 2}
WORDS = "[ray] error: the Ray cluster is lost.\nosk-gpu95: Ray ended by itself, exit code 1."


@dataclass
class Site:
    """A run whose Ray cluster was submitted."""

    folder: Path
    clock: FakeClock
    slurm: FakeSlurm

    @property
    def backend(self) -> SlurmBackend:
        job = SlurmJob(
            self.folder,
            "ray",
            script="#!/bin/bash\ntrue\n",
            output=log_pattern(f"{self.folder}/%j.out", self.folder),
            error=log_pattern(f"{self.folder}/%j.err", self.folder),
        )
        return SlurmBackend(SlurmClient(self.slurm, self.clock), job)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder, "ray", self.clock)

    @property
    def record_folder(self) -> Path:
        return self.ledger.folder(fingerprint(SPEC))

    def start(self) -> None:
        request = Request(self.folder, "ray", "slurm", "ray", SPEC, service=True)
        present(Stage(request, self.backend, self.ledger, self.clock))

    def publish(self, job_id: str = "12") -> None:
        publish_head(self.record_folder, job_id, nodes=["osk-gpu94", "osk-gpu95"])

    def run(self) -> None:
        self.slurm.run(self.slurm.jobs[-1])

    def wait(self, seconds: float = 600, since: str = "") -> Cluster:
        record = newest(self.ledger)
        assert record is not None
        return wait_for_head(self.ledger, record, self.backend, self.clock, seconds, since)


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock, slurm: FakeSlurm) -> Site:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    site = Site(folder, clock, slurm)
    site.start()
    return site


def test_the_head_is_told_as_soon_as_it_is_published(site: Site) -> None:
    site.clock.after(100, site.run)
    site.clock.after(107, site.publish)
    begun = site.clock.now()
    answer = as_result(site.wait(), site.clock.now())
    assert site.clock.now() - begun == pytest.approx(107, abs=12)
    assert answer["head"] == a_head(site.record_folder)
    assert answer["dashboard_url"] == "http://127.0.0.1:37174"
    assert answer["gcs_address"] == "10.94.0.94:37173"
    assert answer["cluster"] == {"nodes": ["osk-gpu94", "osk-gpu95"]}
    assert answer["job"]["state"] == "RUNNING"


def test_slurm_is_asked_seldom_in_a_long_wait(site: Site) -> None:
    site.wait(seconds=3600)
    assert site.slurm.count("squeue") < 200


def test_what_another_job_published_is_never_told(site: Site) -> None:
    site.run()
    site.publish(job_id="11")
    assert site.wait(seconds=30).published is None


def test_a_head_that_is_ending_is_not_told(site: Site) -> None:
    site.run()
    site.publish()
    site.slurm.jobs[-1].state = "COMPLETING"
    assert site.wait(seconds=0).published is None


def test_no_answer_of_slurm_is_no_head(site: Site) -> None:
    site.run()
    site.publish()
    site.slurm.down = site.slurm.accounting_down = True
    cluster = site.wait(seconds=0)
    assert (cluster.published, cluster.known) == (None, False)


def test_news_end_the_wait_of_who_has_seen_something_else(site: Site) -> None:
    seen = site.wait(seconds=0).digest
    site.clock.after(50, site.run)
    cluster = site.wait(since=seen)
    assert cluster.published is None
    assert cluster.digest != seen
    assert cluster.attempt.state == "RUNNING"


def test_a_cluster_that_is_lost_says_why(site: Site) -> None:
    site.run()
    Path(site.folder / "12.out").write_text(f"[ray] job 12 on 2 nodes\n{WORDS}\n")
    site.clock.after(20, lambda: site.slurm.end(site.slurm.jobs[-1], "FAILED", "1:0"))
    cluster = site.wait()
    with pytest.raises(MnrunError) as error:
        refuse_ended(cluster)
    assert "ended as FAILED with exit code 1" in error.value.message
    assert error.value.message.endswith(WORDS.partition("error: ")[2])


def test_a_job_that_fails_before_ray_shows_its_log(site: Site) -> None:
    site.run()
    Path(site.folder / "12.out").write_text("activate.sh: line 3: module: command not found\n")
    site.slurm.end(site.slurm.jobs[-1], "FAILED", "127:0")
    with pytest.raises(MnrunError, match="module: command not found"):
        refuse_ended(site.wait())


def test_a_cluster_that_lives_is_not_refused(site: Site) -> None:
    refuse_ended(site.wait(seconds=0))


def test_without_scontrol_what_squeue_does_not_show_may_be_alive(site: Site) -> None:
    def run(command: list[str], seconds: float, stdin: str) -> Result:
        denied = Result(1, "", "slurm_load_jobs error: Access/permission denied")
        return denied if command[0] == "scontrol" else site.slurm(command, seconds, stdin)

    over = ask_slurm(SlurmClient(run, site.clock), Path("/run"))
    now = site.clock.now()
    assert over("12", now) is False
    assert over("99", now) is None
    site.slurm.end(site.slurm.jobs[-1], "COMPLETED")
    site.clock.sleep(MIN_JOB_AGE + 1)
    assert over("12", now) is True  # by the accounting


def test_slurm_says_whether_a_head_is_over(site: Site) -> None:
    over = ask_slurm(SlurmClient(site.slurm, site.clock), Path("/run"))
    now = site.clock.now()
    assert over("12", now) is False
    assert over("99", now) is True  # forgotten
    assert over("12", now - 1000) is True  # a job that came later has its id: Slurm was wiped
    site.slurm.end(site.slurm.jobs[-1], "COMPLETED")
    assert over("12", now) is True
    site.slurm.down = True
    assert over("12", now) is None


def test_a_cluster_in_an_allocation_may_be_over_while_that_lives(site: Site) -> None:
    site.run()
    (record,) = site.ledger.records()
    record.attempts[-1].job_id = one = "12.0123ab"
    site.ledger.save(record)
    client, now = SlurmClient(site.slurm, site.clock), site.clock.now()
    over, heads = ask_slurm(client, site.folder), Heads(client, site.folder)
    assert over(one, now) is False
    assert heads.end(one, now) is None
    assert heads.lost_nodes(one, now) == []
    record.attempts[-1].phase, record.attempts[-1].state = Phase.SUCCEEDED, "COMPLETED"
    site.ledger.save(record)
    assert over(one, now) is True
    ended = heads.end(one, now)
    assert ended is not None
    assert (ended.phase, ended.state) == (Phase.SUCCEEDED, "COMPLETED")
    assert over("12.ffffff", now) is False  # that no record has: as long as its allocation
    assert over("12", now) is False
