"""A relay that is a process on the login node."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from .conftest import Cluster
from .faults import kill_node, mend
from .relays import HandedOver

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]


@pytest.fixture
def run(sandbox: Cluster) -> Iterator[HandedOver]:
    run = HandedOver(sandbox, f"relay-{time.time_ns()}")
    run.variables["mnrun_relay"] = "login"
    yield run
    run.mnrun("cancel", "relay")
    run.remove()


def processes(run: HandedOver) -> list[str]:
    line = f"pgrep -u mluser -f 'm[n]run.relay .*/{run.folder}/' || true"
    return run.cluster.run(line, "root@login").split()


def test_it_continues_the_run_after_the_logout(run: HandedOver) -> None:
    given = run.mnrun("sft", "--detach")
    assert given.code == 0, given.text
    assert "It runs on this login node itself, login." in given.text, given.text
    found = re.search(r"Submitted job login\.(\d+)\.", given.text)
    assert found, given.text
    session = run.cluster.run(f"ps -o sid=,tty= -p {found[1]} || true").split()
    assert session in ([found[1], "?"], [])  # in a session of its own, unless it has ended
    status = run.mnrun("status")
    assert re.search(rf"process {found[1]} (on login: it continues|finished the)", status.text)
    again = run.mnrun("sft", "--detach")
    assert again.code == 0, again.text
    assert run.mnrun("attach").code == 0
    log = run.end()
    assert run.counts("sft") == (0, 0, 0), log
    assert "finished the run." in run.mnrun("status").text


@pytest.mark.torture
def test_there_is_one_of_one_kind(run: HandedOver) -> None:
    run.variables["sft_options"] = {"max_steps": 3, "pace": 60.0}
    assert run.mnrun("sft", "--detach").code == 0
    again = run.mnrun("sft", "--detach")
    assert "Attached to" in again.text, again.text
    other = run.mnrun("sft", "--detach", mnrun_relay="job")
    assert other.code == 1
    assert "mnrun cancel relay" in other.text, other.text
    assert len(processes(run)) == 1


@pytest.mark.torture
def test_mnrun_cancel_relay_ends_it(run: HandedOver) -> None:
    run.variables["sft_options"] = {"max_steps": 3, "pace": 15.0}
    assert run.mnrun("sft", "--detach").code == 0
    run.until("sft", '"job_id": "[0-9]+"')
    ended = run.mnrun("cancel", "relay")
    assert "It ended as CANCELLED." in ended.text, ended.text
    assert processes(run) == []
    assert "was cancelled, and nothing new starts" in run.mnrun("status").text
    run.end()
    assert run.counts("sft") == (0, 0, 0)
    assert run.mnrun("attach").code == 1


@pytest.mark.torture
def test_it_is_gone_after_a_restart_of_its_host(run: HandedOver) -> None:
    run.variables["sft_options"] = {"max_steps": 3, "pace": 10.0}
    assert run.mnrun("sft", "--detach").code == 0
    run.until("sft", '"job_id": "[0-9]+"')
    kill_node(run.cluster, "login")
    mend(run.cluster)
    status = run.mnrun("status")
    assert "on login is gone: " in status.text, status.text
    assert "type what was typed before" in status.text
    assert run.mnrun("sft", "--detach").code == 0
    run.end()
    assert run.mnrun("attach").code == 0
    assert run.counts("sft") == (0, 0, 0)
