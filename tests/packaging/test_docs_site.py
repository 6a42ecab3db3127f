"""The documentation as a site: it builds without a warning, and a browser loads nothing for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
# What a browser fetches by itself. Links that a reader follows may lead anywhere.
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|video)\b[^>]*?(?:src|href)=[\"']?([^\"'> ]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(
        [str(mkdocs), "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "NO_MKDOCS_2_WARNING": "1",
            "http_proxy": NOWHERE,
            "https_proxy": NOWHERE,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = {target for page in pages for target in LOADED.findall(page.read_text())}
    assert len(loaded) > 3
    assert [target for target in loaded if "//" in target] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"@import|url\([\"']?(?:https?:)?//", styles) == []


def test_every_page_of_the_folder_is_there(site: Path) -> None:
    pages = {
        path.relative_to(ROOT / "docs").with_suffix(".html")
        for path in (ROOT / "docs").rglob("*.md")
        if path.relative_to(ROOT / "docs").parts[0] not in {"examples", "site"}
    }
    assert [page for page in pages if not (site / page).is_file()] == []


def test_it_has_every_variable_and_every_module(site: Path) -> None:
    names = {
        name
        for path in ROOT.glob("roles/*/meta/argument_specs.yml")
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values()
        for name in spec.get("options") or {}
    }
    variables = (site / "variables.html").read_text()
    assert [name for name in names if f"<code>{name}</code>" not in variables] == []
    modules = (site / "modules.html").read_text()
    found = [path.stem for path in (ROOT / "plugins/modules").glob("*.py")]
    assert [name for name in found if f'<h2 id="{name}"' not in modules] == []


def test_a_japanese_page_says_so(site: Path) -> None:
    assert '<html lang="ja"' in (site / "ja/index.html").read_text()
    assert '<html lang="en"' in (site / "index.html").read_text()


def test_a_table_shows_bars_and_no_backslashes(site: Path) -> None:
    front = (site / "index.html").read_text()
    assert "mnrun convert [sft&#124;ppo]" in front
    assert "\\|" not in front
