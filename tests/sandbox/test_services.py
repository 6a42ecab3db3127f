"""A service beside SFT and beside PPO on the Ray cluster: its address is handed over, its death
named and retried, and nothing of it is left."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

FILES = Path(__file__).parent / "files"
PROGRAMS = ("service_tool.py", "served_steps.py")
RUN = f"~/training/services-{time.time():.0f}"


@pytest.fixture(scope="module")
def scripts(sandbox: Cluster) -> Iterator[Cluster]:
    for name in PROGRAMS:
        shutil.copy(FILES / name, sandbox.home / name)
        sandbox.run(f"chmod 644 ~mluser/{name}", "root@login")
    sandbox.run("(umask 077; echo key-4711 > tool-key)")
    yield sandbox
    sandbox.end_jobs(RUN.removeprefix("~/"), word="USR1")
    sandbox.run(f"rm -rf {RUN}* tool-key {' '.join(PROGRAMS)}")


def run(stage: str, *command: str, tool: dict[str, Any] | None = None, **given: Any) -> Run:
    service: dict[str, Any] = {
        "name": "tool", "command": ["python", "~/service_tool.py", "{host}", "{port}"],
        "nodes": "each", "gpus": 1, "health": "/health", "timeout": 60,
        "secrets": {"TOOL_KEY": "~/tool-key"}, **(tool or {}),
    }  # fmt: skip
    options = {"tool": "$MNRUN_SERVICE_TOOL/v1", **given}
    own: dict[str, Any] = {
        f"{stage}_trainer": "~/served_steps.py", f"{stage}_options": options,
        "mnrun_services": [service], "mnrun_trainer": "command", "mnrun_run_dir": RUN,
        "mnrun_gpus_per_node": 2,
        "sft_trainer": "~/served_steps.py", "ppo_model": "~/model/Llama-3.2-1B-Instruct",
    }  # fmt: skip
    return mnrun(*(command or (stage,)), **own)


def log(cluster: Cluster, stage: str) -> str:
    logs = f"{RUN}/{stage}/logs/*.out {RUN}/{stage}/logs/*.log"
    return cluster.run(f"cat $(ls -t {logs} 2> /dev/null | grep -v service- | head -n 1)")


def nothing_is_left(cluster: Cluster) -> None:
    for node in ("osk-gpu94", "osk-gpu95"):
        left = "pgrep -fa '[s]ervice_tool.py|[s]ervices_node.py|[s]ervices.py'"
        cluster.wait(f'ssh {node} "{left}" || echo none', "^none$", timeout=60)


def test_sft_is_given_the_address_and_a_service_that_dies_is_named(scripts: Cluster) -> None:
    done = run("sft", max_steps=4, die_at=3)
    assert done.code == 0, done.text
    assert "a service beside the training was lost (osk-gpu94)" in done.text
    assert "The service tool on osk-gpu94 ended with exit code 7. The last lines of" in done.text
    assert "KeyError: what the tool died of" in done.text
    assert "The next attempt resumes from step 2." in done.text
    said = log(scripts, "sft")
    address = r"http://10[.]\d+[.]\d+[.]\d+:\d+"
    both = f"{address},{address}"
    assert re.search(rf"^option {both}/v1, variable {both}$", said, re.MULTILINE), said
    assert re.search(r"^own gpus (0|0,[0-9,]+), total", said, re.MULTILINE)
    served = re.search(
        r"^tool says osk-gpu94 (\d) key-4711 [|] osk-gpu95 (\d) key-4711$", said, re.MULTILINE
    )
    assert served, said
    own = re.search(r"^own gpus ([0-9,]+)", said, re.MULTILINE)
    assert own
    assert served.group(1) not in own.group(1).split(",")
    nothing_is_left(scripts)
    again = run("sft", max_steps=4, die_at=3)
    assert (again.code, again.changed) == (0, 0), again.text
    shown = mnrun("logs", "sft", "--service", "tool", "--attempt", "1", mnrun_run_dir=RUN)
    assert "KeyError: what the tool died of" in shown.text
    status = mnrun("status", "-v", mnrun_run_dir=RUN)
    assert re.search(rf"service tool on osk-gpu95, {address}", status.text), status.text
    holding = scripts.run(f"grep -rl key-4711 {RUN}/.mnrun {RUN}/sft/logs/*.err || echo none")
    assert holding == "none"


def test_one_that_does_not_come_up_ends_the_job_within_its_bound(scripts: Cluster) -> None:
    tool = {"command": ["python", "-c", "import sys; sys.exit('no such judge')"]}
    failed = run("sft", tool=tool, max_steps=4)
    assert failed.code != 0
    assert "a service beside the training did not come up" in failed.text
    assert "no such judge" in failed.text
    assert "(attempt 2)" not in failed.text
    nothing_is_left(scripts)


def test_ppo_and_its_workers_are_given_the_address(scripts: Cluster) -> None:
    cluster = run("ppo", "ray", "start")
    assert cluster.code == 0, cluster.text
    done = run("ppo", max_steps=4, die_at=3)
    assert done.code == 0, done.text
    assert "The service tool on osk-gpu94 ended with exit code 7." in done.text
    said = log(scripts, "ppo")
    for node in ("osk-gpu94", "osk-gpu95"):
        assert re.search(rf"^{node} knows http://10[.]", said, re.MULTILINE), said
    assert "tool says osk-gpu94" in said
    nothing_is_left(scripts)


@pytest.mark.torture
@pytest.mark.parametrize("ended", ["scancel", "trainer", "script", "watcher", "node"])
def test_nothing_is_left_however_the_training_ends(scripts: Cluster, ended: str) -> None:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, "sft", max_steps=900 + len(ended))
        job = scripts.wait("squeue --me -h -t running -n $(squeue --me -h -o %j | head -n 1) -o %A",
                           r"^\d+$", timeout=120)  # fmt: skip
        newest = f"$(ls -t {RUN}/sft/logs/*.out | head -n 1)"
        scripts.wait(f"grep -c ^step= {newest}", r"^([5-9]|\d\d+)$", timeout=120)
        kill = {
            "trainer": ("osk-gpu95", "kill -9 $(pgrep -f '[s]erved_steps.py')"),
            "script": ("osk-gpu94", "kill -9 $(pgrep -f '[s]lurm_script')"),
            "watcher": ("osk-gpu94", "kill -9 $(pgrep -f '[s]ervices.py')"),
            "node": ("osk-gpu95", "kill -9 $(pgrep -f '[s]ervices_node.py')"),
        }
        if ended == "scancel":
            scripts.run(f"scancel {job}")
        else:
            node, line = kill[ended]
            scripts.run(line, f"root@{node}")
        if ended == "node":  # then the next attempt starts the service again
            scripts.wait("squeue --me -h -t running -o %j", "-2$", timeout=120)
            scripts.end_jobs(RUN.removeprefix("~/"))
        nothing_is_left(scripts)
        scripts.end_jobs(RUN.removeprefix("~/"))
        text = running.result().text
    said = {"scancel": "cancelled by hand", "node": "a service beside the training was lost"}
    assert said.get(ended, "") in text
    if ended != "node":
        assert "a service beside the training was lost" not in text
