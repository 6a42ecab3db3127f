"""The installed trainer against the profile, and what is to be started."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.preflight import fits

OTHERS = {
    "old": {"package": "train", "version": ">=0.5,<0.6"},
    "new": {"package": "train", "version": ">=0.9"},
    "none": {},
}


def fault(monkeypatch: pytest.MonkeyPatch, version: str | None) -> list[str]:
    def there(_name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(metadata, "version", there)
    trainer = {"stage": "sft", "profile": "old", "needs": OTHERS["old"], "others": OTHERS}
    return list(fits.fit_faults(trainer))


def test_the_profile_that_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(monkeypatch, "0.5.2") == []
    start = "sft: the trainer profile old needs train >=0.5,<0.6, and"
    assert fault(monkeypatch, "0.9.1") == [f"{start} 0.9.1 is installed; set mnrun_trainer: new"]
    (unknown,) = fault(monkeypatch, "0.7")
    assert "0.7 is installed; set another profile" in unknown
    (missing,) = fault(monkeypatch, None)
    assert "has none; install it" in missing


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("", "set sft_trainer to a module, a script or a program"),
        ("train.py", "write the whole path"),
        ("/none/such/train.py", "there is no file /none/such/train.py"),
        ("no_such_package.train", "has no package no_such_package"),
        ("json.tool", ""),
        ("accelerate", ""),
        (str(Path(__file__)), ""),
    ],
)
def test_what_is_to_be_started_is_there(program: str, fault: str) -> None:
    faults = list(fits.fit_faults({"stage": "sft", "program": program}))
    assert [fault in text for text in faults] == ([True] if fault else [])
