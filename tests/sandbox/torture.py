"""Kills calls of the modules on the sandbox, and counts what became of their jobs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible

from .conftest import ROOT, Cluster

FILES = Path(__file__).parent / "files" / "torture"
PLUGINS = "ansible_collections/mnrun/train/plugins"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")


@dataclass
class Counts:
    """What a batch of cases came to."""

    killed: int = 0  # calls that really ended by SIGKILL
    finished: int = 0  # cases that a re-run brought to their end
    submitted: int = 0  # jobs that Slurm (or Ray) knows
    started: int = 0  # jobs that began to work
    duplicate: int = 0  # jobs that worked twice, or on work that was done
    lost: int = 0  # jobs that no ledger knows, and cases that did not come to their end
    leaked: int = 0  # jobs that still lived when all was over
    seen: list[str] = field(default_factory=list)  # what went wrong, in words

    def __str__(self) -> str:
        names = ("killed", "finished", "submitted", "started", "duplicate", "lost", "leaked")
        return ", ".join(f"{getattr(self, name)} {name}" for name in names)


class Torture:
    """A folder on the shared home with the program, the collection and the cases' run folders."""

    def __init__(self, sandbox: Cluster, name: str) -> None:
        self.sandbox = sandbox
        self.inside = f"/home/mluser/torture/{name}"
        self.outside = sandbox.home / "torture" / name
        sandbox.run(f"mkdir -p {self.inside}")
        library = self.outside / "lib"
        for part in ("modules", "module_utils"):
            shutil.copytree(ROOT / "plugins" / part, library / PLUGINS / part)
        source = Path(ansible.__file__).parent
        shutil.copytree(source / "module_utils", library / "ansible" / "module_utils")
        (library / "ansible" / "__init__.py").touch()
        shutil.copy(source / "release.py", library / "ansible")
        for program in FILES.glob("*.py"):
            shutil.copy(program, library / program.name)

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.outside)

    def cases(
        self,
        cases: Sequence[dict[str, Any]],
        node: str = "login",
        quiet: float | None = None,
        ray: dict[str, Any] | None = None,
        parallel: int = 24,
    ) -> list[dict[str, Any]]:
        """Run cases on a node (see files/torture/cases.py); one report each."""
        plan = {"base": f"{self.inside}/runs", "cases": cases, "quiet": quiet, "ray": ray or {},
                "parallel": parallel}  # fmt: skip
        done = subprocess.run(
            [*self.sandbox.ssh, "-T", node, f"/usr/bin/python3 {self.inside}/lib/cases.py"],
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        reports: list[dict[str, Any]] = json.loads(done.stdout)
        return reports

    def points(self, scenario: str, **options: Any) -> list[str]:
        """All points that an undisturbed run of a scenario passes, in order. Of those in a loop,
        whose number depends on the time, the first two."""
        name = f"all-{scenario}-{time.time_ns()}"
        case = {"id": name, "scenario": scenario, "kill": {"point": "none"}}
        (report,) = self.cases([case], **options)
        assert report["good"], report
        lines = report["points"].splitlines()
        return [line for line in lines if int(line.rpartition("#")[2]) <= 2 or "record" in line]

    def call(
        self, arguments: dict[str, Any], point: str = "", after: float = 0.0, **more: Any
    ) -> Any:
        """Call `slurm_job` on the login node; its answer, None if it was killed: at `point`, or
        `after` seconds."""
        given = {"module": "slurm_job", "arguments": arguments, "quiet": None, "point": point,
                 "passed": "/dev/null", **more}  # fmt: skip
        limit = f"timeout --signal=KILL {after} " if after else ""
        line = f"/usr/bin/python3 {self.inside}/lib/call.py {shlex.quote(json.dumps(given))}"
        said = self.sandbox.run(f"{limit}{line}", timeout=300, check=False)
        answers = [json.loads(text) for text in said.splitlines() if text.startswith("{")]
        assert answers or not said or "Killed" in said, said
        return answers[0] if answers else None

    def race(self, nodes: Sequence[str], each: int, unlocked: bool = False) -> list[dict[str, Any]]:
        """Call `slurm_job` with the same arguments, `each` times at once on each node; the
        answers. `unlocked`: their lock does not exclude."""
        folder = f"{self.inside}/race-{time.time_ns()}"
        self.sandbox.run(f"mkdir {folder}")
        script = "#!/bin/bash\necho begin >> works\nsleep 2\n"
        arguments = {"run_dir": folder, "stage": "sft", "name": "race", "script": script,
                     "sbatch": {"ntasks": 1, "time": 5},
                     "spec": {"lr": 0.1}, "wait": True}  # fmt: skip
        given = {"module": "slurm_job", "arguments": arguments, "quiet": None, "point": "",
                 "unlocked": unlocked, "passed": "/dev/null"}  # fmt: skip
        call = f"/usr/bin/python3 {self.inside}/lib/call.py {shlex.quote(json.dumps(given))}"
        line = f"for n in $(seq {each}); do {call} & done; wait"
        with ThreadPoolExecutor() as pool:
            texts = pool.map(lambda node: self.sandbox.run(line, node, timeout=120), nodes)
            said = [line for text in texts for line in text.splitlines() if line]
        assert all(line.startswith("{") for line in said), said
        answers = [json.loads(line) for line in said]
        works = (self.outside / Path(folder).name / "works").read_text()
        assert works == "begin\n", works
        return answers

    def slurm_jobs(self) -> dict[str, tuple[str, str]]:
        """Every job in one of our run folders: id -> (folder, state). From slurmctld, which knows
        the living, and the accounting, which forgets nobody."""
        shown = self.sandbox.run("squeue --me -h -t all -o '%i|%T|%Z'").splitlines()
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 7200))
        line = f"sacct -n -X -P -S {since} -o JobIDRaw,State,WorkDir"
        past = self.sandbox.run(line, check=False).splitlines()
        rows = [row.split("|", 2) for row in [*past, *shown] if row.count("|") == 2]
        return {row[0]: (row[2], row[1].split()[0]) for row in rows if self.inside in row[2]}


def judged(reports: list[dict[str, Any]], jobs: dict[str, tuple[str, str]]) -> Counts:
    """Count; `jobs` as `Torture.slurm_jobs` gives them."""
    counts = Counts()
    for report in reports:
        where = f"{report['scenario']} {report['kill']} in {report['folder']}"
        ours = {job: state for job, (folder, state) in jobs.items() if folder == report["folder"]}
        unknown = set(ours) - set(report["jobs"])
        alive = [job for job, state in ours.items() if state not in ENDED]
        counts.killed += report["killed"]
        counts.finished += report["good"]
        counts.submitted += len(ours)
        counts.started += report["begun"]
        counts.duplicate += report["twice"]
        counts.lost += len(unknown) + (not report["good"])
        counts.leaked += len(alive)
        if unknown or alive or report["twice"] or not report["good"]:
            counts.seen.append(f"{where}: {report['said']} (not in the ledger: {unknown}, alive: "
                               f"{alive}, twice: {report['twice']})")  # fmt: skip
    return counts
