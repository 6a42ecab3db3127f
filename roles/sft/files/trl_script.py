"""SFT and GRPO with TRL by the public interface of its trainers, on the files that mnrun names.

    trl_script.py --config OPTIONS.json

TRL's own command has the same options. What it lacks is here: files to validate on, a resume in
each release of TRL 1, a line for each step, and a save shortly before the job ends. Runs in the
training environment, on each GPU.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

CODE = [1]


@atexit.register
def leave() -> None:
    """End without Python's own last part, in which gloo may wait for ever for a thread of its own.
    Registered first, this comes after all that others have registered."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(CODE[0])


# No one was asked whether TRL may report what it trains; and compute nodes often reach no network.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset, load_dataset  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

SFT, GRPO = "sft", "grpo"
FORMS = (("messages",), ("prompt", "completion"), ("text",))  # of rows, the first that is there
BESIDE = ("tools", "images", "chat_template_kwargs")
EARLY = 60  # seconds before the job's end in which a checkpoint has to be written


@dataclass
class Files:
    """The files with data, and what TRL's own options lack."""

    trainer: str = field(default=SFT, metadata={"help": "sft or grpo.", "choices": [SFT, GRPO]})
    train_files: list[str] = field(default_factory=list)
    test_files: list[str] = field(default_factory=list)
    columns: list[str] = field(
        default_factory=list,
        metadata={"help": "Those to train on; without any, the first form of TRL that is there."},
    )
    reward_funcs: list[str] = field(
        default_factory=list,
        metadata={"help": "For grpo: FILE.py:FUNCTION each, or a reward model's folder."},
    )

    def __post_init__(self) -> None:
        if self.trainer == GRPO and not self.reward_funcs:
            raise ValueError("reward_funcs is not set, so nothing gives a reward")
        self.rewards = [reward(name) for name in self.reward_funcs]


def reward(name: str) -> Any:
    """A function of the user's own, or the name of a reward model. Raises ValueError."""
    path, _, function = name.rpartition(":")
    if not path.endswith(".py"):
        if name.endswith(".py"):
            raise ValueError(f"{name} names no function; write {name}:FUNCTION")
        return name
    if not Path(path).is_file():
        raise ValueError(f"{path} does not exist")
    there = runpy.run_path(path)
    if not callable(there.get(function)):
        raise ValueError(f"{path} has no function {function}")  # noqa: TRY004 - it is an option's value
    return there[function]


class OwnLines(TrainerCallback):
    """Prints the steps in all, and what is logged of each, for mnrun to read."""

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Called by the trainer once."""
        if state.is_world_process_zero:
            print(f"total_steps={state.max_steps}", flush=True)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """Called by the trainer whenever it logs."""
        # The last one sums the training up, and is of no step.
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            print(step_line(state.global_step, logs), flush=True)


def step_line(step: int, values: Mapping[str, Any]) -> str:
    """One line with the numbers of a step."""
    numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
    return " ".join([f"step={step}", *(f"{name}={value}" for name, value in numbers.items())])


class SaveInTime(TrainerCallback):
    """Has a checkpoint saved after the last step that leaves time for it before the job's end."""

    def __init__(self, end: float, early: float = EARLY) -> None:
        self.end, self.early = end, early
        self.longest, self.last = 0.0, time.time()
        self.done = False

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        """Called by the trainer after each step."""
        now = time.time()
        self.longest, self.last = max(self.longest, now - self.last), now
        if not self.done and agreed(now + self.longest + self.early > self.end):
            control.should_save = self.done = True
        return control


def agreed(word: bool) -> bool:
    """What rank 0 says, on each rank: they save together, and no two clocks are the same."""
    if not dist.is_initialized():
        return word
    said = [word]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def on_cpu(storage: Any, place: str) -> Any:
    """What torch does for `cpu`, for the `cpu:0` that transformers asks for on CPUs."""
    return storage if place.startswith("cpu:") else None


def rows(paths: list[str], columns: list[str], trainer: str = SFT) -> Dataset:
    """The rows of files, with the columns to train on alone: TRL takes another form for its own."""
    kind = "parquet" if paths[0].endswith(".parquet") else "json"
    found = load_dataset(kind, data_files=paths, split="train")
    there = found.column_names
    if trainer == GRPO:
        if "prompt" not in there:
            raise ValueError(
                f"{paths[0]} has the columns {', '.join(there)}, and GRPO needs prompt"
            )
        return found  # a reward function reads the others
    form = columns or next((list(one) for one in FORMS if set(one) <= set(there)), [])
    if not form:
        raise ValueError(
            f"{paths[0]} has the columns {', '.join(there)}, and TRL needs messages, prompt and"
            " completion, or text"
        )
    return found.select_columns(form + [name for name in BESIDE if name in set(there) - set(form)])


def kind_of(config: list[str]) -> str:
    """Which trainer the file with the options names."""
    return str(json.loads(Path(config[-1]).read_text(encoding="utf-8")).get("trainer") or SFT)


def trainer_of(config: list[str]) -> Any:
    """The trainer by its options."""
    grpo = kind_of(config) == GRPO
    kind = trl.GRPOConfig if grpo else trl.SFTConfig
    parser = trl.TrlParser((Files, kind, trl.ModelConfig))
    files, args, model = parser.parse_args_and_config(config)
    args.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(args.model_init_kwargs or {}),
    }
    end = os.environ.get("MNRUN_JOB_END", "")
    validates = args.eval_strategy != "no"
    common = {
        "model": model.model_name_or_path,
        "args": args,
        "train_dataset": rows(files.train_files, files.columns, files.trainer),
        "eval_dataset": rows(files.test_files, files.columns, files.trainer) if validates else None,
        "peft_config": trl.get_peft_config(model),
        "callbacks": [OwnLines(), *([SaveInTime(float(end))] if end else [])],
    }
    if grpo:
        return trl.GRPOTrainer(reward_funcs=files.rewards, **common)
    return trl.SFTTrainer(**common)


def main() -> None:
    """Entry point."""
    torch.serialization.register_package(50, lambda _: None, on_cpu)
    trainer = trainer_of(sys.argv[1:])
    trainer.train(resume_from_checkpoint=os.environ.get("MNRUN_RESUME_FROM") or None)


if __name__ == "__main__":
    main()
    CODE[0] = 0
