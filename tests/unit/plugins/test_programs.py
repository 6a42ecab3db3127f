"""The programs that jobs carry: found by name, wherever they lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.mnrun.train.plugins.lookup.programs import LookupModule
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import HOMES, programs, texts

ROOT = Path(__file__).parents[3]
ASKED = re.compile(r"lookup\('mnrun\.train\.programs', ([^)]*)\)")


def test_a_program_is_given_whole_with_its_last_line_end() -> None:
    text = (ROOT / "plugins/module_utils/trainer/keep.py").read_text()
    assert text.endswith("\n")
    assert texts(["keep.py"]) == {"keep.py": text}


def test_a_pattern_gives_all_that_fit_it_and_no_others() -> None:
    beside = {path.name for path in (ROOT / "roles/ray_cluster/files").glob("*.py")}
    assert set(texts(["cluster*.py"])) == beside
    assert {"cluster.py", "cluster_net.py"} < beside


def test_every_home_is_there_and_no_two_programs_have_one_name() -> None:
    found = [path for home in HOMES for path in ROOT.glob(home)]
    assert all(list(ROOT.glob(home)) for home in HOMES)
    assert len(programs()) == len(found)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("kep.py", "did you mean keep.py?"), ("cluster_?.py", "mean cluster"), ("x", "are cluster")],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_those_that_there_are(name: str, hint: str) -> None:
    with pytest.raises(AnsibleLookupError, match=re.escape(repr(name))) as caught:
        LookupModule().run(["keep.py", name])
    assert hint in str(caught.value)


def test_ansible_gets_one_mapping() -> None:
    assert LookupModule().run(["keep.py", "hub.py"]) == [texts(["keep.py", "hub.py"])]


def test_what_the_roles_and_playbooks_ask_for_is_there() -> None:
    files = [*ROOT.glob("roles/*/vars/main.yml"), *ROOT.glob("playbooks/*.yml")]
    asked = [names for path in files for names in ASKED.findall(path.read_text())]
    assert len(asked) >= 7
    variables = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/vars/main.yml")]
    lists = [
        value for each in variables for name, value in each.items() if name.endswith("_programs")
    ]
    assert len(lists) >= 3
    named = [re.findall(r"'([^']+)'", names) for names in asked]
    for names in [*filter(None, named), *lists]:
        assert texts(names)
