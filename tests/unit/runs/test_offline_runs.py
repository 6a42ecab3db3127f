"""Runs of W&B that were logged offline are sent once each, with a program in place of W&B's own."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import testing
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.runs import offline_runs
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL
from ansible_collections.mnrun.train.plugins.modules import offline_runs as module

KEY = "0123456789abcdef" * 2
# What `python -m wandb sync FOLDER` does: it records how it was called, and behaves as it is told.
WANDB = """
import os, pathlib, sys, time
home = pathlib.Path(__file__).parents[1]
mode, key = os.environ["WANDB_MODE"], os.environ.get("WANDB_API_KEY", "")
with (home / "calls").open("a") as calls:
    print(mode, len(key), *(word.rpartition("/")[2] for word in sys.argv[1:]), file=calls)
how = (home / "how").read_text()
print("wandb: the key is", key)
if how == "hangs":
    time.sleep(600)
if how == "refused":
    print("wandb: ERROR Fatal error while uploading data. Some run data will not be synced.")
if how == "cut":
    print("wandb: Failed to sync all data: the file ends with an incomplete record")
if how in ("sends", "refused"):
    (file,) = pathlib.Path(sys.argv[-1]).glob("*.wandb")
    file.with_name(file.name + ".synced").touch()
"""


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


class Site:
    """A run with offline runs, its environment, and how the program there behaves."""

    def __init__(self, base: Path, url: str) -> None:
        self.base = base
        (base / "env" / "wandb").mkdir(parents=True)
        (base / "env" / "wandb" / "__main__.py").write_text(WANDB)
        (base / "env" / "python").symlink_to(sys.executable)
        (base / ".mnrun").mkdir()
        (base / ".mnrun" / "activate.sh").write_text(
            f"export PATH={base}/env:$PATH PYTHONPATH={base}/env WANDB_BASE_URL={url}"
            " WANDB_MODE=offline\n"
        )
        self.behave("sends")
        self.record(Phase.SUCCEEDED)

    def behave(self, how: str) -> None:
        (self.base / "env" / "how").write_text(how)

    def record(self, phase: Phase, start: float = 10.0, log: str = "") -> None:
        one = Attempt(1, "t1", "sft-1", 1.0, phase, job_id="1", state=phase.value.upper(),
                      start=start, stdout=log)  # fmt: skip
        spec = {"a": 1}
        record = Record("sft", "slurm", fingerprint(spec), spec, {}, [one], None, VERL)
        Ledger(self.base, "sft", Clock()).save(record)

    def log(self, name: str) -> Path:
        file = self.base / "sft" / "wandb" / f"offline-run-{name}" / f"run-{name}.wandb"
        file.parent.mkdir(parents=True)
        file.write_text("steps")
        return file

    @property
    def calls(self) -> list[str]:
        path = self.base / "env" / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        module, "run_command", lambda *_: Result(1, "", "Unable to contact slurm controller")
    )
    yield Site(tmp_path / "base", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def sync(site: Site, capsys: pytest.CaptureFixture[str], **more: Any) -> dict[str, Any]:
    given = {"base_dir": str(site.base), "key": KEY, **more}
    with testing.patch_module_args(given), pytest.raises(SystemExit):
        module.main()
    out = capsys.readouterr().out
    assert KEY not in out
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_each_is_sent_once_and_again_if_it_grew(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = site.log("1-a"), site.log("2-b")
    planned = sync(site, capsys, _ansible_check_mode=True)
    assert planned["lines"] == [
        f"default sft offline-run-{x}: would be sent" for x in ("1-a", "2-b")
    ]
    assert site.calls == []
    done = sync(site, capsys)
    assert done["changed"]
    assert done["sent"] == [str(first.parent), str(second.parent)]
    # Online whatever the environment says, and the key is not among the words.
    sent = [f"online {len(KEY)} sync offline-run-{x}" for x in ("1-a", "2-b")]
    assert site.calls == sent
    again = sync(site, capsys)
    assert (again["changed"], again["lines"]) == (False, ["2 runs sent before"])
    assert site.calls == sent
    later = first.stat().st_mtime + 100
    os.utime(first, (later, later))
    site.behave("nothing")
    assert "W&B did not send it: wandb: the key is …" in sync(site, capsys)["msg"]
    assert site.calls[2:] == [f"online {len(KEY)} sync --include-synced offline-run-1-a"]


def test_what_a_job_still_writes_is_left(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = site.log("1-a")
    old = site.log("0-z")
    os.utime(old, (5000.0, 5000.0))
    site.record(Phase.RUNNING, start=file.stat().st_mtime - 5)
    done = sync(site, capsys)
    assert done["lines"] == [
        "default sft offline-run-0-z: sent", "default sft offline-run-1-a: its job is not over",
    ]  # fmt: skip


@pytest.mark.parametrize("kept", ["file", "run", "netrc"])
def test_the_key_is_found_where_trainings_find_it(
    site: Site, capsys: pytest.CaptureFixture[str], kept: str
) -> None:
    site.log("1-a")
    place = {
        "file": site.base / "key", "run": site.base / ".mnrun" / "wandb_key",
        "netrc": Path(os.environ["HOME"]) / ".netrc",
    }[kept]  # fmt: skip
    # The variable for a file is empty unless a site sets it.
    given = {"key": "", "key_file": str(site.base / "key") if kept == "file" else ""}
    missing = sync(site, capsys, **given)
    assert missing["failed"]
    assert "there is no W&B key (looked for: " in missing["msg"]
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"machine api.wandb.ai password {KEY}" if kept == "netrc" else f"{KEY}\n")
    if kept != "netrc":
        place.chmod(0o644)
        assert f"chmod 600 {place}" in sync(site, capsys, **given)["msg"]
    place.chmod(0o600)
    assert sync(site, capsys, **given)["changed"]
    assert site.calls == [f"online {0 if kept == 'netrc' else len(KEY)} sync offline-run-1-a"]


def test_without_a_way_to_it_nothing_is_started_and_all_is_named(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site.log("1-a")
    with (site.base / ".mnrun" / "activate.sh").open("a") as script:
        script.write("WANDB_BASE_URL=http://127.0.0.1:9\n")
    failed = sync(site, capsys)
    assert "1 run not sent; the files stay as they are:" in failed["msg"]
    assert "http://127.0.0.1:9 does not answer on" in failed["msg"]
    assert site.calls == []
    assert file.read_text() == "steps"
    (site.base / ".mnrun" / "activate.sh").write_text("echo no such module >&2; return 1\n")
    assert "cannot be activated" in sync(site, capsys)["msg"]


def test_what_hangs_is_ended_and_the_next_call_sends_the_rest(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log("1-a")
    site.behave("hangs")
    monkeypatch.setattr(offline_runs, "_ONE", 2.0)
    assert "not sent within 2 s; the next time resumes it" in sync(site, capsys)["msg"]
    assert "there was no time left" in sync(site, capsys, minutes=0)["msg"]
    site.behave("sends")
    assert sync(site, capsys)["changed"]


def test_what_was_refused_is_not_sent_though_a_marker_says_so(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.log("1-a")
    site.behave("refused")
    assert "W&B took only a part of it: " in sync(site, capsys)["msg"]
    site.behave("sends")
    assert sync(site, capsys)["changed"]
    assert len(site.calls) == 2


def test_what_a_killed_job_left_without_an_end_is_sent_once(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.log("1-a")
    site.behave("cut")
    assert sync(site, capsys)["lines"] == ["default sft offline-run-1-a: sent"]
    assert sync(site, capsys)["lines"] == ["1 run sent before"]
    assert len(site.calls) == 1


def test_two_calls_do_not_send_at_once(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log("1-a")
    monkeypatch.setattr(module, "_OTHER", 0.1)
    held = f"import fcntl, sys; f = open({str(site.base / '.mnrun' / 'wandb.lock')!r}, 'a')"
    held += "; fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        assert "another call is sending" in sync(site, capsys)["msg"]
        other.communicate()
    assert site.calls == []
    assert sync(site, capsys)["changed"]


def test_a_stage_in_a_folder_of_its_own_is_found_by_its_log(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    log = site.base / "elsewhere" / "logs" / "sft.out"
    site.record(Phase.SUCCEEDED, log=str(log))
    file = site.base / "elsewhere" / "wandb" / "offline-run-1-a" / "run-1-a.wandb"
    file.parent.mkdir(parents=True)
    file.write_text("steps")
    assert sync(site, capsys)["sent"] == [str(file.parent)]


def test_one_run_without_an_environment_is_no_reason_to_leave_another(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.log("1-a")
    other = site.base / "runs" / "other"
    shutil.copytree(site.base / ".mnrun", other / ".mnrun")
    (other / ".mnrun" / "activate.sh").write_text("return 1\n")
    (other / "sft").mkdir()
    shutil.copytree(site.base / "sft" / "wandb", other / "sft" / "wandb")
    failed = sync(site, capsys, names=["other", "default"])
    assert "default sft offline-run-1-a: sent" in failed["msg"]
    assert "other sft offline-run-1-a: The training environment cannot" in failed["msg"]


def test_nothing_offline_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    done = sync(site, capsys, key="")
    assert done["lines"] == ["There is no run of W&B that was logged offline."]
