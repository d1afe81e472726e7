"""What things are called and shown as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.inputs import Inputs
from pellucid.interpret.results.explanation import resolve_groups
from pellucid.interpret.tables import Table

# Each feature without a group gets a mask over all of them.
_ALONE = 4096


class Labels:
    """What things are called and shown as, checked against the inputs."""

    def __init__(
        self,
        batch: Inputs,
        places: Sequence[str],
        feature_names: Sequence[str] | None,
        sample_ids: Sequence[Any] | np.ndarray | None,
        display: Any,
        groups: Any,
        table: Table | None = None,
    ) -> None:
        self.table, self._batch = table, batch
        here = batch.tensors(attributed=True)
        only = next(iter(here.values())) if len(here) == 1 else None
        given = feature_names if feature_names is not None else batch.feature_names
        self.features: tuple[str, ...] | None = None
        if given is not None:
            if isinstance(given, str):
                raise InputError(f"feature_names is the text {given!r}; give a list of names")
            self.features = tuple(map(str, given))
            if list(places) != ["input"]:
                if feature_names is not None:
                    raise InputError(
                        "feature_names name the columns of the input, and the attributions are "
                        f"at {', '.join(places)}; leave them out"
                    )
                self.features = None
            elif only is None or only.ndim != 2:
                raise InputError(
                    "feature_names name the columns of one input of shape (samples, features); "
                    "choose it with attribute=..., or leave them out"
                )
            elif len(self.features) != only.shape[1]:
                raise InputError(
                    f"{len(self.features)} feature names were given for {only.shape[1]} features"
                )
        self.samples = np.arange(batch.samples)
        if sample_ids is not None:
            ids = np.array(sample_ids)
            self.samples = ids.astype(str) if ids.dtype.kind not in "iu" else ids
            if self.samples.shape != (batch.samples,):
                raise InputError(
                    f"sample_ids have shape {self.samples.shape}, but there are {batch.samples} "
                    "samples"
                )
        self.display: np.ndarray | None = None
        if display is not None:
            shown = display.detach().cpu() if isinstance(display, Tensor) else display
            self.display = np.array(shown)  # a copy: what is the caller's may change
            if self.display.ndim == 0 or len(self.display) != batch.samples:
                raise InputError(
                    f"display has shape {self.display.shape}; expected one for each of the "
                    f"{batch.samples} samples"
                )
        self.groups: dict[str, np.ndarray] | None = None
        if groups is not None:
            if only is None or list(places) != ["input"]:
                raise InputError("groups are of one input; choose it with attribute=...")
            masks = resolve_groups(groups, tuple(only.shape[1:]), self.features)
            self.groups = {name: mask.copy() for name, mask in masks.items()}

    def players(self) -> Tensor | None:
        """Return which group each value belongs to; None without groups.

        A feature that is in no group makes one of its own, which is added to `groups`.

        Raises
        ------
        InputError
            If a feature is in two groups, or a group is empty.
        """
        if self.groups is None:
            return None
        (leaf,) = self._batch.tensors(attributed=True).values()
        label = np.full(tuple(leaf.shape[1:]), -1)
        for i, (name, mask) in enumerate(self.groups.items()):
            if not mask.any():
                raise InputError(f"group {name!r} has no features; leave it out")
            if (label[mask] >= 0).any():
                other = list(self.groups)[int(label[mask].max())]
                raise InputError(
                    f"groups {other!r} and {name!r} share features; each may be in one group only"
                )
            label[mask] = i
        alone = np.argwhere(label < 0)
        if len(alone) > _ALONE:
            raise InputError(
                f"{len(alone):,} features are in no group, and each would be one of its own; put "
                "them into groups too, such as one for all the rest"
            )
        for position in map(tuple, alone):
            named = self.features[position[0]] if self.features is not None else None
            place = ", ".join(map(str, position))
            mask = np.zeros(label.shape, dtype=bool)
            mask[position] = True
            label[position] = len(self.groups)
            self.groups[named or f"feature {place}"] = mask
        return torch.from_numpy(label.ravel())

    @property
    def categories(self) -> dict[str, tuple[str, ...]] | None:
        """What the codes of columns that are not of numbers stand for, by the column's name."""
        if self.table is None or not self.table.categories:
            return None
        names = self.features or tuple(map(str, range(max(self.table.categories) + 1)))
        return {names[i]: found for i, found in self.table.categories.items()}

    def shown(self, tensor: Tensor) -> np.ndarray:
        """Return inputs as they are shown: a copy, with NaN where a value is missing."""
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        copied: np.ndarray = tensor.numpy().copy()
        return copied if self.table is None else self.table.shown(copied)
