"""How ssh reaches the login node, and through it the nodes behind it: with the same options.

Two programs of ssh are at work. The outer one reaches the compute node and gets all options as they
are. The inner one carries it through the login node; with `ProxyJump` ssh would start that one
itself, without what was given on the command line (keys, options, other configuration).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_JUMP = re.compile(r"-J|-o\s*Proxy(Jump|Command)", re.IGNORECASE)


class LoginSsh(NamedTuple):
    """Options of the connection plugin ssh, as they hold for the login node."""

    host: str
    port: int | None
    remote_user: str | None
    private_key_file: str | None
    host_key_checking: bool
    ssh_executable: str
    ssh_args: str
    ssh_common_args: str
    ssh_extra_args: str


class HeadArgs(NamedTuple):
    """The same three of a node behind it."""

    ssh_args: str
    ssh_common_args: str
    ssh_extra_args: str


def login_words(login: LoginSsh) -> list[str]:
    """What a user types behind `ssh` to reach the login node."""
    return [*_options(login), login.host]


def head_args(login: LoginSsh, login_is_here: bool) -> HeadArgs:
    """The options of ssh to a node behind the login node."""
    given = HeadArgs(login.ssh_args, login.ssh_common_args, login.ssh_extra_args)
    if login_is_here:
        return given
    # It is used once, so that it keeps no connection open for others; it may use one that is.
    inner = [login.ssh_executable, "-T", "-o", "ControlMaster=no", "-o", "ControlPersist=no"]
    # ssh expands % in the command, and then a shell splits it.
    words = shlex.join([*inner, *shlex.split(login.ssh_args), *_options(login)]).replace("%", "%%")
    command = f"ProxyCommand={words} -W '[%h]:%p' {shlex.quote(login.host)}"
    args, common, extra = (shlex.join(_without_jumps(shlex.split(text))) for text in given)
    through = shlex.join(["-o", command, "-o", "ProxyUseFdpass=no"])
    return HeadArgs(args, f"{through} {common}".strip(), extra)


def node_words(given: Mapping[str, Any]) -> list[str]:
    """The options of an ssh to a node behind the login node that no connection plugin runs: from
    `ssh_args`, `user` and `key`, each of which may be empty or missing."""
    words = shlex.split(given.get("ssh_args") or "")
    words += ["-i", str(Path(given["key"]).expanduser())] if given.get("key") else []
    return words + (["-l", given["user"]] if given.get("user") else [])


def _options(login: LoginSsh) -> list[str]:
    words = [] if login.host_key_checking else ["-o", "StrictHostKeyChecking=no"]
    if login.port is not None:
        words += ["-p", str(login.port)]
    if login.private_key_file:
        words += ["-i", str(Path(login.private_key_file).expanduser())]
    if login.remote_user:
        words += ["-l", login.remote_user]
    return [*words, *shlex.split(login.ssh_common_args), *shlex.split(login.ssh_extra_args)]


def _without_jumps(words: list[str]) -> list[str]:
    """Without the way to the login node itself."""
    kept, rest = [], iter(words)
    for word in rest:
        pair = [word, *(next(rest, "") for _ in range(word in {"-o", "-J"}))]
        if not _JUMP.match("".join(pair)):
            kept += pair
    return kept
