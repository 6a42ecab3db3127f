"""The typed cause of an end: by the state, by the Ray cluster around a job, by the log."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    GONE,
    Attempt,
    Observation,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause, Evidence, find


def ended(state: str = "FAILED", phase: Phase = Phase.FAILED, **changes: Any) -> Attempt:
    values = {"exit_code": 1, **changes}
    return Attempt(1, "t", "n-1", 0.0, phase=phase, state=state, job_id="12", **values)


def by_log(*lines: str) -> Cause:
    return find(Evidence(ended(), telling=lines[0], last_lines=lines))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("TIMEOUT", Cause.TIME_LIMIT),
        ("DEADLINE", Cause.TIME_LIMIT),
        ("PREEMPTED", Cause.PREEMPTED),
        ("NODE_FAIL", Cause.NODE),
        ("BOOT_FAIL", Cause.NODE),
        ("OUT_OF_MEMORY", Cause.MEMORY),
        ("FAILED", Cause.TRAINER),
    ],
)
def test_the_state_comes_first(state: str, cause: Cause) -> None:
    assert find(Evidence(ended(state))) is cause
    if cause is not Cause.TRAINER:
        assert find(Evidence(ended(state), telling="ImportError: x")) is cause


def test_who_cancelled_is_told() -> None:
    cancelled = ended("CANCELLED", Phase.CANCELLED)
    assert find(Evidence(cancelled)) is Cause.CANCELLED
    cancelled.cancelled_by = "mnrun cancel"
    assert find(Evidence(cancelled)) is Cause.CANCELLED_HERE
    stopped_in_order = ended("COMPLETED", Phase.SUCCEEDED, exit_code=0, cancelled_by="mnrun cancel")
    assert find(Evidence(stopped_in_order)) is Cause.CANCELLED_HERE


@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("", Cause.CANCELLED),
        (" DUE TO TIME LIMIT", Cause.TIME_LIMIT),
        (" DUE TO PREEMPTION", Cause.PREEMPTED),
        (" DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS", Cause.NODE),
        (" DUE TO SOMETHING NEW", Cause.KILLED),
    ],
)
@pytest.mark.parametrize("state", ["FAILED", GONE])
def test_slurm_s_last_words_stand_when_it_has_forgotten_the_job(
    state: str, why: str, cause: Cause
) -> None:
    line = (
        f"2/9 [00:17]slurmstepd-a: error: *** JOB 12 ON a CANCELLED AT 2026-11-25T22:54:53{why} ***"
    )
    attempt = ended(state, exit_code=137)
    lines = ("slurmstepd-a: error: *** STEP 12.0 ON a CANCELLED AT 2026-11-25T22:54:53 ***", line)
    if state == "FAILED" or cause is not Cause.KILLED:
        assert find(Evidence(attempt, last_lines=lines)) is cause
    other = line.replace("JOB 12", "JOB 13")
    assert find(Evidence(attempt, last_lines=(other,))) in (Cause.KILLED, Cause.NO_TRACE)


def test_a_sigterm_that_nobody_explains_is_no_failure_of_the_training() -> None:
    assert find(Evidence(ended(exit_code=143))) is Cause.KILLED
    raised = Evidence(ended(exit_code=143), telling="ValueError: no such thing")
    assert find(raised) is Cause.TRAINER


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", Cause.GPU_MEMORY),
        ("[rank3]: torch.cuda.OutOfMemoryError: HIP out of memory.", Cause.GPU_MEMORY),
        ("ValueError: No available memory for the cache blocks.", Cause.GPU_MEMORY),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=12.0", Cause.MEMORY),
        ("OSError: [Errno 12] Cannot allocate memory", Cause.MEMORY),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node", Cause.MEMORY),
        ("RuntimeError: [x] . DefaultCPUAllocator: can't allocate memory: you", Cause.MEMORY),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:3690, remote", Cause.NETWORK),
        ("NodeError: n2: torch sees 0 GPUs, 1 expected", Cause.GPU),
        ("NodeError: n2: torch cannot use GPU 0: CUDA error: unknown error", Cause.GPU),
        ("NodeError: n2: GPU 0: of 143,771 MiB, 20,000 MiB by ann (process 7, python)", Cause.GPU),
        ("NodeError: n2: it does not answer in the all-reduce before the training", Cause.NETWORK),
        ("NodeError: n2: no address of the node n1 is known on n2", Cause.TRAINER),
        ("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", Cause.NETWORK),
        ("[rank1]: RuntimeError: [gloo] Connection closed by peer [10.0.0.2]:5", Cause.NETWORK),
        ("[Rank 2] Watchdog caught collective operation timeout: WorkNCCL", Cause.NETWORK),
        ("ModuleNotFoundError: No module named 'verl'", Cause.IMPORT),
        ("ImportError: libnccl.so.2: cannot open shared object file", Cause.IMPORT),
        ("script.sh: line 9: torchrun: command not found", Cause.IMPORT),
        ("Could not override 'data.train_batch_sise'.", Cause.OPTION),
        ("omegaconf.errors.ConfigAttributeError: Key 'x' is not in struct", Cause.OPTION),
        ("OSError: [Errno 28] No space left on device: '/home/a/c.pt'", Cause.DISK),
        ("OSError: [Errno 122] Disk quota exceeded", Cause.QUOTA),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", Cause.RAY_WORKER),
        ("ValueError: the batch size 7 cannot be divided by 2", Cause.TRAINER),
    ],
)  # fmt: skip
def test_the_telling_line_says_the_cause(line: str, cause: Cause) -> None:
    assert by_log(line) is cause


def test_a_sure_sign_elsewhere_wins_over_a_vague_error() -> None:
    vague = "RuntimeError: PytorchStreamWriter failed writing file data/5"
    assert by_log(vague, "tee: No space left on device") is Cause.DISK
    assert by_log(vague, "ImportError of something optional") is Cause.TRAINER
    assert by_log(vague, "[gloo] Connection closed by peer") is Cause.TRAINER


@pytest.mark.parametrize(
    ("driver", "cause"),
    [
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", Cause.GPU),
        ("NVRM: Xid (PCI:0000:3b:00): 94, pid=1, Contained ECC error", Cause.GPU),
        ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1, MMU Fault", Cause.GPU_PROGRAM),
        ("", Cause.GPU_PROGRAM),
    ],
)
def test_a_broken_gpu_is_not_blamed_on_the_program(driver: str, cause: Cause) -> None:
    telling = "RuntimeError: CUDA error: unspecified launch failure"
    assert by_log(telling, driver) is cause


def test_a_connection_is_lost_to_a_node_that_is_down() -> None:
    closed = "RuntimeError: [gloo] Connection closed by peer"
    assert find(Evidence(ended(), None, ("n2",), closed, (closed,))) is Cause.NODE
    assert find(Evidence(ended(), None, ("n2",))) is Cause.NODE
    assert find(Evidence(ended(), None, ("n2",), "ValueError: no")) is Cause.TRAINER
    memory = "torch.OutOfMemoryError: CUDA out of memory."
    assert find(Evidence(ended(), None, ("n2",), memory, (memory,))) is Cause.GPU_MEMORY


GONE_WITH_IT = ended(GONE, Phase.GONE, exit_code=None)
TERMINATED = ended(exit_code=143)


@pytest.mark.parametrize("attempt", [GONE_WITH_IT, TERMINATED])
@pytest.mark.parametrize(
    ("enclosing", "cause"),
    [
        (Observation(Phase.FAILED, "TIMEOUT"), Cause.TIME_LIMIT),
        (Observation(Phase.FAILED, "PREEMPTED"), Cause.PREEMPTED),
        (Observation(Phase.FAILED, "NODE_FAIL"), Cause.NODE),
        (Observation(Phase.FAILED, "FAILED", exit_code=1), Cause.RAY_LOST),
        (Observation(Phase.CANCELLED, "CANCELLED"), Cause.CANCELLED),
        (Observation(Phase.SUCCEEDED, "COMPLETED"), Cause.RAY_STOPPED),
    ],
)
def test_a_ray_job_that_was_cut_off_ended_as_its_cluster_did(
    attempt: Attempt, enclosing: Observation, cause: Cause
) -> None:
    assert find(Evidence(attempt, enclosing)) is cause


def test_a_driver_that_lost_its_workers_ended_as_its_cluster_did() -> None:
    died = "ray.exceptions.ActorDiedError: The actor died because its node has died."
    lost = Observation(Phase.FAILED, "FAILED")
    assert find(Evidence(ended(), lost, (), died, (died,))) is Cause.RAY_LOST
    stopped_by_us = Observation(Phase.SUCCEEDED, "COMPLETED")
    assert find(Evidence(ended(), stopped_by_us, (), died, (died,))) is Cause.RAY_WORKER
    assert find(Evidence(ended(), stopped_by_us, ("n2",), died, (died,))) is Cause.NODE


def test_an_error_of_the_trainer_is_not_blamed_on_the_cluster() -> None:
    error = "ValueError: the trainer says why"
    timeout = Observation(Phase.FAILED, "TIMEOUT")
    assert find(Evidence(ended(), timeout, (), error, (error,))) is Cause.TRAINER


def test_what_nothing_speaks_for_is_not_guessed() -> None:
    assert find(Evidence(ended(GONE, Phase.GONE, exit_code=None))) is Cause.NO_TRACE
    assert find(Evidence(ended(exit_code=137))) is Cause.KILLED
    assert find(Evidence(ended())) is Cause.TRAINER


def test_every_cause_has_words_of_its_own_and_says_what_to_do() -> None:
    assert len({cause.code for cause in Cause}) == len(Cause)
    assert [cause for cause in Cause if not cause.advice] == [Cause.TRAINER]
    assert all(cause.advice.endswith(".") for cause in Cause if cause.advice)


@pytest.mark.parametrize("cause", [Cause.SERVICE, Cause.SERVICE_START])
def test_a_service_that_was_lost_is_the_cause_unless_its_node_was(cause: Cause) -> None:
    found = Evidence(ended(), telling="ConnectionError: refused", stopped=cause.code)
    assert find(found) is cause
    assert find(found._replace(lost_nodes=("n2",))) is Cause.NODE
    assert find(found._replace(attempt=ended("TIMEOUT"))) is Cause.TIME_LIMIT
    assert Cause.SERVICE.passing
    assert not Cause.SERVICE_START.passing


@pytest.mark.parametrize("stopped", [Cause.SERVICE, Cause.SERVICE_START])
@pytest.mark.parametrize(
    ("enclosing", "cause"),
    [
        (Observation(Phase.CANCELLED, "CANCELLED"), Cause.CANCELLED),
        (Observation(Phase.CANCELLED, "CANCELLED", end=130.0), Cause.CANCELLED),
        (Observation(Phase.FAILED, "TIMEOUT"), Cause.TIME_LIMIT),
        (Observation(Phase.FAILED, "PREEMPTED"), Cause.PREEMPTED),
        (Observation(Phase.FAILED, "TIMEOUT", end=9000.0), None),
        (Observation(Phase.FAILED, "FAILED"), None),
        (Observation(Phase.SUCCEEDED, "COMPLETED"), None),
        (None, None),
    ],
)
def test_a_service_that_ended_with_the_cluster_is_not_blamed(
    stopped: Cause, enclosing: Observation | None, cause: Cause | None
) -> None:
    found = Evidence(ended(end=100.0), enclosing, stopped=stopped.code)
    assert find(found) is (cause or stopped)
