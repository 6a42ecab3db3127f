"""slurm_job and slurm_job_info as modules: options in, a fake Slurm behind, a result out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage import module as edge
from ansible_collections.mnrun.train.plugins.modules import slurm_job, slurm_job_info

from tests.helpers.checkpoints import write_step
from tests.helpers.fake_slurm import FakeClock, FakeJob, FakeSlurm
from tests.helpers.stage_run import HOSTILE, SBATCH, SCRIPT

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / HOSTILE


@pytest.fixture(autouse=True)
def boundary(slurm: FakeSlurm, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (slurm_job, slurm_job_info):
        monkeypatch.setattr(module, "run", slurm)
    monkeypatch.setattr(slurm_job, "Clock", lambda: clock)
    monkeypatch.setattr(edge, "Clock", lambda: clock)


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(module: Any = slurm_job, /, **options: Any) -> dict[str, Any]:
        given = {"run_dir": str(folder), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        answer.pop("invocation", None)  # not there since ansible-core 2.21
        return answer

    return run


def options(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "stage": "sft",
        "name": "training_sft",
        "script": SCRIPT,
        "sbatch": SBATCH,
        "files": {"ranks.sh": "echo"},
        "output": f"{folder}/logs/%x-%j.out",
        "error": f"{folder}/logs/%x-%j.err",
        "spec": {"lr": 0.1},
        "labels": {"owner": "me", "number": 1},
        "directories": [f"{folder}/logs"],
        "checkpoints": {"path": f"{folder}/checkpoints"},
        **more,
    }


def test_a_submission_returns_all_that_a_role_needs(call: Call, folder: Path) -> None:
    answer = call(**options(folder))
    assert (answer["changed"], answer["action"], answer["attempt"]) == (True, "submitted", 1)
    assert answer["msg"].startswith("Submitted job 12 (attempt 1).")
    assert answer["labels"] == {"owner": "me", "number": "1"}
    assert answer["job"]["id"] == "12"
    assert answer["job"]["stdout"] == f"{folder}/logs/{answer['job']['name']}-12.out"
    assert answer["record"] == f"{folder}/.mnrun/sft/{answer['fingerprint'][:12]}"
    assert answer["output"] is None
    assert "diff" not in answer
    names = sorted(path.name for path in Path(answer["record"]).iterdir())
    assert names == ["ranks.sh", "record.json", "request.json", "resume", "script.sh"]


def test_the_jobs_of_a_run_with_a_name_begin_with_it(
    call: Call, folder: Path, slurm: FakeSlurm
) -> None:
    first = call(**options(folder, run_name="larger-lr"))
    assert first["job"]["name"] == f"larger-lr-training_sft-{first['fingerprint'][:8]}-1"
    again = call(**options(folder, run_name="larger-lr"))
    assert (again["action"], again["job"]["id"]) == ("attached", first["job"]["id"])
    assert "run_name must be 1 to 64" in call(**options(folder, run_name="a b"))["msg"]
    assert len(slurm.jobs) == 1


def test_a_second_call_changes_nothing(call: Call, folder: Path, slurm: FakeSlurm) -> None:
    call(**options(folder))
    answer = call(**options(folder))
    assert (answer["changed"], answer["action"], answer["job"]["id"]) == (False, "attached", "12")
    write_step(folder / "checkpoints", 4)
    slurm.end(slurm.jobs[0], "COMPLETED")
    answer = call(**options(folder, wait=True))
    assert (answer["changed"], answer["action"]) == (False, "nothing")
    assert answer["output"]["path"] == f"{folder}/checkpoints/global_step_4"


def test_check_mode_with_diff_shows_and_does_nothing(call: Call, folder: Path) -> None:
    answer = call(**options(folder), _ansible_check_mode=True, _ansible_diff=True)
    assert (answer["changed"], answer["action"], answer["job"]) == (True, "submitted", None)
    assert [Path(part["after_header"]).name for part in answer["diff"]] == [
        *("ranks.sh", "script.sh", "folders", "spec"),
    ]
    assert not folder.exists()


def test_waiting_for_a_failure_fails_with_its_cause(
    call: Call, folder: Path, slurm: FakeSlurm, clock: FakeClock
) -> None:
    def fail() -> None:
        log = Path(folder / "logs" / f"{slurm.jobs[0].name}-12.err")
        log.write_text("ValueError: bad\n")
        slurm.end(slurm.jobs[0], "FAILED", "1:0")

    clock.after(60, fail)
    answer = call(**options(folder, wait=True))
    assert answer["failed"]
    assert (answer["action"], answer["changed"]) == ("submitted", True)
    assert (answer["job"]["state"], answer["job"]["exit_code"]) == ("FAILED", 1)
    assert answer["log_tail"] == ["ValueError: bad"]
    assert answer["log_path"].endswith("-12.err")
    assert "ValueError: bad" in answer["msg"]


def test_waiting_for_one_attempt_never_submits(call: Call, folder: Path, slurm: FakeSlurm) -> None:
    call(**options(folder))
    slurm.end(slurm.jobs[0], "FAILED", "1:0")
    answer = call(**options(folder, wait=True, attempt=1))
    assert answer["failed"]
    assert len(slurm.jobs) == 1


def test_stopping_needs_no_script(call: Call, folder: Path, slurm: FakeSlurm) -> None:
    call(**options(folder))
    answer = call(stage="sft", state="absent", match_labels={"owner": "you"})
    assert (answer["action"], answer["changed"]) == ("nothing", False)
    answer = call(stage="sft", state="absent", match_labels={"number": 1})
    assert (answer["action"], answer["changed"]) == ("stopped", True)
    assert answer["job"]["reason"] == "stopped by mnrun"
    assert slurm.jobs[0].ended


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage": "../sft"}, "stage must be 1 to 64 letters"),
        ({"name": "a b"}, "name must be 1 to 64 letters"),
        ({"name": "$(id)"}, "name must be 1 to 64 letters"),
        ({"name": "n" * 65}, "name must be 1 to 64 letters"),
        ({"script": "echo\n"}, "first line of the script must be #!/bin/bash"),
        ({"script": "#!/bin/bash\n#SBATCH -N 1\n"}, "Give the options as `sbatch` instead"),
        ({"sbatch": {"acount": "x"}}, "option acount is not one of sbatch's: write account"),
        ({"sbatch": {"time": 7200}}, "option time is the number 7200"),
        ({"sbatch": {"comment": "x"}}, "option comment is not yours to set"),
        ({"files": {"../x": ""}}, "name of a file must be"),
        ({"directories": ["/a\nb"]}, "control character"),
        ({"run_dir": "/a\nb"}, "control character"),
        ({"output": "/a\n%j"}, "control character"),
        ({"output": "logs/%j"}, "must start with /"),
        ({"error": "/logs/\\%j"}, "contains a backslash"),
        ({"name": None}, "name must be 1 to 64 letters"),
        ({"script": None}, "first line of the script must be #!/bin/bash"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_done(
    call: Call, folder: Path, slurm: FakeSlurm, changes: dict[str, Any], said: str
) -> None:
    answer = call(**options(folder, **changes))
    assert answer["failed"]
    assert said in answer["msg"]
    assert slurm.count("sbatch") == 0
    assert not list(folder.glob(".mnrun/*/*/record.json"))


def test_other_options_of_sbatch_are_no_other_work(
    call: Call, folder: Path, slurm: FakeSlurm
) -> None:
    first = call(**options(folder, sbatch={"nodes": 2, "container-image": "x"}))
    script = Path(first["record"], "script.sh").read_text()
    assert script.startswith("#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --container-image=x\n# ----")
    again = call(**options(folder, sbatch={"nodes": 1}))
    assert (again["action"], again["fingerprint"]) == ("attached", first["fingerprint"])
    assert len(slurm.jobs) == 1


def test_a_run_folder_that_cannot_be_made_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = call(**options(tmp_path, run_dir=str(tmp_path / "file" / "run")))
    assert answer["msg"] == (
        f"{tmp_path}/file/run: Not a directory. Nothing further was done. "
        "Part of this path is a file: correct the path, or move the file away."
    )


def test_info_tells_of_every_stage_and_changes_nothing(
    call: Call, folder: Path, slurm: FakeSlurm
) -> None:
    empty = {"changed": False, "stages": [], "damaged": []}
    hours = {"used": 0.0, "reserved": 0.0}
    held = {"number": 0, "job": "", "stage": "", "host": ""}
    about = {"gpu_hours": hours, "notify_fault": "", "holder": held}
    assert call(slurm_job_info) == {**empty, **about}
    call(**options(folder))
    call(**options(folder, stage="environment", spec={}, checkpoints=None))
    slurm.run(slurm.jobs[0])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    entries = {entry["stage"]: entry for entry in call(slurm_job_info)["stages"]}
    assert list(entries) == ["environment", "sft"]
    assert entries["sft"]["job"]["state"] == "RUNNING"
    assert entries["sft"]["seconds"] == 0
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert call(slurm_job_info, stage="ppo")["stages"] == []


def test_info_warns_of_a_damaged_record_and_tells_of_the_others(call: Call, folder: Path) -> None:
    call(**options(folder))
    call(**options(folder, stage="environment", spec={}, checkpoints=None))
    (path,) = folder.glob(".mnrun/sft/*/record.json")
    path.write_text("")
    answer = call(slurm_job_info)
    assert [entry["stage"] for entry in answer["stages"]] == ["environment"]
    assert str(path) in answer["damaged"][0]["msg"]


def test_info_waits_for_something_new(
    call: Call, folder: Path, slurm: FakeSlurm, clock: FakeClock
) -> None:
    call(**options(folder))
    (first,) = call(slurm_job_info, stage="sft")["stages"]
    asked: dict[str, Any] = {"stage": "sft", "wait": True, "since": first["digest"]}
    begun = clock.monotonic()
    (same,) = call(slurm_job_info, **asked, wait_timeout=20)["stages"]
    assert same["digest"] == first["digest"]
    assert clock.monotonic() - begun == pytest.approx(20, abs=1)
    clock.after(7, lambda: slurm.run(slurm.jobs[0]))
    (now,) = call(slurm_job_info, **asked)["stages"]
    assert now["job"]["state"] == "RUNNING"
    assert clock.monotonic() - begun < 32


def test_info_tells_a_new_step_only_after_its_pace(
    call: Call, folder: Path, slurm: FakeSlurm, clock: FakeClock
) -> None:
    log = Path(call(**options(folder))["job"]["stdout"])
    slurm.run(slurm.jobs[0])
    log.write_text("step:1 - train/loss:2.0\n")
    (first,) = call(slurm_job_info, stage="sft")["stages"]
    log.write_text("step:1 - train/loss:2.0\nstep:2 - train/loss:1.0\n")
    begun = clock.monotonic()
    (entry,) = call(slurm_job_info, stage="sft", wait=True, since=first["digest"], min_interval=10)[
        "stages"
    ]
    assert entry["progress"]["step"] == 2
    assert clock.monotonic() - begun == pytest.approx(10, abs=1)


def test_info_returns_what_is_new_in_the_logs(
    call: Call, folder: Path, slurm: FakeSlurm, clock: FakeClock
) -> None:
    log = Path(call(**options(folder))["job"]["stdout"])
    slurm.run(slurm.jobs[0])
    log.write_text("a\nb\nc\n")
    (entry,) = call(slurm_job_info, stage="sft", log_lines=2)["stages"]
    assert [item["line"] for item in entry["log"]["lines"]] == ["b", "c"]

    def grow() -> None:
        log.write_text("a\nb\nc\nd\n")

    clock.after(3, grow)
    asked = {"wait": True, "since": entry["digest"], "log_offset": entry["log"]["offset"]}
    (entry,) = call(slurm_job_info, stage="sft", log_lines=2, **asked)["stages"]
    assert [item["line"] for item in entry["log"]["lines"]] == ["d"]


def test_info_returns_the_log_of_errors_of_an_earlier_attempt(
    call: Call, folder: Path, slurm: FakeSlurm
) -> None:
    for number in (1, 2):
        job = call(**options(folder))["job"]
        for name in ("stdout", "stderr"):
            Path(job[name]).write_text(f"{name} of {number}\n")
        slurm.end(slurm.jobs[-1], "FAILED", "1:0")
    asked: dict[str, Any] = {"stage": "sft", "log_lines": 9, "log_errors": True}
    (entry,) = call(slurm_job_info, **asked)["stages"]
    assert [item["line"] for item in entry["log"]["lines"]] == ["stderr of 2"]
    (entry,) = call(slurm_job_info, **asked, log_attempt=1)["stages"]
    assert [item["line"] for item in entry["log"]["lines"]] == ["stderr of 1"]
    refused = call(slurm_job_info, **asked, log_attempt=3)
    assert refused["msg"] == "sft has no attempt 3. It has: 1, 2."


def test_info_names_the_wanted_spec(call: Call, folder: Path, slurm: FakeSlurm) -> None:
    first = call(**options(folder))["fingerprint"]
    slurm.end(slurm.jobs[0], "FAILED", "1:0")
    second = call(**options(folder, spec={"lr": 1}))["fingerprint"]
    assert call(slurm_job_info)["stages"][0]["fingerprint"] == second
    (entry,) = call(slurm_job_info, fingerprint=first[:12])["stages"]
    assert (entry["fingerprint"], entry["job"]["state"]) == (first, "FAILED")


def test_info_asks_slurm_about_the_cluster_of_a_ray_job(
    call: Call, folder: Path, slurm: FakeSlurm, clock: FakeClock
) -> None:
    answer = call(**options(folder))
    ledger = Ledger(folder, "sft", clock)
    record = ledger.load(answer["fingerprint"])
    assert record is not None
    head = FakeJob("77", "ray_cluster", "", str(folder), clock.now())
    slurm.jobs.append(head)
    slurm.run(head)
    attempt = record.attempts[0]
    attempt.job_id, attempt.head_job, attempt.state = "ppo-1", "77", "PENDING"
    record.kind = "ray"
    ledger.save(record)
    mark = {"job_id": "ppo-1", "token": attempt.token}
    (ledger.folder(record.fingerprint) / "start-1.json").write_text(
        json.dumps({**mark, "start": clock.now()})
    )

    def seen() -> tuple[bool, str]:
        (entry,) = call(slurm_job_info)["stages"]
        return entry["known"], entry["job"]["state"]

    assert seen() == (True, "RUNNING")
    slurm.down = True
    assert seen() == (False, "RUNNING")
    slurm.down = False
    slurm.end(head, "CANCELLED by 2000")
    assert seen() == (True, "GONE")
    (ledger.folder(record.fingerprint) / "end-1.json").write_text(
        json.dumps({**mark, "exit_code": 3})
    )
    (entry,) = call(slurm_job_info)["stages"]
    assert (entry["known"], entry["job"]["exit_code"]) == (True, 3)


def test_a_host_without_slurm_is_named_and_leaves_no_riddle(
    call: Call, folder: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_arguments: object) -> None:
        raise Invalid("There is no sbatch on this host.")

    monkeypatch.setattr(slurm, "_sbatch", missing)
    assert call(**options(folder))["msg"] == "There is no sbatch on this host."
    record = next(folder.glob(".mnrun/sft/*/record.json"))
    assert json.loads(record.read_text())["attempts"] == []


def test_an_allocation_that_may_pass_the_bound_is_not_handed_over_to(
    call: Call, folder: Path, slurm: FakeSlurm
) -> None:
    shape = {"nodes": "2", "gpus-per-node": "8", "time": "1-00:00:00"}
    given = options(folder, stage="relay", service=True, sbatch=shape)
    refused = call(**given, gpu_hours_max=100)
    assert "may take 384.0 GPU-hours (16 GPUs until its time limit)" in refused["msg"]
    assert "`time` in mnrun_allocation_sbatch" in refused["msg"]
    assert not slurm.jobs
    assert call(**given, gpu_hours_max=400)["action"] == "submitted"
    # The stages in it count, and not once more the allocation.
    (record,) = Ledger(folder, "relay", slurm.clock).records()
    assert record.last
    assert record.last.gpus == 0
