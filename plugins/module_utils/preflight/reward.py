"""A reward function of a user's own, imported once as the trainer will import it.

Its file is run by the training environment's Python, in a process of its own and for a bounded
time. What this machine cannot know is a warning: a login node has no GPU, and other limits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..base.process import Runner
from ..trainer.reads import OwnReward
from .apart import ask, is_like_a_job

PATIENCE = 60.0  # seconds

_MARK = "mnrun-reward: "
# The file may print whatever it likes, start threads, and end the process.
_PROBE = """
import importlib.util, inspect, json, os, sys, traceback
given = json.loads(sys.argv[1])
out = os.dup(1)
os.dup2(2, 1)
found = {}
try:
    spec = importlib.util.spec_from_file_location("custom_module", given["path"])
    module = sys.modules["custom_module"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, given["name"], None)
    if function is None:
        names = [n for n, v in vars(module).items() if inspect.isfunction(v)]
        found = {"kind": "lacks", "text": ", ".join(names)}
    elif not callable(function):
        found = {"kind": "uncallable", "text": type(function).__name__}
    elif given["names"]:
        try:
            extra = dict.fromkeys(given["extra"])
            if given["by_place"]:
                inspect.signature(function).bind(*given["names"], **extra)
            else:
                inspect.signature(function).bind(**dict.fromkeys(given["names"]), **extra)
        except TypeError as error:
            code = getattr(inspect.unwrap(function), "__code__", None)
            found = {"kind": "signature", "text": str(error),
                     "place": [code.co_filename, code.co_firstlineno] if code else None}
        except ValueError:  # it has no signature
            pass
except BaseException as error:
    frames = traceback.extract_tb(error.__traceback__)
    places = [[f.filename, f.lineno] for f in frames if f.filename == given["path"]]
    if isinstance(error, SyntaxError):
        places = [[error.filename, error.lineno]]
    sure = (ImportError, SyntaxError, NameError, AttributeError, TypeError, LookupError)
    found = {"kind": "error" if isinstance(error, sure) else "unsure",
             "text": type(error).__name__ + ": " + str(error),
             "place": places[-1] if places else None}
os.write(out, (given["mark"] + json.dumps(found) + "\\n").encode())
os._exit(0)
"""


class Verdict(NamedTuple):
    """What was found; both may be empty."""

    fault: str = ""
    warning: str = ""


def try_reward(own: OwnReward, activation: str, run: Runner) -> Verdict:
    """Import the file of a reward function and compare its arguments with the trainer's.

    `activation`: the script that jobs source; without it, what is not found may be there later.
    """
    given = {**own._asdict(), "mark": _MARK}
    answer = ask(_PROBE, given, activation, run, PATIENCE)
    if answer.found is not None:
        return _verdict(own, answer.found, sure=is_like_a_job(activation))
    if answer.late:
        return Verdict(
            warning=f"{own.path} was not imported within {PATIENCE:.0f} s, so it is not known"
            " whether the trainer can; move what takes long into the function"
        )
    return Verdict(warning=f"{own.path} ended the Python that imported it ({answer.last})")


def _verdict(own: OwnReward, found: dict[str, Any], sure: bool) -> Verdict:
    kind, text = found.get("kind"), str(found.get("text") or "")
    place = found.get("place") or [own.path, ""]
    where = ":".join(str(part) for part in place if part)
    if kind == "lacks":
        there = f"it has {text}" if text else "it defines none"
        return Verdict(f"{own.option} is {own.name}, which {own.path} does not define; {there}")
    if kind == "uncallable":
        return Verdict(f"{own.option} is {own.name}, which in {own.path} is no function but {text}")
    if kind == "signature":
        names = ", ".join([*own.names, *own.extra])
        return Verdict(f"{where}: {own.name} cannot be called with {names}, as here: {text}")
    if kind == "error" and (sure or not text.startswith(("ImportError", "ModuleNotFound"))):
        return Verdict(f"{where}: {text}; the trainer could not import this reward function")
    if kind:
        return Verdict(warning=f"{where}: {text}; on a compute node that may be different")
    return Verdict()
