"""The real small cluster, for tests that need it."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from .place import FIRST, PLACE, environments

# For each program that a test starts: `mnrun -i inventory/sandbox` and the playbooks.
os.environ["MNRUN_SANDBOX_DIR"] = str(PLACE)
# No one is there to be asked before finished work is set aside.
os.environ["MNRUN_YES"] = "1"

ROOT = Path(__file__).resolve().parents[2]
FIRST_UP = 1800.0  # seconds: packages and the training environment
# The files that take longest, by docs/testing.md. The first one trains what others look at.
LONGEST = ("test_main_path", "test_bad_input", "test_bad_run", "test_ray", "test_ray_cluster",
           "test_slurm_job", "test_publish", "test_convert", "test_own_trainers", "test_sweep",
           "test_environment", "test_fetch", "test_closed_nodes", "test_hub_publish")  # fmt: skip
# One pass over the sandbox without training, for `make quick`.
QUICK = (
    "test_a_step_runs_on_both_nodes_with_their_gpus",
    "test_the_user_reaches_all_nodes_without_a_prompt",
    "test_module_is_there_as_on_a_real_site",
    "test_all_faults_come_at_once",
    "test_a_stage_is_trained_once_and_then_left_alone",
    "test_a_failure_is_told_with_its_cause_and_gets_a_successor",
    "test_a_job_whose_controller_was_killed_in_sbatch_is_adopted",
    "test_mnrun_cancel_ends_it_and_says_by_whom",
    "test_what_belongs_to_no_living_run_is_found_and_goes",
    "test_train_again_fail_and_down",
)
LMOD = ("lmod", "lua5.3", "lua-posix", "lua-term", "lua-filesystem", "lua-json", "lua-lpeg",
        "lua-bit32")  # fmt: skip
LMOD_PATHS = r"/usr/(share/lmod|bin/lua|share/lua/|lib/[a-z0-9_-]+/lua/)"


def spoken(
    command: Sequence[str | Path], timeout: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; both of its streams are in `stdout`, as a person sees them."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def log_out(sockets: Path) -> None:
    """End the logins of a folder of sockets. They last until then: one that ends by itself may do
    so just when a line is to run in it."""
    for socket in sockets.iterdir():
        command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "login"]
        subprocess.run(command, capture_output=True, timeout=10, check=False)
    shutil.rmtree(sockets, ignore_errors=True)


class Cluster:
    """A sandbox that is up, seen as its user sees it: by ssh."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home" / "mluser"
        # A login for each line takes ten times the processor time of one more line in the first
        # one, and those that wait for something ask several times a second.
        sockets = tempfile.mkdtemp(prefix="tests-ssh-")
        atexit.register(log_out, Path(sockets))
        self.ssh = ["ssh", "-F", str(directory / "ssh_config"), "-o", "ControlMaster=auto",
                    "-o", "ControlPersist=yes", "-o", f"ControlPath={sockets}/%C"]  # fmt: skip

    def run(
        self, command: str, node: str = "login", timeout: float = 60, check: bool = True
    ) -> str:
        """Run a line in the shell of a node (`root@NODE` for root); return what it printed."""
        # One stream from the start, so that errors stand where they happened.
        line = f"exec 2>&1; {command}"
        done = spoken([*self.ssh, "-T", node, line], timeout)
        if check and done.returncode:
            pytest.fail(f"{node}: {command}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout.strip()

    def wait(self, command: str, pattern: str, timeout: float = 60) -> str:
        """Run a line until its output matches; return that output."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, output := self.run(command, check=False)):
            if time.monotonic() > deadline:
                pytest.fail(f"{command}: no {pattern!r} after {timeout:g} s:\n{output}")
            time.sleep(0.2)
        return output

    def ended(self, job_id: str, fields: str = "State") -> str:
        """What the accounting says of a job, once it says that the job has ended: slurmdbd hears
        of it a moment after slurmctld."""
        line = f"sacct -X -n -P -j {job_id} -o State,{fields} | grep -Ev '^(PENDING|RUNNING)'"
        return self.wait(line, r"\|").partition("|")[2]

    def assert_none_queued(self, user: str = "mluser") -> None:
        """No job of a user waits or runs. One that has ended may still be `completing`."""
        live = "squeue --me -h -t pending,configuring,running,suspended"
        assert self.run(live, f"{user}@login") == ""
        self.wait("squeue --me -h -t completing", "^$")

    def submit(self, *arguments: str) -> str:
        """sbatch; return the job's id."""
        return self.run("sbatch --parsable " + " ".join(arguments))

    def end_jobs(self, folder: str, user: str = "mluser", word: str = "") -> None:
        """End a user's jobs below a folder, first by a signal to their scripts if one is named."""
        mine = f"squeue --me -h -o '%A %Z' | grep -F {folder} | cut -d' ' -f1"
        gone = f'for n in $(seq 100); do [ "$({mine})" ] || exit 0; sleep 0.3; done'
        first = f"scancel --batch --signal={word} $ids; {gone};" if word else ""
        line = f'ids=$({mine}); [ "$ids" ] || exit 0; {first} scancel $ids; {gone}; exit 1'
        self.run(line, f"{user}@login")

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        parts = []
        for path in sorted((self.directory / "log").glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            parts.append("\n".join([f"== {path}", *lines]))
        return "\n".join(parts)


def playbook(*arguments: str, timeout: float = 120) -> str:
    """Run ansible-playbook in the checkout; return what it printed, fail the test if it fails."""
    program = Path(sys.executable).with_name("ansible-playbook")
    # The tests count on stand-ins, also on a machine with GPUs.
    more = ["-e", "sandbox_simulated=true"] if "sandbox_up.yml" in arguments[0] else []
    done = spoken([program, *arguments, *more], timeout, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Cluster]:
    """This worker's sandbox. The first one stays up: people use it too, and the Makefile ends it.

    Workers wait for each other: one installs the packages and the training environment.
    """
    if os.geteuid():
        pytest.fail("tests of the sandbox need root: run `make test`, which uses sudo")
    environments()
    with (FIRST / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox", timeout=FIRST_UP)
    yield Cluster(PLACE)
    if PLACE != FIRST:
        playbook("playbooks/sandbox_down.yml", "-i", "inventory/sandbox")
        shutil.rmtree(PLACE)


@pytest.fixture(scope="session")
def lmod_init(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The init file of a real Lmod, as the nodes see it.

    Debian has either Lmod or Environment Modules, so this one is unpacked beside it.
    """
    inside, top = "/home/appli/lmod", sandbox.directory / "home" / "appli" / "lmod"
    init = top / "init.sh"
    if not init.exists():
        _unpack_lmod(tmp_path_factory.mktemp("lmod"), top, inside)
        init.write_text(
            "export MODULEPATH=/etc/environment-modules/modules\n"
            f". {inside}/usr/share/lmod/lmod/init/bash\n"
        )
    return f"{inside}/init.sh"


def _unpack_lmod(scratch: Path, top: Path, inside: str) -> None:
    shutil.rmtree(top, ignore_errors=True)
    scratch.chmod(0o755)
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *LMOD]
    subprocess.run(command, cwd=scratch, check=True, timeout=120)
    for package in sorted(scratch.glob("*.deb")):
        subprocess.run(["dpkg", "--extract", package, top], check=True, timeout=60)
    for path in (top / "usr" / "share").rglob("*"):
        if path.is_file() and not path.is_symlink():
            old = path.read_bytes()
            new = re.sub(LMOD_PATHS.encode(), rf"{inside}/usr/\1".encode(), old)
            if new != old:
                path.write_bytes(new)


@pytest.fixture
def new_run(sandbox: Cluster) -> Iterator[Any]:
    """Makes runs with a Ray cluster (ray_runs.py), and ends what they leave."""
    from .ray_runs import Run

    runs: list[Run] = []

    def make(name: str, user: str = "mluser") -> Run:
        runs.append(Run(sandbox, name, user))
        runs[-1].run(f"rm -rf test-ray/{name}")
        return runs[-1]

    yield make
    for run in runs:
        run.signal_stop()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    """A Hub of our own on this machine (hub.py), for this test only."""
    from .hub import Hub, end, serve

    hub = Hub(tmp_path / "hub")
    server = serve(hub.folder)
    yield hub
    end(server)


@pytest.fixture
def here(sandbox: Cluster, tmp_path: Path) -> Any:
    """Programs of the roles with the training environment's Python, on this machine (hub.py)."""
    from .hub import Here

    return Here(Path(sandbox.run("readlink -f conda_env"), "bin", "python"), tmp_path / "here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick ones, and begin with what takes longest: workers side by side then end at the
    same time."""
    for item in items:
        if item.name in QUICK:
            item.add_marker("quick")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the daemons' logs with a test that failed."""
    report = yield
    clusters = [c for c in item.funcargs.values() if isinstance(c, Cluster)]  # type: ignore[attr-defined]
    if call.when == "call" and report.failed:
        report.sections += [(str(c.directory), c.logs()) for c in clusters]
    return report
