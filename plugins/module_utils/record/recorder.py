"""The batch script for the scheduler: the stage's own, with code that records its end.

Directives stay at the top, where sbatch reads them. Below them is the recorder: it starts the same
script once more as its child (which skips the recorder), forwards the signals USR1 and TERM to it,
and writes how it ended.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ..base.errors import Invalid
from .contract import Attempt

_SHELL = re.compile(r"#!\s*(/usr)?/bin/(env )?bash\s*")

_RECORDER = """\
{begin}
export MNRUN_RECORD={folder} MNRUN_ATTEMPT={number} MNRUN_TOKEN={token}
if [ -z "${{MNRUN_RECORDER:-}}" ]; then
  export MNRUN_RECORDER=$$
  mnrun_job={job_id}
  mnrun_json() {{ # the record's text, open for more fields
    printf '{{"job_id": "%s", "token": "%s", "host": "%s", "cluster": "%s", "start": %s' \\
      "$mnrun_job" "$MNRUN_TOKEN" "$(uname -n)" "${{SLURM_CLUSTER_NAME:-}}" "$mnrun_start"
  }}
  mnrun_part="$MNRUN_RECORD/.$mnrun_job.$$"
  mnrun_start=$(date +%s)
  mnrun_claim="$MNRUN_RECORD/start-$MNRUN_ATTEMPT.json"
  # A link is made by one job only, and where there are no hard links, a folder: of two jobs of one
  # attempt the second ends here.
  mnrun_take() {{
    mnrun_why=$({{ printf '%s}}\\n' "$(mnrun_json)" > "$mnrun_part"; }} 2>&1) || return
    mnrun_why=$(LC_ALL=C ln "$mnrun_part" "$mnrun_claim" 2>&1) && return
    case $mnrun_why in
      *"not permitted"* | *"not supported"* | *"not implemented"* | *"Too many links"*)
        mkdir "$mnrun_part.d" && cp "$mnrun_part" "$mnrun_part.d/claim" \\
          && mv -T "$mnrun_part.d" "$mnrun_claim.d" && mv -n "$mnrun_part" "$mnrun_claim" ;;
    esac
  }}
  mnrun_holder() {{ cat "$mnrun_claim" 2> /dev/null || cat "$mnrun_claim.d/claim" 2> /dev/null; }}
  mnrun_why=
  for mnrun_pause in 1 2 4 0; do # a file server may fail for a moment
    mnrun_take 2> /dev/null
    rm -rf "$mnrun_part" "$mnrun_part.d"
    mnrun_held=$(mnrun_holder)
    if [ -n "$mnrun_held" ]; then break; fi
    sleep "$mnrun_pause"
  done
  case $mnrun_held in
    *"\\"job_id\\": \\"$mnrun_job\\", \\"token\\": \\"$MNRUN_TOKEN\\""*) ;;
    ?*)
      echo "mnrun: another job works on this already, so this one ends: $mnrun_held"
      exit 0 ;;
    *)
      echo "mnrun: this job cannot claim its work in $MNRUN_RECORD, so it ends: $mnrun_why" >&2
      exit 1 ;;
  esac
  mnrun_child=
  mnrun_forward() {{
    mnrun_caught=yes
    if [ -n "$mnrun_child" ]; then kill -s "$1" "$mnrun_child" 2> /dev/null; fi
  }}
  trap 'mnrun_forward USR1' USR1
  trap 'mnrun_forward TERM' TERM
  (trap - INT QUIT && exec bash "$0" "$@") & # which a background process would ignore
  mnrun_child=$!
  mnrun_code=1
  mnrun_caught=yes
  while [ -n "$mnrun_caught" ]; do # a signal ends `wait`, not the child
    mnrun_caught=
    wait "$mnrun_child"
    mnrun_status=$? # bash 5.2 loses that of a child that ends as a signal comes: then the signal's
    if [ "$mnrun_status" -ge 0 ]; then mnrun_code=$mnrun_status; fi
  done
  printf '%s, "end": %s, "exit_code": %s}}\\n' "$(mnrun_json)" "$(date +%s)" "$mnrun_code" \\
    > "$mnrun_part" && mv -f "$mnrun_part" "$MNRUN_RECORD/end-$MNRUN_ATTEMPT.json"
  exit "$mnrun_code"
fi
unset MNRUN_RECORDER
{end}
"""
_BEGIN = "# ---- mnrun: records how this job ends; the stage's own script follows below ----"
_END = "# ---- the stage's own script ----"


def with_end_recorder(
    text: str,
    folder: Path,
    attempt: Attempt,
    job_id: str = '"$SLURM_JOB_ID"',
) -> str:
    """The script `text` with the recorder inserted. `job_id` is shell code for the job's own id.
    Raises Invalid if `text` is not a bash script."""
    head, body = split_head(text)
    recorder = _RECORDER.format(
        begin=_BEGIN,
        end=_END,
        folder=shlex.quote(str(folder)),
        number=attempt.number,
        token=shlex.quote(attempt.token),
        job_id=job_id,
    )
    return f"{head}{recorder}{body}" if body.endswith("\n") else f"{head}{recorder}{body}\n"


def without_recorder(text: str) -> str:
    """The stage's own script, which is what a user wants to compare."""
    head, begin, rest = text.partition(f"{_BEGIN}\n")
    return head + rest.partition(f"{_END}\n")[2] if begin else text


def split_head(text: str) -> tuple[str, str]:
    """A script in two parts: its first line with all comments up to the first command (sbatch reads
    directives only there), and the rest."""
    lines = text.splitlines(keepends=True)
    if not lines or not _SHELL.fullmatch(lines[0]):
        first = lines[0].rstrip() if lines else ""
        raise Invalid(
            f"The first line of the script must be #!/bin/bash, but it is {first!r}. "
            "Put options (as in `bash -l`) into the script, as `set -…`."
        )
    end = 0
    while end < len(lines) and (lines[end].startswith("#") or not lines[end].strip()):
        end += 1
    head = "".join(lines[:end])
    return head if head.endswith("\n") else head + "\n", "".join(lines[end:])
