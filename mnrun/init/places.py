"""Files and services: the folder of runs, model and data, the Hub, W&B."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mnrun.init.choice import Answers, Choice, Facts, answered, found, guess
from mnrun.init.target import refuse_unsafe

_GIB = 1024**3
_ENOUGH = 500 * _GIB
"""Bytes that some checkpoints of a model of a few billion weights take."""

_RUNS = "training/multinode"


def places(site: Facts, node: Facts | None, hub_here: bool, answers: Answers) -> list[Choice]:
    """Return the choices about files and services.

    Args:
        site: what the login node shows.
        node: what a compute node shows; None if none was looked at.
        hub_here: whether this machine reaches the Hugging Face Hub.
        answers: those of the user.
    """
    return [
        *_model_and_data(site, answers),
        _base_dir(site, node, answers),
        _hub(site, node, hub_here),
        *_wandb(site),
    ]


def _model_and_data(site: Facts, answers: Answers) -> Iterator[Choice]:
    home = site["home"]
    models = [_short(path, home) for path in site["models"]]
    yield _one("mnrun_model", models, "YOUR_MODEL_FOLDER", "model", answers)
    tables = {_short(one["train"], home): _short(one["test"], home) for one in site["tables"]}
    train = _one("mnrun_train_files", list(tables), "YOUR_TRAIN.parquet", "training data", answers)
    beside = [tables[one] for one in [str(train.value)] if one in tables]
    test = _one(
        "mnrun_test_files", beside, "YOUR_TEST.parquet", "validation data", answers,
        "beside the training data",
    )  # fmt: skip
    yield train
    yield test


def _one(
    name: str,
    there: list[str],
    otherwise: str,
    what: str,
    answers: Answers,
    alone: str = "the only one in the usual folders",
) -> Choice:
    if name in answers:
        return answered(name, answers[name])
    if not there:
        return guess(name, otherwise, f"no {what} was found: name yours", f"The {what} (a path)")
    # Those that can be used as they are come first.
    first, *others = sorted(there, key=lambda path: bool(refuse_unsafe(name, path)))
    wrong = refuse_unsafe(name, first)
    if wrong:
        how = f"{first} has to be renamed: {wrong}"
        return guess(name, first, how, f"The {what} (a path)", there)
    if others:
        how = f"there are also {', '.join(others[:5])}"
        return guess(name, first, how, f"The {what}", [first, *others])
    return found(name, first, alone)


def _short(path: str, home: str) -> str:
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") else path


def _base_dir(site: Facts, node: Facts | None, answers: Answers) -> Choice:
    name = "mnrun_base_dir"
    if name in answers:
        return answered(name, answers[name])
    home = site["home"]
    usable = [one for one in site["folders"] if _shared(one, node) is not False]
    usable.sort(key=lambda one: (_shared(one, node) is None, not _has_room(one)))
    if not usable:
        how = "no folder was found that compute nodes share and you can write to"
        return guess(name, f"~/{_RUNS}", f"{how}: ask the administrator", "The folder of runs")
    # Home first, unless it is small.
    best = usable[0]
    value = f"{_short(best['path'], home) if best['path'] != home else '~'}/{_RUNS}"
    others = [f"{one['path']} ({_room(one)})" for one in usable[1:4]]
    how = f"{best['path']} ({best['why']}, {_room(best)})"
    how += f"; there are also {', '.join(others)}" if others else ""
    if best["path"] in _same(node):
        looked = _shared(best, node)
        if looked:
            return found(name, value, f"compute nodes have the same {how}")
        return guess(name, value, f"{how}; a compute node gave no answer about it in time")
    if _shared(best, node):
        return found(name, value, f"by its file system, hosts share {how}")
    return guess(name, value, f"{how}; whether compute nodes share it is not known")


def _shared(folder: Facts, node: Facts | None) -> bool | None:
    """Whether compute nodes have the same folder; None if that is not known."""
    return _same(node).get(folder["path"], True if folder["shared"] else None)


def _same(node: Facts | None) -> Mapping[str, bool | None]:
    """Of the folders that a compute node was asked about, whether it has the same."""
    same: Mapping[str, bool | None] = (node or {}).get("same", {})
    return same


def _left(folder: Facts) -> int:
    quota = folder["quota"]
    free = int(folder["free"])
    return free if quota is None else min(free, quota)


def _has_room(folder: Facts) -> bool:
    return _left(folder) >= _ENOUGH


def _room(folder: Facts) -> str:
    limit = "your quota leaves" if folder["quota"] is not None else "free:"
    return f"{folder['kind'] or 'unknown file system'}, {limit} {_left(folder) / _GIB:,.0f} GiB"


def _hub(site: Facts, node: Facts | None, hub_here: bool) -> Choice:
    name = "mnrun_hub_place"
    by_node = (node or {}).get("hub")
    if by_node:
        return found(name, "compute", "compute nodes reach huggingface.co")
    if site["hub"]:
        how = "the login node reaches huggingface.co, and compute nodes do not"
        if by_node is None:
            how = "the login node reaches huggingface.co; compute nodes were not asked"
        return found(name, "login", how)
    if hub_here:
        return found(
            name, "controller", "this machine reaches huggingface.co, the cluster does not"
        )
    return guess(name, "compute", "huggingface.co was reached from nowhere; a proxy may be needed")


def _wandb(site: Facts) -> Iterator[Choice]:
    key = site["wandb_key"]
    how = f"{_short(key, site['home'])} holds your key" if key else (
        "no key of Weights & Biases was found; others: tensorboard, mlflow, trackio"
    )  # fmt: skip
    yield found("mnrun_tracker", "wandb" if key else "none", how)
    own_file = key if key and not key.endswith(".netrc") else ""
    yield found("environment_wandb_key_file", _short(own_file, site["home"]), how)
