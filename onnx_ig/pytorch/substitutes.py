"""Functions that torch's exporters turn into what ONNX Runtime refuses, written with those that they export well.

The one idea: they stand in for torch's in exports alone; the check of an export still asks torch's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from onnx_ig.errors import ModelError
from onnx_ig.pytorch.quiet import in_exports


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """y[b] = sum, mean or maximum of w[i[l]] over the l in bag b, those at ``padding_idx`` left out; [B, D].

    A bag is a row of ``input`` [B, L], or the part of ``input`` [L] from one offset to the next; of none y is 0.
    """
    if max_norm is not None:
        raise ModelError("an EmbeddingBag with max_norm writes into its weights: normalise them beforehand")
    rows, kept = F.embedding(input, weight), torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        kept = input != padding_idx % weight.shape[0]
    if offsets is not None:
        places = torch.arange(input.shape[0], device=input.device)[None]
        if include_last_offset:
            starts, ends = offsets[:-1], offsets[1:]
        else:
            starts, ends = offsets, torch.cat([offsets[1:], torch.full_like(offsets[:1], input.shape[0])])
        kept = kept[None] & (places >= starts[:, None]) & (places < ends[:, None])
        rows = rows[None]
    if mode == "max":
        largest = torch.where(kept[..., None], rows, torch.finfo(rows.dtype).min).amax(1)
        return torch.where(kept.any(1, keepdim=True), largest, 0)
    share = kept.to(rows.dtype)
    if per_sample_weights is not None:
        share = share * per_sample_weights
    if mode == "mean":
        share = share / share.sum(1, keepdim=True).clamp(min=1)
    return (share[..., None] * rows).sum(1)


in_exports(F, "embedding_bag", _embedding_bag)
