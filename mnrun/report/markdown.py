"""The report as Markdown, for a pull request or an issue: tables, and pictures by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnrun.lines import duration
from mnrun.report import facts
from mnrun.report.chart import number
from mnrun.report.markup import clean
from mnrun.report.spent import hours, rows, share_trained

Found = Mapping[str, Any]


def code(text: object) -> str:
    """Return a text that may hold anything as a code span: nothing in it is Markdown, a
    mention of a user, or the end of a cell."""
    line = " ".join(clean(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line[:300]}`" if line else ""


def _plain(text: str) -> str:
    """Return a text without what Markdown knows."""
    return re.sub(r"[^\w /:.,-]", "", clean(text))[:100]


def markdown(runs: Sequence[Found], pictures: Sequence[tuple[str, str]]) -> str:
    """Return the Markdown.

    Args:
        runs: as the module run_report_info returns them.
        pictures: title and file name of each.
    """
    lines = [
        f"## {', '.join(code(run['name']) for run in runs)}",
        "",
        *_results(runs),
        *_differences(runs),
        *_resumes(runs),
        *(f"![{_plain(title)}]({name})" for title, name in pictures),
        *([""] if pictures else []),
        *_time(runs),
        *_failures(runs),
        *_answers(runs),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows_ = [head, ["---"] * len(head), *body]
    return [*(f"| {' | '.join(row)} |" for row in rows_), ""]


def _results(runs: Sequence[Found]) -> list[str]:
    body = [
        [code(run["name"]), name, facts.state(stage), _step(stage), code(_scores(stage)),
         code(facts.origin(stage))]
        for run in runs
        for name, stage in facts.stages_of(run).items()
    ]  # fmt: skip
    return _table(["run", "stage", "state", "step", "metrics", "from"], body) if body else []


def _step(stage: Found) -> str:
    step = stage["progress"].get("step")
    return "" if step is None else str(step)


def _scores(stage: Found) -> str:
    return ", ".join(
        f"{metric} {last}" if first in ("", last) else f"{metric} {first} → {last}"
        for metric, first, last in facts.scores(stage)
    )


def _differences(runs: Sequence[Found]) -> list[str]:
    differ = facts.differing(runs)
    if differ:
        body = [[code(name), *map(code, values)] for name, values in differ]
        return _table(["option", *(code(run["name"]) for run in runs)], body)
    kept = facts.kept_options(runs[0]) if len(runs) == 1 else {}
    given = code(" ".join(f"{name}={value}" for name, value in kept.items()))
    return [f"Options given for this run: {given}", ""] if kept else []


def _resumes(runs: Sequence[Found]) -> Iterator[str]:
    found = [code(text) for run in runs for stage in facts.TRAINED
             for text in facts.resumed(run, stage)]  # fmt: skip
    yield from (f"- {text}" for text in found)
    yield from [""] if found else []


def _time(runs: Sequence[Found]) -> list[str]:
    body = [[code(run["name"]), *_spent(run)] for run in runs]
    return _table(["run", "time", "node-hours", "GPU-hours", "of them in steps"], body)


def _spent(run: Found) -> list[str]:
    totals = hours(rows(run))
    share = share_trained(totals)
    return [
        ", ".join(f"{kind} {duration(each.hours * 3600)}" for kind, each in totals.items()),
        number(sum(each.node_hours for each in totals.values())),
        number(sum(each.gpu_hours for each in totals.values())),
        "not known" if share is None else f"{share:.0%}",
    ]


def _failures(runs: Sequence[Found]) -> Iterator[str]:
    found = [(run, stage, one) for run in runs for stage, one in facts.failed(run)]
    for run, stage, one in found:
        cause = (one["cause"] or {}).get("title") or "the cause is not known"
        where = f"{run['name']}: {stage}, attempt {one['number']} (job {one['job']})"
        yield f"- {code(where)} ended without a result: {code(cause)}"
    yield from [""] if found else []


def _answers(runs: Sequence[Found]) -> Iterator[str]:
    for run in runs:
        for stage, entry in facts.stages_of(run).items():
            answers = entry.get("answers") or ()
            if answers:
                last = answers[-1]
                yield f"The last sample answer of {code(run['name'])}, {stage}:"
                yield ""
                yield from _quoted(last)


def _quoted(answer: Found) -> Iterator[str]:
    text = f"{clean(answer['prompt'])}\n---\n{clean(answer['answer'])}"
    # A block that is indented has no end that a text in it could write.
    yield from (f"    {line}" for line in text.splitlines())
    yield ""
