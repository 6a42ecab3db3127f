"""The text around the list of commands in `mnrun --help`."""

from __future__ import annotations

from mnrun.commands import ALIASES

DESCRIPTION = """\
SFT and PPO training on several nodes, with Slurm and Ray.

Every command can be repeated at any time: it attaches to running jobs and does
only what is still missing.  Ctrl-C leaves training running."""

_EPILOG = """\
which site is used:
  -i SITE, else $MNRUN_INVENTORY, else ./inventory/osk, else the site osk that
  comes with mnrun.  SITE is a path, or a name that comes with mnrun (osk,
  sandbox).  The sandbox commands use the site sandbox.

exit codes:
  0 the work is done   1 it is not done; the output says why
  2 invalid command line, nothing was started   130 interrupted

names of the script that mnrun replaces, old names, and what each runs now:
{aliases}

examples:
  mnrun help ray start             options of one command
  mnrun all --check --diff         what would be done, script by script
  mnrun ppo -e 'ppo_model=~/m'     run PPO from another model
  mnrun logs sft -f                follow the log of the SFT job
  mnrun sandbox shell -- sinfo     run a command on the sandbox's login node
"""


def epilog() -> str:
    """Return the text below the list of commands."""
    table = "\n".join(f"  {old:<15} mnrun {' '.join(new)}" for old, new in ALIASES.items())
    return _EPILOG.format(aliases=table)
