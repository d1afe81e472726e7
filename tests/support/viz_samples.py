"""Small realistic results, made by hand."""

from dataclasses import replace

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


def make_map(values, size=(56, 56), **changes):
    """A class activation map at a layer: coarser than the picture, and without a sign."""
    values = np.abs(np.asarray(values, dtype=np.float32))
    n = len(values)
    ramp = np.linspace(0, 1, size[0] * size[1]).reshape(1, 1, *size)
    given = {
        "inputs": np.broadcast_to(ramp, (n, 1, *size)).astype(np.float32),
        "method": "grad_cam",
        "baseline_prediction": None,
        "error": None,
        "at": "layer4",
        "axes": ("sample", "row", "column"),
        "settings": {"nonnegative": True},
    }
    return make_images(values, **{**given, **changes})


def make_places(values, **changes):
    """An explanation of the same pictures at several layers; values are by place."""
    values = {place: np.asarray(array, dtype=np.float32) for place, array in values.items()}
    n = len(next(iter(values.values())))
    axes = {
        2: ("sample", "feature"),
        3: ("sample", "row", "column"),
        4: ("sample", "channel", "row", "column"),
    }
    given = {
        "values": values,
        "method": "integrated_gradients",
        "inputs": np.linspace(0, 1, n * 256, dtype=np.float32).reshape(n, 1, 16, 16),
        "target": np.zeros(n, dtype=int),
        "prediction": np.ones(n),
        "baseline_prediction": {place: np.zeros(n) for place in values},
        "error": {place: np.full(n, 0.01) for place in values},
        "residual": {place: np.full(n, 0.001) for place in values},
        "at": tuple(values),
        "axes": {place: axes[array.ndim] for place, array in values.items()},
        "units": "logit",
        "settings": {"baseline": "black"},
    }
    return Explanation(**{**given, **changes})


def make_targets(values, **changes):
    """An explanation for several targets, which all samples share; the target axis is second."""
    values = np.asarray(values, dtype=np.float32)
    n, targets = values.shape[:2]
    axes = {
        3: ("sample", "target", "feature"),
        5: ("sample", "target", "channel", "row", "column"),
    }
    given = {
        "values": values,
        "method": "integrated_gradients",
        "inputs": np.abs(values[:, 0]),
        "target": np.arange(targets),
        "prediction": np.arange(n * targets, dtype=float).reshape(n, targets),
        "baseline_prediction": np.zeros((n, targets)),
        "error": np.full((n, targets), 0.01),
        "residual": np.full((n, targets), 0.001),
        "class_names": tuple(f"class {i}" for i in range(targets)),
        "axes": axes[values.ndim],
        "units": "logit",
    }
    return Explanation(**{**given, **changes})


def make_text(tokens, values=None, **changes):
    """An explanation of texts, given as lists of tokens; shorter ones are padded."""
    longest = max(map(len, tokens))
    padded = np.array([[*text, *[""] * (longest - len(text))] for text in tokens], dtype=str)
    if values is None:
        values = np.sin(np.arange(padded.size) * 1.7).reshape(padded.shape) * (padded != "")
    n = len(padded)
    given = {
        "values": np.asarray(values, dtype=np.float32),
        "method": "integrated_gradients",
        "target": np.ones(n, dtype=int),
        "prediction": np.full(n, 2.5),
        "baseline_prediction": np.full(n, 0.1),
        "error": np.full(n, 0.004),
        "residual": np.full(n, 0.002),
        "class_names": ("negative", "positive"),
        "axes": ("sample", "token"),
        "tokens": padded,
        "units": "logit",
        "settings": {"baseline": "padding", "tolerance": 0.01},
    }
    return Explanation(**{**given, **changes})


def make_generation(tokens, outputs, values=None, **changes):
    """An explanation of generated tokens: prompt and output in columns, the output in rows.

    No output token rests on itself or on what comes after it: those values are NaN.
    """
    columns = [*tokens, *outputs]
    if values is None:
        values = np.cos(np.arange(len(outputs) * len(columns)) * 0.9)
        values = values.reshape(1, len(outputs), len(columns))
        for row in range(len(outputs)):
            values[0, row, len(tokens) + row :] = np.nan
    given = {
        "target": np.arange(len(outputs)),
        "target_names": np.array([outputs], dtype=str),
        "prediction": np.linspace(-3, 0, len(outputs))[None],
        "baseline_prediction": None,
        "error": None,
        "residual": None,
        "method": "input_x_gradient",
        "class_names": None,
        "axes": ("sample", "target", "token"),
        "units": "log probability",
        "settings": {},
    }
    return make_text([columns], values, **{**given, **changes})


def make_path(nodes, **changes):
    """An explanation of one row, with the nodes of its path in no order; the second is shorter."""
    rng = np.random.default_rng(0)
    step = np.stack([rng.permutation(np.linspace(0.01, 0.99, nodes)) for _ in range(2)])
    score = 0.25 + 3 / (1 + np.exp(-20 * (step - 0.4)))
    norm = 60 * np.exp(-20 * np.abs(step - 0.4))
    for array in (step, score, norm):
        array[1, nodes // 2 + 1 :] = np.nan
    return make_table(
        rng.normal(size=(2, 4)), path={"step": step, "score": score, "norm": norm}, **changes
    )


def make_many(n=30, **changes):
    """A sampled explanation of many rows: numbers, a category, missing values and a constant."""
    rng = np.random.default_rng(4)
    city = rng.integers(0, 3, n)
    age = rng.uniform(18, 80, n)
    income = np.where(np.arange(n) % 7 == 0, np.nan, rng.normal(50, 15, n))
    values = np.stack(
        [
            (age - 49) / 30 * np.where(city == 1, 1, -1),
            np.where(city == 1, 1.5, -0.5) + 0.01 * rng.normal(size=n),
            np.nan_to_num(income - 50, nan=-30) / 40,
            0.02 * rng.normal(size=n),
        ],
        axis=1,
    )
    names = ("age", "<b>city</b>", "income", "constant")
    given = {
        "method": "shapley",
        "inputs": np.stack([age, city, income, np.ones(n)], axis=1),
        "feature_names": names,
        "categories": {"<b>city</b>": ("Ulm", "<i>Bern</i>", "Rom")},
        "standard_error": np.full(values.shape, 0.05),
        "settings": {"baseline": "each of 40 samples of the background"},
    }
    return make_table(values, **{**given, **changes})


def make_interactions(n=3, features=5, **changes):
    """An explanation of every two features: symmetric, and so that all of it adds up."""
    rng = np.random.default_rng(5)
    whole = rng.normal(size=(n, features, features)) / 10
    whole = whole + whole.transpose(0, 2, 1) + np.eye(features)
    given = {
        "values": whole.astype(np.float32),
        "method": "shapley_interactions",
        "prediction": 0.25 + whole.sum(axis=(1, 2)),
        "residual": np.zeros(n),
        "axes": ("sample", "feature", "with"),
    }
    return replace(make_table(np.zeros((n, features))), **{**given, **changes})


def make_regions(values, **changes):
    """An explanation of the quarters of pictures of two channels, 4 x 6."""
    values = np.asarray(values, dtype=np.float32)
    label = np.kron(np.arange(4).reshape(2, 2), np.ones((2, 3), dtype=int))
    masks = {f"quarter {i}": np.broadcast_to(label == i, (2, 4, 6)) for i in range(4)}
    n = len(values)
    given = {
        "inputs": np.linspace(0, 1, n * 48).reshape(n, 2, 4, 6),
        "method": "shapley",
        "axes": ("sample", "group"),
        "groups": masks,
        "settings": {"baseline": "zero"},
    }
    made = make_table(values, feature_names=None)
    return replace(made, **{**given, **changes})
