"""A parquet file made of JSON lines and other parquet files, in the form that the trainers read.

What it was made of is written into it, as hashes of the content. So it is known whether it is still
what it should be, and a file that somebody else made is never replaced.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.errors import Invalid, Refused
from ..base.files import make_directory, sync_directory
from ..base.fingerprint import fingerprint
from ..base.presence import is_dir, is_file
from ..model.folder import nearest
from ..model.identity import file_identity
from .rows import FORMS, BadRowError, converted, form_of

VERSION = 1  # of the form of the rows
_KEY = b"mnrun"
_BATCH = 4096  # rows
_SHOWN = 20  # faults
_ENDINGS = (".jsonl", ".ndjson", ".parquet")


class Wanted(NamedTuple):
    """The table that is to be there."""

    target: Path
    sources: list[Path]  # files, or folders of them
    form: str  # one of FORMS, or empty: that of the first row
    data_source: str


class Made(NamedTuple):
    """What became of it: what the file says of itself before and after."""

    changed: bool
    before: dict[str, Any]
    after: dict[str, Any]


def make(wanted: Wanted, check: bool) -> Made:
    """Make the table unless it is there; `check`: only read the sources.

    Raises:
        Invalid: a source is missing or damaged, or rows of it have no form; all of them are named.
        Refused: another file is in its place.
    """
    files = [file for source in wanted.sources for file in _files(source)]
    before = _about(wanted.target)
    about = {
        "version": VERSION,
        "form": wanted.form,
        "data_source": wanted.data_source,
        "sources": [{"name": file.name, "sha256": file_identity(file)} for file in files],
    }
    key = fingerprint(about)
    if before.get("fingerprint") == key:
        return Made(False, before, before)
    rows = _Rows(wanted, files)
    after = {**about, "fingerprint": key}
    if check:
        after["rows"] = sum(1 for _ in rows)
        rows.refuse_faults()
    else:
        after["rows"] = _written(wanted.target, rows, after)
    return Made(True, before, after)


def _files(source: Path) -> list[Path]:
    """The files of a source. Raises Invalid."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in _ENDINGS)
        if not found:
            raise Invalid(f"{source} holds no file with rows ({', '.join(_ENDINGS)})")
        return found
    if not source.is_file():
        raise Invalid(f"There is no {source}; {nearest(source)}")
    if source.suffix.lower() not in _ENDINGS:
        raise Invalid(f"{source} has another ending than {', '.join(_ENDINGS)}")
    return [source]


def _about(target: Path) -> dict[str, Any]:
    """What a table says of itself; empty without a table. Raises Refused for another file."""
    if not (is_file(target) or is_dir(target)):
        return {}
    pa, pq = _arrow()
    try:
        found = (pq.read_metadata(target).metadata or {}).get(_KEY)
        about = json.loads(found) if found else None
    except (pa.ArrowException, OSError, ValueError):
        about = None
    if not isinstance(about, dict):
        raise Refused(
            f"{target} was not made by mnrun from other files, or is damaged, and is not replaced:"
            " move it away, or name another target"
        )
    return about


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - only in the training environment
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(f"{sys.executable} cannot read parquet: {error}") from error
    return pa, pq


class _Rows:
    """The converted rows of all files, and what is wrong with others."""

    def __init__(self, wanted: Wanted, files: list[Path]) -> None:
        self._wanted, self._files = wanted, files
        self._form = wanted.form
        self._faults: list[str] = []
        self._bad = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        index = 0
        for file in self._files:
            for number, row in self._read(file):
                made = self._made(f"{file}:{number}", row, index)
                if made is not None:
                    yield made
                    index += 1
        if not index and not self._faults:
            self._add(f"{', '.join(map(str, self._files))}: no row")

    def _made(self, place: str, row: dict[str, Any], index: int) -> dict[str, Any] | None:
        try:
            self._form = self._form or form_of(row)
            return converted(row, self._form, self._wanted.data_source, index)
        except BadRowError as problem:
            self._add(f"{place}: {problem}")
            return None

    def refuse_faults(self) -> None:
        """Raise Invalid with the faults that were found."""
        if self._faults:
            more = self._bad - len(self._faults)
            lines = [f"{self._bad} rows cannot be converted as {self._form or ', '.join(FORMS)}:"]
            lines += [f"  {fault}." for fault in self._faults]
            raise Invalid("\n".join([*lines, f"  and {more} more."] if more else lines))

    def _add(self, fault: str) -> None:
        self._bad += 1
        self._faults += [fault] if len(self._faults) < _SHOWN else []

    def _read(self, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows with their numbers: the line of JSON lines, the row of parquet from 0."""
        return self._lines(file) if file.suffix.lower() != ".parquet" else self._table(file)

    def _lines(self, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError) as error:
                    self._add(f"{file}:{number}: it is not JSON ({error})")
                    continue
                if isinstance(row, dict):
                    yield number, row
                else:
                    self._add(f"{file}:{number}: it is no JSON object")

    def _table(self, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        pa, pq = _arrow()
        number = 0
        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        yield number, row
                        number += 1
        except (pa.ArrowException, OSError) as error:
            self._add(f"{file}:{number}: it is not intact ({str(error).splitlines()[0]})")


def _written(target: Path, rows: _Rows, about: dict[str, Any]) -> int:
    """Write the table whole or not at all; return its rows."""
    make_directory(target.parent)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        count = _write(part, rows, about)
        rows.refuse_faults()
        _verify(part, count, about)
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    sync_directory(target.parent)
    return count


def _write(part: Path, rows: _Rows, about: dict[str, Any]) -> int:
    pa, pq = _arrow()
    schema = _schema(pa)
    count = 0
    batch: list[dict[str, Any]] = []
    with pq.ParquetWriter(part, schema) as writer:
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == _BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
        writer.add_key_value_metadata({_KEY: json.dumps({**about, "rows": count}).encode()})
    with part.open("rb") as written:
        os.fsync(written.fileno())
    return count


def _schema(pa: Any) -> Any:
    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(message)),
            ("messages", pa.list_(message)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            (
                "extra_info",
                pa.struct([("index", pa.int64()), ("question", text), ("answer", text)]),
            ),
        ]
    )


def _verify(part: Path, count: int, about: dict[str, Any]) -> None:
    """Read it all again. Raises Invalid."""
    pa, pq = _arrow()
    try:
        with pq.ParquetFile(part) as table:
            read = sum(batch.num_rows for batch in table.iter_batches(_BATCH))
    except (pa.ArrowException, OSError) as error:
        raise Invalid(f"What was written cannot be read again: {error}") from error
    if read != count or _about(part).get("fingerprint") != about["fingerprint"]:
        raise Invalid(f"What was written holds {read} rows of {count}; run this again")
