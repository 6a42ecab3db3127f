"""A training that stands still is ended by what watches it in its job, which leaves evidence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import observer_ranks
import pytest
import yaml
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import texts

ROLES = Path(__file__).parents[3] / "roles"
TOKEN = "0a1b2c3d4e5f"  # noqa: S105 - an attempt's, which is no secret
SCRIPT = """
sleep 600 & HELPER=$!
"$PYTHON" -B observer.py observer.json "$HELPER" & WATCHES=$!
trap 'kill "$HELPER" "$WATCHES" || true; wait "$WATCHES" || true' EXIT
RANK=0 "$PYTHON" -c "$TRAINER"
"""
TRAINER = """
import time
for step in range(1, 9):
    print(f"step:{step} - train/loss:0.5", flush=True)
    time.sleep(0.1)
then()
"""
PLAN = {"minutes": 0.02, "factor": 3, "saves": 0, "validates": 0, "guard": {}, "trainer": VERL}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    variables = yaml.safe_load((ROLES / "sft/vars/main.yml").read_text())
    for name, text in texts(variables["sft_observer_programs"]).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "checkpoints").mkdir()
    plan = {**PLAN, "path": str(tmp_path / "checkpoints")}
    (tmp_path / "observer.json").write_text(json.dumps(plan))
    return tmp_path


@contextmanager
def training(job: Path, then: str) -> Iterator[subprocess.Popen[bytes]]:
    own = {"MNRUN_RECORD": str(job), "MNRUN_ATTEMPT": "1", "MNRUN_TOKEN": TOKEN,
           "SLURM_JOB_ID": f"no-job-{os.getpid()}", "SLURMD_NODENAME": "n1",
           "PYTHON": sys.executable, "PYTHONFAULTHANDLER": "1",
           "TRAINER": TRAINER.replace("then()", then)}  # fmt: skip
    command, env = ["bash", "-euc", SCRIPT], {**os.environ, **own}
    with (job / "out").open("wb") as out, (job / "err").open("wb") as err:
        started = subprocess.Popen(
            command, cwd=job, env=env, stdout=out, stderr=err, start_new_session=True
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.wait(10)


def stopped(job: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job / "stopped-1.json").read_text())
    return found


def test_a_training_that_hangs_is_ended_with_its_stack(job: Path) -> None:
    with training(job, "time.sleep(600)") as started:
        assert started.wait(60) != 0, (job / "err").read_text()
    found = stopped(job)
    assert (found["token"], found["cause"]) == (TOKEN, "stalled")
    assert "after step 8" in found["text"]
    evidence = json.loads((job / "stall-1-n1.json").read_text())
    (rank,) = [one for one in evidence["processes"] if one.get("what")]
    assert rank["what"] == "rank 0"
    # By py-spy where there is one, else by itself.
    seen = evidence["stacks"].get(str(rank["pid"])) or (job / "err").read_text()
    assert "<string>" in seen
    assert json.loads((job / "stall-1-log.json").read_text())["others"][-1].startswith("step:8 -")
    times = json.loads((job / "steps-1.json").read_text())
    (first, begun), (last, ended) = times["first"], times["last"]
    assert (times["token"], first) == (TOKEN, 1)
    assert 1 <= last <= 8
    assert time.time() - 120 < begun <= ended <= time.time()


def test_a_stopped_rank_is_named(job: Path) -> None:
    with training(job, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)") as started:
        assert started.wait(60) != 0
    assert stopped(job)["where"] == "rank 0 on n1 is stopped (SIGSTOP)"


def test_a_loss_that_is_not_a_number_ends_it_where_there_is_a_guard(job: Path) -> None:
    then = """
print("step:9 - train/loss:nan", flush=True)
print("step:10 - train/loss:nan", flush=True); time.sleep(600)
"""
    plan = {**PLAN, "minutes": 0, "guard": {"then": {"lr": 1}}, "path": str(job)}
    (job / "observer.json").write_text(json.dumps(plan))
    with training(job, then) as started:
        assert started.wait(60) != 0
    found = stopped(job)
    assert (found["cause"], found["since"], found["again"]) == ("diverged", 9, True)
    assert "Loss: not finite since step 9. Last values: step 7 loss 0.5;" in found["text"]


def test_a_training_that_ends_is_left_alone(job: Path) -> None:
    with training(job, "print('done')") as started:
        assert started.wait(60) == 0, (job / "err").read_text()
    assert not list(job.glob("st[ao]*-1*.json"))


def test_a_checkpoint_that_is_being_written_takes_as_long_as_it_takes(job: Path) -> None:
    write = """
file = open("checkpoints/global_step_8/model.pt", "wb")
for part in range(50):
    file.write(b"x"), file.flush()
    time.sleep(0.1)
"""
    (job / "checkpoints/global_step_8").mkdir()
    with training(job, write) as started:
        assert started.wait(60) == 0, (job / "err").read_text()


def test_a_suspended_job_does_not_stand_still(job: Path) -> None:
    (job / "observer.json").write_text(
        json.dumps({**PLAN, "minutes": 0.04, "path": str(job / "checkpoints")})
    )
    with training(job, "time.sleep(0.5)") as started:
        while "step:3" not in (job / "out").read_text():
            time.sleep(0.02)
        os.killpg(started.pid, signal.SIGSTOP)
        time.sleep(8)  # longer than what it would take for a stall
        os.killpg(started.pid, signal.SIGCONT)
        assert started.wait(60) == 0, (job / "err").read_text()


def process(pid: int, parent: int = 1, state: str = "S", **more: Any) -> dict[str, Any]:
    known = {"pid": pid, "parent": parent, "state": state, "waits_in": "", "command": "python t.py"}
    return {**known, "dumps": True, **more}


def rank(number: int, state: str = "S", **more: Any) -> dict[str, Any]:
    return process(10 + number, state=state, what=f"rank {number}", **more)


def stack(*frames: str) -> str:
    body = "".join(f"    {frame}\n" for frame in frames)
    return f'Process 1: python\n\nThread 1 (idle): "MainThread"\n{body}\nThread 2 (idle)\n    x\n'


WAITS = stack("all_reduce (torch/distributed/distributed_c10d.py:2000)", "step (t.py:1)")
LOADS = stack("recv_bytes (multiprocessing/connection.py:216)", "__next__ (dataloader.py:3)")
LOADER = process(99, 11, "T", what="rank 1")
RAYLET = process(7, state="T", what="raylet (process 7)")
THREE = [[rank(0)], [rank(1)], [rank(2)]]
CASES = [
    ([[rank(0)], [rank(1, "T")]], {}, "rank 1 on n1 is stopped (SIGSTOP)"),
    ([[rank(0)], [rank(1), LOADER]], {}, "a child of rank 1 (process 99, such as a data loader)"),
    ([[rank(0)], [RAYLET]], {}, "raylet (process 7) on n1 is stopped"),
    ([[rank(0, "D", waits_in="nfs_wait")], [rank(1)]], {}, "rank 0 on n0 waits for a file (nfs"),
    (THREE, {0: WAITS, 1: LOADS, 2: WAITS}, "rank 1 on n1 does something else"),
    ([[rank(0)], [rank(1)]], {0: WAITS, 1: WAITS}, ""),
    (THREE, {0: LOADS, 1: LOADS, 2: WAITS}, ""),
    ([[rank(0, "D")], [rank(1, "D")]], {}, ""),  # all alike: the file system, not a rank
    ([[], []], {}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "stacks", "named"), CASES)
def test_the_rank_that_differs_is_named(
    nodes: list[list[dict[str, Any]]], stacks: dict[int, str], named: str
) -> None:
    shown = {str(10 + number): text for number, text in stacks.items()}
    reports = {f"n{n}": {"processes": each, "stacks": shown} for n, each in enumerate(nodes)}
    found = observer_ranks.suspect(reports)
    assert found.startswith(named)
    assert bool(found) == bool(named)


# As setproctitle leaves it: a worker whose environment is gone, below a raylet that has one.
RAY = """
env -i bash -c 'exec -a ray::Worker.play sleep 600' & echo worker $!
RAY_ADDRESS=x MNRUN_TOKEN=t python3 -c 'import time; time.sleep(600)' & echo driver $!
RANK=3 python3 -c 'import os, time; os.fork(); time.sleep(600)' & echo rank $!
echo ready
wait
"""


def test_processes_of_ray_and_ranks_are_known_by_what_they_are() -> None:
    job = f"no-job-{os.getpid()}-{time.monotonic_ns()}"
    env = {**os.environ, "SLURM_JOB_ID": job}
    command = ["bash", "-c", RAY]
    raylet = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert raylet.stdout is not None
        lines = [line.split() for line in iter(raylet.stdout.readline, "ready\n")]
        pids = {name: int(pid) for name, pid in lines}
        found: dict[int, dict[str, Any]] = {}
        until = time.monotonic() + 30  # until each has become what it is, and the rank has forked
        while len([1 for one in found.values() if one.get("what")]) < 4:
            assert time.monotonic() < until, found
            found = {one["pid"]: one for one in observer_ranks.processes(job, "t")}
        assert found[pids["worker"]]["what"] == f"ray::Worker.play (process {pids['worker']})"
        assert found[pids["driver"]]["what"] == "the driver"
        own = {one["pid"]: one["what"] for one in observer_ranks.ranks(list(found.values()))}
        assert own[pids["rank"]] == "rank 3"
        assert len(own) == 3  # the rank's child is not one
        os.kill(pids["worker"], signal.SIGSTOP)
        named = ""
        while not named and time.monotonic() < until:
            processes = observer_ranks.processes(job, "t")
            named = observer_ranks.suspect({"n1": {"processes": processes}})
        assert named == f"ray::Worker.play (process {pids['worker']}) on n1 is stopped (SIGSTOP)"
    finally:
        os.killpg(raylet.pid, signal.SIGKILL)
        raylet.wait(10)
        if raylet.stdout:
            raylet.stdout.close()
