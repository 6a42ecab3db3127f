"""Watching a Ray cluster: what keeps it from being whole, and what ends it."""

from __future__ import annotations

import signal
import time
from typing import Any

import cluster_net
import cluster_step
import cluster_watch
import pytest
from cluster_errors import ClusterError

from tests.helpers.cluster_plan import make_plan

# judgement


def _node(name: str, gpus: float = 8, state: str = "ALIVE") -> dict[str, Any]:
    return {"node_name": name, "state": state, "resources_total": {"GPU": gpus, "CPU": 64}}


def test_a_cluster_is_whole_with_all_nodes_and_gpus() -> None:
    assert cluster_watch.node_faults(["a", "b"], 8, [_node("b"), _node("a"), _node("x", 1)]) == {}


def test_each_node_that_keeps_it_from_being_whole_is_named() -> None:
    seen = [_node("a", gpus=4), _node("b", state="DEAD"), _node("d")]
    assert cluster_watch.node_faults(["a", "b", "c", "d"], 8, seen) == {
        "a": "has 4 GPUs, 8 expected",
        "b": "Ray has not joined",
        "c": "Ray has not joined",
    }


def test_no_gpus_may_be_what_is_expected() -> None:
    assert (
        cluster_watch.node_faults(["a"], 0, [{**_node("a"), "resources_total": {"CPU": 1}}]) == {}
    )


@pytest.mark.parametrize(
    ("statuses", "busy"),
    [
        ([], False),
        (["SUCCEEDED", "FAILED", "STOPPED"], False),
        (["SUCCEEDED", "RUNNING"], True),
        (["PENDING"], True),
    ],
)
def test_it_is_busy_while_a_job_runs_or_is_about_to(statuses: list[str], busy: bool) -> None:
    assert cluster_watch.is_busy([{"status": status} for status in statuses]) is busy


# watching


class _Watched(cluster_watch.ClusterWatch):
    """A cluster in which time passes by waiting only, until a signal at the end."""

    def __init__(self, dashboard: _Dashboard, life: float) -> None:
        self._plan = make_plan(log_dir="/nowhere")
        self._nodes = ["osk-gpu94"]
        self._dashboard = dashboard
        self.life = life
        self.time = 0.0

    def wait(self, seconds: float) -> str | None:
        assert seconds >= 0.2, "that keeps a core busy"
        self.time += seconds
        return "asked to" if self.time >= self.life else None


class _Dashboard(cluster_net.Dashboard):
    """Answers that no job runs, or nothing."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent
        self.lost = False
        self.answers: list[list[dict[str, Any]]] = []

    def jobs(self) -> list[dict[str, Any]]:
        if self.silent:
            raise cluster_net.NoAnswerError("refused")
        return self.answers.pop(0) if self.answers else []

    def nodes(self) -> list[dict[str, Any]]:
        if self.silent:
            raise cluster_net.NoAnswerError("refused")
        return [_node("osk-gpu94", state="DEAD" if self.lost else "ALIVE")]


def _watch(
    monkeypatch: pytest.MonkeyPatch, idle_timeout: float, life: float, silent: bool
) -> tuple[str, float]:
    """Why it ends, and after how many seconds."""
    watched = _Watched(_Dashboard(silent), life)
    monkeypatch.setattr(time, "monotonic", lambda: watched.time)
    try:
        return watched.until_idle(idle_timeout, idle_timeout), watched.time
    except ClusterError as error:
        return str(error), watched.time


def test_an_idle_timeout_of_0_means_never(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _watch(monkeypatch, 0, 90000, silent=False)[0] == "asked to"
    assert "has run for 600 s" in _watch(monkeypatch, 600, 90000, silent=False)[0]


@pytest.mark.parametrize("idle_timeout", [0, 30, 86400])
def test_a_head_is_given_up_after_a_time_of_its_own(
    monkeypatch: pytest.MonkeyPatch, idle_timeout: float
) -> None:
    why, after = _watch(monkeypatch, idle_timeout, 90000, silent=True)
    assert "has not answered for 600 s (refused)" in why
    assert after == pytest.approx(605, abs=10)


def test_a_cluster_that_was_used_lingers_for_a_time_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard = _Dashboard(silent=False)
    watched = _Watched(dashboard, 9000)
    monkeypatch.setattr(time, "monotonic", lambda: watched.time)
    running, over = [{"status": "RUNNING"}], [{"status": "SUCCEEDED"}]
    dashboard.answers = [[], [], running, running, *[over] * 50]
    assert watched.until_idle(600, 60) == "no Ray job has run for 60 s (ray_cluster_ppo_linger)"
    assert 90 < watched.time < 115
    nobody = _Watched(_Dashboard(silent=False), 9000)
    monkeypatch.setattr(time, "monotonic", lambda: nobody.time)
    assert "for 600 s (ray_cluster_idle_timeout)" in nobody.until_idle(600, 60)


def test_a_node_that_ray_has_lost_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = _Dashboard(silent=False)
    dashboard.lost = True
    watched = _Watched(dashboard, 9000)
    monkeypatch.setattr(time, "monotonic", lambda: watched.time)
    with pytest.raises(ClusterError, match="osk-gpu94: Ray has lost it") as caught:
        watched.until_idle(600, 60)
    assert caught.value.nodes == ["osk-gpu94"]


class _Words:
    """What nodes say, and signals, each after so many seconds, which pass by waiting only."""

    def __init__(self, *words: tuple[float, str | signal.Signals]) -> None:
        self.words = list(words)
        self.time = 0.0

    def wait(self, seconds: float, _: Any) -> tuple[list[signal.Signals], bool]:
        until = self.time + max(0.0, seconds)
        if not self.words or self.words[0][0] > until:
            self.time = until
            return [], False
        self.time, word = self.words[0]
        if isinstance(word, str):
            return [], True
        self.words.pop(0)
        return [word], False

    def readline(self) -> bytes:
        return f"{self.words.pop(0)[1]}\n".encode()


@pytest.mark.parametrize(
    ("words", "nodes", "seconds"),
    [
        ([(5, "a failed none"), (20, "b failed none"), (25, "c checked")], ["a", "b"], 25),
        ([(1, "c checked"), (5, "a failed none"), (7, "b checked")], ["a"], 9),
        ([(5, "a failed none"), (6, "b failed none"), (7, "c failed none")], ["a", "b", "c"], 7),
        ([(5, "a failed none"), (90, "b failed none")], ["a"], 35),  # hangs
        ([(5, "a failed none"), (6, signal.SIGTERM), (20, "b failed none")], ["a"], 6),
    ],
)
def test_nodes_that_have_said_nothing_are_waited_for(
    words: list[tuple[float, str | signal.Signals]],
    nodes: list[str],
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: Any = _Words(*words)
    monkeypatch.setattr(time, "monotonic", lambda: said.time)
    step = cluster_step.Step(said, said, said)
    plan = make_plan(log_dir="/nowhere")
    watched = cluster_watch.ClusterWatch(plan, ["a", "b", "c"], step, said, _Dashboard(silent=True))
    with pytest.raises(ClusterError, match=r"is lost\.\na: none") as caught:
        watched.until_ready(300)
    assert caught.value.nodes == nodes
    assert said.time == pytest.approx(seconds)
