"""People are told once of each event, in a bounded time, and no secret is in any output."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.notify import send as sending
from ansible_collections.mnrun.train.plugins.module_utils.notify.event import Event, of_run
from ansible_collections.mnrun.train.plugins.module_utils.record.notified import last_fault
from ansible_collections.mnrun.train.plugins.modules.notify import tell

SECRET = "T0KEN-xoxb"  # noqa: S105 - of no service
JOB = {"id": "12", "phase": "succeeded", "state": "COMPLETED", "reason": ""}
OUTPUT = {"step": 160, "path": "/c/160", "model": "/c/160/hf", "metrics": {"loss": 0.1}}


class Server:
    """A webhook's server: what was sent to it; `hangs`, or answers `code`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.code = 200
        self.hangs = False
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.got.append((self.path, dict(self.headers), body))
                if server.hangs:
                    server.over.wait(60)
                self.send_response(server.code)
                self.send_header("Location", f"http://127.0.0.1:1/{SECRET}")
                self.end_headers()

            def log_message(self, *_given: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{SECRET}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _path, _headers, body in self.got]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.over.set()
    made.http.shutdown()
    made.http.server_close()


Target = dict[str, Any]
Hook = Callable[..., Target]


@pytest.fixture
def hook(tmp_path: Path, server: Server) -> Hook:
    """A target of the server, by a private file."""

    def make(form: str = "json", address: str = "", mode: int = 0o600) -> Target:
        path = tmp_path / f"hook-{form}"
        path.write_text(f"{address or server.address}\n")
        path.chmod(mode)
        return {"webhook_file": str(path), "form": form, "command": ""}

    return make


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run" / ".mnrun" / "sft" / "0a1b2c3d4e5f").mkdir(parents=True)
    return tmp_path / "run"


Say = Callable[..., dict[str, Any]]


@pytest.fixture
def say(run_dir: Path) -> Say:
    """Call the module with a result of SFT."""

    def call(targets: list[Target], event: str = "stage", **result: Any) -> dict[str, Any]:
        record = str(run_dir / ".mnrun" / "sft" / "0a1b2c3d4e5f")
        base = {"stage": "sft", "record": record, "attempt": 1, "job": JOB, "output": OUTPUT}
        given = {"run_dir": str(run_dir), "run_name": "", "targets": targets, "event": event}
        text = result.pop("text", [])
        return tell({**given, "result": {**base, **result}, "text": text}, check=False)

    return call


def failed(code: str, *, retried: bool = False) -> dict[str, Any]:
    cause = {"code": code, "title": f"the title of {code}", "advice": ""}
    return {"failed": True, "cause": cause, "retryable": retried, "msg": "Why.", "output": None}


EVENTS: dict[str, dict[str, Any]] = {
    "stage_done": {},
    "stage_failed": failed("out_of_memory"),
    "stalled": failed("stalled", retried=True),
    "diverged": failed("diverged"),
    "waiting": {
        "event": "waiting", "output": None, "seconds": 7200.0,
        "job": {**JOB, "phase": "queued", "reason": "Priority"},
    },
    "run_done": {"event": "run_done", "text": ["sft  job 12", "ppo  job 14"]},
    "run_failed": {"event": "run_failed", "text": ["sbatch refused it."]},
}  # fmt: skip


@pytest.mark.parametrize("kind", EVENTS)
def test_each_kind_is_sent_once_however_often_it_is_seen(
    say: Say, server: Server, hook: Hook, kind: str
) -> None:
    answers = [say([hook()], **dict(EVENTS[kind])) for _ in range(2)]
    assert [one["sent"] for one in answers] == [kind, ""]
    assert [one["faults"] for one in answers] == [[], []]
    (sent,) = server.bodies
    assert (sent["event"], sent["run"]) == (kind, "run")
    assert sent["stage"] == ("" if kind.startswith("run_") else "sft")
    assert sent["retried"] == (kind == "stalled")


def test_of_several_who_see_the_same_end_one_tells(say: Say, server: Server, hook: Hook) -> None:
    target = hook()
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: say([target])["sent"], range(8)))
    assert sorted(told) == [*[""] * 7, "stage_done"]
    assert len(server.got) == 1


def test_an_attempt_has_one_end_and_the_next_attempt_another(
    say: Say, server: Server, hook: Hook
) -> None:
    say([hook()], **failed("stalled", retried=True))
    say([hook()], **failed("out_of_memory"))  # seen by somebody with less evidence
    say([hook()], attempt=2)
    assert [one["event"] for one in server.bodies] == ["stalled", "stage_done"]


@pytest.mark.parametrize("phase", ["queued", "running", "unknown", "cancelled"])
def test_what_has_not_ended_is_no_event(say: Say, server: Server, hook: Hook, phase: str) -> None:
    job = {**JOB, "phase": phase}
    assert say([hook()], job=job, output=None)["sent"] == ""
    late = {"failed": True, "msg": "wait_timeout is over, and job 12 is still RUNNING."}
    assert say([hook()], job=job, output=None, **late)["sent"] == ""
    assert server.got == []


def test_the_forms_of_services(say: Say, server: Server, hook: Hook) -> None:
    say([hook("slack")], **{**failed("cuda"), "msg": "A <b> & c"})
    say([hook("teams")], attempt=2, **{**failed("cuda"), "msg": "one\ntwo"})
    say([hook("ntfy")], attempt=3, **{**failed("cuda"), "msg": "größer"})
    say([hook("ntfy")], attempt=4)
    slack, teams = (json.loads(body) for _path, _headers, body in server.got[:2])
    assert slack == {"text": "*mnrun run: sft failed: the title of cuda*\nA &lt;b&gt; &amp; c"}
    card = teams["attachments"][0]["content"]
    assert teams["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [part["text"] for part in card["body"]] == [
        "mnrun run: sft failed: the title of cuda", "one\n\ntwo",
    ]  # fmt: skip
    (_path, headers, body), (_path2, calm, text) = server.got[2:]
    assert (headers["Title"], headers["Priority"], body.decode()) == (
        "mnrun run: sft failed: the title of cuda", "high", "größer",
    )  # fmt: skip
    assert calm["Priority"] == "default"
    assert text.decode() == "Job 12, 160 steps, loss 0.1 → 0.1\n/c/160/hf"


def command(folder: Path, body: str) -> Target:
    path = folder / "told.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return {"command": str(path), "webhook_file": "", "form": "json"}


def test_a_command_gets_the_event_as_json_and_as_variables(say: Say, tmp_path: Path) -> None:
    out = tmp_path / "out"
    target = command(tmp_path, f'cat > {out}.json; echo "$MNRUN_EVENT $MNRUN_JOB" > {out}.txt')
    assert say([target])["faults"] == []
    event = json.loads(Path(f"{out}.json").read_text())
    assert set(event) == set(Event._fields)
    assert (event["stage"], event["attempt"], event["job"]) == ("sft", 1, "12")
    assert Path(f"{out}.txt").read_text() == "stage_done 12\n"


def test_what_fails_or_hangs_is_kept_for_status_and_ends(
    say: Say, server: Server, hook: Hook, run_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sending.send, "__defaults__", (1.0,))
    server.hangs = True
    hanging = command(tmp_path, f"exec 3> {tmp_path}/pipe; sleep 300 & sleep 300")
    os.mkfifo(tmp_path / "pipe")
    holder = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    begun = time.monotonic()
    answer = say([hook(), hanging])
    assert time.monotonic() - begun < 30  # and not the 60 and 300 of both
    assert answer["sent"] == "stage_done"
    assert [fault.partition(": ")[0] for fault in answer["faults"]] == [
        str(tmp_path / "hook-json"), hanging["command"],
    ]  # fmt: skip
    # All of it was killed: nobody has the pipe open any more.
    assert select.select([holder], [], [], 30)[0], "its last writer is gone"
    assert os.read(holder, 1) == b""
    os.close(holder)
    assert last_fault(run_dir).startswith("mnrun run: sft is done: ")
    server.hangs = False
    say([hook()], attempt=2)
    assert last_fault(run_dir) == ""


def test_one_target_that_fails_keeps_no_other_from_being_told(
    say: Say, server: Server, hook: Hook, tmp_path: Path
) -> None:
    answer = say([command(tmp_path, "exit 3"), hook()])
    assert answer["faults"] == [f"{tmp_path}/told.sh: it ended with exit code 3."]
    assert len(server.got) == 1


@pytest.mark.parametrize("code", [302, 307, 403, 500])
def test_an_answer_that_is_none_is_a_fault_and_leads_nowhere(
    say: Say, server: Server, hook: Hook, code: int
) -> None:
    server.code = code
    (fault,) = say([hook()])["faults"]
    assert fault.endswith(f": the server answered {code}")
    assert SECRET not in fault
    assert len(server.got) == 1


ADDRESSES = {
    "no connection": f"http://127.0.0.1:1/{SECRET}",
    "no such host": f"http://{SECRET}.invalid/{SECRET}",
    "a space": f"http://127.0.0.1:1/a {SECRET}",
    "not ASCII": f"http://127.0.0.1:1/ü{SECRET}",
    "a bad port": f"http://127.0.0.1:99999999/{SECRET}",
    "no number": f"http://127.0.0.1:{SECRET}/",
    "brackets": f"http://[{SECRET}/",
    "a control character": f"http://127.0.0.1:1/\x01{SECRET}",
    "another scheme": f"file:///etc/{SECRET}",
    "none": SECRET,
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_no_secret_is_in_any_output(say: Say, hook: Hook, run_dir: Path, address: str) -> None:
    answer = say([hook(address=address)])
    assert len(answer["faults"]) == 1
    assert SECRET.lower() not in json.dumps(answer).lower()
    for path in run_dir.rglob("*"):
        assert path.is_dir() or SECRET.lower() not in path.read_text().lower(), path


def test_a_secret_is_on_no_command_line_and_in_no_variable(
    say: Say, hook: Hook, tmp_path: Path
) -> None:
    target = command(tmp_path, f"(env; cat; cat /proc/$PPID/cmdline) > {tmp_path}/all")
    assert say([hook(), target])["faults"] == []
    assert SECRET not in (tmp_path / "all").read_text()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_or_change_is_refused(
    say: Say, server: Server, hook: Hook, mode: int
) -> None:
    target = hook(mode=mode)
    with pytest.raises(Invalid) as refused:
        say([target], "check")
    assert f"(mode {mode:04o}" in refused.value.message
    assert f"chmod 600 {target['webhook_file']}" in refused.value.message
    assert SECRET not in refused.value.message
    assert "chmod 600" in say([target])["faults"][0]  # if it was changed since
    assert server.got == []


def test_targets_are_checked_before_anything_starts(say: Say, hook: Hook, tmp_path: Path) -> None:
    assert say([hook(), command(tmp_path, "true")], "check")["sent"] == ""
    plain = tmp_path / "plain"
    plain.write_text("")
    none = {"command": "", "webhook_file": "", "form": "json"}
    for target in (
        none,
        {**hook(), "command": "/bin/true"},
        {**none, "command": str(plain)},
        {**none, "command": str(tmp_path)},
        {**none, "command": "told"},
        {**none, "webhook_file": str(tmp_path / "missing")},
        {**none, "webhook_file": str(tmp_path)},
    ):
        with pytest.raises(Invalid, match=r"^mnrun_notify: "):
            say([target], "check")


@pytest.mark.parametrize(
    ("mail", "faults"), [("me@example.org", 0), ("me", 0), ("-x me", 1), ("a,b@c", 1), ("a@b\n", 1)]
)
def test_an_address_for_mail_is_left_to_slurm(say: Say, mail: str, faults: int) -> None:
    assert len(say([{"mail": mail}])["faults"]) == faults
    with pytest.raises(Invalid, match="is a command, a webhook_file, or mail"):
        say([{"mail": mail, "command": "/bin/true"}], "check")
    if faults:
        with pytest.raises(Invalid, match="not an address for mail"):
            say([{"mail": mail}], "check")


def test_a_result_without_a_record_and_a_dry_run_tell_nothing(
    say: Say, server: Server, hook: Hook, run_dir: Path
) -> None:
    assert say([hook()], record=None)["sent"] == ""
    given = {"run_dir": str(run_dir), "run_name": "a", "targets": [hook()], "event": "run_done"}
    result = {"record": str(run_dir / ".mnrun" / "sft"), "attempt": 1}
    assert tell({**given, "result": result, "text": []}, check=True)["sent"] == ""
    assert server.got == []


def test_a_run_has_its_name_and_nothing_that_a_terminal_obeys() -> None:
    event = of_run("run_done", "lr-2", "/runs/x", "a\x1b[31mb\n" + "c" * 9000)
    assert event.title == "mnrun lr-2: the run is done"
    assert event.text.startswith("ab\nccc")
    assert len(event.text) == 1500


def test_a_mark_that_cannot_be_made_sends_nothing_and_fails_nothing(
    say: Say, server: Server, hook: Hook, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    answer = say([hook()], record=str(tmp_path / "file" / "folder"))
    assert answer["sent"] == ""
    assert "Not a directory" in answer["faults"][0]
    assert server.got == []
