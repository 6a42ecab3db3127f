"""Runs in the training environment: makes tables as the module data_table does.

Standard input: {"folder": …, "files": {name: text}, "tables": {name: rows}, "cases": [[check,
target, sources, form], …]}. Prints a list with {"changed", "rows", "read"} or {"error"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.trainer.table import Wanted, make


def main() -> None:
    """Make the files, then run the cases."""
    given = json.load(sys.stdin)
    folder = Path(given["folder"])
    for name, rows in given["tables"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / name)
    print(json.dumps([one(folder, given["files"], case) for case in given["cases"]]))


def one(folder, files, case):
    """One case, after the given files have been written again."""
    check, target, sources, form = case
    for name, text in files.items():
        (folder / name).write_text(text)
    try:
        wanted = Wanted(folder / target, [folder / source for source in sources], form, "mine")
        made = make(wanted, check)
    except MnrunError as error:
        return {"error": error.message, "left": [path.name for path in folder.glob(".*")]}
    rows = pq.read_table(folder / target).to_pylist() if (folder / target).exists() else None
    return {"changed": made.changed, "rows": made.after["rows"], "read": rows}


if __name__ == "__main__":
    main()
