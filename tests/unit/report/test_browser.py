"""The page of `mnrun report` in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnrun.report.page import page
from tests.helpers import browser as chromium
from tests.helpers.reports import hostile_runs, recorded_runs

pytestmark = pytest.mark.skipif(
    not chromium.PROGRAM, reason="chromium is not installed (on Debian: apt install chromium)"
)

MEASURE = """({
  width: innerWidth,
  wide: document.documentElement.scrollWidth,
  ran: window.hacked === undefined,
  charts: [...document.querySelectorAll("figure[data-curves]")].map(f => ({
    title: f.querySelector("figcaption").firstChild.textContent,
    path: f.querySelector("path.curve, circle") ? f.querySelector("svg").getBBox().width : 0,
    points: JSON.parse(f.dataset.curves).lines.map(l => l.points.length)})),
  bars: document.querySelectorAll("rect.kind").length,
  text: document.body.innerText,
})"""
POINT = """(() => {
  const figure = document.querySelector("figure[data-curves]"), svg = figure.querySelector("svg");
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove",
    {clientX: box.left + box.width / 2, clientY: box.top + 50}));
  return figure.querySelector("output").textContent;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as one:
        yield one


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(page(recorded_runs(), "site sandbox", "0.1.0"), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(400, False), (1400, True)])
def test_the_page_stands_alone_and_fits(
    browser: chromium.Browser, recorded: Path, width: int, dark: bool
) -> None:
    seen = chromium.look(browser, recorded, width, MEASURE, dark)
    fetched = [url for url in seen.requests if not url.startswith("data:")]
    assert fetched == [recorded.as_uri()]
    assert seen.errors == []
    assert seen.value["width"] == width
    assert seen.value["wide"] <= width
    charts = {chart["title"].strip(): chart for chart in seen.value["charts"]}
    assert {"loss", "val loss", "reward", "kl", "length", "actor/grad_norm"} <= set(charts)
    assert all(chart["path"] > 50 and min(chart["points"]) > 1 for chart in charts.values())
    assert charts["loss"]["points"] == [160, 160, 160]
    assert seen.value["bars"] > 10


def test_the_pointer_shows_values(browser: chromium.Browser, recorded: Path) -> None:
    seen = chromium.look(browser, recorded, 1400, POINT)
    assert re.fullmatch(r"step \d+: default [\d.]+ · lr1e3 [\d.]+ · lr2e4 [\d.]+", seen.value)
    assert seen.errors == []


@pytest.mark.parametrize("width", [400, 1400])
def test_texts_of_jobs_stay_texts(browser: chromium.Browser, tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(hostile_runs(), "<b>site</b>", "0"), encoding="utf-8")
    seen = chromium.look(browser, path, width, MEASURE)
    assert [url for url in seen.requests if not url.startswith("data:")] == [path.as_uri()]
    assert seen.errors == []
    assert seen.value["ran"]
    assert "</script><script>window.hacked=1</script>" in seen.value["text"]
    assert seen.value["wide"] <= width
