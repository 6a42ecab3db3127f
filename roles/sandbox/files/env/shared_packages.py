"""Where a Python keeps packages, and all that they need: run by that Python itself.

    shared_packages.py torch pyarrow

prints one JSON line: of each package that it has, its files and folders in site-packages, and of
all that these need, too.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path

# What a requirement may begin with; only those for all, not those of an extra.
REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?!.*\bextra\s*==)")


def canonical(name: str) -> str:
    """A package's name as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(found: metadata.Distribution) -> set[str]:
    """The packages that one needs, those for other systems too, which are not there."""
    matches = map(REQUIREMENT.match, found.requires or [])
    return {canonical(match.group(1)) for match in matches if match}


def tops(found: metadata.Distribution) -> list[str]:
    """What a package has in site-packages: its folders and files there."""
    names = {
        file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")
    }
    paths = (Path(str(found.locate_file(name))) for name in sorted(names))
    return [str(path) for path in paths if path.exists()]


def collect(names: list[str]) -> dict[str, list[str]]:
    """The files of these packages and of all that they need, as far as they are here."""
    there: dict[str, list[str]] = {}
    waiting = [canonical(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in there:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        there[name] = tops(found)
        waiting += needs(found)
    return there


if __name__ == "__main__":
    print(json.dumps(collect(sys.argv[1:])))
