"""Take the padding out of a batch and put it in again, in plain torch.

As verl 0.5.0 calls it: workers/actor/dp_actor.py:34, workers/critic/dp_critic.py:34 and
trainer/fsdp_sft_trainer.py:45.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rearrange(tensor: Tensor, pattern: str) -> Tensor:
    """einops.rearrange, for the two patterns that verl has for it."""
    if pattern == "b s ... -> (b s) ...":
        return tensor.flatten(0, 1)
    if pattern == "c b s ... -> (b s) c ...":
        return tensor.flatten(1, 2).transpose(0, 1)
    raise NotImplementedError(f"the stand-in for flash attention has no pattern {pattern}")


def index_first_axis(tensor: Tensor, indices: Tensor) -> Tensor:
    """The rows of these numbers."""
    return tensor[indices]


def unpad_input(
    hidden: Tensor, mask: Tensor, _unused: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """The tokens of all rows one after another, where each was, where each row begins, the longest
    row's length, and every row's."""
    lengths = mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(mask.flatten(), as_tuple=False).flatten()
    starts = functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
    flat = rearrange(hidden, "b s ... -> (b s) ...")
    return flat[indices], indices, starts, int(lengths.max()), lengths


def pad_input(hidden: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    """Put tokens back to where they were, in a batch that is zero elsewhere."""
    out = hidden.new_zeros((batch * length, *hidden.shape[1:]))
    out[indices] = hidden
    return out.unflatten(0, (batch, length))
