"""What a few fixed samples give, while a model is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.training.recording.activations import _first


class Watch:
    """Runs a model on the same samples again and again, and leaves no trace in it.

    Parameters
    ----------
    model
        The model beneath any wrapper.
    inputs
        A tensor or array whose first axis is the samples, several of them in a tuple or list, or
        by name in a mapping.
    layers
        Whose outputs are kept besides the predictions.
    sample_ids
        One for each sample, or None.

    Raises
    ------
    InputTypeError
        If the inputs are something else.
    InputError
        If there are no samples, a layer is not there, or the ids do not fit.
    ModelError
        If the model cannot do its work with them.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        layers: Sequence[str] = (),
        sample_ids: Sequence[Any] | np.ndarray | None = None,
    ) -> None:
        self._model = model
        self._positional: tuple[Any, ...] = ()
        self._named: dict[str, Any] = {}
        if isinstance(inputs, Mapping):
            self._named = {str(name): _tensor(one) for name, one in inputs.items()}
        elif isinstance(inputs, (tuple, list)):
            self._positional = tuple(_tensor(one) for one in inputs)
        else:
            self._positional = (_tensor(inputs),)
        sizes = {len(one) for one in (*self._positional, *self._named.values())}
        if len(sizes) != 1 or 0 in sizes:
            raise InputError(
                "watch needs at least one sample, and as many in each input; got "
                + (f"inputs with {sorted(sizes)} samples" if sizes else "no input")
            )
        (self._samples,) = sizes
        modules = dict(model.named_modules())
        missing = [name for name in layers if name not in modules]
        if missing:
            raise InputError(f"watch_layers names {missing[0]!r}, which is no layer of the model")
        self._layers = {name: modules[name] for name in layers}
        if sample_ids is not None and len(sample_ids) != self._samples:
            raise InputError(f"{len(sample_ids)} sample_ids for {self._samples} watched samples")
        self.sample_ids = None if sample_ids is None else np.asarray(sample_ids).tolist()
        try:
            found = self.look()
        except Exception as error:
            raise ModelError(
                f"the model cannot be run on the samples to watch: {type(error).__name__}: {error}"
            ) from error
        for name, values in found.items():
            if values.ndim == 0 or len(values) != self._samples:
                raise ModelError(
                    f"{name} of the {self._samples} watched samples has the shape "
                    f"{tuple(values.shape)}; its first axis must be the samples"
                )
        absent = [name for name in self._layers if name not in found]
        if absent:
            raise ModelError(f"the layer {absent[0]!r} puts out nothing for the watched samples")

    def look(self) -> dict[str, Tensor]:
        """Return the predictions, and what the chosen layers put out, on the model's device."""
        device = next((tensor.device for tensor in self._model.parameters()), torch.device("cpu"))
        found: dict[str, Tensor] = {}
        handles = []

        def keep(name: str) -> Any:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                tensor = _first(output)
                if tensor is not None and name not in found:
                    found[name] = tensor.detach().clone()  # it may be written over behind

            return hook

        with _untouched(self._model, device), torch.no_grad():
            try:
                handles += [
                    layer.register_forward_hook(keep(name)) for name, layer in self._layers.items()
                ]
                output = self._model(
                    *(one.to(device) for one in self._positional),
                    **{name: one.to(device) for name, one in self._named.items()},
                )
            finally:
                for handle in handles:
                    handle.remove()
        prediction = _first(output)
        if prediction is None:
            raise ModelError(f"it puts out a {type(output).__name__} that holds no numbers")
        return {"prediction": prediction, **found}


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.ascontiguousarray(value))
    raise InputTypeError(f"watch takes tensors or arrays of numbers, not {type(value).__name__}")


@contextlib.contextmanager
def _untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Hold a model in evaluation mode, and put back all that a forward pass may change."""
    training = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module, flag in training.items():
                module.training = flag
            with torch.no_grad():
                for buffer, version, before in buffers:
                    if buffer._version != version:
                        buffer.copy_(before)
