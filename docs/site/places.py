"""Where a file of the repository is in the site, and how links between them change."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

REPOSITORY = "https://github.com/mnrun/mnrun"
ROOT = Path(__file__).parents[2]
GENERATED = {"variables.md", "modules.md"}
"""Pages that only the site has."""
OUTSIDE = {
    "README.md": "index.md",
    "README.ja.md": "ja/index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the repository's root, by their names in the site."""
_FILES = f"{REPOSITORY}/blob/main/"
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def in_repository(page: str) -> str:
    """Return the path in the repository of a page of the site."""
    names = {site: name for name, site in OUTSIDE.items()}
    return names.get(page, f"docs/{page}")


def in_site(path: str) -> str | None:
    """Return the page or picture of the site that a file of the repository becomes, if any."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    inside = path.startswith("docs/") and not path.startswith(("docs/site", "docs/examples"))
    return path.removeprefix("docs/") if inside else None


def with_links(markdown: str, page: str) -> str:
    """Return a page's text with links that hold in the site; to other files, to the repository."""
    folder = posixpath.dirname(in_repository(page))

    def changed(found: re.Match[str]) -> str:
        target, hash_, anchor = found[1].partition("#")
        own = target.startswith(_FILES)
        if not target or ("://" in target and not own):
            return found[0]
        path = target.removeprefix(_FILES)
        path = path if own else posixpath.normpath(posixpath.join(folder, path))
        there = in_site(path)
        if there is None and path.removeprefix("docs/") not in GENERATED:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            return f"]({REPOSITORY}/{kind}/main/{path}{hash_}{anchor})"
        link = posixpath.relpath(there or path, posixpath.dirname(page) or ".")
        return f"]({link}{hash_}{anchor})"

    return _LINK.sub(changed, markdown)
