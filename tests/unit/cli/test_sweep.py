"""`mnrun sweep` around its commands: what is checked first, shown, remembered and returned."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mnrun.arguments import parse
from mnrun.errors import CliError, UsageError
from mnrun.sweep import command
from mnrun.sweep.drive import Child
from mnrun.sweep.place import place_of
from mnrun.terminal import Terminal
from tests.helpers.screens import Screen

pytestmark = pytest.mark.usefixtures("plain_terminal")

FILE = """\
stage: sft
grid:
  sft:
    optim.lr: [1, 2]
runs:
  - name: bad
    sft:
      optim.lrr: 3
"""
# In place of mnrun. Check: fails for what is misspelt. Otherwise: as `outcome` in the folder says.
STAND_IN = """\
import json, sys, pathlib
words = sys.argv[1:]
run = words[words.index("--run") + 1]
folder = pathlib.Path(sys.argv[0]).parent
with (folder / "calls").open("a") as calls:
    print(words[0], *(["--check"] if "--check" in words else []), run, file=calls)
if "--check" in words and (folder / "strict").exists() and run.endswith("bad"):
    print("\\nCheck (on login):\\n  no option optim.lrr\\n\\nFailed: changed=0 (1 s)")
    sys.exit(1)
if words[0] == "sft" and "--check" not in words and (folder / run).exists():
    sys.exit((folder / run).read_text())
if words[0] == "cancel" and "mnrun_of_sweep=true" not in words:
    sys.exit("There is no such run.")
print("\\nDone: changed=0 (1 s)")
"""


class Case:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.path = folder / "lr.yml"
        self.path.write_text(FILE)
        stand_in = folder / "stand_in.py"
        stand_in.write_text(STAND_IN)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        self.tables: list[Mapping[str, Any]] = []
        self.relays: list[tuple[str, bool]] = []
        self.relay: Callable[[str, bool], int] | None = self._relay

        def child(run: str, argv: Sequence[str], log: Path) -> Child:
            assert argv[:3] == [sys.executable, "-m", "mnrun"]
            return Child(run, [sys.executable, str(stand_in), *argv[3:]], log)

        monkeypatch.setattr("mnrun.sweep.command.Child", child)

    def run(self, *words: str) -> tuple[int, list[str]]:
        screen = Screen(tty=False)
        options = parse(["sweep", str(self.path), *words])
        code = command.sweep(options, "/sites/a", Terminal(screen), self._table, self.relay)
        return code, [row for row in screen.rows() if not row.startswith("  …")]

    def _table(self, variables: Mapping[str, Any]) -> int:
        self.tables.append(variables)
        return 0

    def _relay(self, name: str, stops: bool) -> int:
        self.relays.append((name, stops))
        return 0

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        found = sorted(path.read_text().splitlines()) if path.exists() else []
        path.unlink(missing_ok=True)
        return found


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


RUNS = ["lr-bad", "lr-lr1-10a0a1", "lr-lr2-492b9a"]


def test_all_are_checked_once_and_then_run(case: Case) -> None:
    code, rows = case.run()
    assert code == 0
    calls = case.calls()
    runs = [call.rpartition(" ")[2] for call in calls if "--check" not in call]
    assert [call for call in calls if "--check" in call] == [f"sft --check {run}" for run in runs]
    assert rows[0].startswith("lr: 3 runs of sft, 2 at once. Their output: ")
    assert [row.split()[:2] for row in sorted(rows[2:5])] == [["•", run] for run in runs]
    (variables,) = case.tables
    assert variables["mnrun_sweep"]["axes"] == ["lr", "lrr"]
    assert variables["mnrun_sweep"]["runs"][2] == {"name": "lr-bad", "values": ["-", "3"]}
    # Again: nothing of the file has changed, so they are not checked again.
    assert case.run()[0] == 0
    assert case.calls() == [f"sft {run}" for run in runs]
    case.path.write_text(FILE.replace("[1, 2]", "[1]"))
    case.run()
    assert f"sft --check {runs[0]}" in case.calls()


def test_a_sweep_is_handed_over_after_its_checks(case: Case) -> None:
    (case.folder / "strict").touch()
    assert case.run("--detach")[0] == 1
    assert case.relays == []
    (case.folder / "strict").unlink()
    case.calls()
    assert case.run("--detach")[0] == 0
    assert case.relays == [("lr", False)]
    assert case.calls() == [f"sft --check {run}" for run in RUNS]
    case.relay = None  # the relay itself, on another machine
    case.run()
    assert case.calls() == [f"sft {run}" for run in RUNS]


def test_a_sweep_that_is_cancelled_loses_its_relay_first(case: Case) -> None:
    assert case.run("--cancel")[0] == 0
    assert case.relays == [("lr", True)]
    case.relay = lambda _name, _stops: 1
    case.calls()
    assert (
        case.run("--cancel")[0] == 1
    )  # the relay is on another host: the runs are stopped all the same
    assert case.calls() == [f"cancel {run}" for run in RUNS]


def test_nothing_is_submitted_while_one_is_refused(case: Case) -> None:
    (case.folder / "strict").touch()
    code, rows = case.run()
    assert code == 1
    assert all("--check" in call for call in case.calls())
    assert [row.strip() for row in rows[2:] if row.strip()] == [
        "✗ lr-bad",
        "Check (on login):",
        "no option optim.lrr",
        f"optim.lrr is in {case.path}:8",
        "Failed: 1 of 3 runs cannot start. Nothing was submitted.",
    ]
    assert case.tables == []
    assert case.run()[0] == 1  # and it is not taken for accepted


def test_a_failure_is_shown_with_its_reason_and_the_others_run(case: Case) -> None:
    (case.folder / "lr-bad").write_text("mnrun: no such thing")
    code, rows = case.run()
    assert code == 1
    text = "\n".join(rows)
    assert "✗ lr-bad" in text
    assert "mnrun: no such thing" in text
    assert "1 of 3 did not finish." in text
    assert len(case.tables) == 1


def test_to_cancel_stops_each_run_and_whoever_drives_them(case: Case) -> None:
    case.run()
    case.calls()
    driver = place_of("lr", "/sites/a")
    assert not driver.stopped()
    code, _rows = case.run("--cancel")
    assert code == 0
    assert {call.split()[0] for call in case.calls()} == {"cancel"}
    assert driver.stopped()
    assert not place_of("lr", "/sites/a").stopped()  # a later command starts them again
    assert not place_of("lr", "/sites/b").stopped()


def test_the_table_alone_runs_nothing(case: Case) -> None:
    assert case.run("--table") == (0, [""])
    assert case.calls() == []
    assert len(case.tables) == 1


def test_a_variable_is_set_in_one_place(case: Case) -> None:
    with pytest.raises(UsageError, match="-e sets sft_overrides, and so does the sweep"):
        case.run("-e", json.dumps({"sft_overrides": {"a": 1}}))
    with pytest.raises(UsageError, match="not allowed with argument"):
        parse(["sweep", "x", "--table", "--cancel"])


def test_a_check_is_a_dry_run_of_each(case: Case) -> None:
    assert case.run("--check")[0] == 0
    assert all("--check" in call for call in case.calls())
    assert case.tables == []


def test_two_wait_for_each_other_only_to_cancel(case: Case) -> None:
    first, second = place_of("lr", "/sites/a"), place_of("lr", "/sites/a")
    with first.driven(), second.driven():
        waited: list[float] = []

        def pause(seconds: float) -> None:
            waited.append(seconds)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            place_of("lr", "/sites/a").wait_for_drivers(pause)
        assert waited
    assert place_of("lr", "/sites/a").wait_for_drivers()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "mnrun").touch()
    with pytest.raises(CliError, match=f"cannot be written to {tmp_path}/mnrun/sweeps/lr-"):
        place_of("lr", "/sites/a", {"XDG_STATE_HOME": str(tmp_path)})


def test_variables_of_runs_are_private(case: Case) -> None:
    case.run()
    (folder,) = (case.folder / "state" / "mnrun" / "sweeps").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert json.loads((folder / "lr-bad.json").read_text()) == {"sft_overrides": {"optim.lrr": 3}}


def test_it_takes_no_run() -> None:
    with pytest.raises(UsageError, match="does not take --run"):
        parse(["sweep", "x.yml", "--run", "a"])
    assert isinstance(parse(["sweep", "x.yml"]), argparse.Namespace)
