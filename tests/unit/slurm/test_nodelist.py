"""Node lists in Slurm's short form."""

from __future__ import annotations

import time

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.slurm.nodelist import (
    MOST_NAMES,
    names_in,
)


@pytest.mark.parametrize(
    ("nodelist", "names"),
    [
        ("osk-gpu[94-95]", ["osk-gpu94", "osk-gpu95"]),
        ("a[08-10,2],b", ["a08", "a09", "a10", "a2", "b"]),
        ("r[1-2]n[1-2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
        ("b.example.org, a_1", ["b.example.org", "a_1"]),
        ("a[3-1]", []),
        ("", []),
        ("a[x]", []),
        ("a[1,x],b", ["b"]),
        ("a[]", []),
        ("a[1-2]$,b", ["b"]),
        ("-o", []),
        ("(null)", []),
        ("None assigned", []),
        ("a[1-3,5", []),
        ("b,a[1-2", []),
        ("a[1-2]],b", []),
        ("a[[1-2]", []),
    ],
)
def test_a_list_of_nodes_is_written_out(nodelist: str, names: list[str]) -> None:
    assert names_in(nodelist) == names


@pytest.mark.parametrize(
    "nodelist",
    ["a[1-9999]b[1-9999]", "a[1-999999999]", f"a[1-{MOST_NAMES}],b", ",".join(["a[1-9999]"] * 11),
     "a" + "[1-999]" * 40],
)  # fmt: skip
def test_a_list_longer_than_any_cluster_is_refused_at_once(nodelist: str) -> None:
    begun = time.process_time()
    assert names_in(nodelist) == []
    assert time.process_time() - begun < 1


def test_the_longest_list() -> None:
    assert len(names_in(f"a[1-{MOST_NAMES}]")) == MOST_NAMES
