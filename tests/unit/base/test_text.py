"""Texts for people."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.text import (
    listed,
    plural,
    sentence,
    size,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (512, "512 B"), (999, "999 B"), (1000, "1 kB"), (1_062_656, "1.06 MB"),
     (999_700, "1 MB"), (19_774_000_000, "19.8 GB"), (2.5e12, "2.5 TB"), (4.2e15, "4,200 TB")],
)  # fmt: skip
def test_a_size_has_three_digits_and_its_unit(count: float, text: str) -> None:
    assert size(count) == text


def test_numbers_and_lists_read_as_a_person_writes_them() -> None:
    assert [plural(n, "file") for n in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [sentence("it is NCCL"), sentence("")] == ["It is NCCL", ""]
