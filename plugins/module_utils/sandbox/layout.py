"""What the sandbox is made of: its options, its nodes and where its files are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from .errors import SandboxError

USER = "mluser"
UID = 2000
# A second user of the cluster, without rights to the jobs of the first.
OTHER_USER = "mluser2"
USERS = {USER: UID, OTHER_USER: UID + 1}
CONTROLLER = "osk-ctl"
LOGIN = "login"
CLUSTER = "sandbox"
MAX_NODES = 100
MAX_GPUS = 64
SIMULATED_GPUS = 8  # on each node, unless another number is asked for
# The nodes' names and the last number of their addresses begin here: the site's own example.
FIRST_NODE = 94
NETWORK = "10.94.0"
# A unix socket's path holds at most 107 bytes, and ours is in this folder.
MAX_DIRECTORY = 80
# Each node has its own; a sandbox in one of them would be hidden from the nodes.
HIDDEN = ("/dev", "/home", "/proc", "/root", "/run", "/sys", "/var/tmp")  # noqa: S108

# Each Slurm that is not this machine's own, for all sandboxes: a folder named by its version.
SLURMS = Path("/var/cache/mnrun/slurm")


class Node(NamedTuple):
    """One machine of the cluster, and its address inside the sandbox."""

    name: str
    address: str
    gpus: int


class Options(NamedTuple):
    """What a user chooses. `gpus` is the number of GPUs of each compute node, which are this
    machine's own if `real`, and stand-ins if not. Without `ssh_to_nodes` only root may log in to
    the nodes. `slurm` is a version that is kept in SLURMS, or "" for this machine's own."""

    directory: str
    nodes: int = 2
    gpus: int = SIMULATED_GPUS
    accounting: bool = True
    ssh_to_nodes: bool = True
    slurm: str = ""
    real: bool = False

    def path(self, *parts: str) -> Path:
        """Return the path of a file below the sandbox's folder."""
        return Path(self.directory, *parts)

    @property
    def slurm_folder(self) -> Path | None:
        """Where the programs and plugins of its Slurm are; None for this machine's own."""
        return SLURMS / self.slurm if self.slurm else None

    @property
    def series(self) -> str:
        """26.05 for 26.05.5, empty for this machine's own: another series cannot read the files."""
        return ".".join(self.slurm.split(".")[:2])

    @property
    def spool(self) -> Path:
        """Where slurmctld keeps the jobs."""
        return self.path("-".join(filter(None, ("spool", self.series))))

    @property
    def home(self) -> Path:
        """The home folder of the cluster's user, as this machine sees it."""
        return self.path("home", USER)

    @property
    def homes(self) -> dict[int, Path]:
        """The home folders of all users, by their numbers."""
        return {uid: self.path("home", name) for name, uid in USERS.items()}

    @property
    def cgroup(self) -> str:
        """The name of this sandbox's own cgroup: two sandboxes share no process group."""
        return "mnrun-" + hashlib.sha256(self.directory.encode()).hexdigest()[:12]

    @property
    def compute(self) -> list[Node]:
        """The compute nodes."""
        numbers = range(FIRST_NODE, FIRST_NODE + self.nodes)
        return [Node(f"osk-gpu{n}", f"{NETWORK}.{n}", self.gpus) for n in numbers]

    @property
    def machines(self) -> list[Node]:
        """All nodes: the controller's, the login node, the compute nodes."""
        first = [Node(CONTROLLER, f"{NETWORK}.2", 0), Node(LOGIN, f"{NETWORK}.3", 0)]
        return first + self.compute


def checked(options: Options) -> Options:
    """Return the options with a clean folder name.

    Raises SandboxError when a value cannot work.
    """
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", options.directory):
        raise SandboxError(
            f"sandbox_dir is {options.directory!r}: give an absolute path of letters, digits, "
            "'.', '_', '-' and '/'"
        )
    # The kernel names mounts by their real place.
    directory = str(Path(options.directory).resolve())
    if len(directory) > MAX_DIRECTORY:
        raise SandboxError(f"sandbox_dir is longer than {MAX_DIRECTORY} characters: {directory}")
    if any(directory == top or directory.startswith(top + "/") for top in HIDDEN):
        raise SandboxError(
            f"sandbox_dir is {directory}: the nodes have folders of their own at "
            f"{', '.join(HIDDEN)}; choose another place, such as /var/lib/mnrun-sandbox"
        )
    _within("sandbox_nodes", options.nodes, 1, MAX_NODES)
    _within("sandbox_gpus_per_node", options.gpus, 0, MAX_GPUS)
    return options._replace(directory=directory)


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SandboxError(f"{name} is {value}: give a number from {low} to {high}")
