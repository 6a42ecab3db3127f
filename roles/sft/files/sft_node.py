"""One node of SFT: its address, a folder for temporary files, and then the trainer.

srun runs it once on each node: `sft_node.py GPUS COMMAND…`, with the first node's address in
RENDEZVOUS_HOST. The batch script asks for that one with `sft_node.py address`.
Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster_interface import Interface, choose
from cluster_leftovers import hold, sweep
from cluster_nccl import of_job
from cluster_net import node_names
from cluster_share import keep_training_cores, of_training
from cluster_use import sampled

_LOOPBACK = Interface("lo", "127.0.0.1", "there being no other node")


class NodeError(Exception):
    """Something is wrong with this node. The message is for the user."""


def interface(peer: str) -> Interface:
    """Where the others reach this node; `peer` is one of them, empty if there are none.

    Raises:
        NodeError: no address of the peer is known here, or no route leads there.
    """
    if not peer:
        return _LOOPBACK
    try:
        return choose("", os.environ.get("NCCL_SOCKET_IFNAME", ""), peer)
    except OSError as error:
        raise NodeError(str(error)) from error


def another_node() -> str:
    """The last node of the job, seen from the first; empty if that is the only one."""
    names = node_names(os.environ["SLURM_JOB_NODELIST"])
    return names[-1] if len(names) > 1 else ""


@contextlib.contextmanager
def temporary_files(root: Path) -> Iterator[dict[str, str]]:
    """A folder of this job's own for temporary files, as TMPDIR; it goes with the job.

    What killed jobs of this user left there is removed first. Without room for a folder there is
    none, and the files go where they would have gone.
    """
    home = root / f"mnrun-{os.environ['SLURM_JOB_ID']}-{secrets.token_hex(3)}"
    try:
        sweep(root)
        home.mkdir(mode=0o700)
        (home / "t").mkdir()
    except OSError as error:
        print(f"mnrun: {home}: {error.strerror}", file=sys.stderr, flush=True)
        yield {}
        return
    with hold(home):
        try:
            yield {"TMPDIR": str(home / "t")}
        finally:
            shutil.rmtree(home, ignore_errors=True)


def run(command: list[str], env: dict[str, str]) -> int:
    """Run the trainer; signals to this process are for it, also those that come while it starts.
    Returns its exit code."""
    env = {**os.environ, **env}
    # Slurm sets both where gres.conf names no kind of GPU; some trainers refuse to start then.
    if "CUDA_VISIBLE_DEVICES" in env:
        env.pop("ROCR_VISIBLE_DEVICES", None)
    trainer: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if trainer is None:
            early.append(number)
        else:
            trainer.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, pass_on)
    trainer = subprocess.Popen(command, env=env)
    for asked in early:
        trainer.send_signal(asked)
    code = trainer.wait()
    return code if code >= 0 else 128 - code


def own_share(env: Mapping[str, str]) -> dict[str, str]:
    """Leave to services what they have of this node. Returns what changes in the environment."""
    gpus, cores = (int(env.get(f"MNRUN_SERVICES_{what}", "0")) for what in ("GPUS", "CPUS"))
    keep_training_cores(cores, env)
    visible = env.get("CUDA_VISIBLE_DEVICES")
    return {"CUDA_VISIBLE_DEVICES": of_training(visible, gpus)} if visible and gpus else {}


def work(gpus: int, command: list[str]) -> int:
    """Train on this node."""
    first = os.environ["RENDEZVOUS_HOST"]
    own = interface("" if first == _LOOPBACK.address else first)
    root = Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - a folder of our own is made there
    with temporary_files(root) as env:
        # Gloo would take the address that the host's own name has, which may be of its loopback.
        if own.name:
            env.setdefault("GLOO_SOCKET_IFNAME", os.environ.get("GLOO_SOCKET_IFNAME", own.name))
        program, *rest = command
        # Another launcher, and a program of a user's own, find their address themselves.
        address = [f"--local-addr={own.address}"] if Path(program).name == "torchrun" else []
        env.update(of_job(os.environ, gpus, own.name))
        env.update(own_share(os.environ))
        with sampled({**os.environ, **env}):
            return run([program, *address, *rest], env)


def main() -> int:
    """Entry point. The exit code is the trainer's."""
    try:
        if sys.argv[1] == "address":
            print(interface(another_node()).address)
            return 0
        return work(int(sys.argv[1]), sys.argv[2:])
    except NodeError as error:
        print(f"NodeError: {os.environ['SLURMD_NODENAME']}: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
