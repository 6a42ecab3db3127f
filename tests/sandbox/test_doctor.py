"""`mnrun doctor`: everything that is wrong with a site, in one call that changes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Cluster
from .faults import _first_of

pytestmark = pytest.mark.sandbox

# What is wrong, by the line that is written for it.
WRONG = {
    "site.yml": {
        "mnrun_partition: gpu": "mnrun_partition: gpuu",
        "mnrun_sbatch: {}": "mnrun_sbatch: {account: nope}",
        "mnrun_model: ~/model/Llama-3.2-1B-Instruct": "mnrun_model: ~/doctor-model",
    },
    "environment.yml": {
        "  - miniconda/24.7.1-py311": "  - miniconda/24.7.1-py311\n  - hpcc/1",
    },
    "sft.yml": {
        "  data.response_key: extra_info": "  data.response_key: answers",
        "  trainer.save_freq: 80": "  trainer.save_frq: 80",
        "---": "---\nsft_optoins: {}",
    },
}
CACHES = ("./.cache/", "./.ansible/", "./.mnrun-cache/")


def doctor(*arguments: str, site: str | Path = "inventory/sandbox") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mnrun", "doctor", "-i", str(site), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def tree(sandbox: Cluster) -> list[str]:
    """All files of the user with their times, but caches."""
    listed = sandbox.run("cd && find . -not -type d -printf '%p %s %T@\\n'")
    return sorted(line for line in listed.splitlines() if not line.startswith(CACHES))


def test_a_site_that_is_right_is_ready_and_stays_as_it_was(sandbox: Cluster) -> None:
    before = tree(sandbox), sandbox.run("squeue -h -t all -o %i")
    code, text, _ = doctor()
    assert code == 0, text
    assert "✗" not in text
    assert text.splitlines()[-1] == "ready, with 1 warning"  # W&B has no key
    assert "✓ Slurm        the Slurm requests of sft, ray and convert" in text
    assert (tree(sandbox), sandbox.run("squeue -h -t all -o %i")) == before


def test_all_faults_come_in_one_call_with_their_lines(sandbox: Cluster, tmp_path: Path) -> None:
    site = shutil.copytree(ROOT / "inventory/sandbox", tmp_path / "site")
    for name, lines in WRONG.items():
        path = site / "group_vars" / "all" / name
        text = path.read_text()
        for old, new in lines.items():
            assert f"{old}\n" in text
            text = text.replace(f"{old}\n", f"{new}\n", 1)
        path.write_text(text)
    sandbox.run("mkdir -p doctor-model && cp model/Llama-3.2-1B-Instruct/*.json doctor-model")
    try:
        code, text, _ = doctor("-o", "json", site=site)
    finally:
        sandbox.run("rm -r doctor-model")
    found = json.loads(text)
    assert (code, found["ready"]) == (1, False), text
    faults = [one for one in found["findings"] if one["level"] != "ok"]

    def line(part: str, words: str) -> tuple[str, str]:
        """Where a fault is, as the line that is written there, and what to write instead."""
        (one,) = [one for one in faults if one["part"] == part and words in one["what"]]
        path, _, number = one["where"].rpartition(":")
        return Path(path).read_text().splitlines()[int(number) - 1], one["write"]

    assert line("variables", "sft_optoins: not an option") == ("sft_optoins: {}", "sft_options")
    assert line("environment", "there is no module hpcc/1")[0] == "  - hpcc/1"
    partition = ("mnrun_partition: gpuu", "mnrun_partition: gpu")
    assert line("Slurm", "there is no partition gpuu") == partition
    assert line("Slurm", "the accounting knows no nope")[0] == "mnrun_sbatch: {account: nope}"
    option = ("  trainer.save_frq: 80", "trainer.save_freq")
    assert line("options", "has no option trainer.save_frq") == option
    assert line("model", "contains no weights")[0] == "mnrun_model: ~/doctor-model"
    assert line("data", "test.parquet has no answers.answer")[0].startswith("mnrun_test_files")


def test_a_login_node_that_does_not_answer_hides_no_fault_of_the_variables() -> None:
    wrong = ["-e", "ansible_host=no.such.invalid", "-e", "mnrun_nodes=two"]
    code, text, _ = doctor(*wrong)
    assert code == 1
    assert "does not answer" in text
    assert "✗ variables    mnrun_nodes" in text
    assert text.splitlines()[-1].startswith("2 faults")


def test_a_node_without_the_shared_folder_is_found_by_a_job_that_leaves_nothing(
    sandbox: Cluster,
) -> None:
    folder = sandbox.run("mkdir -p training/multinode && realpath training/multinode")
    enter = ["nsenter", "--target", str(_first_of(sandbox, "osk-gpu95")), "--mount"]
    subprocess.run([*enter, "mount", "-t", "tmpfs", "none", folder], check=True, timeout=10)
    try:
        before = tree(sandbox)
        code, text, _ = doctor("--deep", "-o", "json")
    finally:
        subprocess.run([*enter, "umount", folder], check=True, timeout=10)
    nodes = [one for one in json.loads(text)["findings"] if one["part"] in ("nodes", "GPUs")]
    faults = [one["what"] for one in nodes if one["level"] == "fault"]
    assert code == 1, text
    assert f"osk-gpu95: {folder} is not there; is it mounted there?" in faults
    assert {"level": "ok", "what": "they reach each other at 37173 and 37174"}.items() <= {
        name: value
        for one in nodes
        if "reach each other" in one["what"]
        for name, value in one.items()
    }.items()
    assert tree(sandbox) == before
    sandbox.assert_none_queued()
