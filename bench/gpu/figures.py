"""What a run's own files tell about it: steps, losses, rewards, times, sizes."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NUMBER = r"(?:np\.float\d+\()?(-?\d[\d.]*(?:e[-+]?\d+)?)"


def steps(logs: list[Path]) -> list[dict[str, float]]:
    """The metrics of each step, from the lines `step:7 - train/loss:0.5 - …` of logs."""
    found = []
    for log in sorted(logs):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            begin = re.search(r"\bstep:(\d+) - ", line)
            if begin:
                pairs = re.findall(rf"([\w/@().-]+):{NUMBER}", line[begin.end() :])
                found.append({"step": float(begin[1]), **{n: float(value) for n, value in pairs}})
    return found


def column(rows: list[dict[str, float]], pattern: str) -> list[float]:
    """The values of the first metric that fits, of the steps that have it."""
    names = sorted({name for row in rows for name in row if re.search(pattern, name)})
    return [row[names[0]] for row in rows if names[0] in row] if names else []


def newest(run: Path, pattern: str) -> Path | None:
    """The newest file of this name."""
    return max(run.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def ends(run: Path, stage: str) -> Iterator[dict[str, Any]]:
    """How each attempt of a stage ended."""
    for path in sorted(run.glob(f".mnrun/{stage}/*/end-*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def duration(run: Path, stage: str) -> float | None:
    """The seconds of a stage's last attempt."""
    last = list(ends(run, stage))[-1:]
    return last[0]["end"] - last[0]["start"] if last else None


def sft(run: Path) -> dict[str, Any]:
    """SFT's figures."""
    rows = steps(list(run.glob("sft/logs/*training_sft-*.out")))
    losses = column(rows, r"train/loss")
    return {
        "seconds": duration(run, "sft"),
        "steps": len(losses),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "checkpoint_bytes": size(run, "sft/checkpoints/global_step_*"),
    }


def ppo(run: Path) -> dict[str, Any]:
    """PPO's figures. The first steps are slower, so that a step's time is the median."""
    rows = steps(list(run.glob("ppo/logs/ppo-*.log")))
    times, rewards = column(rows, r"^timing_s/step$"), column(rows, r"^val-core/")
    return {
        "seconds": duration(run, "ppo"),
        "steps": len(times),
        "seconds_a_step": round(statistics.median(times), 3) if times else None,
        "first_reward": rewards[0] if rewards else None,
        "last_reward": rewards[-1] if rewards else None,
        "checkpoint_bytes": size(run, "ppo/checkpoints/global_step_*"),
    }


def ray(run: Path) -> dict[str, Any]:
    """Seconds from srun until all nodes are alive and torch has used their GPUs."""
    log = newest(run, "ppo/ray_cluster/logs/slurm-*.out")
    found = re.search(r"ready after ([\d.]+) s", log.read_text(encoding="utf-8")) if log else None
    return {"ready_seconds": float(found[1])} if found else {}


def pauses(run: Path) -> dict[str, Any]:
    """Seconds from SFT's end to the start of Ray's job, and to PPO's."""
    ended = [end["end"] for end in ends(run, "sft")][-1:]
    begun = {stage: [end["start"] for end in ends(run, stage)][:1] for stage in ("ray", "ppo")}
    return {
        f"sft_to_{stage}_seconds": start - end
        for stage, starts in begun.items()
        for start, end in zip(starts, ended, strict=False)
    }


def use(shown: str) -> dict[str, str]:
    """Each stage's use of its GPUs, from the table of `mnrun status`."""
    pattern = r"^([a-z][\w-]*) .*?(\d+ % busy, \d+ of \d+ GiB(?:, \d+ GPU-seconds idle)?)"
    return dict(re.findall(pattern, shown, re.MULTILINE))


def size(run: Path, pattern: str) -> int | None:
    """The bytes of the newest checkpoint."""
    folder = newest(run, pattern)
    if folder is None:
        return None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def room(output: str, run: Path, stage: str) -> dict[str, Any]:
    """The bytes that mnrun expects of a checkpoint, as `-vv` shows them, those that are there, and
    the difference."""
    expected = re.search(rf"\b{stage}:\s+kept: \d+\s+step_bytes: (\d+)", output)
    there = size(run, f"{stage}/checkpoints/global_step_*")
    if expected is None or not there:
        return {}
    off = round(100 * (int(expected[1]) / there - 1), 2)
    return {"expected_bytes": int(expected[1]), "bytes": there, "off_percent": off}


def of(run: Path) -> dict[str, Any]:
    """All of them."""
    convert = {f"{stage}_seconds": duration(run, f"convert-{stage}") for stage in ("sft", "ppo")}
    return {"sft": sft(run), "pause": pauses(run), "ray": ray(run), "ppo": ppo(run),
            "convert": convert}  # fmt: skip
