"""What a run shows, event by event, on a terminal and elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from mnrun import closing
from mnrun.commands import COMMANDS
from mnrun.display import Display, Style
from mnrun.terminal import Terminal
from tests.helpers.screens import Clock, Screen, play, result, said, show, stats, task

pytestmark = pytest.mark.usefixtures("plain_terminal")


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


def test_the_folder_that_ansible_makes_at_its_first_use_is_no_news() -> None:
    made = (
        "Module remote_tmp /home/me/.ansible/tmp did not exist and was created with a mode of 0700,"
        " this may cause issues when running as another user. To avoid this, create the remote_tmp"
        " dir with the correct permissions manually"
    )
    rows, _ = show(result("ok", warnings=[made, f"{made}, or so", made.replace("0700", "0777")]))
    assert [row[4:] for row in rows] == [f"{made}, or so", made.replace("0700", "0777")]


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
