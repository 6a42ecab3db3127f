"""Versions against bounds."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.version import fits


@pytest.mark.parametrize(
    ("version", "bounds", "expected"),
    [
        ("0.5.0", ">=0.5,<0.6", True),
        ("0.5.0.dev1+local", ">=0.5,<0.6", True),
        ("0.6", ">=0.5,<0.6", False),
        ("0.10.0", ">=0.9", True),
        ("0.7.1", ">0.7.1", False),
        ("0.7.0", ">=0.6,<=0.7", True),
        ("1", "==1.0.0", True),
        ("2", "", True),
    ],
)
def test_versions_are_numbers(version: str, bounds: str, expected: bool) -> None:
    assert fits(version, bounds) is expected
