"""Write what the cluster starts from: configuration, keys, the shared home."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

from ..base.files import write_atomic
from ..base.presence import read_text
from ..sandbox import gpus, render
from .layout import Options
from .process import run

PRIVATE = 0o600


def write_all(options: Options, source: Path, owner: int) -> None:
    """Write all files but Slurm's; `source` holds those that are the same everywhere.

    `owner` is the number of the user of this machine who may log in to the cluster.
    """
    os.umask(0o022)
    for folder in (
        "log",
        options.spool.name,
        "run",
        "etc/slurm",
        "etc/ssh/authorized_keys",
        "home",
    ):
        options.path(folder).mkdir(parents=True, exist_ok=True)
    copy_tree(source, Path(options.directory))
    if not options.path("munge.key").exists():
        put(options.path("munge.key"), secrets.token_hex(64), PRIVATE)
    _accounts(options)
    for uid, home in options.homes.items():
        _user(uid, home)
    _keys(options, owner)
    put(options.path("ssh_config"), render.ssh_config(options))
    put(options.path("options.json"), json.dumps(options._asdict()))


def write_slurm(options: Options, proctrack: str) -> None:
    """Write Slurm's files; `proctrack` is how it can track a job's processes."""
    folder = options.path("etc", "slurm")
    size = gpus.size(options.nodes) if options.real else render.SIMULATED
    put(folder / "slurm.conf", render.slurm_conf(options, proctrack, size))
    put(folder / "gres.conf", render.gres_conf(options))
    put(folder / "cgroup.conf", render.cgroup_conf(options))
    put(folder / "slurmdbd.conf", render.slurmdbd_conf(options), PRIVATE)
    create = f"CREATE DATABASE IF NOT EXISTS {render.database(options)};\n"
    put(options.path("database.sql"), create)


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file atomically; a private one is never readable by others, at no time."""
    old = os.umask(0o777 & ~mode)
    try:
        write_atomic(path, text)
    finally:
        os.umask(old)


def copy_tree(source: Path, target: Path) -> None:
    """Copy all files below `source`; programs are those in a folder `bin`."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
            continue
        part = to.with_name(to.name + ".new")
        shutil.copyfile(path, part)
        part.chmod(0o755 if path.parent.name == "bin" else 0o644)
        part.replace(to)


def _accounts(options: Options) -> None:
    passwd = render.passwd(read_text(Path("/etc/passwd")) or "")
    put(options.path("etc", "passwd"), passwd)
    put(options.path("etc", "group"), render.group(read_text(Path("/etc/group")) or ""))
    put(options.path("etc", "shadow"), render.shadow(passwd), PRIVATE)
    put(options.path("etc", "hosts"), render.hosts(options))


def _user(uid: int, home: Path) -> None:
    """Make a user's home. What exists is left alone."""
    for folder, mode in ((home, 0o755), (home / ".ssh", 0o700)):
        folder.mkdir(mode=mode, exist_ok=True)
        os.chown(folder, uid, uid)
    for name in (".bashrc", ".profile"):
        skeleton, to = Path("/etc/skel", name), home / name
        if skeleton.exists() and not to.exists():
            shutil.copyfile(skeleton, to)
            os.chown(to, uid, uid)


def _keys(options: Options, owner: int) -> None:
    """Make the keys that are missing, and the lists of the accepted ones."""
    own, root = _key(options.path("key")), _key(options.path("root_key"))
    os.chown(options.path("key"), owner, -1)
    ssh = options.path("etc", "ssh")
    for uid, home in options.homes.items():
        inside = home / ".ssh" / "id_ed25519"
        put(ssh / "authorized_keys" / home.name, _key(inside) + own)
        os.chown(inside, uid, uid)
    put(ssh / "authorized_keys" / "root", root)
    (ssh / "keys").mkdir(exist_ok=True)
    known = render.known_hosts((n, _key(ssh / "keys" / n.name)) for n in options.machines)
    put(options.path("known_hosts"), known)
    put(ssh / "ssh_known_hosts", known)


def _key(path: Path) -> str:
    """Return the public half of the key at `path`, which is made if it is missing."""
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        if path.exists():
            path.unlink()  # interrupted between its two halves
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mnrun sandbox", "-f"]
        run([*command, str(path)])
    return read_text(public) or ""


def owner(options: Options) -> int:
    """The uid of this machine's user who may log in: the caller of sudo, else the one so far."""
    key = options.path("key")
    return int(os.environ.get("SUDO_UID") or (key.stat().st_uid if key.exists() else 0))


def owned(options: Options, owner: int) -> bool:
    """Whether this user owns the key and the socket, as far as they exist."""
    paths = (options.path("key"), options.path("login.sock"))
    return all(path.stat().st_uid == owner for path in paths if path.exists())


def hand_over(options: Options, owner: int) -> None:
    """Let this user, and no other but root, log in from now on."""
    for path in (options.path("key"), options.path("login.sock")):
        if path.exists():
            os.chown(path, owner, -1)


def linked(options: Options, conda_env: str) -> bool:
    """Whether ~/conda_env of the cluster's users is the current training environment."""
    links = (home / "conda_env" for home in options.homes.values() if home.is_dir())
    return not conda_env or all(
        link.is_symlink() and os.readlink(link) == conda_env for link in links
    )


def link(options: Options, conda_env: str) -> None:
    """Make ~/conda_env of the cluster's users a link to the training environment."""
    if linked(options, conda_env):
        return
    for uid, home in options.homes.items():
        if not home.is_dir():
            continue  # a cluster from before the second user was introduced
        part = home / f".conda_env.{secrets.token_hex(4)}"
        part.symlink_to(conda_env)
        os.chown(part, uid, uid, follow_symlinks=False)
        part.replace(home / "conda_env")
