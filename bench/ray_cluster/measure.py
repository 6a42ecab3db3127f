"""One measurement on the sandbox: a job of one way, from its first line to its nodes being free."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from . import ways

DIRECTORY = Path(os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox"))
HOME = "/home/mluser"
LIMIT = 400.0  # seconds for one job, from sbatch to its end


class MeasureError(Exception):
    """A job did not do what it should. The message has its output."""


def ssh(line: str, timeout: float = 60) -> str:
    """Run a line on the sandbox's login node, over a connection that stays open."""
    argv = ["ssh", "-F", str(DIRECTORY / "ssh_config"), "-o", "ControlMaster=auto"]
    argv += ["-o", "ControlPath=~/.ansible/cp/bench-%C", "-o", "ControlPersist=60", "login", line]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise MeasureError(f"{line}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def measure(way: str, nodes: int, activate: str) -> dict[str, Any]:
    """Run one job; its times in seconds.

    Returns:
        `alive` and `driver`, from the job's start; `free`, from the program's end until Slurm has
        all nodes back; `held`, node-seconds without training.
    """
    name = f"bench-ray/{way.replace(' ', '-')}-{nodes}-{time.time():.0f}"
    ssh(f"mkdir -p {name}")
    folder = DIRECTORY / "home" / "mluser" / name
    ways.write(way, nodes, folder, f"{HOME}/{name}", activate)
    job = ssh(f"sbatch --parsable {name}/job.sbatch")
    try:
        asked, freed = _follow(way, job, folder)
    finally:
        ssh(f"scancel {job}")
    marks = {mark: _mark(way, folder, mark) for mark in ("start", "alive", "driver", "end")}
    alive, driver = marks["alive"] - marks["start"], marks["driver"] - marks["start"]
    free = freed - asked
    held = nodes * (driver + free)
    return {
        "way": way,
        "nodes": nodes,
        "alive": alive,
        "driver": driver,
        "free": free,
        "held": held,
    }


def _mark(way: str, folder: Path, name: str) -> float:
    try:
        return float((folder / name).read_text())
    except (OSError, ValueError) as error:
        raise MeasureError(f"{way}: the time `{name}` is missing: {error}") from error


def _follow(way: str, job: str, folder: Path) -> tuple[float, float]:
    """Wait until Slurm has the job's nodes back; when the program ended, and when that was.

    Fixed sleeps can be too short: then the program has ended before all nodes were alive, and both
    count.
    """
    deadline = time.monotonic() + LIMIT
    ended = 0.0
    wanted = ("alive", "end") if way in ways.NEEDS_SCANCEL else ("end",)
    while time.monotonic() < deadline:
        if not ended and all((folder / mark).exists() for mark in wanted):
            ended = max(float((folder / mark).read_text() or 0) for mark in wanted)
            if way in ways.NEEDS_SCANCEL:
                ended = time.time()
                ssh(f"scancel {job}")
        # COMPLETING still has nodes; pending and running jobs do anyway.
        if not ssh(f"squeue -h -t PD,R,CG,CF -o %i | grep -x {job} || true"):
            if ended:
                return ended, time.time()
            raise MeasureError(f"{way}: the job ended early\n{_output(folder)}")
        time.sleep(0.1)
    raise MeasureError(f"{way}: not over after {LIMIT:.0f} s\n{_output(folder)}")


def _output(folder: Path) -> str:
    path = folder / "out"
    return "\n".join(path.read_text(errors="replace").splitlines()[-30:]) if path.exists() else ""
