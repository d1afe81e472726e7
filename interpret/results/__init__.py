"""The results: NumPy arrays with names, which everything speaks."""

from pellucid.interpret.results.base import Provenance, Result
from pellucid.interpret.results.clusters import Cluster, Clusters
from pellucid.interpret.results.comparison import Comparison
from pellucid.interpret.results.diagnosis import Diagnosis, Finding
from pellucid.interpret.results.explanation import Cost, Explanation
from pellucid.interpret.results.importance import Importance
from pellucid.interpret.results.landscape import Landscape
from pellucid.interpret.results.predictions import Predictions
from pellucid.interpret.results.projection import Projection
from pellucid.interpret.results.run import Event, Histograms, Pictures, Run, Watched
from pellucid.interpret.results.snapshot import ActivationFunction, Layer, Node, Snapshot
from pellucid.interpret.results.storage import load

__all__ = [
    "ActivationFunction",
    "Cluster",
    "Clusters",
    "Comparison",
    "Cost",
    "Diagnosis",
    "Event",
    "Explanation",
    "Finding",
    "Histograms",
    "Importance",
    "Landscape",
    "Layer",
    "Node",
    "Pictures",
    "Predictions",
    "Projection",
    "Provenance",
    "Result",
    "Run",
    "Snapshot",
    "Watched",
    "load",
]
