"""Answers that are cut off, interleaved, in other languages, behind banners, or plain hostile:
nothing crashes, and nothing is guessed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Damaged, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.logfile import clean_lines, news
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.base.text import duration
from ansible_collections.mnrun.train.plugins.module_utils.ray.backend import RayBackend, RayJob
from ansible_collections.mnrun.train.plugins.module_utils.ray.client import Answer, RayClient
from ansible_collections.mnrun.train.plugins.module_utils.ray.head import Heads, ask_slurm
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.job_report import (
    given_up,
    read_end,
    read_start,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.record.ray_head import (
    HEAD_OPTIONS,
    Head,
    read_head,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.capacity import survey
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.slurm.parse import (
    parse_history,
    parse_queue,
    parse_shown,
    parse_submitted,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.refusal import explain, never_starts
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import (
    parse,
    read_progress,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.telling import find_telling
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers.fake_slurm import FakeClock
from tests.helpers.ray_heads import a_head
from tests.helpers.slurm_answers import HISTORY_HEAD, QUEUE_HEAD, SHOWN
from tests.helpers.training_logs import PPO, SFT

NAME = "n-1"
QUEUE = (
    f"{QUEUE_HEAD}\n12|RUNNING|None|1700000010|osk-gpu[94-95]|{NAME}|mnrun run=/run token=t0\n"
    "13|PENDING|Resources|N/A||n-2|(null)\n14_[1-3]|PENDING|Priority|N/A||array|\n"
)
HISTORY = (
    f"{HISTORY_HEAD}\n"
    f"12|COMPLETED|0:0|1700000000|1700000010|1700000020|osk-gpu94|{NAME}|/run|token=t0\n"
    "13|CANCELLED by 2000|0:15|1700000000|Unknown|1700000020|None assigned|n-2|/a|b|\n"
)
SHOWN_12 = SHOWN.replace("JobId=7 JobName=training_sft-0123abcd-1", f"JobId=12 JobName={NAME}")
SINFO = "gpu*|2|7-00:00:00\ndebug|1|30:00\n"
NODES = "osk-gpu94|gpu|64|2000000|gpu:8(S:0-1)|idle\nosk-gpu95|gpu|64|2000000|gpu:8|mixed\n"
PARTITIONS = "PartitionName=gpu Default=YES MaxNodes=UNLIMITED MaxTime=7-00:00:00 State=UP\n"
BANNER = "*** Wartung am 3. März! 保守作業 ***\n| 5 | Tage |\n"
ERROR = "slurm_load_jobs error: Socket timed out on send/recv operation\n"
GERMAN = "Ungültige Auftragsnummer angegeben\n²|RUNNING|x|٣|y|n-1|token=t0\n"
TEXTS = [QUEUE, HISTORY, SHOWN_12, SINFO, NODES, PARTITIONS, BANNER, ERROR, GERMAN, "12\n",
         "12;osk\n", SFT, PPO]  # fmt: skip

HOSTILE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def damaged(draw: st.DrawFn, *texts: str) -> str:
    """One or two texts: cut off, interleaved, repeated, with characters changed."""
    text = draw(st.sampled_from(texts or TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(["cut", "behead", "insert", "change", "shuffle"]))
        if kind == "cut":
            text = text[:at]
        elif kind == "behead":
            text = text[at:]
        elif kind == "insert":
            other = draw(st.sampled_from(TEXTS))
            text = text[:at] + other[: draw(st.integers(0, len(other)))] + text[at:]
        elif kind == "change":
            text = text[:at] + draw(st.text(max_size=3)) + text[at + 1 :]
        else:
            text = "\n".join(draw(st.permutations(text.split("\n"))))
    return text


ANY = damaged() | st.text(max_size=300)
CODES = st.sampled_from([0, 0, 0, 1, 127, -9, None])
RESULTS = st.builds(Result, CODES, ANY, ANY)


def attempt(job_id: str = "12") -> Attempt:
    return Attempt(1, "t0", NAME, 1_699_999_990.0, job_id=job_id)


def answering(answers: dict[str, Result]) -> Callable[[list[str], float, str], Result]:
    return lambda command, _seconds, _stdin: answers[command[0]]


def slurm(**answers: Result) -> SlurmClient:
    return SlurmClient(answering(answers), FakeClock())


# what is printed


@HOSTILE
@given(ANY)
def test_no_parser_of_slurm_s_answers_breaks_or_invents(text: str) -> None:
    job = parse_submitted(text)
    assert job is None or f"{job.job_id}" in [cell for line in text.splitlines()
                                              for cell in line.strip().split(";")]  # fmt: skip
    for rows in (parse_queue(text), parse_history(text)):
        for row in rows or []:
            assert int(row.job_id) > 0
            assert row.job_id.isascii()
            assert f"{row.job_id}|{row.state}" in text
            assert row.phase is Phase.UNKNOWN or row.state.isascii()
    shown = parse_shown(text)
    assert shown is None or f"JobId={shown.job_id} " in text


@HOSTILE
@given(st.integers(0, 40))
def test_a_job_id_that_was_cut_off_is_none(length: int) -> None:
    job = parse_submitted("Welcome!\n123456;osk-cluster\n"[:length])
    assert job is None or (job.job_id, job.slurm_cluster) == ("123456", "osk-cluster")


@pytest.mark.parametrize(("text", "parse"), [(QUEUE, parse_queue), (HISTORY, parse_history)])
def test_a_table_that_was_cut_off_is_no_answer(
    text: str, parse: Callable[[str], list[Any] | None]
) -> None:
    """Else a job below the cut would surely not be there."""
    whole = parse(text)
    assert whole
    ends = [n for n, character in enumerate(text, 1) if character == "\n"]
    for length in range(len(text)):
        rows = parse(text[:length])
        assert rows is None or length in ends
        assert all(row in whole for row in rows or [])


def test_a_table_with_a_broken_line_of_a_job_is_no_answer() -> None:
    broken = QUEUE.replace("13|PENDING|Resources", "13|PEND\nslurm: error|ING|Resources")
    assert parse_queue(broken) is None
    assert parse_history(HISTORY.replace("|0:15|", "\n")) is None


def test_a_job_that_was_cut_off_is_not_shown() -> None:
    assert parse_shown(SHOWN_12)
    assert all(parse_shown(SHOWN_12.rstrip()[:length]) is None for length in range(len(SHOWN_12)))


# what is made of it


@HOSTILE
@given(RESULTS, RESULTS, RESULTS)
def test_no_answer_is_taken_for_the_state_of_a_job(
    tmp_path: Path, squeue: Result, scontrol: Result, sacct: Result
) -> None:
    backend = SlurmBackend(
        slurm(squeue=squeue, scontrol=scontrol, sacct=sacct), SlurmJob(Path("/run"), "sft")
    )
    seen = backend.observe(tmp_path, attempt())
    whole = [r.out for r in (squeue, scontrol, sacct) if r.code == 0]
    if seen.phase is Phase.GONE:
        assert "Invalid job id specified" in scontrol.out + scontrol.err
        assert sacct.code == 0
    elif seen.known:
        assert any("12" in text and NAME in text and seen.state in text for text in whole)
    found = backend.find(tmp_path, attempt(""))
    if found.job:
        assert any(found.job.job_id in text and NAME in text for text in whole)
    elif found.sure:
        assert (squeue.code, sacct.code) == (0, 0)
        assert QUEUE_HEAD[:12] in squeue.out


@HOSTILE
@given(RESULTS, RESULTS)
def test_what_slurm_says_of_its_partitions_breaks_nothing(sinfo: Result, scontrol: Result) -> None:
    client = slurm(sinfo=sinfo, scontrol=scontrol, sacctmgr=sinfo)
    options = {"nodes": "2", "time": "10", "partition": "gpu"}
    wrong = never_starts(options, client)
    assert wrong == "" or "so nothing was submitted" in wrong
    assert explain(f"{sinfo.err}\nsbatch: error: invalid partition specified: x", options, client)
    try:
        partitions = survey(client)
    except Unknown:
        return
    assert all(name in scontrol.out for name in partitions)


def test_broken_lines_of_sinfo_are_passed_over() -> None:
    broken = f"{BANNER}{NODES}cut|gpu|sixty\n"
    shown, none = Result(0, BANNER + PARTITIONS, ""), Result(1, "", "no accounting")
    client = slurm(sinfo=Result(0, broken, ""), scontrol=shown, sacctmgr=none)
    assert [node.name for node in survey(client)["gpu"].nodes] == ["osk-gpu94", "osk-gpu95"]
    assert "partition gpu allows 2" in never_starts({"nodes": "3"}, client)


# what Ray answers

MARKED = "mnrun run=/r stage=ppo fp=0a1b2c3d4e5f attempt=1 token=t0"
JOB = json.dumps({"status": "RUNNING", "start_time": 1700000000000, "metadata":
                  {"mnrun_mark": MARKED}, "driver_exit_code": None, "message": "x"})  # fmt: skip
KEYS = [
    "status",
    "metadata",
    "mnrun_mark",
    "start_time",
    "end_time",
    "message",
    "driver_exit_code",
    "job_id",
    "token",
    "exit_code",
    "start",
    "end",
    *HEAD_OPTIONS,
    "address",
    "nodes",
    "allreduce",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)
BODIES = damaged(JOB) | JSON.map(json.dumps) | ANY
ANSWERS = st.builds(Answer, st.sampled_from([200, 200, 404, 500, None]), BODIES)


@HOSTILE
@given(ANSWERS, RESULTS, RESULTS)
@example(Answer(200, '{"status": null, "metadata": true}'), Result(0, "", ""), Result(0, "", ""))
def test_no_answer_of_ray_is_taken_for_the_state_of_a_job(
    tmp_path: Path, answer: Answer, scontrol: Result, sacct: Result
) -> None:
    client = slurm(scontrol=scontrol, sacct=sacct, squeue=scontrol, sinfo=sacct)
    ray = RayClient(lambda *_arguments: answer)
    backend = RayBackend(
        ray,
        RayJob(tmp_path, "ppo", head_job="9"),
        ask_slurm(client, tmp_path),
        Heads(client, tmp_path),
    )
    ours = attempt("n-1")
    ours.head_job = "9"
    seen = backend.observe(tmp_path, ours)
    if seen.phase is Phase.GONE:
        assert answer.status in (404, None)  # None: nobody listens, and Slurm says why
    elif seen.known:
        assert (answer.status, seen.state in answer.body) == (200, True)
    found = backend.find(tmp_path, attempt(""))
    assert not found.job or "t0" in answer.body
    ours.head_job = "8"
    assert backend.observe(tmp_path, ours).phase in (Phase.UNKNOWN, Phase.GONE, Phase.QUEUED)


# what lies in files

END = json.dumps({"job_id": "12", "token": "t0", "host": "n", "start": 1700000000,
                  "end": 1700000020, "exit_code": 0})  # fmt: skip
FILES = damaged(END) | JSON.map(json.dumps) | ANY


@HOSTILE
@given(FILES, FILES)
def test_no_record_of_a_job_breaks_or_says_what_it_does_not_say(
    tmp_path: Path, begun: str, ended: str
) -> None:
    (tmp_path / "start-1.json").write_text(begun, "utf-8", "surrogatepass")
    (tmp_path / "end-1.json").write_text(ended, "utf-8", "surrogatepass")
    started = read_start(tmp_path, attempt(""))
    assert started is None or ("t0" in begun and started.job_id in begun)
    assert given_up(tmp_path, attempt()) in (True, False)
    end = read_end(tmp_path, attempt())
    if end:
        assert "t0" in ended
        assert str(end.exit_code) in ended
        times = [value for value in (end.start, end.end) if value is not None]
        assert all(math.isfinite(value) for value in times)
        assert all(duration(value) for value in times)


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-1e999", "1" + "0" * 400, "true", '"0"', "[]", "null", "[" * 100_000],
    ids=lambda value: value[:8],
)
def test_an_end_with_an_odd_number_is_none_or_has_no_time(tmp_path: Path, value: str) -> None:
    path = tmp_path / "end-1.json"
    path.write_text(f'{{"job_id": "12", "token": "t0", "exit_code": 0, "start": {value}}}')
    end = read_end(tmp_path, attempt())
    assert end is None or end.start is None
    path.write_text(f'{{"job_id": "12", "token": "t0", "exit_code": {value}, "start": 1}}')
    end = read_end(tmp_path, attempt())
    assert end is None


RECORD = Record("sft", "slurm", fingerprint({"lr": 0.1}), {"lr": 0.1}, {}, [attempt()])


def a_record(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path, "sft", FakeClock())
    ledger.save(RECORD)
    return ledger.folder(RECORD.fingerprint) / "record.json"


@HOSTILE
@given(st.data())
def test_a_damaged_record_is_right_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = a_record(tmp_path)
    text = path.read_text()
    hostile = damaged(text) | JSON.map(json.dumps)
    path.write_text(data.draw(hostile), "utf-8", "surrogatepass")
    try:
        record = Ledger(tmp_path, "sft", FakeClock()).load(RECORD.fingerprint)
    except Damaged:
        return
    assert record == RECORD


HEAD = json.dumps({**a_head(Path("/run/.mnrun/ray/0a1b2c"), "9"), "nodes": ["n1"], "gpus": 2})


@HOSTILE
@given(damaged(HEAD) | FILES)
def test_a_head_that_is_not_whole_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text, "utf-8", "surrogatepass")
    found = read_head(tmp_path)
    assert found is None or found.head == Head.of(vars(found.head))


@HOSTILE
@given(damaged(SFT, PPO) | ANY | st.binary(max_size=300))
def test_no_log_breaks_the_reading_of_it(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "log"
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    shown = data.decode("utf-8", "replace")
    progress = read_progress([path])
    for number in (parse(shown).step, progress.step, progress.total):
        assert number is None or str(number) in shown
    assert all(math.isfinite(value) for value in progress.metrics.values())
    find_telling([path])
    clean_lines(shown)
    lines, offset, _skipped = news(path, 0)
    assert 0 <= offset <= len(data)
    assert all(isinstance(line, str) for line in lines)
