"""The action of ``mnrun.train.validate``: all faults of the variables, before anything is done."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ansible import context
from ansible.errors import AnsibleError
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import (
    FAULT,
    OK,
    WARNING,
    Finding,
    as_dicts,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.text import plural
from ansible_collections.mnrun.train.plugins.plugin_utils import templates
from ansible_collections.mnrun.train.plugins.plugin_utils.connection import PatientAction
from ansible_collections.mnrun.train.plugins.plugin_utils.ignored import ignored
from ansible_collections.mnrun.train.plugins.plugin_utils.kept_options import (
    options_over,
    read,
    with_more,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.left_over import left_over
from ansible_collections.mnrun.train.plugins.plugin_utils.option_faults import (
    mappings_in,
    placeholders,
    text_faults,
    texts,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.option_types import type_faults
from ansible_collections.mnrun.train.plugins.plugin_utils.origin import place_of
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import (
    SHIPPED,
    ProfileError,
    needs,
    places,
    profile,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_options import (
    OptionsError,
    stage_options,
)

# What the tasks' processes inherit.
templates.preload()
needs([SHIPPED])

_SHIPPED = Path(__file__).resolve().parents[2] / "inventory" / "osk"
_ROLES = Path(__file__).resolve().parents[2] / "roles"
# Options that every role shares.
_SITE = "mnrun"
# Roles that have another name now; the options kept theirs behind the role's.
_RENAMED_ROLES = {"data_check": "preflight"}
# A value that depends on the result of a task cannot be checked before it.
_OF_WANDB = ("environment_wandb_entity", "environment_wandb_project")
_STAGES = ("sft", "ppo")  # that train
_TRAINERS_OWN = ("options", "kept", "overrides")  # the later counts
_WAITS_FOR_A_RESULT = re.compile(r"'\w+_result' is undefined")


@dataclass
class _Reported:
    """What was reported already, so that an option derived from it is not named as well."""

    placeholders: set[str] = field(default_factory=set)  # with the place where each was written
    texts: set[str] = field(default_factory=set)  # values that hold what may not be in them

    def holds(self, value: Any) -> bool:
        """Whether a reported text is part of this value."""
        return any(text in str(value) for text in self.texts)


class _Kept(NamedTuple):
    """The options that are kept with a run: what the play gets, and what is wrong."""

    fact: dict[str, Any]
    faults: list[str]
    unreachable: str = ""  # why the host does not answer


def _kept_faults(options: Mapping[str, Mapping[str, Any]], path: str) -> Iterator[str]:
    for section, own in options.items():
        spec = {"type": "dict"}
        for name, value in own.items():
            left_in = [f"still the placeholder {found}" for found, _ in placeholders(value, spec)]
            for fault in left_in or text_faults(f"{section}_options", {name: value}, spec):
                yield f"{section}.{name}, in {path}: {fault}"


class ActionModule(PatientAction):
    """Checks the variables of roles on the controller, and the options kept with the run."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Compare the play's variables with the specifications of the named roles."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "roles": {"type": "list", "elements": "str", "required": True},
                "report": {"type": "bool", "default": False},
            }
        )
        given = dict(task_vars or {})
        specs = {role: self._options(role) for role in self._roles()}
        for role in arguments["roles"]:
            if role not in specs:
                raise AnsibleError(f"validate: {role} is not a role; there are {', '.join(specs)}.")
        wanted = {key: spec for role in arguments["roles"] for key, spec in specs[role].items()}
        known = {**self._defaults(), **given}
        kept = self._kept(known, given) if "sft_kept" in given else None
        if kept:
            result["ansible_facts"] = {"mnrun_kept": kept.fact}
            known |= {f"{stage}_kept": kept.fact.get(stage, {}) for stage in _STAGES}
        faults = [*self._twice(), *self._unknown(given, specs), *self._bad(known, wanted)]
        faults += kept.faults if kept else []
        templar = self._templar.copy_with_new_env(available_variables=known)
        useless = self._useless(given, known, wanted)
        faults += [text for text, refused in useless if refused]
        if not faults or arguments["report"]:  # those of an option's type may come twice
            faults += [
                fault
                for fault in _trainer_faults(known, templar, arguments["roles"])
                if not any(_subject(fault) == _subject(other) for other in faults)
            ]
        result["changed"] = False
        result["warnings"] = [] if faults else [text for text, refused in useless if not refused]
        if self._is_a_copy(given) and not faults:
            wandb = bool(set(_OF_WANDB) & set(wanted)) and _logs_to_wandb(given, self._templar)
            with suppress(AnsibleError):  # a value that is not known before a task
                result["warnings"] += left_over(given, self._shipped(), wandb=wandb)
        if arguments["report"]:
            result["silent"] = kept.unreachable if kept else ""
            result["findings"] = _findings(
                faults, result.pop("warnings"), len(set(known) & set(wanted))
            )
        elif faults:
            result.update(failed=True, msg=_message(faults))
        elif kept and kept.unreachable:
            result.update(unreachable=True, msg=kept.unreachable)
        return result

    def _kept(self, known: Mapping[str, Any], given: Mapping[str, Any]) -> _Kept | None:
        """The options that are kept with the run, with those that this command adds."""
        try:
            templar = self._templar.copy_with_new_env(available_variables=known)
            run_dir = templar.template(known.get("mnrun_run_dir"))
            more = templar.template(known.get("mnrun_options") or {})
        except AnsibleError:  # what is wrong with it is reported where it is checked
            return None
        if not (isinstance(run_dir, str) and run_dir and isinstance(more, Mapping)):
            return None
        answer = self.call("mnrun.train.run_options_info", {"run_dir": run_dir}, dict(given))
        if answer.get("unreachable"):
            return _Kept({}, [], str(answer["msg"]))
        if answer.get("failed"):
            why = [str(answer.get("msg")), *str(answer.get("module_stderr", "")).split("\n")[:1]]
            return _Kept({}, [f"The run's options could not be read: {' '.join(why)}"])
        text, path = str(answer["text"]), str(answer["path"])
        found = read(text, path)
        after, options = with_more("" if found.faults else text, more)
        fact = {**options, "text": "" if after == text else after}
        return _Kept(fact, [*found.faults, *_kept_faults(options, path)])

    def _useless(
        self, given: Mapping[str, Any], known: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> list[tuple[str, bool]]:
        """Variables that another one makes useless, and whether that is refused."""
        defaults = self._defaults()

        def value(name: str, source: Mapping[str, Any] = known) -> Any:
            templar = self._templar.copy_with_new_env(available_variables={**known, **source})
            with suppress(AnsibleError):  # what is wrong with it is reported where it is checked
                found = templar.template(source.get(name))
                return (
                    found if name in wanted and not type_faults(name, found, wanted[name]) else None
                )
            return None

        return [
            (f"{one.name}{_at(given[one.name])}: {one.text}.", one.refused)
            for one in ignored(set(given) & set(wanted), value, lambda name: value(name, defaults))
        ]

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        for role in self._roles():
            defaults |= self._load(role, "defaults/main.yml")
        return defaults

    def _is_a_copy(self, given: Mapping[str, Any]) -> bool:
        """Whether the inventory has the form of the site that comes with mnrun, and is not it."""
        folder = Path(given.get("inventory_dir") or "/")
        values = folder / "group_vars" / "all"
        return values.is_dir() and folder.resolve().parent != _SHIPPED.parent

    def _shipped(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for path in sorted((_SHIPPED / "group_vars" / "all").glob("*.yml")):
            values |= self._loader.load_from_file(str(path), trusted_as_template=False) or {}
        return values

    def _roles(self) -> list[str]:
        return sorted(path.parts[-3] for path in _ROLES.glob("*/meta/argument_specs.yml"))

    def _load(self, role: str, kind: str) -> dict[str, Any]:
        path = _ROLES / role / kind
        if not path.is_file():
            return {}
        # `unsafe` leaves out a deep copy; nothing here changes what it loads.
        return self._loader.load_from_file(str(path), unsafe=True, trusted_as_template=True) or {}

    def _options(self, role: str) -> dict[str, Any]:
        specs = self._load(role, "meta/argument_specs.yml")["argument_specs"]
        options: dict[str, Any] = {}
        for entry in specs.values():
            options |= entry.get("options") or {}
        return options

    def _twice(self) -> Iterator[str]:
        """Mappings that more than one -e gives: Ansible drops all but the last without a word."""
        count: dict[str, int] = {}
        for text in context.CLIARGS.get("extra_vars") or ():
            for name in mappings_in(text, self._loader.load, self._loader.load_from_file):
                count[name] = count.get(name, 0) + 1
        for name in sorted(name for name, times in count.items() if times > 1):
            times = f"given {count[name]} times with -e"
            yield f"{name}: {times}, of which only the last counts; put all into one"

    def _unknown(
        self, given: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[str]:
        """Variables that look like ours but are not used."""
        known = {name for options in specs.values() for name in options}
        internal = {name for role in specs for name in self._load(role, "vars/main.yml")}
        for name in sorted(set(given) - known - internal):
            renamed = _renamed(name)
            if renamed:
                yield f"{name}{_at(given[name])}: is now called {renamed}; rename it"
            role = _owner(name, specs)
            if not role and not name.startswith("ansible_"):
                meant = _mistyped(name, known)
                if meant:
                    yield f"{name}{_at(given[name])}: not an option; did you mean {meant}?"
            if role and not name.endswith("_result"):
                likely = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
                hint = f"did you mean {likely[0]}?" if likely else f"remove it. {_help(role)}"
                of = "any role" if role == _SITE else f"the role {role}"
                yield f"{name}{_at(given[name])}: not an option of {of}; {hint}"

    def _bad(self, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
        """Options that are missing, of the wrong type, or that still contain a placeholder."""
        templar = self._templar.copy_with_new_env(available_variables=known)
        reported = _Reported()
        unused = {name for name in _OF_WANDB if not _logs_to_wandb(known, templar)}

        def late(name: str) -> tuple[bool, bool]:
            # A fault is reported where the value was written, not where it is used.
            compound = wanted[name].get("type") in ("dict", "list")
            return compound, any("{{" in text for text in texts(known.get(name)))

        for name in sorted(set(wanted) - unused, key=late):
            yield from self._option(name, wanted[name], known, templar, reported)

    def _option(
        self, name: str, spec: Mapping[str, Any], known: Mapping[str, Any], templar: Any,
        reported: _Reported,
    ) -> Iterator[str]:  # fmt: skip
        try:
            value = templar.template(known[name]) if name in known else None
        except AnsibleError as error:
            if _WAITS_FOR_A_RESULT.search(error.message):
                return
            yield f"{name}{_about(spec)}{_at(known[name])}: {_why(error.message)}."
            return
        if value in (None, "", []) and spec.get("required"):
            yield f"{name}{_about(spec)}: not set. {_mend(name)}"
        elif name in known:
            left_in = placeholders(value, spec)
            yield from _placeholder_faults(name, spec, left_in, reported)
            faults = [] if left_in else type_faults(name, value, spec)
            faults = faults or _new_text_faults(name, value, spec, reported)
            yield from (f"{name}{_about(spec)}{_at(known[name])}: {fault}." for fault in faults)


def _new_text_faults(
    name: str, value: Any, spec: Mapping[str, Any], reported: _Reported
) -> list[str]:
    """What is wrong with the texts in a value, unless it was reported for another option."""
    faults = text_faults(name, value, spec)
    if not faults or reported.holds(value):
        return []
    reported.texts.update(text for text in texts(value) if text_faults(name, text, spec))
    return faults


def _placeholder_faults(
    name: str, spec: Mapping[str, Any], left_in: list[tuple[str, str]], reported: _Reported
) -> Iterator[str]:
    for placeholder, text in left_in:
        place = _at(text)
        # Several options may refer to one: it is reported where it was written, once.
        once = f"{placeholder} {place or name}"
        if once not in reported.placeholders:
            reported.placeholders.add(once)
            start = f"{name}{_about(spec)}{place}: still the placeholder {placeholder}."
            yield f"{start} {_mend(name)}"


def _mistyped(name: str, known: set[str]) -> str:
    """The option that a variable of nearly the same name was meant to be, even its prefix; empty
    for a variable of the user's own."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    return next(iter(difflib.get_close_matches(plain, sorted(known), n=1, cutoff=0.9)), "")


def _logs_to_wandb(known: Mapping[str, Any], templar: Any) -> bool:
    """Whether a trainer logs to W&B, as it does unless its options name other loggers."""
    loggers: list[Any] = []
    try:
        if templar.template(known.get("environment_wandb_mode")) == "disabled":
            return False
        for stage in _STAGES:
            given = [templar.template(known.get(f"{stage}_{part}")) for part in _TRAINERS_OWN]
            options = options_over({}, *(part for part in given if isinstance(part, Mapping)))
            of = (_profile(known, templar, stage).get(stage) or {}).get("loggers") or {}
            loggers.append(options.get(str(of.get("option")), of.get("default") or []))
    except (AnsibleError, ProfileError):  # what is wrong with it is reported where it is checked
        return True
    return any("wandb" in logger for logger in loggers if isinstance(logger, (str, list, tuple)))


def _profile(known: Mapping[str, Any], templar: Any, stage: str) -> Mapping[str, Any]:
    """The trainer's profile of a stage. Raises ProfileError."""
    name = templar.template(known.get(f"{stage}_profile") or known.get("mnrun_trainer") or "")
    return profile(str(name), places(str(known.get("inventory_dir") or "")))


def _trainer_faults(known: Mapping[str, Any], templar: Any, roles: Iterable[str]) -> list[str]:
    """What is wrong with the profiles of the stages in `roles`, and with what variables ask of
    them."""
    stages = [stage for stage in _STAGES if stage in roles]
    faults = [fault for stage in stages for fault in _stage_faults(stage, known, templar)]
    return list(dict.fromkeys(faults))


def _stage_faults(stage: str, known: Mapping[str, Any], templar: Any) -> list[str]:
    """What is wrong with a stage's profile, with lines, or with what variables ask of it."""
    try:
        own = _profile(known, templar, stage).get(stage)
        given = {
            word: templar.template(known.get(f"{stage}_{word}") or 0)
            for word in ("algorithm", "lora_rank", "lora_alpha")
        }
        lora = {"rank": given["lora_rank"], "alpha": given["lora_alpha"]}
        if own:
            stage_options(stage, own, {}, {}, str(given["algorithm"] or ""), lora)
    except ProfileError as error:
        return str(error).splitlines()
    except OptionsError as error:
        return [str(error).rstrip(".")]
    except AnsibleError:
        pass  # a value that is not known before a task
    return []


def _owner(name: str, roles: Mapping[str, Any]) -> str:
    owners = [role for role in [*roles, _SITE] if name.startswith(f"{role}_")]
    return max(owners, key=len, default="")


def _renamed(name: str) -> str:
    """The current name of an option of a renamed role; empty for any other name."""
    news = (
        f"{new}{name[len(old) :]}"
        for old, new in _RENAMED_ROLES.items()
        if name.startswith(f"{old}_")
    )
    return next(news, "")


def _help(role: str) -> str:
    return "" if role == _SITE else f"`ansible-doc -t role mnrun.train.{role}` lists them"


def _about(spec: Mapping[str, Any]) -> str:
    """The start of an option's description, in brackets and without Ansible's markup."""
    description = spec.get("description") or ""
    text = description if isinstance(description, str) else description[0]
    first = re.sub(r"\b[A-Z]\((.*?)\)", r"\1", text)
    first = re.split(r"[.;:] |\.$", first)[0]
    if not first[1:2].isupper():  # GPUs, SFT
        first = f"{first[:1].lower()}{first[1:]}"
    return f" ({first})" if first else ""


def _why(problem: str) -> str:
    """Why a value cannot be worked out, from what ansible-core reports."""
    unset = re.fullmatch(r"'(\w+)' is undefined", problem)
    return (
        f"depends on {unset[1]}, which is not set" if unset else f"cannot be evaluated, {problem}"
    )


def _mend(name: str) -> str:
    return f"Set it in your inventory's group_vars, or with -e {name}=VALUE."


def _at(value: Any) -> str:
    found = place_of(value)
    how = ", in" if found.path else ", as given in"
    return f"{how} {found.text}" if found.text else ""


def _subject(fault: str) -> str:
    """The variable that a fault is about."""
    found = re.match(r"\w+", fault)
    return found[0] if found else fault


def _findings(faults: list[str], warnings: list[str], checked: int) -> list[dict[str, Any]]:
    found = [Finding(WARNING, "variables", text) for text in warnings]
    found += [Finding(FAULT, "variables", text) for text in faults]
    if not faults:
        found.insert(0, Finding(OK, "variables", f"{plural(checked, 'variable')} checked"))
    return as_dicts(found)


def _message(faults: list[str]) -> str:
    lines = [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
    count = f"{len(faults)} variables" if len(faults) > 1 else "One variable"
    return "\n".join([f"{count} must be set or corrected. Nothing was started.", *lines])
