"""What a snapshot's layers put out, and what its inputs look like: arrays with their axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Snapshot
from pellucid.interpret.results.trees import leaves
from pellucid.viz.attributions import pictures
from pellucid.viz.pixels import to_bytes
from pellucid.viz.theme import shorten

_PICTURE = 3  # channels of a picture in colour


def kinds(snapshot: Snapshot) -> dict[str, str]:
    """Return the class of each layer, by its name."""
    found = {layer.name: layer.kind for layer in snapshot.layers}
    return found | {node.name: node.kind for node in snapshot.nodes}


def said(snapshot: Snapshot, layer: str) -> str:
    """Return a layer's name and class as a title has them; not yet escaped."""
    kind = kinds(snapshot).get(layer, "")
    name = shorten(layer or snapshot.name, 40)
    return f"{name} ({shorten(kind, 24)})" if kind else name


def activation(snapshot: Snapshot, layer: str) -> np.ndarray:
    """Return what a layer put out.

    Raises
    ------
    InputError
        If nothing is known of it.
    """
    known = snapshot.activations
    if not known:
        raise InputError(
            "the snapshot holds no activations: take it with some inputs, "
            "pl.snapshot(model, inputs)"
        )
    if layer not in known:
        names = [repr(name) for name in known]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        raise InputError(
            f"there are no activations of a layer {layer!r}; there are those of "
            f"{', '.join(names[:12])}{more}"
        )
    return np.asarray(known[layer])


def zero(magnitude: bool) -> str:
    """Return what a colour bar says of zero, where nothing is below it; empty elsewhere."""
    return "0: not active" if magnitude else ""


def check_sample(sample: Any, count: int) -> int:
    """Return the position of a sample, from 0.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    whole = isinstance(sample, (int, np.integer)) and not isinstance(sample, bool)
    if not whole or not -count <= sample < count:
        raise InputError(
            f"sample is a position from 0 to {count - 1}, of those whose activations the snapshot "
            f"holds; got {sample!r}"
        )
    return int(sample) % count


def channels_last(snapshot: Snapshot) -> bool:
    """Whether maps have their channels behind rows and columns, as those of Keras do.

    The convolutions tell: what they put out has as many channels as they have filters. Where there
    are none, the inputs do.
    """
    votes = [0, 0]
    for layer in snapshot.layers:
        weight, found = layer.parameters.get("weight"), snapshot.activations.get(layer.name)
        if weight is None or found is None or not weight.ndim == found.ndim == 4:
            continue
        votes[0] += found.shape[1] in weight.shape[:2]
        votes[1] += found.shape[3] in weight.shape[:2]
    if votes[0] != votes[1]:
        return votes[1] > votes[0]
    first = _first_input(snapshot)
    return first is not None and first.ndim == 4 and pictures.channels(first.shape) == 3


def maps_of(found: np.ndarray, last: bool) -> np.ndarray:
    """Return the maps of samples as (sample, channel, row, column).

    Of volumes the slice in the middle is taken.
    """
    ordered = np.moveaxis(found, -1, 1) if last else found
    return ordered if ordered.ndim == 4 else ordered[:, :, ordered.shape[2] // 2]


def _first_input(snapshot: Snapshot) -> np.ndarray | None:
    for _, leaf in leaves(snapshot.inputs):
        if isinstance(leaf, np.ndarray) and leaf.ndim:
            return leaf
    return None


def picture(snapshot: Snapshot, sample: int) -> tuple[np.ndarray | None, str]:
    """Return a sample's input as uint8, (row, column[, 3]), and a note; None if it is no picture.

    All samples share one range of brightness.
    """
    found = _first_input(snapshot)
    if found is None or found.ndim not in (3, 4) or found.dtype.kind not in "fu":
        return None, ""
    if found.ndim == 4:
        found = np.moveaxis(found, pictures.channels(found.shape), -1)
        if found.shape[-1] not in (1, _PICTURE):
            return None, ""
        found = found[..., 0] if found.shape[-1] == 1 else found
    elif min(found.shape[1:]) < 8:  # a sequence of few features, not a picture
        return None, ""
    pixels, rescaled = to_bytes(found)
    note = f"the input's brightness is rescaled from {rescaled}" if rescaled else ""
    return pixels[sample], note
