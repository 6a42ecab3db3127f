"""What runs: the trainer's environment and profile, and modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from mnrun.commands import DOCS
from mnrun.init.choice import Answers, Choice, Facts, answered, found, guess

Fitting = Callable[[Mapping[str, str]], list[str]]
"""Returns the trainer profiles that fit installed packages, the best first."""

_OF_INTEREST = re.compile(r"(?i)(?:^|/)(cuda|nccl|hpcx|ucx|openmpi|\w*(?:conda|forge)\d?)(?:/|$)")
_SHOWN = 12


def software(site: Facts, fitting: Fitting, default: str, answers: Answers) -> list[Choice]:
    """Return the choices about software: the environment first, then its profile.

    Args:
        site: what the login node shows.
        fitting: see Fitting.
        default: the profile without an environment.
        answers: those of the user.
    """
    prefix = _environment(site, fitting, default, answers)
    whole = re.sub("^~", site["home"], str(prefix.value)).rstrip("/")
    packages = _packages(site, whole)
    profiles = fitting(packages)
    short = re.sub(f"^{re.escape(site['home'])}/", "~/", str(prefix.value))
    return [
        replace(prefix, value=short),
        _profile(packages, profiles, default),
        _hook(site, whole),
        *_modules(site),
        found("packages", packages, "the environment's records"),
    ]


def _packages(site: Facts, prefix: str) -> Mapping[str, str]:
    there = {one["prefix"]: one["packages"] for one in site["environments"] or ()}
    packages: Mapping[str, str] = there.get(prefix, {})
    return packages


def _listed(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))


def _environment(site: Facts, fitting: Fitting, default: str, answers: Answers) -> Choice:
    name = "environment_conda_prefix"
    if name in answers:
        return answered(name, answers[name])
    there = site["environments"]
    fits = [one for one in there or () if fitting(one["packages"])]

    def place(one: Facts) -> tuple[bool, str, int]:
        profile = fitting(one["packages"])[0]
        # The default trainer first, whichever version of it.
        other = profile.partition("-")[0] != default.partition("-")[0]
        return other, profile, len(one["prefix"])

    fits.sort(key=place)
    ask = "The folder of the Python environment that holds the trainer"
    if len(fits) == 1:
        return found(name, fits[0]["prefix"], f"it has {_listed(fits[0]['packages'])}")
    if fits:
        others = [f"{one['prefix']} ({_listed(one['packages'])})" for one in fits[1:]]
        how = f"it has {_listed(fits[0]['packages'])}; there are also {'; '.join(others)}"
        return guess(name, fits[0]["prefix"], how, ask)
    seen = [f"{one['prefix']} ({_listed(one['packages'])})" for one in there or ()]
    also = f"; without a trainer that mnrun knows: {'; '.join(seen[:4])}" if seen else ""
    how = f"no environment with a trainer was found below your folders{also}"
    how = "the environments could not be looked at in time" if there is None else how
    return guess(name, "~/conda_env", how, ask)


def _profile(packages: Mapping[str, str], profiles: list[str], default: str) -> Choice:
    if profiles:
        return found("mnrun_trainer", profiles[0], f"it fits {_listed(packages)}")
    how = f"the environment's trainer is not known; {DOCS}/trainers.md lists the profiles"
    return guess("mnrun_trainer", default, how)


def _hook(site: Facts, prefix: str) -> Choice:
    """Whether conda activates the environment, and which."""
    name = "environment_conda_hook"
    own = next((one for one in site["environments"] or () if one["prefix"] == prefix), None)
    hooks = [one["hook"] for one in site["conda"] or ()]
    if own and not own["conda"]:
        return found(name, "", "the environment is a virtual environment, which needs no conda")
    mine = [
        hook for hook in hooks if prefix.startswith(hook.removesuffix("etc/profile.d/conda.sh"))
    ]
    if mine or len(hooks) == 1:
        where = next(one["where"] for one in site["conda"] if one["hook"] == (mine or hooks)[0])
        return found(name, (mine or hooks)[0], where)
    if hooks:
        return guess(name, hooks[0], f"there are also {', '.join(hooks[1:])}")
    if own:
        how = "no conda.sh was found: give that of the conda that made the environment"
        return guess(name, "YOUR_CONDA/etc/profile.d/conda.sh", how)
    return guess(name, "", "no conda was found; this is right for a virtual environment")


def _modules(site: Facts) -> list[Choice]:
    there = site["modules"]
    if not there or not there["init"]:
        how = "this login node has no module system" if there else "it gave no answer in time"
        return [found("environment_modules", [], how)]
    names = [name for name in there["names"] if _OF_INTEREST.search(name)]
    listed = f", among them {', '.join(names[-_SHOWN:])}" if names else ""
    how = f"{there['kind'] or 'Environment Modules'} has {len(there['names'])} modules{listed}"
    none = (
        f"a trainer's own packages bring CUDA and NCCL along, so none is needed; {how}. With some,"
        f" also set environment_modules_init: {there['init']}"
    )
    return [guess("environment_modules", [], none)]
