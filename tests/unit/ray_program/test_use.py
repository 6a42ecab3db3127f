"""The use of GPUs that a job follows by itself."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cluster_use
import pytest

SMI = """#!/bin/sh
echo "0, GPU-aa, 1000, 143771, 50"
echo "1, GPU-bb, 2000, 143771, [N/A]"
echo "1, GPU-bb, 3000, 143771, 90"
touch {began}
exec sleep 600
"""


def figures(use: cluster_use.Use) -> dict[str, Any]:
    return json.loads(json.dumps(use.figures()))  # type: ignore[no-any-return]


def test_a_long_job_is_kept_in_a_few_numbers() -> None:
    use = cluster_use.Use("0")
    for second in range(100_000):
        use.add(f"0, GPU-aa, {second % 500}, 143771, {100 if second < 50_000 else 0}\n")
        use.add("1, GPU-bb, 9, 143771, 77\n")
    found = figures(use)
    (gpu,) = found["gpus"]
    assert gpu == {"index": "0", "seconds": 100_000, "busy_percent": 50.0, "most_percent": 100,
                   "memory_mib": 499, "total_mib": 143771}  # fmt: skip
    line = found["busy_percents"]
    assert found["seconds_a_bin"] == 2048
    assert len(line) == 49
    assert line[:24] == [100] * 24
    assert line[25:] == [0] * 24
    assert len(json.dumps(found)) < 2000


def test_two_gpus_share_a_time_line() -> None:
    use = cluster_use.Use(None)
    for second in range(60):
        use.add(f"0, GPU-aa, 1, 2, {second}\n")
        use.add(f"1, GPU-bb, 1, 2, {second + 10}\n")
    assert figures(use)["busy_percents"] == [second + 5 for second in range(60)]


def test_a_job_follows_its_gpus_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = tmp_path / "began"
    (tmp_path / "nvidia-smi").write_text(SMI.format(began=began))
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    env = {"MNRUN_RECORD": str(tmp_path), "MNRUN_ATTEMPT": "3", "SLURMD_NODENAME": "n1",
           "SLURM_JOB_ID": "12", "CUDA_VISIBLE_DEVICES": "0,1",
           "PATH": f"{tmp_path}:/usr/bin:/bin"}  # fmt: skip
    with cluster_use.sampled(env):
        deadline = time.monotonic() + 20
        while not began.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    kept = json.loads((tmp_path / "gpus-3-n1.json").read_text())
    assert (kept["job_id"], kept["node"]) == ("12", "n1")
    assert [(gpu["index"], gpu["busy_percent"]) for gpu in kept["gpus"]] == [("0", 50), ("1", 90)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "began", "gpus-3-n1.json", "nvidia-smi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "env", [{}, {"MNRUN_RECORD": "/none", "MNRUN_ATTEMPT": "1", "SLURMD_NODENAME": "n",
                 "SLURM_LOCALID": "1"}]
)  # fmt: skip
def test_without_a_record_or_nvidia_smi_nothing_is_followed(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    whole = {"MNRUN_RECORD": str(tmp_path), "MNRUN_ATTEMPT": "1", "SLURMD_NODENAME": "n",
             "CUDA_VISIBLE_DEVICES": "0"}  # fmt: skip
    for each in (env, whole):
        with cluster_use.sampled(each):
            pass
    assert list(tmp_path.iterdir()) == []
