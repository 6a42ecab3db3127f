"""The recorder in a batch script: its text, and what it does in a real bash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    JobRef,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.job_report import (
    claim_of,
    claimed_by_another,
    claims,
    give_up,
    read_end,
    read_start,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.recorder import (
    split_head,
    with_end_recorder,
    without_recorder,
)

from tests.helpers.job_scripts import attempt, finish, start

GOLDEN = Path(__file__).parent / "golden" / "recorded_job.sbatch"
HOSTILE = "a'; echo foo; %j $(id) |"
OWN = """\
#!/bin/bash
#SBATCH --nodes=2
# a comment between directives

#SBATCH --partition=gpu
set -euo pipefail
srun train
"""


def test_the_whole_script_is_as_approved() -> None:
    script = with_end_recorder(OWN, Path("/home/user/it's here/.mnrun/sft/0123456789ab"), attempt())
    assert script == GOLDEN.read_text()


def test_a_script_comes_back_without_its_recorder(tmp_path: Path) -> None:
    assert without_recorder(with_end_recorder(OWN, tmp_path, attempt())) == OWN
    assert without_recorder(OWN) == OWN


def test_directives_stay_above_the_first_command() -> None:
    head, body = split_head(OWN)
    assert (head.count("#SBATCH"), body) == (2, "set -euo pipefail\nsrun train\n")


def test_a_script_of_directives_only_is_kept_whole() -> None:
    assert split_head("#!/usr/bin/env bash\n#SBATCH -N 1") == (
        "#!/usr/bin/env bash\n#SBATCH -N 1\n",
        "",
    )


@pytest.mark.parametrize(
    "first", ["", "#!/bin/sh\n", "#!/bin/bash -l\n", "srun x\n", "#SBATCH -N1\n"]
)
def test_what_is_no_bash_script_is_refused(first: str) -> None:
    with pytest.raises(Invalid, match="first line of the script must be #!/bin/bash"):
        split_head(first)


def end(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "end-3.json").read_text())
    return loaded


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("no-such-command", 127),
        ("kill -KILL $$", 137),
        ("set -e\nfalse\necho not here", 1),
        ("exit 300", 44),
    ],
)
def test_the_job_ends_as_its_script_and_says_so(tmp_path: Path, body: str, code: int) -> None:
    folder = tmp_path / HOSTILE
    assert finish(start(folder, f"{body} 2>/dev/null"))[0] == code
    seen = read_end(folder, attempt())
    assert seen is not None
    assert (seen.exit_code, seen.phase) == (code, Phase.FAILED if code else Phase.SUCCEEDED)
    assert read_start(folder, attempt("")) == JobRef("12")
    assert sorted(path.name for path in folder.iterdir()) == [
        "end-3.json",
        "script-12.sh",
        "start-3.json",
    ]


def test_the_script_sees_its_record_and_no_trace_of_the_recorder(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE
    body = 'echo "$MNRUN_RECORD|$MNRUN_ATTEMPT|${MNRUN_RECORDER:-none}"; trap'
    assert finish(start(folder, body)) == (0, f"{folder}|3|none\n")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_script_which_may_take_its_time(tmp_path: Path, number: int) -> None:
    name = signal.Signals(number).name[3:]
    body = (
        f"trap 'sleep 0.3; touch saved; exit 5' {name}; cd '{tmp_path}'; touch ready\n"
        "while true; do sleep 0.05; done"
    )
    job = start(tmp_path / "record", body)
    wait_for(tmp_path / "ready")
    job.send_signal(number)
    time.sleep(0.1)
    job.send_signal(number)
    assert finish(job)[0] == 5
    assert (tmp_path / "saved").exists()
    assert end(tmp_path / "record")["exit_code"] == 5


def test_a_script_that_handles_a_signal_goes_on(tmp_path: Path) -> None:
    body = (
        f"trap 'touch \"{tmp_path}/warned\"' USR1; touch '{tmp_path}/ready'\n"
        f"until [ -e '{tmp_path}/warned' ]; do sleep 0.05; done; exit 0"
    )
    job = start(tmp_path / "record", body)
    wait_for(tmp_path / "ready")
    job.send_signal(signal.SIGUSR1)
    assert finish(job)[0] == 0
    assert end(tmp_path / "record")["exit_code"] == 0


def test_a_script_without_traps_ends_on_term(tmp_path: Path) -> None:
    job = start(tmp_path / "record", f"touch '{tmp_path}/ready'; sleep 1 & wait")
    wait_for(tmp_path / "ready")
    job.send_signal(signal.SIGTERM)
    assert finish(job)[0] == 143
    assert end(tmp_path / "record")["exit_code"] == 143


def test_a_second_job_of_one_attempt_ends_before_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    first = start(folder, f"touch '{tmp_path}/ready'; sleep 1", "12")
    wait_for(tmp_path / "ready")
    code, out = finish(start(folder, f"touch '{tmp_path}/twice'", "13"))
    assert code == 0
    assert "another job works on this already" in out
    assert not (tmp_path / "twice").exists()
    assert finish(first)[0] == 0
    assert end(folder)["job_id"] == "12"


def test_a_requeued_job_works_on_its_own_attempt_again(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    assert finish(start(folder, "exit 1"))[0] == 1
    assert finish(start(folder, "echo again")) == (0, "again\n")
    assert end(folder)["exit_code"] == 0


def test_a_job_that_cannot_claim_its_attempt_does_not_work(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    job_text = with_end_recorder("#!/bin/bash\necho worked; exit 4\n", folder, attempt())
    path = tmp_path / "script.sh"
    path.write_text(job_text)
    done = subprocess.run(
        ["bash", path],
        env={**os.environ, "SLURM_JOB_ID": "12"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot claim its work in {folder}, so it ends: " in done.stderr
    assert "No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("why", "works"),
    [
        ("Operation not permitted", True),
        ("Operation not supported", True),
        ("Function not implemented", True),
        ("No space left on device", False),
        ("Disk quota exceeded", False),
        ("Input/output error", False),
    ],
)
def test_of_two_jobs_at_most_one_works_where_no_link_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, works: bool
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ln").write_text(f'#!/bin/sh\necho "ln: $*: {why}" >&2\nexit 1\n')
    (tools / "ln").chmod(0o755)
    (tools / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.3\n")
    (tools / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "record"
    jobs = [start(folder, "echo works >> works; sleep 1", job_id) for job_id in ("12", "13", "14")]
    codes = sorted(finish(job)[0] for job in jobs)
    assert codes == ([0, 0, 0] if works else [1, 1, 1])
    written = Path("works")
    assert (written.read_text() if written.exists() else "") == ("works\n" if works else "")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    if works:
        claim = claim_of(folder, attempt(""))
        assert claim is not None
        assert claimed_by_another(folder, attempt("11"))
        assert not give_up(folder, attempt(""), 7.0)
        (folder / "start-3.json").unlink()  # it died before it gave the claim its usual name
        assert claim_of(folder, attempt("")) == claim
        assert [number for number, _token, _begun in claims(folder)] == [3]


def test_a_claim_of_the_same_id_with_another_token_is_somebody_else_s(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    said = {"job_id": "12", "token": "fedcba9876543210", "host": "n", "start": 1}
    (folder / "start-3.json").write_text(json.dumps(said))
    code, out = finish(start(folder, "echo works"))
    assert (code, "works" in out.replace("works on", "")) == (0, False)
    assert claimed_by_another(folder, attempt("12"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"job_id": "12", "token": "0123456789abcdef"}',
        '{"job_id": "12", "token": "other", "exit_code": 0}',
        '{"job_id": "99", "token": "0123456789abcdef", "exit_code": 0}',
        '{"job_id": "12", "token": "0123456789abcdef", "exit_code": "0"}',
    ],
)
def test_an_end_record_that_is_not_whole_or_not_ours_says_nothing(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "end-3.json").write_text(text)
    assert read_end(tmp_path, attempt()) is None


@pytest.mark.parametrize("code", [-1, -9, 256, 3221225786])
def test_an_end_with_an_unusual_exit_code_is_an_end(tmp_path: Path, code: int) -> None:
    text = json.dumps({"job_id": "12", "token": attempt().token, "exit_code": code})
    (tmp_path / "end-3.json").write_text(text)
    seen = read_end(tmp_path, attempt())
    assert seen is not None
    assert (seen.phase, seen.exit_code) == (Phase.FAILED, code)
