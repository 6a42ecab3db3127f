"""`mnrun fetch` on the sandbox, from a Hub of our own on its login node, from every place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .hub import TOKEN, Hub, on_login_node, tunnel
from .mnrun import Run, mnrun
from .plays import in_environment
from .test_hub_fetch import DATA, MODEL, RAW, TEST, TRAIN

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]


class Site:
    """Folders in the cluster's home that lack everything, and a Hub that has it."""

    def __init__(self, cluster: Cluster, hub: Hub, scratch: Path) -> None:
        self.cluster, self.hub = cluster, hub
        self.home = cluster.run("mktemp -d -p ~ fetch.XXXXXX")
        self.folder = cluster.home / Path(self.home).name
        toy = cluster.home / "model" / "Llama-3.2-1B-Instruct"
        self.files = {path.name: path.read_bytes() for path in toy.iterdir() if path.is_file()}
        hub.publish(MODEL, self.files)
        tables = {"train.parquet": RAW * 50, "test.parquet": RAW * 2}
        in_environment(
            cluster, "preflight_cases.py", {"folder": str(scratch), "tables": tables, "cases": []}
        )
        self.raw = {name: (scratch / name).read_bytes() for name in tables}
        raw = {TRAIN: self.raw["train.parquet"], TEST: self.raw["test.parquet"]}
        hub.publish(DATA, raw, kind="dataset")

    def mnrun(self, *command: str, **more: Any) -> Run:
        """A command with the variables that a user would set."""
        variables = {
            "mnrun_run_dir": f"{self.home}/run",
            "mnrun_hub_endpoint": self.hub.address,
            "mnrun_model": f"{self.home}/model/base",
            "mnrun_train_files": [f"{self.home}/data/train.parquet"],
            "mnrun_test_files": [f"{self.home}/data/test.parquet"],
            "fetch_model_repo": MODEL,
            "fetch_data_repo": DATA,
            # As many rows to validate on as there are, and prompts as long as they are.
            "sft_overrides": {"data.micro_batch_size_per_gpu": 2},
            "ppo_overrides": {"data.max_prompt_length": 128},
            **more,
        }
        return mnrun(*command, timeout=120, **variables)

    def has_model(self) -> bool:
        """Whether the model's files are there, byte for byte."""
        model = self.folder / "model" / "base"
        return all((model / name).read_bytes() == text for name, text in self.files.items())

    def spoil(self) -> None:
        """Damage the weights, and lose a table."""
        weights = self.folder / "model" / "base" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        (self.folder / "data" / "test.parquet").unlink()


@pytest.fixture(scope="module")
def site(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with on_login_node(sandbox) as hub:
        site = Site(sandbox, hub, tmp_path_factory.mktemp("raw"))
        yield site
        sandbox.run(f"rm -rf {site.home}")


@pytest.fixture(autouse=True)
def own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_by_a_compute_node_once(site: Site) -> None:
    """A cut costs nothing, and what was fetched passes every check of the data."""
    site.hub.trouble(method="GET", path="/lfs/", do="cut", after=100_000, times=1)
    first = site.mnrun("fetch")
    assert first.code == 0, first.text
    assert first.changed >= 1
    assert site.has_model()
    checked = site.mnrun("preflight")
    assert checked.code == 0, checked.text

    site.hub.forget()
    again = site.mnrun("fetch")
    assert (again.code, again.changed) == (0, 0), again.text
    assert site.hub.requests("GET", "") == []


def test_by_the_login_node_only_what_is_missing(site: Site) -> None:
    site.spoil()
    site.hub.forget()
    planned = site.mnrun("fetch", "--check", "--diff", mnrun_hub_place="login")
    assert (planned.code, planned.changed) == (0, 1), planned.text
    run = site.mnrun("fetch", mnrun_hub_place="login")
    assert (run.code, run.changed) == (0, 1), run.text
    assert site.has_model()
    large = site.hub.requests("GET", "/lfs/")
    assert len(large) == 2, large  # the weights and the table
    assert (site.folder / "data" / "test.parquet").is_file()


def test_by_the_controller(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    site.spoil()
    python = Path(site.cluster.run("readlink -f conda_env"), "bin", "python")
    with tunnel(site.cluster, site.hub) as address:
        run = site.mnrun(
            "fetch",
            mnrun_hub_place="controller",
            mnrun_hub_endpoint=address,
            mnrun_hub_controller_python=str(python),
        )
    assert run.code == 0, run.text
    assert site.has_model()


def test_the_check_of_the_data_fetches_when_told_to(site: Site) -> None:
    """A raw GSM8K in its place is refused, with what to do; or converted, and then accepted."""
    train = site.folder / "data" / "train.parquet"
    train.write_bytes(site.raw["train.parquet"])
    refused = site.mnrun("preflight")
    assert refused.code == 1
    assert "mnrun fetch" in refused.text, refused.text
    run = site.mnrun("preflight", preflight_fetch=True, mnrun_hub_place="login")
    assert run.code == 0, run.text
    assert train.with_name("train.parquet.raw").read_bytes() == site.raw["train.parquet"]


def test_what_is_missing_and_has_no_source_is_named(site: Site) -> None:
    run = site.mnrun("fetch", mnrun_model=f"{site.home}/model/other", fetch_model_repo="")
    assert run.code == 1
    assert "fetch_model_repo=TEAM/NAME" in run.text, run.text
