"""Ask vLLM one question, with a model of the toy's, and print one JSON line.

ENVIRONMENT/bin/python answer.py MODEL
"""

from __future__ import annotations

import importlib
import json
import sys
import time

QUESTION = "Emma has eight eggs and gets five more. How many now?"


def main() -> None:
    """Load the model, ask, print."""
    # vLLM starts processes that import this file.
    vllm = importlib.import_module("vllm")

    began = time.monotonic()
    model = vllm.LLM(model=sys.argv[1], dtype="bfloat16", enforce_eager=True, max_model_len=256,
                gpu_memory_utilization=0.2)  # fmt: skip
    ready = round(time.monotonic() - began, 1)
    (said,) = model.chat(
        [{"role": "user", "content": QUESTION}],
        vllm.SamplingParams(temperature=0, max_tokens=24),
        use_tqdm=False,
    )
    answer = said.outputs[0].text.strip()
    print(json.dumps({"ready_seconds": ready, "question": QUESTION, "answer": answer}))


if __name__ == "__main__":
    main()
