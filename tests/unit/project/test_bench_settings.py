"""The bench gives the cluster's program all that it needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from bench.ray_cluster.ways import _settings

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "ray_cluster" / "files"


def test_the_bench_knows_all_settings_without_a_default(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))
    spec = importlib.util.spec_from_file_location("cluster_for_bench", PROGRAM / "cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cluster_for_bench", module)
    spec.loader.exec_module(module)
    assert module.Settings(**_settings("/tmp/x")).linger == 600
