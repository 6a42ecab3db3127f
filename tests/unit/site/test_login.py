"""What a login node shows: Slurm, software, folders, whatever its shell prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import mounts
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing
from ansible_collections.mnrun.train.plugins.module_utils.base.login import login_environment
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, run
from ansible_collections.mnrun.train.plugins.module_utils.site import bounded as site_bounded
from ansible_collections.mnrun.train.plugins.module_utils.site import folders, node, software
from ansible_collections.mnrun.train.plugins.module_utils.site import scheduler as site_scheduler
from ansible_collections.mnrun.train.plugins.module_utils.site.bounded import bounded, together
from ansible_collections.mnrun.train.plugins.module_utils.site.canary import canaries
from ansible_collections.mnrun.train.plugins.module_utils.site.node import seen
from ansible_collections.mnrun.train.plugins.module_utils.site.outside import reaches, wandb_key
from ansible_collections.mnrun.train.plugins.module_utils.site.scheduler import scheduler
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.plugin_utils.login_python import (
    SCRIPT,
    chosen,
    none_fits,
)

PARTITIONS = """\
PartitionName=cpu Default=YES MaxTime=2-00:00:00 DefaultTime=01:00:00 MaxNodes=UNLIMITED State=UP
PartitionName=gpu Default=NO MaxTime=UNLIMITED DefaultTime=NONE MaxNodes=4 State=UP
"""
NODES = """\
c1|cpu|128|257000|(null)|idle
g1|gpu|64|1000000|gpu:h100:8(S:0-1)|mixed
g2|gpu|64|1000000|gpu:h100:8(S:0-1)|down*
g3|gpu|64|500000|gpu:a100:4|idle
"""
REFUSED = "sbatch: error: Batch job submission failed: Invalid account or account/partition"


def slurm(answers: dict[str, Result | str | threading.Event | None]) -> SlurmClient:
    """A Slurm that answers by the first word that is in a command."""

    def answer(command: list[str], _seconds: float, _stdin: str) -> Result:
        for words, result in answers.items():
            if all(word in command for word in words.split()):
                if result is None:
                    raise Missing(f"There is no {command[0]}")
                if isinstance(result, threading.Event):
                    result.wait(10)
                    return Result(0, "", "")
                return Result(0, result, "") if isinstance(result, str) else result
        raise AssertionError(command)

    return SlurmClient(answer, Clock())


def whole(**more: Any) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "scontrol partition": PARTITIONS,
        "scontrol config": "ClusterName = big\nAccountingStorageEnforce = associations,limits\n"
        "AccountingStorageType = accounting_storage/slurmdbd\n",
        "sinfo --version": "slurm 24.11.5\n",
        "sinfo -N": NODES,
        "sacctmgr assoc": "a|||\nb|gpu|normal,long|normal\n",
        "sacctmgr user": "b\n",
        "sbatch --account=b": "",
        "sbatch --account=a": Result(1, "", REFUSED),
        "sbatch": Result(1, "", REFUSED),
    }
    answers.update({name.replace("_", " "): value for name, value in more.items()})
    return scheduler(slurm(answers), "me")


def test_a_slurm_that_judges_slowly_is_not_one_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site_scheduler, "_TRYING", 0.5)
    judged = threading.Event()
    found = whole(**{"sbatch_--account=b": judged})
    judged.set()
    assert [(one["account"], REFUSED in one["why"]) for one in found["accepted"]] == [("", True)]


def test_slurm_is_told_in_types() -> None:
    found = whole()
    assert (found["version"], found["cluster"], found["accounting"]) == ("24.11.5", "big", True)
    assert found["enforced"] == ["associations", "limits"]
    cpu, gpu = found["partitions"]
    assert (cpu["default"], cpu["max_time"], cpu["default_time"]) == (True, 172800, 3600)
    assert (gpu["max_time"], gpu["max_nodes"]) == (None, 4)
    assert gpu["kinds"] == [
        {"nodes": 2, "up": 1, "cpus": 64, "memory": 1000000, "gpus": 8, "types": {"h100": 8}},
        {"nodes": 1, "up": 1, "cpus": 64, "memory": 500000, "gpus": 4, "types": {"a100": 4}},
    ]
    assert [one["account"] for one in found["accounts"]] == ["b", "a"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_slurm_itself_says_which_account_it_takes() -> None:
    found = whole()["accepted"]
    assert [(one["partition"], one["account"], bool(one["why"])) for one in found] == [
        ("gpu", "", True), ("gpu", "b", False),
    ]  # fmt: skip


@pytest.mark.parametrize("gone", ["scontrol_partition", "sinfo_-N", "sacctmgr_assoc"])
def test_a_part_that_gives_no_answer_is_unknown_and_said_so(gone: str) -> None:
    lost = Result(1, "", "slurm_load_partitions: Unable to contact slurm controller")
    for answer in (lost, Result(1, "", "access denied"), Result(None, "", ""), None):
        found = whole(**{gone: answer})
        name = "accounts" if "assoc" in gone else "partitions"
        assert found[name] is None
        assert found["unknown"][0].startswith(f"{name}: ")
        assert found["version"] == "24.11.5"
        # A refusal, or no such command, is an answer.
        silent = answer is not None and "denied" not in answer.err
        assert found["lost"] is (silent and name == "partitions")
        assert (found["accounting"] is None) is (name == "accounts")


def test_a_site_without_accounting_is_one() -> None:
    config = "ClusterName = big\nAccountingStorageType = (null)\nJobAcctGatherType = (null)\n"
    found = whole(scontrol_config=config, sacctmgr_assoc=None)
    assert (found["accounting"], found["accounts"]) == (False, [])


@pytest.mark.parametrize("error", [OSError, IndexError, RuntimeError, Missing])
def test_a_look_that_fails_in_any_way_is_not_waited_for(error: type[Exception]) -> None:
    def fails() -> str:
        raise error("broken")

    assert site_bounded._begun(fails, "failed").get(timeout=20) == "failed"


def test_a_look_that_hangs_or_fails_is_left_behind() -> None:
    stop = threading.Event()
    begin = time.monotonic()

    def fails() -> str:
        raise OSError

    found = together([(stop.wait, "late"), (fails, "failed"), (lambda: "here", "")], 0.3)
    stop.set()
    assert found == ["late", "failed", "here"]
    assert time.monotonic() - begin < 20
    assert bounded(lambda: 3, 0) == 3


@pytest.mark.parametrize("name", ["bash", "sh"])
def test_a_chatty_login_shell_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / ".profile").write_text(
        'echo "Welcome {to} the cluster"; export WORK=/w/me; printf "no end of line"\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert login_environment(f"/bin/{name}")["WORK"] == "/w/me"


def test_csh_is_called_in_its_own_way(tmp_path: Path) -> None:
    shell = tmp_path / "tcsh"
    shell.write_text('#!/bin/sh\n[ "$1" = -c ] || exit 1\nWORK=/c export WORK; exec sh "$@"\n')
    shell.chmod(0o755)
    assert login_environment(str(shell))["WORK"] == "/c"


def test_a_shell_that_is_gone_sets_nothing() -> None:
    with pytest.raises(OSError, match="gone"):
        login_environment("/gone/shell")
    nothing: dict[str, str] = {}
    assert bounded(lambda: login_environment("/gone/shell"), nothing) == {}


def test_a_shell_that_cannot_even_be_killed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its start-up file is on a file server that is gone."""

    class Stuck:
        pid = 2**22 + 1  # no process has it

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def wait(self, timeout: float | None = None) -> int:
            assert timeout is not None
            raise subprocess.TimeoutExpired("sh", timeout)

    monkeypatch.setattr(subprocess, "Popen", Stuck)
    assert login_environment("/bin/sh") == {}


def installed(prefix: Path, **packages: str) -> Path:
    place = prefix / "lib/python3.11/site-packages"
    place.mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin/python").touch()
    for name, version in packages.items():
        (place / f"{name}-{version}.dist-info").mkdir()
    return prefix


def test_environments_are_found_where_users_have_them(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    installed(home / "conda_env", verl="0.5.0", torch="2.6.0+cu124")
    installed(home / "empty", requests="2")
    installed(home / "project/.venv", TRL="1.2.0")
    installed(work / "envs/big", flash_attn="2.7", verl="0.9.1")
    conda = installed(tmp_path / "elsewhere/envs/rl", verl="0.9.0")
    (conda / "conda-meta").mkdir()
    (home / ".conda").mkdir()
    (home / ".conda/environments.txt").write_text(f"{conda}\n/gone\n")
    (home / "link").symlink_to(home / "conda_env")
    found = software.environments([home, work], [], ["verl", "trl", "torch", "flash-attn"])
    by_prefix = {one["prefix"]: one for one in found}
    assert set(by_prefix) == {
        str(home / "link"), str(home / "project/.venv"), str(work / "envs/big"), str(conda),
    }  # fmt: skip
    assert by_prefix[str(work / "envs/big")]["packages"] == {"verl": "0.9.1", "flash-attn": "2.7"}
    assert [one["prefix"] for one in found if one["conda"]] == [str(conda)]


def module_file(tmp_path: Path, listed: str, shown: str = "") -> Path:
    path = tmp_path / "modules.sh"
    (tmp_path / "listed").write_text(listed)
    (tmp_path / "shown").write_text(shown)
    path.write_text(
        f"module() {{ case $1 in -t) cat {tmp_path}/listed ;; show) cat {tmp_path}/shown ;; esac"
        " >&2; }\nLMOD_VERSION=8.7\n"
    )
    return path


def test_modules_are_listed_without_their_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "/apps/modules:\ncuda/\ncuda/12.4(default)\nnccl/2.22 <L>\nA sentence here\n"
    path = module_file(tmp_path, listed)
    monkeypatch.setattr(software, "_INITS", ("/gone", "{LMOD_PKG}/init/bash", str(path)))
    found = software.modules({}, run)
    assert found == (str(path), "Lmod 8.7", ("cuda/12.4", "nccl/2.22"))


def test_without_modules_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "_INITS", ("/gone", "/etc/hostname"))
    assert software.modules({}, run) == ("", "", ())


def test_conda_is_found_in_homes_shells_and_modules(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("miniforge3", "by-shell", "by-module")]
    for root in roots:
        (root / "etc/profile.d").mkdir(parents=True)
        (root / "etc/profile.d/conda.sh").touch()
    shown = f"prepend-path PATH {roots[2]}/bin\nprepend-path PATH {roots[2]}/condabin\n"
    modules = software.Modules(str(module_file(tmp_path, "", shown)), "", ("miniconda/24", "gcc/1"))
    environment = {"CONDA_EXE": str(roots[1] / "bin/conda")}
    found = software.condas(environment, [tmp_path], modules, run)
    assert [(one["hook"], one["where"]) for one in found] == [
        (str(roots[1] / "etc/profile.d/conda.sh"), "the login shell"),
        (str(roots[0] / "etc/profile.d/conda.sh"), str(tmp_path)),
        (str(roots[2] / "etc/profile.d/conda.sh"), "module miniconda/24"),
    ]


@pytest.mark.parametrize("named", ["conda", "bin/conda", "/conda", "/", "", "~/c/bin/conda"])
def test_a_conda_that_is_named_without_its_folder_is_looked_for_elsewhere(
    tmp_path: Path, named: str
) -> None:
    hook = tmp_path / "miniforge3/etc/profile.d/conda.sh"
    hook.parent.mkdir(parents=True)
    hook.touch()
    found = software.condas({"CONDA_EXE": named}, [tmp_path], software.Modules(), run)
    assert str(hook) in [one["hook"] for one in found]


def test_folders_come_from_home_variables_and_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home/me", "scratch/me", "lustre/users/me", "closed"):
        (tmp_path / name).mkdir(parents=True)
    table = tmp_path / "mounts"
    table.write_text(
        f"none {tmp_path}/home nfs4 rw 0 0\nnone {tmp_path}/lustre lustre rw,flock 0 0\n"
        f"none {tmp_path}/closed nfs4 ro 0 0\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", table)
    environment = {"SCRATCH": f"{tmp_path}/scratch/me", "WORK": "/gone", "PATH": "/bin",
                   "WORKER": str(tmp_path)}  # fmt: skip
    nothing = lambda *_command: Result(1, "", "")  # noqa: E731
    found = folders.folders(tmp_path / "home/me", "me", environment, nothing)
    by_path = {one["path"].removeprefix(f"{tmp_path}/"): one for one in found}
    assert {path: (one["why"], one["shared"]) for path, one in by_path.items()} == {
        "home/me": ("home", True),
        "scratch/me": ("$SCRATCH", False),
        "home": (f"nfs4 at {tmp_path}/home", True),
        "lustre/users/me": (f"lustre at {tmp_path}/lustre", True),
        "lustre": (f"lustre at {tmp_path}/lustre", True),
    }  # fmt: skip
    assert found[0]["why"] == "home"
    assert found[0]["free"] > 0


def test_models_and_data_in_the_usual_places(tmp_path: Path) -> None:
    model = tmp_path / "models/org/name"
    model.mkdir(parents=True)
    (model / "config.json").touch()
    (model / "model.safetensors").touch()
    (tmp_path / "models/half").mkdir()
    (tmp_path / "models/half/config.json").touch()
    data = tmp_path / "data/task"
    data.mkdir(parents=True)
    (data / "train.parquet").touch()
    assert folders.tables([tmp_path]) == []
    (data / "validation.parquet").touch()
    assert folders.models([tmp_path]) == [str(model)]
    assert folders.tables([tmp_path]) == [
        {"train": str(data / "train.parquet"), "test": str(data / "validation.parquet")}
    ]


def test_the_key_for_wandb_is_found_and_not_returned(tmp_path: Path) -> None:
    assert wandb_key(tmp_path) == ""
    (tmp_path / ".config/wandb").mkdir(parents=True)
    (tmp_path / ".config/wandb/key").write_text("0123secret")
    assert wandb_key(tmp_path) == str(tmp_path / ".config/wandb/key")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert wandb_key(tmp_path) == str(tmp_path / ".netrc")


def test_a_proxy_is_the_way_out_where_one_is_set() -> None:
    assert not reaches("huggingface.co", {"https_proxy": "http://127.0.0.1:9"})
    assert not reaches("huggingface.co", {"HTTPS_PROXY": "nonsense:port"})


NODE = """\
Welcome to g1
mnrun-node name=g1
mnrun-node cpus=64
mnrun-node address=10.0.0.7
mnrun-node net=ib0|up|400000|yes
mnrun-node net=bond0.5|up||no
mnrun-node ip=ib0|10.1.0.7
mnrun-node ip=bond0.5@bond0|10.0.0.7
mnrun-node route=bond0.5
mnrun-node ib=mlx5_0|1|4: ACTIVE|InfiniBand|400 Gb/sec (4X NDR)
mnrun-node ib=mlx5_1|1|1: DOWN|InfiniBand|10 Gb/sec
mnrun-node gpu=NVIDIA H100, 81559 MiB, 550.54
mnrun-node same=yes|/home/me
mnrun-node same=no|/tmp/me
mnrun-node same=unknown|/lustre/odd|name
mnrun-node hub=no
mnrun-node end=yes
"""


def test_what_a_node_printed_is_told_in_types() -> None:
    found = seen(NODE)
    assert (found["name"], found["cpus"], found["route"]) == ("g1", 64, "bond0.5")
    assert [(one["name"], one["of_the_name"]) for one in found["interfaces"]] == [
        ("ib0", False), ("bond0.5", True),
    ]  # fmt: skip
    assert [one["active"] for one in found["adapters"]] == [True, False]
    assert found["same"] == {"/home/me": True, "/tmp/me": False, "/lustre/odd|name": None}
    assert (found["hub"], found["whole"]) == (False, True)
    nothing = seen("slurmstepd: error: no bash\n")
    assert (nothing["whole"], nothing["hub"], nothing["same"]) == (False, None, {})


def on_a_node(*paths: Path, **environ: str) -> dict[str, Any]:
    """What the script for a node shows here."""
    done = subprocess.run(
        ["bash", "-c", node._SCRIPT, "bash", *map(str, paths)],
        env={**os.environ, "https_proxy": "http://127.0.0.1:9", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = seen(done.stdout)
    assert found["whole"], done.stderr
    return found


def test_the_script_for_a_node_runs_here(tmp_path: Path) -> None:
    (tmp_path / "seen").touch()
    (tmp_path / "file").touch()
    found = on_a_node(tmp_path / "seen", Path("/gone/file"), tmp_path / "file/below")
    assert found["same"] == {str(tmp_path): True, "/gone": False, str(tmp_path / "file"): False}
    assert found["hub"] is False


@pytest.mark.parametrize(
    "stat",
    [
        "trap '' TERM; sleep 60",
        "echo 'stat: cannot statx: Permission denied' >&2; exit 1",
        "echo 'stat: cannot statx: Stale file handle' >&2; exit 1",
        "exec /gone/stat",
    ],
)
def test_a_node_that_cannot_look_does_not_say_that_a_folder_is_not_there(
    tmp_path: Path, stat: str
) -> None:
    tool = tmp_path / "stat"
    tool.write_text(f"#!/bin/sh\n{stat}\n")
    tool.chmod(0o755)
    found = on_a_node(tmp_path / "a/file", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert found["same"] == {str(tmp_path / "a"): None}


def test_a_file_in_each_folder_is_there_for_the_look_only(tmp_path: Path) -> None:
    mine, closed = tmp_path / "mine", tmp_path / "closed"
    mine.mkdir()
    closed.touch()
    with canaries([str(mine), str(closed), "/gone"]) as first, canaries([str(mine)]) as second:
        assert [Path(one).parent for one in first + second] == [mine, mine]
        assert sorted(str(one) for one in mine.iterdir()) == sorted(first + second)
    assert [*mine.iterdir()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_no_file_is_left_by_a_look_that_is_ended(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)

    def look() -> None:
        with canaries([str(tmp_path)]) as paths:
            assert Path(paths[0]).exists()
            os.kill(os.getpid(), number)

    with pytest.raises(SystemExit):
        look()
    assert [*tmp_path.iterdir()] == []
    assert signal.getsignal(number) == before


def test_the_login_nodes_python_is_found_by_any_shell() -> None:
    done = subprocess.run(["/bin/sh", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert chosen(done.stdout, (3, 8)).startswith("/")
    assert "\n" not in SCRIPT
    assert "!" not in SCRIPT


class Case(NamedTuple):
    """What the script printed, and the Python to take."""

    printed: str
    path: str


@pytest.mark.parametrize(
    "case",
    [
        Case("Hello\nmnrun-python /usr/bin/python3 3 11\n", "/usr/bin/python3"),
        Case(
            "mnrun-python /usr/bin/python3 3 6\nmnrun-python /opt/python3.12 3 12\n",
            "/opt/python3.12",
        ),
        Case("mnrun-python /usr/bin/python3 3 6\n", ""),
        Case("python3: command not found\n", ""),
    ],
)
def test_an_old_python_is_passed_over(case: Case) -> None:
    assert chosen(case.printed, (3, 8)) == case.path


def test_without_a_python_it_says_which_is_needed() -> None:
    old = none_fits("login1", "mnrun-python /usr/bin/python3 3 6\n", (3, 9))
    assert "login1 needs Python 3.9 or later" in old
    assert "it has only /usr/bin/python3 (3.6)" in old
    assert "none was found" in none_fits("login1", "", (3, 8))
