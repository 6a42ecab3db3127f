"""Whether a job should find GPUs: by what a node shows, and by how torch was built."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.environment import torch_gpus


def test_whether_a_node_has_real_gpus(tmp_path: Path) -> None:
    assert not torch_gpus.has_real_gpus(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not torch_gpus.has_real_gpus(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert torch_gpus.has_real_gpus(tmp_path)


def test_whether_torch_was_built_for_gpus_and_is_to_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not torch_gpus.built_for_gpus()
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text("cuda: Optional[str] = None\n")
    importlib.invalidate_caches()
    assert not torch_gpus.built_for_gpus()
    (tmp_path / "torch" / "version.py").write_text("cuda: Optional[str] = '13.0'\n")
    assert torch_gpus.built_for_gpus()
    (tmp_path / "mnrun_cpu_shim.py").touch()  # the sandbox's: PyPI's torch is built for GPUs
    importlib.invalidate_caches()
    assert not torch_gpus.built_for_gpus()
