"""The room that mnrun expects a checkpoint to take, against what is on the disk."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import figures, vllm
from .big import make_big
from .need import need
from .site import Site
from .variables import variables

# Large enough that what is not weights does not count, small enough for seconds.
SHAPE = {"vocab_size": 65_536, "hidden_size": 1024, "intermediate_size": 4096,
         "num_hidden_layers": 4, "num_attention_heads": 16}  # fmt: skip
RANK = 32
MOST = 2.0  # percent of difference


class Case(NamedTuple):
    """What is trained, and how."""

    tied: bool = True
    lora: bool = False
    strategy: str = "fsdp2"
    newer: bool = False  # verl 0.9


CASES = {
    "tied": Case(),
    "tied_fsdp1": Case(strategy="fsdp"),
    "untied": Case(tied=False),
    "tied_lora": Case(lora=True),
    "untied_lora": Case(tied=False, lora=True),
    "verl_0.9_tied": Case(newer=True),
    "verl_0.9_untied_lora": Case(tied=False, lora=True, newer=True),
}
# Without GPUs, FSDP 1 cannot train.
ON_CPU = [name for name, case in CASES.items() if case.strategy == "fsdp2" and not case.newer]


def room(site: Site) -> dict[str, Any]:
    """One step of SFT for each case, saved."""
    found = {name: _one(site, name) for name in (CASES if site.options.real else ON_CPU)}
    wrong = {name: one for name, one in found.items() if abs(one["off_percent"]) > MOST}
    need(not wrong, f"expected wrongly: {wrong}")
    return found


def _one(site: Site, name: str) -> dict[str, Any]:
    case, run = CASES[name], site.run(f"room-{name}")
    model = f"room-{'tied' if case.tied else 'untied'}"
    make_big(site, model, tie_word_embeddings=case.tied, **SHAPE)
    given = {"mnrun_model": f"~/model/{model}", **_options(site, case)}
    given |= {"sft_lora_rank": RANK} if case.lora else {}
    answer = site.mnrun("sft", "-vv", run=run.name, limit=site.patience(90), **given)
    need(answer.code == 0, f"mnrun sft: exit code {answer.code}", answer)
    found = figures.room(answer.output, run, "sft")
    need(found, "no checkpoint, or nothing was expected", answer)
    return found


def _options(site: Site, case: Case) -> dict[str, Any]:
    once = {"trainer.total_training_steps": 1, "trainer.save_freq": 1, "trainer.test_freq": 1000}
    if case.newer:
        given = vllm.given(site)
        return {**given, "sft_options": {**given["sft_options"], **once}}
    more = {"environment_variables": variables()} if site.options.real else {}
    return {**more, "sft_overrides": {**once, "model.strategy": case.strategy}}
