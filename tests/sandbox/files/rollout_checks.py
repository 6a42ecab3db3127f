"""Checks of the rollout for verl 0.9 inside its training environment, started by test_verl_0_9.py.

    <training environment>/bin/python rollout_checks.py MODEL_FOLDER

prints one JSON line that the test judges.
"""

from __future__ import annotations

import asyncio
import json
import sys

import torch
import verl  # the shim waits for it
from mnrun_cpu_rollout import Server
from transformers import AutoTokenizer

LONGEST = 12
QUESTIONS = [
    "Aiko has three apples and finds two more. How many now?",
    "Ben has nine stones.",
    "Emma has eight eggs and gets five more. How many now?",
]
GREEDY = {"temperature": 0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}


def plain(model, prompt):
    """Let transformers alone answer one prompt; return the tokens of the answer."""
    row = torch.tensor([prompt])
    keywords = {"max_new_tokens": LONGEST, "do_sample": False}
    answer = model.generate(row, attention_mask=torch.ones_like(row), **keywords)
    return answer[0, len(prompt) :].tolist()


def log_probs(model, prompt, answer):
    """What the model says of an answer, all its tokens at once."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, torch.tensor([answer]).T)[:, 0]


async def ask(server, prompts, parameters):
    """Ask all at once, as verl's agents do."""
    asked = [
        server.generate(each, dict(parameters), str(place)) for place, each in enumerate(prompts)
    ]
    return await asyncio.gather(*asked)


def main(folder):
    """Print what was answered, and how far its probabilities are from the model's own."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    prompts = [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        for chat in chats
    ]
    server = Server(folder, tokenizer.pad_token_id, [tokenizer.eos_token_id], LONGEST)
    changed = {name: weight * 1.5 for name, weight in server.model.state_dict().items()}
    asyncio.run(server.update_weights(changed, 7))
    found = asyncio.run(ask(server, prompts, GREEDY))
    sampled = asyncio.run(ask(server, prompts, {**GREEDY, "temperature": 1.0}))
    pairs = list(zip(prompts, found, strict=True))
    apart = [
        (log_probs(server.model, prompt, each.token_ids) - torch.tensor(each.log_probs)).abs().max()
        for prompt, each in zip(prompts * 2, [*found, *sampled], strict=True)
    ]
    result = {
        "version": verl.__version__,
        "rollout": [each.token_ids for each in found],
        "plain": [plain(server.model, prompt) for prompt, _ in pairs],
        "apart": float(max(apart)),
        "steps": [each.extra_fields["global_steps"] for each in found],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
