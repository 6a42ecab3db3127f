"""Sends an event to targets, in a bounded time. What goes wrong is a text, never an error.

The address of a webhook is a secret: whoever knows it can write there. It is read from a private
file when it is needed, and is in no text that leaves this file.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import threading
import urllib.error
import urllib.request
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

from ..base.clock import Clock, Deadline
from ..base.errors import Invalid
from ..base.files import expand
from ..base.presence import opened
from ..base.process import end_group
from .event import Event
from .forms import FORMS

LIMIT = 10.0
"""Seconds for all targets together."""
_EARLIER = 0.9  # of it for each target, so that a command can still be ended
_MAIL = re.compile(r"[A-Za-z0-9][\w.+-]*(@[A-Za-z0-9][\w.-]*)?", re.ASCII)
_LONGEST = 8 * 1024  # bytes of a file with an address


def faults_of(targets: list[dict[str, Any]]) -> list[str]:
    """What is wrong with targets, as far as it shows before anything is sent."""
    said = [_said_of(partial(_check, target)) for target in targets]
    return _with_names(targets, said)


def send(targets: list[dict[str, Any]], event: Event, limit: float = LIMIT) -> list[str]:
    """Tell all targets at once, within `limit` seconds; returns what went wrong."""
    said = [f"it did not end within {limit:.0f} s"] * len(targets)

    def tell(number: int) -> None:
        target = targets[number]
        said[number] = _said_of(partial(_tell, target, event, limit * _EARLIER))

    threads = [
        threading.Thread(target=tell, args=(number,), daemon=True) for number in range(len(targets))
    ]
    for thread in threads:
        thread.start()
    deadline = Deadline(Clock(), limit)
    for thread in threads:
        thread.join(deadline.left())
    return _with_names(targets, said)


def _with_names(targets: list[dict[str, Any]], said: list[str]) -> list[str]:
    return [f"{_name(target)}: {fault}" for target, fault in zip(targets, said) if fault]


def _said_of(act: Callable[[], None]) -> str:
    """What went wrong, in words of its own: an error may quote the address."""
    try:
        act()
    except Invalid as error:
        return error.message
    except urllib.error.HTTPError as error:
        return f"the server answered {error.code}"
    except urllib.error.URLError as error:
        reason = error.reason
        return f"no connection ({_short(reason) if isinstance(reason, OSError) else 'unknown'})"
    except OSError as error:
        return _short(error)
    except (HTTPException, ValueError) as error:
        return f"no answer that could be read ({type(error).__name__})"
    return ""


def _short(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _name(target: dict[str, Any]) -> str:
    return str(
        target.get("command") or target.get("webhook_file") or target.get("mail") or "a target"
    )


def _check(target: dict[str, Any]) -> None:
    """Raises Invalid, OSError."""
    command, file = target.get("command"), target.get("webhook_file")
    mail = target.get("mail")
    if len([kind for kind in (command, file, mail) if kind]) != 1:
        raise Invalid("each entry of mnrun_notify is a command, a webhook_file, or mail.")
    if mail:
        if not _MAIL.fullmatch(str(mail)):
            raise Invalid("it is not an address for mail.")
    elif file:
        if target.get("form") not in FORMS:
            raise Invalid(f"form must be one of {', '.join(FORMS)}.")
        _address(expand(file))
    elif not os.access(_program(str(command)), os.X_OK):
        raise Invalid("it is not there, or cannot be run (chmod +x).")


def _program(command: str) -> Path:
    path = expand(command)
    if path.is_dir():
        raise Invalid("it is a folder.")
    return path


def _address(path: Path) -> str:
    """The address in a private file. Raises Invalid, OSError."""
    with opened(path) as stream:
        status, text = os.fstat(stream.fileno()), stream.read(_LONGEST)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (os.geteuid(), 0) or mode & 0o077:
        raise Invalid(
            f"others can read or change it (mode {mode:04o}, uid {status.st_uid}), and it holds a "
            f"secret: chmod 600 {path}"
        )
    lines = text.decode("utf-8", "replace").split()
    if len(lines) != 1 or not _is_address(lines[0]):
        raise Invalid("it must hold one line, an address that begins with https:// or http://.")
    return lines[0]


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return text.isascii() and parts.scheme in ("http", "https") and bool(parts.hostname)


def _tell(target: dict[str, Any], event: Event, seconds: float) -> None:
    _check(target)
    if target.get("mail"):
        return  # Slurm's own
    if target.get("command"):
        _run(_program(str(target["command"])), event, seconds)
    else:
        _post(_address(expand(target["webhook_file"])), str(target["form"]), event, seconds)


def _run(program: Path, event: Event, seconds: float) -> None:
    """Run a command with the event as JSON and as variables MNRUN_…; what it writes is its own."""
    fields = event._asdict()
    texts = {f"MNRUN_{name.upper()}": str(value) for name, value in fields.items()}
    process = subprocess.Popen(
        [str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **texts},
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        process.communicate(json.dumps(fields), timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"it did not end within {seconds:.0f} s, and was ended.") from error
    finally:
        end_group(process)
    if process.returncode:
        raise Invalid(f"it ended with exit code {process.returncode}.")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that leads elsewhere is a fault: what is sent goes where the file says."""

    def redirect_request(self, *_given: Any, **_more: Any) -> None:
        return None


def _post(address: str, form: str, event: Event, seconds: float) -> None:
    body, headers = FORMS[form](event)
    request = urllib.request.Request(address, body, headers)  # noqa: S310 - `_is_address`
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=seconds):
        pass
