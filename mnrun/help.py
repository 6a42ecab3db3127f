"""The texts of `mnrun --help`, of the help on a command, and of the topics."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from mnrun.commands import ALIASES, COLLECTION, COMMANDS, GROUPS

DESCRIPTION = """\
SFT and PPO training on several nodes, with Slurm and Ray.

Every command can be repeated at any time: it attaches to running jobs and does
only what is still missing.  Ctrl-C leaves training running."""

_SECTIONS = {
    "begin": ("init", "doctor", "preflight", "environment", "fetch", "plan"),
    "train": ("all", "sft", "ppo", "convert", "publish", "sweep"),
    "look": ("status", "logs", "wait", "shell", "runs", "report"),
    "stop and clean up": ("cancel", "gc", "prune"),
    "more": ("ray", "sandbox"),
}
"""The commands of the front page; those that are in none come last."""

_EXAMPLES = {
    "": (
        ("plan", "what would be done, and why"),
        ("all", "train, or follow what is running"),
        ("sft optim.lr=2e-5 --run lr2e5", "another learning rate, as a run of its own"),
        ("logs sft -f", "follow the log of the SFT job"),
        ("help ppo", "options and examples of one command"),
    ),
    "init": (
        ("init ~/my-site", "on the login node itself"),
        ("init ~/my-site --login me@login.example.org", "from a laptop, by ssh"),
        ("init ~/my-site --yes -e mnrun_partition=gpu", "ask nothing; one answer given"),
    ),
    "all": (
        ("all", "the site's own run"),
        ("all sft.optim.lr=2e-5 ppo.critic.optim.lr=1e-5 --run both", "a run with its own options"),
        ("all --check --diff", "what would be done, script by script"),
    ),
    "plan": (("plan sft.optim.lr=2e-5", "what another learning rate would cost"),),
    "sft": (
        ("sft optim.lr=2e-5 trainer.total_epochs=3 --run lr2e5", "with its own options"),
        ("sft --check", "the plan of this stage alone"),
    ),
    "ppo": (
        ("ppo critic.optim.lr=1e-5 --run lr1e5", "from SFT's result in that run"),
        ("ppo -e 'ppo_model=~/model/mine'", "from another model"),
    ),
    "convert": (("convert sft", "only the model that SFT trained"),),
    "publish": (("publish ppo -e publish_repo=TEAM/NAME", "upload it"),),
    "doctor": (
        ("doctor", "every fault of the site, in seconds"),
        ("doctor --deep", "a short job looks at the nodes, too"),
        ("doctor -o json | jq -r '.findings[] | select(.level == \"fault\").what'", "for scripts"),
    ),
    "preflight": (("preflight", "only the checks, in seconds"),),
    "logs": (
        ("logs ppo -f", "keep printing"),
        ("logs sft -n 200 --err --attempt 1", "the errors of the first attempt"),
        ("logs sft | grep loss", "only the log is printed"),
    ),
    "wait": (("wait sft --timeout 600", "ten hours at most"),),
    "shell": (
        ("shell", "on the first node of what trains"),
        ("shell ppo -- nvidia-smi", "a command, with its exit code"),
        ("shell NODE -- 'ps aux; free -g'", "one word is a line for the shell"),
    ),
    "status": (
        ("status --watch", "until q"),
        ("status -o json | jq '.runs[].stages[].phase'", "for scripts"),
    ),
    "runs": (
        ("runs", "all of them"),
        ("runs default lr2e5", "how two differ"),
        ("runs -o json", "for scripts"),
    ),
    "report": (
        ("report", "of the site's own run, into mnrun-report/"),
        ("report default lr2e5 --to lr", "two runs compared"),
        ("report --sync", "send the runs of W&B that were logged offline"),
    ),
    "cancel": (("cancel ppo", "only this stage"),),
    "sweep": (("sweep lr.yml", "run them"), ("sweep lr.yml --table", "compare them")),
    "sandbox up": (("sandbox up --nodes 3", "a cluster of three compute nodes"),),
    "sandbox shell": (("sandbox shell -- sinfo", "a command on its login node"),),
}

_ROLES = {
    "all": ("sft", "ppo", "ray_cluster", "convert"),
    "ray start": ("ray_cluster",),
    **{name: (name,) for name in ("sft", "ppo", "convert", "publish", "fetch", "environment")},
    "preflight": ("preflight",),
    "sandbox up": ("sandbox",),
}
"""Whose variables change what a command does."""

_EPILOG = """\
which site is used:
  -i SITE, else $MNRUN_INVENTORY, else ./inventory/osk in a checkout of mnrun.
  SITE is a path, or a name that comes with mnrun (osk, sandbox).

exit codes:
  0 the work is done   1 it is not done; the output says why
  2 invalid command line, nothing was started   130 interrupted

also: mnrun completion bash|zsh|fish   mnrun help old-names   mnrun --version
documentation: https://github.com/mnrun/mnrun#readme
"""

OLD_NAMES = "old-names"
"""The topic of `mnrun help`."""


def front_page() -> str:
    """Return the text below the usage in `mnrun --help`."""
    listed = {name for names in _SECTIONS.values() for name in names}
    first = dict.fromkeys(name.split()[0] for name in COMMANDS)
    sections = {**_SECTIONS, "more": (*_SECTIONS["more"], *(n for n in first if n not in listed))}
    lines = [
        line
        for title, names in sections.items()
        for line in (f"{title}:", *(row for name in names for row in _row(name)), "")
    ]
    return "\n".join([*lines, *_examples(""), "", _EPILOG])


def _row(name: str) -> list[str]:
    text = GROUPS[name] if name in GROUPS else COMMANDS[name].help
    return textwrap.wrap(text, 80, initial_indent=f"  {name:<13}", subsequent_indent=" " * 15)


def _examples(command: str) -> Iterator[str]:
    found = [(f"mnrun {words}", text) for words, text in _EXAMPLES.get(command, ())]
    if found:
        yield "examples:"
    width = max((len(words) for words, _text in found), default=0)
    for words, text in found:
        fits = width + len(text) + 4 <= 80
        yield f"  {words:<{width}}  {text}" if fits else f"  {words}\n      {text}"


def epilog(command: str) -> str:
    """Return the text below the options in the help of a command."""
    lines = [*_examples(command)]
    roles: Iterable[str] = _ROLES.get(command, ())
    if roles:
        lines += (
            ["", "variables, each with a description:"]
            if lines
            else ["variables, each with a description:"]
        )
        lines += [f"  ansible-doc -t role {COLLECTION}.{role}" for role in roles]
    return "\n".join(lines)


def old_names() -> str:
    """Return the topic about old names."""
    table = "\n".join(f"  {old:<15} mnrun {' '.join(new)}" for old, new in ALIASES.items())
    return f"Names of the script that mnrun replaces, old names, and what each runs now:\n{table}\n"
