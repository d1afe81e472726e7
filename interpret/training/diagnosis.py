"""What looks ill in a training: which questions are asked of a run, and in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pellucid.errors import InputTypeError
from pellucid.interpret.results import Diagnosis, Finding, Run
from pellucid.interpret.results.diagnosis import SEVERITIES
from pellucid.interpret.training.checks import data, gradients, losses, units, updates
from pellucid.interpret.training.checks.case import Case, Outcome

# By the kind of what is looked for. Causes come before what they explain: a loss that stays at
# chance level tells of bad labels only where gradients and updates are sound.
CHECKS: dict[str, Callable[[Case], Outcome]] = {
    "learning rate zero": updates.learning_rate,
    "layers that do not learn": updates.idle_layers,
    "vanishing gradients": gradients.vanishing,
    "exploding gradients": gradients.exploding,
    "dead units": units.dead,
    "saturated units": units.saturated,
    "update ratio too high": updates.large_updates,
    "update ratio too low": updates.small_updates,
    "not finite": losses.not_finite,
    "divergence": losses.divergence,
    "loss spikes": losses.spikes,
    "plateau": losses.plateau,
    "over-fitting": losses.over_fitting,
    "label trouble": data.labels,
    "data leak": data.leak,
    "data order": data.order,
    "constant metric": data.constant_metrics,
}


def diagnose(run: Run) -> Diagnosis:
    """Say what looks ill in a training.

    Thresholds, with their reasons, stand at the top of the modules of checks. A note is worth
    knowing; a warning likely harms; a problem is why a training fails.

    Parameters
    ----------
    run
        From a Recorder, or a reader of another tool's logs. Metrics are known by their names
        (``"loss"``, ``"train/loss"``, ``"val_loss"``, ``"eval_accuracy"``, ...); what was not
        recorded is not judged, and the diagnosis says so.

    Returns
    -------
    Diagnosis
        The findings, the worst first; what was looked for and not found; and what could not be
        looked for.

    Raises
    ------
    InputTypeError
        If it is not a Run.

    Examples
    --------
    >>> import numpy as np
    >>> steps = np.arange(100)
    >>> run = Run(metrics={"loss": (steps, 2.3 - 0.02 * np.minimum(steps, 60) + 0.0 * steps)})
    >>> diagnose(run).healthy[:2]
    ('not finite', 'divergence')
    """
    if not isinstance(run, Run):
        raise InputTypeError(f"diagnose takes a Run, but was given a {type(run).__name__}")
    case = Case.of(run)
    findings: list[Finding] = []
    healthy: list[str] = []
    unknown: dict[str, str] = {}
    for kind, check in CHECKS.items():
        outcome = check(case)
        if isinstance(outcome, str):
            unknown[kind] = outcome
        elif outcome:
            findings += outcome
            serious = {kind for finding in outcome if finding.severity != "note"}
            case = dataclasses.replace(case, found=case.found | serious)
        else:
            healthy.append(kind)
    return Diagnosis(
        findings=tuple(sorted(findings, key=_rank)),
        healthy=tuple(healthy),
        unknown=unknown,
        name=run.name,
        step_unit=run.step_unit,
        settings=run.settings,
        provenance=run.provenance,
    )


def _rank(finding: Finding) -> tuple[int, float]:
    """Return the place of a finding: by severity, then by step."""
    step = float("inf") if finding.step is None else finding.step
    return SEVERITIES.index(finding.severity), step
