"""Whether ssh reaches the compute nodes: with a stand-in ssh, at sites that let users in or not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.playbook.task import Task
from ansible_collections.mnrun.train.plugins.action.head_access import ActionModule

# Lets in whom the node has in its file; notes how it was called.
SSH = """#!/bin/sh
printf '%s\\n' "$@" >> {folder}/words
for word; do node=$last; last=$word; done
[ -e {folder}/open-$node ] && exit 0
echo 'Connection closed by remote host' >&2
exit 255
"""


class Site:
    """The module on the login node: jobs open nodes on sites that let only jobs' owners in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pam = False
        self.chosen = {"settled": False, "node": "n1", "job_id": "", "msg": ""}
        self.held = {"settled": False, "node": "n2", "job_id": "12", "msg": ""}
        self.states: list[str] = []
        self.lines: list[str] = []

    def answer(self, module_args: dict[str, Any], **_rest: Any) -> dict[str, Any]:
        state = module_args.get("state", "chosen")
        self.states.append(state)
        if state == "held" and self.pam:
            (self.folder / "open-n2").touch()
        if state == "released":
            assert module_args["job_id"] == "12"
            (self.folder / "open-n2").unlink(missing_ok=True)
            return {"settled": False, "node": "", "job_id": "", "msg": ""}
        return dict(self.held if state == "held" else self.chosen)

    def run(self, **arguments: Any) -> dict[str, Any]:
        task = Task()
        task.args = {"run_dir": "~/run", **arguments}
        connected = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"))
        action = ActionModule(task, connected, None, None, None, None)
        action._execute_module = self.answer
        action._display = SimpleNamespace(display=self.lines.append)
        return action.run()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "ssh").write_text(SSH.format(folder=tmp_path))
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Site(tmp_path)


def test_a_node_that_is_reached_needs_no_job(site: Site) -> None:
    (site.folder / "open-n1").touch()
    done = site.run(ssh_args="-F 'my config'", user="me", key="/k")
    assert done["settled"]
    assert site.states == ["chosen"]
    words = (site.folder / "words").read_text().splitlines()
    assert words[-8:] == ["-F", "my config", "-i", "/k", "-l", "me", "n1", "true"]


def test_a_site_that_lets_in_only_beside_a_job_passes(site: Site) -> None:
    site.pam = True
    assert site.run()["settled"]
    assert site.states == ["chosen", "held", "released"]


@pytest.mark.parametrize("node", ["n1", ""])
def test_nodes_that_ssh_does_not_reach_are_refused_with_the_way_out(site: Site, node: str) -> None:
    site.chosen["node"] = node  # none where users may not list nodes
    done = site.run()
    assert done["failed"]
    assert "ray_cluster_head_connection: srun" in done["msg"]
    assert "n2, with a job of yours on it, answers: Connection closed by remote host" in done["msg"]
    assert site.states[-1] == "released"


def test_without_a_free_node_it_remains_open(site: Site) -> None:
    site.held.update(node="", job_id="", msg="no node was free within 20 s")
    done = site.run()
    assert not done.get("failed")
    assert not done["settled"]
    assert "no node was free" in site.lines[0]


def test_where_ppo_has_run_nothing_is_tried(site: Site) -> None:
    site.chosen["settled"] = True
    assert site.run()["settled"]
    assert not (site.folder / "words").exists()
