"""Options that slurm_job and ray_job share, and how re-runs behave."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: >-
      Decides what would be done and lets the scheduler judge the request, without submitting,
      stopping or writing anything.
  diff_mode:
    support: full
    description: Shows the scripts, files, folders and spec that a submission changes.
  idempotent:
    support: full
    description: >-
      What is done or being done for the same O(spec) is found in the run's ledger on the shared
      file system, from whatever machine it was started, and is not started again.
options:
  state:
    description:
      - V(present) makes sure that the work is done, or being done, once.
      - V(absent) makes sure that no job of the stage is alive, of whatever spec. It keeps
        results and records.
    type: str
    choices: [present, absent]
    default: present
  stage:
    description: The stage of the run, for example V(sft). One job of a stage is alive at a time.
    type: str
    required: true
  spec:
    description:
      - All that decides the stage's result. Two calls with the same spec want the same work.
      - Scalars count as their text, so that V(2) from an inventory equals V(2) from C(-e).
    type: dict
    default: {}
  labels:
    description: Kept with the record and returned; they do not belong to the spec.
    type: dict
    default: {}
  match_labels:
    description: With O(state=absent), stop only jobs whose labels hold all of these.
    type: dict
    default: {}
  files:
    description: Files to lay beside the script, by name, for the job to use (C($MNRUN_RECORD)).
    type: dict
    default: {}
  directories:
    description: Folders that the job writes to; made before the submission.
    type: list
    elements: str
    default: []
  checkpoints:
    description:
      - Where the trainer writes its checkpoints. They are the stage's result, and the measure of
        progress between attempts.
      - Checkpoints of another spec in that folder are set aside before a submission (renamed, never
        deleted), as the trainer would resume from them. Those of this spec come back.
    type: dict
    suboptions:
      path:
        description: The folder with C(global_step_N).
        type: str
        required: true
      parts:
        description: Sub-folders of a step that hold shards (PPO has V(actor) and V(critic)).
        type: list
        elements: str
        default: []
      hf:
        description: The result must hold the weights in the Hugging Face form too.
        type: bool
        default: false
      step_bytes:
        description: >-
          What one checkpoint takes, about. Nothing is submitted where the file system has no room
          for those to come. V(0) if that is not known.
        type: int
        default: 0
      kept:
        description: How many checkpoints will lie there at the most.
        type: int
        default: 1
      last_step:
        description: The step at which the trainer was told to end (0 for none), if by an option.
        type: int
        default: 0
  manifest:
    description:
      - The stage's result is a folder that a manifest describes, C(mnrun_manifest.json), such as a
        converted model. Without a manifest of this spec that fits the folder there is no result.
      - Excludes O(checkpoints).
    type: dict
    suboptions:
      path:
        description: The folder. One of another spec is set aside by the job itself.
        type: str
        required: true
  replace:
    description:
      - Stop a live job of another spec and put this one in its place, instead of refusing.
      - Also submits again where O(max_attempts) is reached.
    type: bool
    default: false
  max_attempts:
    description: So many attempts in a row may end without a new checkpoint; then none is submitted.
    type: int
    default: 3
  wait:
    description:
      - Wait for the job to end; fail if it fails, with the cause and what to do.
      - What was not the job's fault (time limit, preemption, a node that failed) gets a successor
        by itself, while it brings new checkpoints and O(max_attempts) allows it. What a person
        cancelled does not.
      - In a play, a line is shown for each change, and a lost connection is survived.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait at most. The job goes on after that.
    type: int
    default: 604800
  attempt:
    description:
      - Wait for exactly this attempt and record its end. Never submits.
      - RV(attempt) of an earlier call with the same O(spec).
    type: int
  stop_signal:
    description:
      - With O(state=absent), send a running job's script this signal first, so that it can end in
        order. Empty to cancel at once.
    type: str
    default: ""
  stop_timeout:
    description: Seconds that the job gets to end after O(stop_signal).
    type: int
    default: 60
  cancelled_by:
    description:
      - With O(state=absent), note in the record that somebody wants this work ended, and who. It
        then gets no successor by itself.
    type: str
    default: ""
notes:
  - A job that is alive with the same spec is attached to. One with another spec is never joined by
    a second one, it is an error that shows the difference.
  - Work that is done is only checked, from the files of its result. If they are missing or damaged,
    the work is done again.
  - A job that failed, was cancelled or ran out of time gets a successor, which goes on from the
    newest whole checkpoint. A damaged one is passed over (renamed, never deleted).
  - A node that failed is left out of the successor's job, if enough others are free.
  - If the scheduler does not answer, nothing is submitted and nothing cancelled.
"""
