"""Values of the site that comes with mnrun, left in a copy of its inventory for another site.

They are valid, so nothing else notices them: a colleague's project at W&B, another model's license.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What names a site's own things.
_PROJECT = ("environment_wandb_project",)
# What belongs to the model, with what says that the model is another one.
_OF_THE_MODEL = ("fetch_model_repo", "publish_base_model", "publish_license")
_OF_THE_DATA = ("fetch_data_repo", "publish_datasets")
_EXPERIMENTS = ("sft_options", "ppo_options")


def left_over(given: Mapping[str, Any], shipped: Mapping[str, Any], *, wandb: bool) -> list[str]:
    """Warnings about values of a copied inventory that are still those of the `shipped` one.
    `wandb`: a trainer logs to W&B."""
    found = [*_names(given, shipped)] if wandb else []
    lines = (
        [f"{', '.join(found)}: still as the site osk has it; your runs would go there"]
        if found
        else []
    )
    for belongs, to in ((_OF_THE_MODEL, "mnrun_model"), (_OF_THE_DATA, "mnrun_train_files")):
        same = [name for name in belongs if _same(given, shipped, name)]
        if same and to in given and not _same(given, shipped, to):
            lines.append(
                f"{', '.join(same)}: still as the site osk has it, but {to} is another one"
            )
    return lines


def _names(given: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in _PROJECT if _same(given, shipped, name))
    for name in _EXPERIMENTS:
        mine, theirs = given.get(name), shipped.get(name)
        key = "trainer.experiment_name"
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping) and _same(mine, theirs, key):
            yield f"{name}: {key}"


def _same(given: Mapping[str, Any], shipped: Mapping[str, Any], name: str) -> bool:
    return name in given and name in shipped and given[name] == shipped[name]
