"""What is wrong with the texts in an option's value, independent of tasks and hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils.base.safe_name import DEFAULT_RUN
from ..module_utils.environment.secret import inner_secrets

# Texts that templates and manuals put where a user's own value belongs.
_PLACEHOLDER = re.compile(
    r"\bYOU_TEAM\w*"
    r"|\bYOUR_[A-Z][A-Z0-9_]*"
    r"|\bCHANGE_?ME\b"
    r"|<\s*(?:your|my|change|insert|put|fill)\b[^<>]*>",
    re.IGNORECASE,
)
# <pad> and </s> are words of trainers; alone as an option of ours, <partition> is not.
_WHOLE_PLACEHOLDER = re.compile(r"<[A-Za-z][A-Za-z0-9 _.-]*>|\.\.\.|…|TODO|FIXME|XXX")
_OWN_CHECK = ("environment_variables",)  # by the module activation, with more advice
_OF_SECRETS = (
    "keep it in a file of mode 600, which your program reads, or in your account's environment on"
    " the cluster"
)
_PATH_NAME = re.compile(r"_(dir|path|file|files|prefix|hook|init|model|spec)$")
_ON_THE_CLUSTER = (
    "mnrun_base_dir", "mnrun_run_dir", "mnrun_model", "mnrun_train_files", "mnrun_test_files",
    "mnrun_chat_template", "ppo_model",
)  # fmt: skip
_RUN_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
# Not safe in all of: Slurm's patterns, hydra's lists, Ray's session folder, conda's scripts.
_UNSAFE_IN_PATH = re.compile(r"""[\s"'\\$`,;&|<>*?!()\[\]{}#]""")


def _shown(value: Any, spec: Mapping[str, Any]) -> str:
    return "(hidden)" if spec.get("no_log") else repr(value)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys of mappings included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


def mappings_in(
    given: str, load: Callable[[str], Any], load_file: Callable[[str], Any]
) -> list[str]:
    """The variables with a mapping for a value that one -e gives, as JSON, YAML or @FILE."""
    if not given.startswith(("{", "@")):
        return []
    try:
        read = load_file(given[1:]) if given.startswith("@") else load(given)
    except (AnsibleError, OSError):
        return []
    return (
        [name for name, value in read.items() if isinstance(value, Mapping)]
        if isinstance(read, Mapping)
        else []
    )


def placeholders(value: Any, spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each remaining placeholder, with the whole text that contains it."""
    ours = spec.get("type") != "dict"
    found = []
    for text in texts(value):
        match = _PLACEHOLDER.search(text) or (ours and _WHOLE_PLACEHOLDER.fullmatch(text.strip()))
        if match:
            found.append((match.group(), text))
    return found


def text_faults(name: str, value: Any, spec: Mapping[str, Any]) -> list[str]:
    """Characters that would break a script or a command later, and secrets, which others could read
    there."""
    if spec.get("type") == "dict":
        secrets = inner_secrets(value, of_trainer=not name.endswith("_sbatch"))
        return [
            f"{secret}, and others could read it: {_OF_SECRETS}"
            for secret in secrets
            if name not in _OWN_CHECK
        ] + [
            "contains a control character: remove it"
            for text in texts(value)
            if any(ord(character) < 32 and character not in "\n\t" for character in text)
        ][:1]
    return [fault for text in texts(value) if (fault := _text_fault(name, text, spec))]


def _text_fault(name: str, text: str, spec: Mapping[str, Any]) -> str:
    if not text.isprintable():
        return f"{_shown(text, spec)} contains a line break or a control character: write one line"
    if name == "mnrun_run_name":
        return _run_name_fault(text)
    if name in _ON_THE_CLUSTER and text and not text.startswith(("/", "~")):
        return f"{text!r} must start with / or ~/"
    is_path = "path" in (spec.get("type"), spec.get("elements")) or _PATH_NAME.search(name)
    if name.endswith("_files") and re.search(r"[*?\[]", text):
        return f"{text!r} is a pattern, and patterns are not expanded: name each file"
    unsafe = _UNSAFE_IN_PATH.search(text) if is_path else None
    if unsafe:
        return (
            f"{text!r} contains {unsafe.group()!r}, which Slurm, Ray or the trainer cannot have in"
            f" a path: use letters, digits and . _ - / = + @ (and ~/ for your home folder)"
        )
    return ""


def _run_name_fault(text: str) -> str:
    if text == DEFAULT_RUN:
        return f"{text!r} is how the site's own run is listed, which has no name: leave it empty"
    if not _RUN_NAME.fullmatch(text):
        return (
            f"{text!r} is not a valid run name: use 1 to 64 letters, digits, dots, dashes or"
            " underscores, starting with a letter or a digit"
        )
    return ""
