"""The words around the list of commands in `mnrun --help`."""

from __future__ import annotations

from mnrun.commands import ALIASES

DESCRIPTION = """\
SFT and PPO training over several nodes, on Slurm and Ray.

Every command can be run again at any moment: it attaches to what runs and does
only what is still missing.  Ctrl-C leaves training running."""

_EPILOG = """\
which site:
  -i SITE, else $MNRUN_INVENTORY, else ./inventory/osk, else the site osk that
  comes with mnrun.  SITE is a path, or a name that comes with mnrun (osk,
  sandbox).  The sandbox commands use the site sandbox.

exit codes:
  0 the work is done   1 it is not, and the output says why
  2 the command line is wrong, nothing was started   130 interrupted

names of the script that mnrun replaces, old names, and what each runs now:
{aliases}

examples:
  mnrun help ray start             what a command takes
  mnrun all --check --diff         what would be done, script by script
  mnrun ppo -e 'ppo_model=~/m'     PPO from another model
  mnrun logs sft -f                follow the log of the SFT job
  mnrun sandbox shell -- sinfo     a command on the sandbox's login node
"""


def epilog() -> str:
    """Return what stands below the list of commands."""
    table = "\n".join(f"  {old:<15} mnrun {' '.join(new)}" for old, new in ALIASES.items())
    return _EPILOG.format(aliases=table)
