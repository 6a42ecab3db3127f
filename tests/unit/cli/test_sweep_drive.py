"""Several commands at once: as many as asked for, each on its own, and how they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mnrun.sweep.drive import Child, Drive, Ended

HOLDS = "import os, signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"


def child(folder: Path, name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-IS", "-c", code], folder / f"{name}.log")


def held(name: Path) -> str:
    """A command that writes its id to a file and then waits to be interrupted."""
    written = f"open({str(name)!r}, 'w').write(str(os.getpid()))"
    return f"{HOLDS}{written}\ntime.sleep(60)"


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    codes = {"a": "print('well')", "b": "print('bad'); raise SystemExit(3)", "c": "pass"}
    seen: list[Ended] = []
    ended = Drive(2, seen.append).run([child(tmp_path, *item) for item in codes.items()])
    assert {one.run: one.code for one in ended} == {"a": 0, "b": 3, "c": 0}
    assert seen == ended
    assert {one.run: one.output for one in ended} == {"a": "well\n", "b": "bad\n", "c": ""}
    # A second time: the log has both, and the output is that of the second.
    (again,) = Drive(1).run([child(tmp_path, "a", "print('again')")])
    assert again.output == "again\n"
    assert "well" in (tmp_path / "a.log").read_text()


def test_no_more_run_at_once_than_asked_for(tmp_path: Path) -> None:
    counts: list[int] = []

    def look(running: Sequence[str], _waiting: int) -> None:
        counts.append(len(running))

    quick = "import time; time.sleep(0.3)"
    ended = Drive(2, on_tick=look).run([child(tmp_path, f"r{n}", quick) for n in range(5)])
    assert len(ended) == 5
    assert max(counts) == 2


def test_a_signal_interrupts_those_that_run_and_starts_no_more(tmp_path: Path) -> None:
    def look(_running: Sequence[str], _waiting: int) -> None:
        if (tmp_path / "on").exists() and not drive.number:
            os.kill(os.getpid(), signal.SIGTERM)

    drive = Drive(1, on_tick=look)
    ended = drive.run([child(tmp_path, "a", held(tmp_path / "on")), child(tmp_path, "b", "pass")])
    assert [(one.run, one.code) for one in ended] == [("a", 130)]
    assert drive.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_stopped_elsewhere_ends_likewise(tmp_path: Path) -> None:
    drive = Drive(1, stopped=(tmp_path / "on").exists)
    ended = drive.run([child(tmp_path, "a", held(tmp_path / "on")), child(tmp_path, "b", "pass")])
    assert [(one.run, one.code) for one in ended] == [("a", 130)]


def test_no_python_runs_between_fork_and_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay has a second thread, and a lock that it holds stays locked in a child for ever."""
    given: list[str] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, argv: Sequence[str], **options: Any) -> None:
            given.extend(name for name, value in options.items() if value)
            super().__init__(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    assert [one.code for one in Drive(1).run([child(tmp_path, "a", "pass")])] == [0]
    assert "preexec_fn" not in given


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties processes on Linux")
@pytest.mark.parametrize("ignored", [signal.SIG_DFL, signal.SIG_IGN])
def test_commands_end_with_whoever_drives_them(tmp_path: Path, ignored: signal.Handlers) -> None:
    program = (
        "import signal\n"
        f"signal.signal(signal.SIGINT, signal.Handlers({int(ignored)}))\n"
        "from pathlib import Path\n"
        "from tests.unit.cli.test_sweep_drive import child, held\n"
        "from mnrun.sweep.drive import Drive\n"
        f"Drive(1).run([child(Path({str(tmp_path)!r}), 'a', held(Path({str(tmp_path / 'on')!r})))])"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as driver:
        wait(lambda: (tmp_path / "on").exists() and (tmp_path / "on").read_text())
        process = Path("/proc", (tmp_path / "on").read_text())
        assert process.exists()
        driver.kill()
    wait(lambda: not process.exists())


def wait(until: object) -> None:
    """Up to a minute."""
    end = time.monotonic() + 60
    while not until():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
