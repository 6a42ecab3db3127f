"""A result that a manifest describes: does it exist, belong to this spec, and is it complete?"""

from __future__ import annotations

from pathlib import Path

from ..base.errors import Refused
from ..base.presence import is_dir, names
from ..model import manifest
from ..record.contract import ManifestRule
from ..trainer.checkpoint import Checkpoint, Survey


def survey_manifest(rule: ManifestRule, key: str) -> Survey:
    """Look for the result of the fingerprint `key`: in its folder, or where it was moved to.

    Raises OSError if it cannot be read, and Refused for one of a later mnrun.
    """
    try:
        return _survey(rule, key)
    except manifest.NewerError as error:
        raise Refused(str(error)) from error


def _survey(rule: ManifestRule, key: str) -> Survey:
    names(rule.path.parent)  # a network file system then knows what a compute node has renamed
    aside = rule.path.with_name(f"{rule.path.name}.{key[:12]}")
    for folder in (rule.path, aside):
        found = manifest.read(folder)
        if found and found["fingerprint"] == key:
            faults = manifest.faults(folder) and manifest.faults(folder)  # it may recover
            whole = None if faults else Checkpoint(found["step"], folder, folder)
            return Survey(whole, faults)
    if is_dir(rule.path) and manifest.read(rule.path) is None:
        return Survey(None, manifest.faults(rule.path))
    return Survey(None, [f"{rule.path} contains no result of these options"])


def described(result: Checkpoint) -> dict[str, float]:
    """The metrics in the manifest of a complete result."""
    found = manifest.read(Path(result.path))
    return dict(found["metrics"]) if found else {}
