"""The activation script: its text, and what it does in a real bash."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.environment.script import Settings, render

from tests.helpers.activation_environment import EMPTY, make_environment

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = 'it\'s $HOME `id` "x" \\ ; echo foo'


# Like conda's own: it uses unset variables and commands that fail, and an environment that is
# active already keeps its place on PATH.
HOOK = """
: $NOT_SET_ANYWHERE
false
[ -n "$CONDA_SHLVL" ] || export CONDA_SHLVL=0
conda() {
  : $NOT_SET_EITHER
  [ -z "$CONDA_PREFIX" ] || { [ "$1" = activate ] && [ "$2" = "$CONDA_PREFIX" ]; } ||
    PATH=${PATH//$CONDA_PREFIX\\/bin:/}
  case $1 in
    deactivate) unset CONDA_PREFIX; CONDA_SHLVL=0 ;;
    activate)
      [ "$2" = "$CONDA_PREFIX" ] || PATH=$2/bin:$PATH
      export CONDA_PREFIX=$2 CONDA_SHLVL=1 ;;
  esac
}
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("env") / "my env's")


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    path = tmp_path / "conda.sh"
    path.write_text(HOOK)
    return path


def bash(script: str, *, before: str = "", after: str = "env -0", **env: str) -> Any:
    """Source `script` from a file, as a job does; `env` comes on top of nearly nothing."""
    source = f"source /dev/stdin <<'END_OF_SCRIPT'\n{script}\nEND_OF_SCRIPT"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f"{before}\n{source}\n{after}"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def variables(done: Any) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)


def test_the_whole_script_of_the_real_site() -> None:
    settings = Settings(
        modules_init="/etc/profile.d/modules.sh",
        modules=["nccl/2.22.3", "hpcx/2.18.1-gcc-cuda12/hpcx-mt", "miniconda/24.7.1-py311"],
        conda_hook="/home/appli/miniconda3/24.7.1-py311/etc/profile.d/conda.sh",
        conda_prefix="/home/alice/conda_env",
        variables={"NCCL_SOCKET_IFNAME": "enp25s0np0", "TOKENIZERS_PARALLELISM": False},
        limits={"v": "unlimited"},
        wandb_entity="alice's team",
        wandb_project="competition_verl_test",
        wandb_key_files=["/home/alice/.wandb_key", "/run/.mnrun/wandb_key"],
        wandb_mode="auto",
    )
    assert render(settings) == (GOLDEN / "activate.sh").read_text()


def test_variables_arrive_exactly_as_they_are_written() -> None:
    given = {"A": HOSTILE, "B": "", "C": True, "D": 3, "E": "~bob"}
    found = variables(bash(render(EMPTY._replace(variables=given))))
    assert [found[name] for name in given] == [HOSTILE, "", "true", "3", "~bob"]


def test_a_strict_caller_stays_strict_and_survives(prefix: Path, hook: Path) -> None:
    script = render(EMPTY._replace(conda_hook=str(hook), conda_prefix=str(prefix)))
    done = bash(
        script,
        before="set -euo pipefail; IFS=,",
        after='echo "$- $SHELLOPTS"; compgen -v __mn || compgen -A function __mn || :',
    )
    flags = done.stdout.split()[0]
    assert "e" in flags
    assert "u" in flags
    assert "x" not in flags
    assert "pipefail" in done.stdout
    assert "__mnrun" not in done.stdout


def test_a_lax_caller_stays_lax() -> None:
    done = bash(render(EMPTY), after='echo "$-"')
    assert not set("eux") & set(done.stdout.strip())


def test_a_trace_of_the_caller_does_not_show_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("very-secret\n")
    key.chmod(0o600)
    script = render(EMPTY._replace(wandb_mode="auto", wandb_key_files=["/no/such/file", str(key)]))
    done = bash(script, before="set -x", after=': "$-"')
    assert "very-secret" not in done.stderr + script
    assert "+ :" in done.stderr


@pytest.mark.parametrize("with_hook", [True, False])
def test_sourced_twice_and_in_a_child_nothing_grows(
    prefix: Path, hook: Path, *, with_hook: bool
) -> None:
    used = str(hook) if with_hook else ""
    script = render(EMPTY._replace(conda_hook=used, conda_prefix=str(prefix)))
    once = variables(bash(script))
    twice = variables(bash(f"{script}\n{script}"))
    assert once["PATH"].startswith(f"{prefix}/bin:")
    assert {**once, "_": ""} == {**twice, "_": ""}


def test_the_environment_comes_before_what_modules_put_on_the_path(
    prefix: Path, hook: Path, tmp_path: Path
) -> None:
    init = tmp_path / "init.sh"
    init.write_text(
        'module() { if [ "$1" = load ]; then PATH=/usr/sbin:$PATH LOADEDMODULES=$2; fi; }\n'
    )
    script = render(
        EMPTY._replace(
            modules_init=str(init), modules=["m/1"], conda_hook=str(hook), conda_prefix=str(prefix)
        )
    )
    first = variables(bash(script))
    inherited = variables(bash(script, **first))
    assert first["PATH"].split(":")[0] == inherited["PATH"].split(":")[0] == f"{prefix}/bin"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modules": ["a"], "modules_init": "{tmp}/no/init.sh"}, ["init.sh", "{tmp} exists"]),
        ({"modules": ["a"], "modules_init": "{tmp}/empty"}, ["empty does not define", "module"]),
        ({"conda_hook": "{tmp}/conda/9/conda.sh"}, ["conda.sh", "contains: 24.1 24.2"]),
        ({"conda_hook": "{tmp}/empty"}, ["does not define the command conda"]),
        ({"conda_prefix": "{tmp}/conda/9"}, ["conda/9", "contains: 24.1 24.2", "_conda_prefix"]),
        ({"conda_prefix": "{tmp}/conda"}, ["no bin/python", "conda_prefix"]),
        ({"conda_prefix": "{tmp}/bare"}, ["did not become active", "conda_hook"]),
        ({"wandb_mode": "online", "wandb_key_files": ["{tmp}/key"]}, ["no W&B key", "{tmp}/key"]),
        ({"wandb_mode": "auto", "wandb_key_files": ["{tmp}/open"]}, ["chmod 600 {tmp}/open"]),
        ({"wandb_mode": "auto", "wandb_key_files": ["{tmp}/blank"]}, ["no W&B key in {tmp}/blank"]),
    ],
)
def test_a_fault_is_named_with_what_is_there_instead(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    for name in ("conda/24.1", "conda/24.2", "bare/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bare/bin/python").symlink_to("/bin/true")
    for name, mode in (("empty", 0o644), ("open", 0o640), ("blank", 0o600)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    filled = json.loads(json.dumps(change).replace("{tmp}", str(tmp_path)))
    done = bash(render(EMPTY._replace(**filled)), before="set -eu", after="echo went on")
    said = [line for line in done.stderr.splitlines() if line.startswith("mnrun: ")]
    assert (done.returncode, done.stdout, len(said)) == (1, "", 1), done.stderr
    assert all(word.replace("{tmp}", str(tmp_path)) in said[0] for word in words), said


def test_all_parts_that_do_not_work_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "open").touch(0o640)
    (tmp_path / "open").chmod(0o640)
    bad = EMPTY._replace(
        modules=["a", "b"], modules_init=f"{tmp_path}/init.sh", conda_hook=f"{tmp_path}/conda.sh",
        conda_prefix=f"{tmp_path}/env", wandb_mode="auto", wandb_key_files=[f"{tmp_path}/open"],
    )  # fmt: skip
    done = bash(render(bad), before="set -eu", after="echo went on")
    said = [line for line in done.stderr.splitlines() if line.startswith("mnrun: ")]
    words = ["init.sh to define", "no conda hook", "no Python environment", "chmod 600"]
    assert (done.returncode, done.stdout, len(said)) == (1, "", len(words)), done.stderr
    assert all(word in line for word, line in zip(words, said, strict=True))


def test_each_module_that_does_not_load_is_named(tmp_path: Path) -> None:
    init = tmp_path / "init.sh"
    init.write_text("module() { [ $1 = reset ]; }\n")
    done = bash(render(EMPTY._replace(modules=["one", "two"], modules_init=str(init))))
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        " there is no module one", " there is no module two"]  # fmt: skip


def test_the_names_of_wandb_are_not_needed_where_it_is_disabled() -> None:
    off = EMPTY._replace(wandb_mode="disabled", wandb_entity="YOU_TEAM_ENTITY_NAME")
    found = variables(bash(render(off)))
    assert found["WANDB_MODE"] == "disabled"
    assert "WANDB_ENTITY" not in found


def test_a_limit_that_cannot_be_raised_is_a_note() -> None:
    done = bash(
        render(EMPTY._replace(limits={"n": "unlimited", "c": 0})),
        before="ulimit -n 100",
        after="ulimit -n; ulimit -c",
    )
    assert done.stdout.split() == ["100", "0"]
    assert "note: ulimit -n remains 100" in done.stderr


def test_wandb_without_a_key_is_offline_and_says_so() -> None:
    done = bash(render(EMPTY._replace(wandb_mode="auto", wandb_project="p x", wandb_entity="e")))
    found = variables(done)
    assert (found["WANDB_MODE"], found["WANDB_PROJECT"], found["WANDB_ENTITY"]) == (
        "offline",
        "p x",
        "e",
    )
    assert "note: W&B logs this run offline: no key" in done.stderr


def test_wandb_key_from_the_file_or_the_environment_or_netrc(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("from-file")
    key.chmod(0o600)
    script = render(EMPTY._replace(wandb_mode="auto", wandb_key_files=["/no/such/file", str(key)]))
    plain = render(EMPTY._replace(wandb_mode="auto"))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    assert variables(bash(script))["WANDB_API_KEY"] == "from-file"
    assert variables(bash(script, WANDB_API_KEY="mine"))["WANDB_API_KEY"] == "mine"
    assert variables(bash(plain, HOME=str(tmp_path)))["WANDB_MODE"] == "online"


def test_wandb_that_does_not_answer_inside_a_job_is_offline(prefix: Path) -> None:
    script = render(EMPTY._replace(wandb_mode="auto", conda_prefix=str(prefix)))
    away = {"WANDB_API_KEY": "k", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = bash(script, SLURM_JOB_ID="1", **away)
    assert variables(done)["WANDB_MODE"] == "offline"
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    assert variables(bash(script, **away))["WANDB_MODE"] == "online"


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_modes_without_a_network_look_at_no_key(tmp_path: Path, mode: str) -> None:
    key = tmp_path / "key"
    key.touch(0o644)
    script = render(EMPTY._replace(wandb_mode=mode, wandb_key_files=["/no/such/file", str(key)]))
    assert variables(bash(script))["WANDB_MODE"] == mode


def test_all_faults_of_the_settings_at_once() -> None:
    bad = EMPTY._replace(
        modules=["two words", "-x"],
        variables={"1A": "x", "HF_TOKEN": "hf", "B": "a\nb", "C": ["x"], "TOKENIZERS": 1},
        limits={"zz": 1, "v": "much"},
    )
    with pytest.raises(Invalid) as caught:
        render(bad)
    lines = caught.value.message.splitlines()
    wanted = ["two words", "-x", "modules_init", "1A", "HF_TOKEN", "B contains", "C needs"]
    wanted += ["zz", "v"]
    assert len(lines) == len(wanted)
    assert all(word in line for word, line in zip(wanted, lines, strict=True))
