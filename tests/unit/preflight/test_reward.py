"""A reward function of a user's own, imported for real: what is reported, with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, run
from ansible_collections.mnrun.train.plugins.module_utils.preflight.reward import (
    PATIENCE,
    Verdict,
    try_reward,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.own_files import own_reward
from ansible_collections.mnrun.train.plugins.module_utils.trainer.reads import OwnReward

OPTION = "custom_reward_function"
GOOD = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1"


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {
        f"{OPTION}.path": str(path),
        f"{OPTION}.name": "compute_score",
        "reward_model.reward_manager": "naive",
        **more,
    }


def getter(given: dict[str, Any]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        return given.get(name)

    return get


def tried(
    path: Path, text: str, activation: str = "", more: dict[str, Any] | None = None
) -> Verdict:
    path.write_text(text)
    given = options(path, **(more or {}))
    own = own_reward(getter(given))
    assert own
    return try_reward(own, activation, run)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my reward.py"


@pytest.fixture
def activation(tmp_path: Path) -> str:
    """A script that jobs source."""
    script = tmp_path / "activate.sh"
    script.write_text(
        f"export PYTHONPATH={tmp_path}/lib PATH={Path(__file__).parents[3]}/.venv/bin:$PATH\n"
    )
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "of_the_site.py").write_text("one = 1\n")
    return str(script)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "async " + GOOD,
        "def compute_score(**given): return 0",
        "print('hello'); import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n" + GOOD,
        "import functools\ndef f(a, **given): pass\ncompute_score = functools.partial(f, 1)",
        "class C:\n    def __call__(self, data_source, **more): pass\ncompute_score = C()",
    ],
)
def test_a_function_that_the_trainer_can_call_passes(path: Path, text: str) -> None:
    assert tried(path, text) == Verdict()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n\ndef compute_score(:\n", 3, "SyntaxError: invalid syntax"),
        ("x = 1\nimport math, no_such_thing\n" + GOOD, 2, "No module named 'no_such_thing'"),
        ("x = 1\ny = z\n" + GOOD, 2, "NameError: name 'z' is not defined"),
        (
            "\ndef compute_score(solution, truth): pass",
            2,
            "missing a required argument: 'solution'",
        ),
        ("\ndef compute_score(data_source): pass", 2, "unexpected keyword argument 'solution_str'"),
    ],
)
def test_what_the_trainer_would_fail_at_is_told_with_its_line(
    path: Path, activation: str, text: str, line: int, words: str
) -> None:
    found = tried(path, text, activation)
    assert found.fault.startswith(f"{path}:{line}: ")
    assert words in found.fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def compute(): pass", "compute_score, which"),
        ("def compute(): pass", "does not define; it has compute"),
        ("x = 1", "it defines none"),
        ("compute_score = 3", "is no function but int"),
    ],
)
def test_what_is_not_there(path: Path, text: str, words: str) -> None:
    assert words in tried(path, text).fault


def test_it_is_called_as_its_reward_manager_calls_it(path: Path) -> None:
    batch = "def compute_score(data_sources, solution_strs, ground_truths, extra_infos): pass"
    prime = "def compute_score(task, completion, reference, info): pass"
    name = "reward_model.reward_manager"
    assert tried(path, batch, more={name: "batch"}) == Verdict()
    assert tried(path, GOOD, more={name: "batch"}).fault
    assert tried(path, prime, more={name: "prime"}) == Verdict()
    assert tried(path, prime).fault
    assert tried(path, prime, more={name: "of_my_own"}) == Verdict()


def test_further_arguments_of_the_options_are_passed(path: Path) -> None:
    more = {f"{OPTION}.reward_kwargs": {"weight": 2}}
    assert "unexpected keyword argument 'weight'" in tried(path, GOOD, more=more).fault
    assert tried(path, GOOD.replace("=None", "=None, weight=1"), more=more) == Verdict()


def test_options_of_a_newer_trainer(path: Path) -> None:
    path.write_text(GOOD)
    given = {f"reward.{OPTION}.path": str(path), "reward.reward_manager.name": "dapo"}
    own = own_reward(getter(given))
    assert own
    assert (own.name, own.option) == ("compute_score", f"reward.{OPTION}.name")
    assert own.names[0] == "data_source"
    assert own_reward(lambda _: None) is None
    assert own_reward(lambda name: "pkg://a.b" if name.endswith("path") else None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('No CUDA GPUs are available')", "CUDA GPUs are available; on a comp"),
        ("open('/no/such/file')", "No such file or directory: '/no/such/file'; on a compute node"),
        ("import os; os._exit(7)", "ended the Python that imported it"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_what_may_be_different_in_a_job_is_a_warning(path: Path, text: str, words: str) -> None:
    found = tried(path, text + "\n" + GOOD)
    assert found.fault == ""
    assert words in found.warning


def test_it_has_what_jobs_have_and_without_their_script_nothing_is_missing(
    path: Path, activation: str
) -> None:
    text = "import of_the_site\n" + GOOD
    assert tried(path, text, activation) == Verdict()
    without = tried(path, text)
    assert without.fault == ""
    assert "No module named 'of_the_site'; on a compute node" in without.warning


def test_its_time_is_bounded(path: Path) -> None:
    def slow(_command: list[str], seconds: float, _stdin: str) -> Result:
        assert seconds == PATIENCE
        return Result(None, "", "")

    found = try_reward(OwnReward(str(path), "f", "o"), "", slow)
    assert "was not imported within 60 s" in found.warning
