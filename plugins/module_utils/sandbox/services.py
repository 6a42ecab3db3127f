"""The cluster's daemons: where each runs, whether it is running, and how to start it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

from ..base.clock import Clock
from ..sandbox import process
from .errors import SandboxError
from .fabric import enter, inside
from .layout import CONTROLLER, LOGIN, Options

READY = 30.0  # seconds from a daemon's start until it serves
STOP = 5.0  # seconds for a daemon to end by itself
SSH, SLURMCTLD, SLURMD, SLURMDBD = 22, 6817, 6818, 6819
DATABASE_SOCKET = "/run/mysqld/mysqld.sock"


class Service(NamedTuple):
    """One daemon on one node. Its pid file is in the node's own /run.

    It serves when its port listens, or when the file `serves` is there.
    """

    name: str
    node: str
    argv: Sequence[str]
    program: str = ""
    port: int = 0
    serves: str = ""

    @property
    def pid_file(self) -> str:
        """Where the daemon writes its process id, as the node sees it."""
        return f"/run/{self.name}.pid"

    def __str__(self) -> str:
        return f"{self.name} on {self.node}"


def phases(options: Options, owner: int = 0) -> list[list[Service]]:
    """All services, in the order in which they need each other.

    `owner` is the number of the user of this machine who may reach the login node.
    """
    first = [_munged(options, node.name) for node in options.machines]
    first.append(_sshd(LOGIN))
    first += [_sshd(node.name, options.ssh_to_nodes) for node in options.compute]
    first.append(_relay(options, owner))
    database, accounting = [_mariadbd(options)], [_slurm("slurmdbd", SLURMDBD)]
    controller = [_slurm("slurmctld", SLURMCTLD)]
    workers = [_slurm("slurmd", SLURMD, node.name) for node in options.compute]
    if not options.accounting:
        return [first, controller, workers]
    return [first + database, accounting, controller, workers]


def _munged(options: Options, node: str) -> Service:
    files = ["--key-file", str(options.path("munge.key")), "--seed-file", "/run/munge/seed"]
    files += ["--pid-file", "/run/munged.pid", "--log-file", f"/run/munge/{node}.log"]
    argv = ["munged", "--force", "--num-threads=2", *files]
    return Service("munged", node, argv, serves="/run/munge/munge.socket.2")


def _sshd(node: str, to_all: bool = True) -> Service:
    argv = ["/usr/sbin/sshd", "-h", f"/etc/ssh/keys/{node}"]
    return Service("sshd", node, argv if to_all else [*argv, "-o", "AllowUsers=root"], port=SSH)


def _relay(options: Options, owner: int) -> Service:
    program = ["/usr/bin/python3", "-IS", str(options.path("bin", "relay.py"))]
    argv = ["setsid", "--fork", *program, str(options.path("login.sock")), str(owner)]
    return Service("relay", LOGIN, argv, program="python3")


def _mariadbd(options: Options) -> Service:
    # Without passwords: only the controller's own processes see the socket.
    argv = [
        "mariadbd", *database_options(options.path("mysql")),
        "--skip-networking", "--skip-grant-tables", f"--socket={DATABASE_SOCKET}",
        "--pid-file=/run/mariadbd.pid", f"--log-error={options.path('log', 'mariadbd.log')}",
        "--performance-schema=OFF", "--innodb-buffer-pool-size=32M",
        "--innodb-lock-wait-timeout=900",
        # slurmdbd creates its database too, but crashes at it with the MariaDB client of Debian 13.
        f"--init-file={options.path('database.sql')}",
    ]  # fmt: skip
    return Service("mariadbd", CONTROLLER, ["setsid", "--fork", *argv], serves=DATABASE_SOCKET)


def database_options(folder: Path) -> list[str]:
    """What every MariaDB program of the sandbox gets.

    They do not wait for the disk: what was written survives the death of any process, and after
    a power cut a sandbox can be wiped.
    """
    unsynced = ["--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2"]
    files = ["--sync-frm=OFF", "--innodb-log-file-size=4M", f"--datadir={folder}"]
    return ["--no-defaults", "--user=root", *files, *unsynced]


def _slurm(name: str, port: int, node: str = CONTROLLER) -> Service:
    # If it was killed before it saved its state, a newer slurmctld does not start without -i.
    options = {"slurmd": ["-N", node], "slurmctld": ["-i"]}
    return Service(name, node, [name, *options.get(name, [])], port=port)


def lives(service: Service, pid: int) -> bool:
    """Whether the daemon's process exists; `pid` is the node's first process."""
    return process.inner_name(pid, service.pid_file) == (service.program or service.name)


def ready(service: Service, pid: int) -> bool:
    """Whether the daemon lives and serves."""
    if not lives(service, pid):
        return False
    if service.port:
        return process.listening(pid, service.port)
    return not service.serves or inside(pid, Path(service.serves)).exists()


def start(options: Options, service: Service, pid: int) -> None:
    """Start a daemon, which continues by itself; what it prints goes to its log."""
    log = options.path("log", f"{service.name}-{service.node}.out")
    with log.open("ab") as file:
        command = [*enter(options, pid), *service.argv]
        process.detached(command, file.fileno(), file.fileno())


def wait_ready(options: Options, service: Service, pid: int, clock: Clock) -> None:
    """Wait until a daemon serves. Raises SandboxError with the way to its log."""
    log = options.path("log")
    process.wait_until(
        lambda: ready(service, pid), READY, lambda: f"{service} does not start: see {log}", clock
    )


def stop(options: Options, service: Service, pid: int, clock: Clock) -> None:
    """Ask a daemon to end, and give it time to. One that does not is ended with its node."""
    number = process.read(f"/proc/{pid}/root{service.pid_file}").strip()
    if not lives(service, pid):
        return
    process.run([*enter(options, pid), "kill", number], check=False)
    try:
        process.wait_until(lambda: not lives(service, pid), STOP, lambda: "", clock)
    except SandboxError:
        return


def prepare_database(options: Options, pid: int) -> None:
    """Make an empty database, if there is none."""
    if options.path("mysql", "mysql").is_dir():
        return
    part = options.path("mysql.new")
    script = ["mariadb-install-db", *database_options(part)]
    script += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    process.run(["rm", "-rf", str(part), str(options.path("mysql"))])
    process.run([*enter(options, pid), *script], timeout=60)
    part.rename(options.path("mysql"))
