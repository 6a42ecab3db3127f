"""The trainer's configuration as Hydra composes it, kept in the user's cache.

Composing it takes Hydra most of a second of processor time, with each command, and comes to the
same until the options or the trainer's files change. Each file in the cache is named by all that
its content follows from.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ..base.compiled import load, store
from ..base.errors import Invalid

FOLDER = "~/.cache/mnrun/composed"
MOST = 32
"""Files in it, of 20 kB; the oldest go first."""

# What is known without Hydra: an interpolation that one of its own resolvers works out is not.
_OF_HYDRA = re.compile(rb"\$\{(?!oc\.)[\w.]+:")
# Files from elsewhere, or chosen by the environment.
_ELSEWHERE = re.compile(rb"searchpath|^defaults:(?:\n[ \t#-].*|\n)*\$\{oc\.", re.MULTILINE)


class NotComposed(Invalid):
    """Hydra refuses the options."""


def composed(folder: Path, name: str, overrides: list[str]) -> Any:
    """The configuration `name` of a folder, an OmegaConf. Raises NotComposed for options that it
    does not have, Invalid where there is no Hydra."""
    place = _place(folder, name, overrides)
    content = load(place) if place else None
    if content is not None:
        with suppress(Exception):  # of a damaged file anything can come
            return pickle.loads(content)  # noqa: S301 - the user's own, sealed
    config = _compose(folder, name, overrides)
    if place:
        with suppress(pickle.PicklingError, TypeError, AttributeError):
            content = pickle.dumps(config)
            if not _OF_HYDRA.search(content):
                store(place, content, MOST)
    return config


def _place(folder: Path, name: str, overrides: list[str]) -> Path | None:
    """The file of this configuration; None if it may have parts from elsewhere."""
    if any("hydra" in override or "${oc." in override for override in overrides):
        return None
    try:
        versions = [metadata.version(package) for package in ("hydra-core", "omegaconf")]
        states = [(str(path), path.stat()) for path in sorted(folder.rglob("*.yaml"))]
        if any(_ELSEWHERE.search(Path(path).read_bytes()) for path, _ in states):
            return None
        cache = Path(FOLDER).expanduser()
    except (metadata.PackageNotFoundError, OSError, RuntimeError):
        return None
    files = [(path, at.st_size, at.st_ino, at.st_mtime_ns, at.st_ctime_ns) for path, at in states]
    facts = (sys.version, sys.prefix, versions, str(folder), files, name, overrides)
    return cache / hashlib.sha256(repr(facts).encode()).hexdigest()


def _compose(folder: Path, name: str, overrides: list[str]) -> Any:
    try:
        from hydra import compose, initialize_config_dir  # noqa: PLC0415 - only in the environment
        from hydra.errors import HydraException  # noqa: PLC0415
        from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(f"{sys.executable} cannot check trainer options: {error}") from error
    try:
        with initialize_config_dir(str(folder), version_base=None):
            return compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise NotComposed(" ".join(str(error).split())) from error
