"""One list of everything that was found about a site, each with where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.mnrun.train.plugins.action.diagnosis import gathered
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import (
    FAULT,
    OK,
    WARNING,
    Finding,
    as_dicts,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.diagnosis import Shown, lines, shown

SITE = """\
mnrun_partition: gpuu
mnrun_model: ~/model/mine
mnrun_train_files: [~/data/train.parquet]
mnrun_test_files:
  - ~/data/test.parquet
mnrun_sbatch:
  account: nope
ray_cluster_sbatch: {time: "9-0"}
sft_options:
  trainer.save_frq: 3
environment_modules:
  - nccl/2
  - hpcc/1
"""


@pytest.fixture
def site(tmp_path: Path) -> dict[str, Any]:
    """The variables of an inventory's file, each of which knows its line."""
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return dict(DataLoader().load_from_file(str(path)))


def found(site: dict[str, Any], part: str, what: str, *variables: str) -> Shown:
    (one,) = as_dicts([Finding(FAULT, part, what, variables)])
    return shown(one, site)


@pytest.mark.parametrize(
    ("part", "what", "variables", "line", "write"),
    [
        ("Slurm", "sft, ray: there is no partition gpuu; available: a, gpu. Did you mean gpu?", [],
         1, "mnrun_partition: gpu"),
        ("Slurm", ("sft: Slurm refuses the job: Invalid account. Requested: --account=nope."
         " Your accounts: team. Set one: mnrun_sbatch: {account: team}."), [],
         7, "mnrun_sbatch: {account: team}"),
        ("Slurm", "sft: account: the accounting knows no nope, which Slurm takes", [], 7, ""),
        ("Slurm", "ray: time: 9-0 = 9 days, but partition gpu allows 7 days", [], 8, ""),
        ("model", "/home/u/model/mine contains no weights", ["mnrun_model"], 2, ""),
        ("data", "there is no data file /home/u/data/test.parquet; /home/u/data contains: x",
         ["mnrun_train_files", "mnrun_test_files"], 5, ""),
        ("options", ("sft: the trainer has no option trainer.save_frq; did you mean"
         " trainer.save_freq or trainer.seed?"), [], 10, "trainer.save_freq"),
        ("environment", "there is no module hpcc/1: correct environment_modules. Available: hpcx",
         [], 13, ""),
    ],
)  # fmt: skip
def test_each_fault_has_the_line_that_it_comes_from(
    site: dict[str, Any], tmp_path: Path, part: str, what: str, variables: list[str], line: int,
    write: str,
) -> None:  # fmt: skip
    one = found(site, part, what, *variables)
    assert (one.where, one.write) == (f"{tmp_path}/site.yml:{line}", write)


def test_a_place_in_the_text_is_not_given_twice(site: dict[str, Any]) -> None:
    text = "sft_optoins, in /x/sft.yml:3: not an option of the role sft; did you mean sft_options?"
    assert found(site, "variables", text) == Shown(
        FAULT,
        "variables",
        "sft_optoins: not an option of the role sft; did you mean sft_options?",
        "/x/sft.yml:3",
        "sft_options",
    )


def test_what_was_written_nowhere_has_no_place(site: dict[str, Any]) -> None:
    assert found(site, "variables", "mnrun_nodes: not set.", "mnrun_nodes").where == ""
    assert found(site, "Slurm", "sft: Slurm does not respond").where == ""


def test_the_list_fits_the_screen_and_ends_with_the_count() -> None:
    where = "/a/folder/of/a/site/group_vars/all/site.yml:4"
    listed = [
        Shown(OK, "login node", "login: Python 3.12.3"),
        Shown(WARNING, "W&B", "no key"),
        Shown(FAULT, "Slurm", "there is no partition " + "a, " * 30, where, "mnrun_partition: a"),
        Shown(FAULT, "data", "no rows", "x.yml:1", "y"),
    ]
    rows = list(lines(listed))
    assert rows[0] == "  ✓ login node   login: Python 3.12.3"
    assert [row.strip() for row in rows[-6:]] == [
        where,
        "write: mnrun_partition: a",
        "✗ data         no rows",
        "x.yml:1  write: y",
        "",
        "2 faults, 1 warning",
    ]
    assert max(map(len, rows)) <= 80
    assert list(lines(listed[:1]))[-1] == "ready"
    assert list(lines(listed[:2]))[-1] == "ready, with 1 warning"


def test_a_check_that_failed_as_a_whole_is_in_the_list() -> None:
    good = {"findings": as_dicts([Finding(OK, "variables", "all")])}
    bad = {"findings": as_dicts([Finding(FAULT, "variables", "mnrun_model: not set.")])}
    crashed = {"failed": True, "msg": "Module failed: no space left"}
    follows = {"failed": True, "msg": "'mnrun_model' is undefined"}

    def levels(**checks: Any) -> list[str]:
        return [one["level"] for one in gathered(checks)]

    assert levels(variables=good, environment=crashed) == [OK, FAULT]
    assert levels(variables=good, environment=follows) == [OK, FAULT]  # nothing else explains it
    assert levels(variables=bad, environment=follows) == [FAULT, WARNING]
    assert levels(variables=bad, environment=crashed) == [FAULT, FAULT]
    assert levels(variables=good, notification={"skipped": True}) == [OK]


@pytest.mark.parametrize(("left", "levels"), [(10_000, []), (5_999, [WARNING])])
def test_the_checkpoints_of_all_stages_need_room_at_once(left: int, levels: list[str]) -> None:
    sizes = {"sft": {"step_bytes": 1000, "kept": 2}, "ppo": {"step_bytes": 2000, "kept": 2}}
    checks = {
        "login node": {"findings": [], "left": left, "left_by": "your quota on /home"},
        "options": {"findings": [], "checkpoints": sizes},
    }
    assert [one["level"] for one in gathered(checks)] == levels
