"""The parts of the activation script that are the same for every site, in bash.

Its rules: it sets no shell option permanently, survives `set -euo pipefail`, changes nothing when
sourced again, and ends with `return 1` and one line `mnrun: …` on stderr for each fault. A line
`mnrun: note: …` is not an error. What depends on another part is not judged if that one has failed
(`__mnrun_bad`).
"""

from __future__ import annotations

# The functions that the run's own steps call.
HEAD = r"""# The training environment. Source this file in bash.
# Written by mnrun from the variables environment_*: change those, this file is written again.

__mnrun_say() { printf 'mnrun: %s\n' "$*" >&2; }

# The last folder on a path that exists, and its contents.
__mnrun_nearest() {
  local folder=$1
  until [ -d "$folder" ]; do folder=$(dirname -- "$folder"); done
  printf '%s exists and contains: %s' "$folder" "$(ls -- "$folder" 2>&1 | head -n 15 | tr '\n' ' ')"
}

# The bare names of a terse module list: no folders, headings and marks like <L> or (default).
__mnrun_names() { sed -e 's/ *[<(].*$//' -e '/[:/]$/d' -e '/[[:space:]]/d' -e '/^$/d'; }

# The modules of the same name in other versions, or the names of all.
__mnrun_available() {
  local list
  list=$(module -t avail "${1%%/*}" 2>&1 | __mnrun_names)
  if [ -n "$list" ]; then
    printf 'Available: %s' "$(head -n 15 <<< "$list" | tr '\n' ' ')"
  else
    list=$(module -t avail 2>&1 | __mnrun_names | cut -d/ -f1 | sort -u)
    printf 'No module has that name; all names in %s: %s' "${MODULEPATH:-(an empty MODULEPATH)}" \
      "$(head -n 40 <<< "$list" | tr '\n' ' ')"
  fi
}

__mnrun_define_module() {
  declare -F module > /dev/null && return 0
  if [ ! -r "$1" ]; then
    __mnrun_say "no file $1 to define the command module: set environment_modules_init." \
      "$(__mnrun_nearest "$1")"
    return 1
  fi
  . "$1"
  declare -F module > /dev/null && return 0
  __mnrun_say "$1 does not define the command module: set environment_modules_init"
  return 1
}

# Back to the site's default modules. Paths of modules are kept.
__mnrun_reset() {
  if [ -n "${LMOD_CMD:-}" ]; then
    # Without a system default Lmod's reset fails and changes nothing.
    if [ -n "${LMOD_SYSTEM_DEFAULT_MODULES:-}" ]; then module reset; else module purge; fi
    return
  fi
  local path paths
  IFS=: read -r -a paths <<< "${MODULEPATH:-}"
  module reset || module purge # Environment Modules has `reset` since 5.2, and it drops paths
  for path in "${paths[@]}"; do
    case ":${MODULEPATH:-}:" in *":$path:"*) ;; *) module use -a "$path" ;; esac
  done
}

__mnrun_is_loaded() {
  case ":${LOADEDMODULES:-}:" in *":$1:"* | *":$1/"*) return 0 ;; esac
  module is-loaded "$1" > /dev/null 2>&1 # an alias or a version's other name
}

__mnrun_modules() {
  local name code=0
  __mnrun_define_module "$1" || return 1
  __mnrun_reset > /dev/null 2>&1
  shift
  for name in "$@"; do
    module load "$name" >&2 && __mnrun_is_loaded "$name" && continue
    if module is-avail "$name" > /dev/null 2>&1; then
      __mnrun_say "the module $name exists but cannot be loaded (see above)." \
        "Check environment_modules and its order"
    else
      __mnrun_say "there is no module $name: correct environment_modules." \
        "$(__mnrun_available "$name")"
    fi
    code=1
  done
  return "$code"
}

# An environment that is already active would end up after the modules on PATH.
__mnrun_release_conda() {
  [ "${CONDA_SHLVL:-0}" -gt 0 ] && [ -r "$1" ] || return 0
  . "$1"
  local left=5 # environments can be stacked; a faulty hook must not lead to an endless loop
  while [ "${CONDA_SHLVL:-0}" -gt 0 ] && [ $((left -= 1)) -gt 0 ]; do conda deactivate; done
}

__mnrun_conda_hook() {
  if [ ! -r "$1" ]; then
    __mnrun_say "no conda hook $1: set environment_conda_hook to the conda.sh of your conda." \
      "$(__mnrun_nearest "$1")"
    return 1
  fi
  . "$1"
  declare -F conda > /dev/null && return 0
  __mnrun_say "$1 does not define the command conda: set environment_conda_hook"
  return 1
}

__mnrun_prefix() {
  if [ ! -x "$1/bin/python" ]; then
    __mnrun_say "no Python environment at $1 (no bin/python in it): set environment_conda_prefix." \
      "$(__mnrun_nearest "$1")"
    return 1
  fi
  [ "$__mnrun_bad" = 0 ] || return 0
  if declare -F conda > /dev/null; then
    conda activate "$1" >&2
  elif [ -r "$1/bin/activate" ]; then
    VIRTUAL_ENV_DISABLE_PROMPT=1 . "$1/bin/activate"
  fi
  [ "$(command -v python)" -ef "$1/bin/python" ] && return 0
  __mnrun_say "$1 did not become active: python is $(command -v python || echo not there)." \
    "Check environment_conda_hook and environment_conda_prefix"
  return 1
}

# A Python for mnrun's own programs outside of an image.
__mnrun_host_python() {
  local name
  for name in python3 /usr/bin/python3 python3.{13,12,11,10,9,8}; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2> /dev/null || continue
    MNRUN_HOST_PYTHON=$(command -v "$name")
    export MNRUN_HOST_PYTHON
    return 0
  done
  __mnrun_say "there is no Python 3.8 or later on $(uname -n) outside of the image, and mnrun's" \
    "own programs need one there: install it, or name the module that provides it"
  return 1
}

# RUNTIME LAUNCHERS IMAGE NAME...: from now on `python` is the image's. The values of the variables
# NAME count in the image too. Inside of it there is nothing to do.
__mnrun_image() {
  local runtime=$1 folder=$2 image=$3
  shift 3
  export MNRUN_IMAGE_VARIABLES="$*"
  PATH=$folder:${PATH//"$folder:"/}
  if [ "$runtime" = pyxis ]; then
    MNRUN_RUNTIME=$(command -v srun)
  else
    MNRUN_RUNTIME=$(command -v apptainer || command -v singularity)
    if [ -n "$MNRUN_RUNTIME" ] && [ ! -r "$image" ]; then
      __mnrun_say "there is no image $image that you could read on $(uname -n): set" \
        "environment_image. $(__mnrun_nearest "$image")"
      return 1
    fi
  fi
  export MNRUN_RUNTIME
  [ -z "$MNRUN_RUNTIME" ] || return 0
  __mnrun_say "there is no $runtime on $(uname -n), which environment_image needs: name the" \
    "module that provides it in environment_modules, or have it installed on every node"
  return 1
}

__mnrun_limit() {
  ulimit -S "-$1" "$2" 2> /dev/null ||
    __mnrun_say "note: ulimit -$1 remains $(ulimit -S "-$1"), $2 is not allowed on $(uname -n)"
}

__mnrun_wandb_read_key() {
  case $(stat -L -c %a -- "$1") in
    *00) ;;
    *) __mnrun_say "others can read the W&B key in $1: run chmod 600 $1"; return 1 ;;
  esac
  read -r WANDB_API_KEY < "$1"
  if [ -z "$WANDB_API_KEY" ]; then
    __mnrun_say "there is no W&B key in $1 that you could read: write the key on its first line"
    return 1
  fi
  export WANDB_API_KEY
}

__mnrun_wandb_has_key() {
  [ -n "${WANDB_API_KEY:-}" ] || grep -qs 'machine api.wandb.ai' "${NETRC:-$HOME/.netrc}"
}

# Any answer will do, even an error; through a proxy if the environment has one.
__mnrun_wandb_answers() {
  timeout 15 python - "${WANDB_BASE_URL:-https://api.wandb.ai}" 2> /dev/null << 'END'
import sys, urllib.error, urllib.request
try:
    urllib.request.build_opener().open(sys.argv[1], timeout=10)
except urllib.error.HTTPError:
    pass
END
}

__mnrun_wandb_offline() {
  export WANDB_MODE=offline
  [ "$__mnrun_bad" = 0 ] || return 0
  __mnrun_say "note: W&B logs this run offline: $1. To upload it later: mnrun report --sync"
}

# MODE (auto, online, offline, disabled) KEY_FILE...
__mnrun_wandb() {
  local mode=$1 file
  export WANDB_MODE=$mode
  case $mode in offline | disabled) return 0 ;; esac
  shift
  for file in "$@"; do
    [ -z "${WANDB_API_KEY:-}" ] && [ -e "$file" ] || continue
    __mnrun_wandb_read_key "$file" || return 1
  done
  if ! __mnrun_wandb_has_key; then
    if [ "$mode" = online ]; then
      __mnrun_say "no W&B key for environment_wandb_mode=online (looked for: $*): put it in a" \
        "file of mode 600 and name that in environment_wandb_key_file"
      return 1
    fi
    __mnrun_wandb_offline "no key (looked for: $*), nor environment_wandb_mode: offline"
  elif [ "$mode" = auto ] && [ -n "${SLURM_JOB_ID:-}" ] && ! __mnrun_wandb_answers; then
    __mnrun_wandb_offline "${WANDB_BASE_URL:-https://api.wandb.ai} does not answer on $(uname -n)"
  else
    export WANDB_MODE=online
  fi
}
"""

# Modules and conda use unset variables and failing commands, and a trace would show the key.
TAIL = r"""
__mnrun_flags=$-
{ set +eux; } 2> /dev/null
__mnrun_activate
__mnrun_code=$?
while read -r __mnrun_name; do unset -f "$__mnrun_name"; done < <(compgen -A function __mnrun_)
case $__mnrun_flags in *u*) set -u ;; esac
case $__mnrun_flags in *x*) set -x ;; esac
case $__mnrun_flags in *e*) set -e ;; esac
if [ "$__mnrun_code" -ne 0 ]; then return 1; fi
unset __mnrun_code __mnrun_flags __mnrun_name
"""
