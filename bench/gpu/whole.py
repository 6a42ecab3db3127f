"""What a whole job comes to, by its files and by `mnrun status`."""

from __future__ import annotations

from typing import Any

from . import figures
from .site import Site


def whole_of(site: Site, run: str) -> dict[str, Any]:
    """The figures of each stage."""
    shown = site.mnrun("status", run=run, limit=120)
    return {**figures.of(site.run(run)), "use": figures.use(shown.output)}
