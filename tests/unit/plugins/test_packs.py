"""Modules are packed once and compiled once, and run as Ansible's own if that cannot be."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.mnrun.train.plugins.module_utils.base import compiled
from ansible_collections.mnrun.train.plugins.plugin_utils import packs

ROOT = Path(__file__).parents[3]
BUILD = """
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([sys.argv[1]])
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
sent = modify_module(
    module_name="mnrun.train.slurm_job_info",
    module_path=sys.argv[1] + "/ansible_collections/mnrun/train/plugins/modules/slurm_job_info.py",
    module_args={"run_dir": "~/run"},
    templar=Templar(loader=DataLoader()),
    task_vars={"ansible_python_interpreter": sys.executable},
    module_compression="ZIP_DEFLATED",
)
sys.stdout.buffer.write(sent.b_module_data)
"""


@pytest.fixture(scope="module")
def sent() -> bytes:
    """What Ansible sends for a look at a run, as this collection changes it."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, ROOT / "collections"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return packs.with_compiled(done.stdout)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return tmp_path


KEPT = "a" * 64


def run(sent: bytes, *options: str) -> Any:
    """The answer of what is sent, which a host reads from its standard input."""
    done = subprocess.run(
        [sys.executable, *options, "-"], input=sent, capture_output=True, timeout=60, check=True
    )
    return json.loads(done.stdout)["stages"]


def kept(home: Path, folder: str = "modules") -> list[Path]:
    return sorted((home / ".cache/mnrun" / folder).iterdir())


def test_a_module_is_compiled_once_for_each_python(home: Path, sent: bytes) -> None:
    assert run(sent) == []
    (file,) = kept(home)
    assert [file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777] == [0o700, 0o600]
    content = compiled.load(file)
    assert content is not None
    compiled.store(file, content.replace(b"stages", b"STAGES"), 1)
    with pytest.raises(KeyError, match="stages"):
        run(sent)
    assert run(sent, "-O") == []
    assert len(kept(home)) == 2


def test_a_module_can_read_its_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        pack.writestr("kept_for_a_test/__init__.py", "")
        pack.writestr("kept_for_a_test/one.py", "def fail():\n    raise KeyError(1)\n")
    content = packed.getvalue()
    finder = compiled.Finder(compiled._compiled(content), content)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    one = importlib.import_module("kept_for_a_test.one")
    assert inspect.getsource(one) == "def fail():\n    raise KeyError(1)\n"
    with pytest.raises(KeyError, match="1") as raised:
        one.fail()
    assert "    raise KeyError(1)\n" in traceback.format_exception(raised.value)[-2]


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def open_to_all(file: Path) -> None:
    file.chmod(0o622)


def another_seal(file: Path) -> None:
    file.write_bytes(bytes(32) + file.read_bytes()[32:])


def a_link(file: Path) -> None:
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def another_one(file: Path) -> None:
    """Whole and ours, but what was kept under another name."""
    compiled.store(file.with_name("b" * 64), b"y", 9)
    file.with_name("b" * 64).replace(file)


CHANGES = [damage, open_to_all, another_seal, a_link, a_folder, empty, a_pipe, another_one]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_whole_or_not_ours_alone_is_not_run(
    change: Callable[[Path], None], home: Path
) -> None:
    file = home / "cache" / KEPT
    compiled.store(file, b"x" * 1000, 1)
    assert compiled.load(file) == b"x" * 1000
    change(file)
    assert compiled.load(file) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_what_another_user_put_there_is_not_run(home: Path) -> None:
    file = home / "cache" / KEPT
    compiled.store(file, b"x", 1)
    os.chown(file, 65534, 65534)
    assert compiled.load(file) is None


def test_where_nothing_can_be_kept_a_module_runs_all_the_same(home: Path, sent: bytes) -> None:
    (home / ".cache").write_text("not a folder")
    assert run(sent) == []


def test_the_oldest_go(home: Path) -> None:
    for number in range(5):
        file = home / "cache" / (str(number) * 64)
        compiled.store(file, b"x", 3)
        os.utime(file, (number, number))
    assert {path.name[:1] for path in (home / "cache").iterdir()} == {"2", "3", "4"}


def test_what_was_not_kept_there_stays_and_stops_nothing(home: Path) -> None:
    cache = home / "cache"
    (cache / ("0" * 64)).mkdir(parents=True)
    (cache / ("1" * 64)).symlink_to("nowhere")
    theirs = ["notes", ".bashrc", "deadbeef", "x" * 64, "a" * 63]
    for name in theirs:
        (cache / name).write_text("theirs")
        os.utime(cache / name, (1, 1))
    for number in range(4):
        compiled.store(cache / (f"{number + 4}" * 64), b"x", 1)
    left = {path.name for path in cache.iterdir()}
    assert left == {*theirs, "0" * 64, "7" * 64}


def test_what_does_not_start_as_known_is_sent_as_it_is() -> None:
    assert packs.with_compiled(b"#!/bin/sh\necho") == b"#!/bin/sh\necho"


def test_the_next_command_finds_the_pack_unless_it_is_damaged(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ansible = Path(sys.executable).with_name("ansible")
    module = "mnrun.train.slurm_job_info"
    subprocess.run(
        [ansible, "localhost", "-c", "local", "-m", module, "-a", "run_dir=~/run"],
        cwd=ROOT, capture_output=True, timeout=60, check=True,
        env={**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "false"},
    )  # fmt: skip
    (pack,), (_code,) = kept(home, "packs"), kept(home)

    def found() -> list[bytes]:
        """What Ansible finds, of which each command has a folder of its own."""
        shutil.rmtree(home / "ansiballz_cache", ignore_errors=True)
        with packs.kept(module):
            return [path.read_bytes() for path in home.glob("ansiballz_cache/*")]

    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(home))
    assert found() == [compiled.load(pack)]
    damage(pack)
    assert found() == []


def test_modules_of_others_are_left_to_ansible(home: Path) -> None:
    with packs.kept("ansible.builtin.ping"):
        pass
    assert list(home.iterdir()) == []


def test_a_change_of_the_code_makes_another_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("modules", "module_utils"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(packs, "_PLUGINS", tmp_path)
    states = set()
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "module_utils" / "one.py").write_text(text)
        os.utime(tmp_path / "module_utils" / "one.py", (1, 1))  # as an installer does
        packs._state.cache_clear()
        states.add(packs._state())
    packs._state.cache_clear()
    assert len(states) == 2
