"""Reading Slurm's answers: what they say, and nothing that they do not say."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import JobRef, Phase
from ansible_collections.mnrun.train.plugins.module_utils.slurm.parse import (
    PHASE_OF,
    parse_history,
    parse_queue,
    parse_shown,
    parse_submitted,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.slurm_answers import HISTORY_HEAD, QUEUE_HEAD, SHOWN

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@pytest.mark.parametrize(
    ("out", "job"),
    [
        ("12\n", JobRef("12")),
        ("12;osk\n", JobRef("12", "osk")),
        ("Welcome!\n*** 3 days to maintenance ***\n12\n", JobRef("12")),
        ("12\nGood bye\n", JobRef("12")),
        ("  12  \r\n", JobRef("12")),
        ("12\n12\n", JobRef("12")),
        ("12\n500\n", None),
        ("3;osk\n12\n", None),
        ("12;-x\n", None),
        ("", None),
        ("0\n", None),
        ("Submitted batch job 12\n", None),
        ("12;\n", None),
        ("-12\n", None),
        ("12;a b\n", None),
    ],
)
def test_the_submitted_job_is_found_between_banners(out: str, job: JobRef | None) -> None:
    assert parse_submitted(out) == job


def test_a_queue_is_read_with_hostile_comments_and_banners() -> None:
    out = (
        f"Welcome|to|the|cluster\n{QUEUE_HEAD}\n"
        "12|RUNNING|None|1700000010|osk-gpu[94-95]|n-1|mnrun run=/a|b 'c' token=t0\n"
        "13|PENDING|Resources|N/A||n-2|(null)\n"
        "14_[1-3]|PENDING|Resources|N/A||array|\n"
        "cut|off\n"
    )
    rows = parse_queue(out)
    assert rows is not None
    assert [(r.job_id, r.phase, r.reason, r.start, r.nodes) for r in rows] == [
        ("12", Phase.RUNNING, "", 1700000010.0, "osk-gpu[94-95]"),
        ("13", Phase.QUEUED, "Resources", None, ""),
    ]
    assert rows[0].comment == "mnrun run=/a|b 'c' token=t0"


@pytest.mark.parametrize(
    "name",
    ["a\nb", "\n", "a\n9|RUNNING|None|1|n|n-9|c", "a|b|c", "a\n9\n", "\nJOBID|STATE|", "a\rb"],
)
def test_no_name_of_a_job_breaks_the_table_or_adds_a_row(name: str) -> None:
    bar = "|0a1b2c3d|"
    head = ["JOBID", "STATE", "REASON", "START_TIME", "NODELIST", "NAME", "COMMENT"]
    cells = [head, ["7", "RUNNING", "None", "1", "n1", name, name], [*["8", "PENDING"], "None",
             "N/A", "", "n-1", "token=t0"]]  # fmt: skip
    rows = parse_queue("".join(f"{bar.join(row)}\n" for row in cells), bar)
    assert rows is not None
    assert [(row.job_id, row.name) for row in rows] == [("7", name), ("8", "n-1")]
    assert rows[1].comment == "token=t0"
    past = [HISTORY_HEAD.split("|"), ["7", "COMPLETED", "0:0", *"123", "n1", name, name, name]]
    found = parse_history("".join(f"{bar.join(row)}\n" for row in past), bar)
    assert found is not None
    assert [(row.job_id, row.name, row.work_dir) for row in found] == [("7", name, name)]
    shown = parse_shown(SHOWN.replace("training_sft-0123abcd-1", name).replace("/home/a b", name))
    assert shown is None or shown.job_id == "7"


@pytest.mark.parametrize("out", ["", "\n", "Welcome\n", "12|RUNNING|None|1|n|n-1|c\n"])
def test_an_answer_without_its_header_is_none(out: str) -> None:
    assert parse_queue(out) is None
    assert parse_history(out) is None


def test_an_empty_queue_is_an_answer() -> None:
    assert parse_queue(f"{QUEUE_HEAD}\n") == []
    assert parse_history(f"{HISTORY_HEAD}\n") == []


def test_the_accounting_is_read() -> None:
    out = (
        f"{HISTORY_HEAD}\n"
        "7|CANCELLED by 2000|0:15|1700000000|1700000010|1700000020|n1|n-1|/a|b|run=/a|b token=t\n"
        "8|COMPLETED+|0:0|1700000000|Unknown|Unknown|None assigned|n-2|/a|\n"
    )
    rows = parse_history(out)
    assert rows is not None
    first, second = rows
    assert (first.state, first.reason, first.exit_code) == ("CANCELLED", "by 2000", 143)
    assert "token=t" in first.comment
    assert (second.phase, second.start, second.nodes) == (Phase.SUCCEEDED, None, "")
    assert (second.work_dir, second.comment) == ("/a", "")


def test_a_shown_job_is_read_with_spaces_in_its_paths() -> None:
    row = parse_shown(f"Welcome\n{SHOWN}")
    assert row is not None
    assert (row.job_id, row.name, row.state) == ("7", "training_sft-0123abcd-1", "FAILED")
    assert (row.exit_code, row.start, row.end) == (3, 1700000010.0, 1700000020.0)
    assert row.nodes == "osk-gpu[94-95]"


@pytest.mark.parametrize("out", ["", "JobId=", "JobId=x JobState=RUNNING", "JobId=7 JobName=a"])
def test_a_shown_job_that_is_cut_off_is_none(out: str) -> None:
    assert parse_shown(out) is None


def test_every_state_of_slurm_has_a_meaning() -> None:
    terminal = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY TIMEOUT "
    terminal += "PREEMPTED"
    live = "COMPLETING CONFIGURING PENDING RUNNING REQUEUED RESIZING SIGNALING SPECIAL_EXIT "
    live += "STAGE_OUT STOPPED SUSPENDED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD"
    assert all(PHASE_OF[state].ended for state in terminal.split())
    assert all(PHASE_OF[state].live for state in live.split())
    assert [state for state, phase in PHASE_OF.items() if phase is Phase.SUCCEEDED] == ["COMPLETED"]
    assert "REVOKED" not in PHASE_OF  # its sibling in another cluster of the federation lives


@given(TEXT)
def test_no_text_is_taken_for_a_job(text: str) -> None:
    job = parse_submitted(text)
    assert job is None or job.job_id in text
    for rows in (parse_queue(text), parse_history(text)):
        assert rows is None
    assert parse_shown(text) is None


@given(st.lists(st.text("0123456789|RUNINGCOMPLETED:,-n ", max_size=60), max_size=6))
def test_scrambled_tables_never_break_and_never_invent_ids(lines: list[str]) -> None:
    for head, parse in ((QUEUE_HEAD, parse_queue), (HISTORY_HEAD, parse_history)):
        rows = parse("\n".join([head, *lines, ""])) or []
        given_ids = [line.split("|")[0] for line in lines]
        assert all(row.job_id in given_ids for row in rows)
        assert all(row.phase is Phase.UNKNOWN or row.state in PHASE_OF for row in rows)


@given(st.integers(0, len(SHOWN)))
def test_a_shown_job_cut_anywhere_is_right_or_none(length: int) -> None:
    row = parse_shown(SHOWN[:length])
    assert row is None or (row.job_id, row.name) == ("7", "training_sft-0123abcd-1")
    assert row is None or row.phase in (Phase.FAILED, Phase.UNKNOWN)
