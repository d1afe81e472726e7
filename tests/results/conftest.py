"""One example of every result, small enough to read."""

import numpy as np
import pytest

from pellucid.interpret.results import (
    Cost,
    Explanation,
    Importance,
    Layer,
    Projection,
    Provenance,
    Run,
    Snapshot,
)


def explanation(n=4, **changes):
    """A table of three features explained, with everything that a quadrature says."""
    rng = np.random.default_rng(0)
    fields = {
        "values": rng.normal(size=(n, 3)).astype(np.float32),
        "method": "integrated_gradients",
        "inputs": rng.normal(size=(n, 3)).astype(np.float32),
        "baseline": np.zeros((1, 3), np.float32),
        "target": np.arange(n) % 2,
        "prediction": rng.normal(size=n),
        "baseline_prediction": rng.normal(size=n),
        "error": np.full(n, 1e-3),
        "residual": rng.normal(size=n) * 1e-4,
        "cost": Cost(forward=10, backward=8, seconds=0.5),
        "feature_names": ("age", "größe", "<b>sex</b>"),
        "class_names": ("no", "yes"),
        "sample_ids": np.array([f"id-{i}" for i in range(n)]),
        "axes": ("sample", "feature"),
        "units": "logit",
        "groups": {"body": np.array([True, True, False])},
        "settings": {"tolerance": 1e-2, "baseline": "zeros", "limits": (float("-inf"), 3, None)},
        "provenance": Provenance(model="MLP", seed=3),
    }
    return Explanation(**{**fields, **changes})


def several_inputs(n=4):
    """A picture and a table explained together, beside a mask that was carried along."""
    rng = np.random.default_rng(1)
    return Explanation(
        values={"image": rng.normal(size=(n, 1, 2, 2)), "tables": (rng.normal(size=(n, 3)), None)},
        inputs={"image": rng.normal(size=(n, 1, 2, 2)), "tables": (rng.normal(size=(n, 3)), None)},
        baseline={"image": np.zeros((1, 1, 2, 2)), "tables": (np.zeros((n, 3)), None)},
        axes={
            "image": ("sample", "channel", "row", "column"),
            "tables.0": ("sample", "feature"),
        },
        method="gradient_shap",
        standard_error={"image": np.ones((n, 1, 2, 2)), "tables": (np.ones((n, 3)), None)},
    )


def several_targets(n=4):
    rng = np.random.default_rng(2)
    return Explanation(
        values=rng.normal(size=(n, 2, 3)),
        inputs=rng.normal(size=(n, 3)),
        target=np.array([0, 2]),
        prediction=rng.normal(size=(n, 2)),
        axes=("sample", "target", "feature"),
        class_names=("a", "b", "c"),
        method="saliency",
    )


def importance(features=3):
    rng = np.random.default_rng(3)
    repeats = rng.normal(size=(features, 5))
    return Importance(
        values=repeats.mean(1),
        standard_error=repeats.std(1),
        repeats=repeats,
        feature_names=tuple(f"feature {i}" for i in range(features)),
        metric="log_loss",
        reference=float("nan"),
        samples=20,
    )


def projection(n=6, dimensions=2):
    rng = np.random.default_rng(4)
    return Projection(
        coordinates=rng.normal(size=(n, dimensions)).astype(np.float32),
        method="pca",
        neighbors=3,
        preservation=rng.uniform(size=n),
        trustworthiness=rng.uniform(size=n),
        features=10,
        explained_variance_ratio=np.array([0.5, 0.25, 0.125][:dimensions]),
        labels=np.arange(n) % 2,
        class_names=("no", "yes"),
        display=rng.integers(0, 255, size=(n, 2, 2, 3), dtype=np.uint8),
    )


def run(metrics=2):
    steps = np.arange(5)
    values = np.array([3.0, 2.0, np.nan, 1.0, 0.5])
    return Run(metrics={f"loss/{i}": (steps, values) for i in range(metrics)}, step_unit="epoch")


def snapshot(layers=2):
    rng = np.random.default_rng(5)
    return Snapshot(
        layers=tuple(
            Layer(
                name=f"features.{i}",
                kind="Conv2d",
                parameters={
                    "weight": rng.normal(size=(2, 1, 3, 3)).astype(np.float16),
                    "scale": np.array(2.0),
                    "nothing": np.zeros((0, 2), np.float32),
                },
            )
            for i in range(layers)
        ),
        name="CNN",
    )


EXAMPLES = {
    make.__name__: make
    for make in (
        explanation,
        several_inputs,
        several_targets,
        importance,
        projection,
        run,
        snapshot,
    )
}


@pytest.fixture(params=EXAMPLES)
def result(request):
    """Every kind of result in turn."""
    return EXAMPLES[request.param]()


@pytest.fixture(scope="session")
def make():
    """The functions above, which take a size and changes."""
    return EXAMPLES


@pytest.fixture(scope="session")
def same():
    """Whether two results hold the same, to the bit and the type."""
    return _same


def _same(a, b):
    if isinstance(a, np.ndarray):
        if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return False
        if a.dtype.kind == "U":
            return a.tolist() == b.tolist()
        native = a.astype(a.dtype.newbyteorder("="))
        return native.dtype == b.dtype and native.tobytes() == b.tobytes()
    if isinstance(a, float):
        return isinstance(b, float) and (a == b or (a != a and b != b))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            _same(x, y) and _same(a[x], b[y]) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return all(_same(getattr(a, f), getattr(b, f)) for f in a.__dataclass_fields__)
    return a == b
