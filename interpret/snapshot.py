"""`snapshot`: a model's parameters at one moment, as arrays."""

from __future__ import annotations

from typing import Any

import torch

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Layer, Provenance, Snapshot


def snapshot(model: Any) -> Snapshot:
    """Copy a model's weights and biases, so that they can be drawn without it.

    Parameters
    ----------
    model
        A `torch.nn.Module`; it is not changed.

    Returns
    -------
    Snapshot
        Each layer that holds parameters, with copies of them on the CPU.

    Raises
    ------
    InputTypeError
        If the model is not a module.
    InputError
        If it has no parameters.
    """
    if not isinstance(model, torch.nn.Module):
        raise InputTypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    # Compiled modules name their parts by way of the module beneath.
    module = getattr(model, "_orig_mod", model)
    layers = []
    seen: set[torch.nn.Parameter] = set()
    for name, part in module.named_modules():
        parameters = {}
        for key, parameter in part.named_parameters(recurse=False):
            if parameter in seen or isinstance(parameter, torch.nn.UninitializedParameter):
                continue
            seen.add(parameter)
            copy = parameter.detach().cpu().clone()
            parameters[key] = (copy.float() if copy.dtype == torch.bfloat16 else copy).numpy()
        if parameters:
            layers.append(Layer(name=name, kind=type(part).__name__, parameters=parameters))
    if not layers:
        raise InputError(f"{type(module).__name__} has no parameters to take a snapshot of")
    device = next(iter(seen)).device
    return Snapshot(
        layers=tuple(layers),
        name=type(module).__name__,
        provenance=Provenance(model=type(module).__name__, device=str(device)),
    )
