"""Backgrounds: samples of the data that rows are compared with, one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.baselines import background_of
from pellucid.interpret.inputs import Inputs, label
from pellucid.interpret.tensors import wide_tensor


def read_background(background: Any, inputs: Inputs, device: torch.device) -> tuple[Tensor, ...]:
    """Return the samples of a background, one tensor for each attributed input.

    Parameters
    ----------
    background
        Samples in the structure of the inputs.
    inputs
        The inputs.
    device
        Where to put them.

    Returns
    -------
    tuple of torch.Tensor
        (samples, ...), float32 or wider.

    Raises
    ------
    InputError
        If a part is missing, of another shape, empty or not finite, or of another length.
    InputTypeError
        If an attributed input is an index: there is no path between two tokens' numbers.
    """
    found = []
    for path, leaf in inputs.tensors(attributed=True).items():
        if not leaf.is_floating_point():
            raise InputTypeError(
                f"{label(path)} holds indices, and a background is of numbers: compare tokens with "
                "a baseline instead, method='integrated_gradients'"
            )
        found.append(background_of(background, path, leaf, inputs).to(leaf.dtype).to(device))
    lengths = {len(part) for part in found}
    if len(lengths) > 1:
        raise InputError(
            f"the background's parts have {' and '.join(map(str, sorted(lengths)))} samples; give "
            "as many for each input"
        )
    return tuple(map(wide_tensor, found))
