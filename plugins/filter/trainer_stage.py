"""The filter that gives a stage's options and commands by its trainer's profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.option_syntax import OPTIONS_FILE, Form, flags, formed, resume_words, start_of
from ..plugin_utils.trackers import folders, named
from ..plugin_utils.trainer_options import (
    Choice,
    OptionsError,
    save_words,
    stage_options,
    words_of,
)

DOCUMENTATION = r"""
name: trainer_stage
short_description: A stage's options and arguments by its trainer's profile
description:
  - Puts together the options that a profile sets and those of the user, and tells which of them
    decide the result, and how the program gets them.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: A profile, as the lookup P(mnrun.train.trainer#lookup) gives it.
    type: dict
    required: true
  stage:
    description: V(sft) or V(ppo).
    type: str
    required: true
  values:
    description: What the places in the profile's options stand for, such as C(model).
    type: dict
    required: true
  given:
    description: The user's own options, which win.
    type: dict
    default: {}
  algorithm:
    description: One of the profile's algorithms. Empty for none.
    type: str
    default: ""
  lora:
    description: C(rank) and C(alpha) of a LoRA adapter. Without a rank, all weights are trained.
    type: dict
    default: {}
  tracker:
    description: What the trainer logs to, unless its options say that. Empty for what they say.
    type: list
    elements: str
    default: []
  minutes:
    description: How many minutes of work a time limit may cost. V(0) for ten.
    type: int
    default: 0
  exported:
    description: What a site sets in the environment, which counts before folders of trackers.
    type: dict
    default: {}
  then:
    description: Options that are added once the training has diverged.
    type: dict
    default: {}
  keep:
    description: mnrun itself deletes checkpoints, so the trainer must not.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the arguments
  ansible.builtin.debug:
    msg: "{{ lookup('mnrun.train.trainer', 'mine') | mnrun.train.trainer_stage('sft', {}) }}"
"""

RETURN = r"""
_value:
  description:
    - C(all) options, the C(decisive) ones, the C(refused) ones with what to use instead.
    - C(arguments), C(variables) and C(files) by which the program gets them, C(file_argument),
      the shell words for a file with them, and C(resume), those by which it resumes.
    - C(parse), what its own parser is tried with, where the profile says so.
    - C(save), the shell words that set how often to save, where a user leaves it open.
    - C(launcher), the options of its launcher; C(resumes), whether it resumes at all.
    - C(then), the arguments for after a divergence.
    - C(rhythm), how often it saves and validates, as far as options tell.
    - C(parts) of a checkpoint, C(last_step), C(on_cpu), C(has_adapter), C(lora_alpha),
      C(trackers) that it logs to, C(faults) of options that fail together, and in C(words) what
      the trainer writes and prints.
  type: dict
"""


def _file_argument(own: Mapping[str, Any]) -> str:
    """The shell words that name the file with the options."""
    option = own.get("file_option") or ""
    return f'{option} "$MNRUN_RECORD/{OPTIONS_FILE}"'.strip()


def _parse(own: Mapping[str, Any], options: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """What a check by the trainer's own parser starts it with; nothing if there is no such."""
    if (own.get("validate") or {}).get("by") != "argparse":
        return {}
    return {
        "syntax": own.get("syntax") or "flags",
        "options": options,
        "owned": [name for name, value in (own.get("owned") or {}).items() if value is not None],
        "arguments": form.arguments,
        "file_option": own.get("file_option") or "",
        "file": form.files.get(OPTIONS_FILE, ""),
    }


def _choice(how: Mapping[str, Any]) -> Choice:
    trackers = named(how.get("tracker"))
    return Choice(how.get("algorithm") or "", how.get("lora") or {}, trackers)


def _tracker_folders(
    trackers: Sequence[str], values: Mapping[str, Any], how: Mapping[str, Any]
) -> dict[str, str]:
    """Where trackers write, but for what a site says itself."""
    own = how.get("exported") or {}
    places = folders(trackers, _folder(values))
    return {name: place for name, place in places.items() if name not in own}


def _folder(values: Mapping[str, Any]) -> str:
    """The folder of a stage, in which its checkpoints are."""
    return str(values.get("output") or "").rpartition("/")[0]


def _with_ranks(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**values, "ranks": _ranks(values)} if _ranks(values) else values


def _then(syntax: str, options: Mapping[str, Any]) -> list[str]:
    """The arguments of options that come behind others, and take precedence."""
    if options and start_of(syntax) is None:
        raise OptionsError(
            "mnrun_guard has options for a retry (then), but this trainer takes its options from a "
            "file or from variables, to which a job cannot add any. Leave `then` out."
        )
    return formed(syntax, options).arguments


def _ranks(values: Mapping[str, Any]) -> int:
    """How many ranks train; 0 if it is not known."""
    return int(values.get("nodes") or 0) * max(1, int(values.get("gpus") or 0))


def trainer_stage(
    profile: Mapping[str, Any], stage: str, values: Mapping[str, Any], **how: Any
) -> dict[str, Any]:
    """Give what follows from a profile and a stage's options; AnsibleFilterError if that is
    nothing."""
    own = profile.get(stage)
    if not own:
        raise AnsibleFilterError(
            f"The trainer profile {profile.get('name')} has no {stage}; choose another one with "
            f"{stage}_profile."
        )
    syntax = own.get("syntax") or "flags"
    saved = own["checkpoint"]
    option = saved.get("resume_option") or "" if saved.get("resume") == "option" else ""
    try:
        found = stage_options(
            stage, own, _with_ranks(values), how.get("given") or {}, _choice(how),
            keep=bool(how.get("keep")),
        )  # fmt: skip
        form = formed(syntax, found["all"])
        then = _then(syntax, how.get("then") or {})
    except (OptionsError, ValueError) as error:
        raise AnsibleFilterError(str(error)) from None
    return {
        **found,
        **form._asdict(),
        "variables": {**_tracker_folders(found["trackers"], values, how), **form.variables},
        "file_argument": _file_argument(own) if form.files else "",
        "parse": _parse(own, found["all"], form),
        "then": then,
        "launcher": flags(own.get("launcher_options") or {}),
        "resume": resume_words(syntax, option),
        "resumes": saved.get("resume") != "none",
        "save": save_words(own, found["all"]),
        "words": words_of(own, _ranks(values), found["all"], 60 * int(how.get("minutes") or 0)),
    }


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"trainer_stage": trainer_stage}
