"""The sandbox's options, and the text that it makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import render
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.errors import SandboxError
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import (
    MAX_DIRECTORY,
    MAX_NODES,
    Options,
    checked,
)

PROGRAMS = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "cluster" / "bin"
DEFAULT = Options("/var/lib/mnrun-sandbox")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directory": "state"}, "absolute path"),
        ({"directory": "/srv/a b"}, "absolute path"),
        ({"directory": "/srv/$(reboot)"}, "absolute path"),
        ({"directory": "/srv/\n"}, "absolute path"),
        ({"directory": "/home/me/sandbox"}, "folders of their own"),
        ({"directory": "/srv/../root/x"}, "folders of their own"),
        ({"directory": "/" + "x" * MAX_DIRECTORY}, "longer than"),
        ({"nodes": 0}, "sandbox_nodes is 0"),
        ({"nodes": MAX_NODES + 1}, "sandbox_nodes is 101"),
        ({"gpus": -1}, "sandbox_gpus_per_node is -1"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        checked(DEFAULT._replace(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("directory", ["/var/lib/mnrun-sandbox", "/tmp/a/b", "/homes/x"])
def test_a_usual_folder_is_taken(directory: str) -> None:
    assert checked(DEFAULT._replace(directory=directory + "/")).directory == directory


def test_each_machine_has_a_name_and_an_address_of_its_own() -> None:
    machines = DEFAULT._replace(nodes=MAX_NODES).machines
    assert len({m.name for m in machines}) == len({m.address for m in machines}) == MAX_NODES + 2
    assert all(int(m.address.rsplit(".", 1)[1]) < 255 for m in machines)
    assert [m.name for m in DEFAULT.compute] == ["osk-gpu94", "osk-gpu95"]


def test_two_folders_share_no_cgroup() -> None:
    assert DEFAULT.cgroup != DEFAULT._replace(directory="/tmp/other").cgroup


def test_slurm_conf_follows_the_options() -> None:
    with_all = render.slurm_conf(DEFAULT, "cgroup")
    bare = render.slurm_conf(DEFAULT._replace(nodes=1, gpus=0, accounting=False), "linuxproc")
    assert "NodeName=osk-gpu94,osk-gpu95 " in with_all
    assert " Gres=gpu:8\n" in with_all
    assert "AccountingStorageType=accounting_storage/slurmdbd" in with_all
    assert "ProctrackType=proctrack/linuxproc" in bare
    assert "NodeName=osk-gpu94 " in bare
    assert "Gres=gpu:" not in bare
    assert "AccountingStorage" not in bare


def test_no_line_of_a_configuration_is_left_open() -> None:
    texts = [render.slurm_conf(DEFAULT, "cgroup"), render.slurmdbd_conf(DEFAULT),
             render.ssh_config(DEFAULT), render.cgroup_conf(DEFAULT)]  # fmt: skip
    for text in texts:
        assert "$" not in text
        assert not re.search(r"=\s*$", text, re.MULTILINE)


def test_accounts_are_the_systems_and_the_user_but_no_persons() -> None:
    host = "root:x:0:0:root:/root:/bin/zsh\nmunge:x:111:112::/:/bin/false\n"
    host += "anna:x:1000:1000::/home/anna:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"
    host += "mluser:x:999:999::/:/bin/false\n+::::::\n"
    names = [line.split(":")[0] for line in render.passwd(host).splitlines()]
    assert names == ["root", "munge", "nobody", "mluser", "mluser2"]
    assert "root:x:0:0:root:/root:/bin/bash" in render.passwd(host)
    assert "mluser:x:2000:2000::/home/mluser:/bin/bash" in render.passwd(host)


def test_nobody_has_a_password_and_sshd_takes_no_account_for_locked() -> None:
    fields = [line.split(":") for line in render.shadow(render.passwd("")).splitlines()]
    assert [(name, secret) for name, secret, *_ in fields] == [
        ("root", "*"),
        ("mluser", "*"),
        ("mluser2", "*"),
    ]


def test_groups_have_no_members_of_this_machine() -> None:
    assert render.group("adm:x:4:anna\nanna:x:1000:\n").splitlines() == [
        "adm:x:4:",
        "mluser:x:2000:",
        "mluser2:x:2001:",
    ]


def test_ssh_reaches_compute_nodes_through_the_login_node_and_checks_keys() -> None:
    text = render.ssh_config(DEFAULT)
    assert "Host osk-gpu94 osk-gpu95\n  ProxyJump login\n" in text
    assert "StrictHostKeyChecking yes" in text
    assert text.index("root_key") < text.index("IdentityFile /var/lib/mnrun-sandbox/key")


def test_the_programs_that_run_inside_are_valid() -> None:
    names = sorted(path.name for path in PROGRAMS.iterdir() if path.is_file())
    assert names == ["connect.py", "enter", "init.py", "relay.py"]
    for name in names:
        if name.endswith(".py"):
            compile((PROGRAMS / name).read_text(), name, "exec")


def test_ssh_to_a_sandbox_that_is_down_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-IS", str(PROGRAMS / "connect.py"), str(tmp_path / "login.sock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The sandbox is not up (")
    assert done.stderr.endswith("Run: mnrun sandbox up\n")
