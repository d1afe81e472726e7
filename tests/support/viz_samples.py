"""Small realistic results, made by hand."""

import numpy as np

from pellucid.interpret.results import Explanation, Projection, Provenance

EVIL = "<img src=x onerror=alert(1)>"
MATH = "$x$"
FILL = "%{evil}"


def make_table(values, **changes):
    """An explanation of rows of a table by a complete method."""
    values = np.asarray(values, dtype=np.float32)
    n, features = values.shape
    start = np.full(n, 0.25)
    end = start + values.sum(axis=1, dtype=np.float64) + 0.05
    given = {
        "values": values,
        "method": "integrated gradients",
        "inputs": np.arange(n * features, dtype=np.float64).reshape(n, features),
        "target": np.full(n, 1),
        "prediction": end,
        "baseline_prediction": start,
        "error": np.full(n, 0.012),
        "residual": end - start - values.sum(axis=1, dtype=np.float64),
        "feature_names": tuple(f"feature {i}" for i in range(features)),
        "class_names": ("no", "yes"),
        "sample_ids": np.array([f"id-{i}" for i in range(n)]),
        "axes": ("sample", "feature"),
        "units": "logit",
        "settings": {"baseline": "zeros", "tolerance": 0.02},
        "provenance": Provenance(model="Net", seed=3),
    }
    return Explanation(**{**given, **changes})


def make_images(values, **changes):
    """An explanation of pictures by a complete method."""
    values = np.asarray(values, dtype=np.float32)
    n = len(values)
    with np.errstate(invalid="ignore"):
        brightness = np.clip(np.nan_to_num(np.abs(values)), 0, 1)
    axes = ("sample", "channel", "row", "column")
    given = {
        "values": values,
        "method": "integrated gradients",
        "inputs": brightness,
        "target": np.zeros(n, dtype=int),
        "prediction": np.ones(n),
        "baseline_prediction": np.zeros(n),
        "error": np.full(n, 0.01),
        "axes": axes if values.ndim == 4 else ("sample", "row", "column"),
        "units": "logit",
        "settings": {"baseline": "black", "tolerance": 0.02},
    }
    return Explanation(**{**given, **changes})


def make_projection(n, rng, **changes):
    given = {
        "coordinates": rng.normal(size=(n, 2)).astype(np.float32),
        "method": "umap",
        "neighbors": 15,
        "preservation": rng.random(n),
        "trustworthiness": 0.8 + 0.2 * rng.random(n),
        "features": 64,
    }
    return Projection(**{**given, **changes})
