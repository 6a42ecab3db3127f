"""mnrun init: software, files, networks, services, from what a cluster shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.clusters import VERL, decided, folder, site

GIB = 1024**3


def node(**more: Any) -> dict[str, Any]:
    """What a look at a compute node returned."""
    ethernet = {"name": "eth0", "up": True, "speed": 25000, "physical": True,
                "addresses": ["10.0.0.7"], "of_the_name": True}  # fmt: skip
    own = {"host": "n7", "name": "n7", "whole": True, "cpus": 64, "interfaces": [ethernet],
           "route": "eth0", "adapters": [], "gpus": [], "same": {"/home/me": True},
           "hub": True}  # fmt: skip
    ssh = more.pop("ssh", "")
    return {"job_id": "5", "why": "", "ssh": ssh, "node": {**own, **more}}


def test_the_environment_decides_the_profile() -> None:
    choices = decided(site())
    assert choices["environment_conda_prefix"].value == "~/conda_env"
    assert choices["mnrun_trainer"].value == "verl-0.5"
    assert choices["environment_conda_hook"].value == "/opt/conda/etc/profile.d/conda.sh"


def environment(prefix: str, **packages: str) -> dict[str, Any]:
    return {"prefix": prefix, "conda": False, "packages": packages}


@pytest.mark.parametrize(
    ("packages", "profile"),
    [({"verl": "0.9.1"}, "verl-0.9"), ({"trl": "1.16.0"}, "trl"), ({"torch": "2.6"}, "verl-0.5")],
)
def test_each_trainer_has_its_profile(packages: dict[str, str], profile: str) -> None:
    choices = decided(site(environments=[environment("/w/env", **packages)]))
    assert choices["mnrun_trainer"].value == profile
    known = "torch" not in packages
    assert choices["mnrun_trainer"].why.startswith("found" if known else "GUESS")
    assert bool(choices["environment_conda_prefix"].question) is not known


def test_a_virtual_environment_needs_no_conda() -> None:
    choices = decided(site(environments=[environment("/w/env", **VERL)]))
    assert choices["environment_conda_hook"].value == ""


def test_of_several_environments_a_user_names_one() -> None:
    two = [environment("/w/trl", trl="1.2"), environment("/w/verl", **VERL)]
    choices = decided(site(environments=two))
    assert choices["environment_conda_prefix"].value == "/w/verl"
    assert "there are also /w/trl (trl 1.2)" in choices["environment_conda_prefix"].why
    answered = decided(site(environments=two), environment_conda_prefix="/w/trl")
    assert answered["mnrun_trainer"].value == "trl"


def test_a_conda_environment_without_its_conda_is_a_placeholder() -> None:
    choices = decided(site(conda=[]))
    assert choices["environment_conda_hook"].value.startswith("YOUR_CONDA")


@pytest.mark.parametrize(
    "modules", [{"init": "", "kind": "", "names": []}, None], ids=["none", "no answer"]
)
def test_without_modules_there_is_no_init_file(modules: Any) -> None:
    choices = decided(site(modules=modules))
    assert choices["environment_modules"].value == []
    assert "environment_modules_init" not in choices


def test_modules_that_may_be_wanted_are_named() -> None:
    why = decided(site())["environment_modules"].why
    assert "among them nccl/2.22.3, hpcx/2.18.1-gcc-cuda12/hpcx-mt" in why
    assert "gcc/13" not in why


def test_a_home_that_nodes_have_too_is_found() -> None:
    choice = decided(site(folders=[folder("/home/me", shared=False)]), node())["mnrun_base_dir"]
    assert choice.value == "~/training/multinode"
    assert choice.why.startswith("found: compute nodes have the same /home/me ")


def test_a_node_that_was_not_asked_about_a_folder_does_not_have_the_same() -> None:
    """As where no file could be written into it: the number of its inode says nothing."""
    for looked in (node(same={}), None):
        local = decided(site(folders=[folder("/home/me", shared=False)]), looked)["mnrun_base_dir"]
        assert local.why.startswith("GUESS: /home/me ")
        shared = decided(site(folders=[folder("/home/me")]), looked)["mnrun_base_dir"]
        assert shared.why.startswith("found: by its file system, hosts share /home/me ")


def test_a_folder_about_which_a_node_gave_no_answer_is_a_guess() -> None:
    looked = node(same={"/home/me": None, "/lustre/me": True})
    choice = decided(site(folders=[folder("/home/me")]), looked)["mnrun_base_dir"]
    assert choice.value == "~/training/multinode"
    assert choice.why.startswith("GUESS: /home/me ")
    assert choice.why.endswith("a compute node gave no answer about it in time")
    both = [folder("/home/me"), folder("/lustre/me", "$WORK")]
    known = decided(site(folders=both), looked)["mnrun_base_dir"]
    assert known.value == "/lustre/me/training/multinode"


def test_a_home_of_the_login_node_alone_is_passed_over() -> None:
    there = [folder("/home/me"), folder("/lustre/me", "$WORK")]
    looked = node(same={"/home/me": False, "/lustre/me": True})
    assert decided(site(folders=there), looked)["mnrun_base_dir"].value == (
        "/lustre/me/training/multinode"
    )


def test_a_small_home_yields_to_a_larger_folder() -> None:
    there = [folder("/home/me", quota=20 * GIB), folder("/scratch/me", "$SCRATCH")]
    choice = decided(site(folders=there))["mnrun_base_dir"]
    assert choice.value == "/scratch/me/training/multinode"
    assert "/home/me (nfs4, your quota leaves 20 GiB)" in choice.why


def test_a_folder_that_may_not_be_shared_is_a_guess() -> None:
    choice = decided(site(folders=[folder("/home/me", shared=False)]))["mnrun_base_dir"]
    assert choice.why.startswith("GUESS")
    none = decided(site(folders=[]))["mnrun_base_dir"]
    assert "ask the administrator" in none.why


def test_model_and_data_are_asked_for_where_they_are_not_found() -> None:
    choices = decided(site(models=[], tables=[]))
    for name in ("mnrun_model", "mnrun_train_files", "mnrun_test_files"):
        assert choices[name].value.startswith("YOUR_"), name
        assert choices[name].question
    mine = decided(site(models=[], tables=[]), mnrun_model="~/m", mnrun_train_files="~/t.parquet")
    assert (mine["mnrun_model"].value, mine["mnrun_train_files"].value) == ("~/m", "~/t.parquet")


def test_a_file_says_where_it_was_found() -> None:
    choices = decided(site())
    assert choices["mnrun_train_files"].why == "found: the only one in the usual folders"
    assert choices["mnrun_test_files"].why == "found: beside the training data"


def test_a_path_that_could_not_be_typed_is_not_chosen() -> None:
    choice = decided(site(models=["/m/a b", "/m/c"]))["mnrun_model"]
    assert (choice.value, [*choice.options]) == ("/m/c", ["/m/c", "/m/a b"])
    alone = decided(site(models=["/m/a,b"]))["mnrun_model"]
    assert alone.why.startswith("GUESS: /m/a,b has to be renamed: it may have no blanks")
    assert alone.question


def test_several_models_are_a_question_with_a_guess() -> None:
    choice = decided(site(models=["/home/me/model/A", "/work/me/model/B"]))["mnrun_model"]
    assert choice.value == "~/model/A"
    assert [*choice.options] == ["~/model/A", "/work/me/model/B"]


@pytest.mark.parametrize(
    ("by_node", "by_login", "place"),
    [(True, False, "compute"), (False, True, "login"), (None, True, "login"),
     (False, False, "compute")],
)  # fmt: skip
def test_the_hub_is_reached_from_where_it_answers(
    by_node: bool | None, by_login: bool, place: str
) -> None:
    choices = decided(site(hub=by_login), node(hub=by_node))
    assert choices["mnrun_hub_place"].value == place


def test_wandb_is_used_with_a_key_only() -> None:
    assert decided(site())["mnrun_tracker"].value == "none"
    with_key = decided(site(wandb_key="/home/me/.config/wandb/key"))
    assert with_key["mnrun_tracker"].value == "wandb"
    assert with_key["environment_wandb_key_file"].value == "~/.config/wandb/key"
    # The trainer itself reads this one.
    netrc = decided(site(wandb_key="/home/me/.netrc"))
    assert netrc["environment_wandb_key_file"].value == ""


@pytest.mark.parametrize(
    ("said", "connection"), [("", "ssh"), ("Permission denied (publickey).", "srun"), (None, "ssh")]
)
def test_the_head_is_reached_as_a_node_was(said: str | None, connection: str) -> None:
    choice = decided(site(), node(ssh=said))["ray_cluster_head_connection"]
    assert choice.value == connection
    assert choice.why.startswith("GUESS" if said is None else "found")


def test_one_interface_and_no_adapter_leave_nccl_alone() -> None:
    assert decided(site(), node())["environment_variables"].value == {}


def interface(name: str, **more: Any) -> dict[str, Any]:
    own = {"up": True, "speed": 10000, "physical": True, "of_the_name": False}
    return {"name": name, **own, "addresses": ["10.1.0.1"], **more}


def adapter(name: str, layer: str = "InfiniBand", active: bool = True) -> dict[str, Any]:
    return {"name": name, "port": "1", "active": active, "layer": layer, "rate": "400 Gb/sec"}


def test_among_interfaces_the_one_of_the_nodes_name_counts() -> None:
    there = [interface("lo"), interface("docker0"), interface("ib0"), interface("enp1"),
             interface("enp2", up=False)]  # fmt: skip
    there[3]["of_the_name"] = True
    choice = decided(site(), node(interfaces=there))["environment_variables"]
    assert choice.value == {"NCCL_SOCKET_IFNAME": "enp1", "GLOO_SOCKET_IFNAME": "enp1"}
    assert "enp1 is that of the node's name" in choice.why


def test_where_the_name_is_of_the_loopback_the_default_route_counts() -> None:
    there = [interface("ib0"), interface("enp1")]
    choice = decided(site(), node(interfaces=there, route="enp1"))["environment_variables"]
    assert choice.value["NCCL_SOCKET_IFNAME"] == "enp1"
    assert "enp1 is that of the default route" in choice.why


def test_adapters_are_named_if_some_are_of_another_kind() -> None:
    mixed = [adapter("mlx5_0"), adapter("mlx5_1"), adapter("mlx5_6", "Ethernet"),
             adapter("mlx5_7", active=False)]  # fmt: skip
    choice = decided(site(), node(adapters=mixed))["environment_variables"]
    assert choice.value == {"NCCL_IB_HCA": "mlx5_0,mlx5_1"}
    assert "not mlx5_6, mlx5_7" in choice.why
    alike = decided(site(), node(adapters=mixed[:2]))["environment_variables"]
    assert alike.value == {}


def test_roce_is_a_matter_for_the_administrator() -> None:
    choice = decided(site(), node(adapters=[adapter("rdma0", "Ethernet")]))["environment_variables"]
    assert "ask the administrator for NCCL_IB_GID_INDEX" in choice.why


def test_without_a_free_node_nothing_is_claimed() -> None:
    looked = {"job_id": "", "node": None, "ssh": None, "why": "no node was free within 20 s"}
    choice = decided(site(), looked)["environment_variables"]
    assert choice.why.startswith("GUESS: no compute node was looked at (no node was free")
