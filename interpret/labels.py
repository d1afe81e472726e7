"""What things are called and shown as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.inputs import Inputs
from pellucid.interpret.results.explanation import resolve_groups


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
    ) -> None:
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
