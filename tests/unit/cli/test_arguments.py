"""The command line: what parses, what is refused and with which words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mnrun.arguments import help_text, parse, words_for
from mnrun.cli import extra_vars, main
from mnrun.commands import ALIASES, COMMANDS, GROUPS
from mnrun.consent import can_ask
from mnrun.errors import UsageError
from mnrun.help import epilog
from mnrun.variables import refuse_unreadable

ROOT = Path(__file__).parents[3]
NEEDS_MORE = {"logs": ["sft"], "wait": ["sft"], "prune": ["first"], "sweep": ["lr.yml"]}
UNCHECKED = ["init", "shell", "report", "sandbox shell"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_parses_and_takes_the_shared_options(name: str) -> None:
    words = [*name.split(), *NEEDS_MORE.get(name, [])]
    check = [] if name in UNCHECKED else ["--check"]
    options = parse([*words, "-i", "here", "-e", "a=1", *check, "--diff", "-vv", "-e", "@b"])
    assert options.command == name
    assert options.inventory == "here"
    assert options.extra_vars == ["a=1", "@b"]
    assert options.check == bool(check)
    assert options.diff
    assert options.verbose == 2


def test_a_report_that_sends_something_takes_a_check() -> None:
    options = parse(["report", "--sync", "--check", "lr2e5"])
    assert options.check
    assert options.mnrun_report_sync


@pytest.mark.parametrize("name", UNCHECKED)
def test_what_a_check_could_not_hold_back_takes_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", *name.split(), "-e", f"sandbox_dir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mnrun: mnrun {name} ")
    assert said.endswith("; it takes no --check.\n")
    with pytest.raises(SystemExit):
        parse([*name.split(), "--help"])
    assert "--check" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_example_names_a_node_of_one_site(name: str) -> None:
    assert not re.search(r"gpu\d", epilog(name))


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_like_an_empty_one(tmp_path: Path, closed: str) -> None:
    line = f"exec {sys.executable} -m mnrun sandbox shell -e sandbox_dir={tmp_path} {closed}"
    command = ["bash", "-c", line]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    if "2>&-" not in closed:
        assert done.stderr.startswith("mnrun: ")


def test_where_input_is_closed_no_one_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main([]) == 2
    assert not can_ask()
    sys.stdin.close()


def test_shared_options_may_stand_before_between_and_behind() -> None:
    options = parse(["-v", "-e", "a=1", "ray", "-i", "x", "start", "-e", "b=2", "-v"])
    assert (options.command, options.inventory) == ("ray start", "x")
    assert options.extra_vars == ["a=1", "b=2"]
    assert options.verbose == 2


def test_a_run_of_its_own_is_a_variable_that_hints_repeat() -> None:
    options = parse(["--run", "larger-lr", "ppo", "-e", "a=1"])
    assert options.extra_vars == ["a=1", "mnrun_run_name=larger-lr"]


def test_without_options_nothing_is_set() -> None:
    options = parse(["ppo"])
    assert (options.inventory, options.extra_vars) == (None, [])
    assert (options.check, options.diff, options.verbose) == (False, False, 0)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_old_name_is_the_command_that_it_became(alias: str) -> None:
    options = parse(["-i", "x", alias, "-v"])
    meant = parse([*ALIASES[alias], "-i", "x", "-v"])
    assert options.alias == alias
    assert {**vars(options), "alias": None} == vars(meant)


def test_a_command_is_known_as_it_was_typed() -> None:
    options = parse(["-e", "a=1", "publish", "--check", "sft", "-i", "x", "--run", "y"])
    assert options.words == ["publish", "sft"]


def test_old_names_are_those_of_the_script() -> None:
    setup = ["step_2_0", "step_2_1", "step_2_2_setup", "submit_sft"]
    ray = ["step_3_0_setup", "start_ray", "setup_ppo", "run_ppo", "stop_ray"]
    assert list(ALIASES) == [*setup, *ray, "step_3_3", "step_3_4", "data"]


def test_the_help_names_every_command_in_eighty_columns() -> None:
    text = help_text()
    for word in {name.split()[0] for name in COMMANDS} | {*GROUPS}:
        assert len(re.findall(rf"^  {word}  ", text, re.MULTILINE)) == 1
    assert max(map(len, text.splitlines())) <= 80
    assert not [old for old in ALIASES if f"  {old} " in text]


def test_old_names_have_a_topic_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["help", "old-names"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert [old for old in ALIASES if f"\n  {old} " not in text] == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pr"], ["preflight", "prune"]),
        (["sandbox", ""], ["down", "shell", "status", "up"]),
        (["logs", "convert"], ["convert-ppo", "convert-sft"]),
        (["publish", "s"], ["sft"]),
        (["sft", "--ye"], ["--yes"]),
        (["ray", "start", "--d"], ["--diff"]),
        (["completion", "z"], ["zsh"]),
        (["comp"], ["completion"]),
        (["help", "st"], ["status"]),
        (["sft", "optim"], []),
    ],
)
def test_the_last_word_is_completed(words: list[str], found: list[str]) -> None:
    assert words_for(words) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["completion", shell])
    assert "_MNRUN_COMPLETE=1 mnrun" in capsys.readouterr().out


def test_bash_completes(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mnrun")
    line = (
        f'PATH={program.parent}:$PATH; eval "$(mnrun completion bash)"; '
        "COMP_WORDS=(mnrun ray st); COMP_CWORD=2; _mnrun; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "start status stop\n"


def test_completion_of_no_known_shell_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mnrun completion bash\|zsh\|fish"):
        parse(["completion", "tcsh"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse([*name.split(), "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: mnrun {name} [-h]" in text or f"usage: mnrun {name} [NODE" in text
    assert "--inventory" in text


@pytest.mark.parametrize("words", [[], ["sft"], ["ray"], ["ray", "start"], ["submit_sft"]])
def test_help_is_a_word_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for line in (["help", *words], [*words, "--help"]):
        with pytest.raises(SystemExit) as exit_:
            parse(line)
        assert exit_.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_only_what_is_about_a_run_offers_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    offers = {}
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            parse([*name.split(), "--help"])
        offers[name] = "--run NAME" in capsys.readouterr().out
    without = [name for name, offered in offers.items() if not offered]
    assert without == ["init", "runs", "report", "prune", "sweep"] + [
        name for name in COMMANDS if "sandbox" in name
    ]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.playbook])
def test_every_command_has_its_playbook(name: str) -> None:
    assert (ROOT / "playbooks" / f"{COMMANDS[name].playbook}.yml").is_file()


def test_options_of_the_sandbox_are_variables_of_its_role() -> None:
    defaults = yaml.safe_load((ROOT / "roles/sandbox/defaults/main.yml").read_text())
    for name in ("sandbox up", "sandbox down"):
        assert set(COMMANDS[name].variables) <= set(defaults)


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("ppo", {}),
        ("sandbox up", {}),
        ("sandbox up --nodes 3", {"sandbox_nodes": 3}),
        ("sandbox up --gpus=4", {"sandbox_gpus_per_node": 4}),
        ("sandbox up --simulated", {"sandbox_simulated": True}),
        ("sandbox up --offline /", {"sandbox_offline": "/"}),
        ("sandbox up --slurm 26.05", {"sandbox_slurm": "26.05"}),
        ("sandbox up --no-accounting", {"sandbox_accounting": False}),
        ("sandbox down", {}),
        ("sandbox down --wipe", {"sandbox_wipe": True}),
        ("logs ppo", {"mnrun_logs_stage": "ppo"}),
        ("convert", {"convert_stages": []}),
        ("convert sft ppo", {"convert_stages": ["sft", "ppo"]}),
        ("runs", {"mnrun_runs_names": []}),
        ("runs default b", {"mnrun_runs_names": ["default", "b"]}),
        ("prune a", {"mnrun_prune_names": ["a"]}),
        ("prune a b --yes", {"mnrun_prune_names": ["a", "b"], "mnrun_prune_confirmed": True}),
        ("runs -o json", {"mnrun_runs_names": [], "mnrun_output": "json"}),
        ("status", {}),
        ("status --output json", {"mnrun_output": "json"}),
        ("wait ppo", {"mnrun_wait_stage": "ppo"}),
        ("wait sft --timeout 5", {"mnrun_wait_stage": "sft", "mnrun_wait_minutes": 5}),
        ("logs -f sft", {"mnrun_logs_stage": "sft", "mnrun_logs_follow": True}),
    ],
)
def test_own_options_become_extra_vars(line: str, variables: dict[str, object]) -> None:
    options = parse(line.split())
    assert extra_vars(options, COMMANDS[options.command]) == variables


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["pppo"], "There is no command 'pppo'. Did you mean: mnrun ppo"),
        (
            ["sandbox", "dwon"],
            "There is no command 'sandbox dwon'. Did you mean: mnrun sandbox down",
        ),
        (["submit_sfft"], "Did you mean: mnrun submit_sft"),
        (["xyzzy"], "There is no command 'xyzzy'. See: mnrun --help"),
        (["ray"], "required: COMMAND\nSee: mnrun ray --help"),
        (["logs"], "required: STAGE\nSee: mnrun logs --help"),
        (["logs", "sfft"], "there is no 'sfft'. Did you mean sft? There are: sft, ray,"),
        (["logs", "convert"], "Did you mean convert-sft or convert-ppo?"),
        (["status", "-o", "yaml"], "there is no 'yaml'. There are: json."),
        (["wait", "relay"], "there is no 'relay'"),
        (["sft", "--rnu", "x"], "does not take --rnu. Did you mean --run?\nSee: mnrun sft --help"),
        (["status", "--detach"], "mnrun status does not take --detach.\n"),
        (["wait", "sft", "--timeout", "0"], "'0' is not a positive number"),
        (["convert", "ray"], "'ray' is not one of sft, ppo"),
        (["ppo", "--chekc"], "mnrun ppo does not take --chekc. Did you mean --check?"),
        (["ppo", "sft"], "sft: an option is written NAME=VALUE"),
        (["sandbox", "up", "--nodes", "0"], "'0' is not a positive number"),
        (["sandbox", "up", "--offline", "/nowhere"], "'/nowhere' is not a folder"),
        (["sandbox", "up", "--gpus", "eight"], "'eight' is not a positive number"),
        (["ppo", "--run", "../x"], "'../x' is not a valid run name"),
        (["ppo", "--run", "default"], "'default' is the site's own run: leave out --run"),
        (["prune", "default"], "'default' is the site's own run: leave out --run"),
        (["sandbox", "up", "--run", "x"], "mnrun sandbox up does not take --run"),
        (["runs", "--run", "x"], "mnrun runs does not take --run"),
        (["help", "sfft"], "There is no command 'sfft'. Did you mean: mnrun sft"),
        (["prune"], "required: NAME"),
        (["ppo", "--", "ls"], "Only shell and sandbox shell take"),
        (["-i"], "expected one argument\nSee: mnrun --help"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(words: list[str], answer: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert answer in str(error.value)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("mnrun_nodes", "-e mnrun_nodes: write NAME=VALUE"),
        ("sft_dir=/it's", "-e sft_dir=/it's: no closing quotation. For a value with a quote in it"),
        ('{"a": [1}', "it is neither JSON nor YAML"),
        ("[1, 2]", "variables are a mapping"),
        ("@/no/such.yml", "-e @/no/such.yml: there is no such file."),
    ],
)
def test_variables_that_ansible_could_not_read_are_refused(value: str, answer: str) -> None:
    with pytest.raises(UsageError) as error:
        refuse_unreadable(["a=1", "{b: 2}", value])
    assert answer in str(error.value)


def test_what_follows_the_dashes_is_the_shell_command() -> None:
    options = parse(["sandbox", "shell", "osk-gpu94", "--", "ls", "-v", "--", "x"])
    assert options.node == "osk-gpu94"
    assert options.shell_command == ["ls", "-v", "--", "x"]
    assert options.verbose == 0
    assert parse(["sandbox", "shell"]).node == "login"


def test_usage_errors_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pppo"]) == 2
    assert capsys.readouterr().err == "mnrun: There is no command 'pppo'. Did you mean: mnrun ppo\n"
    assert main([]) == 2
    assert capsys.readouterr().err == help_text()


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    def once() -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "mnrun", "--help"], cwd=ROOT, check=True, capture_output=True
        )
        after = os.times()  # of the processor: this machine may have other work
        return sum(after[2:4]) - sum(before[2:4])

    assert min(once() for _ in range(5)) < 0.3
    code = (
        "import sys, mnrun.cli\n"
        "from mnrun.arguments import help_text; help_text()\n"
        "print([m for m in ('ansible_runner', 'yaml', 'importlib.metadata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_plan_is_a_dry_run_of_all() -> None:
    options = parse(["plan", "sft.optim.lr=2e-5"])
    assert options.check
    assert COMMANDS["plan"].fqcn == COMMANDS["all"].fqcn
    assert not options.diff
