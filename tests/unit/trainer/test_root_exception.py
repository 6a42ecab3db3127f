"""The exception at the root of a failure, behind all that wraps it or reacts to it.

The logs in the folder `logs` were written by torch 2.13, Ray 2.56 and hydra, with other paths;
those of vLLM and NCCL are excerpts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Attempt, Phase
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause, Evidence, find
from ansible_collections.mnrun.train.plugins.module_utils.trainer.telling import (
    Telling,
    behind_last_step,
    find_telling,
)

LOGS = Path(__file__).parent / "logs"
TEMPLATE = (
    "[rank0]: ValueError: Cannot use chat template functions because tokenizer.chat_template is "
    "not set and no template argument was passed!"
)


def told(path: Path) -> Telling:
    found = find_telling([path])
    assert found is not None
    return found


def written(tmp_path: Path, text: str) -> Telling:
    (tmp_path / "err").write_text(text)
    return told(tmp_path / "err")


def cause(path: Path) -> Cause:
    attempt = Attempt(1, "t", "n-1", 0.0, phase=Phase.FAILED, state="FAILED", exit_code=1)
    last = tuple(behind_last_step([path]))
    return find(Evidence(attempt, telling=told(path).line, last_lines=last))


@pytest.mark.parametrize(
    ("log", "line", "of"),
    [
        ("data_worker", TEMPLATE, Cause.TRAINER),
        ("data_worker_killed",
         "[rank0]: RuntimeError: DataLoader worker (pid 15001) is killed by signal: Killed.",
         Cause.MEMORY),
        ("raised_from", "KeyError: 'dataset'", Cause.TRAINER),
        ("while_handling", "AssertionError: Process group cannot be None", Cause.TRAINER),
        ("exception_group", ("FileNotFoundError: [Errno 2] No such file or directory: "
         "'/data/reward.py'"), Cause.TRAINER),
        ("torchrun", "RuntimeError: No available nccl backend found on device type cpu.",
         Cause.GPU),
        ("process_pool", "OSError: [Errno 28] No space left on device: '/data/x'", Cause.DISK),
        ("hydra", "AssertionError: The batch (3) is not divisible by 2", Cause.TRAINER),
        ("hydra_instantiate", "TypeError: 'int' object is not iterable", Cause.TRAINER),
        ("ray_actor_init", "ImportError: flash_attn is not installed", Cause.IMPORT),
        ("ray_bare_assert", "AssertionError: assert x % 16 == 0", Cause.TRAINER),
        ("ray_chain", "KeyError: 'x'", Cause.TRAINER),
        ("vllm_engine", ("(EngineCore_DP0 pid=4242) ValueError: No available memory for the cache "
         "blocks. Try increasing `gpu_memory_utilization` when initializing the engine."),
         Cause.GPU_MEMORY),
        ("two_ranks", "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered",
         Cause.GPU),
        ("cpp_watchdog", ("[rank1]:[PG ID 0 PG GUID 0(default_pg) Rank 1] Process group watchdog "
         "thread terminated with exception: CUDA error: an illegal memory access was encountered"),
         Cause.GPU_PROGRAM),
    ],
)  # fmt: skip
def test_the_root_is_found_behind_its_wrappers(log: str, line: str, of: Cause) -> None:
    path = LOGS / f"{log}.log"
    assert told(path).line == line
    assert cause(path) is of
    assert len(told(path).lines) <= 10


@pytest.mark.parametrize(
    ("log", "chain"),
    [
        ("raised_from", ["KeyError: 'dataset'",
                         "ValueError: The column 'dataset' is missing in /data/train.parquet",
                         "RuntimeError: could not start the training"]),
        ("while_handling", ["ValueError: the batch does not fit",
                            "AssertionError: Process group cannot be None"]),
        ("ray_chain", ["KeyError: 'x'", ("ValueError: real_train_batch_size (30) must be divisible "
                       "by minimal possible batch size (16)")]),
        ("process_pool", ["OSError: [Errno 28] No space left on device: '/data/x'"]),
    ],
)  # fmt: skip
def test_what_an_exception_led_to_is_kept(log: str, chain: list[str]) -> None:
    assert list(told(LOGS / f"{log}.log").chain) == chain


@pytest.mark.parametrize(
    ("log", "node"),
    [("torchrun", "osk-gpu95"), ("two_ranks", "osk-gpu94"), ("ray_actor_init", "192.0.2.2"),
     ("raised_from", "")],
)  # fmt: skip
def test_the_node_is_named_as_the_launcher_does(log: str, node: str) -> None:
    assert told(LOGS / f"{log}.log").node == node


def test_the_root_is_found_before_what_many_ranks_write_about_it(tmp_path: Path) -> None:
    reaction = "[rank{0}]: RuntimeError: [gloo] Connection closed by peer [10.0.0.2]:5\n"
    frames = '[rank{0}]:   File "/env/x.py", line 1, in f\n' * 200
    header = "[rank{0}]: Traceback (most recent call last):\n"
    ranks = "".join((header + frames + reaction).format(rank) for rank in range(1, 64))
    root = (header + "[rank0]: ValueError: the real one\n").format(0)
    assert written(tmp_path, root + ranks).line == "[rank0]: ValueError: the real one"


def test_a_rank_that_was_only_ended_is_not_the_first_that_failed(tmp_path: Path) -> None:
    report = (LOGS / "two_ranks.log").read_text()
    ended = report[report.index("Root Cause") :].replace("gpu94", "gpu96")
    ended = ended.replace("exitcode  : 1 ", "exitcode  : -15 ")
    assert written(tmp_path, ended + report).node == "osk-gpu94"


REPORT_ONLY = """\
Root Cause (first observed failure):
[0]:
  host      : osk-gpu95
  exitcode  : 1 (pid: 15055)
  traceback : Traceback (most recent call last):
    File "/home/me/rec.py", line 5, in main
      raise RuntimeError("no such file")
  RuntimeError: no such file
"""
OTHER_NAME = """\
Traceback (most recent call last):
  File "/env/subprocess.py", line 1, in run
    raise TimeoutExpired(process.args)
subprocess.TimeoutExpired: Command 'df' timed out after 30 seconds
"""
MESSAGE_BELOW = """\
Error executing job with overrides: ['a=1']
Traceback (most recent call last):
  File "/home/me/x.py", line 1, in main
    check()
ValueError:

The batch is too large.
"""
TWICE = """\
(WorkerDict pid=1) Traceback (most recent call last):
(WorkerDict pid=1)   File "/home/me/x.py", line 1, in f
(WorkerDict pid=1) AssertionError
Traceback (most recent call last):
  File "/home/me/x.py", line 1, in f
    assert n % 2 == 0, "the batch is odd"
AssertionError: the batch is odd
"""
HANDLED_BEFORE = """\
(TaskRunner pid=1) Traceback (most recent call last):
(TaskRunner pid=1)   File "/home/me/optional.py", line 1, in f
(TaskRunner pid=1) ImportError: no fast kernels, the slow ones are used
Traceback (most recent call last):
  File "/home/me/main.py", line 1, in f
ray.exceptions.RayTaskError(ValueError): ray::TaskRunner.run() (pid=1, ip=192.0.2.7)
  File "/home/me/y.py", line 2
ValueError: the real one
"""


SGLANG = """\
[2025-11-25 10:00:00 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "/env/sglang/scheduler.py", line 1, in run
    self.load()
OSError: Can't load the configuration of '/model'.
"""
SPAWNED = """\
Traceback (most recent call last):
  File "/home/me/x.py", line 1, in <module>
    spawn(main)
torch.multiprocessing.spawn.ProcessRaisedException:

-- Process 0 terminated with the following error:
Traceback (most recent call last):
  File "/home/me/x.py", line 2, in main
    raise ValueError("the real one")
ValueError: the real one
"""
LAUNCHED = f"""\
{OTHER_NAME.replace("subprocess.TimeoutExpired: Command 'df'", "ValueError: the real one; df")}
Traceback (most recent call last):
  File "/env/accelerate/launch.py", line 1, in launch
    raise subprocess.CalledProcessError(returncode=1, cmd=cmd)
subprocess.CalledProcessError: Command '['python', 'x.py']' returned non-zero exit status 1.
"""
NOT_LOADED = """\
ray.exceptions.RaySystemError: System error: No module named 'verl'
traceback: Traceback (most recent call last):
ModuleNotFoundError: No module named 'verl'
"""
NO_TRACEBACK = """\
WARNING 11-25 10:00:01 [interface.py:391] Traceback (most recent call last):
WARNING 11-25 10:00:01 [interface.py:391]   File "/env/x.py", line 1, in f
WARNING 11-25 10:00:01 [interface.py:391] ImportError: no fast kernels
note: all is well
note: and goes on
KeyError: 'a'
"""

COMPILED = """Traceback (most recent call last):
  File "/env/x.py", line 1, in f
    compile(g)
torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:
RuntimeError: Found Tesla P100-PCIE which is too old
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SGLANG, "OSError: Can't load the configuration of '/model'."),
        (SPAWNED, "ValueError: the real one"),
        (LAUNCHED, "ValueError: the real one; df timed out after 30 seconds"),
        (NOT_LOADED, "ModuleNotFoundError: No module named 'verl'"),
        (NO_TRACEBACK, "KeyError: 'a'"),
        (COMPILED, ("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised: "
         "RuntimeError: Found Tesla P100-PCIE which is too old")),
        ("run.sh: line 9: 1234 Killed                  torchrun x.py\n",
         "run.sh: line 9: 1234 Killed                  torchrun x.py"),
        (REPORT_ONLY, "RuntimeError: no such file"),
        (OTHER_NAME, "subprocess.TimeoutExpired: Command 'df' timed out after 30 seconds"),
        (MESSAGE_BELOW, "ValueError: The batch is too large."),
        (TWICE, "AssertionError: the batch is odd"),
        (HANDLED_BEFORE, "ValueError: the real one"),
        ("train.py: error: unrecognized arguments: --lr\n",
         "train.py: error: unrecognized arguments: --lr"),
        ("/env/bin/python: No module named verl\n", "/env/bin/python: No module named verl"),
    ],
)  # fmt: skip
def test_other_forms_of_a_failure(tmp_path: Path, text: str, line: str) -> None:
    assert written(tmp_path, text).line == line


def test_a_rank_that_the_kernel_ended_was_killed(tmp_path: Path) -> None:
    text = (LOGS / "two_ranks.log").read_text()
    text = text[text.index("torch.distributed.elastic") :].replace(
        "exitcode  : 1 ", "exitcode  : -9 "
    )
    text = text.replace(
        "traceback : To enable", "traceback : Signal 9 (SIGKILL) received by PID 7 #"
    )
    found = written(tmp_path, text)
    assert found.line.startswith("Signal 9 (SIGKILL) received by PID 7")
    assert found.node == "osk-gpu94"
    assert cause(tmp_path / "err") is Cause.KILLED


def test_the_address_before_a_line_is_where_it_happened(tmp_path: Path) -> None:
    where = "(WorkerDict pid=3, ip=10.0.0.3) "
    text = OTHER_NAME.replace("\n", f"\n{where}").removesuffix(where)
    assert written(tmp_path, f"{where}{text}").node == "10.0.0.3"


def test_a_node_that_lost_the_other_one_does_not_hide_why(tmp_path: Path) -> None:
    error = (
        "torch.distributed.DistNetworkError: Failed to recv, got 0 bytes. Connection was likely "
        "closed. Did the remote server shutdown?"
    )
    lost = f"{OTHER_NAME.rpartition('subprocess')[0]}{error}\n"
    why = "/env/bin/python: No module named verl.trainer.nothing"
    for text in (f"{lost}{why}\n", f"{why}\n{lost}"):
        assert written(tmp_path, text).line == why
    assert cause(tmp_path / "err") is Cause.IMPORT
    assert written(tmp_path, lost).line.startswith("torch.distributed.DistNetworkError: ")
    assert cause(tmp_path / "err") is Cause.NETWORK


def test_a_reaction_in_the_error_log_yields_to_the_root_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("srun: error: osk-gpu95: task 1: Exited with exit code 1\n")
    (tmp_path / "out").write_text(OTHER_NAME)
    found = find_telling([tmp_path / "err", tmp_path / "out"])
    assert found is not None
    assert found.path == tmp_path / "out"


def test_a_line_without_an_end_is_not_an_empty_log(tmp_path: Path) -> None:
    assert written(tmp_path, "x" * 300_000).lines == ["x" * 200]
