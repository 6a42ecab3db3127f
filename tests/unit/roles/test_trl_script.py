"""What trl_script.py adds to TRL, by stand-ins for it; tests/sandbox has the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILES = Path(__file__).parents[3] / "roles" / "sft" / "files"
START = f"""
import sys, types
for name in ("torch", "torch.distributed", "trl", "datasets", "transformers"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["torch"].distributed = sys.modules["torch.distributed"]
sys.modules["torch.distributed"].is_initialized = lambda: False
sys.modules["datasets"].Dataset = sys.modules["datasets"].load_dataset = object
sys.modules["transformers"].TrainerCallback = object
sys.path.insert(0, {str(FILES)!r})
import trl_script as script
"""


def run(lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", START + lines],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_checkpoint_is_saved_once_after_the_last_step_that_leaves_time() -> None:
    done = run("""
now = 1000.0
script.time.time = lambda: now
saves = script.SaveInTime(end=1100.0)
for now in (1010.0, 1020.0, 1030.0, 1040.0, 1050.0):  # steps of 10 s, and 60 s to save
    control = types.SimpleNamespace(should_save=False)
    saves.on_step_end(None, None, control)
    print(int(now), control.should_save)
script.CODE[0] = 0
""")
    assert done.stdout.split() == [
        "1010", "False", "1020", "False", "1030", "False", "1040", "True", "1050", "False"
    ]  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_numbers_of_a_step_are_one_line_and_its_summary_is_none() -> None:
    done = run("""
state = types.SimpleNamespace(is_world_process_zero=True, global_step=3)
for logs in ({"loss": 1.5, "note": "x"}, {"train_runtime": 9.0}, None):
    script.OwnLines().on_log(None, state, None, logs=logs)
script.CODE[0] = 0
""")
    assert (done.returncode, done.stdout) == (0, "step=3 loss=1.5\n"), done.stderr


def test_grpo_takes_a_function_of_the_users_own_and_names_what_it_lacks(tmp_path: Path) -> None:
    own = tmp_path / "reward.py"
    own.write_text("def score(completions, **_):\n    return [1.0 for _ in completions]\n")
    done = run(f"""
print(script.Files(trainer="grpo", reward_funcs=["{own}:score"]).rewards[0](["a", "b"]))
print(script.Files(trainer="grpo", reward_funcs=["/models/judge"]).rewards)
for names in ([], ["{own}:scor"], ["{own}"], ["/none.py:score"]):
    try:
        script.Files(trainer="grpo", reward_funcs=names)
    except ValueError as error:
        print(error)
script.CODE[0] = 0
""")
    assert done.stdout.splitlines() == [
        "[1.0, 1.0]",
        "['/models/judge']",
        "reward_funcs is not set, so nothing gives a reward",
        f"{own} has no function scor",
        f"{own} names no function; write {own}:FUNCTION",
        "/none.py does not exist",
    ], done.stderr


def test_a_script_that_fails_has_an_exit_code_and_its_error() -> None:
    done = run("raise ValueError('no rows')\n")
    assert done.returncode == 1
    assert "ValueError: no rows" in done.stderr
