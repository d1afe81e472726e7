"""What a figure holds, for tests of it."""

import numpy as np

_NOT_DRAWN = {"meta", "customdata", "template", "source", "bdata"}


def caption(figure):
    return figure.layout.meta["caption"]["text"]


def texts(value):
    """Every string of a figure that a browser would draw as a label."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in _NOT_DRAWN:
                yield from texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from texts(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        yield from texts(value.tolist())


def lists_of_numbers(value, path=""):
    """The paths of long lists of numbers: what should have been typed arrays."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from lists_of_numbers(part, f"{path}.{key}")
    elif isinstance(value, list):
        if len(value) > 50 and isinstance(value[0], (int, float, list)):
            yield path
        for k, part in enumerate(value[:100]):
            yield from lists_of_numbers(part, f"{path}[{k}]")
