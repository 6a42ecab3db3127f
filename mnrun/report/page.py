"""The report as one page of HTML that needs nothing else: style, script and pictures are in it."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from mnrun.lines import duration
from mnrun.report import facts
from mnrun.report.chart import WIDTH, Line, chart, finite, number, scales
from mnrun.report.markup import Safe, joined, table, tag
from mnrun.report.spent import KINDS, Row, hours, rows, share_trained
from mnrun.report.timeline import timeline

Found = Mapping[str, Any]

_MEANING = {
    "queued": "waits for nodes",
    "starting": "until the first step begins",
    "training": "makes steps",
    "saving": "writes checkpoints, between steps",
    "working": "runs, and is not divided further",
    "stopping": "after the last step",
    "idle": "Ray cluster without a Ray job",
}

_UNKNOWN = "How much of it was spent on steps is not known: nothing recorded when they were made."


def page(runs: Sequence[Found], site: str, version: str) -> str:
    """Return the page. `runs`: as the module run_report_info returns them."""
    names = [str(run["name"]) for run in runs]
    title = f"Run {names[0]}" if len(names) == 1 else f"Runs {', '.join(names)}"
    when = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(max(run["time"] for run in runs)))
    body = joined(
        tag("h1", title),
        tag("p", f"{site} · {when} · mnrun {version}", class_="soft"),
        *_summary(runs),
        *_curves(runs),
        *_times(runs),
        *_failures(runs),
        *_answers(runs),
        *_options(runs),
        *_attempts(runs),
    )
    head = joined(
        Safe('<meta charset="utf-8">'),
        Safe('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Safe(
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
        ),
        Safe('<link rel="icon" href="data:,">'),
        tag("title", title),
        tag("style", Safe(_part("page.css"))),
    )
    script = tag("script", Safe(_part("page.js")))
    whole = tag("html", tag("head", head), tag("body", body, script), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def _part(name: str) -> str:
    return (files("mnrun.report") / name).read_text(encoding="utf-8")


def _summary(runs: Sequence[Found]) -> Iterator[Safe]:
    yield tag("div", *(_card(run, number % 8) for number, run in enumerate(runs)), class_="cards")


def _card(run: Found, place: int) -> Safe:
    found = rows(run)
    totals = hours(found)
    share = share_trained(totals)
    used = (run.get("gpu_hours") or {}).get("used")
    entries = [*_results(run), *([("GPU-hours", number(used))] if used else [])]
    entries += [("of them in steps", f"{share:.0%}")] if share is not None else []
    head = tag("h3", tag("span", "● ", class_=f"run{place}"), run["name"])
    return tag("section", head, _facts(entries), class_="card")


def _results(run: Found) -> Iterator[tuple[str, object]]:
    for name, stage in facts.stages_of(run).items():
        yield name, _state(stage)
        for metric, first, last in facts.scores(stage):
            yield f"{name} {metric}", _change(first, last)
        if facts.origin(stage):
            yield f"{name} from", facts.origin(stage)
    known = {stage["stage"]: stage for stage in run["stages"]}
    for name in facts.TRAINED:
        converted = known.get(f"convert-{name}")
        if converted:
            yield f"convert-{name}", _state(converted)
            for metric, first, last in facts.scores(converted):
                if metric.endswith(" score"):
                    yield f"{name} {metric}", _change(first, last)


def _change(first: str, last: str) -> str:
    return f"{first} → {last}" if first not in ("", last) else last


def _state(stage: Found) -> Safe:
    progress = stage["progress"]
    step, total = progress.get("step"), progress.get("total")
    steps = f", step {step}" + (f" of {total}" if total else "") if step is not None else ""
    word = facts.state(stage)
    return joined(tag("span", word, class_=f"state {word.partition(' ')[0]}"), steps)


def _facts(entries: Sequence[tuple[str, object]]) -> Safe:
    parts = [part for name, value in entries for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *parts, class_="facts")


def _legend(runs: Sequence[Found]) -> Safe:
    keys = [
        tag("li", tag("i"), tag("span", run["name"]), class_=f"run{number % 8}")
        for number, run in enumerate(runs)
    ]
    return tag("ul", *keys, class_="legend")


def _curves(runs: Sequence[Found]) -> Iterator[Safe]:
    for stage in facts.TRAINED:
        names = facts.metrics(runs, stage)
        if names:
            yield tag("h2", f"{stage.upper()}: curves")
            yield _legend(runs) if len(runs) > 1 else Safe("")
            each = partial(_figure, runs, stage)
            yield tag("div", *map(each, names), class_="charts")
            yield from _resumed(runs, stage)


def _figure(runs: Sequence[Found], stage: str, metric: str) -> Safe:
    lines = facts.lines(runs, stage, metric)
    lasts = [(f"{line.name} " if len(runs) > 1 else "") + number(finite(line)[-1][1])
             for line in lines]  # fmt: skip
    last = f"last: {' · '.join(lasts)}"
    title = facts.title(metric)
    caption = tag("figcaption", title, " ", tag("output", last, data_last=last))
    return tag("figure", caption, chart(title, lines), data_curves=_for_script(lines))


def _for_script(lines: Sequence[Line]) -> Safe:
    """The values for the pointer, as an attribute: longer than a text may be."""
    x, y = scales(lines)
    shown = [{"name": line.name, "points": finite(line)} for line in lines]
    data = {"left": x.start, "right": x.end, "width": WIDTH, "low": x.low, "high": x.high,
            "top": y.end, "bottom": y.start, "lines": shown}  # fmt: skip
    return Safe(html.escape(json.dumps(data, allow_nan=False)))


def _resumed(runs: Sequence[Found], stage: str) -> Iterator[Safe]:
    for run in runs:
        for text in facts.resumed(run, stage):
            yield tag("p", f"┆ {text}", class_="soft small")


def _times(runs: Sequence[Found]) -> Iterator[Safe]:
    parts = [(run, rows(run)) for run in runs]
    if not any(found for _run, found in parts):
        return
    yield tag("h2", "Time")
    used = {one.kind for _run, found in parts for row in found for one in row.slices}
    keys = [
        tag("li", tag("i"), tag("span", f"{kind}: {_MEANING[kind]}"), class_=kind)
        for kind in KINDS
        if kind in used
    ]
    yield tag("ul", *keys, class_="legend")
    for run, found in parts:
        if found:
            yield tag("h3", run["name"])
            yield tag("div", timeline(found), class_="wide")
            yield _hours(found)


def _hours(found: Sequence[Row]) -> Safe:
    totals = hours(found)
    held = sum(each.gpu_hours for each in totals.values())
    line: list[list[object]] = []
    for kind, each in totals.items():
        part = f"{each.gpu_hours / held:.0%}" if held else ""
        line.append([kind, duration(each.hours * 3600), f"{each.node_hours:.3g}",
                     f"{each.gpu_hours:.3g}" if held else "not recorded", part])  # fmt: skip
    share = share_trained(totals)
    said = _UNKNOWN if share is None else f"{share:.0%} of the time was spent on steps."
    sheet = table(["", "time", "node-hours", "GPU-hours", "share"], line, "numbers")
    return joined(sheet, tag("p", said, class_="soft small"))


def _failures(runs: Sequence[Found]) -> Iterator[Safe]:
    found = [(run, stage, one) for run in runs for stage, one in facts.failed(run)]
    if found:
        yield tag("h2", "Attempts without a result")
    for run, stage, one in found:
        cause = one["cause"] or {}
        head = f"{run['name']}: {stage}, attempt {one['number']} (job {one['job']})"
        why = tag("p", tag("b", cause.get("title") or "The cause is not known."))
        told = tag("details", tag("summary", "what was found"), tag("pre", one["problem"]))
        yield tag("section", tag("h3", head), why, told, class_="card problem")


def _answers(runs: Sequence[Found]) -> Iterator[Safe]:
    found = [
        (run, stage, answer)
        for run in runs
        for stage, entry in facts.stages_of(run).items()
        for answer in _first_and_last(entry.get("answers") or ())
    ]
    if found:
        yield tag("h2", "Sample answers")
        yield tag("div", *(_answer(*one) for one in found), class_="answers")


def _first_and_last(answers: Sequence[Found]) -> Sequence[Found]:
    return [answers[0], answers[-1]] if len(answers) > 2 else answers


def _answer(run: Found, stage: str, answer: Found) -> Safe:
    step, score = answer["step"], answer["score"]
    where = f"{run['name']}: {stage}" + ("" if step is None else f", step {step}")
    parts = [
        tag("h3", where),
        tag("div", "question", class_="soft small"), tag("pre", answer["prompt"]),
        tag("div", "answer", class_="soft small"), tag("pre", answer["answer"]),
    ]  # fmt: skip
    truth = f"expected: {answer['truth']}" if answer["truth"] else ""
    scored = "" if score is None else f"score {number(score)}"
    foot = " · ".join(filter(None, [scored, truth]))
    return tag("section", *parts, tag("p", foot, class_="small"), class_="card")


def _options(runs: Sequence[Found]) -> Iterator[Safe]:
    yield tag("h2", "Options and versions")
    names = [str(run["name"]) for run in runs]
    differ = facts.differing(runs)
    if differ:
        yield tag("h3", "Options that differ between the runs")
        yield table(["option", *names], [[tag("code", name), *values] for name, values in differ])
    for run in runs:
        kept = facts.kept_options(run)
        text = ", ".join(f"{name}={value}" for name, value in kept.items())
        said = tag("code", text) if kept else "none; it has those of the site"
        yield tag("p", f"Options given for {run['name']}: ", said)
    yield from _versions(runs, names)
    for run in runs:
        for stage, entry in facts.stages_of(run).items():
            every: list[list[object]] = [
                [tag("code", name), tag("code", value)]
                for name, value in facts.options(entry).items()
            ]
            title = tag("summary", f"all options of {run['name']}, {stage} ({len(every)})")
            yield tag("details", title, table(["option", "value"], every)) if every else Safe("")


def _versions(runs: Sequence[Found], names: list[str]) -> Iterator[Safe]:
    found = [facts.versions(run) for run in runs]
    packages = list(dict.fromkeys(name for one in found for name in one))
    if packages:
        yield tag("h3", "Versions")
        yield table(["", *names], [[one, *(each.get(one, "-") for each in found)]
                                   for one in packages])  # fmt: skip


def _attempts(runs: Sequence[Found]) -> Iterator[Safe]:
    line: list[list[object]] = [
        [run["name"], stage["stage"], one["number"], one["job"], one["state"],
         _moment(one["start"]), _length(one), one["nodes"] or "", one["gpus"] or "",
         one["last_step"] or "", (one["use"] or {}).get("text", "")]
        for run in runs
        for stage in run["stages"]
        for one in stage.get("attempts") or ()
    ]  # fmt: skip
    if line:
        head = ["run", "stage", "attempt", "job", "state", "started", "took", "nodes", "GPUs",
                "step", "use of the GPUs"]  # fmt: skip
        sheet = table(head, line)
        yield tag("h2", "All attempts")
        yield tag("details", tag("summary", f"{len(line)} jobs"), sheet)


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _length(attempt: Found) -> str:
    start, end = attempt["start"], attempt["end"]
    return duration(end - start) if start is not None and end is not None else "-"
