"""The ledger: fingerprints, records that are whole or refused, and the lock."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import files
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Busy,
    Damaged,
    Invalid,
    Newer,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import (
    differences,
    fingerprint,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.lock import stage_lock
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger, stages
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fake_slurm import FakeClock

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SPECS = st.dictionaries(st.text(), VALUES, max_size=5)


@given(SPECS)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(spec: dict[str, object]) -> None:
    assert fingerprint(spec) == fingerprint(dict(reversed(spec.items())))


@given(SPECS)
def test_a_fingerprint_survives_the_way_over_json(spec: dict[str, object]) -> None:
    assert fingerprint(json.loads(json.dumps(spec))) == fingerprint(spec)


@given(SPECS, SPECS)
def test_differences_are_told_exactly_when_the_fingerprints_differ(
    one: dict[str, object], two: dict[str, object]
) -> None:
    assert bool(differences(one, two)) == (fingerprint(one) != fingerprint(two))


def test_numbers_and_truths_are_as_their_text_on_a_command_line() -> None:
    spec = {"nodes": 2, "lr": 1e-06, "wandb": True}
    assert fingerprint(spec) == fingerprint({"nodes": "2", "lr": "1e-06", "wandb": "true"})
    assert fingerprint(spec) != fingerprint({**spec, "nodes": "02"})


def test_differences_name_the_option_and_both_values() -> None:
    old = {"options": {"lr": 0.1, "gone": 1}, "model": "a"}
    new = {"options": {"lr": 0.2}, "model": "a", "nodes": [1, 2]}
    assert differences(old, new) == [
        'nodes: (not set) -> ["1", "2"]',
        "options.gone: 1 -> (not set)",
        "options.lr: 0.1 -> 0.2",
    ]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "a'; echo foo", "sft", FakeClock())


def a_record(**changes: object) -> Record:
    spec = {"lr": 0.1}
    attempt = Attempt(1, "t0", "n-1", 5.0, Phase.FAILED, "12", state="FAILED", exit_code=1)
    record = Record("sft", "slurm", fingerprint(spec), spec, {"owner": "me"}, [attempt])
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was_written(ledger: Ledger) -> None:
    record = a_record(output={"step": 3})
    ledger.save(record)
    assert ledger.load(record.fingerprint) == record
    assert ledger.load(record.fingerprint[:12]) == record
    assert ledger.records() == [record]
    assert stages(ledger.run_dir) == ["sft"]


def test_a_run_without_records_has_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "nowhere", "sft", FakeClock())
    assert (ledger.records(), ledger.load("0" * 12), stages(tmp_path / "nowhere")) == ([], None, [])


def test_what_a_crash_left_behind_is_no_record(ledger: Ledger) -> None:
    ledger.save(a_record())
    (ledger.folder("0" * 12)).mkdir()
    (ledger.folder("1" * 12)).mkdir()
    (ledger.folder("1" * 12) / ".record.json.1234").write_text("{")
    assert len(ledger.records()) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", None, "Expecting value"),
        ("{", "", "Expecting property name"),
        ('"version": 1', '"version": 0', "its version is not 1"),
        ('"version": 1', '"version": "2"', "its version is not 1"),
        ('"sft"', '"ppo"', "it belongs to the stage 'ppo'"),
        ('"lr": 0.1', '"lr": 0.2', "its spec was changed"),
        ('"number": 1', '"number": "1"', "an attempt's number is '1'"),
        ('"phase": "failed"', '"phase": "happy"', "'happy' is not a valid Phase"),
        ('"token": "t0",', "", "an attempt has no token"),
        ('"job_id": "12"', '"job": "12"', "unexpected keyword argument 'job'"),
        ('"output": null', '"output": 3', "output is not a mapping"),
        ('"attempts": [', '"attempts": 3, "x": [', "not iterable"),
    ],
)
def test_a_damaged_record_is_refused_by_name(
    ledger: Ledger, old: str, new: str | None, said: str
) -> None:
    record = a_record()
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    whole = path.read_text()
    assert old in whole
    path.write_text(
        "" if new is None else whole[1:] if not new and old == "{" else whole.replace(old, new)
    )
    with pytest.raises(Damaged, match="nothing is done for this stage") as caught:
        ledger.records()
    assert str(path) in caught.value.message


@pytest.mark.parametrize(("kind", "field"), [("slurm", "slurm_cluster"), ("ray", "head_job")])
def test_a_record_with_the_old_name_of_where_its_job_is_can_be_read(
    ledger: Ledger, kind: str, field: str
) -> None:
    attempt = Attempt(1, "t", "n-1", 5.0, job_id="12")
    setattr(attempt, field, "7")
    record = Record("sft", kind, fingerprint({"a": 1}), {"a": 1}, attempts=[attempt])
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    data = json.loads(path.read_text())
    del data["sum"], data["attempts"][0]["slurm_cluster"], data["attempts"][0]["head_job"]
    data["attempts"][0]["cluster"] = "7"
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    path.write_text(json.dumps({**data, "sum": digest}))
    assert ledger.load(record.fingerprint) == record


def test_a_record_in_another_ones_place_is_refused(ledger: Ledger) -> None:
    record = a_record()
    ledger.save(record)
    ledger.folder(record.fingerprint).rename(ledger.folder("0" * 12))
    with pytest.raises(Damaged, match="record of other options"):
        ledger.records()


def test_a_write_that_fails_leaves_the_old_record_and_no_rubbish(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record()
    ledger.save(record)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ledger.save(replace(record, labels={"owner": "you"}))
    assert ledger.load(record.fingerprint) == record
    assert os.listdir(ledger.folder(record.fingerprint)) == ["record.json"]  # noqa: PTH208


@pytest.mark.parametrize("path", ["/run\nrm", "/run\0", "~/a\tb"])
def test_a_path_with_a_line_break_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="control character"):
        files.expand(path)


@pytest.mark.parametrize("path", ["", "run", "./run", "$HOME/run", "~nobody-like-that/run"])
def test_a_path_that_depends_on_where_one_stands_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="must start with / or ~/"):
        files.expand(path)


def test_a_path_is_made_absolute_and_keeps_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    assert files.expand("~/x/../a b") == tmp_path / "home" / "a b"


HOLDER = """
import sys, time
from pathlib import Path
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.lock import stage_lock
with stage_lock(Path(sys.argv[1]), Clock(), 5):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `tmp_path/lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_keeps_others_out_and_names_its_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    path = tmp_path / "lock"
    said = rf"\(process {holder.pid}\) is working on this stage"
    with pytest.raises(Busy, match=said), stage_lock(path, FakeClock(), 300.0):
        pass


def test_a_lock_is_free_when_its_holder_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    with stage_lock(tmp_path / "lock", Clock(), 5.0):
        pass
    with stage_lock(tmp_path / "lock", Clock(), 0.0):
        pass


def rewritten(path: Path, **changes: object) -> None:
    """What another version of mnrun wrote: a whole record, with its checksum."""
    data = {**json.loads(path.read_text()), **changes}
    data.pop("sum")
    text = json.dumps(data, sort_keys=True)
    data["sum"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    path.write_text(json.dumps(data))


def test_a_record_of_a_later_mnrun_is_left_as_it_is(ledger: Ledger) -> None:
    record = a_record()
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    rewritten(path, version=2, mnrun="0.9.0", attempts={"in": "another form"})
    before = path.read_bytes()
    with pytest.raises(Newer, match=r"was written by mnrun 0\.9\.0, a later one .*Update mnrun"):
        ledger.records()
    assert ledger.readable()[0] == []
    assert "version 2" in ledger.readable()[1][0].message
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [2.0, 1.5, "2", "1.1", "next", 10**40])
def test_whatever_a_later_mnrun_calls_its_version(ledger: Ledger, version: object) -> None:
    record = a_record()
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    rewritten(path, version=version)
    with pytest.raises(Newer):
        ledger.load(record.fingerprint)


@pytest.mark.parametrize(
    "changes",
    [{"token": ""}, {"token": "a b"}, {"token": "a=b"}, {"number": True}, {"number": -1},
     {"number": 0}, {"number": 10**30}, {"job_id": "1" * 500}, {"submitted_by": True},
     {"last_step": False}],
)  # fmt: skip
def test_what_no_attempt_has_is_not_taken_from_a_record(
    ledger: Ledger, changes: dict[str, object]
) -> None:
    record = a_record()
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    attempts = json.loads(path.read_text())["attempts"]
    rewritten(path, attempts=[{**attempts[0], **changes}])
    with pytest.raises(Damaged, match=f"an attempt's {next(iter(changes))} is"):
        ledger.load(record.fingerprint)
    rewritten(path, attempts={})
    with pytest.raises(Damaged, match="attempts is not a list"):
        ledger.load(record.fingerprint)


def test_fields_that_are_not_known_are_kept(ledger: Ledger) -> None:
    record = a_record()
    ledger.save(record)
    path = ledger.folder(record.fingerprint) / "record.json"
    attempts = json.loads(path.read_text())["attempts"]
    rewritten(path, queue="fast", attempts=[{**attempts[0], "energy": {"joule": 5}}])
    (found,) = ledger.records()
    found.labels["owner"] = "you"
    found.attempts.append(Attempt(2, "t1", "n-2", 6.0))
    ledger.save(found)
    data = json.loads(path.read_text())
    assert (data["queue"], data["attempts"][0]["energy"]) == ("fast", {"joule": 5})
    assert data["labels"] == {"owner": "you"}
    assert "energy" not in data["attempts"][1]
    assert ledger.records() == [found]
