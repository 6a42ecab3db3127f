"""Why an attempt ended: one typed cause, from the state, the exit code and the log. Pure.

Slurm's answer has priority (TIMEOUT, NODE_FAIL, …; if it has forgotten the job, its last message
in the job's log), then how the Ray cluster around a Ray job ended, then the log. Without evidence
there is no guess: the cause is `TRAINER`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from ..record.contract import ALLOCATION_OVER, GONE, Attempt, Observation, Phase
from ..record.inside import slurm_job
from .signs import BROKEN_GPU, NETWORK, RAY_DIED, SURE, TELLING


class Cause(Enum):
    """A cause: its name in results, its words, what to do, and whether a successor cures it."""

    def __init__(self, code: str, title: str, what_to_do: str, passing: bool = False) -> None:
        self.code = code
        self.title = title
        self.advice = what_to_do
        self.passing = passing  # not the training's fault: the same again, from the checkpoint

    GPU_MEMORY = (
        "gpu_memory",
        "out of GPU memory",
        (
            "Reduce the micro batch per GPU, the maximum sequence length, or the rollout's share "
            "of the memory."
        ),
    )
    MEMORY = (
        "memory",
        "out of memory on a node",
        (
            "Request more memory (`mem` in the role's sbatch options; 0 is all of the node's), or "
            "use less: fewer data workers, smaller batches. After a bus error, /dev/shm of the "
            "node is too small for them."
        ),
    )
    GPU = (
        "gpu",
        "a GPU that cannot be used",
        (
            "Look at the node's GPUs (`nvidia-smi`, and the kernel's log for Xid), leave the node "
            "out (`exclude` in the role's sbatch options), and inform your administrators. If the "
            "job requested no GPU, request some (mnrun_gpus_per_node)."
        ),
    )
    GPU_BUILD = (
        "gpu_build",
        "torch does not fit the GPUs or their driver",
        (
            "Install a torch that was built for these GPUs and this driver in the training "
            "environment, or load the matching CUDA module (environment_modules)."
        ),
    )
    GPU_PROGRAM = (
        "gpu_program",
        "a computation on a GPU failed",
        (
            "Often an index is out of range: a token beyond the vocabulary, a position beyond the "
            "model's maximum. CUDA_LAUNCH_BLOCKING=1 (environment_variables) shows where. If it "
            "happens on one node only, leave that node out (`exclude`)."
        ),
    )
    KILLED = (
        "killed",
        "killed from outside (SIGKILL or SIGTERM)",
        (
            "SIGKILL (137) usually comes from the kernel when memory runs out; the node's log "
            "(dmesg) shows it. SIGTERM (143) is how Slurm and Ray end a job. Its source is unknown."
        ),
    )
    NETWORK = (
        "network",
        "the ranks lost each other (NCCL, gloo or their rendezvous)",
        (
            "First check whether a single rank failed. Otherwise check NCCL_SOCKET_IFNAME and "
            "NCCL_IB_HCA (environment_variables); NCCL_DEBUG=INFO shows more."
        ),
    )
    IMPORT = (
        "import",
        "a module or a program is missing in the training environment",
        (
            "Install it there (environment_conda_prefix), or load the module that provides it "
            "(environment_modules)."
        ),
    )
    OPTION = (
        "option",
        "an option that the trainer does not accept",
        "Correct it in the site's options or the overrides; `mnrun preflight` checks them first.",
    )
    DISK = (
        "disk",
        "a disk is full",
        (
            "Free some space (the log shows where), keep fewer checkpoints (sft_keep, ppo_keep), "
            "or move the run folder (mnrun_run_dir)."
        ),
    )
    QUOTA = (
        "quota",
        "your disk quota is used up",
        "Free some space or have the quota raised; old checkpoints are the largest files.",
    )
    TIME_LIMIT = (
        "time_limit",
        "the job's time limit",
        (
            "Allow more time (`time` in the role's sbatch options), or save more often "
            "so that fewer steps are lost."
        ),
        True,
    )
    PREEMPTED = ("preempted", "preempted by another job", "Nothing to fix.", True)
    NODE = (
        "node",
        "a node failed",
        "Nothing, if it is rare. Your administrators can find out why the node failed.",
        True,
    )
    ALLOCATION = (
        "allocation",
        "the allocation that it ran in ended",
        "Nothing: the next attempt runs in another one.",
        True,
    )
    RAY_LOST = (
        "ray_lost",
        "the Ray cluster was lost",
        "The log of the cluster's job shows which node failed first (ppo/ray_cluster/logs).",
        True,
    )
    RAY_WORKER = (
        "ray_worker",
        "a process of the trainer died on a Ray worker",
        "If it happens again, look for the reason in that node's log; often memory ran out.",
        True,
    )
    RAY_STOPPED = (
        "ray_stopped",
        "its Ray cluster was stopped",
        "Run the same command again to continue.",
    )
    CANCELLED = (
        "cancelled",
        "cancelled by hand (scancel or `ray job stop`)",
        "It is not restarted automatically. Run the same command again to continue.",
    )
    CANCELLED_HERE = (
        "cancelled_here",
        "cancelled by you with `mnrun cancel`",
        "It is not restarted automatically. Run the same command again to continue.",
    )
    STALLED = (
        "stalled",
        "the training stood still",
        (
            "The evidence in the record shows what each rank did. If it happens again on the same "
            "node, leave that one out (`exclude` in the role's sbatch options). If the training "
            "was only slow, raise mnrun_stall_minutes."
        ),
        True,
    )
    SERVICE = (
        "service",
        "a service beside the training was lost",
        "Its log, named above, shows why (`mnrun logs STAGE --service NAME`).",
        True,
    )
    SERVICE_START = (
        "service_start",
        "a service beside the training did not come up",
        (
            "Its log, named above, shows why. Correct its command in mnrun_services, or raise its "
            "timeout if it only takes longer to start."
        ),
    )
    DIVERGED = (
        "diverged",
        "the training diverged, by the bounds of mnrun_guard",
        (
            "Look at the last values (the record has more), and change the options: a lower "
            "learning rate, clipped gradients. Other options are a new training. A re-run with the "
            "same ones resumes from the checkpoint before."
        ),
    )
    SHORT = (
        "short",
        "it exited successfully, but before its last step",
        (
            "The trainer made no step when it resumed, or not all of them. Run the same command "
            "again: it resumes from an earlier checkpoint."
        ),
        True,
    )
    RESULT = (
        "result",
        "it exited successfully, but its result is not complete",
        "Run the same command again; if it happens again, look at the files named above.",
    )
    NO_TRACE = (
        "no_trace",
        "nothing recorded how it ended",
        "Look at its log, then run the same command again to continue.",
    )
    TRAINER = ("trainer", "the training failed", "")


class Evidence(NamedTuple):
    """All that the cause is determined from."""

    attempt: Attempt
    enclosing: Observation | None = None  # how the job around it (its Ray cluster) ended, if it did
    lost_nodes: tuple[str, ...] = ()  # nodes of the job that are down or do not answer
    telling: str = ""  # the log's most telling line
    last_lines: tuple[str, ...] = ()  # all lines of the log after the last step
    own: tuple[tuple[str, str], ...] = ()  # patterns of this trainer's errors, with causes' codes
    stopped: str = ""  # the code of the cause for which the job itself ended the training


_BY_STATE = {
    "TIMEOUT": Cause.TIME_LIMIT,
    "DEADLINE": Cause.TIME_LIMIT,
    "PREEMPTED": Cause.PREEMPTED,
    "NODE_FAIL": Cause.NODE,
    "BOOT_FAIL": Cause.NODE,
    "OUT_OF_MEMORY": Cause.MEMORY,
    ALLOCATION_OVER: Cause.ALLOCATION,
}
_KILLED = (128 + 9, 128 + 15)  # exit codes of SIGKILL and SIGTERM
_ECHO = 300.0  # seconds from the first end in a job that is being ended to Slurm's own
_LONGEST_LINE = 2000  # characters that are searched

# What Slurm writes to the log of a job that it ends.
_ENDED = re.compile(r"\*\*\* JOB ([0-9]+) ON \S+ CANCELLED AT \S+(?: DUE TO ([A-Z ]+))?")
_BY_ENDED = {
    "TIME LIMIT": Cause.TIME_LIMIT,
    "PREEMPTION": Cause.PREEMPTED,
    "NODE FAILURE": Cause.NODE,
    "": Cause.CANCELLED,
}


def find(evidence: Evidence) -> Cause:
    """The cause of an attempt that ended without its work being done."""
    evidence, attempt = _short(evidence), evidence.attempt
    if attempt.cancelled_by:
        return Cause.CANCELLED_HERE
    if attempt.state in _BY_STATE:
        return _BY_STATE[attempt.state]
    if attempt.phase is Phase.CANCELLED:
        return Cause.CANCELLED
    around = _by_itself(evidence) or _by_last_words(evidence) or _by_enclosing(evidence)
    if around:
        return around
    by_log = _by_log(evidence)
    # The others only notice that a rank or a worker is gone; the node itself cannot report it.
    if evidence.lost_nodes and (
        by_log in _OF_A_LOST_NODE or (by_log is Cause.TRAINER and not evidence.telling)
    ):
        return Cause.NODE
    return by_log


def _short(evidence: Evidence) -> Evidence:
    """No sign of a cause is longer, and a search takes long in a line without an end."""
    lines = (line[:_LONGEST_LINE] for line in evidence.last_lines)
    return evidence._replace(telling=evidence.telling[:_LONGEST_LINE], last_lines=tuple(lines))


_OF_A_LOST_NODE = (
    Cause.NETWORK,
    Cause.RAY_WORKER,
    Cause.RAY_LOST,
    Cause.KILLED,
    Cause.NO_TRACE,
)


def _by_itself(evidence: Evidence) -> Cause | None:
    """From what the job wrote when it ended its own training."""
    stopped = next((cause for cause in Cause if cause.code == evidence.stopped), None)
    if stopped in (Cause.SERVICE, Cause.SERVICE_START) and _ended_together(evidence):
        stopped = _by_word(evidence.enclosing) or stopped
    by_node = stopped in (Cause.STALLED, Cause.SERVICE, Cause.SERVICE_START)
    return Cause.NODE if by_node and evidence.lost_nodes else stopped


def _ended_together(evidence: Evidence) -> bool:
    """Whether the end of the Ray cluster can be why a service ended: it was not long after it."""
    around = evidence.enclosing.end if evidence.enclosing else None
    own = evidence.attempt.end
    return around is None or own is None or around - own < _ECHO


def _by_word(enclosing: Observation | None) -> Cause | None:
    """The cause of the end of a job, if Slurm has a word for it."""
    if enclosing and enclosing.phase is Phase.CANCELLED:
        return Cause.CANCELLED
    return _BY_STATE.get(enclosing.state) if enclosing else None


def _by_last_words(evidence: Evidence) -> Cause | None:
    """From what Slurm wrote when it ended the job: that remains when it has forgotten the job."""
    for line in evidence.last_lines:
        match = _ENDED.search(line)
        if match and match.group(1) == slurm_job(evidence.attempt.job_id):
            return _BY_ENDED.get((match.group(2) or "").strip())
    return None


def _by_enclosing(evidence: Evidence) -> Cause | None:
    """From the end of the Ray cluster, if that can have ended the job."""
    attempt, enclosing = evidence.attempt, evidence.enclosing
    if enclosing is None:
        return None
    cut_off = attempt.phase is Phase.GONE or attempt.exit_code in _KILLED
    if not cut_off and not _says(evidence, RAY_DIED):
        return None
    if enclosing.phase is Phase.SUCCEEDED and not evidence.lost_nodes:
        return Cause.RAY_STOPPED if cut_off else None
    return _by_word(enclosing) or (Cause.NODE if evidence.lost_nodes else Cause.RAY_LOST)


def _by_log(evidence: Evidence) -> Cause:
    attempt, telling = evidence.attempt, evidence.telling
    sign = _by_sign(evidence)
    if sign:
        return sign
    if _says(evidence, RAY_DIED):
        return Cause.RAY_WORKER
    if _says(evidence, NETWORK) and (not telling or NETWORK.search(telling)):
        return Cause.NETWORK
    if attempt.state == GONE:
        return Cause.NO_TRACE
    killed, ended = (attempt.exit_code == code for code in _KILLED)
    return Cause.KILLED if killed or (ended and not telling) else Cause.TRAINER


def _by_sign(evidence: Evidence) -> Cause | None:
    """From what a single line proves."""
    codes = {cause.code: cause for cause in Cause}
    own = ((codes[code], re.compile(pattern)) for pattern, code in evidence.own)
    known = ((Cause[name], words) for name, words in (*SURE, *TELLING))
    telling = (cause for cause, words in (*own, *known) if words.search(evidence.telling))
    others = (
        Cause[name]
        for name, words in SURE
        if any(words.search(line) for line in evidence.last_lines)
    )
    found = next(telling, None) or next(others, None)
    return Cause.GPU if found is Cause.GPU_PROGRAM and _says(evidence, BROKEN_GPU) else found


def _says(evidence: Evidence, words: re.Pattern[str]) -> bool:
    return any(words.search(line) for line in (evidence.telling, *evidence.last_lines))
