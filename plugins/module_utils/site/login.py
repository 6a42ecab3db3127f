"""All that a login node shows of its site, in one look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping

from ..base.login import login_environment
from ..base.process import Runner, this_user
from ..slurm.client import SlurmClient
from .bounded import bounded, together
from .folders import folders, models, tables
from .outside import HUB, reaches, wandb_key
from .scheduler import scheduler
from .software import Modules, condas, environments, modules

_OUTSIDE = 5.0  # seconds for a host outside of the site
_WHOLE = 40.0  # seconds for looks that are not bounded otherwise


def look(client: SlurmClient, run: Runner, packages: list[str]) -> dict[str, Any]:
    """The facts of a site, as `mnrun init` reads them; None for what gave no answer in time.

    Args:
        client: Slurm.
        run: runs other commands.
        packages: whose versions to look for in Python environments.
    """
    user, home_text, shell = this_user()
    home = Path(home_text)
    environment = {**os.environ, **bounded(lambda: login_environment(shell), {}, 12.0)}
    parts: list[Any] = together(
        [
            (lambda: scheduler(client, user), None),
            (lambda: _software(home, user, environment, packages, run), None),
            # A name that no server resolves may take long, too.
            (lambda: bounded(lambda: reaches(HUB, environment), False, _OUTSIDE), None),
            (lambda: wandb_key(home), ""),
        ],
        _WHOLE,
    )
    slurm, rest, hub, key = parts
    return {
        "host": os.uname().nodename.partition(".")[0],
        "user": user,
        "home": str(home),
        "shell": shell,
        "slurm": slurm,
        **(rest or _NOTHING),
        "hub": hub,
        "wandb_key": key,
    }


_NOTHING: dict[str, Any] = {
    "modules": None, "conda": [], "environments": None, "folders": [], "models": [], "tables": [],
}  # fmt: skip


def _software(
    home: Path, user: str, environment: Mapping[str, str], packages: list[str], run: Runner
) -> dict[str, Any]:
    there = folders(home, user, environment, run)
    roots = [Path(one["path"]) for one in there if one["why"] == "home" or one["why"][0] == "$"]
    roots = roots or [home]
    found = bounded(lambda: modules(environment, run), Modules(), 20.0)
    no_hooks: list[dict[str, str]] = []
    hooks = bounded(lambda: condas(environment, roots, found, run), no_hooks, 15.0)
    names = [one["hook"] for one in hooks]
    prefixes, known, files = together(
        [
            (lambda: environments(roots, names, packages), None),
            (lambda: models(roots), []),
            (lambda: tables(roots), []),
        ],
        15.0,
    )
    return {
        "modules": found._asdict(),
        "conda": hooks,
        "environments": prefixes,
        "folders": there,
        "models": known,
        "tables": files,
    }
