"""What MkDocs does beside its own: pages from outside of docs/, links, GitHub's Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import reference
from github import for_python_markdown, slug
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from places import OUTSIDE, ROOT, with_links


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make anchors as GitHub makes them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, the generated ones, and the style."""
    pages = {page: (ROOT / name).read_text() for name, page in OUTSIDE.items()}
    pages |= {"variables.md": reference.variables(), "modules.md": reference.modules()}
    pages["site.css"] = Path(__file__).with_name("site.css").read_text()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_given: Any) -> str:
    """Write links and lists for the site."""
    return for_python_markdown(with_links(markdown, page.file.src_uri))


def on_post_page(output: str, page: Page, **_given: Any) -> str:
    """Name the language of the Japanese pages, for readers aloud and for search engines."""
    japanese = page.file.src_uri.startswith("ja/")
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if japanese else output
