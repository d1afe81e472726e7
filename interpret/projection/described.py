"""What is known of a map's points besides their features: labels, ids, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.errors import InputError, InputTypeError


def read_labels(
    labels: Any, class_names: Sequence[str] | None, n: int
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Return the class index of each sample, and the classes' names."""
    names = tuple(map(str, class_names)) if class_names is not None else None
    if labels is None:
        return None, names
    given = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if given.shape != (n,):
        raise InputError(f"labels have shape {given.shape}; expected one for each of {n} samples")
    if given.dtype.kind in "iub":
        index = given.astype(np.int64)
        if names is not None and (index.min() < -1 or index.max() >= len(names)):
            raise InputError(
                f"labels go from {index.min()} to {index.max()}, but there are {len(names)} "
                "class names; -1 is for samples without a label"
            )
        return index, names
    if given.dtype.kind == "f":
        raise InputTypeError("labels are classes, integers or names; these are real numbers")
    found, index = np.unique(given.astype(str), return_inverse=True)
    names = names or tuple(found.tolist())
    unknown = sorted(set(found.tolist()) - set(names))
    if unknown:
        raise InputError(f"labels name {unknown[0]!r}, which is not among the class names")
    return np.array([names.index(label) for label in found.tolist()])[index], names


def read_ids(sample_ids: Sequence[Any] | np.ndarray | None, n: int) -> np.ndarray:
    """Return an id for each sample: its position, if none are given."""
    if sample_ids is None:
        return np.arange(n)
    ids = np.array(sample_ids)  # a copy: what is the caller's may change
    if ids.shape != (n,):
        raise InputError(f"sample_ids have shape {ids.shape}; expected one for each of {n} samples")
    return ids if ids.dtype.kind in "iu" else ids.astype(str)


def read_pictures(display: Any, n: int) -> np.ndarray | None:
    """Return pictures as (samples, rows, columns) or (samples, rows, columns, 3)."""
    if display is None:
        return None
    pictures = np.array(display.detach().cpu() if isinstance(display, Tensor) else display)
    if pictures.ndim == 4 and pictures.shape[1] in (1, 3) and pictures.shape[3] not in (1, 3):
        pictures = pictures.transpose(0, 2, 3, 1)
    if pictures.ndim == 4 and pictures.shape[3] == 1:
        pictures = pictures[..., 0]
    if len(pictures) != n or pictures.ndim not in (3, 4) or pictures.shape[3:] not in ((), (3,)):
        raise InputError(
            f"display has shape {np.shape(display)}; expected pictures of {n} samples, such as "
            f"({n}, rows, columns)"
        )
    return pictures
