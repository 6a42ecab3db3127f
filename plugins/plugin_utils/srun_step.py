"""Running a command as a step of a Slurm job, from the host that a connection leads to.

The command's exit code, output and errors are its own, as over ssh: what srun says goes apart.
"""

from __future__ import annotations

import re
import secrets
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from ansible.errors import AnsibleConnectionFailure, AnsibleError

# Where Slurm's commands are on hosts whose non-interactive shells do not know it.
_USUAL_PLACES = (
    "/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin:/usr/local/slurm/bin"
    ":/cm/shared/apps/slurm/current/bin"
)
_PATIENCE = 60  # seconds that Slurm gets to start the step
_OPTIONS = (
    # Beside the step that has everything of the job, and without taking any GPU or memory.
    "--overlap",
    "--exact",
    "--cpus-per-task=1",
    "--gres=none",
    "--mem=0",
    "--nodes=1",
    "--ntasks=1",
    "--cpu-bind=none",
    "--mpi=none",
    # The login node's limits are not the compute node's.
    "--propagate=NONE",
    "--job-name=mnrun",
    "--quiet",
    f"--immediate={_PATIENCE}",
)
_SHELL = ("--overlap", "--mem=0", "--nodes=1", "--ntasks=1", "--cpu-bind=none", "--mpi=none",
          "--propagate=NONE", "--job-name=mnrun-shell", "--quiet",
          f"--immediate={_PATIENCE}")  # fmt: skip
# srun must not take over what an allocation, a profile or a site's habit says of other jobs, and
# the step is to see what it would over ssh.
_KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "SLURM_CONF", "KRB5CCNAME")
_ALIVE = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED"}


class AllocationOverError(AnsibleConnectionFailure):
    """The Slurm job has ended: no step will ever run in it again. The message is for the user."""


class Place(NamedTuple):
    """A node of a running job."""

    job: str
    node: str


class StepResult(NamedTuple):
    """How a command ended on the node."""

    code: int
    out: bytes
    err: bytes


def step_command(command: str, place: Place, mark: str, has_input: bool) -> str:
    """The line for a shell on the login host that runs `command` on the node.

    `mark` stands around what the command itself writes to its standard error, with its exit code at
    the end: srun says exit code 1 for its own faults too, and adds lines to those of the command.
    """
    quoted = shlex.quote(command)
    inside = f"echo {mark} >&2; /bin/sh -c {quoted}; echo {mark} $? >&2"
    kept = " ".join(f'${{{name}:+"{name}=${name}"}}' for name in _KEPT)
    options = [f"--jobid={place.job}", f"--nodelist={place.node}", *_OPTIONS]
    words = " ".join(shlex.quote(word) for word in [*options, "/bin/sh", "-c", inside])
    source = "" if has_input else " </dev/null"
    path = f'PATH="$PATH:{_USUAL_PLACES}"'
    line = f'cd; exec env -i {path} {kept} srun --chdir="$HOME" {words}{source}'
    return f"/bin/sh -c {shlex.quote(line)}"


def shell_line(job: str, node: str, run_dir: str, words: list[str], terminal: bool) -> str:
    """The line for a shell on the login host that opens a shell on a node, or runs a command there.

    It is in the run's folder with the run's environment, and shares all that the job has.
    `words`: one is a line for the node's shell, several are a program and its arguments.
    """
    settings = f"{run_dir}/.mnrun/activate.sh"
    # What it says is in the job's log; without it there is a shell all the same.
    begin = f'cd {shlex.quote(run_dir)}; [ -r "$0" ] && . "$0" >/dev/null 2>&1'
    run = words[0] if len(words) == 1 else shlex.join(words)
    inside = f"{begin}; exec {run}" if len(words) > 1 else f"{begin}; {run or 'exec bash -i'}"
    kept = " ".join(f'${{{name}:+"{name}=${name}"}}' for name in (*_KEPT, "TERM"))
    options = [f"--jobid={job}", f"--nodelist={node}", *_SHELL, *(["--pty"] if terminal else [])]
    srun = shlex.join([*options, "bash", "-c", inside, settings])
    line = f'cd; exec env -i PATH="$PATH:{_USUAL_PLACES}" {kept} srun --chdir="$HOME" {srun}'
    return f"/bin/sh -c {shlex.quote(line)}"


def step_outcome(out: bytes, err: bytes, mark: str) -> StepResult | None:
    """What the command came to; None if it did not run to its end."""
    sign = re.escape(mark.encode("ascii"))
    found = re.search(sign + rb"\n(.*)" + sign + rb" (\d+)\n", err, re.DOTALL)
    return StepResult(int(found[2]), out, found[1]) if found else None


def is_over(code: int, shown: str) -> str:
    """From `scontrol -o show job ID`: the state of a job that has ended, in Slurm's words.

    Empty when it has not, and also when that is unknown.
    """
    if code:
        return "forgotten by Slurm" if "Invalid job id" in shown else ""
    state = re.search(r"\bJobState=(\w+)", shown)
    return state[1] if state and state[1] not in _ALIVE else ""


class ThroughSrun:
    """What the connection plugins share: set before a class that reaches the login host."""

    get_option: Any
    become: Any

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run a command on the node.

        Raises:
            AllocationOverError: the Slurm job has ended.
            AnsibleConnectionFailure: the command did not run to its end for another reason.
        """
        del sudoable  # a terminal would mix standard error into the output
        if self.become:
            raise AnsibleError(
                "`become` does not work through srun: a step runs as the job's user."
            )
        place = self._place()
        mark = f"mnrun-{secrets.token_hex(8)}"
        line = step_command(cmd, place, mark, bool(in_data))
        code, out, err = self._on_login(line, in_data)
        outcome = step_outcome(out, err, mark)
        if outcome is None:
            raise self._failure(place, code, err.replace(mark.encode("ascii"), b""))
        return outcome

    def put_file(self, in_path: str, out_path: str) -> None:
        """Write a local file to the node."""
        data = Path(in_path).read_bytes()
        source = "" if data else "</dev/null"
        self._copy(f"cat {source} > {shlex.quote(out_path)}", data, out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Write a file of the node to a local one."""
        Path(out_path).write_bytes(self._copy(f"cat {shlex.quote(in_path)}", None, in_path))

    def _copy(self, command: str, data: bytes | None, path: str) -> bytes:
        code, out, err = self.exec_command(command, in_data=data)
        if code:
            raise AnsibleError(f"{path} on {self._place().node}: {_text(err)}")
        return out

    def _place(self) -> Place:
        place = Place(str(self.get_option("job")), str(self.get_option("node")))
        if not re.fullmatch(r"\d+", place.job):
            raise AnsibleError(f"ansible_srun_job is {place.job!r}; it has to be a Slurm job's id.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", place.node):
            raise AnsibleError(
                f"ansible_srun_node is {place.node!r}; it has to be one node's name."
            )
        return place

    def _on_login(self, line: str, in_data: bytes | None) -> tuple[int, bytes, bytes]:
        done: tuple[int, bytes, bytes] = super().exec_command(  # type: ignore[misc]
            line, in_data=in_data, sudoable=False
        )
        return done

    def _failure(self, place: Place, code: int, err: bytes) -> AnsibleConnectionFailure:
        """Why a command did not run to its end, once Slurm was asked about the job."""
        show = f"/bin/sh -c 'PATH=\"$PATH:{_USUAL_PLACES}\" scontrol -o show job {place.job} 2>&1'"
        known, out, _ = self._on_login(show, None)
        state = is_over(known, _text(out))
        if state:
            return AllocationOverError(
                f"Slurm job {place.job} is over ({state}): nothing can run on {place.node}."
            )
        reason = _text(err) or "no word from srun"
        return AnsibleConnectionFailure(
            f"srun did not run a step of job {place.job} on {place.node} to its end "
            f"(exit code {code}): {reason}"
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()
