"""Writes a report into a folder, and says what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnrun.errors import CliError
from mnrun.report.markdown import markdown
from mnrun.report.page import page
from mnrun.report.pictures import Picture, pictures, svg, write_png

Found = Mapping[str, Any]

FOLDER = "mnrun-report"
"""Where it is written by default."""


def write(runs: Sequence[Found], folder: Path, site: str, version: str) -> Iterator[str]:
    """Write the page, the pictures and the Markdown; yield lines for the user.

    Files of the same names are overwritten, others are left.

    Raises:
        CliError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _text(folder / "report.html", page(runs, site, version))
        yield f"{folder / 'report.html'}  the page; it needs no network"
        every = list(pictures(runs))
        drawn, note = _draw(every, folder)
        _text(folder / "report.md", markdown(runs, drawn))
    except OSError as error:
        raise CliError(f"The report cannot be written: {error}") from error
    yield f"{folder / 'report.md'}  Markdown for a pull request, with the pictures beside it"
    if drawn:
        names = sorted({name.rpartition(".")[2].upper() for _title, name in drawn})
        yield f"{folder}/  {len(drawn)} pictures ({', '.join(names)})"
    yield from note


def _draw(every: Sequence[Picture], folder: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Write the pictures; return title and name of each file, and what a user should know."""
    for one in every:
        _text(folder / f"{one.name}.svg", svg(one))
    try:
        for one in every:
            write_png(one, folder / f"{one.name}.png")
    except ImportError:
        note = "No PNG files: matplotlib is not installed here (pip install 'mnrun[report]')."
        return [(one.title, f"{one.name}.svg") for one in every], [note] if every else []
    return [(one.title, f"{one.name}.png") for one in every], []


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
