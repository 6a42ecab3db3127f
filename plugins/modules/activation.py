#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: activation
short_description: The script that activates the training environment
description:
  - Writes one bash script that loads the site's modules in order, activates the conda environment
    without C(conda init) and without touching C(~/.bashrc), and sets variables, limits and W&B.
    Every job and every step on the Ray head sources it.
  - Works under Environment Modules and under Lmod, and in shells that are not interactive.
  - The script is tested first, in a bash without start-up files. If it fails, it is not
    installed; the message names what is missing and what exists instead.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Tests the script and shows what would change. Writes nothing.
  diff_mode:
    support: full
    description: Shows the script before and after.
options:
  path:
    description: Path of the script. Missing folders are created.
    type: path
    required: true
  run_dir:
    description:
      - The run folder that the script is in. It is refused if others can write to it, as its jobs
        run the script. Empty if that is intended.
    type: path
    default: ""
  modules_init:
    description: File that defines the command C(module).
    type: path
    default: /etc/profile.d/modules.sh
  modules:
    description:
      - Modules to load, in order, after a reset to the site's default modules.
      - Empty to use no modules.
    type: list
    elements: str
    default: []
  conda_hook:
    description:
      - The C(etc/profile.d/conda.sh) of the conda installation.
      - Empty if O(conda_prefix) is a Python virtual environment.
    type: path
    default: ""
  conda_prefix:
    description:
      - The environment that contains verl, torch and Ray.
      - Empty for a script that does not activate one, to create the environment.
    type: path
    default: ""
  image:
    description:
      - A container image in which jobs run what they start with C(python), in place of a conda
        environment. What the script sets up outside of it is what the job itself needs.
    type: dict
    default: {}
    suboptions:
      path:
        description: >-
          A SIF file or a folder for Apptainer, a squashfs file or an address for pyxis. Empty for
          none.
        type: str
        default: ""
      runtime:
        description: What runs it.
        type: str
        choices: [apptainer, pyxis]
        default: apptainer
      binds:
        description: >-
          Folders and files that are there at their own paths. Missing ones stand for the nearest
          folder above them. Those that O(variables) name are added.
        type: list
        elements: path
        default: []
      options:
        description: More options of C(apptainer exec), or of C(srun).
        type: list
        elements: str
        default: []
  variables:
    description:
      - Environment variables, set in this order to exactly these values (a leading C(~/) is
        replaced by the home folder). No secrets; they would be readable in the script.
    type: dict
    default: {}
  limits:
    description: Letters of bash's C(ulimit) with a number or C(unlimited).
    type: dict
    default: {}
  wandb:
    description: Where and how runs are logged to Weights & Biases.
    type: dict
    default: {}
    suboptions:
      entity:
        description: User or team at W&B. Empty for the owner of the key.
        type: str
        default: ""
      project:
        description: Project at W&B.
        type: str
        default: ""
      key_file:
        description:
          - File of mode 600 that contains the API key. It is read when the script runs, and never
            written into it.
        type: path
        default: ""
      key:
        description:
          - The API key itself. It is stored in a file of mode 600 beside the script for later runs;
            O(wandb.key_file) takes precedence.
        type: str
        default: ""
      mode:
        description:
          - V(auto) uploads runs if there is a key and, in a job, W&B responds; otherwise it logs
            them offline and reports that.
        type: str
        choices: [auto, online, offline, disabled]
        default: auto
  trackers:
    description:
      - What trainers log to in the environment. What each needs has to be there; a fault names what
        is missing. Without V(wandb), nothing is reported about W&B.
    type: list
    elements: str
    choices: [wandb, tensorboard, mlflow, trackio]
    default: []
  packages:
    description: Packages that the environment has to hold, whose versions are reported.
    type: list
    elements: str
    default: []
  report:
    description:
      - Return faults in RV(findings) instead of failing, for a list of everything. For check mode,
        in which nothing is written.
    type: bool
    default: false
  verify:
    description: Test the script before it is installed.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Write and test the activation script
  mnrun.train.activation:
    path: ~/training/multinode/.mnrun/activate.sh
    modules: [nccl/2.22.3, miniconda/24.7.1-py311]
    conda_hook: /home/appli/miniconda3/24.7.1-py311/etc/profile.d/conda.sh
    conda_prefix: ~/conda_env
    limits: {v: unlimited}
    wandb: {entity: my-team, project: my-project, key_file: ~/.wandb_key}
    trackers: [wandb]
"""

RETURN = r"""
findings:
  description:
    - Everything that was found, one by one. C(level) is V(ok), V(warning) or V(fault), C(part) what
      it is about, C(what) a text for people, and C(variables) the variables that decide it.
  type: list
  elements: dict
  returned: with O(report=true)
script:
  description: The text of the script; empty if it has faults.
  type: str
  returned: with O(report=true)
path:
  description: The script's absolute path.
  type: str
  returned: success
home:
  description: The home folder of the user on this machine.
  type: str
  returned: success
prefix:
  description: The environment's absolute path, or empty.
  type: str
  returned: success
python:
  description: >-
    Absolute path of the environment's Python, or of the program that runs the image's. Empty
    without one, and for an image of pyxis, which only jobs can run.
  type: str
  returned: success
image:
  description: SHA-256 that identifies the image by its content, or its address. Empty without one.
  type: str
  returned: success
versions:
  description: Versions of Python, verl, torch and Ray in the environment. Empty without a test.
  type: dict
  returned: success
wandb_mode:
  description: V(online), V(offline) or V(disabled). Empty without a test.
  type: str
  returned: success
notices:
  description:
    - Other messages of the script, such as a limit that could not be raised. They are also shown
      as warnings.
  type: list
  elements: str
  returned: success
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import MnrunError
from ..module_utils.base.files import expand, explain, make_directory, write_atomic
from ..module_utils.base.finding import FAULT, OK, WARNING, Finding, as_dicts
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.presence import read_text
from ..module_utils.base.private import claim_private, warnings_above
from ..module_utils.environment.image import PYXIS, RUNTIMES, Image, bindable, launcher
from ..module_utils.environment.script import Settings, render
from ..module_utils.environment.tracker import NEEDS
from ..module_utils.environment.trial import Needed, Verified, store_secret, verify
from ..module_utils.model.identity import file_identity

OFFLINE = "W&B logs this run offline"
# In front of what is wrong with it; a list says so itself.
BEFORE = re.compile(r"^The training environment cannot be activated on \S+: ")
_OF_NOTICES = ("environment_wandb_mode",)


def spec() -> dict[str, Any]:
    modes = ["auto", "online", "offline", "disabled"]
    return {
        "path": {"type": "path", "required": True},
        "run_dir": {"type": "path", "default": ""},
        "modules_init": {"type": "path", "default": "/etc/profile.d/modules.sh"},
        "modules": {"type": "list", "elements": "str", "default": []},
        "conda_hook": {"type": "path", "default": ""},
        "conda_prefix": {"type": "path", "default": ""},
        "image": {
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "path": {"type": "str", "default": ""},
                "runtime": {"type": "str", "default": "apptainer", "choices": list(RUNTIMES)},
                "binds": {"type": "list", "elements": "path", "default": []},
                "options": {"type": "list", "elements": "str", "default": []},
            },
        },
        "variables": {"type": "dict", "default": {}},
        "limits": {"type": "dict", "default": {}},
        "wandb": {
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "entity": {"type": "str", "default": ""},
                "project": {"type": "str", "default": ""},
                # Not a secret itself, and error messages must be able to name it.
                "key_file": {"type": "path", "default": "", "no_log": False},
                "key": {"type": "str", "default": "", "no_log": True},
                "mode": {"type": "str", "default": "auto", "choices": modes},
            },
        },
        "trackers": {"type": "list", "elements": "str", "default": [], "choices": list(NEEDS)},
        "packages": {"type": "list", "elements": "str", "default": []},
        "report": {"type": "bool", "default": False},
        "verify": {"type": "bool", "default": True},
    }


def settings(params: dict[str, Any], launchers: Path) -> Settings:
    wandb, image = params["wandb"], image_of(params)
    key_files = [wandb["key_file"], str(kept_key(expand(params["path"])))]
    return Settings(
        modules_init=params["modules_init"],
        modules=params["modules"],
        conda_hook=params["conda_hook"],
        conda_prefix="" if image else params["conda_prefix"],
        variables=_variables(params),
        limits=params["limits"],
        wandb_entity=wandb["entity"],
        wandb_project=wandb["project"],
        wandb_key_files=[path for path in key_files if path],
        wandb_mode=wandb["mode"],
        image=image,
        launchers=str(launchers),
    )


def image_of(params: dict[str, Any]) -> Image | None:
    given = params["image"]
    if not given["path"]:
        return None
    binds = dict.fromkeys([path for path in given["binds"] if path] + bindable(_variables(params)))
    path = given["path"] if "://" in given["path"] else str(_expanded(given["path"]))
    return Image(path, given["runtime"], list(binds), given["options"])


def _variables(params: dict[str, Any]) -> dict[str, Any]:
    return {name: _expanded(value) for name, value in params["variables"].items()}


def kept_key(script: Path) -> Path:
    return script.with_name("wandb_key")


def _expanded(value: Any) -> Any:
    is_home = isinstance(value, str) and value.startswith("~/")
    return str(Path(value).expanduser()) if is_home else value


def tried(params: dict[str, Any], folder: Path) -> Verified:
    """Test the script in a temporary file, so that a faulty one is never installed."""
    image = image_of(params)
    if not params["verify"]:
        return Verified({}, "", [])
    script = folder / "activate.sh"
    script.write_text(render(settings(params, folder)), encoding="utf-8")
    if image:
        install(folder / "python", launcher(image, str(script)))
    # Only a job can run an image of pyxis.
    name = image.path if image else params["conda_prefix"]
    prefix = "" if image and image.runtime == PYXIS else name
    needed = Needed(tuple(params["packages"]), tuple(params["trackers"]))
    return verify(str(script), prefix, needed, params["wandb"]["key"])


def install(path: Path, text: str) -> bool:
    """Make `path` a program with this text; return whether it was not yet."""
    if read_text(path) == text:
        return False
    write_atomic(path, text)
    path.chmod(0o755)
    return True


def identity(image: Image | None, verified: Verified) -> str:
    """What an image is: a file by its content, a folder by what is installed in it."""
    if image is None:
        return ""
    path = Path(image.path)
    return file_identity(path) if path.is_file() else verified.packages or image.path


def make_script(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    path = expand(params["path"])
    if params["run_dir"]:
        claim_private(expand(params["run_dir"]), ".mnrun", write=not module.check_mode)
    launchers, image = path.with_name("image"), image_of(params)
    text = render(settings(params, launchers))
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        verified = tried(params, Path(folder))
    before = read_text(path)
    changed = store(path, text, params["wandb"]["key"], image, write=not module.check_mode)
    notices = [
        line for line in verified.notices if "wandb" in params["trackers"] or OFFLINE not in line
    ]
    above = warnings_above(expand(params["run_dir"])) if params["run_dir"] else []
    diff = {"before": before or "", "after": text}
    header = {"before_header": str(path), "after_header": str(path)}
    return {
        "changed": changed,
        "path": str(path),
        "home": str(Path.home()),
        "prefix": "" if image else params["conda_prefix"],
        "python": python_of(image, params["conda_prefix"], launchers),
        "image": identity(image, verified),
        "versions": verified.versions,
        "wandb_mode": verified.wandb_mode,
        "notices": notices,
        "warnings": notices + above,
        "diff": {**diff, **header} if before != text else {},
    }


def store(path: Path, text: str, key: str, image: Image | None, write: bool) -> bool:
    """Write the script, and what is beside it: W&B's key and the launcher of an image. Whether
    anything differed; of the launcher, only what was written is known."""
    new_key = bool(key) and read_text(kept_key(path)) != key
    new_text = read_text(path) != text
    new_launcher = False
    if write:
        make_directory(path.parent)
        if new_key:
            store_secret(kept_key(path), key)
        if image:
            launchers = path.with_name("image")
            make_directory(launchers)
            new_launcher = install(launchers / "python", launcher(image, str(path)))
        if new_text:
            write_atomic(path, text)
    return new_text or new_key or new_launcher


def python_of(image: Image | None, prefix: str, launchers: Path) -> str:
    if image:
        return "" if image.runtime == PYXIS else str(launchers / "python")
    return str(Path(prefix, "bin", "python")) if prefix else ""


def listed(module: AnsibleModule) -> dict[str, Any]:
    """All that is found, and as much of the result as there is despite faults."""
    params, findings = module.params, []
    image = image_of(params)
    try:
        if params["run_dir"]:
            claim_private(expand(params["run_dir"]), ".mnrun", write=False)
    except (MnrunError, OSError) as error:
        findings += faults_of(error, "folder", "mnrun_run_dir")
        params["run_dir"] = ""
    try:
        made = make_script(module)
    except (MnrunError, OSError) as error:
        faults = faults_of(error, "environment")
        made = {
            "changed": False,
            "path": "",
            "script": "",
            "home": str(Path.home()),
            "python": _python_despite(image, params["conda_prefix"]),
            "image": "",
            "versions": {},
            "wandb_mode": "",
        }
        return {**made, "findings": as_dicts([*findings, *faults])}
    findings += of_environment(made, params)
    script = render(settings(params, expand(params["path"]).with_name("image")))
    return {**made, "script": script, "findings": as_dicts(findings), "warnings": []}


def faults_of(error: Exception, part: str, *variables: str) -> list[Finding]:
    text = explain(error) if isinstance(error, OSError) else str(getattr(error, "message", error))
    lines = [line for line in text.splitlines() if line.strip()]
    return [Finding(FAULT, part, BEFORE.sub("", line), variables) for line in lines]


def of_environment(made: dict[str, Any], params: dict[str, Any]) -> list[Finding]:
    """What there is: the environment with its versions, and where W&B's runs go."""
    there = made["prefix"] or params["image"]["path"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    found = [Finding(OK, "environment", f"{there}: {versions}" if versions else there)]
    found += [
        Finding(WARNING, "W&B" if OFFLINE in text else "environment", text, _OF_NOTICES)
        for text in made["warnings"]
    ]
    offline = any(OFFLINE in text for text in made["warnings"])
    if "wandb" in params["trackers"] and made["wandb_mode"] not in ("", "disabled") and not offline:
        found.append(Finding(OK, "W&B", f"runs are logged {made['wandb_mode']}"))
    return found


def _python_despite(image: Image | None, prefix: str) -> str:
    """The environment's Python, which reads data and options also where a module is missing."""
    path = Path(prefix).expanduser() / "bin" / "python"
    return str(path) if not image and prefix and os.access(path, os.X_OK) else ""


def main() -> None:
    module = AnsibleModule(argument_spec=spec(), supports_check_mode=True)
    act = listed if module.params["report"] else make_script
    with_edge(module, lambda: act(module))


if __name__ == "__main__":
    main()
