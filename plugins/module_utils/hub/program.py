"""A program that talks to the Hugging Face Hub, run on this machine: a plan in, a result out.

The same program runs in a Slurm job if the compute nodes can reach the Hub; see the role publish.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from ..base.errors import Invalid, MnrunError
from ..base.process import clean_environment, end_group

MARK = "mnrun-result: "
_ERROR = "HubError: "
_SHELL = '[ -z "$1" ] || source "$1" || exit 3; exec "${2:-python}" "$3" "$4"'
_SHOWN = 15  # lines of output shown with a failure
# Variables of the user's own environment that a program on the controller may see.
_KEPT = ("HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
         "no_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")  # fmt: skip


class Work(NamedTuple):
    """What to run. `activate` and `python` may be empty: no script, and the first Python found."""

    program: str
    files: dict[str, str]
    plan: dict[str, Any]
    activate: str
    python: str
    timeout: float


def run_program(work: Work, scratch: Path) -> dict[str, Any]:
    """Run it in the folder `scratch`; returns the result that it printed, and its lines as `log`.

    Raises Invalid if the program could not start its work, MnrunError if it failed.
    """
    if work.program not in work.files:
        raise Invalid(f"{work.program} is not one of the given files.")
    for name, text in {**work.files, "plan.json": json.dumps(work.plan)}.items():
        (scratch / Path(name).name).write_text(text, encoding="utf-8")
    command = ["bash", "--noprofile", "--norc", "-c", _SHELL, "mnrun", work.activate, work.python]
    command += [str(scratch / work.program), str(scratch / "plan.json")]
    code, lines = _run(command, work.timeout)
    if code is None:
        raise MnrunError(
            f"{work.program} did not end within {work.timeout:.0f} s on {os.uname().nodename}, and"
            " was killed. Run this again: only what is missing is transferred.",
            log=lines[-_SHOWN:],
        )
    return _outcome(work.program, code, lines)


def _outcome(program: str, code: int, lines: list[str]) -> dict[str, Any]:
    last = lines[-1] if lines else ""
    if code == 0 and last.startswith(MARK):
        found: dict[str, Any] = json.loads(last[len(MARK) :])
        return {**found, "log": lines[:-1]}
    reasons = [line[len(_ERROR) :] for line in lines if line.startswith(_ERROR)]
    shown = reasons[-1:] or [f"{program} ended with exit code {code}:", *lines[-_SHOWN:]]
    text = "\n".join(shown)
    raise MnrunError(text[:1].upper() + text[1:], log=lines[-_SHOWN:])


def _run(command: list[str], patience: float) -> tuple[int | None, list[str]]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean_environment("/usr/bin"), **kept},
        universal_newlines=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=patience)
        return process.returncode, out.splitlines()
    except subprocess.TimeoutExpired as error:
        output = error.output or b""
        text = output.decode("utf-8", "replace") if isinstance(output, bytes) else output
        return None, text.splitlines()
    finally:
        end_group(process)
