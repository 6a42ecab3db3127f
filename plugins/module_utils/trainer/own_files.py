"""Files of a user's own that options of the trainer name: they are there, and hold what is called.

verl opens them once it runs: a reward function only after SFT, on the Ray cluster.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Callable, Iterator

from .reads import OwnReward

Get = Callable[[str], Any]

# Python files, each with the option that names what is called of them.
_PROGRAMS = (
    ("custom_reward_function.path", "custom_reward_function.name"),
    ("reward.custom_reward_function.path", "reward.custom_reward_function.name"),
    ("data.custom_cls.path", "data.custom_cls.name"),
    ("data.sampler.class_path", "data.sampler.class_name"),
    ("data.datagen.path", "data.datagen.name"),
)
_ONE = ("data_source", "solution_str", "ground_truth", "extra_info")
_ALL = ("data_sources", "solution_strs", "ground_truths", "extra_infos")
# What a reward manager calls the function with. Another one may call it with anything.
_CALLED_WITH = {
    "naive": _ONE, "dapo": _ONE, "gdpo": _ONE, "limited": _ONE, "rate_limited": _ONE,
    "batch": _ALL, "prime": _ONE,
}  # fmt: skip
_BY_PLACE = ("prime",)
_MULTI_TURN = "actor_rollout_ref.rollout.multi_turn"
_FILES = (
    f"{_MULTI_TURN}.tool_config_path",
    f"{_MULTI_TURN}.interaction_config_path",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path",
)


def file_faults(get: Get) -> list[str]:
    """Files that are missing, cannot be read as Python, or lack the function or class named."""
    return [*_program_faults(get), *_plain_faults(get), *_model_faults(get)]


def own_reward(get: Get) -> OwnReward | None:
    """The reward function that the options name, if its file is there."""
    for part, manager in (
        ("", "reward_model.reward_manager"),
        ("reward.", "reward.reward_manager.name"),
    ):
        option = f"{part}custom_reward_function"
        path = str(get(f"{option}.path") or "")
        if path.startswith("/") and Path(path).is_file():
            called = str(get(manager) or "")
            extra = get(f"{option}.reward_kwargs") or {}
            return OwnReward(
                path,
                str(get(f"{option}.name") or "compute_score"),
                f"{option}.name",
                _CALLED_WITH.get(called, ()),
                tuple(str(name) for name in extra),
                called in _BY_PLACE,
            )
    return None


def _program_faults(get: Get) -> Iterator[str]:
    for option, name_option in _PROGRAMS:
        path, name = get(option), get(name_option)
        # pkg://package.module is not a file, and a class path may be of the trainer itself.
        if path and "/" in str(path) and "://" not in str(path):
            fault = _place_fault(option, str(path))
            yield from [fault] if fault else _code_faults(Path(path), name_option, name)


def _plain_faults(get: Get) -> Iterator[str]:
    for option in _FILES:
        path = get(option)
        fault = _place_fault(option, str(path)) if path and "/" in str(path) else ""
        if fault:
            yield fault


def _model_faults(get: Get) -> Iterator[str]:
    for part in ("reward_model", "reward.reward_model"):
        path = str(get(f"{part}.model.path") or "")
        if get(f"{part}.enable") and path.startswith(("/", "~")):
            place = Path(path).expanduser()
            if not place.is_dir():
                yield f"{part}.model.path: there is no folder {path}"


def _place_fault(option: str, path: str) -> str:
    if path.startswith("~"):
        return f"{option} is {path}: the trainer does not expand ~, write the whole path"
    if not path.startswith("/"):
        return f"{option} is {path}: write the whole path, as the job runs in another folder"
    if Path(path).is_file():
        return ""
    there = "is a folder" if Path(path).is_dir() else "does not exist"
    return f"{option}: {path} {there}; name a file that the login node and the compute nodes have"


def _code_faults(path: Path, option: str, name: Any) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        yield f"{path} is not valid Python ({where}{getattr(error, 'msg', error)})"
        return
    except OSError as error:
        yield f"{path} cannot be read ({error.strerror})"
        return
    names = set(_defined(tree.body))
    if name and str(name) not in names and "*" not in names:
        functions = [
            each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.ClassDef))
        ]
        there = f"it has {', '.join(functions)}" if functions else "it defines none"
        yield f"{option} is {name}, which {path} does not define; {there}"


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """Names that a module has after its import, as far as its top level shows."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((each.asname or each.name).split(".")[0] for each in node.names)
        else:
            yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
            inner = [
                getattr(node, part, []) for part in ("body", "orelse", "finalbody", "handlers")
            ]
            for part in inner:
                yield from _defined([each for each in part if isinstance(each, ast.stmt)])
