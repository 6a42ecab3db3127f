"""The figures as the tables of docs/gpu.md.

.venv/bin/python -m bench.gpu.table [FILE]      by default bench/gpu.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "gpu.json"
TITLES = {
    "gate": "SFT of 40 steps, with its gate",
    "one-socket": "the gate with NCCL's own number of sockets",
    "held": "a GPU whose memory another user's process holds: SFT",
    "hung": "an nvidia-smi that hangs: SFT",
    "toy": "`mnrun all`, toy",
    "again": "the same command again",
    "killed": "a rank killed by SIGKILL",
    "gone": "a GPU that may not be opened: Ray",
    "gone-sft": "a GPU that may not be opened: SFT",
    "memory": "out of GPU memory",
    "network": "all-reduce of 1,024 MiB",
    "big": "`mnrun all`, shape of Llama 3.2 1B",
    "vllm": "`mnrun all` with vLLM, PPO",
    "vllm-answers": "vLLM with the model that PPO was converted to",
    "vllm-grpo": "GRPO with vLLM, a worker killed by SIGKILL",
    "hand-sft": "SFT by mnrun, and by hand",
    "hand-ppo": "PPO by mnrun, and by hand",
    "vllm-big": "PPO with vLLM, shape of Llama 3.2 1B",
    "doctor": "`mnrun doctor --deep`",
    "init": "`mnrun init`, and the checks of the site that it wrote",
    "report": "`mnrun report`",
    "room": "room for a checkpoint, as expected and on the disk",
    "empty": "the GPUs afterwards",
}


def cells(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Each figure with its name in words."""
    for name, value in values.items():
        words = f"{prefix} {name.replace('_', ' ')}".strip()
        if isinstance(value, Mapping):
            yield from cells(value, name)
        elif value not in (None, "") and name not in {"ok", "wrong"}:
            yield f"{words}: {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return (
        f"{value:,}" if isinstance(value, int) else " ".join(str(value).split()).replace("|", "\\|")
    )


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Two tables: the machine, and what was tried on it."""
    machine = {k: v for k, v in found.get("machine", {}).items() if k not in {"ok", "wrong"}}
    lines = ["| machine | |", "|---|---|"]
    for name, value in machine.items():
        shown = "; ".join(map(str, value)) if isinstance(value, list) else _shown(value)
        lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    lines += ["", "| tried | as it should | figures |", "|---|---|---|"]
    for name, title in TITLES.items():
        if name in found:
            verdict = "yes" if found[name]["ok"] else "no"
            lines.append(f"| {title} | {verdict} | {'; '.join(cells(found[name]))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    print(table(json.loads(path.read_text(encoding="utf-8"))))
