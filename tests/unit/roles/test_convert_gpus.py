"""A conversion uses no GPU that Slurm did not give it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "roles" / "convert" / "files" / "convert_gpus.py"
spec = importlib.util.spec_from_file_location("convert_gpus", PROGRAM)
assert spec
assert spec.loader
convert_gpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(convert_gpus)


@pytest.mark.parametrize(
    ("env", "given"),
    [
        ({}, False),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, False),  # of a node on which others train
        ({"SLURM_GPUS_ON_NODE": "0"}, False),
        ({"SLURM_JOB_GPUS": ""}, False),
        ({"SLURM_JOB_GPUS": "0"}, True),
        ({"SLURM_STEP_GPUS": "3"}, True),
        ({"SLURM_GPUS_ON_NODE": "1"}, True),
        ({"SLURM_GPUS_ON_NODE": "10"}, True),
    ],
)
def test_only_what_slurm_gave_is_seen(env: dict[str, str], given: bool) -> None:
    seen = {"CUDA_VISIBLE_DEVICES": "3", **env}
    assert convert_gpus.are_given(seen) is given
    before = dict(seen)
    convert_gpus.hide_those_of_others(seen)
    if given:
        assert seen == before
    else:
        assert seen["CUDA_VISIBLE_DEVICES"] == ""
