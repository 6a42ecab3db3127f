"""Whatever a disk answers to being asked to keep something: one message, and no job twice."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.module_exit import with_edge
from ansible_collections.mnrun.train.plugins.module_utils.model import manifest
from ansible_collections.mnrun.train.plugins.module_utils.model.folder import model_faults
from ansible_collections.mnrun.train.plugins.module_utils.model.weights import safetensors_fault

from tests.helpers.checkpoints import write_hf
from tests.helpers.manifests import ABOUT
from tests.helpers.stage_run import Run


class Module:
    """What with_edge calls of an Ansible module."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def fail_json(self, msg: str, **_: Any) -> None:
        self.failed = msg

    def exit_json(self, **_: Any) -> None:
        self.failed = None


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT])
def test_an_error_at_any_sync_is_one_message(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real, left = os.fsync, [0]

    def failing(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    messages = []
    for first in range(1, 60):
        left[0] = first
        module = Module()
        with_edge(module, lambda: {"why": run.present(checkpoints=run.rule).why})
        if left[0] > 0:
            break
        messages += [module.failed] if module.failed else []
        assert len(run.slurm.jobs) <= 1
    assert len(messages) > 3
    for message in messages:
        assert os.strerror(number) in message
        assert str(run.folder) in message


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"a":' * 100_000,
        json.dumps({**ABOUT, "version": 1, "files": {"a\0b": {"size": 1, "sha256": "0"}}}),
        json.dumps({**ABOUT, "version": 1, "files": {"a" * 5000: {"size": 1, "sha256": "0"}}}),
        json.dumps({**ABOUT, "version": 1, "files": {"\udc80": {"size": 1, "sha256": "0"}}}),
        '{"version": 1e999}',
        '{"version": NaN}',
    ],
)
def test_a_manifest_of_any_text_is_no_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_text(text)
    assert "damaged" in manifest.faults(tmp_path)[0]


@pytest.mark.parametrize(
    "end", ["1e400", "-1", "NaN", "true", '"16"', "null", "[]", "9" * 400, "1.5", "{}"]
)
def test_an_offset_of_any_kind_is_no_traceback(tmp_path: Path, end: str) -> None:
    header = f'{{"w": {{"data_offsets": [0, {end}]}}}}'.encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert "is damaged" in safetensors_fault(tmp_path / "w")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("text", [DEEP, '{"weight_map": {"w": "a\\u0000b"}}', "\0", '"x"', "[]"])
def test_a_model_with_any_text_is_no_traceback(tmp_path: Path, name: str, text: str) -> None:
    write_hf(tmp_path)
    (tmp_path / name).write_text(text)
    faults = model_faults(tmp_path)
    assert faults or (name == "config.json" and text.startswith("{"))


def test_a_file_without_a_name_is_one_message() -> None:
    module = Module()

    def act() -> dict[str, Any]:
        raise OSError(errno.EIO, "Input/output error")

    with_edge(module, act)
    assert module.failed is not None
    assert "Input/output error" in module.failed
