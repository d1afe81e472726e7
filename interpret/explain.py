"""`explain`: why did the model say that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.interpret.attributing import Request, Wanted, attributed
from pellucid.interpret.predictors import only_predicts
from pellucid.interpret.results import Explanation


def explain(
    model: Any,
    inputs: Any,
    *,
    method: str = "auto",
    target: Any = "predicted",
    at: Any = "input",
    attribute: str | Sequence[str] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    output: str = "raw",
    groups: Mapping[str, Any] | np.ndarray | None = None,
    tolerance: float | None = None,
    steps: int | None = None,
    budget: int | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    sample_ids: Sequence[Any] | np.ndarray | None = None,
    display: Any = None,
    device: Any = "auto",
    batch_size: int | str = "auto",
    precision: str | None = None,
    compile: bool | str = False,  # noqa: A002 - what torch calls it
    seed: int = 0,
    progress: bool | None = None,
    tokenizer: Any = None,
    **method_options: Any,
) -> Explanation:
    """Explain a model's predictions: what each part of the input contributed.

    Parameters
    ----------
    model
        A `torch.nn.Module`, or a function of tensors that torch can differentiate. It is used in
        evaluation mode where it is, and left as it was to the bit. For methods that need no
        gradients also a fitted estimator of scikit-learn's kind (XGBoost, LightGBM), or a function
        of arrays or data frames; their columns may be texts, categories or dates, with missing
        values where the model takes them.
    inputs
        The samples, first axis first: an array, tensor or data frame; a tuple of positional inputs;
        a dict of inputs by name; nested as the model takes them. Integer inputs are carried along
        beside others; by themselves they are tokens, which the model's embedding looks up, and
        their values are the sums over the embedding. With a tokenizer, a list of texts.
    method
        A name that `pellucid.methods` lists, ``"captum:Name"`` for a class of `captum.attr`, or
        ``"auto"``: integrated gradients at the input, conductance at layers, Shapley values of what
        torch cannot differentiate; the result says why.
    target
        What to explain: ``"predicted"`` class, ``"all"`` classes, a class index or name, one of
        these for each sample, several for every sample as a list in a list (``[[3, 7]]``), a
        function from the model's output to one number for each row (or a list of functions), or a
        neuron ``("layer4.0.conv1", index)``, of which an index of the channel alone stands for its
        mean. A regression needs none. Of a language model, classes are tokens (ids, or texts with a
        tokenizer), and explained is the one behind each row's last; ``("tokens", start)`` explains
        every token of the sequence from there on by what precedes it, and ``("generated", count)``
        as many as the model writes by itself, greedily. ``("position", i)`` and ``("position", i,
        class)`` explain what a model says of one token, as taggers do. Positions are counted from
        each row's first token without padding, or its last if negative.
    at
        Where in the model to attribute to: ``"input"``, a layer by name or as the module itself, or
        a list of these, which share passes where the method allows it.
    attribute
        Which of several inputs to attribute to (``"image"``, ``"0"``, ``"0.mask"``); all
        floating-point ones by default.
    baseline
        What to compare with: ``"zero"``, ``"mean"`` of the background, a number, an array of one
        sample's shape or of all samples', a function of the inputs; with several inputs, the same
        structure. ``"auto"`` is the background's mean if there is one, else zero; the result says
        which. For tokens a number is a token, an array holds tokens or vectors of the embedding,
        ``"zero"`` is vectors of zero, and ``"auto"`` the padding token in place of the text, with
        special tokens and padding as they are.
    background
        Samples of the data, in the structure of the inputs: methods with one baseline take their
        mean, expected gradients draw from them, and Shapley values compare with each of them.
    output
        ``"raw"``, or ``"probability"`` to put softmax or sigmoid behind the model.
    groups
        Features that belong together: names with lists of features, or an integer array of one
        sample's shape. Methods of coalitions and perturbation take each as one player; of others
        they are kept for `Explanation.group_sums`.
    tolerance
        Relative L2 error of each row to work towards (path methods: 0.01 by default). Rows that do
        not get there within the budget are counted in a warning.
    steps
        A fixed number of steps on each row's path instead; takes ``rule="midpoint"``,
        ``"gauss_legendre"`` or ``"trapezoid"``. The error is known where no two of them lie further
        apart than a tenth of the path (10, 16 and 11 steps).
    budget
        Most gradients on one row's path. The two ends of a fixed rule, and the pass that finds the
        predicted class, come on top.
    feature_names, class_names, sample_ids
        Names for what is shown. A data frame brings its own feature names.
    display
        What to show in place of the inputs, one for each sample: the picture before normalisation.
    device
        ``"auto"``: where the model is. A model is never moved. A list of devices splits the rows
        among them, each with a copy of the model.
    batch_size
        Points in one forward pass; ``"auto"`` lets the engine decide.
    precision
        ``"bfloat16"`` or ``"float16"`` runs the model under autocast; what that loses is added to
        the estimated error. None computes in the model's own precision. Sums are in float32 or
        wider in any case.
    compile
        Whether to run the model through `torch.compile` (or the name of its backend), every chunk
        padded to one size so that nothing is compiled twice. Worth it on many large batches.
    seed
        Of the random state that the model sees.
    progress
        Whether to show a bar; None shows one where the work takes longer than two seconds.
    tokenizer
        A tokenizer of transformers: it turns texts into tokens, and names tokens and words.
    **method_options
        What the method takes besides, as `pellucid.methods` lists: ``absolute=True`` for saliency,
        ``of="integrated_gradients"`` and ``draws=50`` for SmoothGrad, Captum's own arguments.

    Returns
    -------
    Explanation
        Attributions, with their estimated error or standard errors, completeness residual and cost.
        With several targets there is a target axis behind the sample axis; with several places,
        `Explanation.select` picks one.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be worked with; the message says what to pass instead.
    ModelError
        If the model fails on the inputs, or has no gradient.
    Interrupted
        On Ctrl-C; its `partial` holds the explanation of the rows that were finished.

    Examples
    --------
    >>> import torch, pellucid as pl
    >>> model = torch.nn.Linear(3, 1)
    >>> explanation = pl.explain(model, torch.eye(3))
    >>> explanation.values.shape
    (3, 3)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> explanation = pl.explain(model, torch.eye(3), at=["0", "input"], target=[[0, 1]])
    >>> explanation.select("0").values.shape
    (3, 2, 4)
    """
    name, why = (method, method) if method != "auto" else _automatic(model, inputs, at)
    given = {"tolerance": tolerance, "steps": steps, "budget": budget}
    options = {key: value for key, value in given.items() if value is not None} | method_options
    request = Request(
        target=target,
        at=at,
        attribute=attribute,
        baseline=baseline,
        background=background,
        output=output,
        groups=groups,
        feature_names=feature_names,
        class_names=class_names,
        sample_ids=sample_ids,
        display=display,
        device=device,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
        seed=seed,
        progress=progress,
        tokenizer=tokenizer,
    )
    return attributed(model, inputs, [Wanted.of(name, options, why)], request)[0]


def _automatic(model: Any, inputs: Any, at: Any) -> tuple[str, str]:
    """Return the method that is chosen where none is named, and why."""
    if only_predicts(model, inputs):
        return "shapley", "auto: it asks for predictions only, and knows how wrong it is"
    if isinstance(at, str) and at == "input":
        return "integrated_gradients", "auto: complete, and it knows how wrong it is"
    return (
        "conductance",
        "auto: complete, it knows how wrong it is, and all layers share its passes",
    )
