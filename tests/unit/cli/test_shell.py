"""`mnrun sandbox shell` and `mnrun shell`: which ssh they become."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mnrun.errors import CliError, UsageError
from mnrun.shell import enter_job, sandbox_dir, ssh_command


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ssh_config"
    path.write_text(
        "Host login\n  HostName x\nHost osk-*\n  ProxyJump login\nHost *\n  User mluser\n"
    )
    return path


def test_a_login_shell_gets_a_terminal(config: Path) -> None:
    assert ssh_command("login", [], config, terminal=True) == [
        "ssh", "-F", str(config), "-t", "login",
    ]  # fmt: skip


def test_one_word_is_a_line_for_the_shell(config: Path) -> None:
    command = ssh_command("login", ["cd /tmp && ls | wc"], config, terminal=False)
    assert command[-3:] == ["-T", "login", "cd /tmp && ls | wc"]


def test_several_words_arrive_as_they_are(config: Path) -> None:
    words = ["sinfo", "-o", "%N %t", "a'; echo foo"]
    command = ssh_command("osk-gpu95", words, config, terminal=False)
    assert command[-1] == """sinfo -o '%N %t' 'a'"'"'; echo foo'"""


def test_an_unknown_node_lists_those_there_are(config: Path) -> None:
    with pytest.raises(UsageError, match=r"has no node 'gpu9'\. It has: login, osk-\*"):
        ssh_command("gpu9", [], config, terminal=False)


def test_without_a_sandbox_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="mnrun sandbox up"):
        ssh_command("login", [], tmp_path / "ssh_config", terminal=False)


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ([], "/var/lib/mnrun-sandbox"),
        (["sandbox_nodes=2", "@vars.yml"], "/var/lib/mnrun-sandbox"),
        (["sandbox_dir=/data/box"], "/data/box"),
        (["sandbox_nodes=2 sandbox_dir='/my data/box'"], "/my data/box"),
        (["sandbox_dir=/a", "sandbox_dir=/b"], "/b"),
        (['{"sandbox_dir": "/c"}'], "/c"),
        (["{sandbox_dir: /c, other: 1}"], "/c"),
    ],
)
def test_the_sandbox_is_where_the_user_put_it(given: list[str], folder: str) -> None:
    assert sandbox_dir(given, {}) == Path(folder)


def test_the_environment_may_say_where_the_sandbox_is() -> None:
    environ = {"MNRUN_SANDBOX_DIR": "/env/box"}
    assert sandbox_dir([], environ) == Path("/env/box")
    assert sandbox_dir(["sandbox_dir=/data/box"], environ) == Path("/data/box")


@pytest.mark.parametrize("text", ["sandbox_dir='/a", "{sandbox_dir: [}", "{"])
def test_a_value_that_cannot_be_read_is_an_error_of_the_user(text: str) -> None:
    with pytest.raises(UsageError, match="value of -e cannot be parsed"):
        sandbox_dir([text])


def chosen(code: int, seen: dict[str, Any]) -> Any:
    """A play that chose a node, or failed with that exit code."""

    def play(variables: Any, look: Any) -> int:
        seen.update(variables)
        if not code:
            place = {"stage": "sft", "job": "12", "node": "n1", "nodes": ["n1", "n2"],
                     "argv": ["ssh", "login", "line"]}  # fmt: skip
            look({"event": "runner_on_ok", "event_data": {"res": {"mnrun_shell": place}}})
        return code

    return play


def test_a_command_on_a_node_becomes_what_the_play_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    became: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _program, argv: became.append(argv))
    enter_job(chosen(0, seen), "n2", ["echo", "{{ x }}"])
    assert became == [["ssh", "login", "line"]]
    assert json.loads(base64.b64decode(seen["mnrun_shell_words"])) == ["echo", "{{ x }}"]
    assert (seen["mnrun_shell_place"], seen["mnrun_shell_terminal"]) == ("n2", False)


def test_where_nothing_runs_the_exit_code_is_that_of_the_play() -> None:
    assert enter_job(chosen(1, {}), None, ["hostname"]) == 1


def test_without_a_terminal_a_shell_is_refused() -> None:
    with pytest.raises(UsageError, match="mnrun shell -- COMMAND"):
        enter_job(chosen(0, {}), None, [])
