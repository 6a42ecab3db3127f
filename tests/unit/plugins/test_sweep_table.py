"""The table of a sweep: the best run first, and each run in it."""

from __future__ import annotations

from typing import Any

from ansible_collections.mnrun.train.plugins.filter.sweep_table import sweep_table


def entry(stage: str = "sft", state: str = "COMPLETED", **metrics: float) -> dict[str, Any]:
    progress = {"step": 3, "total": 4, "metrics": metrics}
    return {"stage": stage, "job": {"state": state, "start": 1.0}, "progress": progress}


def table(runs: dict[str, list[dict[str, Any]]], **given: str) -> list[str]:
    """The table of these runs and of one more, `none`, that has not started."""
    sweep = {
        "metric": "",
        "best": "",
        "axes": ["lr"],
        "runs": [{"name": name, "values": [f"{at}"]} for at, name in enumerate([*runs, "none"])],
        **given,
    }
    found = [{"name": name, "stages": stages} for name, stages in runs.items()]
    return sweep_table({"runs": found}, sweep)


def order(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[1:]]


def test_the_lowest_loss_is_the_best_and_what_has_none_comes_last() -> None:
    runs = {
        "a": [entry(loss=2.0, first_loss=9.0)],
        "b": [entry(loss=float("nan"))],
        "c": [entry(state="FAILED")],
        "d": [entry(loss=1.0)],
    }
    lines = table(runs)
    assert lines[0].split() == ["RUN", "lr", "STATE", "loss"]
    assert order(lines) == ["d", "a", "b", "c", "none"]
    assert lines[1].split() == ["d", "3", "sft", "3/4", "1"]
    assert lines[4].split() == ["c", "2", "sft", "3/4", "FAILED", "-"]
    assert lines[5].split() == ["none", "4", "not", "started", "-"]
    # The same runs in the same order, however they were read.
    assert table(dict(reversed(runs.items())))[1].split()[0] == "d"


def test_the_highest_of_anything_else_unless_the_file_says_otherwise() -> None:
    runs = {"a": [entry(reward=0.1, loss=1.0)], "b": [entry(reward=0.9, loss=2.0)]}
    assert order(table(runs)) == ["b", "a", "none"]
    assert order(table(runs, best="lowest")) == ["a", "b", "none"]
    assert order(table(runs, metric="loss")) == ["a", "b", "none"]
    assert order(table(runs, metric="loss", best="highest")) == ["b", "a", "none"]


def test_a_later_stages_metric_counts_and_a_result_before_a_log() -> None:
    score = {**entry("convert-ppo"), "output": {"metrics": {"reward": 0.7}}}
    (_head, row, _none) = table({"a": [entry(reward=0.1), score, entry("ray")]})
    assert row.endswith("0.7")
    assert "ray" not in row


def test_a_metric_that_no_run_has_is_told_with_those_that_there_are() -> None:
    lines = table({"a": [entry(loss=1.0)]}, metric="acc")
    assert lines[-1] == "No run has the metric acc. There are: loss."


def test_before_anything_has_run() -> None:
    lines = table({})
    assert lines == ["RUN   lr  STATE", "none  0   not started"]
