"""`-o json`: what is printed is what docs/json.md describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.runs.training_runs import (
    TrainingRun,
    comparison,
    described,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude

from mnrun.document import SCHEMA, document
from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

PAGE = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TYPES = {
    name: dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE))
    for name, text in SECTIONS.items()
}
PLAIN: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}
LOG = "total number of steps 16\nstep:1 - train/loss:6.5\nstep:16 - train/loss:0.5\n"


def check(value: Any, kind: str, where: str = "document") -> None:
    """Compare a value with a type of the page, and all that is in it."""
    if kind.startswith("list of "):
        assert isinstance(value, list), where
        for number, one in enumerate(value):
            check(one, kind.removeprefix("list of "), f"{where}[{number}]")
    elif kind.startswith("map of "):
        assert isinstance(value, dict), where
        for name, one in value.items():
            check(one, kind.removeprefix("map of "), f"{where}.{name}")
    elif kind.endswith(" or null"):
        if value is not None:
            check(value, kind.removesuffix(" or null"), where)
    elif kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{where}: {value!r} is not {kind}"
        assert isinstance(value, bool) == (kind == "boolean"), where
    else:
        assert list(value) == [name for name in TYPES[kind] if name in value], where
        optional = {"runs", "comparison", "findings", "ready"} if kind == "Document" else set()
        assert set(TYPES[kind]) - set(value) <= optional, where
        for name, one in value.items():
            check(one, TYPES[kind][name], f"{where}.{name}")


def found(run: Run) -> dict[str, Any]:
    client = SlurmClient(run.slurm, run.clock)
    return described(TrainingRun("default", run.folder), client, run.clock)


def made(command: str, *runs: dict[str, Any], compared: Any = ()) -> Any:
    text = document(command, "/site", 5.0, {"runs": list(runs), "comparison": list(compared)})
    assert text.isascii()
    read = json.loads(text, parse_constant=pytest.fail)
    check(read, "Document")
    return read


def finish(run: Run) -> None:
    write_step(run.rule.path, 16)
    run.slurm.end(run.job, "COMPLETED", "0:0")
    conclude(run.stage(checkpoints=run.rule), 1, 10)


def test_a_run_at_each_point_of_its_life_is_as_the_page_says(run: Run) -> None:
    assert made("status", {**found(run)})["runs"][0]["stages"] == []
    run.present(checkpoints=run.rule)
    (stage,) = made("status", found(run))["runs"][0]["stages"]
    assert (stage["phase"], stage["result"], stage["progress"]["step"]) == ("queued", None, None)
    run.slurm.run(run.job)
    run.log(LOG)
    (stage,) = made("status", found(run))["runs"][0]["stages"]
    assert (stage["phase"], stage["progress"]["step"]) == ("running", 16)
    finish(run)
    (stage,) = made("status", found(run))["runs"][0]["stages"]
    assert (stage["phase"], stage["result"]["step"]) == ("succeeded", 16)
    assert stage["result"]["metrics"] == {"first_loss": 6.5, "loss": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_null(run: Run, value: float) -> None:
    run.present(checkpoints=run.rule)
    one = found(run)
    one["stages"][0]["progress"]["metrics"] = {"loss": value}
    (stage,) = made("status", one)["runs"][0]["stages"]
    assert stage["progress"]["metrics"] == {"loss": None}


def test_options_and_the_use_of_gpus_are_in_it(run: Run) -> None:
    run.present(spec={"options": {"optim.lr": 0.1}})
    one = found(run)
    use = {"gpus": 8, "seconds": 60.0, "busy_percent": 83.0, "memory_mib": 9.5, "total_mib": 144}
    one["stages"][0]["gpus"] = {**use, "text": "83 % busy", "nodes": {}}
    one["stages"][0]["from"] = [{"stage": "sft", "job": "3", "fingerprint": "f"}]
    (stage,) = made("status", one)["runs"][0]["stages"]
    assert stage["options"] == {"optim.lr": 0.1}
    assert stage["gpus"] == use
    assert stage["from"] == [{"stage": "sft", "job": "3"}]


def test_a_damaged_record_is_in_it(run: Run) -> None:
    run.present()
    (record,) = run.folder.glob(".mnrun/sft/*/record.json")
    record.write_text("{")
    (damage,) = made("status", found(run))["runs"][0]["damaged"]
    assert damage["stage"] == "sft"


def test_two_runs_are_compared(run: Run) -> None:
    run.present()
    first, second = found(run), {**found(run), "name": "b"}
    second["stages"] = [{**second["stages"][0], "spec": {"lr": 0.2}}]
    read = made("runs", first, second, compared=comparison(first, second))
    (compared,) = read["comparison"]
    assert [line for line in compared["differences"] if "lr" in line]
    assert "comparison" not in made("status", first)


@pytest.mark.parametrize("options", [["--lr", "0.1"], None, "x"])
def test_options_that_are_no_mapping_are_left_out(run: Run, options: object) -> None:
    run.present(spec={"options": options})
    assert made("status", found(run))["runs"][0]["stages"][0]["options"] == {}


def test_the_page_names_the_version() -> None:
    assert f"`schema` is {SCHEMA}." in PAGE
    assert made("runs")["schema"] == SCHEMA


@pytest.mark.parametrize("fault", ["more", "less", "other"])
def test_what_differs_from_the_page_is_noticed(fault: str) -> None:
    hours: dict[str, Any] = {"used": 1.0, "reserved": 0.0}
    wrong = {"more": {**hours, "x": 1}, "less": {"used": 1.0}, "other": {**hours, "used": "1"}}
    check(hours, "Hours")
    with pytest.raises((AssertionError, KeyError)):
        check(wrong[fault], "Hours")


@pytest.mark.parametrize("level", ["ok", "warning", "fault"])
def test_the_document_of_a_doctor(level: str) -> None:
    one = {"level": level, "part": "data", "what": "é", "where": "x.yml:1", "write": "", "more": 1}
    text = document("doctor", "sandbox", 1.0, {"findings": [one]})
    found = json.loads(text)
    check(found, "Document")
    assert text.isascii()
    assert found["ready"] is (level != "fault")
    assert "more" not in found["findings"][0]
