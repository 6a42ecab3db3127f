"""How long it takes from a command to the id of a job: mnrun, submitit, NeMo-Run and sbatch alone.

    sudo .venv/bin/python -m bench.submit [ROUNDS]     after `mnrun sandbox up`

Each is installed into an environment of its own in the sandbox user's home, and submits a job that
does nothing from the login node, detached. Rounds are interleaved, so that a noisy machine disturbs
all rows alike: the ratio is what to compare between machines.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANDBOX = Path(os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox"))
NAME = "bench-submit"
HOME = f"/home/mluser/{NAME}"
# NeMo-Run 0.11.1 imports a module that the newest leptonai no longer has.
PACKAGES = {"submitit": ["submitit"], "nemo": ["nemo_run", "leptonai<0.47"]}
SBATCH, BASE = "sbatch alone", "submitit"

PROGRAMS = {
    "by_submitit.py": """
import submitit, sys, time
executor = submitit.AutoExecutor(folder=f"{sys.argv[1]}/submitit", cluster="slurm")
executor.update_parameters(slurm_partition=sys.argv[2], timeout_min=5)
print("job", executor.submit(time.sleep, 60).job_id)
""",
    "by_nemo.py": """
import os, sys
os.environ["NEMORUN_HOME"] = sys.argv[1]
import nemo_run as run
executor = run.SlurmExecutor(
    account="bench", partition=sys.argv[2], nodes=1, ntasks_per_node=1, time="00:05:00", mem=None,
    exclusive=None, tunnel=run.LocalTunnel(job_dir=f"{sys.argv[1]}/experiments"),
    packager=run.Packager(),
)
with run.Experiment("submit") as experiment:
    experiment.add(run.Script(inline="sleep 60"), executor=executor, name="one")
    experiment.run(detach=True, tail_logs=False)
""",
    "job.yml": """
- hosts: login
  gather_facts: false
  tasks:
    - mnrun.train.slurm_job:
        run_dir: "{{ folder }}"
        stage: one
        name: one
        script: "#!/bin/bash\\nsleep 60\\n"
        spec: {one: 1}
        sbatch: {partition: "{{ mnrun_partition }}", nodes: 1, time: "5"}
        output: "{{ folder }}/%j.out"
        wait: false
""",
    # It starts each command with a folder of its own, and tells when it named its job and ended,
    # and what it used.
    "clock.py": """
import json, os, re, subprocess, sys, time
commands, rounds, base = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
taken = {name: [] for name in commands}
named = re.compile(r"(?:job |nemo_run/|\\"id\\": \\")([0-9]+)")
for number in range(rounds):
    for at, (name, command) in enumerate(commands.items()):
        folder = f"{base}/out/{number}-{at}"
        os.makedirs(folder)
        words = [word.replace("FOLDER", folder) for word in command]
        begun, before, first, text = time.monotonic(), os.times(), 0.0, ""
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        for line in process.stdout:
            text += line
            if not first and named.search(line):
                first = time.monotonic() - begun
        if process.wait() or not first:
            sys.exit(f"{name} ended with {process.returncode}: {text}")
        after = os.times()
        used = after.children_user + after.children_system
        used -= before.children_user + before.children_system
        taken[name].append([first, time.monotonic() - begun, used])
        job = named.search(text)[1]
        subprocess.run(["scancel", job])
        while subprocess.run(["squeue", "-h", "-j", job], capture_output=True).stdout:
            time.sleep(0.5)
print(json.dumps(taken))
""",
}


def on_login(*command: str) -> str:
    """Run a command as the sandbox's user on its login node. Raises CalledProcessError."""
    words = ["ssh", "-F", str(SANDBOX / "ssh_config"), "login", *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=1200)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout


def install(home: Path) -> None:
    """An environment for each, a site, and the programs, in the user's home."""
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(ROOT)]
        subprocess.run([*build, "-o", folder], check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        for name, packages in {**PACKAGES, "mnrun": [str(wheel)]}.items():
            subprocess.run(["/usr/bin/python3", "-m", "venv", str(home / name)], check=True)
            pip = [str(home / name / "bin/pip"), "install", "-q", *packages]
            subprocess.run(pip, check=True, capture_output=True)
    site = home / "site"
    shutil.copytree(ROOT / "inventory" / "sandbox" / "group_vars", site / "group_vars")
    shutil.copy(ROOT / "inventory" / "osk" / "hosts.yml", site)
    for name, text in PROGRAMS.items():
        (home / name).write_text(text)
    shutil.copy(ROOT / "tests/sandbox/files/own_steps.py", home)
    owner = home.parent.stat()
    for path in [home, *home.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def commands(partition: str) -> dict[str, list[str]]:
    """What is measured, by its name in the table."""
    own = json.dumps(
        {
            "mnrun_run_dir": "FOLDER", "mnrun_trainer": "command", "mnrun_tracker": "none",
            "sft_trainer": f"{HOME}/own_steps.py", "sft_options": {"pace": 5, "max_steps": 1},
            "sft_wait": False,
        }
    )  # fmt: skip
    play = [f"{HOME}/mnrun/bin/ansible-playbook", f"{HOME}/job.yml", "-v", "-i", f"{HOME}/site"]
    return {
        SBATCH: ["sbatch", "-p", partition, "-o", "FOLDER/o", "--wrap", "sleep 60"],
        "submitit": [f"{HOME}/submitit/bin/python", f"{HOME}/by_submitit.py", "FOLDER", partition],
        "NeMo-Run": [f"{HOME}/nemo/bin/python", f"{HOME}/by_nemo.py", "FOLDER", partition],
        "a play with mnrun.train.slurm_job": [*play, "-e", "folder=FOLDER"],
        "mnrun sft, with all its checks": [
            f"{HOME}/mnrun/bin/mnrun", "sft", "-i", f"{HOME}/site", "-e", own,
        ],
    }  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    home = SANDBOX / "home" / "mluser" / NAME
    shutil.rmtree(home, ignore_errors=True)
    try:
        install(home)
        partition = on_login("sinfo", "-h", "-o", "%R").split()[0]
        words = json.dumps(json.dumps(commands(partition)))
        text = on_login(f"cd {HOME} && python3 clock.py {words} {rounds} {HOME}")
        taken = json.loads(text.splitlines()[-1])
    finally:
        shutil.rmtree(home, ignore_errors=True)
    middle = {
        name: [statistics.median(column) for column in zip(*times, strict=True)]
        for name, times in taken.items()
    }
    print("| way | to the id of the job, s | min max s | to its end, s | CPU s | ratio, CPU |")
    print("|---|---|---|---|---|---|")
    for name, (first, end, cpu) in middle.items():
        firsts = [one[0] for one in taken[name]]
        ratio = f"{first / middle[BASE][0]:.1f}, {cpu / middle[BASE][2]:.1f}"
        print(
            f"| {name} | {first:.2f} | {min(firsts):.2f} {max(firsts):.2f} | {end:.2f} "
            f"| {cpu:.2f} | {ratio} |"
        )


if __name__ == "__main__":
    main()
