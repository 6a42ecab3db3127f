"""The report's curves and time lines as pictures: SVG always, PNG where matplotlib is installed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

from mnrun.report import facts
from mnrun.report.chart import HEIGHT, WIDTH, Line, chart, finite, scales
from mnrun.report.markup import Safe, clean, tag
from mnrun.report.spent import KINDS, Row, rows
from mnrun.report.timeline import in_order, timeline

Found = Mapping[str, Any]

_COLOURS = ("#0969da", "#d1570c", "#1a7f37", "#8250df", "#bf3989", "#1b7c83", "#7d6608", "#57606a")
_KIND_COLOURS = dict(
    zip(
        KINDS,
        ("#b6bec7", "#e3b341", "#2da44e", "#8250df", "#54aeff", "#a5673f", "#f0a9a0"),
        strict=True,
    )
)


class Picture(NamedTuple):
    """One picture, before it is drawn."""

    name: str
    """Of its file, without the ending."""
    title: str
    lines: Sequence[Line] = ()
    rows: Sequence[Row] = ()


def pictures(runs: Sequence[Found]) -> Iterator[Picture]:
    """Yield the pictures of a report: a metric of a stage each, and the time line of each run."""
    used: set[str] = set()
    for stage in facts.TRAINED:
        for metric in facts.metrics(runs, stage):
            name = _new_name(f"{stage}-{metric}", used)
            lines = facts.lines(runs, stage, metric)
            yield Picture(name, f"{stage}: {facts.title(metric)}", lines=lines)
    for number, run in enumerate(runs, 1):
        found = rows(run)
        if found:
            yield Picture(f"time-{number}", f"time of {run['name']}", rows=found)


def _new_name(text: str, used: set[str]) -> str:
    """A name for a file that no other picture has: a/b and a_b are two metrics."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]
    others = (f"{name}-{number}" for number in count(2))
    free = next(one for one in chain([name], others) if one not in used)
    used.add(free)
    return free


def svg(picture: Picture) -> str:
    """Return a picture as an SVG file that needs nothing else."""
    drawn = chart(picture.title, picture.lines) if picture.lines else timeline(picture.rows)
    css = (files("mnrun.report") / "page.css").read_text(encoding="utf-8")
    own = f"{css}\nsvg {{ background: var(--paper); }}"
    return drawn.replace(">", f">{tag('style', Safe(own.replace('<', '')))}", 1) + "\n"


def write_png(picture: Picture, path: Path) -> None:
    """Draw a picture into a PNG file. Raises ImportError without matplotlib."""
    # Imported here: slow, and not needed for the page.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    size = (
        (WIDTH / 80, HEIGHT / 80)
        if picture.lines
        else (9.6, 1.1 + 0.3 * len({row.stage for row in picture.rows}))
    )
    figure = Figure(figsize=size, dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw = _curves if picture.lines else _bars
    draw(axes, picture)
    axes.set_title(_plain(picture.title), fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path)


def _plain(text: str) -> str:
    """Return a text as matplotlib shows it: a dollar would begin a formula."""
    return " ".join(clean(text).split())[:60].replace("$", r"\$")


def _curves(axes: Any, picture: Picture) -> None:
    _x, y = scales(picture.lines)
    for line in picture.lines:
        colour = _COLOURS[line.place]
        drawn = dict(finite(line))
        steps = [step for step, _value in line.points]
        values = [drawn.get(step, float("nan")) for step in steps]
        mark = "o" if len(steps) <= 12 else ""
        axes.plot(steps, values, color=colour, lw=1.2, marker=mark, ms=3, label=_plain(line.name))
        for _attempt, step in line.resumes:
            axes.axvline(step, color=colour, lw=0.8, ls="--", alpha=0.7)
    axes.set_yscale("log" if y.log else "linear")
    axes.set_xlabel("step", fontsize=8)
    axes.grid(axis="y", lw=0.4)
    if len(picture.lines) > 1:
        axes.legend(fontsize=8, frameon=False)


def _bars(axes: Any, picture: Picture) -> None:
    stages = in_order(picture.rows)
    begin = min(one.start for row in picture.rows for one in row.slices)
    shown: set[str] = set()
    for row in picture.rows:
        for one in row.slices:
            label = None if one.kind in shown else one.kind
            shown.add(one.kind)
            axes.barh(stages.index(row.stage), one.seconds / 60, left=(one.start - begin) / 60,
                      color=_KIND_COLOURS[one.kind], label=label, height=0.7)  # fmt: skip
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.set_xlabel("minutes", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncols=len(shown), loc="upper center",
                bbox_to_anchor=(0.5, -0.35))  # fmt: skip
