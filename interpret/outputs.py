"""What a model returns: the part of it that classes are chosen from, checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.errors import ModelError


def scored_part(output: Any) -> tuple[Any, str | None]:
    """Return the part of a model's output that classes are chosen from, and its name.

    That is the tensor itself; ``"logits"`` of a dict, which is what Hugging Face's models return;
    the first tensor of a tuple or list; the only tensor of a dict.
    """
    if isinstance(output, Tensor):
        return output, None
    if hasattr(output, "keys"):
        if "logits" in output:
            return output["logits"], "logits"
        tensors = [key for key in output if isinstance(output[key], Tensor)]
        if len(tensors) == 1:
            return output[tensors[0]], str(tensors[0])
        return output, None
    if isinstance(output, (tuple, list)):
        first = next((i for i, part in enumerate(output) if isinstance(part, Tensor)), None)
        if first is not None and output[first].is_floating_point():
            return output[first], f"output[{first}]"
    return output, None


def check_output(output: Any, rows: int) -> Tensor:
    """Return the output if it is one tensor with a row for each input, or say what to do."""
    if not isinstance(output, Tensor):
        raise ModelError(
            f"the model returns {describe(output)}, not a tensor; say which part to explain with "
            "a function of the output, such as "
            + (
                "target=lambda output: output['logits'][:, 3]"
                if hasattr(output, "keys")
                else "target=lambda output: output[0][:, 3]"
            )
        )
    if output.ndim == 0 or len(output) != rows:
        raise ModelError(
            f"the model returned shape {tuple(output.shape)} for {rows} "
            f"{'row' if rows == 1 else 'rows'}; its output needs one row for each input row"
        )
    if not output.is_floating_point():
        raise ModelError(
            f"the model returns {output.dtype}, which has no gradient; explain the scores that the "
            "classes are chosen from"
        )
    if not bool(torch.isfinite(output).all()):
        raise ModelError(
            "the model returns NaN or infinite values for the first samples; mend it first"
        )
    return output


def describe(output: Any) -> str:
    """Return what an output is, in a few words."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {', '.join(type(v).__name__ for v in output)}"
    if hasattr(output, "keys"):
        return f"a {type(output).__name__} with {', '.join(map(str, output.keys()))}"
    return f"a {type(output).__name__}"
