"""`explain`: why did the model say that?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, Interrupted, OutOfMemoryError, PellucidError
from pellucid.interpret.attribution import registry
from pellucid.interpret.attribution.registry import Attribution, Method
from pellucid.interpret.baselines import make_baseline
from pellucid.interpret.block import Block, split
from pellucid.interpret.doubts import warn_of_doubts, warn_of_far_baseline
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import Inputs, is_whole, read_inputs
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.models import Model
from pellucid.interpret.results import Cost, Explanation, Provenance
from pellucid.interpret.results.explanation import resolve_groups
from pellucid.interpret.results.trees import Tree, rebuild
from pellucid.interpret.targets import Score


def explain(
    model: Any,
    inputs: Any,
    *,
    method: str = "auto",
    target: Any = "predicted",
    at: str = "input",
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
    seed: int = 0,
    progress: bool | None = None,
    **method_options: Any,
) -> Explanation:
    """Explain a model's predictions: what each part of the input contributed.

    Parameters
    ----------
    model
        A `torch.nn.Module`, or a function of tensors that torch can differentiate. It is used in
        evaluation mode where it is, and left as it was to the bit.
    inputs
        The samples, first axis first: an array, tensor or data frame; a tuple of positional inputs;
        a dict of inputs by name; nested as the model takes them. Integer inputs are carried along.
    method
        A name that `pellucid.methods` lists; ``"auto"`` takes integrated gradients.
    target
        What to explain: ``"predicted"`` class, ``"all"`` classes, a class index or name, one of
        these for each sample, or a function from the model's output to one number for each row. A
        regression needs none.
    at
        Where in the model to attribute to: ``"input"``.
    attribute
        Which of several inputs to attribute to (``"image"``, ``"0"``, ``"0.mask"``); all
        floating-point ones by default.
    baseline
        What to compare with: ``"zero"``, ``"mean"`` of the background, a number, an array of one
        sample's shape or of all samples', a function of the inputs; with several inputs, the same
        structure. ``"auto"`` is the background's mean if there is one, else zero; the result says
        which.
    background
        Samples of the data, in the structure of the inputs.
    output
        ``"raw"``, or ``"probability"`` to put softmax or sigmoid behind the model.
    groups
        Features that belong together: names with lists of features, or an integer array of one
        sample's shape. They are kept for `Explanation.group_sums`.
    tolerance
        Relative L2 error of each row to work towards (integrated gradients: 0.01 by default).
    steps
        A fixed number of steps on each row's path instead; takes ``rule="midpoint"``,
        ``"gauss_legendre"`` or ``"trapezoid"``.
    budget
        Most gradients on one row's path. The two ends of a fixed rule, and the pass that finds the
        predicted class, come on top.
    feature_names, class_names, sample_ids
        Names for what is shown. A data frame brings its own feature names.
    display
        What to show in place of the inputs, one for each sample: the picture before normalisation.
    device
        ``"auto"``: where the model is. A model is never moved.
    batch_size
        Points in one forward pass; ``"auto"`` lets the engine decide.
    precision
        Reserved; None computes in the model's own precision, and sums in float32 or wider.
    seed
        Of the random state that the model sees.
    progress
        Whether to show a bar; None shows one where the work takes longer than two seconds.
    **method_options
        What the method takes besides, such as ``absolute=True`` for saliency.

    Returns
    -------
    Explanation
        Attributions, with their estimated error, completeness residual and cost.

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
    """
    started = time.perf_counter()
    if at != "input":
        raise InputError(f"at={at!r}: attribution is to the input only, at='input'")
    if precision is not None:
        raise InputError(f"precision={precision!r}: only None is known, the model's own precision")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; give a whole number from 0")
    chosen = registry.find("integrated_gradients" if method == "auto" else method)
    given = {"tolerance": tolerance, "steps": steps, "budget": budget}
    options = {name: value for name, value in given.items() if value is not None} | method_options
    registry.check_options(chosen, options)
    if not chosen.baseline and not (isinstance(baseline, str) and baseline == "auto"):
        raise InputError(f"{chosen.name} compares with no baseline; leave baseline out")
    if not chosen.baseline and background is not None:
        raise InputError(
            f"{chosen.name} compares with no baseline, so it takes no background; leave it out"
        )
    adapted = Model(model)
    batch = read_inputs(inputs, attribute=attribute, dtype=adapted.dtype)
    names = _Names(batch, feature_names, sample_ids, display, groups)
    baselines, sentence = (
        make_baseline(baseline, batch, background) if chosen.baseline else ({}, None)
    )
    if chosen.baseline and isinstance(baseline, str):
        warn_of_far_baseline(batch, baselines, sentence)

    parts: list[_Part] = []
    interrupted = False
    with Engine(
        adapted, batch, device=device, batch_size=batch_size, seed=int(seed), progress=progress
    ) as engine:
        example, rows = engine.probe()
        score = Score(
            target=target,
            output=output,
            class_names=class_names,
            example=example,
            rows=rows,
            samples=batch.samples,
            squashed=adapted.ends_in_sigmoid,
        )
        del example
        if score.per_target and not chosen.several_targets:
            raise InputError(f"{chosen.name} explains one target at a time; give one class")
        points = chosen.points(options)
        engine.expect(None if points is None else batch.samples * (points + score.predicted))
        try:
            for block in engine.blocks(score, baselines, kept=chosen.kept(options)):
                parts.append(_Part.of(chosen.run(block, **options), block))
        except KeyboardInterrupt:
            interrupted = True
        except Exception as error:
            if isinstance(error, PellucidError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"what {chosen.name} keeps of the rows does not fit into the memory of "
                f"{engine.device}; explain fewer samples at a time"
            ) from error
    if interrupted and not parts:
        raise Interrupted("interrupted before any row was finished")
    settings: dict[str, Any] = {
        "baseline": sentence,
        "output": output,
        "target": _spoken(target),
        "method": "auto: the model has gradients" if method == "auto" else method,
        "promise": chosen.promise,
        "carried": _carried(batch),
    }
    provenance = Provenance(model=adapted.name, device=_device_name(engine.device), seed=int(seed))
    cost = Cost(engine.count.forward, engine.count.backward, time.perf_counter() - started)
    explanation = _assemble(
        chosen, parts, batch, baselines, score, names, settings, provenance, cost
    )
    if interrupted:
        raise Interrupted(
            f"interrupted after {len(explanation)} of {batch.samples} rows; they are in this "
            "exception's `partial` (in a notebook: sys.last_value.partial)",
            explanation,
        )
    warn_of_doubts(explanation, chosen, _joined(parts, "scale", score))
    return explanation


@dataclass(frozen=True)
class _Part:
    """What is known of one block when it is done; the block itself may go, and its memory."""

    found: Attribution
    index: Tensor | None  # the class of each row
    stop: int  # the row behind its last

    @classmethod
    def of(cls, found: Attribution, block: Block) -> _Part:
        """Return a block's attribution, on the CPU."""
        here: dict[str, Any] = {
            field.name: value.detach().cpu() if isinstance(value, Tensor) else value
            for field in fields(found)
            for value in [getattr(found, field.name)]
        }
        index = None if block.index is None else block.index[:, 0].cpu()
        return cls(Attribution(**here), index, block.rows.stop)


class _Names:
    """What things are called and shown as, checked against the inputs."""

    def __init__(
        self,
        batch: Inputs,
        feature_names: Sequence[str] | None,
        sample_ids: Sequence[Any] | np.ndarray | None,
        display: Any,
        groups: Any,
    ) -> None:
        here = batch.tensors(attributed=True)
        only = next(iter(here.values())) if len(here) == 1 else None
        given = feature_names if feature_names is not None else batch.feature_names
        self.features: tuple[str, ...] | None = None
        if given is not None:
            if isinstance(given, str):
                raise InputError(f"feature_names is the text {given!r}; give a list of names")
            self.features = tuple(map(str, given))
            if only is None or only.ndim != 2:
                raise InputError(
                    "feature_names name the columns of one input of shape (samples, features); "
                    "choose it with attribute=..., or leave them out"
                )
            if len(self.features) != only.shape[1]:
                raise InputError(
                    f"{len(self.features)} feature names were given for {only.shape[1]} features"
                )
        self.samples = np.arange(batch.samples)
        if sample_ids is not None:
            ids = np.array(sample_ids)
            self.samples = ids.astype(str) if ids.dtype.kind not in "iu" else ids
            if self.samples.shape != (batch.samples,):
                raise InputError(
                    f"sample_ids have shape {self.samples.shape}, but there are {batch.samples} "
                    "samples"
                )
        self.display: np.ndarray | None = None
        if display is not None:
            shown = display.detach().cpu() if isinstance(display, Tensor) else display
            self.display = np.array(shown)  # a copy: what is the caller's may change
            if self.display.ndim == 0 or len(self.display) != batch.samples:
                raise InputError(
                    f"display has shape {self.display.shape}; expected one for each of the "
                    f"{batch.samples} samples"
                )
        self.groups: dict[str, np.ndarray] | None = None
        if groups is not None:
            if only is None:
                raise InputError("groups are of one input; choose it with attribute=...")
            masks = resolve_groups(groups, tuple(only.shape[1:]), self.features)
            self.groups = {name: mask.copy() for name, mask in masks.items()}


def _assemble(
    chosen: Method,
    parts: list[_Part],
    batch: Inputs,
    baselines: Mapping[str, Tensor],
    score: Score,
    names: _Names,
    settings: dict[str, Any],
    provenance: Provenance,
    cost: Cost,
) -> Explanation:
    """Put the blocks together, in the structure of the inputs."""
    done = parts[-1].stop

    prediction = _joined(parts, "prediction", score)
    baseline_prediction = _joined(parts, "baseline_prediction", score)
    residual = None
    if prediction is not None and baseline_prediction is not None:
        sums = torch.cat([p.found.values.sum(-1, dtype=torch.float64) for p in parts]).numpy()
        total = sums if score.per_target else sums[:, 0]
        residual = prediction.astype(float) - baseline_prediction.astype(float) - total
    values: dict[str, np.ndarray] = {}
    flat = torch.cat([part.found.values for part in parts])
    for path, array in split(flat, batch.tensors(attributed=True)).items():
        values[path] = (array if score.per_target else array[:, 0]).numpy()
    index: np.ndarray | None = None
    if score.per_target:
        index = np.arange(score.classes)
    elif parts[0].index is not None:
        index = torch.cat([part.index for part in parts if part.index is not None]).numpy()
    axes = {path: _with_target(batch.axes(path), score.per_target) for path in values}
    bare = list(values) == [""]

    def shown(tree: Tree) -> Tree:
        return rebuild(
            tree,
            lambda _, leaf: _array(leaf[:done]) if isinstance(leaf, Tensor) and leaf.ndim else None,
        )

    return Explanation(
        values=batch.structured(values),
        method=chosen.name,
        inputs=shown(batch.tree),
        baseline=batch.structured(
            {path: _array(b if len(b) == 1 else b[:done]) for path, b in baselines.items()}
        )
        if chosen.baseline
        else None,
        target=index,
        prediction=prediction,
        baseline_prediction=baseline_prediction,
        error=_joined(parts, "error", score),
        residual=residual,
        cost=cost,
        feature_names=names.features,
        class_names=score.class_names,
        sample_ids=names.samples[:done],
        axes=axes[""] if bare else axes,
        units=score.units,
        groups=names.groups,
        display=None if names.display is None else names.display[:done],
        settings=settings | parts[0].found.settings,
        provenance=provenance,
    )


def _joined(parts: list[_Part], name: str, score: Score) -> np.ndarray | None:
    """Return one number for each row (and target), of all blocks; None where it is not known."""
    columns = [getattr(part.found, name) for part in parts]
    if any(column is None for column in columns):
        return None
    whole: np.ndarray = torch.cat(columns).numpy()
    return whole if score.per_target else whole[:, 0]


def _with_target(axes: tuple[str, ...], per_target: bool) -> tuple[str, ...]:
    return (axes[0], "target", *axes[1:]) if per_target else axes


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array of its own; NumPy has no bfloat16, so that becomes float32."""
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    copied: np.ndarray = tensor.numpy().copy()
    return copied


def _carried(batch: Inputs) -> str | None:
    """Name the inputs that stay what they are, at the baseline too, and get no attribution."""
    there = batch.tensors(attributed=False)
    return (
        ", ".join(f"{path} ({leaf.dtype})".replace("torch.", "") for path, leaf in there.items())
        or None
    )


def _spoken(target: Any) -> str:
    if callable(target):
        return f"function {getattr(target, '__name__', type(target).__name__)}"
    if target is None or isinstance(target, (str, int, np.integer)):
        return str(target)
    return "one for each sample"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
