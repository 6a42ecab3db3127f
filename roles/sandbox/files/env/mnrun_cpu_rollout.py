"""A rollout for verl 0.9 on a CPU: transformers generates where a site has vLLM.

verl 0.9 has servers generate, and sends them the actor's weights after each step. Its own servers
need a GPU; this one is a Ray actor for each training worker, on the same node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from transformers import AutoModelForCausalLM
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

GATHER_SECONDS = 0.05  # requests of one batch arrive one by one
MOST_ROWS = 64


def server_name(replica: int) -> str:
    """The name by which a worker finds its server."""
    return f"mnrun_cpu_rollout_{replica}"


class Server:
    """Generates answers, with weights that its training worker sends."""

    def __init__(self, path: str, pad: int, ends: list[int], longest: int) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.pad, self.ends, self.longest = pad, ends, longest
        self.steps: int | None = None
        self.waiting: list[tuple[list[int], dict[str, Any], asyncio.Future[Any]]] = []
        self.busy: asyncio.Task[None] | None = None

    async def nothing(self, *_: Any, **__: Any) -> None:
        """There is no memory to free, no cache to clear, and no request to hold back."""

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = nothing
    abort_all_requests = resume_generation = start_profile = stop_profile = nothing

    async def update_weights(self, weights: dict[str, torch.Tensor], steps: int | None) -> None:
        """Take the actor's weights, whose names are the model's own."""
        found = self.model.load_state_dict(weights, strict=False)
        if found.unexpected_keys:
            raise ValueError(
                f"the actor sent weights that the model lacks: {found.unexpected_keys}"
            )
        self.steps = steps

    async def generate(
        self, prompt_ids: list[int], sampling_params: dict[str, Any], request_id: str, **_: Any
    ) -> TokenOutput:
        """Answer one prompt, in a batch with all that are waiting."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((list(prompt_ids), sampling_params, answer))
        if self.busy is None or self.busy.done():
            self.busy = asyncio.create_task(self.work())
        tokens, log_probs = await answer
        fields = {"global_steps": self.steps}
        return TokenOutput(
            token_ids=tokens, log_probs=log_probs, stop_reason="completed", extra_fields=fields
        )

    async def work(self) -> None:
        """Answer until no request is left."""
        await asyncio.sleep(GATHER_SECONDS)
        while self.waiting:
            same = [each for each in self.waiting if each[1] == self.waiting[0][1]][:MOST_ROWS]
            self.waiting = [each for each in self.waiting if each not in same]
            try:
                answers = await asyncio.to_thread(
                    self.answers, [each[0] for each in same], same[0][1]
                )
            except Exception as error:  # whatever it is: those who wait have to hear of it
                for *_, answer in same:
                    answer.set_exception(error)
                raise
            for (*_, answer), found in zip(same, answers, strict=True):
                answer.set_result(found)

    def answers(
        self, prompts: list[list[int]], params: dict[str, Any]
    ) -> list[tuple[list[int], list[float]]]:
        """For each prompt the tokens up to the end, and their logarithmic probabilities."""
        width = max(map(len, prompts))
        rows = torch.tensor([[self.pad] * (width - len(row)) + row for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        found = self.model.generate(
            rows,
            attention_mask=mask,
            max_new_tokens=params.get("max_tokens") or self.longest,
            eos_token_id=self.ends,
            pad_token_id=self.pad,
            output_scores=True,
            return_dict_in_generate=True,
            **sampling(params),
        )
        scores = torch.stack(found.scores, dim=1).log_softmax(-1)
        tokens = found.sequences[:, width:]
        chosen = scores.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return [self.cut(*row) for row in zip(tokens.tolist(), chosen.tolist(), strict=True)]

    def cut(self, tokens: list[int], log_probs: list[float]) -> tuple[list[int], list[float]]:
        """Leave out what follows the end of an answer."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), len(tokens))
        return tokens[: end + 1], log_probs[: end + 1]


def sampling(params: dict[str, Any]) -> dict[str, Any]:
    """vLLM's parameters as transformers has them: at temperature 0 the likeliest token."""
    if not params.get("temperature", 1.0):
        return {"do_sample": False}
    return {
        "do_sample": True,
        "temperature": params.get("temperature", 1.0),
        "top_p": params.get("top_p", 1.0),
        "top_k": max(0, params.get("top_k", 0)),
    }


class Adapter(BaseRollout):
    """In a training worker: sends its weights to its server."""

    async def resume(self, tags: list[str]) -> None:
        """The server holds no memory of a device."""

    async def release(self) -> None:
        """The server holds no memory of a device."""

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        global_steps: int | None = None,
        **_: Any,
    ) -> None:
        """Gather the weights of all ranks, and send them."""
        whole = {name: tensor.detach().float().cpu().clone() for name, tensor in weights}
        server = ray.get_actor(server_name(torch.distributed.get_rank()))
        await server.update_weights.remote(whole, global_steps)


class Replica(RolloutReplica):
    """In the trainer: starts the server of one training worker."""

    async def launch_servers(self) -> None:
        """Start the server on its worker's node, as the weights come from there."""
        node = await self.workers[0].__ray_call__.remote(
            lambda _: ray.get_runtime_context().get_node_id()
        )
        model = omega_conf_to_dataclass(self.model_config)
        ends = model.generation_config.eos_token_id
        server = (
            ray.remote(Server)
            .options(
                name=server_name(self.replica_rank),
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                max_concurrency=self.max_concurrency,
            )
            .remote(
                model.local_path,
                model.tokenizer.pad_token_id,
                ends if isinstance(ends, list) else [ends],
                self.config.response_length,
            )
        )
        self.servers, self._server_handle = [server], server
        self._server_address = server_name(self.replica_rank)
