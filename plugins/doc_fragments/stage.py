"""Options that slurm_job and ray_job share, and how re-runs behave."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: >-
      Decides what would be done and lets the scheduler validate the request, without submitting,
      stopping or writing anything.
  diff_mode:
    support: full
    description: Shows the scripts, files, folders and spec that a submission would change.
  idempotent:
    support: full
    description: >-
      Work with the same O(spec) that is done or in progress is found in the run's ledger on the
      shared file system, whichever machine started it, and is not started again.
options:
  state:
    description:
      - V(present) makes sure that the work is done, or in progress, exactly once.
      - V(absent) makes sure that no job of the stage is alive, with any spec. It keeps results and
        records.
    type: str
    choices: [present, absent]
    default: present
  run_dir_shared:
    description:
      - The run folder may belong to another user, or be writable by others. Whoever can write to it
        can change what runs as this user, so it is refused otherwise.
    type: bool
    default: false
  stage:
    description: The stage of the run, for example V(sft). One job of a stage is alive at a time.
    type: str
    required: true
  spec:
    description:
      - Everything that determines the stage's result. Two calls with the same spec request the
        same work.
      - Scalars are compared as text, so that V(2) from an inventory equals V(2) from C(-e).
    type: dict
    default: {}
  spec_before:
    description:
      - The same as an earlier version wrote it. If the run has a record of it and none of O(spec),
        it is the spec, so that work that was done then counts.
    type: dict
    default: {}
  labels:
    description: Stored with the record and returned; they are not part of the spec.
    type: dict
    default: {}
  match_labels:
    description: With O(state=absent), stop only jobs whose labels hold all of these.
    type: dict
    default: {}
  keep_options:
    description:
      - The text of C(options.yml) in the run's folder, see M(mnrun.train.run_options_info). It is
        written once the work is done or in progress, and not if it was refused.
    type: str
    default: ""
  files:
    description: Files to put beside the script, by name, for the job to use (C($MNRUN_RECORD)).
    type: dict
    default: {}
  directories:
    description: Folders that the job writes to; created before the submission.
    type: list
    elements: str
    default: []
  checkpoints:
    description:
      - Where the trainer writes its checkpoints. They are the stage's result, and the measure of
        progress between attempts.
      - Checkpoints of another spec in that folder are moved away before a submission (renamed,
        never deleted), as the trainer would resume from them. Those of this spec are moved back.
    type: dict
    suboptions:
      path:
        description: The folder with one folder for each step.
        type: str
        required: true
      parts:
        description: Sub-folders of a step that contain shards (PPO has V(actor) and V(critic)).
        type: list
        elements: str
        default: []
      hf:
        description: The result must include the weights in Hugging Face format.
        type: bool
        default: false
      step_bytes:
        description: >-
          The approximate size of one checkpoint. Nothing is submitted if the file system has no
          space for those still to be written. V(0) if it is not known.
        type: int
        default: 0
      kept:
        description: How many checkpoints there will be at most.
        type: int
        default: 1
      last_step:
        description: The last step, if an option of the trainer sets one; V(0) otherwise.
        type: int
        default: 0
  trainer:
    description:
      - What the trainer writes and prints, as its profile says (C(words) of the filter
        P(mnrun.train.trainer_stage#filter)). It is kept with the record, and is not part of the
        spec.
    type: dict
    default: {}
  manifest:
    description:
      - The stage's result is a folder that a manifest describes, C(mnrun_manifest.json), such as a
        converted model. Without a manifest of this spec that matches the folder there is no result.
      - Excludes O(checkpoints).
    type: dict
    suboptions:
      path:
        description: The folder. The job itself moves away one with another spec.
        type: str
        required: true
  replace:
    description:
      - Stop a live job of another spec and replace it, instead of refusing.
      - Also submits again if O(max_attempts) is reached.
    type: bool
    default: false
  set_aside:
    description:
      - Checkpoints of finished work with another spec may be moved aside. Without it, what would
        move them is refused, with C(needs_yes).
    type: bool
    default: true
  ask_gpu_hours:
    description:
      - A first submission that needs more is refused, with C(needs_yes), if it is known from an
        earlier attempt how long a step takes. V(0) for any number.
    type: float
    default: 0
  gpus:
    description: How many GPUs the work uses, for O(ask_gpu_hours).
    type: int
    default: 0
  followers:
    description: Stages that begin with the result of this one, whose finished work counts as well.
    type: list
    elements: str
    default: []
  max_attempts:
    description: How many attempts in a row may end without a new checkpoint.
    type: int
    default: 3
  wait:
    description:
      - Wait for the job to end; fail if it fails, with the cause and what to do.
      - Failures that are not the job's own (time limit, preemption, a node failure) are retried
        automatically, as long as there are new checkpoints and O(max_attempts) allows it. Jobs that
        a person cancelled are not.
      - In a play, a line is shown for each change, and a lost connection does not end the task.
    type: bool
    default: false
  wait_timeout:
    description: Maximum seconds to wait. The job continues after that.
    type: int
    default: 604800
  attempt:
    description:
      - Wait for exactly this attempt and record its end. Never submits.
      - C(attempt) of an earlier call with the same O(spec).
    type: int
  handed_over_at:
    description:
      - When a person left this work to run by itself, in seconds since the epoch; V(0) if one is
        there. If its last attempt ended after that for a reason that is not retried automatically,
        such as a cancellation, the module fails with that reason, instead of trying again.
      - Set by the action plugin, from C(mnrun_handed_over_at).
    type: float
    default: 0.0
  stop_signal:
    description:
      - With O(state=absent), send this signal to a running job's script first, so that it can end
        cleanly. Empty to cancel immediately.
    type: str
    default: ""
  stop_timeout:
    description: Seconds that the job gets to end after O(stop_signal).
    type: int
    default: 60
  cancelled_by:
    description:
      - With O(state=absent), record who wants this work ended. It is then not retried
        automatically.
    type: str
    default: ""
notes:
  - If a job with the same spec is alive, the module attaches to it. If one with another spec is
    alive, the module fails and shows the difference.
  - Finished work is only verified, from the files of its result. If they are missing or damaged,
    the work is done again.
  - After a job that failed, was cancelled or ran out of time, the next attempt resumes from the
    newest complete checkpoint. A damaged one is skipped (renamed, never deleted).
  - The next attempt excludes a node that failed, if enough others are free.
  - If the scheduler does not respond, nothing is submitted and nothing cancelled.
"""
