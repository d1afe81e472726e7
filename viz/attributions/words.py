"""What a figure says about an explanation in words: target, units, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation
from pellucid.interpret.results.trees import is_leaf, leaves
from pellucid.viz.theme import Theme, escape, expect, number, percent, shorten


def single(explanation: Explanation, function: str) -> Explanation:
    """Return an explanation of one input and one target; raise for any other."""
    explanation = one_input(explanation, function)
    if explanation.targeted:
        raise InputError(
            f"the explanation is of several targets, and viz.{function} draws one; viz.compare "
            "draws them side by side, and explain(model, inputs, target=0) explains one"
        )
    return explanation


def one_input(explanation: Explanation, function: str) -> Explanation:
    """Return an explanation of one input or place, perhaps of several targets; raise for others."""
    expect(explanation, Explanation, function)
    paths = explanation.paths
    if len(paths) > 1:
        what = "places" if isinstance(explanation.at, tuple) else "inputs"
        raise InputError(
            f"the explanation is of {len(paths)} {what} ({', '.join(map(repr, paths))}), and "
            f"viz.{function} draws one; choose it with explanation.select({paths[0]!r})"
        )
    if not len(explanation):
        raise InputError("the explanation has no samples to draw")
    return explanation if is_leaf(explanation.values) else explanation.select(paths[0])


def position(explanation: Explanation, sample: int) -> int:
    """Return a sample's position, counted from the first; raise if there is none."""
    whole = isinstance(sample, (int, np.integer)) and not isinstance(sample, bool)
    count = len(explanation)
    if not whole or not -count <= sample < count:
        raise InputError(
            f"there is no sample {sample!r}; sample is a position from 0 to {count - 1}"
        )
    return int(sample) % count


def at(numbers: Any, sample: int) -> float:
    """Return a sample's number of those that an explanation has; NaN where it has none."""
    return float(numbers[sample]) if isinstance(numbers, np.ndarray) else float("nan")


def sample_id(explanation: Explanation, sample: int) -> str | int:
    """Return the id of a sample; its position where it has none."""
    if explanation.sample_ids is None:
        return sample
    found = explanation.sample_ids[sample]
    return int(found) if isinstance(found, np.integer) else str(found)


def target(explanation: Explanation, sample: int, length: int = 40) -> str:
    """Return the explained class, such as "class 7", or neuron; empty for a regression."""
    name = explanation.target_name(sample)
    if not name:
        neuron = explanation.settings.get("target") if explanation.units == "activation" else None
        return shorten(neuron, length) if isinstance(neuron, str) else ""
    if explanation.target_names is not None:
        return f"token {shorten(name, length)!r}"
    return f"class {name}" if explanation.class_names is None else shorten(name, length)


def complete(explanation: Explanation) -> bool:
    """Whether the values are contributions that account for a difference of predictions."""
    return explanation.baseline_prediction is not None


def magnitude(explanation: Explanation) -> bool:
    """Whether the values have no sign, by their method; wrong values are not believed."""
    stated = any(explanation.settings.get(key) for key in ("absolute", "nonnegative"))
    return stated and not any((a < 0).any() for _, a in leaves(explanation.values) if a is not None)


def zero(explanation: Explanation) -> str:
    """Return what the value 0 means, for an axis."""
    if not magnitude(explanation):
        return "0: no effect, negative: against it"
    if explanation.settings.get("absolute"):
        return "0: none"
    return "0: none, or against it, which this method leaves out"


def score(explanation: Explanation, of: str = "") -> str:
    """Return what is explained, such as "logit of class 7"."""
    return f"{explanation.units} of {of}" if of else explanation.units


def quantity(explanation: Explanation, of: str = "") -> str:
    """Return what one value is, for an axis."""
    if complete(explanation):
        return f"contribution to the {score(explanation, of)}"
    return f"attribution by {method_name(explanation)}, for the {score(explanation, of)}"


def outcome(explanation: Explanation, sample: int) -> str:
    """Return a sample's prediction and baseline prediction as a phrase; empty where unknown."""
    if explanation.prediction is None:
        return ""
    said = f"{explanation.units} {number(explanation.prediction[sample])}"
    if explanation.baseline_prediction is not None:
        start = number(at(explanation.baseline_prediction, sample))
        said += f", {'mean over the background' if averaged(explanation) else 'at the baseline'} "
        said += start
    return said


def averaged(explanation: Explanation) -> bool:
    """Whether the baseline's prediction is the mean over a background, each sample in turn."""
    return str(explanation.settings.get("baseline")).startswith("each of ")


def start(explanation: Explanation) -> str:
    """Return what the baseline's prediction is called."""
    averages = averaged(explanation)
    return "mean over the background" if averages else "prediction at the baseline"


def trust(explanation: Explanation, sample: int) -> str:
    """Return how wrong a sample's attribution may be, as a phrase."""
    error = at(explanation.error, sample)
    if np.isfinite(error):
        said = f"estimated error {percent(error)}"
        if late(explanation, sample):
            said += f", above the tolerance of {percent(explanation.settings['tolerance'])}"
        return said
    if explanation.standard_error is not None:
        return "sampled, with a standard error for every value"
    return "error not known"


def marked_trust(explanation: Explanation, sample: int, look: Theme) -> str:
    """Return how wrong a sample's attribution may be, escaped, and marked if it is late."""
    said = escape(trust(explanation, sample))
    if not late(explanation, sample):
        return said
    return f'<span style="color:{look.warning}"><b>▲ {said}</b></span>'


def status(explanation: Explanation, sample: int, look: Theme, pixels: float, *more: str) -> str:
    """Return a sample's prediction and how far to trust it, escaped, on lines of that width.

    `more` comes first.
    """
    said = [*more, outcome(explanation, sample)]
    parts = [(part, escape(part)) for part in said if part]
    parts.append((trust(explanation, sample), marked_trust(explanation, sample, look)))
    letters = pixels / 6.2
    markup, length = "", 0
    for plain, shown in parts:
        fits = length + len(plain) + 3 <= letters
        markup += (" · " if fits else "<br>") * bool(markup) + shown
        length = length + len(plain) + 3 if fits else len(plain)
    return markup


def late(explanation: Explanation, sample: int) -> bool:
    """Whether a sample's estimated error is above the tolerance that was asked for."""
    tolerance = explanation.settings.get("tolerance")
    if tolerance is None or explanation.error is None:
        return False
    return not at(explanation.error, sample) <= tolerance


def method_name(explanation: Explanation) -> str:
    """Return the method's name as a reader would write it."""
    return explanation.method.replace("_", " ")


def method(explanation: Explanation) -> str:
    """Return the method and place, the baseline and, without an error, what the method promises."""
    said = f"Method: {method_name(explanation)}{place(explanation)}"
    baseline, promise = (explanation.settings.get(key) for key in ("baseline", "promise"))
    if baseline is not None:
        said += f", baseline: {shorten(baseline, 60)}"
    if explanation.settings.get("carried"):
        said += f"; carried along, not attributed: {shorten(explanation.settings['carried'], 60)}"
    if explanation.error is None and promise is not None:
        said += f" ({shorten(promise, 120)})"
    return said


def place(explanation: Explanation) -> str:
    """Return where in the model the values are, as " at layer4"; empty for the input."""
    if isinstance(explanation.at, tuple):
        return f" at {len(explanation.at)} places"
    return "" if explanation.at == "input" else f" at {shorten(explanation.at, 60)}"


def methods(explanations: Sequence[Explanation]) -> str:
    """Return what `method` says of each, those that say the same once."""
    said = list(dict.fromkeys(method(one).removeprefix("Method: ") for one in explanations))
    return f"Method{'s' if len(said) > 1 else ''}: {'; '.join(said)}"


def heading(explanation: Explanation, sample: int) -> str:
    """Return the title of a figure of one sample."""
    which = f"Sample {shorten(sample_id(explanation, sample))}"
    of = target(explanation, sample)
    return ": ".join(part for part in (which, of) if part)


def hover(explanation: Explanation, sample: int) -> str:
    """Return the first line of a sample's hover text, escaped."""
    return f"<b>{escape(shorten(heading(explanation, sample), 80))}</b>"
