"""Parquet files, read as the trainer will: intact, with its columns, without empty prompts.

Rows are read in batches, and only the columns that count: memory stays small with any data set.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.errors import Invalid
from ..model.folder import is_pointer, nearest
from .reads import CHAT, TEXT, Field

_BATCH = 8192  # rows
# Other forms of tables, and how pandas reads them.
_OTHER_FORMS = {
    ".jsonl": "read_json({}, lines=True)", ".ndjson": "read_json({}, lines=True)",
    ".json": "read_json({})", ".csv": "read_csv({})", ".tsv": "read_table({})",
}  # fmt: skip
_RAW_GSM8K = {"question", "answer"}


class Checked(NamedTuple):
    """A file's rows, and what is wrong with it."""

    rows: int
    faults: list[str]


def check_file(path: Path, fields: list[Field]) -> Checked:
    """Compare one parquet file with the `fields` that will be read of it.

    Raises Invalid if this Python cannot read parquet at all.
    """
    if path.is_dir():
        return Checked(0, [f"{path} is a folder: {_files_in(path)}"])
    if not path.is_file():
        return Checked(0, [f"there is no data file {path}; {nearest(path)}"])
    if path.suffix.lower() in _OTHER_FORMS:
        return Checked(0, [f"{path} is not parquet, which the trainer reads; {_conversion(path)}"])
    if is_pointer(path):
        return Checked(0, [f"{path} only points to a file in Git LFS; run `git lfs pull` there"])
    try:
        import pyarrow as pa  # noqa: PLC0415 - only in the training environment
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(f"{sys.executable} cannot read parquet: {error}") from error
    try:
        with pq.ParquetFile(path) as file:
            return _check(path, file, fields)
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0]
        return Checked(0, [f"{path} is not an intact parquet file ({text}); copy or create it"])


def is_there(path: Path, _fields: list[Field]) -> Checked:
    """The same for a file in a form that only the trainer knows."""
    missing = not path.exists()
    return Checked(0, [f"there is no data file {path}; {nearest(path)}"] if missing else [])


def _files_in(folder: Path) -> str:
    found = sorted(str(path) for path in folder.rglob("*.parquet"))
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f"name the files in it: {', '.join(found[:8])}{more}" if found else "it holds no parquet"


def _conversion(path: Path) -> str:
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return (
            "have `mnrun fetch` make a parquet file of it (fetch_tables; "
            "https://github.com/mnrun/mnrun/blob/main/docs/recipes.md)"
        )
    reader = _OTHER_FORMS[path.suffix.lower()]
    target = path.with_suffix(".parquet")
    program = f"import pandas; pandas.{reader.format(repr(str(path)))}.to_parquet({str(target)!r})"
    return f'convert it: {sys.executable} -c "{program}"'


def is_raw_gsm8k(path: Path) -> bool:
    """Whether an intact parquet file has the columns of the raw GSM8K, and no others."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    return set(pq.read_schema(path).names) == _RAW_GSM8K


def _check(path: Path, file: Any, fields: list[Field]) -> Checked:
    schema, rows = file.schema_arrow, file.metadata.num_rows
    if rows == 0:
        return Checked(0, [f"{path} has no rows; create it again"])
    missing = [field.path for field in fields if _type(schema, field.path) is None]
    if missing:
        return Checked(rows, [_missing(path, schema, missing)])
    wrong = [_type_fault(path, schema, field) for field in fields]
    faults = [fault for fault in wrong if fault] or list(_empty(path, file, fields))
    return Checked(rows, faults)


def _missing(path: Path, schema: Any, missing: list[str]) -> str:
    wanted = ", ".join(missing)
    if set(schema.names) == _RAW_GSM8K:
        return (
            f"{path} is the raw GSM8K (columns question, answer), but the trainer reads {wanted};"
            " convert it with `mnrun fetch`"
        )
    there = ", ".join(_leaves(schema))
    return (
        f"{path} has no {wanted}, which the trainer reads; it has: {there}."
        " Convert the file, or name its columns in the trainer's options (data.prompt_key, …)"
    )


def _leaves(schema: Any) -> Iterator[str]:
    for field in schema:
        inner = field.type if _is_struct(field.type) else []
        yield from [f"{field.name}.{child.name}" for child in inner] or [field.name]


def _is_struct(kind: Any) -> bool:
    return hasattr(kind, "get_field_index") and not hasattr(kind, "value_type")


def _type(schema: Any, dotted: str) -> Any:
    """The type at a dotted path, or None if there is no such field."""
    kind = schema
    for name in dotted.split("."):
        if kind is not schema and not _is_struct(kind):
            return None
        index = kind.get_field_index(name)
        if index < 0:
            return None
        kind = kind.field(index).type
    return kind


def _type_fault(path: Path, schema: Any, field: Field) -> str:
    kind = _type(schema, field.path)
    if field.kind == TEXT and not _is_text(kind):
        return f"{path}: {field.path} contains {kind}, but the trainer reads text there"
    if field.kind == CHAT:
        return _chat_fault(path, field, kind)
    return ""


def _chat_fault(path: Path, field: Field, kind: Any) -> str:
    message = _type_of_messages(kind)
    if message is None:
        return (
            f"{path}: {field.path} holds {kind}; the trainer reads a list of messages there, each"
            " with role and content"
        )
    for name in ("role", "content"):
        inner = message.field(message.get_field_index(name)).type
        if not _is_text(inner):
            return (
                f"{path}: {name} in {field.path} holds {inner}; the trainer reads text there, and"
                " would train on anything else as Python shows it: write one text for each message"
            )
    return ""


def _is_text(kind: Any) -> bool:
    return bool(re.fullmatch(r"(dictionary<values=)?(large_)?string(_view)?(,.*>)?", str(kind)))


def _type_of_messages(kind: Any) -> Any:
    message = getattr(kind, "value_type", None)
    if message is None or not _is_struct(message):
        return None
    has_both = min(message.get_field_index("role"), message.get_field_index("content")) >= 0
    return message if has_both else None


def _empty(path: Path, file: Any, fields: list[Field]) -> Iterator[str]:
    """Fields that are empty in some rows."""
    counts = dict.fromkeys([field.path for field in fields], 0)
    first: dict[str, int] = {}
    start = 0
    for batch in file.iter_batches(_BATCH, columns=list(counts)) if fields else ():
        for field in fields:
            rows = _empty_rows(batch, field)
            counts[field.path] += len(rows)
            if rows:
                first.setdefault(field.path, start + rows[0])
        start += batch.num_rows
    for name, row in first.items():
        yield (
            f"{path}: {name} is empty in {counts[name]} of {start} rows, first in row {row}"
            " (counted from 0); leave such rows out"
        )


def _empty_rows(batch: Any, field: Field) -> list[int]:
    import pyarrow.compute as pc  # noqa: PLC0415

    first, *rest = field.path.split(".")
    column = batch.column(first)
    if rest:
        column = pc.struct_field(column, rest)
    if field.kind == CHAT:
        content = pc.struct_field(pc.list_flatten(column), "content")
        filled = pc.list_parent_indices(column).filter(_filled(content))
    else:
        filled = pc.indices_nonzero(_filled(column))
    return sorted(set(range(batch.num_rows)).difference(filled.to_pylist()))


def _filled(column: Any) -> Any:
    """True for a text that is not blank and for any other value; null or false for the rest.

    Plain Python values among the arguments would make pyarrow import pandas, half a second.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return pc.is_valid(column)
    return pc.binary_length(pc.utf8_trim_whitespace(column)).cast(pa.bool_())
