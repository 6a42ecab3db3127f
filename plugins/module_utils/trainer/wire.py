"""Fields of a message of Protocol Buffers, without its library: enough for what trackers log."""

from __future__ import annotations

from typing import Iterator, Union

Value = Union[int, bytes]
"""A whole number, or the bytes of anything else."""

_FIXED = {1: 8, 5: 4}  # bytes, by the type on the wire


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field. Raises ValueError if the message is not whole."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        length, at = (_FIXED[kind], at) if kind in _FIXED else _length(kind, data, at)
        if length > len(data) - at:
            raise ValueError("a message of Protocol Buffers is cut off")
        yield key >> 3, data[at : at + length]
        at += length


def _length(kind: int, data: bytes, at: int) -> tuple[int, int]:
    if kind != 2:
        raise ValueError(f"a field of Protocol Buffers has the type {kind}")
    return _number(data, at)


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value, at + count + 1
    raise ValueError("a number of Protocol Buffers does not end")
