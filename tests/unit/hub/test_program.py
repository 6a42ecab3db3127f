"""Programs that talk to the Hub, as a module runs them; and the file of the token."""

from __future__ import annotations

import importlib
import io
import json
import stat
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid, MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.hub.program import Work, run_program
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import parse
from ansible_collections.mnrun.train.plugins.modules import hub_token
from ansible_collections.mnrun.train.plugins.modules.hub_token_info import find

ROOT = Path(__file__).parents[3]
ECHO = """
import json, os, sys
plan = json.load(open(sys.argv[1]))
print("working")
print("mnrun-result: " + json.dumps({"plan": plan, "mark": os.environ.get("MARK")}))
"""


def work(text: str, **more: Any) -> Work:
    given = {"plan": {}, "activate": "", "python": sys.executable, "timeout": 20, **more}
    return Work(program="it.py", files={"it.py": text}, **given)


def test_the_result_is_the_last_line(tmp_path: Path) -> None:
    found = run_program(work(ECHO, plan={"a": [1, "ü"]}), tmp_path)
    assert (found["plan"], found["log"]) == ({"a": [1, "ü"]}, ["working"])


def test_the_activation_script_comes_first(tmp_path: Path) -> None:
    script = tmp_path / "it's activate.sh"
    script.write_text("export MARK=yes\n")
    assert run_program(work(ECHO, activate=str(script)), tmp_path)["mark"] == "yes"
    script.write_text("echo no module x >&2; return 1\n")
    with pytest.raises(MnrunError, match="no module x"):
        run_program(work(ECHO, activate=str(script)), tmp_path)


def test_nothing_of_the_callers_environment_but_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", "of the caller")
    assert run_program(work(ECHO), tmp_path)["mark"] is None


def test_an_error_for_the_user_is_shown_alone(tmp_path: Path) -> None:
    said = "print('noise'); print('HubError: the Hub is away'); raise SystemExit(1)"
    with pytest.raises(MnrunError) as caught:
        run_program(work(said), tmp_path)
    assert caught.value.message == "The Hub is away"
    assert caught.value.details["log"] == ["noise", "HubError: the Hub is away"]


def test_any_other_end_shows_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(MnrunError, match=r"exit code 1(.|\n)*ZeroDivisionError"):
        run_program(work("1 / 0"), tmp_path)
    with pytest.raises(MnrunError, match="exit code 0"):
        run_program(work("print('no result')"), tmp_path)
    with pytest.raises(Invalid):
        run_program(work("")._replace(program="other.py"), tmp_path)


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    hangs = (
        "import subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '60'])\nopen({str(tmp_path / 'pid')!r}, 'w')"
        ".write(str(child.pid))\nprint('begun', flush=True)\ntime.sleep(60)"
    )
    with pytest.raises(MnrunError, match="did not end within 4 s") as caught:
        run_program(work(hangs, timeout=4.0), tmp_path)
    assert caught.value.details["log"] == ["begun"]
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30  # it is killed, and has to come to its end
    while not ended(pid):
        assert time.monotonic() < deadline, "what it started still runs"
        time.sleep(0.05)


def ended(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def keep(path: Path, token: str, check: bool = False) -> bool:
    """Run the module hub_token here; whether it changed anything."""
    said = io.StringIO()
    given = {"path": str(path), "token": token, "_ansible_check_mode": check}
    with patch_module_args(given), redirect_stdout(said), pytest.raises(SystemExit):
        hub_token.main()
    assert token.strip() not in said.getvalue()
    return bool(json.loads(said.getvalue())["changed"])


def keep_by_ansible(path: Path, token: str) -> bool:
    argv = [
        sys.executable, "-m", "ansible.cli.adhoc", "localhost", "-c", "local", "-i", "localhost,",
        "-e", f"ansible_python_interpreter={sys.executable}", "-m", "mnrun.train.hub_token",
        "-a", json.dumps({"path": str(path), "token": token}),
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert token.strip() not in done.stdout + done.stderr
    assert "SUCCESS" in done.stdout or "CHANGED" in done.stdout, done.stdout + done.stderr
    return "CHANGED" in done.stdout


def test_the_token_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "run" / "hub_token"
    assert keep(path, "hf_secret", check=True)
    assert not path.exists()
    assert keep_by_ansible(path, "hf_secret\n")
    assert path.read_text() == "hf_secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not keep(path, "hf_secret")


def test_a_token_that_will_be_needed_is_looked_for_before(tmp_path: Path) -> None:
    there = tmp_path / "token"
    files = [tmp_path / "none", there]
    with pytest.raises(Invalid, match=f"but there is no token.*HF_TOKEN.*looked for: .*{there}"):
        find(files, given=False)
    assert find(files, given=True) == ""
    there.write_text("hf_secret")
    there.chmod(0o640)
    with pytest.raises(Invalid, match=f"Others can read .*chmod 600 {there}"):
        find(files, given=True)
    there.chmod(0o600)
    assert find(files, given=False) == str(there)
    there.write_text(" \n")
    with pytest.raises(Invalid, match="no token in"):
        find(files, given=True)


def test_progress_is_told_as_mnrun_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "roles" / "publish" / "files"))
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "module_utils" / "model"))
    hub = importlib.import_module("hub")
    monkeypatch.setattr(hub, "PACE", 0.01)
    meter = hub.Meter([1_000_000, 2_500_000_000])
    meter.file(1_000_000, "config.json")
    told = threading.Event()

    def arrived() -> int:
        told.set()
        return 500_000_000

    with meter.watching(arrived):
        assert told.wait(10)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mnrun: [1/2] 1 MB of 2.5 GB, files"
    assert "mnrun: [1/2] 501 MB of 2.5 GB, files" in lines
    progress = parse("\n".join(lines) + "\n")
    assert (progress.step, progress.total, progress.doing) == (1, 2, "501 MB of 2.5 GB, files")
    sys.modules.pop("hub")
