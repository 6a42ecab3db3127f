"""Values that the trainer knows by name, as its own source has them: estimators, loggers, …

Its source is read as text and never imported: that takes seconds and needs a GPU's libraries.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

Get = Callable[[str], Any]

# Options whose values stand in the source as they are written.
_NAMED = (
    "algorithm.adv_estimator", "algorithm.kl_penalty", "algorithm.kl_ctrl.type",
    "actor_rollout_ref.rollout.name", "actor_rollout_ref.rollout.mode",
    "actor_rollout_ref.rollout.multi_turn.format",
    "actor_rollout_ref.actor.strategy", "actor_rollout_ref.ref.strategy", "critic.strategy",
    "actor_rollout_ref.actor.loss_agg_mode", "critic.loss_agg_mode",
    "actor_rollout_ref.actor.kl_loss_type", "actor_rollout_ref.actor.policy_loss.loss_mode",
    "actor_rollout_ref.actor.optim.warmup_style", "critic.optim.warmup_style",
    "actor_rollout_ref.actor.optim.lr_scheduler_type", "critic.optim.lr_scheduler_type",
    "actor_rollout_ref.actor.checkpoint.save_contents", "critic.checkpoint.save_contents",
    "reward_model.strategy", "reward_model.reward_manager", "model.strategy", "engine.strategy",
    "optim.lr_scheduler", "optim.lr_scheduler_type", "checkpoint.save_contents",
    "trainer.checkpoint.save_contents", "trainer.logger", "trainer.resume_mode", "data.truncation",
)  # fmt: skip
# For these the source has a list of its own: a word that stands elsewhere is no value of theirs.
_LISTS = {
    "algorithm.adv_estimator": ("trainer/ppo/core_algos.py", "_estimators"),
    "trainer.logger": ("utils/tracking.py", "_loggers"),
    "actor_rollout_ref.rollout.name": ("workers/fsdp_workers.py", "_rollouts"),
}
# Without these the list is written in another way than the reader knows.
_EXPECTED = {
    "algorithm.adv_estimator": {"gae", "grpo"},
    "trainer.logger": {"console", "wandb"},
    "actor_rollout_ref.rollout.name": {"vllm", "sglang"},
}
# What a value needs in the environment.
_PACKAGES = {
    "trainer.logger": {
        "wandb": "wandb", "mlflow": "mlflow", "swanlab": "swanlab", "clearml": "clearml",
        "tensorboard": "tensorboard",
    },
    "actor_rollout_ref.rollout.name": {"vllm": "vllm", "sglang": "sglang"},
}  # fmt: skip
# Packages that say so in this group are loaded by the trainer, and add names of their own to its.
_PLUGINS = "verl.plugins"
_WORD = re.compile(r"""["']([A-Za-z][\w.+-]{1,40})["']""", re.ASCII)


def value_faults(source: Path, get: Get, default: Get) -> list[str]:
    """Options with a value that the trainer in the folder `source` does not know.

    `get` and `default` give an option by its dotted name, as it is and as it would be.
    """
    known = _Known(source)
    faults: list[str] = []
    reported: set[str] = set()  # values: an option may follow another one
    for name in _NAMED:
        given = get(name)
        if given is None or given == default(name):
            continue
        for value in _texts(given):
            found = [] if value in reported else list(known.faults(name, value))
            reported.update([value] if found else [])
            faults += found
    needed = ((name, value) for name in _PACKAGES for value in _texts(get(name)))
    return faults or [fault for name, value in needed for fault in _missing(name, value)]


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value or ()]


def _missing(name: str, value: str) -> Iterator[str]:
    package = _PACKAGES[name].get(value)
    if package and importlib.util.find_spec(package) is None:
        yield f"{name} is {value}, but the training environment has no package {package}"


class _Known:
    """The names in a trainer's source, each read once."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._words: set[str] = set()

    def faults(self, name: str, value: str) -> Iterator[str]:
        listed = self._listed(name)
        if value in (listed or self._all_words()) or value in self._of_plugins():
            return
        names, cutoff = (listed, 0.6) if listed else (self._all_words(), 0.8)
        near = difflib.get_close_matches(value, sorted(names), n=1, cutoff=cutoff)
        there = f"; there are: {', '.join(sorted(listed))}" if listed else ""
        hint = f"; did you mean {near[0]}?" if near else there
        yield f"{name} is {value!r}, which this trainer does not know{hint}"

    def _listed(self, name: str) -> set[str]:
        """Values from the source's own list; empty where there is none that can be read."""
        if name not in _LISTS:
            return set()
        file, reader = _LISTS[name]
        try:
            tree = ast.parse((self._source / file).read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            return set()
        found = set(_READERS[reader](tree))
        return found if found >= _EXPECTED[name] else set()

    def _all_words(self) -> set[str]:
        if not self._words:
            self._words = _words(self._source.rglob("*.py"))
        return self._words

    def _of_plugins(self) -> set[str]:
        """Words of the plug-ins, if the trainer is one that loads any (verl from 0.9 on)."""
        start = self._source / "__init__.py"
        if not start.is_file() or _PLUGINS not in start.read_text(encoding="utf-8"):
            return set()
        return _words(path for module in _plugins() for path in _sources(module))


def _words(paths: Iterable[Path]) -> set[str]:
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return {word for text in texts for word in _WORD.findall(text)}


def _plugins() -> set[str]:
    """Modules of the plug-ins in this environment, up to the first dot."""
    points = (point for each in metadata.distributions() for point in each.entry_points)
    return {re.split(r"[.:]", each.value)[0] for each in points if each.group == _PLUGINS}


def _sources(module: str) -> Iterable[Path]:
    found = importlib.util.find_spec(module)
    if found is None or not found.origin:
        return []
    file = Path(found.origin)
    return file.parent.rglob("*.py") if found.submodule_search_locations else [file]


def _estimators(tree: ast.AST) -> Iterator[str]:
    """The members of the enumeration, and what is registered by a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "AdvantageEstimator":
            yield from _texts_of([part.value for part in node.body if isinstance(part, ast.Assign)])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register_adv_est":
            yield from _texts_of(node.args)


def _loggers(tree: ast.AST) -> Iterator[str]:
    yield "tracking"  # the old name of wandb
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _name(node.targets[0]) == "supported_backend":
            yield from _texts_of(getattr(node.value, "elts", []))


def _rollouts(tree: ast.AST) -> Iterator[str]:
    """What `rollout_name` or `….name` is compared with."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        if _name(node.left) in ("rollout_name", "name"):
            for each in node.comparators:
                yield from _texts_of(getattr(each, "elts", [each]))


def _name(node: ast.AST) -> str:
    return getattr(node, "id", "") or getattr(node, "attr", "")


def _texts_of(nodes: Iterable[ast.AST]) -> Iterator[str]:
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    return (value for value in values if isinstance(value, str))


_READERS = {"_estimators": _estimators, "_loggers": _loggers, "_rollouts": _rollouts}
