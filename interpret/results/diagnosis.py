"""`Finding`: one sentence with its evidence; `Diagnosis`: what was looked for in a training."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pellucid.interpret.results.base import Result, screen
from pellucid.interpret.results.storage import storable

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = ("problem", "warning", "note")


@storable
@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    kind
        What, in two or three words, such as ``"vanishing gradients"``.
    severity
        ``"problem"``, ``"warning"`` or ``"note"``.
    sentence
        What was seen, with its numbers.
    advice
        What to try.
    step
        Since when; None where it does not apply.
    layer
        Where; None where it does not apply.
    evidence
        The tracks that show it, by name: steps and values.
    """

    kind: str
    severity: str
    sentence: str
    advice: str
    step: float | None = None
    layer: str | None = None
    evidence: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Diagnosis(Result):
    """What looks ill in a training, the worst first.

    Attributes
    ----------
    findings
        Sorted by severity, then by step.
    healthy
        What was looked for and not found.
    unknown
        What could not be looked for, each with the reason: what was not recorded.
    name
        The run's name.
    step_unit
        What a step is.
    """

    findings: tuple[Finding, ...]
    healthy: tuple[str, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)
    name: str = "run"
    step_unit: str = "step"

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each finding.

        Returns
        -------
        pandas.DataFrame
            Columns ``kind``, ``severity``, ``step``, ``layer``, ``sentence``, ``advice``.
        """
        import pandas as pd

        columns = ["kind", "severity", "step", "layer", "sentence", "advice"]
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> str:
        """Return each finding with what to try, and what was looked for besides."""
        count = len(self.findings)
        lines = [f"Diagnosis of {self.name}: {count or 'no'} finding{'' if count == 1 else 's'}"]
        for finding in self.findings:
            for said, indent in (
                (f"{finding.severity}: {finding.sentence}", "  "),
                (f"try: {finding.advice}", "    "),
            ):
                lines += [indent + line for line in textwrap.wrap(said, 98)]
        if self.healthy:
            said = f"looked for and not found: {', '.join(self.healthy)}"
            lines += [f"  {line}" for line in textwrap.wrap(said, 100, subsequent_indent="  ")]
        for kind, reason in self.unknown.items():
            lines.append(f"  not looked for: {kind} ({reason})")
        return screen(lines)
