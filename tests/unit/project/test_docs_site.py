"""GitHub's Markdown and its links, as the site needs them."""

from __future__ import annotations

import pytest
from github import for_python_markdown, slug
from places import with_links

CASES = {
    "a list right behind a paragraph": ("text:\n- one\n- two", "text:\n\n- one\n- two"),
    "two blanks inside of an item": (
        "- one\n\n  ```yaml\n  a: 1\n  ```\n- two\n  goes on",
        "- one\n\n    ```yaml\n    a: 1\n    ```\n\n- two\n    goes on",
    ),
    "an item in an item": ("1. one\n   - two\n3. three", "1. one\n    - two\n3. three"),
    "a block that looks like a list": ("```\n- a\n  b\n```", "```\n- a\n  b\n```"),
    "bars in code": ("| `a\\|b<c` | d |", "| <code>a&#124;b&lt;c</code> | d |"),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_it_is_written_as_python_markdown_reads_it(given: str, expected: str) -> None:
    assert for_python_markdown(given) == expected


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("Before SFT: GPUs and network", "before-sft-gpus-and-network"),
        ("`mnrun plan` - what it does", "mnrun-plan---what-it-does"),
        ("再実行したときの動作", "再実行したときの動作"),
    ],
)
def test_anchors_are_those_of_github(title: str, anchor: str) -> None:
    assert slug(title) == anchor


@pytest.mark.parametrize(
    ("page", "target", "link"),
    [
        ("index.md", "docs/gpu.md#by-hand", "gpu.md#by-hand"),
        ("ja/index.md", "docs/gpu.md", "../gpu.md"),
        ("ja/index.md", "README.md", "../index.md"),
        ("options.md", "../README.md#commands", "index.md#commands"),
        ("ja/options.md", "../options.md", "../options.md"),
        ("ray.md", "ray-cluster.png", "ray-cluster.png"),
        ("ray.md", "https://ray.io", "https://ray.io"),
        ("ray.md", "#access", "#access"),
        ("ray.md", "../mnrun", "https://github.com/mnrun/mnrun/tree/main/mnrun"),
        ("index.md", "LICENSE", "https://github.com/mnrun/mnrun/blob/main/LICENSE"),
        ("index.md", "https://github.com/mnrun/mnrun/blob/main/docs/ray.md", "ray.md"),
    ],
)
def test_links_lead_to_the_site_or_to_the_repository(page: str, target: str, link: str) -> None:
    assert with_links(f"[text]({target})", page) == f"[text]({link})"
