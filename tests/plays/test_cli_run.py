"""Whole runs: the real ansible-runner and ansible-playbook on a small collection of our own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from mnrun import runner
from mnrun.errors import CliError
from mnrun.processes import descendants

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds for what takes one or two: this machine may have very much else to do
SECRET = "sekret-3f9a"  # noqa: S105 - nobody's

PLAYBOOKS = {
    "sft": """
- name: SFT
  hosts: login[0]
  gather_facts: false
  tasks:
    - name: Train
      mnrun.train.lines: {text: ["[sft] step 1/2", "[sft] step 2/2"]}
""",
    "ppo": """
- name: PPO
  hosts: login[0]
  gather_facts: false
  tasks:
    - block:
        - name: Train
          ansible.builtin.fail: {msg: "verl says no"}
      always:
        - name: Take down
          mnrun.train.lines: {text: ["[ray] down"]}
""",
    # Says what the playbook was given, and looks for the secret in the folders of the run.
    "environment": """
- name: Look around
  hosts: login[0]
  gather_facts: false
  tasks:
    - name: Secret
      ansible.builtin.command: grep -rl {{ lookup('env', 'WANDB_API_KEY') }} {{ folder }}
      register: grep
      changed_when: false
      failed_when: grep.rc != 1
    - name: Given
      ansible.builtin.debug:
        var: summary
      vars:
        summary:
          - "host keys {{ lookup('env', 'ANSIBLE_HOST_KEY_CHECKING') }}"
          - "check {{ ansible_check_mode }}"
          - "from the file {{ from_file }}, from the line {{ line }}"
""",
    # Runs until it is ended; its process id is in a file.
    "all": """
- name: Long
  hosts: login[0]
  gather_facts: false
  tasks:
    - name: Wait
      mnrun.train.wait: {pid_file: "{{ folder }}/pid", stubborn: "{{ stubborn | default(false) }}"}
""",
    "preflight": """
- name: Nobody
  hosts: nobody
  gather_facts: false
  tasks: []
""",
    "ray_start": """
- name: Bad
  hosts: login
  tasks:
    - mnrun.train.not_there:
""",
}

LINES = """
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        for line in self._task.args["text"]:
            Display().display(line)
        return {"changed": True}
"""

WAIT = """
import os, signal, time
from ansible.module_utils.basic import AnsibleModule

def main():
    spec = {"pid_file": {"type": "path"}, "stubborn": {"type": "bool"}}
    module = AnsibleModule(spec)
    if module.params["stubborn"]:
        # Ansible's worker may pass either on to its whole process group.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(module.params["pid_file"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)

if __name__ == "__main__":
    main()
"""

INVENTORY = """
login:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: "%s"}
"""


@dataclass
class Checkout:
    """A checkout with playbooks of our own, and a folder to call mnrun from."""

    root: Path
    here: Path
    temporary: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "TMPDIR": str(self.temporary),
            "TERM": "xterm",
            "WANDB_API_KEY": SECRET,
            "MNRUN_INVENTORY": "osk",
        }

    def run(self, *words: str, **environ: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "mnrun", *words, "-e", f"folder={self.temporary}"],
            cwd=self.here,
            env={**self.environment, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def spawn(self, *words: str, grace: float = runner.GRACE) -> pexpect.spawn:
        program = f"from mnrun import cli, runner; runner.GRACE = {grace}; exit(cli.main())"
        return pexpect.spawn(
            sys.executable,
            ["-c", program, *words, "-e", f"folder={self.temporary}"],
            cwd=str(self.here),
            env=self.environment,
            encoding="utf-8",
            timeout=PATIENCE,
        )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "mnrun", root / "mnrun", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("galaxy.yml", "ansible.cfg", "meta/runtime.yml"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    link = root / "collections/ansible_collections/mnrun/train"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../..")
    files = {f"playbooks/{name}.yml": text for name, text in PLAYBOOKS.items()}
    files["inventory/osk/hosts.yml"] = INVENTORY % sys.executable
    files["plugins/action/lines.py"] = LINES
    files["plugins/modules/lines.py"] = "DOCUMENTATION = ''\n"
    files["plugins/modules/wait.py"] = WAIT
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def checkout(tree: Path, tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tree, tmp_path / "here", tmp_path / "tmp")
    made.here.mkdir()
    made.temporary.mkdir()
    yield made
    assert list(made.temporary.glob("mnrun-*")) == [], "a run leaves no folder behind"


def await_(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, f"it did not come in {PATIENCE} s"
        time.sleep(0.02)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_progress_and_end_without_a_terminal(checkout: Checkout) -> None:
    code, output = checkout.run("submit_sft")
    lines = output.splitlines()
    assert lines[:5] == [
        "submit_sft is now: mnrun sft",
        "▸ SFT · site osk",
        "  [sft] step 1/2",
        "  [sft] step 2/2",
        "  ✓ Train",
    ]
    assert lines[-1].startswith("Done: changed=1 (")
    assert code == 0


def test_a_failure_is_the_last_thing_said_and_what_always_runs_ran(checkout: Checkout) -> None:
    code, output = checkout.run("ppo")
    assert "\n  [ray] down\n  ✓ Take down\n\nTrain (on here):\n  verl says no\n\nFailed:" in output
    assert code == 1


def test_what_the_playbook_is_given_and_what_is_kept_from_it(checkout: Checkout) -> None:
    (checkout.here / "vars.yml").write_text("from_file: 7\n")
    # Neither a configuration that lies about nor one in the environment may break a run.
    (checkout.here / "ansible.cfg").write_text("[defaults]\nstdout_callback = nowhere.at.all\n")
    words = ["environment", "-e", "@vars.yml", "--check", "-e", "line=8"]
    environ = {"ANSIBLE_STDOUT_CALLBACK": "nowhere.at.all", "LC_ALL": "C"}
    code, output = checkout.run(*words, **environ)
    assert "host keys True\ncheck True\nfrom the file 7, from the line 8\n" in output
    assert "Dry run, nothing changed" in output
    assert code == 0


def test_an_inventory_without_login_is_an_error(checkout: Checkout) -> None:
    code, output = checkout.run("preflight")
    assert "has no host in the group login" in output
    assert code == 1


def test_an_error_before_any_task_is_ansibles_own(checkout: Checkout) -> None:
    code, output = checkout.run("ray", "start")
    assert "couldn't resolve module/action 'mnrun.train.not_there'" in output
    assert code == 1


def test_without_ansible_playbook_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="pip install 'ansible-core"):
        runner.run_playbook(
            runner.Playbook("x", "y", tmp_path / "a/b/c/d"), lambda _: True, lambda: True
        )


def test_ctrl_c_ends_all_of_ours_and_says_how_to_come_back(checkout: Checkout) -> None:
    child = checkout.spawn("all", "-i", "osk")
    pid_file = checkout.temporary / "pid"
    child.expect("… Wait")
    await_(pid_file.exists)
    child.sendintr()
    child.expect_exact(f"mnrun all -i osk -e folder={checkout.temporary}   re-attach")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert ended(int(pid_file.read_text()))


def test_ctrl_c_before_the_first_task_leaves_nothing(checkout: Checkout) -> None:
    child = checkout.spawn("all")
    await_(lambda: any(checkout.temporary.glob("mnrun-*/artifacts")))
    child.sendintr()
    child.expect("Interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    # On a slow machine the first task may have begun.
    pid_file = checkout.temporary / "pid"
    assert not pid_file.exists() or ended(int(pid_file.read_text()))


def test_what_ansible_playbook_starts_while_it_ends_ends_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A task that begins when the signal arrives: its process outlives the one that started it.
    program, started, late, daemon = (
        tmp_path / name for name in ("ansible-playbook", "started", "late", "daemon")
    )
    program.write_text(f"""#!/bin/bash
trap 'sleep 300 & echo $! > {late}; setsid sleep 300 & echo $! > {daemon}; exit 1' INT
touch {started}
while true; do sleep 0.1; done
""")
    program.chmod(0o700)
    monkeypatch.setattr(runner, "_ansible_playbook", lambda _path: str(program))
    monkeypatch.setattr(runner, "GRACE", 5)
    playbook = runner.Playbook("x", "y", tmp_path / "a/b/c/d")
    code, number = runner.run_playbook(playbook, lambda _: True, lambda: not started.exists())
    assert number == signal.SIGINT
    assert code
    await_(lambda: ended(int(late.read_text())))  # killed already
    # One with a session of its own is a daemon: ssh's shared connection, for one.
    assert not ended(int(daemon.read_text()))
    os.kill(int(daemon.read_text()), signal.SIGKILL)


def test_killed_outright_it_leaves_no_process_and_soon_no_folder(checkout: Checkout) -> None:
    child = checkout.spawn("all")
    pid_file = checkout.temporary / "pid"
    await_(lambda: pid_file.exists() and bool(pid_file.read_text()))
    ours = descendants(child.pid)
    child.kill(signal.SIGKILL)
    child.wait()
    await_(lambda: all(ended(process.pid) for process in ours))
    await_(lambda: ended(int(pid_file.read_text())))
    assert list(checkout.temporary.glob("mnrun-*"))
    ray = checkout.temporary / "mnrun-99999999-0a1b2c"  # of a Ray cluster's job, on its node
    ray.mkdir()
    code, said = checkout.run("sft")  # which tidies up
    assert code == 0, said
    ray.rmdir()


def test_a_second_signal_ends_what_ignored_the_first(checkout: Checkout) -> None:
    # Longer than any machine takes to end ansible-playbook; the module would go on for longer.
    child = checkout.spawn("all", "-e", "stubborn=true", grace=200)
    pid_file = checkout.temporary / "pid"
    await_(lambda: pid_file.exists() and bool(pid_file.read_text()))
    playbook = descendants(child.pid)[0].pid
    start = time.monotonic()
    child.kill(signal.SIGTERM)
    # ansible-playbook has ended, its module has not: it still has time to end by itself.
    await_(lambda: ended(playbook))
    assert not ended(int(pid_file.read_text()))
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    child.close()
    assert time.monotonic() - start < 200
    assert child.exitstatus == 143
    await_(lambda: ended(int(pid_file.read_text())))
