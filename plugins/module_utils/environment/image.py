"""The container image that jobs run in: the program that is `python` for them, and enters it.

Jobs begin outside of the image, where Slurm's commands are. Whatever they start with `python` runs
in the image, and so does all that this starts.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, NamedTuple, Sequence

from ..base.errors import Invalid

APPTAINER, PYXIS = "apptainer", "pyxis"
RUNTIMES = (APPTAINER, PYXIS)
# Values of these count in the image as they do outside, whatever the image itself sets.
KEPT = ("WANDB_MODE", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_API_KEY")
# Folders that an image has itself; what a variable names there means the image's.
_OWN = re.compile(r"/(?:bin|boot|dev|etc|lib\w*|proc|run|sbin|sys|tmp|usr|var)?(?:/.*)?")
_BINDABLE = re.compile(r"(?:~/|/)[^:,\s]*")
_PROVIDES = re.compile("apptainer|singularity", re.IGNORECASE)


class Image(NamedTuple):
    """An image: a SIF file or a folder for Apptainer, a squashfs file or an address for pyxis.
    `binds` are folders and files that it shows at their own paths, `options` more words for the
    command that enters it."""

    path: str
    runtime: str = APPTAINER
    binds: Sequence[str] = ()
    options: Sequence[str] = ()


def image_faults(image: Image, modules: Sequence[str], conda_hook: str) -> list[str]:
    """What is wrong with it, and with the modules and the conda hook that are given beside it."""
    faults = []
    if "://" in image.path and image.runtime == APPTAINER:
        faults.append(
            f"environment_image: {image.path} is an address, and each process of a job would fetch"
            " it. Make a file of it once, where the registry can be reached: apptainer pull"
            f" IMAGE.sif {image.path}. Then name that file."
        )
    if conda_hook:
        faults.append(
            "environment_image and environment_conda_hook are both given, but a job runs either in"
            " an image or in a conda environment: leave one of them empty."
        )
    if modules and not any(_PROVIDES.search(name) for name in modules):
        faults.append(
            "environment_image and environment_modules are both given, but what these modules"
            f" provide ({', '.join(modules)}) does not exist in the image: leave the list empty, or"
            " name only the module that provides apptainer."
        )
    shown = [*image.binds, *([] if "://" in image.path else [image.path])]
    return faults + [
        f"environment_image_binds: {path}: paths with a colon or a comma cannot be bound."
        for path in shown
        if re.search("[:,]", path)
    ]


def bindable(variables: dict[str, Any]) -> list[str]:
    """The places that variables name outside of the folders that each image has itself."""
    texts = [value for value in variables.values() if isinstance(value, str)]
    return [text for text in texts if _BINDABLE.fullmatch(text) and not _OWN.fullmatch(text)]


def launcher(image: Image, activate: str) -> str:
    """The program that is `python` in the jobs; `activate` is the activation script's path.

    Raises Invalid for an unknown runtime.
    """
    if image.runtime not in RUNTIMES:
        raise Invalid(f"environment_image_runtime: {image.runtime}: give apptainer or pyxis.")
    body = {APPTAINER: _APPTAINER, PYXIS: _PYXIS}[image.runtime]
    words = {
        "activate": shlex.quote(activate),
        "image": shlex.quote(image.path),
        "binds": " ".join(map(shlex.quote, image.binds)),
        "options": "".join(f"{shlex.quote(word)} " for word in image.options),
    }
    for name, text in words.items():
        body = body.replace(f"@{name}@", text)
    return body


_HEAD = r"""#!/bin/bash
# `python` of the container image. Written by mnrun from the variables environment_image*: change
# those, this file is written again.
[ -n "${MNRUN_RUNTIME:-}" ] || source @activate@ || exit 3

# Each place at its own path, or the nearest folder above it that exists, and where a link leads.
# Links in the home folder are there with it.
binds=()
bind() {
  local place=$1 real
  until [ -e "$place" ]; do place=$(dirname -- "$place"); done
  real=$(realpath -- "$place")
  case $real in / | /dev | /proc | /sys | /tmp) return ;; esac
  binds+=("$real:$real")
  case $place in "$real" | "$HOME"/*) ;; *) binds+=("$real:$place") ;; esac
}
for place in @binds@ "${TMPDIR:-/tmp}" "${MNRUN_TEMP_DIR:-/tmp}"; do bind "$place"; done
export PYTHONNOUSERSITE=1 MNRUN_IN_IMAGE=1

# What an image sets itself would win over the same variables of this machine, so these arrive under
# other names as well.
for name in $MNRUN_IMAGE_VARIABLES; do
  if [ -n "${!name+set}" ]; then export "MNRUN_VALUE_$name=${!name}"; fi
done
enter='
  for name in $MNRUN_IMAGE_VARIABLES; do
    kept=MNRUN_VALUE_$name
    if [ -n "${!kept+set}" ]; then export "$name=${!kept}"; unset "$kept"; fi
  done
  exec python "$@"'
# They describe the Python, the shell and the libraries of this machine.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONUSERBASE VIRTUAL_ENV LD_PRELOAD LD_LIBRARY_PATH \
  BASH_ENV ENV "${!CONDA_@}"
"""

_APPTAINER = (
    _HEAD
    + r"""
gpus=()
if [ -e /dev/nvidiactl ]; then gpus=(--nv); elif [ -e /dev/kfd ]; then gpus=(--rocm); fi
exec "$MNRUN_RUNTIME" --quiet exec "${gpus[@]}" "${binds[@]/#/--bind=}" @options@@image@ \
  /bin/bash -c "$enter" python "$@"
"""
)

_PYXIS = (
    _HEAD
    + r"""
# A step of its own, on this node, beside those of the job. Its task is to be taken for the one that
# starts it.
task=()
for name in SLURM_PROCID SLURM_LOCALID SLURM_NODEID SLURM_NTASKS SLURM_NNODES; do
  if [ -n "${!name+set}" ]; then task+=("$name=${!name}"); fi
done
unset SLURM_NTASKS_PER_NODE SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK SLURM_TRES_PER_TASK
mounts=$(IFS=,; echo "${binds[*]}")
exec "$MNRUN_RUNTIME" --overlap --overcommit --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" \
  --cpu-bind=none --mpi=none --export=ALL --container-image=@image@ \
  --container-mounts="$mounts" --container-workdir="$PWD" --container-mount-home \
  --no-container-remap-root @options@\
  env "${task[@]}" /bin/bash -c "$enter" python "$@"
"""
)
