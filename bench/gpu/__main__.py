"""Try mnrun on this machine's GPUs, and measure: `make gpu` starts the sandbox and then this.

    sudo .venv/bin/python -m bench.gpu [STEP ...] [--steps all|gate|vllm|hand] [--out build/gpu/out]

With --simulated it continues without GPUs, as a rehearsal of the steps of --steps gate.
Every step has a limit, and the last one leaves the GPUs empty. The figures go to figures.json, to
which the steps of an earlier call with the same folder belong too. Exit code 1 if a step did not
come to what it has to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .need import WrongError
from .site import ROOT, Site
from .steps import SETS, STEPS
from .table import table


def attempt(name: str, site: Site) -> dict[str, Any]:
    """The figures of a step, or what was wrong."""
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    try:
        found = {"ok": True, **STEPS[name](site)}
    except (WrongError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", "") or getattr(error, "output", "") or ""
        found = {"ok": False, "wrong": f"{error}\n{str(output)[-2000:]}".strip()}
    print(json.dumps(found, indent=1), f"\n   {time.monotonic() - begun:.1f} s", flush=True)
    return found


def main() -> int:
    """Take the steps one after the other."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description="See the file itself.")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--steps", dest="set", choices=SETS, default="all")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu" / "out")
    given = parser.parse_args()
    unknown = set(given.steps) - set(STEPS)
    if unknown:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    given.out.mkdir(parents=True, exist_ok=True)
    file, site = given.out / "figures.json", Site(given.out, given.simulated)
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() and given.steps else {}
    for name in given.steps or SETS[given.set]:
        found[name] = attempt(name, site)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    return 0 if all(step["ok"] for step in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
