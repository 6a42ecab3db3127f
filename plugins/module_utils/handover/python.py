"""An environment of its own for an installation of mnrun, from a Python of the cluster."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from ..base.errors import Invalid, MnrunError
from ..base.process import Result, Runner

_LIMIT = 120.0  # seconds for one program
_NEWEST = 20  # the newest minor version of Python 3 that is looked for
_VERSION = "import sys, venv; print('python', *sys.version_info[:2])"
_ANSWER = re.compile(r"^python 3 (\d+)$", re.MULTILINE)

ENVIRONMENT, PACKAGES = "env", "site"
PROGRAM = f"{ENVIRONMENT}/bin/python"

_PLAYBOOK = """\
#!/bin/sh
here=$(dirname "$0")
exec "$here/python" -I "$here/ansible_playbook.py" "$@"
"""
_PLAYBOOK_PY = """\
import sys

from ansible.cli.playbook import main

sys.argv[0] = "ansible-playbook"
sys.exit(main())
"""
_PROBE = "import ansible_runner, jinja2, mnrun.cli, yaml; from ansible.cli import playbook"


class Installation(NamedTuple):
    """What is made, and of what."""

    folder: Path  # where it will be
    candidates: list[str]  # Pythons to try, names or paths
    minor: int  # the oldest that its packages run on: 3.minor


def make_environment(new: Path, wanted: Installation, run: Runner) -> None:
    """Add an environment to the packages in `new`, which becomes `wanted.folder`, and try it.

    Raises Invalid if no Python fits, and MnrunError if mnrun does not start in it."""
    python = find_python(wanted, run)
    done = run([python, "-m", "venv", "--without-pip", str(new / ENVIRONMENT)], _LIMIT, "")
    _expect(done, f"{python} -m venv")
    environment = new / ENVIRONMENT
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "mnrun.pth").write_text(f"{new / PACKAGES}\n", encoding="utf-8")
    program = environment / "bin" / "ansible-playbook"
    program.write_text(_PLAYBOOK, encoding="utf-8")
    program.chmod(0o755)
    (program.parent / "ansible_playbook.py").write_text(_PLAYBOOK_PY, encoding="utf-8")
    _expect(run([str(new / PROGRAM), "-I", "-c", _PROBE], _LIMIT, ""), "its test")
    (packages / "mnrun.pth").write_text(f"{wanted.folder / PACKAGES}\n", encoding="utf-8")


def find_python(wanted: Installation, run: Runner) -> str:
    """The first candidate that is new enough. Raises Invalid."""
    versions = [f"python3.{minor}" for minor in range(_NEWEST, wanted.minor - 1, -1)]
    seen = []
    for name in [*wanted.candidates, "python3", *versions]:
        minor = _minor(run, name) if name else None
        if minor is not None and minor >= wanted.minor:
            return name
        if minor is not None:
            seen.append(f"{name} is 3.{minor}")
    found = "; ".join(dict.fromkeys(seen)) or "none with the module venv was found"
    raise Invalid(
        f"The relay needs Python 3.{wanted.minor} or newer on the cluster, as the mnrun that was "
        f"started here brings an Ansible for it: {found}. Name one on the shared file system: "
        "-e mnrun_relay_python=PATH"
    )


def _minor(run: Runner, name: str) -> int | None:
    try:
        done = run([name, "-I", "-c", _VERSION], _LIMIT, "")
    except MnrunError:  # there is no such program
        return None
    found = _ANSWER.search(done.out) if done.code == 0 else None
    return int(found.group(1)) if found else None


def _expect(done: Result, what: str) -> None:
    if done.code != 0:
        words = " ".join((done.err or done.out).split())[-600:]
        raise MnrunError(
            f"The relay's installation cannot be made: {shlex.quote(what)} failed: {words}"
        )
