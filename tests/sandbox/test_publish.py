"""`mnrun publish` on the sandbox, to a Hub of our own on its login node, from every place."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .hub import TOKEN, Hub, on_login_node, tunnel
from .mnrun import Run, mnrun
from .test_hub_publish import fill

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

NODES = ("login", "osk-gpu94", "osk-gpu95")


class Site:
    """A run folder with a converted model of PPO, and the variables that publish it."""

    def __init__(self, cluster: Cluster, hub: Hub) -> None:
        self.cluster, self.hub = cluster, hub
        self.run_dir = cluster.run("mktemp -d -p ~ publish.XXXXXX")
        self.folder = cluster.home / Path(self.run_dir).name
        self.model = fill(self.folder / "ppo" / "converted")
        cluster.run(f"chown -R mluser: {self.run_dir}", "root@login")

    def variables(self, **more: Any) -> dict[str, Any]:
        """What a user would set."""
        return {
            "mnrun_run_dir": self.run_dir,
            "mnrun_hub_endpoint": self.hub.address,
            **more,
        }

    def publish(self, *arguments: str, repo: str, **more: Any) -> Run:
        """`mnrun publish`."""
        variables = self.variables(publish_repo=repo, **more)
        return mnrun("publish", *arguments, timeout=120, **variables)

    def jobs(self) -> list[str]:
        """The jobs of this run so far, by the queue: the accounting hears of them later."""
        lines = self.cluster.run("squeue --me -h -t all -o '%i|%k'").splitlines()
        return [line for line in lines if f"run={self.run_dir} " in line]


@pytest.fixture(scope="module")
def site(sandbox: Cluster) -> Iterator[Site]:
    with on_login_node(sandbox) as hub:
        site = Site(sandbox, hub)
        yield site
        sandbox.run(f"rm -rf {site.run_dir}")


@pytest.fixture(autouse=True)
def own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def holders(cluster: Cluster, node: str) -> list[str]:
    """Command lines on a node that hold the token. It comes by standard input, not to be one."""
    script = 'read -r token; grep -alF -- "$token" /proc/[0-9]*/cmdline 2>/dev/null || true'
    done = subprocess.run(
        ["ssh", "-F", cluster.directory / "ssh_config", "-T", f"root@{node}", script],
        input=TOKEN, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def files_with_token(folder: Path) -> list[Path]:
    """Files below a folder that hold the token."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and TOKEN.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue  # it went while we looked
    return found


def test_from_a_compute_node_and_the_token_is_nowhere(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One upload, held open while we look for the token; then the same again."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # ansible-runner's folder lies there
    site.hub.trouble(method="PUT", path="/lfs/", do="stall", after=6, times=1)
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(site.publish, "-vv", repo="team/compute")
        while not site.hub.requests("POST", "/objects/batch"):
            assert not publishing.done(), publishing.result().text
            time.sleep(0.2)
        on_nodes = {node: holders(site.cluster, node) for node in NODES}
        here = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, timeout=30, check=True
        )
        artifacts = files_with_token(tmp_path)
        looked_at = list(tmp_path.rglob("job_events"))
        run = publishing.result()
    assert run.code == 0, run.text
    assert on_nodes == {node: [] for node in NODES}
    assert TOKEN not in here.stdout
    assert looked_at, "ansible-runner's folder was not where we looked for it"
    assert artifacts == []
    assert TOKEN not in run.text
    kept = site.folder / ".mnrun" / "hub_token"
    assert set(files_with_token(site.cluster.home)) == {kept, site.hub.folder / "tokens.json"}
    assert kept.stat().st_mode & 0o777 == 0o600
    job = site.jobs()[0].partition("|")[0]
    assert TOKEN not in site.cluster.run(f"scontrol show job {job}; sacct -B -j {job}")
    repo = site.hub.read("team/compute")
    assert repo["private"]
    card = site.hub.content("team/compute", "README.md").decode()
    assert "step 20" in card
    assert "| reward | 0.5 |" in card

    site.hub.forget()
    again = site.publish(repo="team/compute")
    assert (again.code, again.changed) == (0, 0), again.text
    assert len(site.jobs()) == 1
    assert site.hub.requests("GET", "") == []


def test_looking_again_from_a_compute_node_mends_what_differs(site: Site) -> None:
    repo = site.hub.read("team/compute")
    del repo["files"]["model-00001-of-00002.safetensors"]
    site.hub.repo("team/compute").write_text(json.dumps(repo))
    run = site.publish(repo="team/compute", publish_recheck=True)
    assert run.code == 0, run.text
    assert site.hub.content("team/compute", "model-00001-of-00002.safetensors")


def test_from_the_login_node(site: Site) -> None:
    before = len(site.jobs())
    place = {"mnrun_hub_place": "login", "repo": "team/login"}
    planned = site.publish("--check", "--diff", **place)
    assert (planned.code, planned.changed) == (0, 1), planned.text
    assert "+model-00001-of-00002.safetensors" in planned.text
    assert not site.hub.repo("team/login").exists()
    first = site.publish(**place)
    assert (first.code, first.changed) == (0, 1), first.text

    repo = site.hub.read("team/login")
    repo["files"]["config.json"]["oid"] = "00" * 20
    site.hub.repo("team/login").write_text(json.dumps(repo))
    noticed = site.publish("--check", "--diff", **place)
    assert noticed.changed == 1, noticed.text
    assert "+config.json" in noticed.text
    assert len(site.jobs()) == before


def test_from_the_controller(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    python = Path(site.cluster.run("readlink -f conda_env"), "bin", "python")
    with tunnel(site.cluster, site.hub) as address:
        place = {
            "mnrun_hub_place": "controller",
            "mnrun_hub_endpoint": address,
            "mnrun_hub_controller_python": str(python),
            "repo": "team/controller",
        }
        first = site.publish(**place)
        assert (first.code, first.changed) == (0, 1), first.text
        again = site.publish(**place)
        assert (again.code, again.changed) == (0, 0), again.text
    shard = "model-00002-of-00002.safetensors"
    assert site.hub.content("team/controller", shard) == (site.model / shard).read_bytes()


def test_a_wrong_token_is_told_in_one_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    run = site.publish(repo="team/wrong")
    assert run.code == 1
    assert "does not accept the token" in run.text, run.text
    assert ".mnrun/hub_token" in run.text
    assert "Traceback" not in run.text
    assert "hf_wrong" not in run.text


def test_to_a_folder(site: Site) -> None:
    to = {"publish_to": "folder", "publish_folder": f"{site.run_dir}/shared", "repo": ""}
    run = site.publish("ppo", mnrun_hub_place="login", **to)
    assert (run.code, run.changed) == (0, 1), run.text
    assert (site.folder / "shared" / "mnrun_manifest.json").is_file()


def test_what_is_wrong_is_said_before_anything_is_done(site: Site, tmp_path: Path) -> None:
    before = site.jobs()
    assert "publish_repo=TEAM/NAME" in site.publish(repo="").text
    assert "mnrun convert sft" in site.publish("sft", repo="team/x").text
    card = tmp_path / "card.md.j2"
    card.write_text("---\nlicense: mit\n---\n# {{ publish_manifest.stage }} of ours\n")
    run = site.publish(
        "--check", "--diff", repo="team/x", publish_card=str(card), mnrun_hub_place="compute"
    )
    assert re.search(r"\+\s*# ppo of ours", run.text), run.text
    assert site.jobs() == before


@pytest.fixture
def short_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without anything; ssh's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="home-") as folder:
        monkeypatch.setenv("HOME", folder)
        yield Path(folder)


@pytest.mark.parametrize("place", ["login", "controller"])
def test_all_looks_for_the_token_before_it_trains(
    site: Site, short_home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    folder = f"{site.run_dir}/none"
    told: dict[str, Any] = {"mnrun_run_dir": folder, "publish_enabled": True}
    told |= {"publish_repo": "team/late", "mnrun_hub_place": place}
    run = mnrun("all", timeout=120, **told)
    assert (run.code, run.changed) == (1, 0), run.text
    assert "but there is no token, so nothing was started" in run.text, run.text
    assert ".cache/huggingface/token" in run.text
    token = site.folder / "loose" if place == "login" else short_home / "loose"
    token.touch(0o644)
    token.write_text(TOKEN)
    file = f"{site.run_dir}/loose" if place == "login" else str(token)
    run = mnrun("all", timeout=120, mnrun_hub_token_file=file, **told)
    assert (run.code, f"chmod 600 {file}" in run.text) == (1, True), run.text
    assert TOKEN not in run.text
    site.cluster.run(f"test ! -e {folder}")


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_it_is_handed_over_with_the_token(site: Site) -> None:
    (site.folder / ".mnrun" / "hub_token").unlink(missing_ok=True)
    there = site.publish("--detach", repo="team/there", mnrun_hub_place="controller")
    assert there.code == 1
    assert "without --detach" in there.text
    empty = site.publish("--detach", repo="team/later", publish_model="~/no-such-model")
    assert "There is no complete converted model" in empty.text
    given = site.publish("--detach", repo="team/later")
    assert given.code == 0, given.text
    ended = mnrun("attach", **site.variables())
    assert ended.code == 0, ended.text
    assert "step 20" in site.hub.content("team/later", "README.md").decode()
