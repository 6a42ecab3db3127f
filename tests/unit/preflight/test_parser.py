"""Options checked by a program's own parser, which is started for real as far as that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, run
from ansible_collections.mnrun.train.plugins.module_utils.preflight.parser import (
    PATIENCE,
    Findings,
    parser_findings,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.option_syntax import formed

GOOD = {"model": "/m", "lr": "1e-5", "steps": 8, "optim": "adamw"}
NOT_FALSE = "another form, as false gives nothing and its default is true"
SCRIPT = """
import argparse, enum, sys
parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--lr", type=float)
parser.add_argument("--steps", type=int)
parser.add_argument("--optim", choices=["adamw", "sgd"])
parser.add_argument("--fast", action="store_true")
parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--columns", nargs="+", type=int)
either = parser.add_mutually_exclusive_group()
either.add_argument("--epochs", type=int)
either.add_argument("--tokens", type=int)
args = parser.parse_args()
open(sys.argv[0] + ".ran", "w")
"""
# A parser that makes an object of its options, and takes a file before any of them.
OF_CLASSES = """
import argparse, dataclasses, json, sys

@dataclasses.dataclass
class Options:
    model: str
    steps: int = 1
    bf16: bool = False
    every: int = 1
    layers: dict = None

    def __post_init__(self):
        if self.steps % self.every:
            raise ValueError("steps must be a multiple of every")
        if self.bf16:
            raise ValueError("Your setup does not support bf16/gpu.")

class Parser(argparse.ArgumentParser):
    dataclass_types = [Options]

parser = Parser()
for name, kind in (("model", str), ("steps", int), ("every", int), ("bf16", bool), ("layers", str)):
    parser.add_argument("--" + name, type=kind, required=name == "model")
parser.set_defaults(**json.load(open(sys.argv[sys.argv.index("--config") + 1])))
parser.parse_known_args([])
raise SystemExit("it ran on")
"""


def tried(
    script: Path, options: dict[str, Any], syntax: str = "flags", activation: str = "", **more: Any
) -> Findings:
    form = formed(syntax, options)
    parse = {
        "program": str(script),
        "text": "",
        "syntax": syntax,
        "options": options,
        "owned": ["model"],
        "arguments": form.arguments,
        "file_option": "--config",
        "file": form.files.get("options.json", ""),
    }
    return parser_findings({**parse, **more}, activation, run)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def of_classes(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(OF_CLASSES)
    return path


def test_it_gets_no_further_than_its_options(script: Path) -> None:
    more = {"fast": True, "keep": True, "columns": [1, 2], "epochs": None, "tokens": 5}
    assert tried(script, {**GOOD, **more}) == Findings([], [])
    assert not Path(f"{script}.ran").exists()


def test_all_faults_at_once_with_the_nearest_names(script: Path) -> None:
    bad = {"optm": "sgd", "lr": "fast", "steps": 2.5, "optim": "adam", "fast": "often",
           "keep": False, "columns": ["a"], "epochs": 1, "tokens": 2, "zzz": 0}  # fmt: skip
    found = tried(script, {**GOOD, **bad})
    assert sorted(found.faults) == [
        "columns is ['a'], but the trainer expects a whole number",
        "fast is 'often', but the trainer expects true or false",
        f"keep is False, but the trainer expects {NOT_FALSE}",
        "lr is 'fast', but the trainer expects a number",
        "optim is 'adam', but the trainer expects one of adamw, sgd; did you mean adamw?",
        "steps is 2.5, but the trainer expects a whole number",
        "the trainer has no option optm; did you mean optim?",
        "the trainer has no option zzz",
        "the trainer takes only one of epochs, tokens",
    ]


def test_what_is_required_and_what_mnrun_will_give(script: Path) -> None:
    without = {"lr": 1.0}
    assert tried(script, without) == Findings([], [])
    assert tried(script, without, owned=[]).faults == ["the trainer needs the option model"]


def test_options_of_a_file_by_their_inner_names(of_classes: Path) -> None:
    good = {"model": "/m", "steps": 4, "every": 2, "layers": {"a": 1}}
    assert tried(of_classes, good, "file") == Findings([], [])
    bad = {**good, "steps": "many", "evry": 1, "every": [1]}
    assert sorted(tried(of_classes, bad, "file").faults) == [
        "every is [1], but the trainer expects one value",
        "steps is 'many', but the trainer expects a whole number",
        "the trainer has no option evry; did you mean every?",
    ]


def test_what_the_classes_of_its_options_refuse(of_classes: Path) -> None:
    odd = tried(of_classes, {"model": "/m", "steps": 5, "every": 2}, "file")
    assert odd.faults == ["the trainer refuses its options: steps must be a multiple of every"]
    unsure = tried(of_classes, {"model": "/m", "bf16": True}, "file")
    assert unsure.faults == []
    assert "does not support bf16/gpu" in unsure.warnings[0]


def test_a_program_that_the_job_carries(script: Path) -> None:
    carried = tried(Path("own.py"), {**GOOD, "stps": 1}, text=SCRIPT)
    assert carried.faults == ["the trainer has no option stps; did you mean steps?"]


def test_another_parser_before_it_is_let_be(script: Path) -> None:
    before = 'import argparse\nargparse.ArgumentParser().parse_known_args(["--verbose"])\n'
    script.write_text(before + SCRIPT)
    assert tried(script, {**GOOD, "stps": 1}).faults


def test_what_something_else_may_read_is_a_warning(script: Path) -> None:
    script.write_text(SCRIPT.replace("parse_args()", "parse_known_args()"))
    found = tried(script, {**GOOD, "stps": 1, "steps": "many"})
    assert found.faults == ["steps is 'many', but the trainer expects a whole number"]
    words = "the trainer's parser has no option stps, which something else may read; did you mean"
    assert found.warnings == [f"{words} steps?"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('hello')", "read no options by argparse (it ended)"),
        ("import sys; sys.exit(3)", "read no options by argparse (SystemExit: 3)"),
        ("import os; os._exit(4)", "ended before (no message)"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
    ],
)
def test_what_is_not_known_is_a_warning(script: Path, text: str, words: str) -> None:
    script.write_text(text)
    found = tried(script, GOOD)
    assert found.faults == []
    assert words in found.warnings[0]
    assert "so its options were not checked here" in found.warnings[0]


def test_what_a_job_would_lack_too_is_a_fault(script: Path, tmp_path: Path) -> None:
    activation = tmp_path / "activate.sh"
    activation.write_text(f"export PATH={Path(__file__).parents[3]}/.venv/bin:$PATH\n")
    script.write_text("import no_such_thing")
    found = tried(script, GOOD, activation=str(activation))
    assert "cannot start: ModuleNotFoundError: No module named" in found.faults[0]
    script.write_text("def f(:")
    assert "cannot start: SyntaxError" in tried(script, GOOD, activation=str(activation)).faults[0]


def test_its_time_is_bounded(script: Path) -> None:
    def slow(_command: list[str], seconds: float, _stdin: str) -> Result:
        assert seconds == PATIENCE
        return Result(None, "", "")

    found = parser_findings({"program": str(script), "text": "", "options": {}}, "", slow)
    assert found.faults == []
    assert "did not read its options within 180 s" in found.warnings[0]
