"""The collection's own Python, for what the command line shares with it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from mnrun.sites import collection_root


def plugin_util(name: str) -> ModuleType:
    """Return a module of plugins/plugin_utils that needs no ansible-core.

    In a checkout only ansible-core finds the collection by itself.

    Raises:
        CliError: there is no collection.
    """
    return _plugins(f"plugin_utils.{name}")


def module_util(name: str) -> ModuleType:
    """Return a module of plugins/module_utils: `site.outside`.

    Raises:
        CliError: there is no collection.
    """
    return _plugins(f"module_utils.{name}")


def _plugins(name: str) -> ModuleType:
    place = str(collection_root().parents[2])
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module(f"ansible_collections.mnrun.train.plugins.{name}")
