"""`project`: a map of the samples, and how far to trust it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.engine import Engine, usable_device
from pellucid.interpret.inputs import check_finite, is_real, is_whole, read_inputs
from pellucid.interpret.models import Model
from pellucid.interpret.points import Kept, Rows
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.quality import neighbourhoods
from pellucid.interpret.results import Projection, Provenance

_METHODS = ("pca", "umap")


def project(
    features_or_model: Any,
    inputs: Any = None,
    *,
    method: str = "auto",
    at: str | None = None,
    dimensions: int = 2,
    neighbors: int = 15,
    min_dist: float = 0.1,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    sample_ids: Sequence[Any] | np.ndarray | None = None,
    display: Any = None,
    device: Any = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    progress: bool | None = None,
) -> Projection:
    """Draw samples as points on a map, and measure how faithful the map is.

    Parameters
    ----------
    features_or_model
        Features, shape (samples, ...), flattened; or a `torch.nn.Module`, whose layer `at` is read
        while it sees `inputs`.
    inputs
        What the model sees; None where features are given.
    method
        ``"umap"`` (neighbourhoods; through umap-learn), ``"pca"`` (directions of largest variance),
        or ``"auto"``: UMAP, but PCA for fewer than 50 samples.
    at
        The layer to read, by its path in the model.
    dimensions
        2 or 3.
    neighbors
        How many nearest neighbours UMAP looks at, and the measures of trust.
    min_dist
        How near UMAP may put points to each other.
    labels
        The class of each sample: indices or names. It colours the map; it does not shape it.
    class_names, sample_ids
        Names for the classes and the samples.
    display
        A picture of each sample, shape (samples, rows, columns[, 3]) or (samples, 1 or 3, rows,
        columns).
    device, batch_size, seed, progress
        As for `pellucid.explain`.

    Returns
    -------
    Projection
        Coordinates, with the preserved neighbourhood and the trustworthiness of each point.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with: an unknown layer, NaN, fewer samples than neighbours.
    """
    if method not in ("auto", *_METHODS):
        raise InputError(f"method={method!r} is not known; use 'auto', 'pca' or 'umap'")
    if dimensions not in (2, 3):
        raise InputError(f"dimensions={dimensions!r}; a map has 2 or 3")
    if not is_whole(neighbors) or neighbors < 2:
        raise InputError(f"neighbors={neighbors!r}; give a whole number from 2")
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r}; give a whole number from 0 to 2**32 - 1")
    if not is_real(min_dist) or not 0 <= min_dist <= 1:
        raise InputError(f"min_dist={min_dist!r}; give a number from 0 to 1")
    name, where = "features", "input"
    if isinstance(features_or_model, torch.nn.Module):
        features, name = _read(features_or_model, inputs, at, device, batch_size, seed, progress)
        where = str(at)
    else:
        if inputs is not None or at is not None:
            raise InputTypeError(
                f"the first argument is a {type(features_or_model).__name__}, taken as features; "
                "inputs and at go with a torch.nn.Module"
            )
        batch = read_inputs(features_or_model, attribute=None, dtype=None, differentiable=False)
        found = list(batch.tensors().values())
        if len(found) != 1:
            raise InputTypeError(f"features are one array, not {len(found)}")
        features = found[0].reshape(batch.samples, -1)
        if not isinstance(device, str) or device != "auto":
            features = features.to(usable_device(device))
    n = len(features)
    if n < 4:
        raise InputError(
            f"a map of {n} {'sample' if n == 1 else 'samples'} says nothing; give at least 4"
        )
    chosen = ("umap" if n >= 50 else "pca") if method == "auto" else method
    if chosen == "umap" and n <= neighbors:
        raise InputError(
            f"UMAP with neighbors={neighbors} needs more than {neighbors} samples, got {n}; give "
            "fewer neighbors, or method='pca'"
        )
    check_finite(features, f"the features at {where}")
    if bool((features == features[0]).all()):
        raise InputError(f"the features at {where} are the same for all samples: there is no map")
    share: np.ndarray | None = None
    settings: dict[str, Any] = {"method": "auto" if method == "auto" else chosen}
    if chosen == "pca":
        if features.shape[1] < dimensions:
            raise InputError(f"{features.shape[1]} feature gives no map of {dimensions} dimensions")
        found_map, ratio = pca(features, dimensions)
        coordinates, share = found_map.float(), ratio.cpu().numpy()
    else:
        coordinates = _umap(features.float(), dimensions, int(neighbors), min_dist, int(seed))
        settings |= {"neighbors": neighbors, "min_dist": min_dist, "backend": "umap-learn"}
    # The measures are defined for fewer neighbours than half of the samples.
    compared = min(neighbors, (n - 1) // 2)
    preservation, trust = neighbourhoods(features, coordinates.to(features.device), compared)
    index, names = _labels(labels, class_names, n)
    return Projection(
        coordinates=coordinates.cpu().numpy().astype(np.float32),
        method=chosen,
        neighbors=compared,
        preservation=preservation.cpu().numpy(),
        trustworthiness=trust.cpu().numpy(),
        features=features.shape[1],
        explained_variance_ratio=share,
        labels=index,
        class_names=names,
        sample_ids=_ids(sample_ids, n),
        display=_pictures(display, n),
        at=where,
        settings=settings,
        provenance=Provenance(
            model=name, device=str(features.device), seed=seed if chosen == "umap" else None
        ),
    )


def _read(
    model: torch.nn.Module,
    inputs: Any,
    at: str | None,
    device: Any,
    batch_size: Any,
    seed: int,
    progress: bool | None,
) -> tuple[Tensor, str]:
    """Return what a layer puts out for every sample, and the model's name."""
    adapted = Model(model)
    if inputs is None:
        raise InputTypeError("a model's layer is read on inputs: pl.project(model, x, at=...)")
    if at is None:
        layers = [name for name, _ in model.named_modules() if name]
        raise InputError(
            f"say which layer to read with at=...; {adapted.name} has "
            + (", ".join(map(repr, layers[:20])) or "no layers")
        )
    adapted.layer(at)
    batch = read_inputs(inputs, attribute=None, dtype=adapted.dtype, differentiable=False)
    everything = Kept()
    with Engine(
        adapted,
        batch,
        device=device,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        differentiable=False,
    ) as engine:
        engine.probe()
        engine.expect(batch.samples)
        for block in engine.blocks(None, {}):
            # Of two rows first: an axis of time may be as long as a chunk by chance.
            block.activations(Rows(min(2, block.n)), at, Kept())
            block.activations(Rows(block.n), at, everything)
    return everything.found, adapted.name


def _umap(features: Tensor, dimensions: int, neighbors: int, min_dist: float, seed: int) -> Tensor:
    with warnings.catch_warnings():
        # That a seed means one thread is what we want, and TensorFlow is not missed.
        warnings.filterwarnings("ignore", message="n_jobs value .* overridden")
        warnings.filterwarnings("ignore", message="Tensorflow not installed")
        import umap

        reducer = umap.UMAP(
            n_components=dimensions,
            n_neighbors=neighbors,
            min_dist=min_dist,
            random_state=seed,
            n_jobs=1,
        )
        coordinates = reducer.fit_transform(features.cpu().numpy())
    return torch.from_numpy(np.asarray(coordinates, dtype=np.float32))


def _labels(
    labels: Any, class_names: Sequence[str] | None, n: int
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    names = tuple(map(str, class_names)) if class_names is not None else None
    if labels is None:
        return None, names
    given = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if given.shape != (n,):
        raise InputError(f"labels have shape {given.shape}; expected one for each of {n} samples")
    if given.dtype.kind in "iub":
        index = given.astype(np.int64)
        if names is not None and (index.min() < 0 or index.max() >= len(names)):
            raise InputError(
                f"labels go from {index.min()} to {index.max()}, but there are {len(names)} "
                "class names"
            )
        return index, names
    if given.dtype.kind == "f":
        raise InputTypeError("labels are classes, integers or names; these are real numbers")
    found = tuple(sorted(set(given.astype(str).tolist())))
    names = names or found
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise InputError(f"labels name {unknown[0]!r}, which is not among the class names")
    return np.array([names.index(label) for label in given.astype(str)]), names


def _ids(sample_ids: Sequence[Any] | np.ndarray | None, n: int) -> np.ndarray:
    if sample_ids is None:
        return np.arange(n)
    ids = np.array(sample_ids)  # a copy: what is the caller's may change
    if ids.shape != (n,):
        raise InputError(f"sample_ids have shape {ids.shape}; expected one for each of {n} samples")
    return ids if ids.dtype.kind in "iu" else ids.astype(str)


def _pictures(display: Any, n: int) -> np.ndarray | None:
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
