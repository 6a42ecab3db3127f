"""The lines of a log that say why a training failed, and the reading of a log in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.logfile import (
    CHUNK,
    MOST_LINES,
    clean_lines,
    last_lines,
    news,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.telling import (
    TAIL,
    WIDTH,
    find_telling,
)

TORCHRUN = """\
step:4 - train/loss:1.0 - train/lr(1e-3):1
[rank0]: Traceback (most recent call last):
[rank0]:   File "x.py", line 1, in main
[rank0]: ValueError: the batch size 7 cannot be divided by 2
[rank1]: Traceback (most recent call last):
[rank1]: RuntimeError: [gloo] Connection closed by peer [10.0.0.2]:5
Traceback (most recent call last):
  File "run.py", line 9, in launch_agent
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
=====
srun: error: osk-gpu94: task 0: Exited with exit code 1
"""
HYDRA = """\
Could not override 'data.train_batch_sise'.
To append to your config use +data.train_batch_sise=32
Key 'train_batch_sise' is not in struct
"""
RAISED = """\
some ImportError: of a library that is not needed
Error executing job with overrides: ['trainer.nnodes=2']
Traceback (most recent call last):
  File "main_ppo.py", line 31, in main
ray.exceptions.RayTaskError(NotImplementedError): ray::TaskRunner.run() (pid=5)
  File "y.py", line 2
NotImplementedError
"""
WORKER = "\x1b[36m(W pid=1)\x1b[0m "
IN_RAY = f"""\
{WORKER}Traceback (most recent call last):
{WORKER}torch.OutOfMemoryError: CUDA out of memory.
"""


def cause(tmp_path: Path, text: str) -> str:
    (tmp_path / "err").write_text(text)
    found = find_telling([tmp_path / "err", tmp_path / "out"])
    assert found is not None
    assert found.path == tmp_path / "err"
    return found.line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TORCHRUN, "[rank0]: ValueError: the batch size 7 cannot be divided by 2"),
        (HYDRA, "Could not override 'data.train_batch_sise'."),
        (RAISED, "NotImplementedError"),
        ("script: line 9: nvidia-smi: command not found\n", None),
        ("a\nslurmstepd: error: Detected 1 oom_kill event\n", "slurmstepd: error: Detected 1 oom"),
        (IN_RAY, "(W pid=1) torch.OutOfMemoryError: CUDA out of memory."),
    ],
)
def test_the_telling_line_is_found(tmp_path: Path, text: str, line: str | None) -> None:
    assert cause(tmp_path, text).startswith(line or text.strip())


def test_what_went_wrong_before_the_last_step_is_not_the_cause(tmp_path: Path) -> None:
    text = "ValueError: early and harmless\nstep:1 - train/loss:1.0\nKilled\n"
    assert cause(tmp_path, text) == ""


def test_the_lines_around_the_cause_are_kept(tmp_path: Path) -> None:
    before = "".join(f"[rank0]: {'noise' * 100}\n" for _ in range(100))
    (tmp_path / "err").write_text(before + TORCHRUN.partition("\n")[2] + "after\n" * 100)
    found = find_telling([tmp_path / "err"])
    assert found is not None
    assert len(found.lines) == TAIL == 10
    assert max(map(len, found.lines)) == WIDTH == 200
    assert found.line == found.lines[-1]
    assert all(line.startswith("[rank0]: ") for line in found.lines)


def test_without_an_error_the_end_of_the_first_log_is_shown(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("\n")
    (tmp_path / "out").write_text("\n".join(str(number) for number in range(100)) + "\n")
    found = find_telling([tmp_path / "err", tmp_path / "out", tmp_path / "out"])
    assert found is not None
    assert (found.path, found.line) == (tmp_path / "out", "")
    assert found.lines == [str(number) for number in range(90, 100)]


def test_an_error_in_the_other_log_is_preferred_to_noise(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("a warning\n")
    (tmp_path / "out").write_text(TORCHRUN)
    found = find_telling([tmp_path / "err", tmp_path / "out"])
    assert found is not None
    assert found.path == tmp_path / "out"


def test_empty_and_missing_logs_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("")
    assert find_telling([tmp_path / "err", tmp_path / "none"]) is None
    assert find_telling([]) is None


def test_bars_and_colours_are_left_as_a_terminal_shows_them() -> None:
    assert clean_lines("\r 1%\r 50%\r100%\r\n\x1b[31mred\x1b[0m  \n\n") == ["100%", "red"]


def test_a_growing_log_is_read_without_gaps_or_repeats(tmp_path: Path) -> None:
    log = tmp_path / "out"
    assert last_lines(log, 5) == ([], 0, 0)
    log.write_text("a\nb\nc\nhalf")
    lines, offset, _ = last_lines(log, 2)
    assert lines == ["b", "c"]
    assert news(log, offset) == ([], offset, 0)
    with log.open("a") as stream:
        stream.write(" a line\nnext\n")
    lines, offset, _ = news(log, offset)
    assert lines == ["half a line", "next"]
    log.write_text("new\n")
    assert news(log, offset)[0] == ["new"], "a log that was begun anew is read from its start"


@pytest.mark.parametrize("line", ["x", "x" * 700, "x" * 3_000_000])
def test_of_too_much_news_the_last_lines_come_and_the_rest_is_counted(
    tmp_path: Path, line: str
) -> None:
    log = tmp_path / "out"
    log.write_text("a\n")
    _, offset, skipped = news(log, 0)
    assert skipped == 0
    with log.open("a") as stream:
        stream.writelines(f"{line}{number}\n" for number in range(3_000_000 // len(line) + 5))
        stream.write("half")
    lines, after, skipped = news(log, offset)
    assert len(lines) <= MOST_LINES
    assert log.read_bytes()[offset + skipped : after].decode().splitlines() == lines
    assert news(log, after) == ([], after, 0)
    last = news(log, after, ended=True)
    assert last == (["half"], log.stat().st_size, 0), "nothing more comes, so the line is one"


def test_a_line_longer_than_a_chunk_does_not_stop_the_reading(tmp_path: Path) -> None:
    log = tmp_path / "out"
    log.write_text("x" * (CHUNK + 10) + "\nend\n")
    lines, offset, _ = news(log, 0)
    assert (lines[-1], offset) == ("end", CHUNK + 15)


def test_a_node_that_was_refused_before_the_training_is_named(tmp_path: Path) -> None:
    text = "NodeError: osk-gpu95: torch sees 0 GPUs, 1 expected\nmnrun: a node fails\n"
    (tmp_path / "err").write_text(text)
    found = find_telling([tmp_path / "err"])
    assert found is not None
    assert (found.node, found.line) == ("osk-gpu95", text.partition("\n")[0])
