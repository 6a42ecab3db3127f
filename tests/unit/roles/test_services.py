"""What runs the services of a job: with real processes and a real HTTP server, on one node."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import texts

ROLES = Path(__file__).parents[3] / "roles"
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
    case $1 in --nodelist=*) nodes=${1#*=} ;; esac
    shift
done
if [ -z "$nodes" ]; then exec "$@"; fi
for node in ${nodes//,/ }; do SLURMD_NODENAME=$node "$@" <&0 & done
wait
"""
# A tool server: well after some questions, and gone when it is asked to be.
TOOL = """
import http.server, os, sys

asked = 0

class Tool(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        if self.path == "/die":
            print("KeyError: what it died of", flush=True)
            os._exit(7)
        asked += self.path == "/health"
        code = 503 if asked <= int(os.environ.get("SICK", 0)) else 200
        self.send_response(code)
        self.end_headers()
        names = ("KEY", "CUDA_VISIBLE_DEVICES", "RAY_ADDRESS", "MNRUN_PORT")
        self.wfile.write(" ".join(os.environ.get(n, "-") for n in names).encode())

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Tool).serve_forever()
"""
ASK = """
import os, sys, urllib.request
from pathlib import Path
url = os.environ["MNRUN_SERVICE_TOOL"]
Path(sys.argv[1]).write_text(urllib.request.urlopen(url + "/x").read().decode())
"""


DIE = (
    "python -c 'import os, urllib.request as r;"
    """ r.urlopen(os.environ["MNRUN_SERVICE_TOOL"] + "/die")'"""
)


class Job:
    """A job's folder, with what it carries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        variables = yaml.safe_load((ROLES / "sft/vars/main.yml").read_text())
        for name, text in texts(variables["sft_services_programs"]).items():
            (folder / name).write_text(text)
        (folder / "tool.py").write_text(TOOL)
        (folder / "ask.py").write_text(ASK)
        (folder / "logs").mkdir()
        self.program("srun", SRUN)
        self.program("scontrol", "#!/bin/sh\necho n1\n")
        self.program("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        self.bound("services.py", _ECHO=0.3, _LATER=0.2)
        self.bound("services_node.py", _STOP_COMES=0.2)
        self.started: list[subprocess.Popen[str]] = []
        self.environment: dict[str, str] = {}

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def bound(self, program: str, **seconds: float) -> None:
        """Let a program wait for less, or more, than in a job."""
        text = (self.folder / program).read_text()
        for name, value in seconds.items():
            text, count = re.subn(rf"(?m)^{name} = [0-9.]+", f"{name} = {value}", text)
            assert count == 1, name
        (self.folder / program).write_text(text)

    def service(self, name: str = "tool", **given: Any) -> dict[str, Any]:
        own = [sys.executable, str(self.folder / "tool.py"), "{port}"]
        plan = {"name": name, "command": own, "nodes": [0], "health": "/health", "timeout": 30}
        return {**plan, **given}

    def start(
        self, services: list[dict[str, Any]], *command: str, files: Any = (), script: str = ""
    ) -> subprocess.Popen[str]:
        plan = {"services": services, "logs": str(self.folder / "logs"), "files": list(files),
                "gpus": 0, "cpus": 0}  # fmt: skip
        (self.folder / "services.json").write_text(json.dumps(plan))
        words = [sys.executable, "-B", str(self.folder / "services.py"),
                 str(self.folder / "services.json"), *command]  # fmt: skip
        if script:
            words = ["bash", "-c", script, "script", *words]
        env = {
            "PATH": f"{self.folder}:/usr/bin:/bin", "SLURM_JOB_ID": "12", "SLURMD_NODENAME": "n1",
            "SLURM_JOB_NODELIST": "n1", "MNRUN_RECORD": str(self.folder), "MNRUN_ATTEMPT": "1",
            "MNRUN_TOKEN": "t0", **self.environment,
        }  # fmt: skip
        pipe = subprocess.PIPE
        self.started.append(
            subprocess.Popen(words, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        )
        return self.started[-1]

    def run(self, services: list[dict[str, Any]], *command: str, **how: Any) -> tuple[int, str]:
        process = self.start(services, *command, **how)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def stopped(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "stopped-1.json").read_text())
        return found

    def alive(self) -> list[str]:
        """The processes of this job that run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().decode("utf-8", "replace").replace("\0", " ")
            except OSError:
                continue
            if str(self.folder) in text:
                found.append(text)
        return found


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    one = Job(tmp_path)
    yield one
    for process in one.started:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        if process.stdout:
            process.stdout.close()
    eventually(lambda: not one.alive())


def eventually(holds: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
    return found


def test_the_training_gets_the_address_and_the_service_ends_with_it(job: Job) -> None:
    (job.folder / "key").write_text("secret-1\n")
    job.environment = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "RAY_ADDRESS": "other:1"}
    tool = job.service(
        gpus=1, gpus_behind=2, secrets={"KEY": str(job.folder / "key")},
        environment={"SICK": "2"},
    )  # fmt: skip
    answer = job.folder / "answer"
    code, out = job.run([tool], sys.executable, str(job.folder / "ask.py"), str(answer))
    assert code == 0, out
    known = json.loads((job.folder / "services-1.json").read_text())
    (one,) = known["services"]
    port = one["address"].rpartition(":")[2]
    assert answer.read_text() == f"secret-1 1 - {port}"
    assert (one["name"], one["node"], known["token"]) == ("tool", "n1", "t0")
    assert "[services] tool answers on n1 after" in out
    assert "secret-1" not in out + "".join(path.read_text() for path in job.folder.glob("*.json"))
    assert not job.alive()
    assert not (job.folder / "stopped-1.json").exists()


def test_what_a_service_is_stands_on_no_command_line(job: Job) -> None:
    tool = job.service(environment={"MODE": "only-in-a-file"})
    tool["command"].append("also-only-there")
    process = job.start([tool], "bash", "-c", "echo trains; exec sleep 600")
    assert process.stdout
    while process.stdout.readline() != "trains\n":
        pass
    beside = [words for words in job.alive() if "services_node.py" in words]
    process.terminate()
    assert beside
    assert not [words for words in beside if "only" in words]


def test_the_last_lines_of_a_log_tell_no_secret(job: Job) -> None:
    (job.folder / "key").write_text("word-1\n")
    dies = job.service(
        command=["bash", "-c", 'echo "with $KEY: refused"; exit 4'],
        secrets={"KEY": str(job.folder / "key")},
    )
    code, out = job.run([dies], "true")
    assert code == 1
    assert "    with ***: refused" in out
    assert "word-1" not in out + (job.folder / "stopped-1.json").read_text()


def test_each_attempt_has_a_log_of_its_own(job: Job) -> None:
    for attempt in ("1", "2"):
        job.environment = {"MNRUN_ATTEMPT": attempt}
        silent = job.service(command=["sh", "-c", f"[ {attempt} = 2 ] || echo first; exit 3"])
        code, _ = job.run([silent], "true")
        assert code == 1
    logs = {path.name: path.read_text() for path in (job.folder / "logs").iterdir()}
    assert logs == {"service-tool-12-1-n1.log": "first\n", "service-tool-12-2-n1.log": ""}
    assert "first" not in (job.folder / "stopped-2.json").read_text()


def test_the_exit_code_is_the_trainings(job: Job) -> None:
    code, _ = job.run([job.service()], "bash", "-c", "exit 9")
    assert code == 9
    assert not (job.folder / "stopped-1.json").exists()


def test_options_and_files_name_the_address(job: Job) -> None:
    (job.folder / "options.json").write_text('{"url": "${MNRUN_SERVICE_TOOL}/v1", "n": "$HOME"}')
    words = ["url=$MNRUN_SERVICE_TOOL/v1", "$MNRUN_SERVICE_OTHER", str(job.folder / "options.json")]
    show = 'for word; do echo "word $word"; done; cat "${@: -1}"; echo; echo "own $OWN"'
    job.environment = {"OWN": "at $MNRUN_SERVICE_TOOL"}
    code, out = job.run([job.service()], "bash", "-c", show, "x", *words, files=["options.json"])
    assert code == 0, out
    address = json.loads((job.folder / "services-1.json").read_text())["services"][0]["address"]
    assert f"word url={address}/v1\n" in out
    assert "word $MNRUN_SERVICE_OTHER\n" in out
    assert f'{{"url": "{address}/v1", "n": "$HOME"}}\n' in out
    assert f"own at {address}\n" in out
    assert "${MNRUN_SERVICE_TOOL}" in (job.folder / "options.json").read_text()


def test_workers_of_ray_get_it_too(job: Job) -> None:
    config = {"runtime_env": {"env_vars": {"A": "b"}}, "metadata": {"m": "n"}}
    job.environment = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(config)}
    code, out = job.run([job.service()], "bash", "-c", "echo $RAY_JOB_CONFIG_JSON_ENV_VAR")
    assert code == 0, out
    got = json.loads(out.splitlines()[-1])
    assert got["runtime_env"]["env_vars"]["A"] == "b"
    assert got["runtime_env"]["env_vars"]["MNRUN_SERVICE_TOOL"].startswith("http://127.0.0.1:")
    assert got["metadata"] == {"m": "n"}


@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({}, "127.0.0.1", "127.0.0.1"),
        ({"no_proxy": "a"}, "a,127.0.0.1", "a,127.0.0.1"),
        ({"no_proxy": "a, 127.0.0.1", "NO_PROXY": "b"}, "a,127.0.0.1", "b,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*", "*"),
    ],
)
def test_no_proxy_is_between_a_training_and_its_services(
    job: Job, given: dict[str, str], lower: str, upper: str
) -> None:
    config = {"runtime_env": {"env_vars": {"NO_PROXY": "of-ray"}}}
    job.environment = {**given, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(config)}
    show = "echo $no_proxy $NO_PROXY; echo $RAY_JOB_CONFIG_JSON_ENV_VAR"
    code, out = job.run([job.service()], "bash", "-c", f"set -f; {show}")
    assert code == 0, out
    said, ray = out.splitlines()[-2:]
    assert said == f"{lower} {upper}"
    of_workers = json.loads(ray)["runtime_env"]["env_vars"]
    assert of_workers["NO_PROXY"] == "of-ray,127.0.0.1"
    assert of_workers["no_proxy"] == (lower if given.get("no_proxy") else "of-ray,127.0.0.1")


def test_one_that_dies_ends_the_training_and_is_named(job: Job) -> None:
    code, out = job.run(
        [job.service(), job.service("other")], "bash", "-c", f"{DIE} 2> /dev/null; sleep 600"
    )
    assert code == 1
    stopped = job.stopped()
    assert (stopped["cause"], stopped["where"], stopped["token"]) == ("service", "n1", "t0")
    assert stopped["text"].startswith("The service tool on n1 ended with exit code 7. The last ")
    assert stopped["text"].endswith("service-tool-12-1-n1.log: KeyError: what it died of")
    assert "    KeyError: what it died of" in out
    assert not job.alive()


def test_a_training_that_fails_as_its_service_died_is_no_failure_of_its_own(job: Job) -> None:
    job.bound("services.py", _ECHO=30)  # it ends with the news
    code, _ = job.run([job.service()], "bash", "-c", DIE)
    assert code == 1
    assert job.stopped()["cause"] == "service"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"command": ["/none/such"]}, "cannot be started: [Errno 2] No such file or directory"),
        ({"command": ["bash", "-c", "echo why >&2; exit 4"]}, "ended with exit code 4. The last"),
        ({"environment": {"SICK": "999"}, "timeout": 1}, "s (HTTP 503)"),
        ({"command": ["sleep", "99"], "timeout": 1, "health": ""}, "Connection refused)"),
        ({"secrets": {"KEY": "/none"}}, "/none, for KEY, cannot be read"),
        ({"gpus": 2}, "it needs 2 GPUs for services, the job has 0"),
    ],
)  # fmt: skip
def test_one_that_does_not_come_up_is_named(job: Job, given: dict[str, Any], says: str) -> None:
    code, out = job.run([job.service(**given)], "touch", str(job.folder / "trained"))
    assert code == 1
    assert job.stopped()["cause"] == "service_start"
    assert says in out
    assert says[:20] in job.stopped()["text"]
    assert not (job.folder / "trained").exists()
    assert not job.alive()


def test_one_that_stops_answering_is_lost(job: Job) -> None:
    job.bound("services_node.py", _ASK=0.5, _GRACE=0.5)
    stop = f"kill -STOP $(pgrep -f '^[^ ]*python[^ ]* {job.folder}/tool.py'); sleep 600"
    code, out = job.run([job.service(timeout=3)], "bash", "-c", stop)
    assert code == 1
    assert "The service tool on n1 has not answered for" in out
    assert job.stopped()["cause"] == "service"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_itself(job: Job, number: int) -> None:
    process = job.start([job.service()], "bash", "-c", "echo trains; exec sleep 600")
    assert process.stdout
    while process.stdout.readline() != "trains\n":
        pass
    os.kill(process.pid, number)
    process.wait(30)
    eventually(lambda: not job.alive())
    assert not (job.folder / "stopped-1.json").exists()


def test_nothing_is_left_when_the_script_is_killed(job: Job) -> None:
    train = ["bash", "-c", "trap '' TERM; echo trains; sleep 600 & wait; wait"]
    process = job.start([job.service()], *train, script='"$@"; exit $?')
    assert process.stdout
    while process.stdout.readline() != "trains\n":
        pass
    process.kill()
    # The training does not listen to SIGTERM; what waits for its end gives up at once here.
    (own,) = [pid for pid in _pids("trap '' TERM") if _parent(pid) != process.pid][-1:]
    os.kill(own, signal.SIGKILL)
    eventually(lambda: not job.alive())


def _pids(text: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().decode("utf-8", "replace").replace("\0", " "):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_children_of_a_service_that_leave_it_end_as_well(job: Job) -> None:
    spawn = f"setsid sleep 4321 & exec {sys.executable} {job.folder}/tool.py $MNRUN_PORT"
    code, out = job.run([job.service(command=["bash", "-c", spawn])], "true")
    assert code == 0, out
    assert not _pids("sleep 4321")
