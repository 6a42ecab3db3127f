"""Trainer profiles: those that come with mnrun, those of a site, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL, words
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import (
    DEFAULT,
    SHIPPED,
    ProfileError,
    known,
    needs,
    places,
    profile,
    schema,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_choice import trainer_faults
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_options import words_of

ALL = sorted(known([SHIPPED]))
MINE = """\
extends: verl-0.5
sft:
  entry: mine.sft
  checkpoint: {folder: "step-{step:06}", tracker: null}
ppo: null
"""


def site(folder: Path, **texts: str) -> list[Path]:
    trainers = folder / "trainers"
    trainers.mkdir()
    for name, text in texts.items():
        (trainers / f"{name}.yml").write_text(text)
    return places(str(folder))


@pytest.mark.parametrize("name", ALL)
def test_each_shipped_profile_can_be_used(name: str) -> None:
    found = profile(name, [SHIPPED])
    assert found["name"] == name
    assert found["description"]
    for stage in ("sft", "ppo"):
        if stage in found:
            words(words_of(found[stage]))


def test_a_record_without_a_trainer_is_read_as_the_default_profile_says() -> None:
    found = profile("", [SHIPPED])
    assert found["name"] == DEFAULT
    for stage in ("sft", "ppo"):
        assert words(words_of(found[stage])) == words(VERL) == words({})


def test_a_site_has_profiles_of_its_own(tmp_path: Path) -> None:
    folders = site(tmp_path, mine=MINE)
    found = profile("mine", folders)
    assert "ppo" not in found
    assert found["sft"]["entry"] == "mine.sft"
    assert found["sft"]["launcher"] == "torchrun"
    form = words(words_of(found["sft"]))
    assert (form.step_folder(12), form.tracker) == ("step-000012", "")
    assert {"mine", DEFAULT} <= set(needs(folders))


def test_all_faults_of_a_file_are_reported_with_their_lines(tmp_path: Path) -> None:
    text = """\
extends: verl-0.5
descripton: mine
sft:
  launcher: torchrunn
  cosmetic: trainer.logger
  log:
    step: "step ("
    metrics:
      loss: {name: loss, lower: maybe}
  checkpoint:
    folder: step
  launcher: srun
"""
    folders = site(tmp_path, mine=text)
    with pytest.raises(ProfileError) as caught:
        profile("mine", folders)
    lines = str(caught.value).replace(str(tmp_path / "trainers/mine.yml"), "FILE").splitlines()
    starts = [
        "FILE:2: descripton is not a key of a profile; did you mean description?",
        "FILE:5: sft.cosmetic is 'trainer.logger'; it must be a list",
        "FILE:7: sft.log.step is not a regular expression",
        "FILE:9: sft.log.metrics.loss.lower is 'maybe'; it must be true or false",
        "FILE:11: sft.checkpoint.folder is 'step', which does not fit: The name of a step's folder",
        "FILE:12: sft.launcher is written twice",
    ]
    assert len(lines) == len(starts), lines
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sft: [\n", "mine.yml:2: it is not YAML"),
        (
            "extends: verl-0.55\n",
            "mine.yml: extends: there is no trainer profile verl-0.55; did you",
        ),
        ("extends: mine\n", "extends goes round: mine → mine"),
        ("description: nothing\n", "mine.yml: it has neither sft nor ppo"),
        ("sft: {launcher: srun}\n", "sft.checkpoint is not set"),
        (
            "extends: command\nsft: {syntax: env, validate: {by: argparse}}\n",
            "sft.validate is by argparse, which reads no options of the syntax env",
        ),
        (
            "extends: command\nppo: {validate: {by: verl-hydra}}\n",
            "ppo.validate by verl-hydra needs a config",
        ),
        ("- a\n", "mine.yml:1: the profile is ['a']; it must be a mapping"),
        ("sft: {launcher: " + "[" * 2000 + "}\n", "it is nested too deeply"),
        ("description: a\x00\n", "mine.yml:1: the character 0x0 is not text."),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folders = site(tmp_path, mine=text)
    with pytest.raises(ProfileError) as caught:
        profile("mine", folders)
    assert message in str(caught.value)


def test_what_is_wrong_with_the_profiles_of_a_play_is_reported_once(tmp_path: Path) -> None:
    site(tmp_path, mine="sft: {lancher: srun}\n")
    templar = SimpleNamespace(template=lambda value: value)
    given = {"mnrun_trainer": "mine", "inventory_dir": str(tmp_path)}
    (fault,) = trainer_faults(given, templar, ["environment", "sft", "ppo"])
    assert fault.endswith(
        "mine.yml:1: sft.lancher is not a key of a profile; did you mean launcher?"
    )
    assert trainer_faults({**given, "sft_profile": DEFAULT}, templar, ["sft"]) == []


def test_an_unknown_name_is_answered_with_a_known_one() -> None:
    with pytest.raises(ProfileError, match=r"no trainer profile verl0\.5; did you mean verl-0\.5"):
        profile("verl0.5", [SHIPPED])


def test_the_schema_is_one_and_agrees_with_our_reader() -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")  # ansible-lint brings it
    text = json.loads((SHIPPED / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(text)
    judge = jsonschema.Draft202012Validator(text)
    base: dict[str, Any] = profile("", [SHIPPED])
    del base["name"]
    wrong: list[dict[str, Any]] = [
        {**base, "other": 1},
        {**base, "sft": {**base["sft"], "launcher": "none"}},
        {**base, "sft": {**base["sft"], "room": "much"}},
        {**base, "needs": {"version": "0.5"}},
        {**base, "ppo": {**base["ppo"], "causes": [{"pattern": "x", "cause": "moon"}]}},
    ]
    for one in [base, *wrong]:
        ours = [*schema().faults(one), *schema().missing(one)]
        assert bool(ours) != judge.is_valid(one), (one is base, ours)


@pytest.mark.parametrize("share", [1, 2])
def test_ranks_that_share_rows_have_one_loader(share: int) -> None:
    given = {"engine.ulysses_sequence_parallel_size": share}
    form = words(words_of(profile("verl-0.9", [SHIPPED])["sft"], given=given))
    assert (form.loader, form.loader_share) == ("data_{rank}.pt", share)
