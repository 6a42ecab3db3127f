"""Jobs in a container image, by the real Apptainer. `make trainers` runs this."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import image
from .conftest import Cluster
from .mnrun import Run, mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.trainers, pytest.mark.timeout(900)]

FILES = Path(__file__).parent / "files"
RUN = f"~/training/image-{time.time():.0f}"
# Fails outside of the image, and where the image's own value of a variable would win.
INSIDE = f"""import os
assert os.path.exists({image.MARK!r}), "this is not the image"
assert os.environ["WANDB_MODE"] == "offline", os.environ["WANDB_MODE"]
"""


@pytest.fixture(scope="module")
def images(sandbox: Cluster) -> Iterator[Cluster]:
    """Apptainer, an image, and trainers that run nowhere else."""
    image.install(sandbox)
    image.make_root(sandbox, environment(sandbox))
    path = f"PATH={image.APPLI}/apptainer/usr/bin:$PATH"
    sandbox.run(f"{path} apptainer --quiet build --force tiny.sif {image.IMAGE}", timeout=300)
    for name in ("own_sft.py", "own_rl.py"):
        future, line, rest = (FILES / name).read_text().partition("import annotations\n")
        (sandbox.home / name).write_text(future + line + INSIDE + rest)
        sandbox.run(f"chmod 644 ~mluser/{name}", "root@login")
    yield sandbox
    sandbox.end_jobs(RUN.removeprefix("~/"), word="USR1")
    sandbox.run(f"rm -rf {RUN}* own_sft.py own_rl.py tiny.sif")


def environment(cluster: Cluster) -> str:
    return cluster.run("readlink -f conda_env")


def own(command: str, cluster: Cluster, **variables: Any) -> Run:
    given = {
        "mnrun_run_dir": RUN,
        "mnrun_trainer": "torchrun",
        "sft_trainer": "~/own_sft.py",
        "environment_image": image.IMAGE,
        "environment_image_binds": [environment(cluster)],
        "environment_modules": [image.MODULE],
        "environment_conda_hook": "",
        "environment_wandb_mode": "offline",
        **variables,
    }
    return mnrun(command, **given)


def assert_nothing_runs(cluster: Cluster) -> None:
    """None of the user's processes, on either node, but for ssh's connections to it."""
    cluster.assert_none_queued()
    left = "pgrep -a -u mluser | grep -v sshd:"
    line = f"for n in $(seq 100); do {left} > /dev/null || exit 0; sleep 0.1; done; {left}; exit 1"
    for node in ("osk-gpu94", "osk-gpu95"):
        cluster.run(line, f"root@{node}")


def test_both_faults_of_the_request_and_of_the_options_come_at_once(images: Cluster) -> None:
    wrong = own("sft", images, mnrun_partition="nowhere", mnrun_train_files=["~/data/none.parquet"])
    assert wrong.code != 0
    assert "2 problems were found before anything was submitted" in wrong.text
    assert "nowhere" in wrong.text
    assert "none.parquet" in wrong.text


def test_an_image_that_only_the_login_node_has_is_refused(images: Cluster) -> None:
    images.run("cp tiny.sif /tmp/tiny.sif")  # of the login node alone
    try:
        wrong = own("sft", images, environment_image="/tmp/tiny.sif", mnrun_base_dir=RUN)
    finally:
        images.run("rm /tmp/tiny.sif")
    assert wrong.code != 0
    assert "the image does not run on osk-gpu9" in wrong.text, wrong.text
    assert "there is no image /tmp/tiny.sif" in wrong.text


def test_sft_trains_once_in_an_image(images: Cluster) -> None:
    options = {"max_steps": 4}
    first = own("sft", images, sft_options=options)
    assert first.code == 0, first.text
    assert "step 4/4" in first.text
    again = own("sft", images, sft_options=options)
    assert (again.code, again.changed) == (0, 0), again.text
    assert_nothing_runs(images)


def test_a_failure_is_told_with_its_cause_and_cancel_leaves_nothing(images: Cluster) -> None:
    failed = own("sft", images, sft_options={"max_steps": 4, "fail_at": 3})
    assert failed.code != 0
    assert "ValueError: the loss of step 3 is not a number" in failed.text
    held = {"sft_options": {"max_steps": 5, "hold_at": 3}}
    assert own("sft", images, **held, sft_wait=False).code == 0
    images.wait(f"ls {RUN}/sft/checkpoints/checkpoint-3", "complete.json", timeout=300)
    stopped = own("cancel", images)
    assert stopped.code == 0, stopped.text
    assert_nothing_runs(images)


def test_the_ray_cluster_runs_in_a_sif_file(images: Cluster) -> None:
    given: dict[str, Any] = {
        "mnrun_trainer": "command",
        "ppo_trainer": "~/own_rl.py",
        "ppo_model": "~/model/Llama-3.2-1B-Instruct",
        "ppo_options": {"max_steps": 2},
        "environment_image": "~/tiny.sif",
    }
    trained = own("ppo", images, **given)
    assert trained.code == 0, trained.text
    again = own("ppo", images, **given)
    assert (again.code, again.changed) == (0, 0), again.text
    assert_nothing_runs(images)
    record = images.run(f"cat {RUN}/.mnrun/ppo/*/record.json")
    assert "in image" in json.loads(record)["spec"]["trainer_version"]
