"""What a run shows, event by event, on a terminal and elsewhere."""

from __future__ import annotations

import argparse
import io
import shlex
from pathlib import Path
from typing import Any

import pytest

from mnrun import closing
from mnrun.commands import COMMANDS
from mnrun.display import Display, Style
from mnrun.terminal import Terminal
from tests.helpers.statuses import stage_status


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def __init__(self, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._tty = tty
        self._encoding = encoding

    def isatty(self) -> bool:
        return self._tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def rows(self) -> list[str]:
        """Return what a terminal would show of it."""
        lines = self.getvalue().split("\n")
        return [line.rpartition("\x1b[K")[2].rpartition("\r")[2] for line in lines]


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")


def task(name: str) -> dict[str, Any]:
    return {"event": "playbook_on_task_start", "event_data": {"name": name}}


def play(name: str) -> dict[str, Any]:
    return {"event": "playbook_on_play_start", "event_data": {"name": name}}


def said(text: str) -> dict[str, Any]:
    return {"event": "verbose", "stdout": text}


def result(kind: str, task: str = "Train", **res: Any) -> dict[str, Any]:
    return {"event": f"runner_on_{kind}", "event_data": {"task": task, "host": "login", "res": res}}


def stats(**changed: int) -> dict[str, Any]:
    data = {"changed": changed, "processed": {"login": 1}}
    return {"event": "playbook_on_stats", "event_data": data}


def show(
    *events: dict[str, Any], tty: bool = False, encoding: str = "utf-8", **style: Any
) -> tuple[list[str], Display]:
    screen = Screen(tty, encoding)
    display = Display(Terminal(screen), Style(**style), Clock())
    assert [display.handle(event) for event in events] == [False] * len(events)
    display.end()
    return screen.rows()[:-1], display


TRAINING = [
    play("SFT"),
    task("Check"),
    result("ok", "Check"),
    task("Train"),
    said("[sft] … job 12 PENDING (Resources)\r\n"),
    said("[sft] … job 12 RUNNING · step 1/2\r\n"),
    said("[sft] … job 12 RUNNING · step 2/2\r\n"),
    result("ok", changed=True),
    stats(login=1),
]


def test_without_a_terminal_each_change_is_a_line() -> None:
    rows, display = show(*TRAINING)
    assert rows == [
        "▸ SFT",
        "  [sft] job 12 PENDING (Resources)",
        "  [sft] job 12 RUNNING · step 1/2",
        "  [sft] job 12 RUNNING · step 2/2",
        "  ✓ Train",
    ]
    assert display.outcome.changed == 1


def test_on_a_terminal_the_stages_line_is_rewritten_and_its_last_state_stays() -> None:
    rows, _ = show(*TRAINING, tty=True)
    assert rows == ["▸ SFT", "  [sft] job 12 RUNNING · step 2/2", "  ✓ Train"]


@pytest.mark.parametrize(
    ("res", "row"),
    [
        ({"cause": {"title": "a node failed"}}, "  ✗ Train: a node failed"),
        ({"job": {"id": "12", "phase": "queued", "state": "PENDING"}},
         "  • Train: job 12 PENDING"),
        ({"job": {"id": "12", "phase": "running", "state": "RUNNING"}},
         "  • Train: job 12 RUNNING"),
        ({"lost": True}, "  • Train: it is not known how it ended"),
        ({"results": [{"job": {"phase": "succeeded"}}, {"cause": {"title": "killed"}}]},
         "  ✗ Train: killed"),
        ({"job": {"id": "12", "phase": "succeeded"}}, "  ✓ Train"),
        ({}, "  ✓ Train"),
    ],
)  # fmt: skip
def test_only_finished_work_is_ticked(res: dict[str, Any], row: str) -> None:
    assert show(result("ok", changed=True, **res))[0] == [row]


def test_each_stage_keeps_its_line() -> None:
    rows, _ = show(said("[ray] … up\r\n[sft] … a"), said("[sft] … b"), tty=True)
    assert rows == ["  [ray] up", "  [sft] b"]


@pytest.mark.parametrize("end", [" is missing.", ": http://127.0.0.1:8265"])
def test_what_is_no_progress_stays_on_a_terminal_and_is_never_cut(end: str) -> None:
    sentence = f"[sft] Job 59 ended, but its result is not whole: {'x' * 60}{end}"
    rows, _ = show(task("Train"), said(sentence), said("[sft] … job 60 PENDING"), tty=True)
    assert rows == [f"  {sentence}", "  [sft] job 60 PENDING"]


def test_a_failure_that_changed_something_before_counts() -> None:
    failed = result("failed", msg="The job failed.", changed=True)
    rows, code = close(failed, stats(login=1), code=2)
    assert (rows[-1], code) == ("Failed: changed=2 (4.2 s)", 1)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("a: [1, 2\nb: 3\n")
    ending = closing.Ending(
        COMMANDS["sft"],
        argparse.Namespace(inventory=None, run=None, extra_vars=[], check=False),
        str(tmp_path), 4, 0, 1.0,
    )  # fmt: skip
    screen = Screen(tty=False)
    closing.close(ending, show()[1].outcome, Terminal(screen))
    assert any(row.startswith(f"{tmp_path}/group_vars/all.yml:2: ") for row in screen.rows())


def test_verbose_shows_every_task_and_every_change() -> None:
    rows, _ = show(*TRAINING, {**result("skipped", "Other")}, tty=True, verbosity=1)
    assert rows == [
        "▸ SFT",
        "  • Check  (login)",
        "  [sft] job 12 PENDING (Resources)",
        "  [sft] job 12 RUNNING · step 1/2",
        "  [sft] job 12 RUNNING · step 2/2",
        "  ✓ Train  (login)",
        "  - Other  (login)",
    ]


def test_a_running_task_shows_for_how_long_on_a_terminal() -> None:
    screen, clock = Screen(tty=True), Clock()
    display = Display(Terminal(screen), Style(), clock)
    display.handle(task("Install"))
    assert screen.rows() == ["  … Install"]
    clock.now = 12.4
    assert display.tick()
    assert screen.rows() == ["  … Install  12 s"]
    display.handle(said("[env] … half"))
    clock.now = 13
    display.tick()
    assert screen.rows() == ["  [env] half"]


def test_a_task_that_takes_long_gets_a_line_elsewhere_too() -> None:
    screen, clock = Screen(tty=False), Clock()
    display = Display(Terminal(screen), Style(), clock)
    display.handle(task("Install"))
    for clock.now in (1, 5, 10, 11, 30):
        display.tick()
    assert screen.rows() == ["  … Install", ""]


def test_what_a_debug_task_says_is_shown() -> None:
    event = result("ok", msg={"a": 1, "b": ["c"]})
    event["event_data"]["resolved_action"] = "ansible.builtin.debug"
    assert show(event)[0] == ["a: 1", "b:", "- c"]
    assert show(result("ok", msg="not a debug task"))[0] == []


def test_a_line_that_is_too_long_is_cut_until_it_stays() -> None:
    screen = Screen(tty=True)
    display = Display(Terminal(screen), Style())
    display.handle(said("[sft] … " + "長" * 40))
    assert screen.rows() == [f"  [sft] {'長' * 25}…"]
    display.end()
    assert screen.rows() == [f"  [sft] {'長' * 40}", ""]


def test_a_warning_is_shown_once_above_the_stage() -> None:
    warning = {"event": "warning", "stdout": "[WARNING]: W&B has\r\nno key"}
    rows, _ = show(said("[sft] … a"), warning, warning, said("[sft] … b"), tty=True)
    assert rows == ["  ! W&B has no key", "  [sft] b"]
    rows, _ = show(result("ok", warnings=["offline"]), result("ok", warnings=["offline"]))
    assert rows == ["  ! offline"]
    rows, _ = show(result("ok", warnings=["W&B has\n  no key"]))
    assert rows == ["  ! W&B has no key"]


def test_an_encoding_without_the_marks_gets_ascii() -> None:
    rows, _ = show(*TRAINING, said("[sft] 長"), encoding="ascii")
    assert rows == [
        "> SFT",
        "  [sft] job 12 PENDING (Resources)",
        "  [sft] job 12 RUNNING | step 1/2",
        "  [sft] job 12 RUNNING | step 2/2",
        "  + Train",
        "  [sft] ?",
    ]


def test_a_difference_is_shown_only_when_asked_for() -> None:
    event = result("ok", changed=True, diff={"before": "a\n", "after": "b\n"})
    assert show(event)[0] == ["  ✓ Train"]
    assert show(event, diff=True)[0][1:] == [
        "    --- before",
        "    +++ after",
        "    @@ -1 +1 @@",
        "    -a",
        "    +b",
    ]


@pytest.mark.parametrize("tty", [True, False])
def test_a_log_is_shown_as_it_is_and_apart_from_our_notes(tty: bool) -> None:
    notes, log = Screen(tty=tty), Screen(tty=tty)
    display = Display(Terminal(notes), Style(headings=False), Clock(), Terminal(log))
    events = [play("Log"), task("Show the log"), said("[sft] … ==> /out <=="),
              said("[sft] [rank 0] one"), said("[sft]  two"), said("[sft]  … three"),
              {"event": "warning", "stdout": "[WARNING]: old"}]  # fmt: skip
    for event in events:
        display.handle(event)
    display.end()
    assert log.getvalue() == "[rank 0] one\n two\n … three\n"
    assert [row for row in notes.rows() if row] == ["==> /out <==", "  ! old"]


def test_lines_of_ansible_itself_are_kept_for_an_error_and_shown_with_vv() -> None:
    events = [said("[ERROR]: no such thing"), {"event": "error", "stdout": "more"}]
    rows, display = show(*events)
    assert rows == []
    assert list(display.outcome.stray) == ["[ERROR]: no such thing", "more"]
    rows, _ = show(*events, {**task("X"), "stdout": "TASK [X] ***"}, verbosity=2)
    assert rows == ["[ERROR]: no such thing", "more", "TASK [X] ***"]


def test_the_same_failure_is_reported_once_and_an_ignored_one_never() -> None:
    ignored = result("failed", "Look", msg="never mind")
    ignored["event_data"]["ignore_errors"] = True
    rows, display = show(
        ignored, result("failed", msg="bad"), result("failed", "Say it again", msg="bad")
    )
    assert rows == ["  ✗ Train", "  ✗ Say it again"]
    assert [failure.task for failure in display.outcome.failures] == ["Train"]


class Gone(Screen):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_went_away_ends_the_run_instead_of_breaking_it() -> None:
    display = Display(Terminal(Gone(tty=False)), Style())
    assert display.tick()
    display.handle(play("SFT"))
    assert not display.tick()


def close(
    *events: dict[str, Any], command: str = "sft", code: int = 0, signal: int = 0, **options: Any
) -> tuple[list[str], int]:
    usual: dict[str, Any] = {"inventory": None, "run": None, "extra_vars": [], "check": False}
    given = argparse.Namespace(**{**usual, "words": command.split(), **options})
    _, display = show(*events)
    screen = Screen(tty=False)
    ending = closing.Ending(COMMANDS[command], given, "/sites/sandbox", code, signal, 4.2)
    exit_code = closing.close(ending, display.outcome, Terminal(screen))
    return screen.rows()[:-1], exit_code


def test_the_end_of_a_run_that_did_its_work() -> None:
    assert close(stats()) == (["", "Done: changed=0 (4.2 s)"], 0)
    rows, _ = close(result("ok", summary=["SFT is at step 58"]), result("ok"), stats(a=1, b=2))
    assert rows == ["", "SFT is at step 58", "", "Done: changed=3 (4.2 s)"]


def test_where_nothing_was_found_the_site_is_named_unless_it_was_chosen() -> None:
    nothing = result("ok", summary=["Nothing of this run was running."])
    rows, _ = close(nothing, stats(), command="cancel")
    assert rows[2] == "The site is /sites/sandbox; to look at another one: -i SITE"
    rows, _ = close(nothing, stats(), command="cancel", inventory="sandbox")
    assert "-i SITE" not in "".join(rows)


def test_the_end_of_a_check() -> None:
    rows, code = close(stats(a=2), check=True)
    assert rows[-1] == "Dry run, nothing changed: 2 changes pending (4.2 s)"
    assert code == 0


def test_the_end_of_status_is_its_table_alone() -> None:
    stages = [stage_status("sft", {"id": "12"})]
    rows, code = close(result("ok", mnrun_status=stages), stats(), command="status")
    assert rows == ["STAGE  JOB  STATE  STEP  METRICS  LOG", "sft    12"]
    assert code == 0


def test_the_end_of_a_failure_is_its_cause() -> None:
    rows, code = close(result("failed", msg="bad"), stats(a=1), code=2)
    assert rows == ["", "Train (on login):", "  bad", "", "Failed: changed=1 (4.2 s)"]
    assert code == 1


def test_a_failure_before_any_task_says_what_ansible_said() -> None:
    rows, code = close(said("[ERROR]: bad yaml"), code=4)
    assert rows == ["", "[ERROR]: bad yaml", "", "Failed: changed=0 (4.2 s)"]
    assert code == 1


def test_a_host_that_does_not_answer_is_looked_for_in_the_inventory() -> None:
    rows, _ = close(result("unreachable", msg="Task failed: no route"), code=4)
    assert rows[1:5] == [
        "Train (on login):",
        "  no route",
        "  Connection settings (ansible_host, ansible_user, keys) come from:",
        "  /sites/sandbox",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "Can't open user config file /var/lib/mnrun-sandbox/ssh_config: No such file or directory",
        "mm_receive_fd: expected received 1 got 0\nproxy dialer did not pass back a connection",
    ],
)
def test_a_sandbox_that_is_down_is_said_in_one_sentence(tmp_path: Path, said: str) -> None:
    where = [f"sandbox_dir={tmp_path}"]
    failed = result("unreachable", msg=f"Failed to connect via ssh: {said}")
    rows, code = close(failed, code=4, extra_vars=where)
    assert rows == [
        "",
        "The sandbox is down. Start it:  mnrun sandbox up",
        "",
        "Failed: changed=0 (4.2 s)",
    ]
    assert code == 1


def test_a_run_on_no_host_is_not_done() -> None:
    nobody = {"event": "playbook_on_stats", "event_data": {"changed": {}, "processed": {}}}
    rows, code = close(nobody)
    assert rows[1] == "Nothing was done: /sites/sandbox has no host in the group login."
    assert code == 1


@pytest.mark.parametrize(("signal", "exit_code"), [(2, 130), (15, 143), (1, 129)])
def test_an_interrupted_training_says_how_to_come_back(signal: int, exit_code: int) -> None:
    rows, code = close(code=99, signal=signal, inventory="my site")
    assert code == exit_code
    assert rows == [
        "",
        "Interrupted. Jobs on the cluster continue:",
        "  mnrun status -i 'my site'   show them",
        "  mnrun sft -i 'my site'   re-attach",
        "  mnrun cancel -i 'my site'   stop them",
    ]


def test_the_way_back_holds_all_that_was_typed_but_no_secret() -> None:
    given = [
        "mnrun_run_dir=/my data",
        "@~/vars.yml",
        "sft_options='{a: 1}' environment_wandb_key='0123 4567' mnrun_nodes=2",
        '{"my_token": "0123"}',
        "[HF_PASSWORD: 0123",
        "secret='0123",
        "proxy=http://me:word@proxy:3128 mnrun_model=/data/monkey",
        "note=" + "hf_" + "A1b2" * 8,
    ]
    rows, _ = close(code=99, signal=2, inventory="osk", extra_vars=given)
    again = rows[3].removesuffix("   re-attach").strip()
    assert shlex.split(again) == [
        *("mnrun", "sft", "-i", "osk"),
        *("-e", "mnrun_run_dir=/my data"),
        *("-e", "@~/vars.yml"),
        *("-e", "sft_options='{a: 1}' environment_wandb_key=… mnrun_nodes=2"),
        *("-e", "…"),
        *("-e", "…"),
        *("-e", "…"),
        *("-e", "proxy=… mnrun_model=/data/monkey"),
        *("-e", "note=…"),
    ]
    assert rows[2] == again.replace("sft", "status", 1).join(("  ", "   show them"))


def test_the_way_back_works_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-site").mkdir()
    (tmp_path / "vars.yml").touch()
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"inventory": "my-site", "extra_vars": ["@vars.yml"]}
    rows, _ = close(code=99, signal=2, **given)
    assert f"  mnrun status -i {tmp_path}/my-site -e @{tmp_path}/vars.yml   show them" in rows
    (tmp_path / "galaxy.yml").touch()
    rows, _ = close(code=99, signal=2, **given)
    assert "  mnrun status -i my-site -e @vars.yml   show them" in rows


def test_the_way_back_names_the_stage_that_was_typed() -> None:
    rows, _ = close(code=99, signal=2, command="publish", words=["publish", "sft"])
    assert "  mnrun publish sft   re-attach" in rows


def test_the_way_back_names_the_run_as_it_was_typed() -> None:
    rows, _ = close(code=99, signal=2, run="fast", extra_vars=["a=1", "mnrun_run_name=fast"])
    assert rows[3].startswith("  mnrun sft -e a=1 --run fast ")


def test_an_interrupted_command_without_training_can_be_run_again() -> None:
    rows, _ = close(code=99, signal=2, command="sandbox up")
    assert rows[-1] == "Interrupted. To continue:  mnrun sandbox up"


def test_a_log_that_is_no_longer_followed_can_be_followed_again() -> None:
    rows, _ = close(code=99, signal=2, command="logs", words=["logs", "sft", "-f"])
    assert rows[-1] == "Stopped following. Again:  mnrun logs sft -f"


def test_a_signal_that_came_when_all_was_done_changes_nothing() -> None:
    assert close(stats(), signal=2)[1] == 0
