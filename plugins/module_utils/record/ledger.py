"""The ledger: what was submitted for each spec of a stage, on the cluster's shared file system.

`<run>/.mnrun/<stage>/<fingerprint12>/record.json`, written atomically. A record that cannot be
read, was changed, or is in the wrong place is never trusted; see stage/rebuild.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Iterator

from ..base.clock import Clock
from ..base.errors import Damaged, Newer
from ..base.files import make_directory, parse_json, sync_directory, write_atomic
from ..base.fingerprint import fingerprint
from ..base.lock import stage_lock
from ..base.presence import is_dir, is_file, names, read_text
from .contract import Attempt, Phase, Record
from .inside import FORM
from .intent import Intent, newest
from .job_report import claims

VERSION = 1
_MOST_ATTEMPTS = 999_999  # as their scripts have room for
LOCK_LIMIT = 300.0  # seconds; longer than any single act under the lock
_FOLDER = re.compile(r"[0-9a-f]{12}")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_FORMS = {  # of what gets into command lines
    "token": re.compile(r"[A-Za-z0-9-]{1,64}"),
    "job_id": re.compile(r"|[A-Za-z0-9][A-Za-z0-9._-]{0,120}"),
    "head_job": re.compile(rf"|[1-9][0-9]*|{FORM}"),
    "slurm_cluster": re.compile(rf"|{_NAME}"),
    "submitted_on": re.compile(rf"|{_NAME}"),
    "lost_nodes": re.compile(rf"|{_NAME}(,{_NAME})*"),
    "exclude": re.compile(rf"|{_NAME}(,{_NAME})*"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (int, float),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "dict[str, Any] | None": (dict, type(None)),
}


class Ledger:
    """The records of one stage of one run."""

    def __init__(self, run_dir: Path, stage: str, clock: Clock) -> None:
        self.run_dir = run_dir
        self.stage = stage
        self._root = run_dir / ".mnrun" / stage
        self._clock = clock

    def folder(self, key: str) -> Path:
        """The folder of the record with the fingerprint `key`, with the files of its jobs."""
        return self._root / key[:12]

    def folders(self) -> list[str]:
        """The fingerprints (their first 12 characters) that have a folder."""
        return [name for name in names(self._root) if _FOLDER.fullmatch(name)]

    def records(self) -> list[Record]:
        """All records of the stage, with its newest intent even if that is in none of them. Raises
        Damaged for the first that cannot be trusted."""
        # First, as a submission in between is then missing at most there.
        intent = self.newest_intent()
        found = [record for key in self.folders() if (record := self.load(key))]
        return _with_intent(found, intent)

    def newest_intent(self) -> Intent:
        """The newest intent of the stage."""
        return newest(self.intents)

    @property
    def intents(self) -> Path:
        """The folder of the stage's intents."""
        return self._root / "intents"

    def readable(self) -> tuple[list[Record], list[Damaged]]:
        """The records that can be trusted, and what is wrong with the others."""
        found = [self._try(key) for key in self.folders()]
        whole = [one for one in found if isinstance(one, Record)]
        return whole, [one for one in found if isinstance(one, Damaged)]

    def load(self, key: str) -> Record | None:
        """The record of a fingerprint (12 characters suffice); None if it does not exist.

        Raises:
            Damaged: it cannot be trusted, or is missing although a job worked on it.
            Newer: a later mnrun wrote it.
            OSError: it cannot be read now.
        """
        try:
            return self._load(key)
        except Newer:
            raise
        except Damaged:
            return self._load(key)  # a file system that just recovered shows what is not damaged

    def _load(self, key: str) -> Record | None:
        path = self.folder(key) / "record.json"
        text = read_text(path)
        if text is None and not claims(path.parent):
            return None
        return _parse(text or "", path, self.stage, key)

    def save(self, record: Record) -> None:
        """Write a record; it is on disk when this returns."""
        folder = self.folder(record.fingerprint)
        if make_directory(folder):
            sync_directory(self._root)
        data = {**record.as_dict(), "version": VERSION}
        text = json.dumps({**data, "sum": _sum(data)}, indent=1)
        write_atomic(folder / "record.json", text + "\n")

    def damage(self, key: str) -> Damaged | None:
        """What is wrong with a record, if anything."""
        found = self._try(key)
        return found if isinstance(found, Damaged) else None

    def _try(self, key: str) -> Record | Damaged | None:
        try:
            return self.load(key)
        except Damaged as damage:
            return damage

    def keep(self, key: str, stamp: str) -> Path | None:
        """Copy a damaged record, before it is overwritten; returns the copy. None if there is no
        such file."""
        path = self.folder(key) / "record.json"
        if not is_file(path):
            return None
        kept = path.with_name(f"record.damaged-{stamp}.json")
        shutil.copyfile(path, kept)
        return kept

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other controllers off this stage. Raises Busy after LOCK_LIMIT seconds."""
        make_directory(self._root)
        with stage_lock(self._root / "lock", self._clock, LOCK_LIMIT):
            yield


def _with_intent(records: list[Record], intent: Intent) -> list[Record]:
    """A submission that a crash, or another controller without a lock, kept out of its record."""
    if not intent.number:
        return records
    alone = _record(intent.data)
    (attempt,) = alone.attempts
    if any(one.token == attempt.token for record in records for one in record.attempts):
        return records
    ours = next((one for one in records if one.fingerprint == alone.fingerprint), None)
    if ours is None:
        return [*records, alone]
    if not ours.last or ours.last.number < attempt.number:
        ours.attempts.append(attempt)
    return records


def stages(run_dir: Path) -> list[str]:
    """The stages with records in a run."""
    root = run_dir / ".mnrun"
    return [name for name in names(root) if is_dir(root / name)]


def _parse(text: str, path: Path, stage: str, key: str) -> Record:
    try:
        data = parse_json(text)
        _expect(isinstance(data, dict), "it is truncated, or not JSON")
        _refuse_newer(data, path)
        record = _record(data)
        _expect(data.get("version") == VERSION, f"its version is not {VERSION}")
        _expect(record.stage == stage, f"it belongs to the stage {record.stage!r}")
        _expect(record.fingerprint == fingerprint(record.spec), "its spec was changed")
        _expect(record.fingerprint.startswith(key), "it is the record of other options")
        _expect(_is_whole(data), "its checksum is wrong")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(
            f"The record {path} is damaged ({error}), so nothing is done for this stage. Running "
            "the stage itself rebuilds it, if that can be done with certainty.",
            reason=str(error),
        ) from error
    return record


def _refuse_newer(data: dict[str, Any], path: Path) -> None:
    version: Any = data.get("version")
    writer = f"mnrun {data.get('mnrun', '')}".strip()
    later = type(version) in (int, float) and version > VERSION
    if later or (isinstance(version, str) and _is_whole(data)):  # whatever it calls its version
        raise Newer(
            f"The record {path} was written by {writer}, a later one (version {version!s:.20} of "
            f"the record; this one knows up to {VERSION}), so nothing is done for this stage. "
            "Update mnrun here, and run this again.",
            reason=f"its version is {version}",
        )


def _sum(data: dict[str, Any]) -> str:
    """A checksum of the content, not of the text, to detect changes by a disk or an editor."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _is_whole(data: dict[str, Any]) -> bool:
    return bool(data.get("sum") == _sum({key: data[key] for key in data if key != "sum"}))


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)


_KNOWN = {"version", "sum", *(field.name for field in fields(Record))}


def _record(data: dict[str, Any]) -> Record:
    _expect(isinstance(data["attempts"], list), "attempts is not a list")
    record = Record(
        stage=data["stage"],
        kind=data["kind"],
        fingerprint=data["fingerprint"],
        spec=dict(data["spec"]),
        labels=dict(data["labels"]),
        attempts=[_attempt(item, data["kind"]) for item in data["attempts"]],
        output=data["output"],
        trainer=dict(data.get("trainer") or {}),
        others={name: value for name, value in data.items() if name not in _KNOWN},
    )
    texts = (record.stage, record.kind, record.fingerprint)
    _expect(all(isinstance(text, str) for text in texts), "a text is missing")
    _expect(record.output is None or isinstance(record.output, dict), "output is not a mapping")
    return record


def _attempt(item: dict[str, Any], kind: str) -> Attempt:
    values = dict(item, phase=Phase(item["phase"]))
    if "cluster" in values:  # what either field was called once
        values["head_job" if kind == "ray" else "slurm_cluster"] = values.pop("cluster")
    known = [field for field in fields(Attempt) if field.name != "others"]
    names_known = {field.name for field in known}
    others = {name: values.pop(name) for name in list(values) if name not in names_known}
    for field in known:
        if field.name not in values:
            _expect(field.default is not MISSING, f"an attempt has no {field.name}")
        elif field.name != "phase":
            # With postponed annotations a field's type is its text.
            right = _is_of(values[field.name], _TYPES[str(field.type)])
            _expect(right, f"an attempt's {field.name} is {values[field.name]!r}")
    _expect(0 < values["number"] <= _MOST_ATTEMPTS, f"an attempt's number is {values['number']}")
    for name, form in _FORMS.items():
        given = values.get(name) or ""
        _expect(form.fullmatch(given) is not None, f"an attempt's {name} is {given!r}")
    return Attempt(**values, others=others)


def _is_of(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a value is of one of `types`; True and False are no numbers."""
    return isinstance(value, types) and not isinstance(value, bool)
