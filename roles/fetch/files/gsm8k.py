"""A raw GSM8K (question, answer) in the form that verl's trainers read.

The same rows as verl's own examples make: the question with an instruction as prompt, the number
behind "####" as ground truth, question and answer kept beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub import HubError

RAW = {"question", "answer"}
_FINAL = re.compile(r"#### *(-?[0-9.,]*[0-9])")


def is_raw(path: Path) -> bool:
    """Whether a parquet file is a raw GSM8K. Raises HubError for a file that is no parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names) == RAW
    except (pa.ArrowException, OSError) as error:
        raise HubError(f"{path} is not a parquet file: {str(error).splitlines()[0]}") from error


def convert(raw: Path, target: Path, form: dict[str, str]) -> int:
    """Write the converted rows of `raw` to `target`, whole or not at all.

    `form` has the `split`, the `data_source` by which verl chooses its reward, and the
    `instruction` behind each question. Returns the number of rows. Raises HubError for a row
    without a final answer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(_rows(raw, form)))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    pq.write_table(table, part)
    part.replace(target)
    return int(table.num_rows)


def _rows(raw: Path, form: dict[str, str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for index, row in enumerate(pq.read_table(raw).to_pylist()):
        question, answer = row["question"] or "", row["answer"] or ""
        final = _FINAL.search(answer)
        if not final or not question.strip():
            raise HubError(f"{raw}: row {index} has no question, or no number behind ####")
        yield {
            "data_source": form["data_source"],
            "prompt": [{"role": "user", "content": f"{question} {form['instruction']}".strip()}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": final.group(1).replace(",", "")},
            "extra_info": {
                "split": form["split"],
                "index": index,
                "answer": answer,
                "question": question,
            },
        }
