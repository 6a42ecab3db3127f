"""How a run ends: what it came to, and how to come back to it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from mnrun import closing
from mnrun.commands import COMMANDS
from mnrun.terminal import Terminal
from tests.helpers.screens import Screen, result, said, show, stats
from tests.helpers.statuses import stage_status

pytestmark = pytest.mark.usefixtures("plain_terminal")


def close(
    *events: dict[str, Any], command: str = "sft", code: int = 0, signal: int = 0, **options: Any
) -> tuple[list[str], int]:
    usual: dict[str, Any] = {"inventory": None, "run": None, "extra_vars": [], "check": False,
                             "verbose": 0}  # fmt: skip
    given = argparse.Namespace(**{**usual, "words": command.split(), **options})
    _, display = show(*events)
    screen = Screen(tty=False)
    ending = closing.Ending(COMMANDS[command], given, "/sites/sandbox", code, signal, 4.2)
    exit_code = closing.close(ending, display.outcome, Terminal(screen))
    return screen.rows()[:-1], exit_code


def test_the_end_of_a_run_that_did_its_work() -> None:
    assert close(stats()) == (["", "Done: changed=0 (4.2 s)"], 0)
    rows, _ = close(result("ok", summary=["SFT is at step 58"]), result("ok"), stats(a=1, b=2))
    assert rows == ["", "SFT is at step 58", "", "Done: changed=3 (4.2 s)"]


def test_where_nothing_was_found_the_site_is_named_unless_it_was_chosen() -> None:
    nothing = result("ok", summary=["Nothing of this run was running."])
    rows, _ = close(nothing, stats(), command="cancel")
    assert rows[2] == "The site is /sites/sandbox; to look at another one: -i SITE"
    rows, _ = close(nothing, stats(), command="cancel", inventory="sandbox")
    assert "-i SITE" not in "".join(rows)


def test_a_failure_that_changed_something_before_counts() -> None:
    failed = result("failed", msg="The job failed.", changed=True)
    rows, code = close(failed, stats(login=1), code=2)
    assert (rows[-1], code) == ("Failed: changed=2 (4.2 s)", 1)


def test_the_end_of_a_check() -> None:
    rows, code = close(stats(a=2), check=True)
    assert rows[-1] == "Dry run, nothing changed: 2 changes pending (4.2 s)"
    assert code == 0


def test_the_end_of_status_is_its_table_alone() -> None:
    stages = [stage_status("sft", {"id": "12"})]
    rows, code = close(result("ok", mnrun_status=stages), stats(), command="status")
    head, row, details = rows
    assert head.startswith("STAGE  STATE  STEP  STARTED")
    assert (row, details.strip()) == ("sft", "job 12 · attempt 1")
    assert code == 0


def test_the_end_of_a_failure_is_its_cause() -> None:
    rows, code = close(result("failed", msg="bad"), stats(a=1), code=2)
    assert rows == ["", "Train (on login):", "  bad", "", "Failed: changed=1 (4.2 s)"]
    assert code == 1


def test_a_failure_before_any_task_says_what_ansible_said() -> None:
    rows, code = close(said("[ERROR]: bad yaml"), code=4)
    assert rows == ["", "[ERROR]: bad yaml", "", "Failed: changed=0 (4.2 s)"]
    assert code == 1


def test_a_host_that_does_not_answer_is_looked_for_in_the_inventory() -> None:
    rows, _ = close(result("unreachable", msg="Task failed: no route"), code=4)
    assert rows[1:5] == [
        "Train (on login):",
        "  no route",
        "  Connection settings (ansible_host, ansible_user, keys) come from:",
        "  /sites/sandbox",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "Can't open user config file /var/lib/mnrun-sandbox/ssh_config: No such file or directory",
        "mm_receive_fd: expected received 1 got 0\nproxy dialer did not pass back a connection",
    ],
)
def test_a_sandbox_that_is_down_is_said_in_one_sentence(tmp_path: Path, said: str) -> None:
    where = [f"sandbox_dir={tmp_path}"]
    failed = result("unreachable", msg=f"Failed to connect via ssh: {said}")
    rows, code = close(failed, code=4, extra_vars=where)
    assert rows == [
        "",
        "The sandbox is down. Start it:  mnrun sandbox up",
        "",
        "Failed: changed=0 (4.2 s)",
    ]
    assert code == 1


def test_a_run_on_no_host_is_not_done() -> None:
    nobody = {"event": "playbook_on_stats", "event_data": {"changed": {}, "processed": {}}}
    rows, code = close(nobody)
    assert rows[1] == "Nothing was done: /sites/sandbox has no host in the group login."
    assert code == 1


@pytest.mark.parametrize(("signal", "exit_code"), [(2, 130), (15, 143), (1, 129)])
def test_an_interrupted_training_says_how_to_come_back(signal: int, exit_code: int) -> None:
    rows, code = close(code=99, signal=signal, inventory="my site")
    assert code == exit_code
    assert rows == [
        "",
        "Interrupted. Jobs on the cluster continue:",
        "  mnrun status -i 'my site'   show them",
        "  mnrun sft -i 'my site'   re-attach",
        "  mnrun cancel -i 'my site'   stop them",
    ]


def test_the_way_back_holds_all_that_was_typed_but_no_secret() -> None:
    given = [
        "mnrun_run_dir=/my data",
        "@~/vars.yml",
        "sft_options='{a: 1}' environment_wandb_key='0123 4567' mnrun_nodes=2",
        '{"my_token": "0123"}',
        "[HF_PASSWORD: 0123",
        "secret='0123",
        "proxy=http://me:word@proxy:3128 mnrun_model=/data/monkey",
        "note=" + "hf_" + "A1b2" * 8,
    ]
    rows, _ = close(code=99, signal=2, inventory="osk", extra_vars=given)
    again = rows[3].removesuffix("   re-attach").strip()
    assert shlex.split(again) == [
        *("mnrun", "sft", "-i", "osk"),
        *("-e", "mnrun_run_dir=/my data"),
        *("-e", "@~/vars.yml"),
        *("-e", "sft_options='{a: 1}' environment_wandb_key=… mnrun_nodes=2"),
        *("-e", "…"),
        *("-e", "…"),
        *("-e", "…"),
        *("-e", "proxy=… mnrun_model=/data/monkey"),
        *("-e", "note=…"),
    ]
    assert rows[2] == again.replace("sft", "status", 1).join(("  ", "   show them"))


def test_the_way_back_works_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-site").mkdir()
    (tmp_path / "vars.yml").touch()
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"inventory": "my-site", "extra_vars": ["@vars.yml"]}
    rows, _ = close(code=99, signal=2, **given)
    assert f"  mnrun status -i {tmp_path}/my-site -e @{tmp_path}/vars.yml   show them" in rows
    (tmp_path / "galaxy.yml").touch()
    rows, _ = close(code=99, signal=2, **given)
    assert "  mnrun status -i my-site -e @vars.yml   show them" in rows


def test_the_way_back_names_the_stage_that_was_typed() -> None:
    rows, _ = close(code=99, signal=2, command="publish", words=["publish", "sft"])
    assert "  mnrun publish sft   re-attach" in rows


def test_the_way_back_names_the_run_as_it_was_typed() -> None:
    rows, _ = close(code=99, signal=2, run="fast", extra_vars=["a=1", "mnrun_run_name=fast"])
    assert rows[3].startswith("  mnrun sft -e a=1 --run fast ")


def test_an_interrupted_command_without_training_can_be_run_again() -> None:
    rows, _ = close(code=99, signal=2, command="sandbox up")
    assert rows[-1] == "Interrupted. To continue:  mnrun sandbox up"


def test_a_log_that_is_no_longer_followed_can_be_followed_again() -> None:
    rows, _ = close(code=99, signal=2, command="logs", words=["logs", "sft", "-f"])
    assert rows[-1] == "Stopped following. Again:  mnrun logs sft -f"


def test_a_signal_that_came_when_all_was_done_changes_nothing() -> None:
    assert close(stats(), signal=2)[1] == 0


@pytest.mark.parametrize(("failed", "code"), [(False, 0), (True, 1)])
def test_the_end_of_a_doctor_is_its_list_alone(failed: bool, code: int) -> None:
    listed = "  ✗ data         no rows\n\n1 fault" if failed else "  ✓ data         2 rows\n\nready"
    found = [{"level": "fault" if failed else "ok"}]
    event = result("failed" if failed else "ok", msg=listed, mnrun_findings=found, failed=failed)
    rows, exit_code = close(event, stats(), command="doctor", code=2 if failed else 0)
    assert (rows, exit_code) == (listed.splitlines(), code)
    rows, exit_code = close(
        event, stats(), command="doctor", code=2 if failed else 0, mnrun_output="json"
    )
    assert (rows, exit_code) == ([], code)


def test_a_doctor_that_broke_is_not_ready() -> None:
    found = result("ok", msg="ready", mnrun_findings=[])
    broken = result("failed", msg="The module crashed.")
    rows, code = close(found, broken, stats(), command="doctor", code=2)
    assert code == 1
    assert "The module crashed." in "\n".join(rows)
