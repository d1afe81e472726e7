"""One result of each kind, and a browser."""

import os
import shutil

import numpy as np
import pytest
from viz_samples import (
    make_generation,
    make_images,
    make_interactions,
    make_many,
    make_map,
    make_places,
    make_projection,
    make_regions,
    make_table,
    make_targets,
    make_text,
)

from pellucid.interpret.results import (
    Comparison,
    Diagnosis,
    Finding,
    Importance,
    Landscape,
    Layer,
    Node,
    Predictions,
    Run,
    Snapshot,
)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def results(rng):
    """One result of each kind."""
    repeats = np.array([[0.3, 0.31, 0.29], [0.01, -0.02, 0.02], [0.1, 0.12, 0.11]])
    steps = np.arange(50)
    return {
        "images": make_images(rng.normal(size=(2, 1, 8, 8))),
        "table": make_table(rng.normal(size=(3, 5))),
        "many": make_many(),
        "interactions": make_interactions(),
        "regions": make_regions(rng.normal(size=(2, 4))),
        "map": make_map(rng.random((2, 7, 7))),
        "places": make_places(
            {"conv1": rng.normal(size=(2, 3, 16, 16)), "conv2": rng.normal(size=(2, 4, 4, 4))}
        ),
        "targets": make_targets(rng.normal(size=(2, 3, 5))),
        "comparison": Comparison(
            explanations={
                "integrated gradients": make_images(rng.normal(size=(2, 1, 8, 8))),
                "saliency": make_images(
                    rng.normal(size=(2, 1, 8, 8)), method="saliency", baseline_prediction=None
                ),
            }
        ),
        "text": make_text([["[CLS]", "not", "bad", "[SEP]"], ["fine"]]),
        "generation": make_generation(["the", "cat"], ["sat", "on", "the"]),
        "layer": make_text(
            [["a", "b"], ["c"]], rng.normal(size=(2, 2, 6)), axes=("sample", "token", "feature")
        ),
        "importance": Importance(
            values=repeats.mean(axis=1),
            standard_error=repeats.std(axis=1, ddof=1) / np.sqrt(3),
            repeats=repeats,
            feature_names=("age", "noise", "height"),
            metric="accuracy",
            reference=0.9,
            samples=100,
        ),
        "projection": make_projection(40, rng, labels=np.arange(40) % 3),
        "run": Run(
            metrics={
                "train_loss": (steps, np.exp(-steps / 9)),
                "val_loss": (steps, 0.2 + np.exp(-steps / 9)),
                "accuracy": (steps, 1 - np.exp(-steps / 9)),
            }
        ),
        "diagnosis": Diagnosis(
            findings=(
                Finding(
                    kind="vanishing gradients",
                    severity="problem",
                    sentence="The gradient of conv1 is a millionth of fc's.",
                    advice="normalise",
                    step=20.0,
                    layer="conv1",
                    evidence={"conv1": (steps.astype(float), np.exp(-steps / 3))},
                ),
            ),
            healthy=("loss spikes",),
            unknown={"dead units": "no outputs were recorded"},
        ),
        "landscape": Landscape(
            losses=np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9) ** 2),
            x=np.linspace(-1, 1, 9),
            y=np.linspace(-1, 1, 9),
            center=0.0,
            samples=10,
        ),
        "predictions": Predictions(
            scores=np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]),
            kind="classification",
            truth=np.array([0, 1, 1, 0]),
            class_names=("no", "yes"),
        ),
        "architecture": Snapshot(
            layers=(Layer("fc", "Linear", {"weight": rng.normal(size=(5, 9))}),),
            nodes=(
                Node("", "Net", (1, 5), {"parameters": 0.0}),
                Node("fc", "Linear", (1, 5), {"parameters": 45.0}),
                Node("act", "ReLU", (1, 5), {"parameters": 0.0}),
            ),
            edges=(("input", "fc"), ("fc", "act"), ("act", "output")),
        ),
        "snapshot": Snapshot(
            layers=(
                Layer("conv", "Conv2d", {"weight": rng.normal(size=(4, 3, 3, 3))}),
                Layer("fc", "Linear", {"weight": rng.normal(size=(5, 9)), "bias": np.zeros(5)}),
            )
        ),
    }


@pytest.fixture(scope="session")
def browser():
    """Chromium, for what only a browser can show."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if path is None:
        missing("there is no chromium on the path; install it, or set CHROMIUM to its path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=quiet)
        yield started
        started.close()
