"""Which Python of a login node runs modules, found without one."""

from __future__ import annotations

import re

_NAMES = "python3 python3.9 python3.10 python3.11 python3.12 python3.13 python3.8"
_PROGRAM = 'import sys; print("mnrun-python", sys.executable, *sys.version_info[:2])'

# One line without `!`, so that any login shell hands it on. A login shell of its own may know more.
SCRIPT = (
    f"for name in /usr/bin/python3 {_NAMES} /usr/libexec/platform-python /usr/local/bin/python3"
    " /opt/conda/bin/python3 $HOME/miniconda3/bin/python3 $HOME/miniforge3/bin/python3; do"
    f" command -v $name > /dev/null 2>&1 && $name -c '{_PROGRAM}' 2> /dev/null; done;"
    f" bash -lc 'for name in {_NAMES}; do command -v $name; done' < /dev/null 2> /dev/null |"
    " while read -r name; do case $name in /*)"
    f" $name -c '{_PROGRAM}' 2> /dev/null;; esac; done; true"
)


def chosen(printed: str, oldest: tuple[int, int]) -> str:
    """The path of the first Python that is new enough; empty if none is."""
    return next((path for path, version in _found(printed) if version >= oldest), "")


def none_fits(host: str, printed: str, oldest: tuple[int, int]) -> str:
    """What to tell a user whose login node has no Python that is new enough."""
    there = dict.fromkeys(f"{path} ({one}.{two})" for path, (one, two) in _found(printed))
    have = f"it has only {', '.join(there)}" if there else "none was found"
    return (
        f"{host} needs Python {oldest[0]}.{oldest[1]} or later for mnrun's modules: {have}. "
        "Load or install one (miniforge in your home folder suffices), then give its path:  "
        "mnrun init … -e ansible_python_interpreter=PATH"
    )


def _found(printed: str) -> list[tuple[str, tuple[int, int]]]:
    lines = re.findall(r"mnrun-python (/\S+) (\d+) (\d+)", printed)
    return [(path, (int(major), int(minor))) for path, major, minor in lines]
