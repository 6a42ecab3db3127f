"""What a training logged to a tracker, from the tracker's own files and without its library:
offline runs of W&B, event files of TensorBoard, databases of Trackio.

They say when a step was logged, which the trainer's log does not. A file that ends in the middle of
a record, because its job was killed, counts as far as it is whole.
"""

from __future__ import annotations

import json
import math
import struct
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Mapping, NamedTuple

from ..base.presence import names, opened
from ..base.text import printable
from .wire import fields

_BLOCK = 32 * 1024  # bytes of a block of W&B's files
_LARGEST = 16 << 20  # bytes of a record
_LATEST = float(1 << 33)  # seconds since the epoch: in the year 2242
_FOLDERS = 2000  # that are looked into
_DEEP = 6
_PACKAGES = ("torch", "ray", "vllm", "sglang", "transformers", "trl", "verl", "flash-attn",
             "deepspeed", "accelerate", "peft", "numpy")  # fmt: skip


class Logged(NamedTuple):
    """What was logged at once."""

    time: float  # seconds since the epoch
    step: int | None
    values: dict[str, float]


def found(folder: Path, is_checkpoint: Callable[[str], bool]) -> list[Path]:
    """The trackers' files below a folder, but not within a checkpoint. Raises OSError."""
    files: list[Path] = []
    waiting, looked = [(folder, 0)], 0
    while waiting and looked < _FOLDERS:
        place, depth = waiting.pop(0)
        looked += 1
        for name in names(place):
            path = place / name
            if _reader(name):
                files.append(path)
            elif depth < _DEEP and not is_checkpoint(name) and _is_own_folder(path):
                waiting.append((path, depth + 1))
    return files


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def logged(path: Path) -> Iterator[Logged]:
    """Yield what a file holds, as far as it is whole. Raises OSError."""
    read = _reader(path.name)
    if read is None:
        return
    try:
        for one in read(path):
            if not 0 < one.time < _LATEST:
                continue  # a damaged one, or NaN
            finite = {name: value for name, value in one.values.items() if math.isfinite(value)}
            yield one._replace(values=finite)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        StopIteration,
        struct.error,
    ):
        return


def _reader(name: str) -> Callable[[Path], Iterator[Logged]] | None:
    if name.endswith(".wandb"):
        return _wandb
    if name.startswith("events.out.tfevents."):
        return _tensorboard
    return _trackio if name.endswith(".db") else None


def _wandb(path: Path) -> Iterator[Logged]:
    with opened(path) as stream:
        if stream.read(7)[:4] != b":W&B":
            return
        for record in _wandb_records(stream, 7):
            for number, history in fields(record):
                if number == 2 and isinstance(history, bytes):
                    yield from _of_history(history)


def _wandb_records(stream: BinaryIO, at: int) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it: in blocks, a long one in several pieces."""
    record = b""
    while True:
        room = _BLOCK - at % _BLOCK
        if room < 7:
            stream.read(room)
            at += room
            continue
        head = stream.read(7)
        if len(head) < 7:
            return
        length, kind = struct.unpack("<HB", head[4:])
        data = stream.read(length)
        at += 7 + length
        if len(data) < length or not 1 <= kind <= 4:
            return
        record = data if kind in (1, 2) else record + data
        if kind in (1, 4):
            yield record
        elif len(record) > _LARGEST:
            return


def _of_history(history: bytes) -> Iterator[Logged]:
    items: dict[str, Any] = {}
    for number, item in fields(history):
        if number == 1 and isinstance(item, bytes):
            parts = [(key, one) for key, one in fields(item) if isinstance(one, bytes)]
            name = "/".join(one.decode() for key, one in parts if key in (1, 2))
            items[name] = json.loads(next(one for key, one in parts if key == 16))
    time = _finite(items.get("_timestamp"))
    if time is not None:
        yield Logged(time, _step(items.get("_step")), _numbers(items))


def _tensorboard(path: Path) -> Iterator[Logged]:
    with opened(path) as stream:
        while True:
            head = stream.read(12)
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else _LARGEST + 1
            if length > _LARGEST:
                return
            event = stream.read(length)
            if len(event) < length or len(stream.read(4)) < 4:
                return
            yield from _of_event(event)


def _of_event(event: bytes) -> Iterator[Logged]:
    parts = dict(fields(event))
    time, step, summary = parts.get(1), parts.get(2, 0), parts.get(5)
    if not isinstance(time, bytes) or not isinstance(summary, bytes):
        return
    values = {}
    for number, one in fields(summary):
        value = dict(fields(one)) if number == 1 and isinstance(one, bytes) else {}
        tag, simple = value.get(1), value.get(2)
        if isinstance(tag, bytes) and isinstance(simple, bytes):
            values[tag.decode()] = struct.unpack("<f", simple)[0]
    if values:
        yield Logged(struct.unpack("<d", time)[0], _step(step), values)


def _trackio(path: Path) -> Iterator[Logged]:
    try:
        import sqlite3  # noqa: PLC0415 - not every Python has it
    except ImportError:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            rows = base.execute("SELECT timestamp, step, metrics FROM metrics ORDER BY id")
            for stamp, step, text in rows:
                yield Logged(_seconds(str(stamp)), _step(step), _numbers(json.loads(text)))
    except sqlite3.Error:
        return


def _seconds(stamp: str) -> float:
    time = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _numbers(items: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _finite(value) for name, value in items.items() if not name.startswith("_")}
    return {name: value for name, value in found.items() if value is not None}


def _finite(value: Any) -> float | None:
    number = type(value) in (int, float) and math.isfinite(value)
    return float(value) if number else None


def _step(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def packages(text: str) -> dict[str, str]:
    """Versions of packages that matter to a training, of those that W&B lists beside a run."""
    pairs = [line.partition("==") for line in text[: 1 << 18].splitlines()]
    found = {name: printable(version[:40]) for name, _is, version in pairs if name in _PACKAGES}
    return dict(sorted(found.items()))
