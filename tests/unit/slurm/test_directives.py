"""The options of sbatch: what a user may write, and how it stands in the script."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.slurm.directives import (
    check_body,
    sbatch_options,
    with_directives,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.options import KINDS, OURS
from hypothesis import given
from hypothesis import strategies as st

HELP = """\
Parallel run options:
  -A, --account=name          charge job to specified account
      --exclusive[=user]      allocate nodes in exclusive mode
      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH
                              [pyxis] the image to use, see --container-mounts
      --no-container-entrypoint
      --x11[=type]            forwarding
"""


def never() -> str:
    raise AssertionError("sbatch was asked for what is known")


def fault(options: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        sbatch_options(options, lambda: HELP)
    return caught.value.message


def test_the_options_of_the_real_site_become_directives() -> None:
    options = {
        "partition": "team-a", "nodes": 2, "nodelist": "osk-gpu[94-95]", "gpus-per-node": "8",
        "time": "6-00:00:00", "mem": 0, "exclusive": True, "account": "", "qos": None,
        "overcommit": False, "constraint": "a b&it's",
    }  # fmt: skip
    read = sbatch_options(options, never)
    assert list(read) == [
        *("partition", "nodes", "nodelist", "gpus-per-node", "time", "mem", "exclusive"),
        "constraint",
    ]
    assert with_directives("#!/bin/bash\n# SFT.\ntrue\n", read) == (
        "#!/bin/bash\n"
        "#SBATCH --partition=team-a\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --nodelist=osk-gpu[94-95]\n"
        "#SBATCH --gpus-per-node=8\n"
        "#SBATCH --time=6-00:00:00\n"
        "#SBATCH --mem=0\n"
        "#SBATCH --exclusive\n"
        "#SBATCH --constraint='a b&it'\"'\"'s'\n"
        "# SFT.\n"
        "true\n"
    )


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1))
def test_a_value_comes_out_of_the_quotes_as_it_went_in(text: str) -> None:
    (_shell, line) = with_directives("#!/bin/bash", {"account": text}).splitlines()
    assert shlex.split(line.removeprefix("#SBATCH ")) == [f"--account={text}"]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("time: 2:00:00", ["number 7200", "'2:00:00' for 2 hours", "'7200' for 5 days"]),
        ("time: 10:00", ["number 600", "'10:00' for 10 minutes", "'600' for 10 hours"]),
        ("time: 1440", ["in quotes", "'24:00' for 24 minutes", "'1440' for 1 day"]),
        ("time: -5", ["number -5", "in quotes"]),
        ("time: yes", ["yes, on and true", "in quotes"]),
        ("time: soon", ["not a time", "'soon'", "days-hours"]),
        ("time: 1.5", ["1.5", "in quotes"]),
        ("begin: 16:00", ["number 960", "in quotes"]),
        ("extra-node-info: 2:8:1", ["number 7681", "in quotes"]),
        ("account: 0123", ["number 83", "in quotes"]),
        ("account: no", ["no, off and false", "in quotes", "''"]),
        ("kill-on-invalid-dep: yes", ["yes, on and true", "in quotes"]),
        ("nodes: true", ["takes a value"]),
        ("mem: 1.5", ["write a whole one"]),
        ("nodelist: [a, b]", ["not a list", "a,b,c"]),
        ("gres: {gpu: 8}", ["not a mapping"]),
        ("contiguous: 'yes'", ["takes no value", "write true"]),
    ],
)
def test_what_yaml_made_of_a_value_is_not_passed_on(written: str, words: list[str]) -> None:
    message = fault(yaml.safe_load(written))
    assert message.startswith(f"sbatch option {written.partition(':')[0]} ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("time: 30", "30"),  # YAML makes this of no clock time
        ("time: 0", "0"),
        ("time: '7200'", "7200"),
        ("time: 6-00:00:00", "6-00:00:00"),
        ("begin: '16:00'", "16:00"),
        ("nice: 100", "100"),
        ("exclusive: user", "user"),
        ("exclusive: yes", ""),
    ],
)
def test_what_is_sure_to_be_as_it_was_written_is_taken(written: str, value: str) -> None:
    assert list(sbatch_options(yaml.safe_load(written), never).values()) == [value]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acount", ["write account"]),
        ("gpus_per_node", ["write gpus-per-node"]),
        ("--nodes", ["write nodes"]),
        ("p", ["write partition"]),
        ("J", ["job-name is not yours", "names"]),
        ("outputs", ["output is not yours"]),
        ("Time", ["write time"]),
        ("a b", ["like gpus-per-node"]),
        ("container-images", ["write container-image"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_closest_one(name: str, words: list[str]) -> None:
    message = fault({name: "x"})
    assert message.startswith(f"sbatch option {name} is not one of sbatch's")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("value", ["x", True, ""])
def test_what_mnrun_sets_itself_is_refused_with_the_reason(name: str, value: Any) -> None:
    assert fault({name: value}) == f"sbatch option {name} is not yours to set: {OURS[name]}"


def test_no_option_is_both_mnrun_s_and_the_user_s() -> None:
    assert KINDS.keys() & OURS.keys() == set()


def test_options_of_the_site_s_plugins_are_read_from_the_help_of_sbatch() -> None:
    options = {"container-image": "nvcr.io#x:1", "no-container-entrypoint": True, "x11": True}
    assert sbatch_options(options, lambda: HELP) == {
        **options,
        **dict.fromkeys(list(options)[1:], ""),
    }
    assert "takes no value" in fault({"no-container-entrypoint": "x"})


def test_all_faults_come_at_once() -> None:
    lines = fault({"acount": "x", "time": 7200, "job-name": "y", "nodes": 2}).splitlines()
    assert [line.split()[2] for line in lines] == ["acount", "time", "job-name"]


def test_a_line_break_makes_no_second_directive() -> None:
    assert "line break" in fault({"account": "x\n#SBATCH --nodes=9"})
    assert fault({"a\n#SBATCH --nodes": 9}).startswith(r"sbatch option 'a\n#SBATCH --nodes' is not")


@pytest.mark.parametrize("line", ["#SBATCH --nodes=2", "#SBATCH", "#PBS -l x", "#BSUB -n 2"])
def test_a_script_with_directives_of_its_own_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="Give the options as `sbatch`") as caught:
        check_body(f"#!/bin/bash\n\n# A comment\n{line}\ntrue\n")
    assert repr(line) in caught.value.message


@pytest.mark.parametrize(
    "body", ["true\n#SBATCH --nodes=2\n", "##SBATCH --nodes=2\n", "# SBATCH\n", "#SBATCHED\n", ""]
)
def test_what_sbatch_does_not_read_may_stand_there(body: str) -> None:
    assert check_body(f"#!/bin/bash\n{body}") == f"#!/bin/bash\n{body}"
