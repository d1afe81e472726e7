"""What looks ill in a training."""

from __future__ import annotations

from pellucid.interpret.results import Diagnosis, Run


def diagnose(run: Run) -> Diagnosis:
    """Say what looks ill in a training."""
    raise NotImplementedError
