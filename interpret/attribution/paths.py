"""Attributions by integrating the gradient along a path from a baseline to the input.

To a tolerance by bisection, or with a fixed rule. Along a straight path a network of ReLUs has a
piecewise constant gradient: no rule of high order helps, and what counts is to find the jumps.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.interpret.attribution.bisection import TYPICAL
from pellucid.interpret.attribution.curves import Straight, Through
from pellucid.interpret.attribution.quadrature import integrate, points_of
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.places import Place


@method(
    baseline=True,
    complete=True,
    cost="some 20 to 100 gradients until the tolerance is met, or as many as steps",
    promise="estimates its own error for each row, with the completeness residual as a check",
    paper="Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365",
    points=points_of,
    kept=lambda options: 0 if "steps" in options else TYPICAL,
    typical=40,
    trial={"steps": 2},
)
def integrated_gradients(
    block: Block,
    *,
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> Attribution:
    """Integrate the gradient along the straight path from the baseline to the input.

    Either to a `tolerance` on the attribution itself (estimated relative L2 error of each row),
    within a `budget` of gradients for each row; or with a fixed number of `steps` by a `rule`. At a
    layer the path is straight there, from what it puts out for the baseline to what it puts out for
    the input, while the rest of the network sees the row itself.
    """
    return integrate(Straight(block), tolerance=tolerance, budget=budget, steps=steps, rule=rule)[0]


@method(
    baseline=True,
    complete=True,
    cost="some 20 to 100 gradients until the tolerance is met, or as many as steps; shared by "
    "all places",
    promise="estimates its own error for each row, with the completeness residual as a check, "
    "where everything passes through the layer",
    paper="Dhamdhere et al. 2018, https://arxiv.org/abs/1805.12233",
    points=points_of,
    kept=lambda options: 0 if "steps" in options else 2 * TYPICAL,
    joint=True,
    typical=40,
    trial={"steps": 2},
)
def conductance(
    block: Block,
    places: Sequence[Place],
    *,
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> list[Attribution]:
    """Integrate over what a layer holds, along the straight path from the baseline to the input.

    What each unit of the layer contributed: the integral of the gradient there times the unit's
    change. At the input itself this is integrated gradients. Options as there; the only fixed rule
    is the trapezoid's.
    """
    curve = Through(block, places, held=True)
    return integrate(curve, tolerance=tolerance, budget=budget, steps=steps, rule=rule)


@method(
    baseline=True,
    complete=False,
    cost="some 20 to 100 gradients until the tolerance is met, or as many as steps; shared by "
    "all places",
    promise="estimates its own error for each row; a mean slope, not a contribution",
    paper="Leino et al. 2018, https://arxiv.org/abs/1802.03788",
    points=points_of,
    kept=lambda options: 0 if "steps" in options else TYPICAL,
    joint=True,
    typical=40,
    trial={"steps": 2},
)
def internal_influence(
    block: Block,
    places: Sequence[Place],
    *,
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> list[Attribution]:
    """Average the gradient at a layer along the straight path from the baseline to the input.

    Options as of integrated gradients.
    """
    curve = Through(block, places, held=False)
    return integrate(curve, tolerance=tolerance, budget=budget, steps=steps, rule=rule)
