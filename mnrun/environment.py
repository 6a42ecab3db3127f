"""The environment that ansible-playbook runs in: what it is given, and what is kept from it."""

from __future__ import annotations

import hashlib
import locale
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PASSED = (
    "ANSIBLE_BECOME",
    "ANSIBLE_HOME",
    "ANSIBLE_LOCAL_TEMP",
    "ANSIBLE_PRIVATE_KEY_FILE",
    "ANSIBLE_PYTHON_INTERPRETER",
    "ANSIBLE_REMOTE_",
    "ANSIBLE_SSH_",
    "ANSIBLE_TIMEOUT",
    "ANSIBLE_VAULT_",
)
"""How the variables begin with which a user says how hosts are reached. Others of Ansible's would
change what our playbooks do (strategies, callbacks, caches, filters of hosts)."""

LINES = "MNRUN_LINES"
"""What plugins/plugin_utils/stage_line.py says behind its lines: the state of the stage, for the
display, and with -v the job's log."""

WIDTH = "MNRUN_WIDTH"
"""The columns of the terminal, for tables (plugins/plugin_utils/run_table.py); not set where lines
may have any length."""

_LONGEST_CONTROL_FOLDER = 75
"""Characters. A socket's path holds 103 everywhere, and ssh appends up to 28 to its folder."""

_MOST_FILES = 100  # of a site that are looked at for how its hosts are reached
_MOST_TEXT = 1_000_000  # characters of each

_LOCALES = ("", "C.UTF-8", "C.utf8", "en_US.UTF-8")
"""Where UTF-8 is looked for; the first is the caller's own choice."""


def settings(
    collection: Path, private: Path, verbose: bool, inventory: str = "", given: Sequence[str] = ()
) -> dict[str, str]:
    """Return what is set for ansible-playbook on top of the caller's environment.

    Args:
        collection: the folder of the collection mnrun.train.
        private: a folder of this run alone.
        verbose: results of failed tasks carry a traceback, and followed jobs their logs.
        inventory: the site.
        given: the arguments of the command line.
    """
    scripts = Path(sys.executable).parent
    places = [str(collection.parents[2]), *_own_collections()]
    found = {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(collection / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(places),
        # Also in the file, but ansible-runner would set it to False.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        # Otherwise ansible-runner puts itself in front of the caller's, which may not exist here.
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_FORCE_COLOR": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_DISPLAY_TRACEBACK": "error" if verbose else "never",
        "PYTHONIOENCODING": "utf-8",
        LINES: "log" if verbose else "state",
        **_width(),
    }
    usable = _utf8_locale()
    if usable:
        found["LC_ALL"] = usable
    sockets = _control_folder() / _way(inventory, given)
    if len(str(sockets)) > _LONGEST_CONTROL_FOLDER:
        sockets = private / "cp"
    found["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(sockets)
    return found


@contextmanager
def without_callers_settings() -> Iterator[None]:
    """Hide the caller's settings for other playbooks than ours from what is started meanwhile."""
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("ANSIBLE_") and not name.startswith(_PASSED)
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _width() -> dict[str, str]:
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # no terminal
        return {}
    return {WIDTH: str(columns)} if columns else {}


def _own_collections() -> list[str]:
    default = "~/.ansible/collections:/usr/share/ansible/collections"
    return os.environ.get("ANSIBLE_COLLECTIONS_PATH", default).split(os.pathsep)


def _control_folder() -> Path:
    """Where ssh keeps the sockets of open connections."""
    home = os.environ.get("ANSIBLE_HOME", "~/.ansible")
    return Path(os.environ.get("ANSIBLE_SSH_CONTROL_PATH_DIR", f"{home}/cp")).expanduser()


def _way(inventory: str, given: Sequence[str]) -> str:
    """Return a name for how a site's hosts are reached.

    Ansible names an open connection by host, port and user alone. Behind another jump host, or by
    another ssh configuration, the same three are another machine.
    """
    site = Path(inventory)
    files = sorted(site.rglob("*")) if site.is_dir() else [site]
    texts = [_text(file) for file in files[:_MOST_FILES] if file.is_file()]
    said = [line for text in (*texts, *given) for line in text.splitlines() if "ansible_" in line]
    whole = "\n".join([str(site.absolute()) if site.exists() else inventory, *said])
    return hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_MOST_TEXT)
    except OSError:  # Ansible reports it
        return ""


def _utf8_locale() -> str:
    """Return a locale that has to be set, as Ansible does not start without UTF-8.

    Empty if the caller's own will do. One may be named and not installed: ssh hands the names on
    from another machine.
    """
    before = locale.setlocale(locale.LC_ALL)
    try:
        return next((name for name in _LOCALES if _is_utf8(name)), _LOCALES[1])
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _is_utf8(name: str) -> bool:
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    return locale.nl_langinfo(locale.CODESET).upper() in ("UTF-8", "UTF8")
