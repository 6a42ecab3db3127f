"""What a tracker needs in the training environment."""

from __future__ import annotations

from typing import Mapping, Sequence

# Modules, of which any one will do.
NEEDS = {
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}
MLFLOW_URI = "MLFLOW_TRACKING_URI"


def tracker_faults(
    trackers: Sequence[str], there: Mapping[str, bool], uri: str, prefix: str
) -> list[str]:
    """What is missing. `there`: by module, whether it can be imported; `uri`: MLflow's server."""
    faults = [
        f"The environment {prefix} lacks {NEEDS[name][0]}, to which the trainer logs: install it"
        " there, or choose another tracker with mnrun_tracker (none for no tracker)."
        for name in trackers
        if not any(there.get(module) for module in NEEDS[name])
    ]
    if "mlflow" in trackers and not uri:
        faults.append(
            f"The trainer logs to MLflow, whose server is not known: set {MLFLOW_URI} in"
            " environment_variables, to its address or to a file on the shared file system"
            " (sqlite:////home/me/mlflow.db)."
        )
    return faults
