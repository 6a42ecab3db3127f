"""Rows that are longer than the trainer takes, counted with the model's own tokenizer.

A token is at least one byte long, so that only the longest rows have to be counted.
"""

from __future__ import annotations

import heapq
import itertools
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..model.chat import special_tokens
from .reads import Limit
from .template import renderer

_COUNTED = 50  # rows, the longest ones
_FRAME = 200  # bytes that a template may add to a row
_BATCH = 8192  # rows


class _Row(NamedTuple):
    size: int  # bytes
    path: str
    number: int
    chat: Any  # a text or a list of messages
    answer: str


def too_long(limit: Limit, files: list[Path], model: Path, template: str) -> list[str]:
    """A fault if rows of these intact files have more tokens than the trainer takes.

    Says nothing where tokens cannot be counted here: without a tokenizer.json, or with a template
    that needs more than its text.
    """
    rows = _longest(limit, files)
    candidates = [row for row in rows if row.size + _FRAME > limit.most]
    if not candidates:
        return []
    try:
        counted = _count(candidates, model, template, generates=not limit.answer)
    except Exception:  # noqa: BLE001 - a template is a program, and the trainer has the last word
        return []
    longer = [(tokens, row) for tokens, row in counted if tokens > limit.most]
    if not longer:
        return []
    tokens, row = max(longer, key=lambda each: each[0])
    counted_of = f"{len(longer)} of the {len(candidates)} longest rows"
    fault = (
        f"row {row.number} of {row.path} (counted from 0) has {tokens} tokens, more than"
        f" {limit.option} ({limit.most}), as have {counted_of}; the trainer would end at the first:"
        f" raise {limit.option}, or shorten them"
    )
    return [fault]


def _longest(limit: Limit, files: list[Path]) -> list[_Row]:
    """The longest rows of all files by bytes; only those are made Python objects."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only in the training environment

    columns = [each for each in (limit.chat, limit.answer) if each]
    heap: list[tuple[int, int, _Row]] = []
    order = itertools.count()  # rows of one size are not compared
    for path in files:
        with pq.ParquetFile(path) as file:
            start = 0
            for batch in file.iter_batches(_BATCH, columns=columns):
                for number, size in enumerate(_sizes(batch, columns)):
                    if len(heap) < _COUNTED or size > heap[0][0]:
                        row = _row(batch.slice(number, 1), limit, path, start + number, size)
                        push = heapq.heappush if len(heap) < _COUNTED else heapq.heapreplace
                        push(heap, (size, next(order), row))
                start += batch.num_rows
    return [row for _size, _order, row in sorted(heap, key=lambda each: -each[0])]


def _sizes(batch: Any, columns: list[str]) -> list[int]:
    """The bytes of text in each row."""
    sizes = [0] * batch.num_rows
    for name in columns:
        for number, size in _text_sizes(_inner(batch, name)):
            sizes[number] += size or 0
    return sizes


def _text_sizes(column: Any) -> Iterator[tuple[int, int]]:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if not pa.types.is_nested(column.type):
        yield from enumerate(pc.binary_length(column.cast(pa.large_string())).to_pylist())
        return
    content = pc.struct_field(pc.list_flatten(column), "content").cast(pa.large_string())
    owners = pc.list_parent_indices(column).to_pylist()
    yield from zip(owners, pc.binary_length(content).to_pylist())


def _inner(batch: Any, dotted: str) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415

    first, *rest = dotted.split(".")
    column = batch.column(first)
    return pc.struct_field(column, rest) if rest else column


def _row(one: Any, limit: Limit, path: Path, number: int, size: int) -> _Row:
    chat = _inner(one, limit.chat).to_pylist()[0]
    answer = _inner(one, limit.answer).to_pylist()[0] if limit.answer else ""
    return _Row(size, str(path), number, chat, answer or "")


def _count(
    rows: list[_Row], model: Path, template: str, *, generates: bool
) -> list[tuple[int, _Row]]:
    from tokenizers import Tokenizer  # noqa: PLC0415 - only in the training environment

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokens = special_tokens(model)
    render = renderer(template, tokens)
    counted = []
    for row in rows:
        pair = isinstance(row.chat, str)
        chat = [{"role": "user", "content": row.chat}] if pair else row.chat
        text = render(messages=chat, add_generation_prompt=generates or pair)
        text += f"{row.answer}{tokens.get('eos_token', '')}" if pair else ""
        counted.append((len(tokenizer.encode(text, add_special_tokens=False).ids), row))
    return counted
