"""The first process of the sandbox's fabric, and of each node in it.

init.py fabric DIRECTORY CGROUP          namespaces that hold the bridge and every node
init.py node DIRECTORY NAME GPUS [SLURM] one machine: its own mounts, name and devices; SLURM is a
                                         folder of programs that take the place of this machine's

GPUS is a number of stand-ins (8), or the real ones by their numbers (real:2,3; real: for none).

Prints one line when it is ready, then only collects processes that have ended. Everything in a
pid namespace dies with its first process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC = 32, 1024, 2048, 4096, 16384
MS_RELATIME = 1 << 21
MNT_DETACH = 2
CLONE_NEWCGROUP = 0x02000000
FLAGS = {
    "ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC,
    "noatime": MS_NOATIME, "nodiratime": MS_NODIRATIME, "relatime": MS_RELATIME,
}  # fmt: skip
# Folders that each node has of its own, with their modes.
OWN = {
    "/tmp": "1777",  # noqa: S108
    "/var/tmp": "1777",  # noqa: S108
    "/dev/shm": "1777",  # noqa: S108
    "/run": "755",
    "/root": "700",
}
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raise OSError when it fails."""
    values = [os.fsencode(a) if isinstance(a, str) else a for a in arguments]
    if getattr(LIBC, name)(*values):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    call("mount", source, target, kind, ctypes.c_ulong(flags), data)


def bind(source: Path, target: Path) -> None:
    """Show the file or folder `source` at `target`, in this mount namespace only."""
    real = target.resolve()  # resolv.conf is often a link into /run
    if real.is_relative_to("/run"):
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
    if real.exists():
        mount(str(source), str(real), None, MS_BIND)


def protect(directory: str) -> None:
    """Make this machine's file systems read-only for all that runs inside, but for `directory`."""
    mount(directory, directory, None, MS_BIND)
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        target, options = line.split()[4:6]
        target = target.encode().decode("unicode_escape")
        if target.startswith(("/proc", "/sys", "/dev", "/run")) or target == directory:
            continue
        flags = sum(FLAGS.get(option, 0) for option in options.split(","))
        with contextlib.suppress(FileNotFoundError):  # covered by another mount
            mount("none", target, None, MS_REMOUNT | MS_BIND | flags | MS_RDONLY)


def track(point: Path, name: str) -> None:
    """Give the fabric a freezer cgroup and a cgroup namespace of its own, where there is one.

    The old freezer can be mounted on most machines that otherwise use cgroup v2.
    """
    point.mkdir()
    try:
        mount("cgroup", str(point), "cgroup", 0, "freezer")
    except OSError as error:
        print(f"no freezer cgroup: {error}", file=sys.stderr, flush=True)
        point.rmdir()
        return
    (point / name).mkdir(exist_ok=True)
    (point / name / "cgroup.procs").write_text("0", encoding="utf-8")
    call("umount2", str(point), MNT_DETACH)
    call("unshare", CLONE_NEWCGROUP)
    mount("cgroup", str(point), "cgroup", 0, "freezer")


def fabric(directory: str, cgroup: str) -> None:
    """Set up what all nodes share."""
    protect(directory)
    mount("tmpfs", f"{directory}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    track(Path(directory, "run", "freezer"), cgroup)


def node(directory: str, name: str, gpus: str, slurm: str = "") -> None:
    """Set up one machine."""
    socket.sethostname(name)
    kept = os.open(directory, os.O_PATH)
    kind, _, numbers = gpus.partition(":")
    own = real_devices(numbers.split(",")) if kind == "real" else stand_ins(int(gpus))
    for target, mode in OWN.items():
        mount("tmpfs", target, "tmpfs", MS_NOSUID, f"mode={mode}")
    if not Path(directory).is_dir():  # it is below /tmp
        Path(directory).mkdir(parents=True)
        mount(f"/proc/self/fd/{kept}", directory, None, MS_BIND | MS_REC)
    os.close(kept)
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666,gid=5")
    mount("/dev/pts/ptmx", "/dev/ptmx", None, MS_BIND)
    for path in Path(directory, "etc").iterdir():
        bind(path, Path("/etc", path.name))
    bind(Path(directory, "home"), Path("/home"))
    if slurm:
        programs(Path(slurm))
    for folder in ("munge", "mysqld", "sshd", "lock", "slurmd"):
        Path("/run", folder).mkdir()
    Path("/run/mariadbd").symlink_to("mysqld")  # where newer clients of MariaDB look for it
    slurm_devices("gpu" if kind == "real" else "fakegpu", own)


def programs(folder: Path) -> None:
    """Show the programs in `folder` where this machine has its own of the same names."""
    for path in folder.iterdir():
        for place in ("/usr/bin", "/usr/sbin"):
            bind(path, Path(place, path.name))


def stand_ins(number: int) -> list[int]:
    """The device numbers of the stand-in GPUs: each is a /dev/null by another name."""
    return [os.makedev(1, 3)] * number


def real_devices(own: list[str]) -> list[int]:
    """Give the node a /dev of its own, which holds all of this machine's devices, but of the GPUs
    only its `own`; return the device numbers of those."""
    found = list(listed(Path("/dev")))
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755")
    kept = [each for each in found if gpu(each[0]) in ("", *own)]
    for path, information, target in kept:
        make(path, information, target)
    for folder in ("/dev/shm", "/dev/pts"):  # noqa: S108
        Path(folder).mkdir(exist_ok=True)
    Path("/dev/ptmx").touch()
    numbers = {gpu(path): information.st_rdev for path, information, _ in kept}
    return [numbers[number] for number in own if number]


def listed(folder: Path) -> Iterator[tuple[Path, os.stat_result, str]]:
    """Each file below a folder and, of a link, where it leads; folders before what is in them."""
    for path in sorted(folder.iterdir()):
        information = path.lstat()
        yield path, information, str(path.readlink()) if path.is_symlink() else ""
        if stat.S_ISDIR(information.st_mode) and str(path) not in OWN and path.name != "pts":
            yield from listed(path)


def gpu(path: Path) -> str:
    """The number of a GPU's device; empty for all other devices."""
    found = re.fullmatch(r"nvidia([0-9]+)", path.name)
    return found.group(1) if found else ""


def make(path: Path, information: os.stat_result, target: str) -> None:
    """Make a folder, a link or a device as it was; nothing else belongs into /dev."""
    mode = information.st_mode
    if target:
        path.symlink_to(target)
    elif stat.S_ISDIR(mode):
        path.mkdir()
        path.chmod(stat.S_IMODE(mode))
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        device(path, mode, information.st_rdev)


def slurm_devices(name: str, own: list[int]) -> None:
    """Show Slurm the node's GPUs as nvidia0, nvidia1, … whatever this machine calls them."""
    folder = Path("/run", name)
    folder.mkdir()
    for index, number in enumerate(own):
        device(folder / f"nvidia{index}", stat.S_IFCHR | 0o666, number)


def device(path: Path, mode: int, number: int) -> None:
    """mknod(2), without regard to the umask."""
    os.mknod(path, mode, number)
    path.chmod(stat.S_IMODE(mode))


def collect() -> None:
    """Collect ended processes for ever."""
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def main() -> None:
    """Set up, report it, collect."""
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    if sys.argv[1] == "fabric":
        fabric(*sys.argv[2:])
    else:
        node(*sys.argv[2:])
    print("ready", flush=True)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    collect()


if __name__ == "__main__":
    main()
