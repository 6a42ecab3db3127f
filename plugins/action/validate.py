"""The action of ``mnrun.train.validate``: all faults of the variables, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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
from ansible_collections.mnrun.train.plugins.plugin_utils.kept_options import read, with_more
from ansible_collections.mnrun.train.plugins.plugin_utils.left_over import left_over
from ansible_collections.mnrun.train.plugins.plugin_utils.option_faults import (
    mappings_in,
    placeholders,
    text_faults,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.option_types import type_faults
from ansible_collections.mnrun.train.plugins.plugin_utils.origin import at
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, needs
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_choice import (
    STAGES,
    logs_to_wandb,
    overruled,
    service_faults,
    trackers,
    trainer_faults,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.variable_names import (
    subject,
    unknown_names,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.variable_values import (
    OF_WANDB,
    value_faults,
)

# What the tasks' processes inherit.
templates.preload()
needs([SHIPPED])

_SHIPPED = Path(__file__).resolve().parents[2] / "inventory" / "osk"
_ROLES = Path(__file__).resolve().parents[2] / "roles"


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
            known |= {f"{stage}_kept": kept.fact.get(stage, {}) for stage in STAGES}
        faults = [*self._twice(), *unknown_names(given, specs, self._internal(specs))]
        templar = self._templar.copy_with_new_env(available_variables=known)
        result["ansible_facts"] = {
            **({"mnrun_kept": kept.fact} if kept else {}),
            "mnrun_trackers": trackers(known, templar),
        }
        faults += [*value_faults(known, wanted, templar), *(kept.faults if kept else [])]
        faults += service_faults(known, templar, arguments["roles"], wanted)
        useless = self._useless(given, known, wanted)
        faults += [text for text, refused in useless if refused]
        if not faults or arguments["report"]:  # those of an option's type may come twice
            faults += [
                fault
                for fault in trainer_faults(known, templar, arguments["roles"])
                if not any(subject(fault) == subject(other) for other in faults)
            ]
        result["changed"] = False
        result["warnings"] = [] if faults else [text for text, refused in useless if not refused]
        if not faults:
            result["warnings"] += overruled(known, templar, arguments["roles"])
        if self._is_a_copy(given) and not faults:
            wandb = bool(set(OF_WANDB) & set(wanted)) and logs_to_wandb(given, self._templar)
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
            (f"{one.name}{at(given[one.name])}: {one.text}.", one.refused)
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

    def _internal(self, roles: Iterable[str]) -> set[str]:
        """The variables that roles set for themselves."""
        return {name for role in roles for name in self._load(role, "vars/main.yml")}

    def _twice(self) -> Iterator[str]:
        """Mappings that more than one -e gives: Ansible drops all but the last without a word."""
        count: dict[str, int] = {}
        for text in context.CLIARGS.get("extra_vars") or ():
            for name in mappings_in(text, self._loader.load, self._loader.load_from_file):
                count[name] = count.get(name, 0) + 1
        for name in sorted(name for name, times in count.items() if times > 1):
            times = f"given {count[name]} times with -e"
            yield f"{name}: {times}, of which only the last counts; put all into one"


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
