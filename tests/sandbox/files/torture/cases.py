"""Runs many cases on a node of the sandbox: a call is killed, then made again until it is done.

Reads JSON (see `main`) and prints, for each case, what came of it. Each case has a run folder of
its own; the jobs write down when they begin and end to work.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALLS = 6  # after the killed one, until it must be done
TRAINS = """\
mine="$(basename "$MNRUN_RECORD") $MNRUN_ATTEMPT"
echo "begin $mine" >> works
{body}
echo "end $mine" >> works
"""
# Four steps; an attempt that finds none fails after the second one, if `fails` says so.
STEPS = """\
python3 - <<'END'
import pathlib, sys, zipfile
folder = pathlib.Path("checkpoints")
done = max((int(p.name[12:]) for p in folder.glob("global_step_*")), default=0)
print("Total training steps: 4")
for step in (2, 4):
    if step <= done:
        continue
    print(f"step:{step} - train/loss:{9 - step}.5 - train/lr(1e-3):1", flush=True)
    place = folder / f"global_step_{step}"
    place.mkdir()
    for kind in ("model", "optim", "extra_state"):
        with zipfile.ZipFile(place / f"{kind}_world_size_1_rank_0.pt", "w") as file:
            file.writestr("data", "x")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    if pathlib.Path("fails").exists() and not done:
        sys.exit("ValueError: this one fails")
END
test $? = 0 || { echo "end $mine" >> works; exit 1; }
"""
STAYS = "sleep 600 & wait"
SHORT = "sleep 0.5"


class Case:
    """One run folder, and calls of the module for it."""

    def __init__(self, plan, case):
        self.plan, self.case = plan, case
        self.folder = Path(plan["base"], case["id"])
        self.folder.mkdir(parents=True)
        self.calls = 0

    def options(self, body=SHORT, lr=0.1, **more):
        """Arguments of the module for a job that works as `body` says."""
        ray = self.plan["ray"]
        script = f"cd {self.folder}\n" + TRAINS.format(body=body)
        head = "" if ray else "#!/bin/bash\n"
        spec = {"lr": lr, "case": self.case["id"]}
        name = {} if ray else {"name": "torture", "sbatch": {"ntasks": 1, "time": 20}}
        return {"run_dir": str(self.folder), "stage": "sft", **name, "spec": spec,
                "script": head + script, **ray, **more}  # fmt: skip

    def absent(self):
        ray = self.plan["ray"]
        return {"run_dir": str(self.folder), "stage": "sft", "state": "absent", **ray}

    def call(self, arguments, point="", after=0.0, group=False):
        """The module's answer; None if it was killed: at a point, or `after` seconds (with all
        that it started, if `group`)."""
        self.calls += 1
        passed = self.folder / f"passed-{self.calls}"
        given = {"module": "ray_job" if self.plan["ray"] else "slurm_job", "arguments": arguments,
                 "quiet": self.plan["quiet"], "point": point, "passed": str(passed)}  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, HERE / "call.py", json.dumps(given)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd="/", env={**os.environ, "PYTHONPATH": str(HERE)}, start_new_session=True,
        )  # fmt: skip
        if after:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                end = os.killpg if group else os.kill
                end(process.pid, signal.SIGKILL)
        # sbatch, left alone by a killed module, keeps the pipes open.
        out, err = process.communicate(timeout=400)
        if process.returncode == -signal.SIGKILL:
            return None
        try:
            return json.loads(out)
        except ValueError:
            return {"failed": True, "msg": f"no JSON: {out} {err}"}

    def killed(self, arguments):
        """The call that is killed, as the case says."""
        kill = self.case["kill"]
        if "point" in kill:
            return self.call(arguments, point=kill["point"])
        chance = random.Random(self.case["id"])  # noqa: S311 - the same moments in each run
        return self.call(arguments, after=chance.uniform(0.01, kill["within"]),
                         group=chance.random() < 0.5)  # fmt: skip

    def until_done(self, arguments, done):
        """Make a call until its answer is what it should be; the last answer."""
        answer = None
        for _ in range(CALLS):
            answer = self.call(arguments)
            if answer and not answer.get("failed") and done(answer):
                break
        return answer

    def jobs(self):
        """The job ids in the ledger."""
        records = [json.loads(path.read_text()) for path in self.folder.rglob("record.json")]
        return [a["job_id"] for record in records for a in record["attempts"] if a["job_id"]]


def trained(answer):
    return (answer.get("job") or {}).get("state") in ("COMPLETED", "SUCCEEDED")


def submit(case):
    """From nothing to done."""
    arguments = case.options(wait=True)
    first = case.killed(arguments)
    last = case.until_done(arguments, trained)
    return first, last, trained(last), 1


def resume(case):
    """A failed attempt's successor."""
    rule = {"path": str(case.folder / "checkpoints")}
    arguments = case.options(STEPS, wait=True, checkpoints=rule)
    (case.folder / "fails").touch()
    assert case.call(arguments).get("failed")
    first = case.killed(arguments)
    last = case.until_done(arguments, lambda answer: bool(answer["output"]))
    good = bool(last.get("output")) and last["output"]["step"] == 4
    return first, last, good, 2


def stop(case):
    """The end of a job that runs."""
    assert case.call(case.options(STAYS))["action"] == "submitted"
    first = case.killed(case.absent())
    last = case.until_done(case.absent(), lambda answer: True)
    return first, last, last["action"] in ("nothing", "stopped"), None


def replace(case):
    """Another spec takes the place of a job that runs, and is trained."""
    assert case.call(case.options(STAYS))["action"] == "submitted"
    arguments = case.options(lr=0.2, replace=True, wait=True)
    first = case.killed(arguments)
    last = case.until_done(arguments, trained)
    return first, last, trained(last), None


SCENARIOS = {"submit": submit, "resume": resume, "stop": stop, "replace": replace}


def passed(case):
    """The points of the call that was to be killed, one a line."""
    path = case.folder / f"passed-{1 if case.case['scenario'] == 'submit' else 2}"
    return path.read_text() if path.exists() else ""


def run(plan, case):
    begun = time.monotonic()
    one = Case(plan, case)
    report = {"id": case["id"], "scenario": case["scenario"], "kill": case["kill"]}
    try:
        first, last, good, works = SCENARIOS[case["scenario"]](one)
    except Exception as error:  # noqa: BLE001 - a case that breaks is a result
        return {**report, "killed": True, "good": False, "said": repr(error), "jobs": one.jobs(),
                "folder": str(one.folder), "begun": 0, "twice": 0}  # fmt: skip
    text = one.folder / "works"
    lines = text.read_text().split("\n")[:-1] if text.exists() else []
    begins = [line for line in lines if line.startswith("begin")]
    return {
        **report,
        "killed": first is None,
        "good": good,
        "said": (last or {}).get("msg", ""),
        "jobs": one.jobs(),
        "folder": str(one.folder),
        "begun": len(begins),
        # A job that works twice, beside another one, or though the work is done.
        "twice": len(begins) - len(set(begins)) + max(0, len(begins) - (works or len(begins))),
        "points": passed(one),
        "seconds": round(time.monotonic() - begun, 1),
    }


def main():
    """Standard input: base (folder), quiet (seconds or null), ray (options of ray_job, or {}),
    parallel (number), cases (list of id, scenario, kill)."""
    plan = json.load(sys.stdin)
    with ThreadPoolExecutor(plan["parallel"]) as pool:
        reports = list(pool.map(lambda case: run(plan, case), plan["cases"]))
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
