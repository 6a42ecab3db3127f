"""What the tests of the training environment's installer share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.env_installer import Installer


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    return Installer(tmp_path, monkeypatch)
