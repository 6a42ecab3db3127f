"""The file of a sweep: which runs it makes, their names, and what is refused with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from mnrun.errors import UsageError
from mnrun.option_types import own_run_name
from mnrun.sweep.file import MOST, Sweep, read

GRID = """\
stage: all
at_most: 3
metric: val_loss
base:
  sft: {trainer.total_epochs: 1, optim.lr: 0.5}
  variables: {mnrun_nodes: 1}
grid:
  sft:
    optim.lr: [1e-5, 2.0e-5]
  ppo:
    data.train_batch_size: [32, 64]
  variables:
    ppo_algorithm: [grpo, rloo]
runs:
  - name: baseline
  - sft: {optim.lr: 1.0e-4}
    variables: {mnrun_nodes: 2}
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return tmp_path / "lr.yml"


def made(path: Path, text: str) -> Sweep:
    path.write_text(text)
    return read(path)


def refused(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read(path)
    lines = str(error.value).splitlines()
    assert lines.pop() == "Nothing was submitted."
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_grid_is_every_combination_and_a_list_comes_on_top(given: Path) -> None:
    found = made(given, GRID)
    assert (found.name, found.stage, found.at_most) == ("lr", "all", 3)
    assert (found.metric, found.best) == ("val_loss", "")
    assert len(found.runs) == 2 * 2 * 2 + 2
    assert found.runs[0].variables == {
        "mnrun_nodes": 1,
        "ppo_algorithm": "grpo",
        "sft_overrides": {"trainer.total_epochs": 1, "optim.lr": "1e-5"},
        "ppo_overrides": {"data.train_batch_size": 32},
    }
    baseline, last = found.runs[-2:]
    assert baseline.name == "lr-baseline"
    assert baseline.variables["sft_overrides"] == {"trainer.total_epochs": 1, "optim.lr": 0.5}
    assert last.variables["mnrun_nodes"] == 2
    assert last.variables["sft_overrides"] == {"trainer.total_epochs": 1, "optim.lr": 1.0e-4}


def test_names_are_legal_unique_and_those_of_yesterday(given: Path) -> None:
    names = [run.name for run in made(given, GRID).runs]
    assert len(set(names)) == len(names)
    for name in names:
        assert own_run_name(name) == name
    # Written down: another name would be another folder, and train again.
    assert names[0] == "lr-lr1e-05-train_batch_size32-ppo_a-a4f64b"


def test_a_name_depends_on_nothing_but_the_runs_own_options(given: Path) -> None:
    one = made(given, "stage: sft\ngrid: {sft: {a.lr: [1, 2], b.seed: [7]}}\n").runs[0].name
    text = "stage: sft\nbase: {sft: {c: 1}}\nruns: [{sft: {b.seed: '7', a.lr: 1.0}}]\n"
    assert made(given, text).runs[0].name[-6:] == one[-6:]
    assert made(given, "stage: sft\ngrid: {sft: {b.lr: [1], b.seed: [7]}}\n").runs[0].name != one


@pytest.mark.parametrize("value", ["a b/../c", "日本", "x" * 200, "", "-", "[1, 2]", "{a: 1}", "~"])
def test_any_value_makes_a_legal_name(given: Path, value: str) -> None:
    written = value if value[:1] in "[{~" and value else f'"{value}"'
    (run,) = made(given, f"stage: sft\nruns: [{{sft: {{x.y: {written}}}}}]\n").runs
    assert own_run_name(run.name) == run.name


def test_all_faults_are_named_at_once_each_with_its_line(given: Path) -> None:
    text = (
        "stage: sftt\nat_most: 0\nmetrics: loss\nbase:\n  sft: 3\ngrid:\n  sft:\n    lr: 1e-5\n"
        "runs:\n  - {naem: a}\n  - {name: 'a b'}\n"
    )
    assert [re.split(";|, digits", line)[0] for line in refused(given, text)] == [
        "1: stage is 'sftt'",
        "2: at_most is 0, which does not fit: How many runs at once, 1 to 64",
        "3: metrics is not a key of a sweep",
        "5: base.sft is 3",
        "8: grid.sft.lr is '1e-5'",
        "10: runs.0.naem is not a key of a sweep",
        "11: runs.1.name is 'a b', which does not fit: How the run's name ends: 1 to 39 letters",
    ]


def test_what_is_wrong_inside_is_named_beside_what_has_no_form(given: Path) -> None:
    text = """\
stage: sft
at_most: 0
grid: {sft: {lr: []}, ppo: {a: 3}}
base: {ppo: {a: 1}, variables: {mnrun_run_name: x, 1: 2}}
runs:
- {}
- 3
- naem: x
  sft: {d: 2026-01-01, e: .inf}
- {name: a}
- {name: a}
- {sft: ~}
- {}
stage: sft
"""
    assert [re.split("[;:] ", line)[1] for line in refused(given, text)] == [
        "at_most is 0, which does not fit",
        "grid.ppo.a is 3",
        "grid.sft.lr is empty",
        "base.ppo has no effect",
        "base.variables.1",
        "base.variables.mnrun_run_name cannot be set here",
        "runs.0 is empty",
        "runs.1 is 3",
        "runs.2.naem is not a key of a sweep",
        "runs.2.sft.d is a date to YAML",
        "runs.2.sft.e is inf, which is not a finite number.",
        "two runs would be lr-a",
        "runs.6 is empty",
        "stage is written twice.",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- stage: sft", "1: the sweep is [{'stage': 'sft'}]; it must be a mapping."),
        ("stage: sft\nruns: [{name: 1}]", "2: runs.0.name is 1; it must be a text, in quotes."),
        ("stage: sft\nruns:\n\t- name: a", "3: it is not YAML (found character '\\t' that cannot"),
        ("stage: sft\n---\nstage: ppo", "2: a second document begins here, and only one is read."),
        ("stage: sft\nname: a\x00", "2: the character 0x0 is not text."),
        ("a: &a {b: *a}", "1: it is nested too deeply, or an alias is inside of itself."),
        ("at_most: " + "9" * 5000, "1: it has a number of thousands of digits."),
        ("stage: sft\nruns: [{sft: {x: !!set {a}}}]", "2: runs.0.sft.x is binary data or a set to"),
        (
            "stage: sft\nruns: [{sft: {x: !!binary aGk=}}]",
            "2: runs.0.sft.x is binary data or a set",
        ),
        ("stage: sft\ngrid: {sft: {lr: ~}}\nruns: [{name: a}]", "2: grid.sft.lr is empty;"),
    ],
)
def test_an_ugly_file_is_refused_in_words(given: Path, text: str, words: str) -> None:
    given.write_text(text)
    with pytest.raises(UsageError, match="^" + re.escape(f"{given}:{words}")):
        read(given)


def test_a_few_lines_of_aliases_do_not_take_for_ever(given: Path) -> None:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    given.write_text("\n".join(["a0: &a0 [1]", *lines]))
    with pytest.raises(UsageError, match=r"its aliases make more than 100000 values of it\."):
        read(given)


def test_a_pipe_is_not_waited_for(given: Path) -> None:
    os.mkfifo(given)
    with pytest.raises(UsageError, match="it is not a regular file"):
        read(given)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("grid: {sft: {a: [1]}}", "1: stage is not set."),
        ("stage: sft", "1: it makes no run; give a grid, runs, or both."),
        ("", "1: stage is not set."),
        ("[1]", "1: the sweep is [1]; it must be a mapping."),
        ("stage: sft\ngrid:\n  sft:\n    a: []", "4: grid.sft.a is empty; it must be a list"),
        ("stage: sft\ngrid:\n  sft:\n    a:", "4: grid.sft.a is empty; it must be a list"),
        ("stage: sft\nruns:\n  -\n", "3: runs.0 is empty;"),
        ("stage: sft\nruns:\n  - ppo: {a: 1}", "3: runs.0.ppo has no effect: each run is only SFT"),
        ("stage: sft\ngrid: {sft: {a: [1, 2, 1.0]}}", "2: two runs would be lr-a1-"),
        ("stage: sft\ngrid: {sft: {a: [1]}}\nruns:\n- sft: {a: '1'}", "4: two runs would be lr-a1"),
        ("stage: sft\nruns:\n- {name: a}\n- {name: a}", "4: two runs would be lr-a: without"),
        (
            "stage: sft\nruns:\n- variables: {sft_wait: no}",
            "3: runs.0.variables.sft_wait cannot be",
        ),
        (
            "stage: sft\nbase:\n variables:\n  sft_overrides: {}\nruns: [{name: a}]",
            "4: base.variables.sft_overrides cannot be set here: write these options under sft.",
        ),
        ("stage: sft\ngrid:\n sft:\n  day: [2026-01-01]", "4: grid.sft.day is a date to YAML"),
        ("stage: sft\nstage: ppo\nruns: [{name: a}]", "2: stage is written twice."),
    ],
)
def test_what_a_file_may_not_say(given: Path, text: str, line: str) -> None:
    found = refused(given, text)
    assert any(one.startswith(line) for one in found), found


def test_a_grid_that_is_too_big_is_refused_with_its_count(given: Path) -> None:
    axes = ", ".join(f"x{n}: {list(range(10))}" for n in range(9))
    (line,) = refused(given, f"stage: sft\ngrid: {{sft: {{{axes}}}}}\n")
    assert line.startswith(f"2: it makes 1000000000 runs, and {MOST} is the most")


def test_a_file_whose_name_cannot_begin_a_runs_name_has_to_give_one(tmp_path: Path) -> None:
    path = tmp_path / "my sweep.yml"
    text = "stage: sft\nruns: [{name: a}]\n"
    assert refused(path, text)[0].startswith("1: name is not set, and 'my sweep' cannot begin")
    assert made(path, f"name: mine\n{text}").runs[0].name == "mine-a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"stage: [", ":1: it is not YAML"),
        (b"stage: \xff", ": it is not text in UTF-8"),
        (b"#" * 1024 * 1025, ": larger than 1 MiB"),
        (None, ": No such file or directory"),
    ],
)
def test_what_is_no_sweep_at_all(given: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        given.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(f"{given}{why}")):
        read(given)
