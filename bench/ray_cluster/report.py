"""The measurements as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import ways

Row = dict[str, Any]
COLUMNS = {
    "alive": "all nodes alive, s",
    "driver": "the program starts, s",
    "free": "nodes free after its end, s",
    "held": "node-seconds without training",
}


def line(row: Row) -> str:
    """One measurement."""
    times = ", ".join(f"{name} {row[name]:.1f}" for name in COLUMNS)
    return f"{row['way']} on {row['nodes']} nodes: {times}"


def groups(rows: list[Row]) -> Iterator[tuple[int, str, list[Row]]]:
    """The measurements by number of nodes and way."""
    for nodes in sorted({row["nodes"] for row in rows}):
        for way in ways.WAYS:
            found = [row for row in rows if (row["nodes"], row["way"]) == (nodes, way)]
            if found:
                yield nodes, way, found


def table(rows: list[Row]) -> str:
    """Median, and from the least to the greatest in brackets."""
    lines = ["| nodes | way | " + " | ".join(COLUMNS.values()) + " | rounds |"]
    lines.append("|---|---|" + "---|" * (len(COLUMNS) + 1))
    for nodes, way, found in groups(rows):
        cells = [_cell([row[name] for row in found]) for name in COLUMNS]
        lines.append(f"| {nodes} | {way} | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines)


def _cell(times: list[float]) -> str:
    if len(times) == 1:
        return f"{times[0]:.1f}"
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def plot(rows: list[Row], path: Path) -> None:
    """One panel for each column: medians over the number of nodes, with the spread as bars."""
    import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, len(COLUMNS), figsize=(15, 4))
    for panel, (name, title) in zip(panels, COLUMNS.items(), strict=True):
        for way in ways.WAYS:
            found = [(nodes, [row[name] for row in some])
                     for nodes, its, some in groups(rows) if its == way]  # fmt: skip
            middle = [statistics.median(times) for _, times in found]
            low = [m - min(times) for m, (_, times) in zip(middle, found, strict=True)]
            high = [max(times) - m for m, (_, times) in zip(middle, found, strict=True)]
            places = [nodes for nodes, _ in found]
            panel.errorbar(places, middle, yerr=[low, high], label=way, marker="o", capsize=3)
        panel.set(title=title, xlabel="nodes", xticks=sorted({row["nodes"] for row in rows}))
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
