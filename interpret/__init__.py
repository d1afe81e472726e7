"""Numbers: attributions, feature audits, projections, training records, and the results of each."""

from pellucid.interpret.results import (
    Comparison,
    Cost,
    Explanation,
    Importance,
    Layer,
    Projection,
    Provenance,
    Result,
    Run,
    Snapshot,
    load,
)

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
