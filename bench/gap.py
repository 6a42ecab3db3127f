"""Where the time goes between SFT's end and PPO's first step, and after PPO's end.

    sudo .venv/bin/python bench/gap.py [--run-dir training/multinode] [--file FILE]

It runs `mnrun all` on the sandbox, in a new folder by default. It looks at the run's own
files on the shared file system twenty times a second: each mark is the moment at which a file, or a
line in a log, is there. With FILE, the marks are added to it as a line of JSON. What the controller
used of CPU and memory is printed as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANDBOX = Path(os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox"))
LIMIT = 900.0  # seconds until the last mark, and as many for the conversion after it


def there(pattern: str) -> Callable[[Path], bool]:
    """Whether a file of this name is in the run's folder."""
    return lambda run: any(run.glob(pattern))


def says(pattern: str, text: str) -> Callable[[Path], bool]:
    """Whether a file of this name holds the text."""
    return lambda run: any(text in path.read_text(errors="replace") for path in run.glob(pattern))


PPO_LOG = "ppo/logs/ppo-*.log"
# In the order in which they come; the time until a mark is printed with its name.
MARKS: dict[str, Callable[[Path], bool]] = {
    "SFT has ended": there(".mnrun/sft/*/end-1.json"),
    "mnrun sees it, checks the result, submits the Ray cluster": there(".mnrun/ray/*/record.json"),
    "Slurm starts the job": there(".mnrun/ray/*/start-1.json"),
    "the Ray cluster comes up": there(".mnrun/ray/*/head.json"),
    "mnrun sees it, and submits PPO on the head": there(".mnrun/ppo/*/record.json"),
    "Ray starts the driver": there(".mnrun/ppo/*/start-1.json"),
    "verl imports, and starts its task runner": says(PPO_LOG, "(TaskRunner pid="),
    "verl starts its workers, and validates": says(PPO_LOG, "step:0 - "),
    "PPO's first step": says(PPO_LOG, "step:1 - "),
    "the rest of PPO": there(".mnrun/ppo/*/end-1.json"),
    "mnrun sees it, and ends the Ray cluster's job": there(".mnrun/ray/*/end-1.json"),
}
TRAINS = ("PPO's first step", "the rest of PPO")


def watch(run: Path, over: Callable[[], bool]) -> dict[str, float]:
    """The moment of each mark."""
    moments: dict[str, float] = {}
    waiting = list(MARKS)
    deadline = time.monotonic() + LIMIT
    while waiting and time.monotonic() < deadline:
        ended = over()
        while waiting and MARKS[waiting[0]](run):
            moments[waiting.pop(0)] = time.time()
        if ended:
            break
        time.sleep(0.05)
    return moments


def main() -> None:
    """Run, watch, and print a table."""
    parser = argparse.ArgumentParser(prog="bench/gap.py", description="See the file itself.")
    parser.add_argument("--run-dir", default=f"bench-gap/{time.time():.0f}", help="below the home")
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    name = given.run_dir
    home = SANDBOX / "home" / "mluser"
    command = [str(Path(sys.executable).with_name("mnrun")), "all", "-i", "inventory/sandbox"]
    command += ["-e", json.dumps({"mnrun_run_dir": f"~/{name}"})]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as mnrun:
        try:
            moments = watch(home / name, lambda: mnrun.poll() is not None)
            output, _ = mnrun.communicate(timeout=LIMIT)  # conversions
        except BaseException:
            mnrun.terminate()
            raise
    if mnrun.returncode or set(moments) != set(MARKS):
        sys.exit(f"{output}\nmnrun all: exit code {mnrun.returncode}; marks: {list(moments)}")
    if given.file:
        with given.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(moments) + "\n")
    print(table(moments))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"\nController: {cpu:.1f} s of CPU, at most {memory:.0f} MB in one process.")


def table(moments: dict[str, float]) -> str:
    """What passed until each mark, and its share of the gap before PPO's first step ended."""
    names = list(MARKS)
    passed = {b: moments[b] - moments[a] for a, b in itertools.pairwise(names)}
    gap = moments[TRAINS[0]] - moments[names[0]]
    lines = ["| what | s | share of the gap |", "|---|---|---|"]
    for what, seconds in passed.items():
        inside = moments[what] <= moments[TRAINS[0]]
        lines.append(f"| {what} | {seconds:.1f} | {f'{seconds / gap:.0%}' if inside else ''} |")
    return "\n".join([*lines, f"| SFT's end to the end of PPO's first step | {gap:.1f} | |"])


if __name__ == "__main__":
    main()
