"""The results: NumPy arrays with names, which everything speaks."""

from pellucid.interpret.results.base import Provenance, Result
from pellucid.interpret.results.comparison import Comparison
from pellucid.interpret.results.explanation import Cost, Explanation
from pellucid.interpret.results.importance import Importance
from pellucid.interpret.results.projection import Projection
from pellucid.interpret.results.run import Run
from pellucid.interpret.results.snapshot import Layer, Snapshot
from pellucid.interpret.results.storage import load

__all__ = [
    "Comparison",
    "Cost",
    "Explanation",
    "Importance",
    "Layer",
    "Projection",
    "Provenance",
    "Result",
    "Run",
    "Snapshot",
    "load",
]
