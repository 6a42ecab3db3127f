"""Trying an activation script, and the module that installs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import testing
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.environment import trial as activation
from ansible_collections.mnrun.train.plugins.module_utils.environment.script import render
from ansible_collections.mnrun.train.plugins.modules.activation import main

from tests.helpers.activation_environment import EMPTY, make_environment

PACKAGES = activation.Needed(("verl", "torch", "ray"))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("env") / "my env's")


def importable(prefix: Path, module: str) -> None:
    next(prefix.glob("lib/python*/site-packages")).joinpath(f"{module}.py").touch()


def trial(tmp_path: Path, text: str) -> str:
    path = tmp_path / "trial.sh"
    path.write_text(text)
    return str(path)


def test_a_trial_reports_versions_without_importing(prefix: Path, tmp_path: Path) -> None:
    script = trial(tmp_path, render(EMPTY._replace(conda_prefix=str(prefix), wandb_mode="auto")))
    found = activation.verify(script, str(prefix), PACKAGES)
    assert found.versions == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "verl": "0.5.0",
        "torch": "2.13.0",
        "ray": "2.60.0",
    }
    assert found.wandb_mode == "offline"
    assert "offline" in found.notices[0]


def test_a_trial_names_the_packages_that_are_missing(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    command = [sys.executable, "-m", "venv", "--without-pip", str(bare)]
    subprocess.run(command, check=True, timeout=60)
    script = trial(tmp_path, render(EMPTY._replace(conda_prefix=str(bare))))
    with pytest.raises(Invalid, match=r"bare lacks verl, torch, ray"):
        activation.verify(script, str(bare), PACKAGES)


def test_a_trial_names_what_trackers_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_environment(tmp_path / "bare")
    given: dict[str, Any] = {"path": str(tmp_path / "activate.sh"), "conda_prefix": str(bare)}
    failed = module(capsys, **given, trackers=["trackio", "mlflow"])
    assert failed["failed"]
    assert [line for line in ("trackio", "mlflow") if f"bare lacks {line}, " in failed["msg"]] == [
        "trackio", "mlflow",
    ]  # fmt: skip
    assert "set MLFLOW_TRACKING_URI in environment_variables" in failed["msg"]
    importable(bare, "mlflow")
    given["variables"] = {"MLFLOW_TRACKING_URI": "http://here:5000"}
    assert module(capsys, **given, trackers=["mlflow"])["changed"]
    listed = module(
        capsys, **given, trackers=["mlflow", "wandb"], report=True, _ansible_check_mode=True
    )
    assert [one["level"] for one in listed["findings"]] == ["fault"]
    assert "lacks wandb" in listed["findings"][0]["what"]


def test_a_trial_without_a_message_shows_the_end_of_stderr(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"exit code 3: one / two"):
        activation.verify(trial(tmp_path, "echo one >&2; echo two >&2; return 1"), "/x", PACKAGES)


def test_a_trial_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = trial(tmp_path, f"sleep 60 & echo $! > {pid}; wait")
    with pytest.raises(Invalid, match=r"within 1 s.*module or the conda hook"):
        activation.verify(script, "/x", PACKAGES, patience=1.0)
    deadline = time.monotonic() + 30
    while _runs(int(pid.read_text())):
        assert time.monotonic() < deadline, "the sleep still runs"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_trial_sees_nothing_of_a_login_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODULEPATH", "/left/over")
    monkeypatch.setenv("WANDB_API_KEY", "left over")
    script = trial(tmp_path, 'echo "mnrun: note: $MODULEPATH|$WANDB_API_KEY" >&2')
    assert activation.verify(script, "", PACKAGES).notices == ["|"]
    assert activation.verify(script, "", PACKAGES, "k").notices == ["|k"]


def module(capsys: pytest.CaptureFixture[str], **params: Any) -> dict[str, Any]:
    """Run the module as Ansible does; what it answered."""
    with testing.patch_module_args(params), pytest.raises(SystemExit):
        main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_module_writes_once_and_nothing_in_check_mode(
    prefix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / ".mnrun" / "activate.sh"
    key = "0123456789abcdef"
    given = {"path": str(path), "conda_prefix": str(prefix), "wandb": {"key": key}}
    planned = module(capsys, **given, _ansible_check_mode=True)
    assert planned["changed"]
    assert not path.parent.parent.exists()
    done = module(capsys, **given)
    assert done["diff"] == planned["diff"]
    assert done["diff"]["after"] == path.read_text()
    assert key not in path.read_text()
    secret = path.with_name("wandb_key")
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == (key, 0o600)
    assert done["wandb_mode"] == planned["wandb_mode"] == "online"
    assert done["python"] == f"{prefix}/bin/python"
    assert sorted(path.parent.iterdir()) == [path, secret]
    again = module(capsys, **given)
    assert (again["changed"], again["diff"]) == (False, {})
    rekeyed = module(capsys, **{**given, "wandb": {"key": "another-key-altogether"}})
    assert rekeyed["changed"]
    assert secret.read_text() == "another-key-altogether"


def test_what_the_script_says_is_a_warning_and_no_change(
    prefix: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    # Ansible's own way from here depends on what else this process has loaded of it.
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warnings.append(text))
    given = {"path": str(tmp_path / "activate.sh"), "conda_prefix": str(prefix)}
    importable(prefix, "wandb")
    (first, again) = (module(capsys, **given, trackers=["wandb"]) for _ in range(2))
    assert (first["changed"], again["changed"]) == (True, False)
    (notice,) = again["notices"]
    assert notice.startswith("W&B logs this run offline: no key")
    assert warnings == [notice, notice]
    importable(prefix, "tensorboardX")
    unused = module(capsys, **given, trackers=["tensorboard"])
    assert (unused["changed"], unused["notices"]) == (False, [])
    assert warnings == [notice, notice]


def test_the_module_installs_nothing_that_does_not_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "activate.sh"
    path.write_text("the one before")
    failed = module(capsys, path=str(path), conda_prefix=str(tmp_path / "none"))
    assert failed["failed"]
    assert f"no Python environment at {tmp_path}/none" in failed["msg"]
    assert path.read_text() == "the one before"
    assert sorted(tmp_path.iterdir()) == [path]
