"""Tensors, in the dtype and the shape that we work in."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor


def padded(leaf: Tensor, more: int) -> Tensor:
    """Return a tensor with its last row repeated so many times behind it."""
    return torch.cat([leaf, leaf[-1:].detach().expand(more, *leaf.shape[1:])])


def first_rows(output: Any, rows: int, all_rows: int) -> Any:
    """Return the first rows of every tensor of an output that has a row for each input."""
    if isinstance(output, Tensor):
        return output[:rows] if output.ndim and len(output) == all_rows else output
    if isinstance(output, dict):
        changed = copy.copy(output)
        for key, part in output.items():
            changed[key] = first_rows(part, rows, all_rows)
        return changed
    if isinstance(output, (tuple, list)):
        parts = [first_rows(part, rows, all_rows) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return output


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that we accumulate in: float32 or wider; integers stay what they are."""
    return torch.float32 if dtype.is_floating_point and dtype != torch.float64 else dtype


def wide_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 or wider."""
    return tensor.to(wide(tensor.dtype))


def flat(leaves: tuple[Tensor, ...]) -> Tensor:
    """Return all leaves flattened one after another: (rows, features), float32 or wider."""
    parts = [wide_tensor(leaf.reshape(len(leaf), -1)) for leaf in leaves]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
