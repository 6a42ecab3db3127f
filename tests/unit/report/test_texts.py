"""The page, the Markdown and the pictures as texts: what is in them, and that texts stay texts."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mnrun.errors import CliError
from mnrun.report import facts
from mnrun.report.chart import Line, Scale, chart, ticks
from mnrun.report.markdown import code, markdown
from mnrun.report.markup import Safe, tag
from mnrun.report.page import page
from mnrun.report.pictures import pictures, svg, write_png
from mnrun.report.write import write
from tests.helpers.reports import BAD, hostile_runs, numbers, recorded_runs

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.add(name)
        self.handlers += [key for key, _ in attributes if key.startswith("on") or key == "src"]


def test_the_page_says_what_happened() -> None:
    text = page(recorded_runs(), "site sandbox", "9.9")
    for words in (
        "Runs default, lr1e3, lr2e4", "site sandbox", "mnrun 9.9", "sft (job 4)", "sft.optim.lr",
        "cancelled by you", "started over; 54 steps were made again", "verl.trainer.main_ppo",
        "Hiro has six books", "of the time was spent on steps", "lr2e4: attempt 2 from step 1",
        "lr1e3: attempt 2 resumed and made step 81 first; 32 steps were made again",
    ):  # fmt: skip
        assert words in text, words


def test_no_text_of_a_job_becomes_markup() -> None:
    text = page(hostile_runs(), BAD, BAD)
    tags = Tags()
    tags.feed(text)
    assert "img" not in tags.found
    assert tags.handlers == []
    assert text.count("<script") == 1
    assert not CONTROL.search(text)
    assert len(text) < 1_000_000


def test_markup_is_only_what_was_made_as_such() -> None:
    assert (
        tag("p", "<b>", Safe("<i></i>"), title='"&')
        == '<p title="&quot;&amp;">&lt;b&gt;<i></i></p>'
    )


def test_markdown_has_a_table_and_the_pictures() -> None:
    text = markdown(recorded_runs(), [("sft: loss", "sft-loss.png")])
    assert "| `lr2e4` | sft | done | 160 | `loss 6.72 → 0.435" in text
    assert "| `sft.optim.lr` | `0.003` | `0.001` | `0.0002` |" in text
    assert "![sft: loss](sft-loss.png)" in text
    assert "ended without a result: `cancelled by you" in text


def test_texts_of_jobs_are_code_in_markdown() -> None:
    text = markdown(hostile_runs(), [(BAD, "x.png")])
    # Outside of code, which no text can end, there is nothing of them.
    outside = re.sub(r"`[^`\n]*`", "", "\n".join(
        line for line in text.splitlines() if not line.startswith("    ")))  # fmt: skip
    assert not re.search(r"<script|@somebody|\(javascript", outside)
    assert not CONTROL.search(text)
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| `")]
    assert {row.count("|") for row in rows} <= {4, 5, 6, 7}
    assert code("a`b|c\nd") == "`a'b\\|c d`"


def test_pictures_are_whole_svg_files() -> None:
    for runs in (recorded_runs(), hostile_runs()):
        found = list(pictures(runs))
        assert len({one.name for one in found}) == len(found) > 8
        for one in found:
            root = ET.fromstring(svg(one))  # noqa: S314 - our own
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert root.find("{http://www.w3.org/2000/svg}style") is not None


def test_a_curve_has_gaps_where_a_value_is_no_number() -> None:
    points = [(1, 1.0), (2, 2.0), (3, None), (4, 3.0), (5, 4.0), (6, float("nan")), (7, 5.0)]
    path = re.search(r' d="([^"]+)"', chart("loss", [Line("a", 0, points)]))
    assert path is not None
    assert re.sub(r"[\d. ]", "", path[1]) == "MLMLM"


def test_any_numbers_can_be_drawn() -> None:
    points = [(step, value) for step, value in numbers()]
    text = chart("x", [Line("a", 0, points), Line("b", 1, [(5, 0.0)])])
    assert not re.search(r"nan|inf", text)


@pytest.mark.parametrize(
    ("scale", "shown"),
    [
        (Scale(0.0, 1.0, 0, 1), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Scale(0.02, 6.0, 0, 1, log=True), [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]),
        (Scale(1e-5, 1e5, 0, 1, log=True), [1e-5, 1e-2, 10.0, 1e4]),
    ],
)
def test_ticks_are_round_numbers(scale: Scale, shown: list[float]) -> None:
    assert ticks(scale) == pytest.approx(shown)


def test_options_that_hold_secrets_are_not_shown() -> None:
    options = {"hub_token": "abc", "x": "hf_abcdefghijkl", "wandb.api_key": "1", "lr": 0.1,
               "url": "https://me:pw@host/x", "data.prompt_key": "question",
               "env": {"vars": [{"WANDB_API_KEY": "0123"}]}, "keys": {"a": [1]}}  # fmt: skip
    shown = facts.options({"spec": {"options": options}})
    assert shown == {"hub_token": "…", "x": "…", "wandb.api_key": "…", "lr": "0.1", "url": "…",
                     "data.prompt_key": "question", "env": "…", "keys": '{"a": [1]}'}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", {}),
        ("# a comment\n", {}),
        ("sft: {lr: 0.1}", {"sft.lr": "0.1"}),
        ("sft: {x: {2020-01-01: 1}}", {"sft.x": "{datetime.date(2020, 1, 1): 1}"}),
        ("a: &a [x]\nsft: {x: *a}", {"options.yml": "…"}),
        ("{" * 5000, {"options.yml": "…"}),
        ("sft: [", {"options.yml": "…"}),
    ],
)
def test_options_that_are_not_read_are_not_none(text: str, shown: dict[str, str]) -> None:
    assert facts.kept_options({"kept_options": text}) == shown


def test_without_matplotlib_the_pictures_are_svg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    lines = list(write(recorded_runs(), tmp_path / "new" / "folder", "s", "0"))
    assert lines[-1] == (
        "No PNG files: matplotlib is not installed here (pip install 'mnrun[report]')."
    )
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert {"report.html", "report.md", "sft-loss.svg", "time-1.svg"} <= names
    assert not any(name.endswith(".png") for name in names)
    assert "(sft-loss.svg)" in (tmp_path / "new" / "folder" / "report.md").read_text()


def test_with_matplotlib_they_are_png_as_well(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loss, *_others, time = pictures(recorded_runs())
    bad = [one for one in pictures(hostile_runs()) if BAD[:9] in one.title][:1]
    for number, one in enumerate((loss, time, *bad)):
        write_png(one, tmp_path / f"{number}.png")
    drawn = [path.read_bytes()[:4] for path in tmp_path.iterdir()]
    assert drawn == [b"\x89PNG"] * 3


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="The report cannot be written"):
        list(write(recorded_runs(), tmp_path / "file", "s", "0"))


def test_a_run_with_nothing_in_it_has_a_page() -> None:
    empty = {"name": "new", "path": "/p", "time": 0.0, "stages": [], "damaged": [],
             "gpu_hours": {"used": 0.0}, "kept_options": "", "packages": {}}  # fmt: skip
    assert "Run new" in page([empty], "s", "0")
    assert "`new`" in markdown([empty], [])


def test_two_metrics_have_two_pictures() -> None:
    points = [(1, 1.0), (2, 2.0)]
    curves = {"critic/vf_loss": points, "critic_vf_loss": points}
    run = {"name": "a", "stages": [{"stage": "ppo", "curves": curves, "resumes": []}]}
    names = [one.name for one in pictures([run])]
    assert len(set(names)) == len(names) == 2
