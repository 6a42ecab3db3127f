"""Variables of which one has no effect because of another one: refused, or at least reported.

One table for all roles. What a site sets for those runs that use it is a warning; what contradicts
another choice is refused, as one of the two is not what the user believes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_OFF = frozenset({"", "0", "false", "no", "off", "none"})


class Pair(NamedTuple):
    """`names` count only where `counts` holds for the value of `other`."""

    names: tuple[str, ...]
    other: str
    counts: Callable[[Any], bool]
    why: str  # after "has no effect"
    refused: bool = False


class Ignored(NamedTuple):
    """A variable that has no effect."""

    name: str
    text: str
    refused: bool


def is_on(value: Any) -> bool:
    """Whether a value is neither empty nor false, also as a text."""
    if isinstance(value, list | dict):
        return bool(value)
    return str(value).strip().lower() not in _OFF


def _is_off(value: Any) -> bool:
    return not is_on(value)


def _is(*words: str) -> Callable[[Any], bool]:
    return lambda value: str(value) in words


def _without(names: tuple[str, ...], other: str) -> Pair:
    return Pair(names, other, is_on, f"without {other}")


PAIRS = (
    Pair(
        ("environment_conda_hook", "environment_conda_prefix", "environment_conda_spec"),
        "environment_image", _is_off,
        "beside environment_image, as a job runs either in an image or in a conda environment;"
        " remove one of them", refused=True,
    ),
    _without(
        ("environment_image_runtime", "environment_image_binds", "environment_image_options"),
        "environment_image",
    ),
    _without(("environment_sbatch", "environment_wait_timeout"), "environment_conda_spec"),
    _without(("environment_modules_init",), "environment_modules"),
    _without(
        (
            "convert_score_files", "convert_score_rows", "convert_score_tokens",
            "convert_score_batch",
        ),
        "convert_score",
    ),
    *(_without((f"{stage}_wait_timeout",), f"{stage}_wait") for stage in ("sft", "ppo", "convert")),
    _without(
        ("fetch_model_revision", "fetch_model_path", "fetch_model_ignore"), "fetch_model_repo"
    ),
    _without(
        ("fetch_data_revision", "fetch_data_files", "fetch_data_instruction", "fetch_data_source"),
        "fetch_data_repo",
    ),
    *(
        Pair(
            (name,), "mnrun_hub_place", _is("compute"),
            "as no job connects to the Hub (mnrun_hub_place)",
        )
        for name in ("fetch_sbatch", "publish_sbatch")
    ),
    Pair(
        ("mnrun_hub_controller_python",), "mnrun_hub_place", _is("controller"),
        "as the controller does not connect to the Hub (mnrun_hub_place)",
    ),
    Pair(
        ("publish_repo", "publish_private", "publish_revision"), "publish_to", _is("hub"),
        "as the model is published to a folder (publish_to)",
    ),
    Pair(
        ("publish_folder",), "publish_to", _is("folder"),
        "as the model is published to the Hub (publish_to)",
    ),
    Pair(
        ("environment_wandb_key",), "environment_wandb_key_file", _is_off,
        "where the file in environment_wandb_key_file exists",
    ),
    _without(("ray_cluster_allreduce_min",), "ray_cluster_allreduce"),
    _without(("ray_cluster_stop_if_used",), "ray_cluster_stop_unless_in_use_by"),
    Pair(
        ("ray_cluster_head_ssh_args",), "ray_cluster_head_connection", _is("ssh"),
        "as steps on the head do not run over ssh (ray_cluster_head_connection)",
    ),
    _without(("preflight_probe_timeout",), "preflight_probe"),
)  # fmt: skip


def ignored(
    given: Iterable[str], value: Callable[[str], Any], default: Callable[[str], Any]
) -> Iterator[Ignored]:
    """Which of the `given` variables have no effect. `value` and `default` give a variable's value
    as it is and as it would be; one that cannot be worked out is passed over."""
    names = set(given)
    for pair in PAIRS:
        for name in pair.names:
            if name in names and _differs(name, value, default) and _off(pair, value):
                yield Ignored(name, f"has no effect {pair.why}", pair.refused)


def _differs(name: str, value: Callable[[str], Any], default: Callable[[str], Any]) -> bool:
    there = value(name)
    return there is not None and there != default(name) and str(there) != str(default(name))


def _off(pair: Pair, value: Callable[[str], Any]) -> bool:
    other = value(pair.other)
    return other is not None and not pair.counts(other)
