"""Which Python an installation gets, and that mnrun starts in it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result, run
from ansible_collections.mnrun.train.plugins.module_utils.handover.python import (
    Installation,
    find_python,
    make_environment,
)
from ansible_collections.mnrun.train.plugins.module_utils.handover.unpack import unpack
from ansible_collections.mnrun.train.plugins.plugin_utils.bundle import installation


def pythons(**minors: int) -> object:
    def fake(command: list[str], _seconds: float, _stdin: str) -> Result:
        name = command[0].rpartition("/")[2].replace(".", "_")
        if name not in minors:
            raise Invalid("there is no such program")
        return Result(0, f"a banner\npython 3 {minors[name]}\n", "")

    return fake


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"own": 12, "python3": 11}, "/x/own"),
        ({"own": 10, "python3": 11}, "python3"),
        ({"own": 10, "python3": 9, "python3_12": 12}, "python3.12"),
    ],
)
def test_the_first_that_is_new_enough(there: dict[str, int], chosen: str) -> None:
    wanted = Installation(Path("/i"), ["/x/own"], 11)
    assert find_python(wanted, pythons(**there)) == chosen  # type: ignore[arg-type]


def test_none_is_told_with_what_there_is() -> None:
    wanted = Installation(Path("/i"), [], 11)
    with pytest.raises(Invalid, match=r"Python 3\.11 or newer .*python3 is 3\.9.*mnrun_relay_pyt"):
        find_python(wanted, pythons(python3=9))  # type: ignore[arg-type]


def test_mnrun_starts_from_what_the_controller_brings(tmp_path: Path) -> None:
    bundle, minor = installation()
    archive, folder = tmp_path / "archive", tmp_path / bundle.name
    archive.write_bytes(gzip.compress(bundle.archive, 1))
    wanted = Installation(folder, [sys.executable], minor)
    unpack(archive, bundle.digest, folder, lambda new: make_environment(new, wanted, run))
    for words in (["-m", "mnrun", "--version"], ["-m", "mnrun.relay", "--help"]):
        done = subprocess.run(
            [str(folder / "env/bin/python"), "-I", "-B", *words],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    playbook = [str(folder / "env/bin/ansible-playbook"), "--version"]
    said = subprocess.run(playbook, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout.startswith("ansible-playbook [core ")
    assert str(folder) in said.stdout
