"""What playbooks deliver is what the command line reads."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.stage.status import Question, answer
from ansible_collections.mnrun.train.plugins.plugin_utils import stage_line as written

from mnrun.contract import Job, Progress, StageLine, StageStatus, stage_line, status, summary
from tests.helpers.stage_run import Run


def test_a_stage_is_returned_with_all_that_is_read_of_it(run: Run) -> None:
    run.present()
    (entry,) = answer(Question(run.folder), lambda _: run.stage().backend, run.clock).stages
    assert StageStatus.__required_keys__ <= set(entry)
    assert set(entry["job"]) == Job.__required_keys__
    assert set(entry["progress"]) <= Progress.__optional_keys__


@pytest.mark.parametrize("text", ["job 12 RUNNING · step 1/2", "", "a: b.", "[rank 0] one"])
def test_a_line_that_a_plugin_writes_is_read(text: str) -> None:
    assert stage_line(written.lasting("sft", text)) == StageLine("sft", text, passing=False)
    assert stage_line(written.passing("sft", text)) == StageLine("sft", text, passing=True)


@pytest.mark.parametrize("line", ["", "ok: [login]", "[ERROR]: no", "[sft]x", " [sft] x"])
def test_other_lines_are_left_alone(line: str) -> None:
    assert stage_line(line) is None


def test_results_of_tasks() -> None:
    assert summary({"summary": ["a"]}) == ["a"]
    assert summary({"msg": "x"}) == []
    assert status({"mnrun_status": []}) == []
    assert status({"msg": "x"}) is None
