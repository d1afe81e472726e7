"""Pellucid explains what a trained model does, shows it, and says how far to trust the answer.

>>> import pellucid as pl
>>> explanation = pl.explain(model, x)  # doctest: +SKIP
>>> pl.viz.show(explanation)  # doctest: +SKIP

Importing this package loads nothing heavy: torch, plotly, pandas and umap load when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid import datasets, errors, interpret, viz
    from pellucid.interpret.audit.permutation import importance
    from pellucid.interpret.compare import compare
    from pellucid.interpret.explain import explain
    from pellucid.interpret.inspection.landscape import loss_landscape
    from pellucid.interpret.inspection.predict import predict
    from pellucid.interpret.inspection.snapshot import snapshot
    from pellucid.interpret.methods import methods
    from pellucid.interpret.projection.project import project
    from pellucid.interpret.results.storage import load
    from pellucid.interpret.training.reading import read_run, read_runs
    from pellucid.interpret.training.recorder import Recorder
    from pellucid.viz.report import report

__version__ = "0.1.0"

_HOMES = {
    "Recorder": "pellucid.interpret.training.recorder",
    "compare": "pellucid.interpret.compare",
    "explain": "pellucid.interpret.explain",
    "importance": "pellucid.interpret.audit.permutation",
    "load": "pellucid.interpret.results.storage",
    "loss_landscape": "pellucid.interpret.inspection.landscape",
    "methods": "pellucid.interpret.methods",
    "predict": "pellucid.interpret.inspection.predict",
    "project": "pellucid.interpret.projection.project",
    "read_run": "pellucid.interpret.training.reading",
    "read_runs": "pellucid.interpret.training.reading",
    "report": "pellucid.viz.report",
    "snapshot": "pellucid.interpret.inspection.snapshot",
}
_PACKAGES = ("datasets", "errors", "interpret", "viz")

__all__ = [
    "Recorder",
    "compare",
    "datasets",
    "errors",
    "explain",
    "importance",
    "interpret",
    "load",
    "loss_landscape",
    "methods",
    "predict",
    "project",
    "read_run",
    "read_runs",
    "report",
    "snapshot",
    "viz",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _PACKAGES:
        value = importlib.import_module(f"pellucid.{name}")
    else:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
