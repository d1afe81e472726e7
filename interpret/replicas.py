"""Several devices of one machine: a copy of the model on each, and the rows split among them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pellucid.errors import InputError
from pellucid.interpret.models import Model


def replicas(model: Model, device: Any) -> Iterator[tuple[bool, Model, Any]]:
    """Yield, for each device, whether it is the first, the model there, and the device.

    Parameters
    ----------
    model
        The model; it is never moved. The first device that is its own works with it, every other
        with a copy.
    device
        One device, or a list of them.

    Raises
    ------
    InputError
        If the list is empty, or the model is one that cannot be copied.
    """
    if not isinstance(device, (list, tuple)):
        yield True, model, device
        return
    # Imported here: the engine, which knows devices, works with one model.
    from pellucid.interpret.engine import usable_device

    if not device:
        raise InputError("device is an empty list; name a device, or several: ['cuda:0', 'cuda:1']")
    own = False
    for i, one in enumerate(device):
        place = usable_device(one)
        here = model.device
        if not own and (here is None or here == place):
            own = True
            yield i == 0, model, "auto" if here is not None else place
            continue
        if model.module is None:
            raise InputError(
                f"{model.name} is a function, of which no copy can be put on {place}; give the "
                "torch.nn.Module, or one device"
            )
        try:
            copied = copy.deepcopy(model.module).to(place)
        except Exception as error:
            raise InputError(
                f"{model.name} cannot be copied to {place}: {type(error).__name__}: {error}"
            ) from error
        yield i == 0, Model(copied), "auto"
