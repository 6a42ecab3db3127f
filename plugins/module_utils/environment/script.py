"""The text of the activation script, which every job and every step on the head sources first."""

from __future__ import annotations

import re
import shlex
from typing import Any, NamedTuple

from ..base.errors import Invalid
from .image import KEPT, Image, image_faults
from .secret import secret_fault
from .shell import HEAD, TAIL

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE = re.compile(r"[^\s-]\S*")
_LIMIT = re.compile(r"\d+|unlimited|hard")
# Letters of bash's ulimit that a site may want to raise.
LIMITS = "cdefilmnqrstuvx"


class Settings(NamedTuple):
    """What the script sets up. Paths are absolute; empty values skip a part."""

    modules_init: str
    modules: list[str]
    conda_hook: str
    conda_prefix: str
    variables: dict[str, Any]
    limits: dict[str, Any]
    wandb_entity: str
    wandb_project: str
    wandb_key_files: list[str]  # the first that exists is read
    wandb_mode: str
    image: Image | None = None
    launchers: str = ""  # the folder of the program that enters the image


def render(settings: Settings) -> str:
    """The whole script. Raises Invalid with all faults of the settings at once."""
    faults = _faults(settings)
    if faults:
        raise Invalid("\n".join(faults))
    body = "".join(f"  {line}\n" for line in _steps(settings))
    begin, end = "local IFS=$' \\t\\n' __mnrun_bad=0", 'return "$__mnrun_bad"'
    return f"{HEAD}\n__mnrun_activate() {{\n  {begin}\n{body}  {end}\n}}\n{TAIL}"


def _steps(settings: Settings) -> list[str]:
    steps = []
    if settings.modules:
        steps.append(f"__mnrun_release_conda {_word(settings.conda_hook)}")
        names = " ".join(_word(name) for name in settings.modules)
        load = f"__mnrun_modules {_word(settings.modules_init)} {names} || __mnrun_bad=1"
        steps.append(f"{_OUTSIDE if settings.image else ''}{load}")
    if settings.conda_hook:
        steps.append(f"__mnrun_conda_hook {_word(settings.conda_hook)} || __mnrun_bad=1")
    if settings.conda_prefix:
        steps.append(f"__mnrun_prefix {_word(settings.conda_prefix)} || __mnrun_bad=1")
    steps += [f"export {name}={_word(value)}" for name, value in settings.variables.items()]
    steps += _image(settings)
    steps += [f"__mnrun_limit {key} {_word(value)}" for key, value in settings.limits.items()]
    return steps + _wandb(settings)


def _image(settings: Settings) -> list[str]:
    """After the variables, which may set PATH, and before what asks the image's Python."""
    image = settings.image
    if image is None:
        return []
    words = [image.runtime, settings.launchers, image.path, *settings.variables, *KEPT]
    return [
        f"{_OUTSIDE}__mnrun_host_python || __mnrun_bad=1",
        f"{_OUTSIDE}__mnrun_image {' '.join(map(_word, words))} || __mnrun_bad=1",
    ]


def _wandb(settings: Settings) -> list[str]:
    if settings.wandb_mode == "disabled":  # its names may be of another site
        return ["export WANDB_MODE=disabled"]
    names = (("WANDB_ENTITY", settings.wandb_entity), ("WANDB_PROJECT", settings.wandb_project))
    steps = [f"export {name}={_word(value)}" for name, value in names if value]
    files = "".join(f" {_word(path)}" for path in settings.wandb_key_files)
    return [*steps, f"__mnrun_wandb {settings.wandb_mode}{files} || __mnrun_bad=1"]


def _word(value: Any) -> str:
    """One shell word; a bool as programs read it from their environment."""
    return shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))


def _faults(settings: Settings) -> list[str]:
    faults = [
        f"environment_modules: {name!r} is not a module name; write it as in `module load`,"
        " one per line."
        for name in settings.modules
        if not _MODULE.fullmatch(name)
    ]
    faults += [
        f"environment_modules_init is empty: name the file that defines `module` ({_EXAMPLE})."
        for _ in settings.modules[:1]
        if not settings.modules_init
    ]
    if settings.image:
        faults += image_faults(settings.image, settings.modules, settings.conda_hook)
    for item in settings.variables.items():
        faults += _variable_faults(item)
    for key, value in settings.limits.items():
        if len(key) != 1 or key not in LIMITS or not _LIMIT.fullmatch(str(value)):
            faults.append(
                f"environment_limits: {key}: {value} is not a limit; write a letter of bash's"
                " ulimit and a number or unlimited, as in `v: unlimited`."
            )
    return faults


def _instead(name: str) -> str:
    """Where a secret belongs, by the name of its variable."""
    if name.upper().startswith("WANDB"):
        return "Name a file of mode 600 that holds the key: environment_wandb_key_file."
    if name.upper().startswith(("HF_", "HUGGING")):
        return "Name a file of mode 600 that holds the token: mnrun_hub_token_file."
    if name.upper().endswith("PROXY"):
        return "Name a proxy that needs no password, for example one of yours that forwards to it."
    return "Keep it in a file of mode 600, and have your program read that."


_OUTSIDE = '[ -n "${MNRUN_IN_IMAGE:-}" ] || '
_EXAMPLE = "/etc/profile.d/modules.sh"


def _variable_faults(item: tuple[str, Any]) -> list[str]:
    name, value = item
    where = f"environment_variables: {name}"
    if not _NAME.fullmatch(name):
        return [f"{where} is not a variable name; use letters, digits and _."]
    secret = secret_fault(name, value)
    if secret:
        return [f"{where} {secret}, and others could read it in the script. {_instead(name)}"]
    if isinstance(value, (dict, list)) or value is None:
        return [f"{where} needs a text or a number, not {value!r}."]
    if not str(value).isprintable():
        return [f"{where} contains a line break or a control character; write it in one line."]
    return []
