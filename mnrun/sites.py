"""Where the collection is, and which inventory a command uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mnrun.errors import CliError, UsageError

DEFAULT_SITE = "osk"
INVENTORY_VARIABLE = "MNRUN_INVENTORY"
_HOW_TO = """\
No site is named. A site is a folder that describes your cluster. Make one, then name it:

  mnrun init ~/my-site                     # on the login node; from a laptop: --login HOST
  export MNRUN_INVENTORY=~/my-site         # or: mnrun -i ~/my-site …
  mnrun doctor                             # names all that is missing or wrong

Without a cluster, try it on this machine:  mnrun sandbox up; mnrun all -i sandbox"""


def collection_root(package: Path | None = None) -> Path:
    """Return the collection's folder: `<something>/ansible_collections/mnrun/train`.

    In a checkout it is the checkout (an editable install copies the collection into
    site-packages, where later edits would not be seen); in an installed wheel it is beside
    this package.

    Args:
        package: the folder of this package.

    Raises:
        CliError: there is no collection; the text says how to fix it.
    """
    top = (package or Path(__file__).resolve().parent).parent
    base = top / "collections" if (top / "galaxy.yml").is_file() else top
    root = base / "ansible_collections" / "mnrun" / "train"
    if not (root / "playbooks").is_dir():
        raise CliError(
            f"The collection mnrun.train is not at {root}.\n"
            "In a checkout, bring back the link:  git checkout collections\n"
            "Otherwise install mnrun again:       pip install --force-reinstall mnrun"
        )
    return root


def known_sites(root: Path) -> dict[str, Path]:
    """Return the inventories that come with mnrun: name -> folder."""
    folder = root.resolve() / "inventory"
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}


def inventory(chosen: str | None, root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the inventory to use, as ansible-playbook's -i takes it.

    The first of: `chosen` (the option -i), $MNRUN_INVENTORY, ./inventory/osk. A name that is no
    path here is looked up among the sites that come with mnrun.

    Raises:
        UsageError: what was named is neither a path nor a known site, or nothing was named.
    """
    named = chosen or environ.get(INVENTORY_VARIABLE)
    if named:
        return _resolve(named, root, "-i" if chosen else f"${INVENTORY_VARIABLE}")
    default = Path("inventory", DEFAULT_SITE)
    if default.is_dir():
        return str(default.absolute())
    raise UsageError(_HOW_TO)


def title(inventory: str, run: str | None) -> str:
    """Return how headers name a site, and the run if it is not the site's own."""
    site = inventory if "," in inventory else Path(inventory).name
    return f"site {site}" + (f" · run {run}" if run else "")


def _refuse_several(path: Path, source: str) -> None:
    """Raise UsageError for a folder of sites: Ansible would mix their hosts and variables."""
    if not path.is_dir() or _has_hosts(path):
        return
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and _has_hosts(entry)]
    if len(inside) > 1:
        listing = "\n".join(f"  {entry}" for entry in inside)
        raise UsageError(
            f"{path} (from {source}) holds {len(inside)} sites. Name one of them:\n{listing}"
        )


def _has_hosts(folder: Path) -> bool:
    return any((folder / f"hosts{suffix}").is_file() for suffix in ("", ".yml", ".yaml", ".ini"))


def _resolve(named: str, root: Path, source: str) -> str:
    if "," in named:  # a list of hosts, in ansible's own form
        return named
    path = Path(named).expanduser()
    if path.exists():
        _refuse_several(path, source)
        return str(path.absolute())
    sites = known_sites(root)
    name = named.rstrip("/").removeprefix("./").removeprefix("inventory/")
    if name in sites:
        return str(sites[name])
    listing = "\n".join(f"  {site:<10} {place}" for site, place in sites.items())
    raise UsageError(
        f"There is no inventory {named!r} (from {source}): no such path here, and no site of "
        f"that name.\nSites that come with mnrun:\n{listing}\n"
        "Name one of them, or the path of your own (mnrun init makes one)."
    )
