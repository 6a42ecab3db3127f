"""The main job, end to end, on real Slurm, ssh, Ray and verl; each test goes on from the last."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster, playbook
from .mnrun import mnrun
from .place import first_served
from .test_trainer import CHECKS, last_line

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

NODES = ("osk-gpu94", "osk-gpu95")
# A folder of its own each time: accounting remembers the jobs of an earlier one.
RUN = f"~/training/main-path-{time.time():.0f}"


@pytest.fixture(scope="module")
def trained(sandbox: Cluster) -> Iterator[Cluster]:
    """A sandbox on which `mnrun all` has run once."""
    with first_served():
        run = mnrun("all", timeout=2000, mnrun_run_dir=RUN)
    assert run.code == 0, run.text
    yield sandbox
    sandbox.run(f"rm -rf {RUN}*")


def jobs(cluster: Cluster, folder: str = RUN) -> list[tuple[str, str, str]]:
    """Name, state and nodes of all jobs that carry the mark of a run."""
    home = cluster.run("echo $HOME")
    # slurmdbd hears of a job's end a moment after mnrun.
    query = "sacct -X -P -n -S 2020-01-01 -o JobName,State,NodeList,Comment"
    lines = cluster.wait(query, r"\A(?!(.|\n)*\|(PENDING|RUNNING)\|)")
    rows = [line.split("|", 3) for line in lines.splitlines()]
    mark = f"run={folder.replace('~', home)} "
    return [(name, state, nodes) for name, state, nodes, comment in rows if mark in comment]


def nothing_runs(cluster: Cluster, folder: str = RUN) -> None:
    """No job of the run in the queue, and no process of its jobs on any node."""
    home = cluster.run("echo $HOME")
    queue = cluster.wait("squeue -h -t all -o '%T %k'", r"\A(?!(.|\n)*COMPLETING)")
    marked = [line for line in queue.splitlines() if folder.replace("~", home) in line]
    assert [line for line in marked if not line.startswith(("COMPLETED", "FAILED"))] == []
    for node in NODES:
        mark = f"MNRUN_RECORD={folder.replace('~', home)}/"
        left = cluster.run(f"grep -al {mark} /proc/[0-9]*/environ || true", f"root@{node}")
        assert re.findall(r"/proc/\d+", left) == [], node


def test_one_job_for_sft_and_one_for_ray_on_both_nodes_and_two_conversions(
    trained: Cluster,
) -> None:
    found = sorted(jobs(trained))
    assert {state for _, state, _ in found} == {"COMPLETED"}
    names = [re.sub(r"-[0-9a-f]{8}-1$", "", name) for name, _, _ in found]
    assert names == ["convert-ppo", "convert-sft", "training_sft", "verl-ray-ppo"]
    assert [nodes in NODES for _, _, nodes in found[:2]] == [True, True]
    assert [nodes for _, _, nodes in found[2:]] == ["osk-gpu[94-95]"] * 2


def test_nothing_is_left_running(trained: Cluster) -> None:
    nothing_runs(trained)


def test_checkpoints_lie_where_the_site_says(trained: Cluster) -> None:
    sft = trained.run(f"cat {RUN}/sft/checkpoints/latest_checkpointed_iteration.txt")
    ppo = trained.run(f"cat {RUN}/ppo/checkpoints/latest_checkpointed_iteration.txt")
    assert (sft, ppo) == ("160", "20")
    trained.run(f"test -s {RUN}/sft/checkpoints/global_step_160/huggingface/model.safetensors")
    for part in ("actor", "critic"):
        for rank in range(2):
            shard = f"{part}/model_world_size_2_rank_{rank}.pt"
            trained.run(f"test -s {RUN}/ppo/checkpoints/global_step_20/{shard}")


def test_the_model_that_sft_exported_is_the_trained_one(trained: Cluster) -> None:
    python = trained.run("readlink -f conda_env") + "/bin/python"
    step = trained.home / RUN[2:] / "sft" / "checkpoints" / "global_step_160"
    found = last_line([python, CHECKS, "exported", step])
    assert found.pop("tensors") > 10
    assert found == {"names": True, "file": True, "reloaded": True}


def stages(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The records of the run by stage."""
    paths = cluster.run(f"ls {RUN}/.mnrun/*/*/record.json").split()
    records = [json.loads(cluster.run(f"cat {path}")) for path in paths]
    return {record["stage"]: record for record in records}


def test_sft_learned_and_ppo_went_on_from_it(trained: Cluster) -> None:
    records = stages(trained)
    sft = records["sft"]["output"]["metrics"]
    ppo = records["ppo"]["output"]["metrics"]
    assert sft["loss"] < sft["first_loss"] / 10
    assert ppo["first_reward"] > 0.05  # the untrained model has 0
    assert ppo["reward"] > ppo["first_reward"] + 0.2
    assert ppo["val_reward"] > ppo["first_val_reward"] + 0.2
    assert records["ppo"]["spec"]["model"] == {
        "sft": records["sft"]["fingerprint"],
        "content": records["sft"]["output"]["content"],
    }


def test_the_converted_models_answer_better_than_what_they_began_with(trained: Cluster) -> None:
    found = {}
    for stage, step in (("sft", 160), ("ppo", 20)):
        manifest = json.loads(trained.run(f"cat {RUN}/{stage}/converted/mnrun_manifest.json"))
        assert (manifest["stage"], manifest["step"]) == (stage, step)
        assert manifest["tensors"]["changed"] == manifest["tensors"]["count"]
        found[stage] = manifest["scores"]["models"]
    base, sft, ppo = found["sft"]["base"], found["sft"]["sft"], found["ppo"]["ppo"]
    for kind in ("greedy", "sampled"):
        assert base[kind] < 0.05 < sft[kind] <= ppo[kind], (kind, found)
    # A third of the children write the rewarded style; PPO makes the others write it too.
    assert 0.15 < sft["greedy"] < 0.6
    assert ppo["greedy"] > 0.9
    # What PPO starts from is what was converted.
    assert abs(found["ppo"]["start"]["sampled"] - sft["sampled"]) < 0.1


def test_ppo_ran_through_the_job_api_of_the_head(trained: Cluster) -> None:
    (attempt,) = stages(trained)["ppo"]["attempts"]
    assert (attempt["job_id"], attempt["state"]) == (attempt["name"], "SUCCEEDED")
    assert attempt["job_id"].startswith("ppo-")


@pytest.mark.parametrize(("stage", "steps"), [("sft", 160), ("ppo", 20)])
def test_wandb_kept_every_step_offline(trained: Cluster, stage: str, steps: int) -> None:
    # Ray kills the children of a worker that ends, and with it what W&B has not written yet.
    (path,) = trained.run(f"ls {RUN}/{stage}/wandb/offline-run-*/*.wandb").split()
    python = trained.directory / "home" / "mluser" / "conda_env" / "bin" / "python"
    program = Path(__file__).parent / "files" / "wandb_steps.py"
    file = path.replace("/home/mluser", str(trained.home))
    done = subprocess.run(
        [python, program, file], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {"last_step": steps, "ended": True}


def test_no_secret_is_readable_by_others(trained: Cluster) -> None:
    assert trained.run(f"find {RUN}/.mnrun -name 'token*' -perm /077") == ""


def test_the_playbook_says_the_same_and_an_option_for_logs_changes_nothing(
    trained: Cluster,
) -> None:
    before = jobs(trained)
    given = {"mnrun_run_dir": RUN, "sft_overrides": {"trainer.logger": ["console"]}}
    text = playbook("all.yml", "-i", "inventory/sandbox", "-e", json.dumps(given), timeout=300)
    assert re.search(r"changed=0 .*failed=0", text), text
    assert jobs(trained) == before


def test_check_shows_what_another_option_would_bring(trained: Cluster) -> None:
    before = jobs(trained)
    run = mnrun("all", "--check", "--diff", mnrun_run_dir=RUN, sft_overrides={"optim.lr": 1e-3})
    assert run.code == 0, run.text
    assert "+    optim.lr=0.001" in run.text
    assert run.changed == 4, run.text  # SFT, PPO, its Ray cluster, the conversions
    assert "global_step_160/huggingface" not in run.text.partition("ppo.sh")[2]
    assert jobs(trained) == before


def test_a_plan_says_why_and_a_script_needs_a_yes(
    trained: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = jobs(trained)
    plan = mnrun("plan", "sft.optim.lr=1e-3", mnrun_run_dir=RUN)
    assert plan.code == 0, plan.text
    assert re.search(r"^sft +train again: optim\.lr \S+ → 0\.001$", plan.text, re.MULTILINE)
    assert re.search(r"^convert +then sft and ppo$", plan.text, re.MULTILINE), plan.text
    monkeypatch.setenv("MNRUN_YES", "0")
    refused = mnrun("all", "sft.optim.lr=1e-3", mnrun_run_dir=RUN)
    assert refused.code == 1
    assert "would be moved aside, not deleted" in refused.text
    assert "That of ppo, which begins with its result, would be out of date." in refused.text
    assert "--yes" in refused.text
    assert jobs(trained) == before
    trained.run(f"test ! -e {RUN}/options.yml")


def test_status_and_logs_show_the_run(trained: Cluster) -> None:
    status = mnrun("status", mnrun_run_dir=RUN)
    assert status.code == 0
    assert re.search(r"sft .*COMPLETED .*160/160", status.text), status.text
    assert re.search(r"ppo .*SUCCEEDED .*20/20", status.text), status.text
    assert "step:160" in mnrun("logs", "sft", mnrun_run_dir=RUN).text
    assert "(TaskRunner pid=" in mnrun("logs", "ppo", mnrun_run_dir=RUN).text


def test_a_report_has_the_curves_of_the_run_and_where_its_time_went(
    trained: Cluster, tmp_path: Path
) -> None:
    run = mnrun("report", "--to", str(tmp_path), mnrun_base_dir=RUN)
    assert run.code == 0, run.text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('data-points="160"') == 1  # the loss
    assert page.count('data-points="20"') >= 5
    for words in ("sft (job ", "of the time was spent on steps", "ppo, step 20", "greedy score"):
        assert words in page, words
    assert "![sft: loss](sft-loss." in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_runs_stand_side_by_side_and_go_when_named_and_confirmed(trained: Cluster) -> None:
    trained.run(f"mkdir -p {RUN}/runs/copy && cp -r {RUN}/.mnrun {RUN}/runs/copy/")
    listed = mnrun("runs", mnrun_base_dir=RUN)
    assert re.search(r"^default .* 160/160, .* 20/20, ", listed.text, re.MULTILINE), listed.text
    assert "the same spec" in mnrun("runs", "default", "copy", mnrun_base_dir=RUN).text
    assert "add: --yes" in mnrun("prune", "copy", mnrun_base_dir=RUN).text
    gone = mnrun("prune", "copy", "--yes", mnrun_base_dir=RUN)
    assert (gone.code, gone.changed) == (0, 1), gone.text
    trained.run(f"test ! -e {RUN}/runs/copy")
    mistyped = mnrun("cancel", "--run", "cpoy", mnrun_base_dir=RUN)
    assert mistyped.code == 1, mistyped.text
    assert "There is no run cpoy" in mistyped.text
    assert "Existing runs: default." in mistyped.text


def test_all_publishes_when_told_to_and_a_second_run_finds_nothing_to_do(trained: Cluster) -> None:
    target = f"{RUN}-published"
    told: dict[str, Any] = {"publish_enabled": True, "mnrun_hub_place": "login"}
    early = mnrun("all", mnrun_run_dir=RUN, **told)
    assert (early.code, "publish_repo=TEAM/NAME" in early.text) == (1, True), early.text
    to: dict[str, Any] = {"publish_to": "folder", "publish_folder": target, **told}
    run = mnrun("all", mnrun_run_dir=RUN, **to)
    assert (run.code, run.changed) == (0, 1), run.text
    before = jobs(trained)
    again = mnrun("all", mnrun_run_dir=RUN, **to)
    assert (again.code, again.changed) == (0, 0), again.text
    assert jobs(trained) == before
    trained.run(f"cmp {RUN}/ppo/converted/model.safetensors {target}/model.safetensors")
    card = trained.run(f"cat {target}/README.md")
    assert "The model of PPO at step 20" in card
    assert "| val reward |" in card


def code_of_the_users_own(cluster: Cluster, lines: str) -> str:
    """The path of a file with Python code, which is found to be wrong only when it is called."""
    path = "/home/mluser/own_code.py"
    cluster.run(f"printf '{lines}' > {path}")
    return path


@pytest.mark.torture  # for SFT in the next test; a failure on Ray is in test_own_trainers.py
def test_what_verl_raises_is_shown_and_nothing_stays(sandbox: Cluster) -> None:
    folder = f"{RUN}-raising"
    raises = 'def score(*_, **__):\\n    raise NotImplementedError("no score today")\\n'
    given = {"path": code_of_the_users_own(sandbox, raises), "name": "score"}
    overrides = {f"custom_reward_function.{key}": value for key, value in given.items()}
    run = mnrun(
        "ppo",
        mnrun_run_dir=folder,
        mnrun_nodes=1,
        mnrun_nodelist="",
        ppo_model="~/model/Llama-3.2-1B-Instruct",
        ppo_overrides={**overrides, "trainer.val_before_train": False},
    )
    assert run.code == 1
    assert "NotImplementedError: no score today" in run.text, run.text
    assert [state for _, state, _ in jobs(sandbox, folder)] == ["COMPLETED"]
    nothing_runs(sandbox, folder)
    sandbox.run(f"rm -rf {folder}")


def test_sft_ends_with_the_trainers_exit_code(trained: Cluster) -> None:
    folder = f"{RUN}-failing"
    raises = 'class Rows:\\n  def __init__(self, **_):\\n    raise ValueError("no rows today")\\n'
    given = {"path": code_of_the_users_own(trained, raises), "name": "Rows"}
    overrides = {f"data.custom_cls.{key}": value for key, value in given.items()}
    run = mnrun("sft", mnrun_run_dir=folder, sft_overrides=overrides)
    assert run.code == 1
    assert "ValueError: no rows today" in run.text, run.text
    assert ("FAILED", "osk-gpu[94-95]") in [job[1:] for job in jobs(trained, folder)]
    nothing_runs(trained, folder)


def test_a_damaged_result_is_noticed_and_made_again(trained: Cluster) -> None:
    model = f"{RUN}/ppo/checkpoints/global_step_20/actor/model_world_size_2_rank_1.pt"
    trained.run(f"cp {model} ~/kept.pt && truncate -s -100 {model}")
    run = mnrun("ppo", "--check", mnrun_run_dir=RUN)
    trained.run(f"mv ~/kept.pt {model}")
    assert run.code == 0, run.text
    assert run.changed == 2, run.text  # a Ray cluster, and PPO on it
