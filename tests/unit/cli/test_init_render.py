"""The inventory that mnrun init writes, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mnrun.init.render import hosts_text, variables_text
from tests.helpers.clusters import VERL, decided, kind, partition, site, slurm

ROOT = Path(__file__).parents[3]
ABOUT = {"cluster": "The cluster osk", "slurm": "24.11", "date": "2026-01-01", "accounting": "yes"}


def variables(facts: Any, **answers: str) -> dict[str, Any]:
    text = variables_text(decided(facts, None, **answers), ABOUT)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def known() -> set[str]:
    """Every variable of the roles."""
    names: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            names |= set(spec["options"])
    return names


@pytest.mark.parametrize("key", ["", "/home/me/.config/wandb/key"])
@pytest.mark.parametrize("packages", [VERL, {"verl": "0.9.1"}, {"trl": "1.2"}, {"other": "1"}])
def test_all_variables_are_known_to_the_roles(packages: dict[str, str], key: str) -> None:
    there = [{"prefix": "/e", "conda": False, "packages": packages}]
    found = variables(site(environments=there, wandb_key=key))
    assert set(found) <= known()
    assert {"mnrun_partition", "mnrun_run_dir", "sft_options", "sft_sbatch"} <= set(found)


def test_nothing_of_the_shipped_site_is_left() -> None:
    text = variables_text(decided(site(slurm=None, environments=[], models=[], tables=[])), ABOUT)
    for theirs in (
        "osk-gpu",
        "competition",
        "llama",
        "Llama",
        "gsm8k",
        "mlx5",
        "enp25s0np0",
        "appli",
    ):
        assert theirs not in text


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 1), (2, 3), (2, 8), (3, 4), (16, 8), (5, 7)])
def test_batches_can_be_shared_out(nodes: int, gpus: int) -> None:
    facts = site(slurm=slurm(partition("gpu", kind(16, gpus))))
    found = variables(facts, mnrun_nodes=str(nodes))
    ranks = nodes * gpus
    sft, ppo = found["sft_options"], found["ppo_options"]
    micro = sft["data.micro_batch_size_per_gpu"]
    assert sft["data.train_batch_size"] % (ranks * micro) == 0
    mini = ppo["actor_rollout_ref.actor.ppo_mini_batch_size"]
    assert mini % (ranks * ppo["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu"]) == 0
    assert ppo["data.train_batch_size"] % mini == 0
    share = ppo["data.train_batch_size"] // ranks
    assert share % ppo["actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu"] == 0


def test_the_rollout_is_what_the_environment_has() -> None:
    name = "actor_rollout_ref.rollout.name"
    assert variables(site())["ppo_options"][name] == "vllm"
    small = {"verl": "0.5.0", "torch": "2.6.0+cpu"}
    there = [{"prefix": "/e", "conda": False, "packages": small}]
    found = variables(site(environments=there))
    assert found["ppo_options"][name] == "hf"
    assert found["sft_options"]["trainer.device"] == "cpu"


class _Loader(yaml.SafeLoader):
    """As Ansible reads it."""


_Loader.add_constructor("!unsafe", lambda _loader, node: node.value)


HOSTILE = "gpu\n# {{ lookup('pipe', 'id') }}\r\nmnrun_model: x\u2028y\x1b[31m"


def test_what_a_cluster_calls_its_things_stays_text() -> None:
    facts = site(
        slurm=slurm(partition(HOSTILE, kind(2, 8))),
        models=[f"/home/me/model/{HOSTILE}"],
        modules={"init": "/etc/m.sh", "kind": HOSTILE, "names": ["cuda/12\nmnrun_nodes: 9"]},
    )
    text = variables_text(decided(facts), {**ABOUT, "cluster": HOSTILE})

    found = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    assert found["mnrun_partition"] == HOSTILE
    assert "mnrun_partition: !unsafe" in text
    assert found["mnrun_nodes"] == 2
    assert found["mnrun_model"].startswith("~/model/gpu")


@pytest.mark.parametrize("value", ["no", "1e3", "0123", "2:00:00", "~", "null", "a: b", "#x", "'"])
def test_values_keep_their_types(value: str) -> None:
    assert variables(site(), mnrun_partition=value)["mnrun_partition"] == value


@pytest.mark.parametrize(
    "name",
    ["a,b", "a]b", "[a", "a}", "{a", "a: b", "a # b", "'", '"', "a\\b", "{{ 1 }},x", "é", "?"],
)
def test_a_list_of_one_file_stays_one(name: str) -> None:
    path = f"/data/{name}/train.parquet"
    tables = [{"train": path, "test": f"{name}/test.parquet"}]
    text = variables_text(decided(site(tables=tables)), ABOUT)
    found = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    assert found["mnrun_train_files"] == [path]
    assert found["mnrun_test_files"] == [f"{name}/test.parquet"]


def test_hosts_name_the_login_node() -> None:
    values = {"ansible_host": "login", "ansible_ssh_args": "-o BatchMode=yes"}
    text = hosts_text("login-node", values, {"ansible_ssh_args": "your own open connection"})
    assert "# your own open connection\n          ansible_ssh_args: -o BatchMode=yes" in text
    hosts = yaml.safe_load(text)["all"]["children"]["login"]["hosts"]
    assert hosts == {"login-node": values}
