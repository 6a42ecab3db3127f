"""Runs in the training environment: what hydra's own parser makes of each override."""

from __future__ import annotations

import json
import sys

from hydra.core.override_parser.overrides_parser import OverridesParser


def main() -> None:
    """Read a list of overrides, print a list of [name, value] as hydra understands them."""
    overrides = OverridesParser.create().parse_overrides(json.load(sys.stdin))
    print(json.dumps([[override.key_or_group, override.value()] for override in overrides]))


if __name__ == "__main__":
    main()
