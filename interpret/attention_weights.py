"""What a model attends to: the weights of its self-attention, computed in the open as it runs.

torch computes attention in one fused operation, which never has the weights. While
`AttentionWeights` is open, that operation is carried out step by step instead; nothing of torch or
of the model is replaced for it, so that other threads see no difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import prod
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.errors import ModelError
from pellucid.interpret.models import Model


class AttentionWeights(TorchFunctionMode):
    """While it is open, self-attention hands over its weights, in the order of the calls.

    Listened to is `torch.nn.functional.scaled_dot_product_attention`, wherever it is called from,
    and `torch.nn.MultiheadAttention`, whether it is asked for its weights or not. Attention with
    more or fewer queries than keys is between different sequences, and only noted in `other`.

    Parameters
    ----------
    hear
        Called with weights (rows, heads, queries, keys), float32 or wider; where gradients are on,
        the score can be differentiated by them. A query that may attend to nothing has zeros.
    rows
        How many rows go through the model at a time.
    room
        Bytes that weights may take; None for any number.

    Attributes
    ----------
    other
        Numbers of queries and keys of the attention that was left out.

    Raises
    ------
    MemoryError
        Before weights of several rows are computed that there is no room for.
    ModelError
        If an attention is not between all tokens of one sequence.
    """

    def __init__(
        self, hear: Callable[[Tensor], None], rows: int, *, room: int | None = None
    ) -> None:
        super().__init__()
        self._hear, self._rows, self._room = hear, rows, room
        self._kept = 0
        self._tokens: int | None = None
        self._last: Tensor | None = None
        self.other: list[tuple[int, int]] = []
        # Within a function that it is told of, a mode is off: this one gets its attention by name.
        whole = F.multi_head_attention_forward
        self._multi_head = FunctionType(
            whole.__code__,
            {**whole.__globals__, "scaled_dot_product_attention": self._attend},
            whole.__name__,
            whole.__defaults__,
        )

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute attention step by step, and anything else as it is."""
        options = kwargs or {}
        if function is F.scaled_dot_product_attention:
            return self._attend(*args, **options)
        if function is not F.multi_head_attention_forward:
            return function(*args, **options)
        output, _ = self._multi_head(*args, **{**options, "need_weights": False})
        weights = self._last if options.get("need_weights", True) else None
        if weights is not None and options.get("average_attn_weights", True):
            weights = weights.mean(1)
        return output, None if weights is None else weights.to(output.dtype)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attend as torch documents it, without dropout."""
        if enable_gqa:
            key, value = (
                part.repeat_interleave(query.shape[-3] // part.shape[-3], -3)
                for part in (key, value)
            )
        wide = torch.promote_types(query.dtype, torch.float32)
        self._make_room(prod(query.shape[:-1]) * key.shape[-2] * wide.itemsize)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        logits = (query.to(wide) * scale) @ key.to(wide).transpose(-2, -1)
        if is_causal:
            allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
            logits = logits.masked_fill(~allowed, -torch.inf)
        if attn_mask is not None:
            logits = (
                logits.masked_fill(~attn_mask, -torch.inf)
                if attn_mask.dtype == torch.bool
                else logits + attn_mask
            )
        # Filled on both sides of the softmax: that of nothing but -inf is NaN, its gradient too.
        nothing = (logits == -torch.inf).all(-1, keepdim=True)
        weights = logits.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        self._last = weights = self._heard(weights)
        return (weights.reshape(logits.shape) @ value.to(wide)).to(query.dtype)

    def _make_room(self, size: int) -> None:
        # Fused attention keeps nothing of this size: the engine could not see it coming.
        if self._room is not None and self._rows > 1 and self._kept + 3 * size > self._room:
            raise MemoryError(f"no room for attention weights of {self._rows} rows at a time")
        if torch.is_grad_enabled():
            self._kept += 2 * size  # weights, and in the end their gradient

    def _heard(self, weights: Tensor) -> Tensor:
        """Hand weights over, and return them as they were handed over."""
        queries, keys = weights.shape[-2:]
        if queries != keys:
            self.other.append((queries, keys))
            return weights
        if weights.ndim == 3 and len(weights) % self._rows == 0:  # rows and heads on one axis
            weights = weights.reshape(self._rows, -1, queries, keys)
        if weights.ndim != 4 or len(weights) != self._rows:
            raise ModelError(
                f"an attention has weights of shape {tuple(weights.shape)} for {self._rows} rows, "
                "not (rows, heads, queries, keys): it is not between all tokens of an input, but "
                "in windows or along an axis of it, and its layers cannot be chained"
            )
        if self._tokens not in (None, queries):
            raise ModelError(
                f"one attention is between {self._tokens} tokens, and another one between "
                f"{queries}: they are of different sequences, and cannot be chained; explain the "
                "part of the model that keeps one sequence"
            )
        self._tokens = queries
        self._hear(weights)
        return weights


@contextlib.contextmanager
def attention_in_reach(model: Model) -> Iterator[None]:
    """Have Hugging Face's models call torch's attention, and leave them as they were set.

    Raises
    ------
    ModelError
        If the model has a decoder that attends to another sequence.
    """
    modules = model.modules
    config = getattr(model.module, "config", None)
    if getattr(config, "is_encoder_decoder", False) or any(
        isinstance(module, nn.TransformerDecoderLayer) for module in modules
    ):
        raise ModelError(
            f"{model.name} has a decoder that attends to an encoder: what its tokens draw from "
            "which cannot be chained into one sequence; explain the encoder alone, or use "
            "method='integrated_gradients'"
        )
    configs: dict[int, Any] = {}
    for module in modules:
        _collect(getattr(module, "config", None), configs)
    before = [(config, config._attn_implementation_internal) for config in configs.values()]
    try:
        if any(implementation != "sdpa" for _, implementation in before):
            for module in modules:
                switch = getattr(module, "set_attn_implementation", None)
                if callable(switch):
                    # A model that knows no other way keeps its own; then no attention is seen.
                    with contextlib.suppress(ValueError, ImportError):
                        switch("sdpa")
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation_internal = implementation


def _collect(config: Any, found: dict[int, Any]) -> None:
    """Gather a Hugging Face configuration and those within it."""
    if not hasattr(config, "_attn_implementation_internal") or id(config) in found:
        return
    found[id(config)] = config
    for name in getattr(config, "sub_configs", ()):
        _collect(getattr(config, name, None), found)
