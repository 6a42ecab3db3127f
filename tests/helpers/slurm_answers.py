"""What Slurm's commands print."""

from __future__ import annotations

from ansible_collections.mnrun.train.plugins.module_utils.slurm.parse import (
    HISTORY_FIELDS,
)

QUEUE_HEAD = "JOBID|STATE|REASON|START_TIME|NODELIST|NAME|COMMENT"
HISTORY_HEAD = HISTORY_FIELDS.replace(",", "|")
SHOWN = (
    "JobId=7 JobName=training_sft-0123abcd-1 UserId=mluser(2000) GroupId=mluser(2000) "
    "MCS_label=N/A Priority=1 JobState=FAILED Reason=NonZeroExitCode Dependency=(null) "
    "Requeue=0 ExitCode=3:0 "
    "SubmitTime=1700000000 StartTime=1700000010 EndTime=1700000020 NodeList=osk-gpu[94-95] "
    "Command=/home/a b/script.sh WorkDir=/home/a b StdErr=/home/a b/x JobState=RUNNING.err "
    "StdIn=/dev/null StdOut=/home/a b/x.out Power= \n"
)
