"""The measurements on GPUs: their table is in the docs, and what travels fits into its parts."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.gpu import by_hand, figures, light, machine, pack, table
from bench.gpu.steps import SETS, STEPS

ROOT = Path(__file__).parents[3]
LINES = """\
(TaskRunner pid=7) step:0 - val-core/openai/gsm8k/reward/mean@1:0.25
(TaskRunner pid=7) step:1 - actor/lr:1e-06 - timing_s/step:2.5 - critic/score/mean:np.float64(0.5)
(TaskRunner pid=7) step:2 - timing_s/step:0.5 - val-core/openai/gsm8k/reward/mean@1:0.75
something else
"""


def test_the_tables_in_the_docs_are_those_of_the_measured_figures() -> None:
    files = sorted((ROOT / "bench").glob("gpu*.json"))
    assert files
    for file in files:
        measured = json.loads(file.read_text())
        assert set(measured) <= set(STEPS)
        assert all(step["ok"] for step in measured.values())
        assert table.table(measured) in (ROOT / "docs" / "gpu.md").read_text(), file


def test_a_set_is_of_steps_and_ends_with_the_gpus_empty() -> None:
    for steps in SETS.values():
        assert set(steps) <= set(STEPS)
        assert (steps[0], steps[-1]) == ("machine", "empty")


def test_each_step_has_a_title() -> None:
    assert {"machine", *table.TITLES} == set(STEPS)


def test_a_step_s_metrics_are_read_whatever_stands_before_them(tmp_path: Path) -> None:
    log = tmp_path / "ppo.log"
    log.write_text(LINES)
    rows = figures.steps([log])
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert figures.column(rows, "^timing_s/step$") == [2.5, 0.5]
    assert figures.column(rows, "^val-core/") == [0.25, 0.75]
    assert rows[1]["actor/lr"] == 1e-06
    assert rows[1]["critic/score/mean"] == 0.5


def test_steps_are_seen_where_they_are_printed_and_not_those_of_before(tmp_path: Path) -> None:
    old, new = tmp_path / "worker-old.out", tmp_path / "worker-new.out"
    old.write_text("step:1 - timing_s/step:2.5\nstep:2 - timing_s/step:2.5\n")
    os.utime(old, (1, 1))
    watch = by_hand.Watch(lambda: tmp_path.glob("*.out"))
    new.write_text("step:0 - val-core/reward:0.25\nstep:3 - timing_s/step:0.5\n")
    os.utime(new, (watch.begun + 1, watch.begun + 1))
    for file in (old, new):
        watch.look(file)
    assert set(watch.seen) == {3}
    first = watch.seen[3]
    new.write_text(new.read_text() + "".join(f"step:{n} - lr:1\n" for n in range(4, 9)))
    os.utime(new, (watch.begun + 1, watch.begun + 1))
    watch.look(new)
    assert sorted(watch.seen) == [3, 4, 5, 6, 7, 8]
    assert watch.seen[3] == first  # as it was seen first
    log = tmp_path / "ppo.log"
    log.write_text("".join(f"step:{n} - timing_s/step:{n}\n" for n in range(3, 9)))
    found = watch.figures(watch.seen[3] - 7, [log])
    assert found == {"first_step_after": 7.0, "seconds_a_step": 7}  # without the first three


def test_launches_are_compared_by_the_fastest_and_with_what_two_of_a_kind_differ() -> None:
    names = ("seconds_a_step", "first_step_after")
    own = [dict(zip(names, figures, strict=True)) for figures in ((1.5, 29), (2, 27))]
    other = [dict(zip(names, figures, strict=True)) for figures in ((1.2, 23), (1.5, 24))]
    assert by_hand.summed_up(own, other) == {
        "mnrun": {"seconds_a_step": 1.5, "first_step_after": 27},
        "hand": {"seconds_a_step": 1.2, "first_step_after": 23},
        "more_a_step_percent": 25.0,
        "two_of_a_kind_percent": 33.3,
    }


def test_the_room_of_a_checkpoint_is_compared_with_what_was_expected(tmp_path: Path) -> None:
    shown = "ppo:\n    kept: 2\n    step_bytes: 7\n  sft:\n    kept: 1\n    step_bytes: 103\n"
    assert figures.room(shown, tmp_path, "sft") == {}
    step = tmp_path / "sft" / "checkpoints" / "global_step_1"
    step.mkdir(parents=True)
    (step / "model.pt").write_bytes(b"x" * 100)
    found = figures.room(shown, tmp_path, "sft")
    assert found == {"expected_bytes": 103, "bytes": 100, "off_percent": 3}


def test_the_use_of_gpus_is_read_from_the_table_of_stages() -> None:
    shown = """\
STAGE  JOB  STATE      STEP   METRICS                                    LOG
sft    1    COMPLETED  80/80  loss 6.6 → 0.04, GPUs 7 % busy, 2 of 140 GiB  /x
ppo    p-1  SUCCEEDED  4/4    reward 0.3 → 1, GPUs 9 % busy, 3 of 140 GiB, 24 GPU-seconds idle  /y
"""
    assert figures.use(shown) == {
        "sft": "7 % busy, 2 of 140 GiB",
        "ppo": "9 % busy, 3 of 140 GiB, 24 GPU-seconds idle",
    }


def test_samples_of_the_gpus_are_summed_up_without_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("0, 100, 10\n1, 300, 0\n0, 200, 50\n1, 250")
    assert machine.summary(tmp_path / "s.csv") == {"gpu_memory_mib": 300, "gpu_use_percent": 20.0}
    assert machine.summary(tmp_path / "none") == {}


def test_torch_and_what_the_machine_has_do_not_travel() -> None:
    both = ("verl-0.5", "verl-0.9-vllm")
    wanted = pack.Wanted(None, "3.12", ("pyarrow", "numpy==2.4.6"), both)
    found = {
        trainer: {line.split("==")[0] for line in lock} for trainer, lock in wanted.locks.items()
    }
    assert {"verl", "ray", "numpy"} <= found["verl-0.5"]
    assert {"verl", "ray", "vllm"} <= found["verl-0.9-vllm"]
    assert "numpy" not in found["verl-0.9-vllm"]
    assert all(not {"torch", "pyarrow"} & names for names in found.values())
    assert "slurmd" in pack.Wanted(None, "3.12", ()).packages


def test_parts_have_a_limit_and_make_the_whole(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "file").write_bytes(bytes(range(256)) * 100)
    parts = pack.split(tmp_path / "pack", tmp_path / "pack.tar", 10_000)
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 10_000
    (tmp_path / "whole").write_bytes(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(tmp_path / "whole") as archive:
        assert archive.getnames() == ["pack", "pack/file"]


def test_what_is_there_for_the_same_wish_is_not_fetched_again(tmp_path: Path) -> None:
    folder = tmp_path / "debs"
    assert pack.once(folder, ["a"])
    (folder / "x").touch()
    assert pack.once(folder, ["a"])  # it was not completed
    assert not (folder / "x").exists()
    pack.done(folder, ["a"])
    assert not pack.once(folder, ["a"])
    assert pack.once(folder, ["b"])


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("ray", ["ray/jars/x.jar", "ray/dashboard/client/build/static/js/m.js.map"]),
        ("vllm", ["vllm/vllm-rs", "vllm/third_party/deep_gemm/_C.cpython-313-x.so"]),
        ("raylet_tools", []),
    ],
)
def test_a_wheel_travels_without_what_no_training_needs(
    tmp_path: Path, name: str, left_out: list[str]
) -> None:
    wheel = tmp_path / f"{name}-1-py3-none-any.whl"
    kept = [f"{name}/a.py", f"{name}/third_party/deep_gemm/_C.cpython-312-x.so"]
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry in (*kept, *left_out):
            archive.writestr(entry, "x")
    light.lighten(wheel)
    assert zipfile.ZipFile(wheel).namelist() == kept


@pytest.mark.parametrize("value", [0.0387, 122.0, 20_824_276_866, "a | b", "a\n| b"])
def test_a_figure_is_one_cell(value: object) -> None:
    (cell,) = table.cells({"ok": True, "it": value, "other": None})
    assert cell in {"it: 0.0387", "it: 122", "it: 20,824,276,866", "it: a \\| b"}
