"""Runs in the training environment: makes data files, and checks them as the module does.

Standard input: {"folder": …, "tables": {name: rows}, "cases": [parameters of preflight]}.
Prints a list, for each case {"faults": …, "rows": …, "identities": …}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ansible_collections.mnrun.train.plugins.module_utils.base.process import run
from ansible_collections.mnrun.train.plugins.module_utils.preflight.check import check

NOTHING = {"model": "", "other_models": [], "train_files": [], "test_files": [], "slurm": []}


def no_slurm(command, seconds, stdin):
    """Stand where Slurm's commands are called; a reward function is imported for real."""
    if command[0] == sys.executable:
        return run(command, seconds, stdin)
    raise AssertionError((command, seconds, stdin))


def main() -> None:
    """Make the tables, then run the cases."""
    wanted = json.load(sys.stdin)
    for name, rows in wanted["tables"].items():
        table = pa.Table.from_pylist(rows) if rows else pa.table({"prompt": pa.array([], "string")})
        pq.write_table(table, Path(wanted["folder"]) / name)
    reports = [check({**NOTHING, "trainers": [], **case}, no_slurm) for case in wanted["cases"]]
    print(json.dumps([vars(report) for report in reports]))


if __name__ == "__main__":
    main()
