"""Which samples of a map are a cluster: chosen, labelled, or found."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.projection.space import Space, exact

Chosen = list[tuple[str, np.ndarray]]  # each cluster's name and its members' positions

_SEEN = 20_000  # samples that HDBSCAN looks at
_FEWEST = 3  # members of a selection
_MOST = 100  # clusters


def selection(select: Any, ids: np.ndarray) -> Chosen:
    """Return the one cluster that is a selection."""
    given = np.asarray(select)
    n = len(ids)
    if given.size == 0:
        raise InputError("the selection is empty; give the ids or a mask of some samples")
    if given.dtype == bool:
        if given.shape != (n,):
            raise InputError(f"the mask has shape {given.shape}, but the map has {n} samples")
        members = np.flatnonzero(given)
    elif given.ndim != 1 or given.dtype.kind not in "iuUO":
        raise InputTypeError(
            "samples are selected by a mask, by their ids, or by their positions, not by an array "
            f"of {given.dtype} of shape {given.shape}"
        )
    elif given.dtype.kind in "iu" and ids.dtype.kind not in "iu":
        outside = given[(given < 0) | (given >= n)]
        if outside.size:
            raise InputError(f"there is no sample {outside[0]}: the map has {n}")
        members = np.unique(given)
    else:
        members = _by_ids(given, ids)
    if len(members) < _FEWEST:
        raise InputError(
            f"{len(members)} selected {'sample is' if len(members) == 1 else 'samples are'} no "
            f"cluster; select at least {_FEWEST}"
        )
    if n - len(members) < 2:
        raise InputError(
            f"{len(members)} of {n} samples are selected, which leaves no rest to compare with"
        )
    return [("selection", members)]


def _by_ids(given: np.ndarray, ids: np.ndarray) -> np.ndarray:
    wanted = given if ids.dtype.kind in "iu" and given.dtype.kind in "iu" else given.astype(str)
    have = ids if wanted.dtype.kind in "iu" else ids.astype(str)
    unknown = np.setdiff1d(wanted, have)
    if unknown.size:
        raise InputError(f"there is no sample with the id {unknown.tolist()[0]!r} on the map")
    return np.flatnonzero(np.isin(have, wanted))


def by_labels(labels: Any, n: int) -> Chosen:
    """Return the clusters that labels name; negative ones name none."""
    given = np.asarray(labels)
    if given.shape != (n,):
        raise InputError(f"labels have shape {given.shape}; expected one for each of {n} samples")
    if given.dtype.kind not in "biuUO":
        raise InputTypeError(
            f"labels are whole numbers or names, one for each sample, not {given.dtype}"
        )
    if given.dtype == object:
        given = given.astype(str)
    found = [value for value in np.unique(given) if given.dtype.kind != "i" or value >= 0]
    if not found:
        raise InputError("all labels are negative: no sample belongs to a cluster")
    return _checked([(str(value), np.flatnonzero(given == value)) for value in found], n, "labels")


def by_hdbscan(places: np.ndarray, min_size: int | None) -> Chosen:
    """Return the clusters that HDBSCAN finds on a map, the largest first."""
    from sklearn.cluster import HDBSCAN

    n = len(places)
    size = max(20, n // 100) if min_size is None else min_size
    if n < 2 * size:
        raise InputError(
            f"{n} samples do not make two clusters of {size}; give a smaller min_size, or select"
        )
    seen = np.arange(n) if n <= _SEEN else np.random.default_rng(0).permutation(n)[:_SEEN]
    least = max(5, round(size * len(seen) / n))
    found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(places[seen].astype(np.float64))
    label = found
    if len(seen) < n:
        space = Space(torch.from_numpy(places[seen]))
        near = exact(space, space.prepare(torch.from_numpy(places)), 1).indices[:, 0].numpy()
        label = found[near]
    parts = [np.flatnonzero(label == k) for k in range(found.max() + 1)]
    parts = sorted((part for part in parts if len(part)), key=len, reverse=True)
    if not parts:
        raise InputError(
            f"HDBSCAN finds no clusters of {size} samples on this map; give a smaller min_size, "
            "or choose samples with select"
        )
    return _checked([(str(k + 1), part) for k, part in enumerate(parts)], n, "HDBSCAN")


def _checked(chosen: Chosen, n: int, source: str) -> Chosen:
    if len(chosen) > _MOST:
        raise InputError(
            f"{source}: {len(chosen)} clusters are more than {_MOST}; give fewer, such as with a "
            "larger min_size"
        )
    for name, members in chosen:
        if n - len(members) < 2:
            raise InputError(
                f"{source}: cluster {name!r} holds {len(members)} of {n} samples, which leaves no "
                "rest to compare with; give other clusters, or choose samples with select"
            )
    return chosen
