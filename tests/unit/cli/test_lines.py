"""What is said about a run: failures, differences, durations."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import text as text_of_the_modules

from mnrun.lines import differences, duration, failures


def lines(result: dict[str, Any]) -> list[str]:
    return [line for failure in failures("Train", "login", result) for line in failure.lines()]


def test_a_failure_gives_the_end_of_the_log_and_last_the_modules_words() -> None:
    result = {
        "msg": "The job failed.\nWhat to do: less memory.",
        "log_tail": ["Traceback:", "  10%|#\r 20%|##", "OutOfMemoryError"],
        "job": {"id": 12, "stdout": "/run/sft-12.out", "stderr": "/run/sft-12.err"},
    }
    assert lines(result) == [
        "Train (on login):",
        "  The end of /run/sft-12.err:",
        "    Traceback:",
        "     20%|##",
        "    OutOfMemoryError",
        "",
        "  The job failed.",
        "  What to do: less memory.",
    ]


def test_a_long_log_is_cut_to_what_fits_above_its_cause() -> None:
    log = ["x" * 5000 for _ in range(40)]
    shown = lines({"msg": "The cause.", "log_tail": log, "log_path": "/l"})
    assert shown == ["Train (on login):", "  The end of /l:", *[f"    {'x' * 200}"] * 10, "",
                     "  The cause."]  # fmt: skip


def test_the_log_that_the_module_names_comes_before_the_jobs() -> None:
    result = {"msg": "x", "log_path": "/run/driver.log", "job": {"stderr": "/run/sft-12.err"}}
    assert lines(result) == ["Train (on login):", "  Its log: /run/driver.log", "  x"]
    result["msg"] = "x\nLog: /run/driver.log"
    assert lines(result) == ["Train (on login):", "  x", "  Log: /run/driver.log"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "Task failed: no ssh"}, ["no ssh"]),
        ({"msg": ["a", "b"]}, ["- a", "- b"]),
        ({"msg": "non-zero", "cmd": "x", "stderr": "bad\n", "stdout": "y"}, ["non-zero", "bad"]),
        ({"msg": "non-zero", "cmd": "x", "stderr": "", "stdout": "y"}, ["non-zero", "y"]),
        ({"msg": "no answer", "module_stderr": "sh: python3: not found"},
         ["no answer", "sh: python3: not found"]),
        ({"censored": "hidden by no_log"}, ["hidden by no_log"]),
        ({"msg": "x", "exception": "(traceback unavailable)"}, ["x"]),
        ({"msg": "x", "exception": "Traceback (most…)\n  y"}, ["x", "Traceback (most…)", "  y"]),
        ({}, ["No reason was given; -v shows more."]),
    ],
)  # fmt: skip
def test_the_message(result: dict[str, Any], message: list[str]) -> None:
    assert lines(result) == ["Train (on login):", *(f"  {line}" for line in message)]


def test_a_broken_module_is_called_a_defect() -> None:
    assert lines({"msg": "Task failed: Module failed: 'boom'"})[1:] == [
        "  Module failed: 'boom'",
        "  This is a bug in the module, not in your settings; -v shows where.",
    ]


def test_a_loop_gives_each_item_that_failed() -> None:
    result = {
        "msg": "One or more items failed",
        "results": [{"failed": True, "msg": "a"}, {"msg": "ok"}, {"failed": True, "msg": "b"}],
    }
    assert [failure.message for failure in failures("Train", "login", result)] == ["a", "b"]


def test_a_difference_of_mappings_is_one_of_each_of_their_texts() -> None:
    before = {"script": "#!/bin/sh\nold\n", "spec": {"a": 1, "b": 2}, "same": "x"}
    after = {"script": "#!/bin/sh\nnew\n", "spec": {"a": 1, "b": 3}, "same": "x", "more": ["/d"]}
    assert list(differences({"diff": {"before": before, "after": after}})) == [
        "--- before: script",
        "+++ after: script",
        "@@ -1,2 +1,2 @@",
        " #!/bin/sh",
        "-old",
        "+new",
        "--- before: spec",
        "+++ after: spec",
        "@@ -1,2 +1,2 @@",
        " a: 1",
        "-b: 2",
        "+b: 3",
        "--- before: more",
        "+++ after: more",
        "@@ -0,0 +1 @@",
        "+- /d",
    ]


def test_a_difference_of_texts_has_its_headers() -> None:
    part = {"before": "", "after": "x\n", "before_header": "/a", "after_header": "/a (new)"}
    assert list(differences({"diff": [part]}))[:2] == ["--- /a", "+++ /a (new)"]


@pytest.mark.parametrize(
    "result",
    [{}, {"diff": []}, {"diff": {}}, {"diff": {"before": None, "after": {}}}, {"results": []}],
)
def test_nothing_different_is_nothing_said(result: dict[str, Any]) -> None:
    assert list(differences(result)) == []


def test_a_prepared_difference_is_taken_as_it_is() -> None:
    assert list(differences({"diff": {"prepared": "+a\n-b\n"}})) == ["+a", "-b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0.0 s"), (0, "0.0 s"), (4.21, "4.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (42.4, "42 s"),
     (59.4, "59 s"), (59.96, "1m 00s"), (60, "1m 00s"), (65.9, "1m 05s"), (7384, "2h 03m")],
)  # fmt: skip
def test_a_duration_reads_alike_in_the_command_line_and_in_the_modules(
    seconds: float, text: str
) -> None:
    assert duration(seconds) == text_of_the_modules.duration(seconds) == text
