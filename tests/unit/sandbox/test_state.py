"""What the sandbox finds, what it would do, and how it waits: without a cluster."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import (
    cluster,
    fabric,
    files,
    process,
    services,
)
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import Options

from tests.helpers.fake_slurm import FakeClock


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(str(tmp_path))


def running(options: Options, **changes: object) -> cluster.Found:
    nodes = {node.name: 1 for node in options.machines}
    states = {node.name: "idle" for node in options.compute}
    return cluster.Found(1, nodes, [], states)._replace(**changes)  # type: ignore[arg-type]


def plan(options: Options, found: cluster.Found, owner: int | None = None) -> list[str]:
    wanted = files.owner(options) if owner is None else owner
    return cluster.plan(options, found, cluster.Request(options.path("files"), wanted))


def test_nothing_runs_then_all_is_started(options: Options) -> None:
    lines = plan(options, cluster.NOTHING)
    assert lines == ["start the cluster: osk-ctl, login, osk-gpu94, osk-gpu95"]


def test_all_runs_then_nothing_is_done(options: Options) -> None:
    assert plan(options, running(options)) == []


def test_only_what_is_missing_is_named(options: Options) -> None:
    dead = [s for phase in services.phases(options) for s in phase if s.node == "osk-gpu95"]
    found = running(options, dead=dead)
    assert plan(options, found) == [
        "start munged on osk-gpu95",
        "start sshd on osk-gpu95",
        "start slurmd on osk-gpu95",
    ]
    del found.nodes["osk-gpu95"]
    assert plan(options, found) == ["start the node osk-gpu95"]


def test_a_drained_node_is_resumed(options: Options) -> None:
    found = running(options, states={"osk-gpu94": "drained", "osk-gpu95": "mixed"})
    assert plan(options, found) == ["resume the drained node osk-gpu94"]


def test_other_options_than_those_that_run_are_refused(options: Options) -> None:
    old = options._replace(nodes=4, accounting=False)
    options.path("options.json").write_text(json.dumps(old._asdict()))
    words = "own Slurm, 4 nodes, 8 simulated GPUs each, accounting off, but this"
    with pytest.raises(SandboxError, match=words):
        plan(options, running(options))
    assert len(plan(options, cluster.NOTHING)) == 1


def test_another_slurm_than_the_one_that_runs_is_refused(options: Options) -> None:
    # Written before there was a choice: it runs this machine's own.
    options.path("options.json").write_text('{"nodes": 2}')
    with pytest.raises(SandboxError, match=r"own Slurm, 2 .* but Slurm 26\.05\.5, 2 nodes"):
        plan(options._replace(slurm="26.05.5"), running(options))


def test_options_of_a_later_version_do_no_harm(options: Options) -> None:
    options.path("options.json").write_text('{"nodes": 3, "colour": "red"}')
    assert cluster.started_with(options) == options._replace(nodes=3)


def test_daemons_start_in_the_order_in_which_they_need_each_other(options: Options) -> None:
    order = [{service.name for service in phase} for phase in services.phases(options)]
    assert order == [
        {"munged", "sshd", "relay", "mariadbd"}, {"slurmdbd"}, {"slurmctld"}, {"slurmd"},
    ]  # fmt: skip
    without = services.phases(options._replace(accounting=False))
    assert not {"mariadbd", "slurmdbd"} & {s.name for phase in without for s in phase}


def test_slurmdbd_finds_its_database_made(options: Options) -> None:
    for folder in ("etc/slurm", "log"):
        options.path(folder).mkdir(parents=True, exist_ok=True)
    files.write_slurm(options, "cgroup")
    configuration = options.path("etc/slurm/slurmdbd.conf").read_text()
    database = re.findall(r"^StorageLoc=(\w+)$", configuration, re.MULTILINE)
    made = options.path("database.sql")
    assert made.read_text() == f"CREATE DATABASE IF NOT EXISTS {database[0]};\n"
    (daemon,) = [s for phase in services.phases(options) for s in phase if s.name == "mariadbd"]
    assert f"--init-file={made}" in daemon.argv


def test_a_controller_that_was_killed_early_starts_again(options: Options) -> None:
    # Slurm 26.05 without -i: `fatal: No Assoc usage file (…/spool-26.05/assoc_usage) to recover`.
    all_services = [service for phase in services.phases(options) for service in phase]
    assert [s.argv for s in all_services if s.name == "slurmctld"] == [["slurmctld", "-i"]]


def test_whoever_calls_sudo_may_log_in(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert files.owner(options) == 0
    options.path("key").touch()
    assert files.owner(options) == os.getuid()
    assert plan(options, running(options)) == []
    monkeypatch.setenv("SUDO_UID", "4321")
    assert plan(options, running(options)) == ["let user 4321 log in"]


OURS = {"NSpid": "71\t1", "State": "S (sleeping)", "Uid": "0\t0\t0\t0"}


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({}, True),
        ({"NSpid": "71"}, False),
        ({"NSpid": "71\t9"}, False),
        ({"NSpid": "71\t7\t1"}, False),
        ({"State": "Z (zombie)"}, False),
        ({"Uid": "1000\t1000\t1000\t1000"}, False),
    ],
)
def test_only_roots_own_first_process_is_taken_for_the_sandbox(
    options: Options, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], ours: bool
) -> None:
    program = str(options.path("bin", "init.py"))
    words = ["/usr/bin/python3", "-IS", program, "fabric", options.directory, "cgroup"]
    others = {72: ["unshare", *words], 73: [*words[:4], "/elsewhere"], 74: []}
    monkeypatch.setattr(process, "pids", lambda: [71, *others])
    monkeypatch.setattr(process, "arguments", lambda pid: words if pid == 71 else others[pid])
    monkeypatch.setattr(process, "status", lambda pid: {**OURS, **changes})
    assert fabric.all_fabrics(options) == ([71] if ours else [])


def test_the_conda_link_is_made_once(options: Options) -> None:
    options.home.mkdir(parents=True)
    assert files.linked(options, "")
    assert not files.linked(options, "/srv/env")
    (options.home / "conda_env").symlink_to("/srv/old")
    if os.geteuid() == 0:
        files.link(options, "/srv/env")
        assert files.linked(options, "/srv/env")


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    files.put(tmp_path / "secret", "x", files.PRIVATE)
    files.put(tmp_path / "public", "x")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("secret", "public")]
    assert modes == [0o600, 0o644]


def test_programs_are_copied_as_programs(tmp_path: Path) -> None:
    (tmp_path / "from" / "a" / "bin").mkdir(parents=True)
    (tmp_path / "from" / "a" / "bin" / "tool").write_text("1")
    (tmp_path / "from" / "a" / "text").write_text("2")
    for _ in range(2):
        files.copy_tree(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "a" / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "to" / "a" / "text").stat().st_mode & 0o777 == 0o644
    assert len(list((tmp_path / "to" / "a" / "bin").iterdir())) == 1


def test_waiting_ends_as_soon_as_it_is_so() -> None:
    clock = FakeClock()
    answers = iter([False, False, True])
    process.wait_until(lambda: next(answers), 10, lambda: "", clock, interval=1)
    assert clock.monotonic() == 2


def test_waiting_for_too_long_says_what_was_awaited() -> None:
    with pytest.raises(SandboxError, match=r"the moon is missing \(waited 3 s\)"):
        process.wait_until(lambda: False, 3, lambda: "the moon is missing", FakeClock())


def test_a_command_that_fails_or_hangs_or_is_missing_is_named() -> None:
    with pytest.raises(SandboxError, match=r"ls /nowhere: exit code 2: .*No such file"):
        process.run(["ls", "/nowhere"])
    with pytest.raises(SandboxError, match=r"sleep 9: no end after 0\.1 s"):
        process.run(["sleep", "9"], timeout=0.1)
    with pytest.raises(SandboxError, match="no-such-tool: not found"):
        process.run(["no-such-tool"])


def test_the_kernel_knows_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert process.listening(os.getpid(), port)
    assert not process.listening(os.getpid(), port)


def test_a_pid_file_counts_only_while_its_process_lives(tmp_path: Path) -> None:
    name = process.status(os.getpid())["Name"]
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    assert process.inner_name(os.getpid(), str(pid_file)) == name
    for text in ("", "0\n", "4194305\n", "../1\n"):
        pid_file.write_text(text)
        assert process.inner_name(os.getpid(), str(pid_file)) == ""
    pid_file.unlink()
    assert process.inner_name(os.getpid(), str(pid_file)) == ""
