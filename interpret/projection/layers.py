"""What a layer of a model puts out for every sample: the features of a map of its view."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import read_inputs
from pellucid.interpret.models import Model
from pellucid.interpret.points import Kept, Rows
from pellucid.interpret.projection.features import known


def read_layer(
    model: torch.nn.Module,
    inputs: Any,
    at: str | None,
    *,
    device: Any = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    progress: bool | None = None,
) -> Tensor:
    """Return what a layer puts out for every sample, read chunk by chunk.

    Parameters
    ----------
    model
        It is left as it was.
    inputs
        What the model sees: as for `pellucid.explain`, or a `Dataset`.
    at
        The layer, by its path in the model.
    device, batch_size, seed, progress
        As for `pellucid.explain`.

    Returns
    -------
    torch.Tensor
        Shape (samples, features): what the layer puts out, flattened, on the model's device.

    Raises
    ------
    InputError, InputTypeError
        If there is no such layer, or the inputs cannot be read.
    """
    adapted = Model(model)
    if inputs is None:
        raise InputTypeError("a model's layer is read on inputs: pl.project(model, x, at=...)")
    if at is None:
        layers = [name for name, _ in model.named_modules() if name]
        raise InputError(
            f"say which layer to read with at=...; {adapted.name} has "
            + (", ".join(map(repr, layers[:20])) or "no layers")
        )
    adapted.layer(at)
    given = known(inputs, "inputs", inputs)
    batch = read_inputs(given, attribute=None, dtype=adapted.dtype, differentiable=False)
    everything = Kept()
    with Engine(
        adapted,
        batch,
        device=device,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        differentiable=False,
    ) as engine:
        engine.probe()
        engine.expect(batch.samples)
        for block in engine.blocks(None, {}):
            # Of two rows first: an axis of time may be as long as a chunk by chance.
            block.activations(Rows(min(2, block.n)), at, Kept())
            block.activations(Rows(block.n), at, everything)
    return everything.found.reshape(batch.samples, -1)
