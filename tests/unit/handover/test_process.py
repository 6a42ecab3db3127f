"""A relay on a login node: a real process, found, shown and ended as what it is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.sessions import stat_of
from ansible_collections.mnrun.train.plugins.module_utils.handover import process
from ansible_collections.mnrun.train.plugins.module_utils.handover.process import (
    Name,
    ProcessBackend,
    Program,
    parse,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Attempt, Phase
from ansible_collections.mnrun.train.plugins.module_utils.record.witness import forget
from ansible_collections.mnrun.train.plugins.modules import relay_process

LONG = "#!/bin/bash\necho $$ > child\nexec sleep 60\n"


class Host:
    """The module on this host, and what it started."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.started: dict[str, Any] = {}

    def call(self, script: str = LONG, **more: Any) -> dict[str, Any]:
        given = {
            "run_dir": str(self.folder), "stage": "relay-login", "name": "relay", "script": script,
            "output": f"{self.folder}/relay/relay.log", "directories": [f"{self.folder}/relay"],
            "spec": {"relay": "one"}, **more,
        }  # fmt: skip
        with patch_module_args(given), pytest.raises(SystemExit):
            relay_process.main()
        answer: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        if answer.get("action") in ("submitted", "resubmitted"):
            self.started = answer
        return answer

    @property
    def name(self) -> Name:
        found = parse(self.started["job"]["id"])
        assert found
        return found

    @property
    def child(self) -> int:
        """The process of the script, below that which records its end."""
        return int(self.until(lambda: _text(self.folder / "child")))

    def observe(self, **changes: Any) -> Any:
        attempt = Attempt(1, "", "relay", 0.0, job_id=self.started["job"]["id"], **changes)
        attempt.token = json.loads(_text(Path(self.started["record"], "start-1.json")))["token"]
        backend = ProcessBackend(Program(self.folder, "relay-login"), Clock())
        return backend.observe(Path(self.started["record"]), attempt)

    def until(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while not (found := what()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found

    def begin(self, script: str = LONG) -> None:
        self.call(script)
        self.until(lambda: _text(Path(self.started["record"], "start-1.json")))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture
def host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Host]:
    monkeypatch.setattr(process, "find_tool", lambda _: "/usr/bin/squeue")
    host = Host(tmp_path / "run", capsys)
    yield host
    for pid in process._processes(host.name) if host.started else []:
        os.killpg(pid, signal.SIGKILL)


def test_it_is_started_once_and_found_again(host: Host) -> None:
    host.begin()
    again = host.call()
    assert (again["action"], again["job"]["id"]) == ("attached", host.started["job"]["id"])
    assert os.getsid(host.name.pid) == host.name.pid
    seen = host.observe()
    assert (seen.phase, seen.nodes) == (Phase.RUNNING, os.uname().nodename)
    recorded = json.loads(_text(Path(host.started["record"], "start-1.json")))["job_id"]
    assert recorded == host.started["job"]["id"]


def test_it_begins_with_a_python_that_cannot_spawn_sessions(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_arguments: object, **_options: object) -> int:  # as one built for an old glibc
        raise NotImplementedError

    monkeypatch.setattr(os, "posix_spawn", spawn)
    host.begin()
    assert os.getsid(host.name.pid) == host.name.pid


@pytest.mark.parametrize(("code", "state"), [(0, "COMPLETED"), (1, "FAILED"), (11, "FAILED")])
def test_its_own_word_says_how_it_ended(host: Host, code: int, state: str) -> None:
    host.begin(f"#!/bin/bash\nexit {code}\n")
    host.until(lambda: host.observe().phase.ended)
    assert (host.observe().state, host.observe().exit_code) == (state, code)


def test_it_is_ended_by_a_person(host: Host) -> None:
    host.begin()
    assert host.child
    ended = host.call(state="absent", cancelled_by="mnrun cancel by me")
    assert (ended["action"], ended["job"]["state"]) == ("stopped", "CANCELLED")
    host.until(lambda: not process._processes(host.name))
    assert host.call(state="absent")["action"] == "nothing"


def test_it_is_alive_while_anything_of_it_is(host: Host) -> None:
    host.begin()
    child = host.child
    os.kill(host.name.pid, signal.SIGKILL)
    host.until(lambda: stat_of(host.name.pid) is None)
    _reap()
    assert host.observe().phase is Phase.RUNNING
    assert host.call()["action"] == "attached"
    os.kill(child, signal.SIGKILL)
    host.until(lambda: host.observe().phase is Phase.GONE)


def test_what_took_its_number_is_not_it(host: Host) -> None:
    host.begin()
    mine = host.started["job"]["id"]
    host.started["job"]["id"] = host.name._replace(start=host.name.start + 1).job.job_id
    assert host.observe().phase is Phase.GONE
    host.started["job"]["id"] = mine


def test_after_a_restart_of_its_host_it_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.begin()
    with monkeypatch.context() as patch:
        patch.setattr(process, "_boot", lambda: "00000000")
        seen = host.observe()
        assert (seen.phase, "was restarted" in seen.reason) == (Phase.GONE, True)
    assert host.observe().phase is Phase.RUNNING


def test_another_host_sees_only_its_heartbeat(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.begin()
    beat = host.folder / ".mnrun" / "relay" / "heartbeat"
    with monkeypatch.context() as patch:
        patch.setattr(process, "_host", lambda: "login2")
        assert not host.observe().known
        assert f"and {beat.with_name('holders')} as well" in host.call()["msg"]
        beat.parent.mkdir(parents=True, exist_ok=True)
        beat.write_text(host.started["job"]["id"])
        assert host.observe().phase is Phase.RUNNING
        os.utime(beat, (time.time() - 600, time.time() - 600))
        assert "10 min ago" in host.observe().detail
        beat.write_text("another.1.2.00000000")
        assert not host.observe().known
        refused = host.call(state="absent", cancelled_by="me")
        assert refused["failed"], refused
        assert f"the relay is on {os.uname().nodename}" in refused["msg"]
        beat.write_text(host.started["job"]["id"])
        refused = host.call(state="absent", cancelled_by="me")
        assert f"The relay is on {os.uname().nodename}" in refused["msg"]
    assert host.observe().phase is Phase.RUNNING


def test_that_of_another_user_is_unknown(host: Host) -> None:
    host.begin()
    assert not host.observe(submitted_by=os.geteuid() + 1).known


def test_a_name_that_is_not_one() -> None:
    assert parse("4711") is None
    assert parse("login-1.example.org.12.3456.0123abcd") == (
        "login-1.example.org", 12, 3456, "0123abcd",
    )  # fmt: skip


def _reap() -> None:
    """As the first process of a host does."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


@pytest.mark.parametrize("stage", ["relay", "relay-2", "relay-3", "relay-login"])
def test_who_forgets_a_relay_forgets_that_it_held_the_run(stage: str) -> None:
    """Else another relay would wait for the end of one of which there is no record."""
    run = Path("/run/.mnrun")
    assert forget(run / stage / "abc").endswith("/run/.mnrun/relay/holders as well")
    assert "holders" not in forget(run / "sft" / "abc")
