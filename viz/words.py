"""What a figure says about an explanation in words: target, units, and how far to trust it."""

from __future__ import annotations

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.interpret.results.trees import is_leaf
from pellucid.viz.theme import escape, expect, number, percent, shorten


def single(explanation: Explanation, function: str) -> Explanation:
    """Return an explanation of one input and one target; raise for any other."""
    expect(explanation, Explanation, function)
    paths = explanation.paths
    if len(paths) > 1:
        raise InputError(
            f"the explanation is of {len(paths)} inputs ({', '.join(map(repr, paths))}), and "
            f"viz.{function} draws one; choose it with explanation.select({paths[0]!r})"
        )
    if explanation.targeted:
        raise InputError(
            f"the explanation is of several targets, and viz.{function} draws one; explain one "
            "target at a time, such as explain(model, inputs, target=0)"
        )
    if not len(explanation):
        raise InputError("the explanation has no samples to draw")
    return explanation if is_leaf(explanation.values) else explanation.select(paths[0])


def sample_id(explanation: Explanation, sample: int) -> str | int:
    """Return the id of a sample; its position where it has none."""
    if explanation.sample_ids is None:
        return sample
    found = explanation.sample_ids[sample]
    return int(found) if isinstance(found, np.integer) else str(found)


def target(explanation: Explanation, sample: int, length: int = 40) -> str:
    """Return the explained class as a phrase, such as "class 7"; empty for a regression."""
    name = explanation.target_name(sample)
    if not name:
        return ""
    return f"class {name}" if explanation.class_names is None else shorten(name, length)


def score(explanation: Explanation, of: str = "") -> str:
    """Return what is explained, such as "logit of class 7"."""
    return f"{explanation.units} of {of}" if of else explanation.units


def quantity(explanation: Explanation, of: str = "") -> str:
    """Return what one value is, for an axis."""
    if explanation.baseline_prediction is not None:
        return f"contribution to the {score(explanation, of)}"
    return f"attribution by {method_name(explanation)}, for the {score(explanation, of)}"


def outcome(explanation: Explanation, sample: int) -> str:
    """Return a sample's prediction and baseline prediction as a phrase; empty where unknown."""
    if explanation.prediction is None:
        return ""
    said = f"{explanation.units} {number(explanation.prediction[sample])}"
    if explanation.baseline_prediction is not None:
        said += f", at the baseline {number(explanation.baseline_prediction[sample])}"
    return said


def trust(explanation: Explanation, sample: int) -> str:
    """Return how wrong a sample's attribution may be, as a phrase."""
    if explanation.error is not None and np.isfinite(explanation.error[sample]):
        said = f"estimated error {percent(explanation.error[sample])}"
        if late(explanation, sample):
            said += f", above the tolerance of {percent(explanation.settings['tolerance'])}"
        return said
    if explanation.standard_error is not None:
        return "sampled, with a standard error for every value"
    return "error not known"


def late(explanation: Explanation, sample: int) -> bool:
    """Whether a sample's estimated error is above the tolerance that was asked for."""
    tolerance = explanation.settings.get("tolerance")
    if tolerance is None or explanation.error is None:
        return False
    return not explanation.error[sample] <= tolerance


def method_name(explanation: Explanation) -> str:
    """Return the method's name as a reader would write it."""
    return explanation.method.replace("_", " ")


def method(explanation: Explanation) -> str:
    """Return the method, the baseline and, without an estimated error, what the method promises."""
    said = f"Method: {method_name(explanation)}"
    baseline, promise = (explanation.settings.get(key) for key in ("baseline", "promise"))
    if baseline is not None:
        said += f", baseline: {shorten(baseline, 60)}"
    if explanation.settings.get("carried"):
        said += f"; carried along, not attributed: {shorten(explanation.settings['carried'], 60)}"
    if explanation.error is None and promise is not None:
        said += f" ({shorten(promise, 120)})"
    return said


def heading(explanation: Explanation, sample: int) -> str:
    """Return the title of a figure of one sample."""
    which = f"Sample {shorten(sample_id(explanation, sample))}"
    of = target(explanation, sample)
    return ": ".join(part for part in (which, of) if part)


def hover(explanation: Explanation, sample: int) -> str:
    """Return the first line of a sample's hover text, escaped."""
    return f"<b>{escape(shorten(heading(explanation, sample), 80))}</b>"
