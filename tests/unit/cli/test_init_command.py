"""mnrun init on the command line: what it refuses, asks, and leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mnrun import cli, consent
from mnrun.errors import CliError, UsageError
from mnrun.init import command, target
from mnrun.init.look import EndedError, advice
from tests.helpers.clusters import folder, kind, partition, site, slurm


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A cluster, at the boundary where the play would run."""
    facts = site(slurm=slurm(partition("gpu", kind(2, 8)), partition("more", kind(8, 4))))
    looked = {"job_id": "", "why": "no node was free", "node": None, "ssh": None}
    seen: dict[str, Any] = {"site": facts, "node": looked, "asked": []}

    def look(*arguments: Any) -> Any:
        variables = arguments[-1]
        seen["asked"].append(variables)
        return seen["node"] if "mnrun_init_sbatch" in variables else seen["site"]

    monkeypatch.setattr(command, "look", look)
    monkeypatch.setattr(target, "_has_an_open_connection", lambda _login: False)
    monkeypatch.delenv("MNRUN_YES", raising=False)
    return seen


def values(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "group_vars/all.yml").read_text())
    return found


@pytest.mark.usefixtures("cluster")
def test_yes_writes_a_site_and_says_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new/site"
    assert cli.main(["init", str(folder), "--yes", "--login", "me@hpc.example"]) == 0
    assert values(folder)["mnrun_partition"] == "more"
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]["login"]["hosts"]
    assert hosts == {
        "hpc.example": {
            "ansible_host": "hpc.example", "ansible_user": "me",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert f"  export MNRUN_INVENTORY={folder}\n" in printed
    assert "? mnrun_partition: more" in printed
    assert [path.name for path in folder.parent.iterdir()] == ["site"]


@pytest.mark.usefixtures("cluster")
def test_a_folder_that_is_there_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yml").write_text("x")
    assert cli.main(["init", str(tmp_path), "--yes"]) == 2
    assert "is there already, and is left as it is" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yml"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EndedError(1), CliError("no")])
def test_after_an_interruption_nothing_is_there(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def breaks(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(command, "variables_text", breaks)
    assert cli.main(["init", str(tmp_path / "site"), "--yes"]) != 0
    assert cluster["asked"]
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def in_the_way(*_arguments: Any) -> str:
        (part,) = tmp_path.iterdir()
        (part / "group_vars").touch()
        return ""

    monkeypatch.setattr(command, "variables_text", in_the_way)
    assert cli.main(["init", str(tmp_path / "site"), "--yes"]) == 1
    assert cluster["asked"]
    message = f"mnrun: {tmp_path / 'site'} could not be written: File exists\n"
    assert capsys.readouterr().err == message
    assert [*tmp_path.iterdir()] == []


def test_without_someone_to_ask_it_says_yes(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", str(tmp_path / "site")]) == 2
    assert "mnrun init --yes" in capsys.readouterr().err
    assert cluster["asked"] == []


def test_answers_lead_on(tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["nowhere", "gpu", "bad name", "~/model/mine"])
    cluster["site"]["models"] = []
    monkeypatch.setattr(consent, "can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _question: next(typed))
    assert cli.main(["init", str(tmp_path / "site"), "--no-job"]) == 0
    found = values(tmp_path / "site")
    assert (found["mnrun_partition"], found["mnrun_gpus_per_node"]) == ("gpu", 8)
    assert found["mnrun_model"] == "~/model/mine"
    assert len(cluster["asked"]) == 1


def test_enter_takes_no_default_that_would_be_refused(
    tmp_path: Path,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster["site"]["models"] = ["/data/my model"]
    typed = iter(["gpu", "", "~/m"])
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return next(typed)

    monkeypatch.setattr(consent, "can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    assert cli.main(["init", str(tmp_path / "site"), "--no-job"]) == 0
    assert asked[1:] == ["The model (a path): "] * 2
    assert "\n  type one\n" in capsys.readouterr().out
    assert values(tmp_path / "site")["mnrun_model"] == "~/m"


def test_an_error_of_the_look_is_not_one_of_the_folder(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with pytest.raises(OSError, match="terminal"), target.partial(site):
        raise OSError("the terminal is gone")
    with pytest.raises(CliError, match=f"{site} could not be written: Is a dir|not empty"):
        in_the_way(site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def in_the_way(site: Path) -> None:
    """Another one makes the folder meanwhile."""
    with target.partial(site):
        (site / "theirs").mkdir(parents=True)


def test_a_folder_of_somebody_else_does_not_command_the_terminal(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster["site"]["models"] = ["/data/\x1b\x07one", "/data/two"]
    asked: list[str] = []

    def typed(question: str) -> str:
        asked.append(question)
        return "/data/two" if "model" in question else ""

    monkeypatch.setattr(consent, "can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", typed)
    assert cli.main(["init", str(tmp_path / "site"), "--no-job"]) == 0
    assert "The model [/data/one]: " in asked


def test_the_job_is_for_what_was_chosen(tmp_path: Path, cluster: Any) -> None:
    words = ["init", str(tmp_path / "site"), "--yes", "-e", "mnrun_partition=gpu"]
    assert cli.main([*words, "-e", "mnrun_model=~/m"]) == 0
    assert cluster["asked"][1]["mnrun_init_sbatch"] == {"partition": "gpu", "gpus-per-node": 1}
    assert values(tmp_path / "site")["mnrun_model"] == "~/m"


def test_a_path_of_the_cluster_is_no_template(tmp_path: Path, cluster: Any) -> None:
    cluster["site"]["folders"].append(folder("/scratch/{{ 7 * 7 }}", "$SCRATCH"))
    assert cli.main(["init", str(tmp_path / "site"), "--yes"]) == 0
    assert cluster["asked"][1]["mnrun_init_folders"] == ["/home/me"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mnrun_partitoin=gpu", "takes variables of the connection"),
        ("ansible_ssh_pass=x", "would hold it in clear"),
        ("@more.yml", "reads no files"),
        ("mnrun_nodes=two", "mnrun_nodes=two: give a number"),
        ("mnrun_gpus_per_node=0", "give a number"),
        ('{"mnrun_base_dir": "/my runs"}', "it may have no blanks"),
    ],
)
def test_variables_that_it_does_not_take(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        target.target(str(tmp_path / "site"), None, [given])


def test_an_open_connection_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_has_an_open_connection", lambda _login: True)
    asked = target.target(str(tmp_path / "site"), "login", [])
    assert (asked.name, asked.variables) == (
        "login-node", {"ansible_host": "login", "ansible_ssh_args": "-o BatchMode=yes"},
    )  # fmt: skip


def test_here_is_the_login_node_without_a_name(tmp_path: Path) -> None:
    asked = target.target(str(tmp_path / "site"), None, [])
    assert asked.variables == {"ansible_host": "localhost", "ansible_connection": "local"}


def test_a_second_factor_has_one_clear_answer() -> None:
    lines = advice("me@hpc", ["me@hpc: Permission denied (publickey,keyboard-interactive)."])
    assert lines[0] == "me@hpc asks for a password or a second factor, and mnrun cannot type it."
    assert "    ControlMaster auto" in lines
    assert "  Host hpc" in lines
    assert "accept its key" in advice("hpc", ["Host key verification failed."])[0]
    assert advice("hpc", ["Connection timed out"]) == ["Try it by hand first:  ssh hpc true"]


def test_no_slurm_here_names_the_laptops_way(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {"version": None, "partitions": None, "unknown": ["there is no sinfo"]}
    cluster["site"]["slurm"] = {**cluster["site"]["slurm"], **nothing}
    assert cli.main(["init", str(tmp_path / "site"), "--yes"]) == 1
    assert capsys.readouterr().err == (
        "mnrun: Slurm does not answer on this machine: there is no sinfo\n"
        "From a laptop:  mnrun init --login HOST\n"
    )
