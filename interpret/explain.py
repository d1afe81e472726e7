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
from pellucid.interpret.backgrounds import read_background
from pellucid.interpret.baselines import check_word, make_baseline
from pellucid.interpret.block import Block
from pellucid.interpret.doubts import warn_of_doubts, warn_of_far_baseline
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import Inputs, is_whole
from pellucid.interpret.language import Language, masked
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.models import Model
from pellucid.interpret.places import Place, last_map, layer_axes, named_places
from pellucid.interpret.results import Cost, Explanation, Provenance
from pellucid.interpret.results.explanation import resolve_groups
from pellucid.interpret.results.trees import Tree, rebuild
from pellucid.interpret.targets import Score, Scoring


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
        evaluation mode where it is, and left as it was to the bit.
    inputs
        The samples, first axis first: an array, tensor or data frame; a tuple of positional inputs;
        a dict of inputs by name; nested as the model takes them. Integer inputs are carried along
        beside others; by themselves they are tokens, which the model's embedding looks up, and
        their values are the sums over the embedding. With a tokenizer, a list of texts.
    method
        A name that `pellucid.methods` lists; ``"auto"`` takes integrated gradients.
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
    tokenizer
        A tokenizer of transformers: it turns texts into tokens, and names tokens and words.
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
    if precision is not None:
        raise InputError(f"precision={precision!r}: only None is known, the model's own precision")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"seed={seed!r}; give a whole number from 0")
    chosen = registry.find("integrated_gradients" if method == "auto" else method, method_options)
    given = {"tolerance": tolerance, "steps": steps, "budget": budget}
    options = {name: value for name, value in given.items() if value is not None} | method_options
    registry.check_options(chosen, options)
    # What is compared with what is the business of the method inside, if one wraps another.
    inner = registry.find(options.get("of", "saliency")) if chosen.wraps else chosen
    _check_comparison(inner, baseline, background)
    adapted = Model(model)
    names = named_places(at, adapted)
    language = Language(adapted, tokenizer, target)
    batch = language.read(inputs, attribute)
    neuron = language.neuron

    interrupted = False
    with Engine(
        adapted, batch, device=device, batch_size=batch_size, seed=int(seed), progress=progress
    ) as engine:
        asked, names = names, _settled(chosen, names, engine)
        layers = [name for name in names if name != "input"]
        tapped = layers if neuron is None else [*layers, neuron[0]]
        example, rows = language.probe(engine, tapped)
        engine.locate(names, attribute)
        batch = engine.inputs
        labels = _Names(batch, names, feature_names, sample_ids, display, groups)
        baselines, sentence = (
            make_baseline(baseline, batch, background, language.vocabularies(engine))
            if inner.baseline
            else ({}, None)
        )
        if inner.background:
            engine.background = read_background(background, batch, engine.device)
        if inner.baseline and isinstance(baseline, str):
            warn_of_far_baseline(batch, baselines, sentence)
        score: Scoring = language.score(engine, example, rows, output, class_names) or Score(
            target=target,
            output=output,
            class_names=class_names,
            example=example if neuron is None else engine.example(neuron[0]),
            rows=rows,
            samples=batch.samples,
            squashed=adapted.ends_in_sigmoid,
        )
        del example
        if score.per_target and not chosen.several_targets:
            raise InputError(f"{chosen.name} explains one target at a time; give one class")
        points = chosen.points(options)
        engine.expect(None if points is None else batch.samples * points)
        parts: list[_Part] = []
        try:
            for block in engine.blocks(score, baselines, kept=chosen.kept(options)):
                parts.append(_Part.of(_run(chosen, block, options), block))
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
        **language.settings,
    }
    if score.part is not None:
        settings["scored"] = score.part
    if names != asked:
        settings["at"] = "auto: the last layer with rows and columns"
    provenance = Provenance(model=adapted.name, device=_device_name(engine.device), seed=int(seed))
    cost = Cost(engine.count.forward, engine.count.backward, time.perf_counter() - started)
    explanation = _assemble(
        chosen, parts, engine, baselines, score, labels, settings, provenance, cost, language
    )
    if interrupted:
        raise Interrupted(
            f"interrupted after {len(explanation)} of {batch.samples} rows; they are in this "
            "exception's `partial` (in a notebook: sys.last_value.partial)",
            explanation,
        )
    for place in engine.places:
        warn_of_doubts(
            explanation.select(place.name) if len(engine.places) > 1 else explanation,
            chosen,
            _joined(parts, place.name, "scale", score),
        )
    return explanation


def _check_comparison(chosen: Method, baseline: Any, background: Any) -> None:
    """Raise an `InputError` for a baseline or background that the method has no use for."""
    check_word(baseline)
    if not chosen.baseline and not (isinstance(baseline, str) and baseline == "auto"):
        raise InputError(f"{chosen.name} compares with no baseline; leave baseline out")
    if not chosen.baseline and not chosen.background and background is not None:
        raise InputError(
            f"{chosen.name} compares with no baseline, so it takes no background; leave it out"
        )
    if chosen.background and background is None:
        raise InputError(
            f"{chosen.name} compares with samples of the data: give them as background=..."
        )


def _settled(chosen: Method, names: list[str], engine: Engine) -> list[str]:
    """Return the places to attribute to; a method of maps finds its layer where none is named."""
    if chosen.where != "map" or "input" not in names:
        return names
    if len(names) > 1:
        raise InputError(
            f"{chosen.name} is made at layers with rows and columns, and at= names the input "
            "beside layers; leave one of the two out"
        )
    known = registry.registered().values()
    instead = [one.name for one in known if one.where == "any" and not one.background]
    return [last_map(*engine.outputs(), method=chosen.name, instead=instead)]


def _run(chosen: Method, block: Block, options: dict[str, Any]) -> dict[str, Attribution]:
    """Run a method at every place that was asked for."""
    if chosen.joint:
        found = chosen.run(block, block.places, **options)
        return {place.name: one for place, one in zip(block.places, found, strict=True)}
    return {place.name: chosen.run(block.at(place), **options) for place in block.places}


@dataclass(frozen=True)
class _Part:
    """What is known of one block when it is done; the block itself may go, and its memory."""

    found: dict[str, Attribution]  # by place
    index: Tensor | None  # the class of each row and target
    stop: int  # the row behind its last

    @classmethod
    def of(cls, found: dict[str, Attribution], block: Block) -> _Part:
        """Return a block's attributions, on the CPU."""
        index = None if block.index is None else block.index.cpu()
        return cls({name: _on_cpu(one) for name, one in found.items()}, index, block.rows.stop)


def _on_cpu(found: Attribution) -> Attribution:
    def here(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: here(one) for key, one in value.items()}
        return value.detach().cpu() if isinstance(value, Tensor) else value

    return Attribution(
        **{f.name: here(getattr(found, f.name)) for f in fields(found) if f.name != "settings"},
        settings=found.settings,
    )


class _Names:
    """What things are called and shown as, checked against the inputs."""

    def __init__(
        self,
        batch: Inputs,
        places: Sequence[str],
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
            if list(places) != ["input"]:
                if feature_names is not None:
                    raise InputError(
                        "feature_names name the columns of the input, and the attributions are "
                        f"at {', '.join(places)}; leave them out"
                    )
                self.features = None
            elif only is None or only.ndim != 2:
                raise InputError(
                    "feature_names name the columns of one input of shape (samples, features); "
                    "choose it with attribute=..., or leave them out"
                )
            elif len(self.features) != only.shape[1]:
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
            if only is None or list(places) != ["input"]:
                raise InputError("groups are of one input; choose it with attribute=...")
            masks = resolve_groups(groups, tuple(only.shape[1:]), self.features)
            self.groups = {name: mask.copy() for name, mask in masks.items()}


def _assemble(
    chosen: Method,
    parts: list[_Part],
    engine: Engine,
    baselines: Mapping[str, Tensor | None],
    score: Scoring,
    labels: _Names,
    settings: dict[str, Any],
    provenance: Provenance,
    cost: Cost,
    language: Language,
) -> Explanation:
    """Put the blocks together, in the structure of the inputs, or by place."""
    done, batch = parts[-1].stop, engine.inputs
    one = len(engine.places) == 1
    by_place = {
        place.name: _assemble_place(chosen, place, parts, engine, score) for place in engine.places
    }

    def whole(tree: Tree) -> Tree:
        """Return arrays (rows, targets, ...) with nothing where a row has no such target."""
        if score.missing is None:
            return tree
        gone = score.missing[:done]
        return rebuild(
            tree,
            lambda _, a: a if a is None else np.where(gone[(..., *[None] * (a.ndim - 2))], np.nan, a),
        )

    def of(name: str) -> Any:
        found = {place: whole(fields[name]) for place, fields in by_place.items()}
        if one:
            return found[engine.places[0].name]
        return None if all(value is None for value in found.values()) else found

    axes: dict[str, tuple[str, ...]] = {}
    for place, fields in by_place.items():
        for path, named in fields["axes"].items():
            axes[path if one else f"{place}.{path}".rstrip(".")] = named
    index: np.ndarray | None = None
    if parts[0].index is not None:
        index = score.classes_of(
            torch.cat([part.index for part in parts if part.index is not None])
        ).numpy()
        index = index[:, 0] if not score.per_target else index[0] if score.shared else index

    def shown(tree: Tree) -> Tree:
        return rebuild(
            tree,
            lambda _, leaf: _array(leaf[:done]) if isinstance(leaf, Tensor) and leaf.ndim else None,
        )

    first = parts[0].found[engine.places[0].name]
    starts = {
        path: _array(b if len(b) == 1 else b[:done])
        for path, b in baselines.items()
        if b is not None
    }
    return Explanation(
        values=of("values"),
        method=chosen.name,
        inputs=shown(batch.tree),
        baseline=batch.structured(starts) if starts else None,
        target=index,
        prediction=whole(_joined(parts, engine.places[0].name, "prediction", score)),
        baseline_prediction=of("baseline_prediction"),
        error=of("error"),
        residual=of("residual"),
        standard_error=of("standard_error"),
        cost=cost,
        feature_names=labels.features,
        class_names=score.class_names,
        sample_ids=labels.samples[:done],
        at=engine.places[0].name if one else tuple(place.name for place in engine.places),
        axes=axes[""] if list(axes) == [""] else axes,
        units=score.units,
        groups=labels.groups,
        display=None if labels.display is None else labels.display[:done],
        path=of("path"),
        **language.names(batch, score, index, done),
        settings=settings | first.settings,
        provenance=provenance,
    )


def _assemble_place(
    chosen: Method, place: Place, parts: list[_Part], engine: Engine, score: Scoring
) -> dict[str, Any]:
    """Return what is known at one place, each in the form that the explanation has it."""
    found = [part.found[place.name] for part in parts]
    flat = torch.cat([one.values for one in found])
    prediction = _joined(parts, place.name, "prediction", score)
    baseline_prediction = _joined(parts, place.name, "baseline_prediction", score)
    residual = None
    if chosen.complete and prediction is not None and baseline_prediction is not None:
        sums = torch.cat([one.values.sum(-1, dtype=torch.float64) for one in found]).numpy()
        total = sums if score.per_target else sums[:, 0]
        residual = prediction.astype(float) - baseline_prediction.astype(float) - total
    errors = [one.standard_error for one in found if one.standard_error is not None]
    values, axes = _shaped(flat, place, found[0], engine, score)
    return {
        "values": values,
        "axes": axes,
        "standard_error": (
            _shaped(torch.cat(errors), place, found[0], engine, score)[0] if errors else None
        ),
        "baseline_prediction": baseline_prediction,
        "error": _joined(parts, place.name, "error", score),
        "residual": residual,
        "path": _padded([one.path for one in found]),
    }


def _shaped(
    flat: Tensor, place: Place, found: Attribution, engine: Engine, score: Scoring
) -> tuple[Tree, dict[str, tuple[str, ...]]]:
    """Return flattened values (rows, targets, values) in the shape of their place, and its axes."""

    def one(part: Tensor, shape: Sequence[int]) -> np.ndarray:
        array = part.reshape(*part.shape[:2], *shape)
        whole: np.ndarray = (array if score.per_target else array[:, 0]).numpy()
        return whole

    if found.shape is not None:
        assert found.axes is not None
        return one(flat, found.shape), {"": _with_target(found.axes, score.per_target)}
    if place.inside:
        ((shape, _),) = engine.shapes[place.name]
        axes = layer_axes(shape, engine.model.layer(place.name))
        return one(flat, shape), {"": _with_target(axes, score.per_target)}
    batch = engine.inputs
    here = batch.tensors(attributed=True)
    split = torch.split(flat, [leaf[0].numel() for leaf in here.values()], dim=-1)
    values = {}
    named = {}
    for (path, leaf), part in zip(here.items(), split, strict=True):
        mask = batch.mask(path) if not leaf.is_floating_point() else None
        if mask is not None:
            # What is padding has no part in the prediction.
            part = masked(part, mask)  # noqa: PLW2901
        values[path] = one(part, leaf.shape[1:])
        tokens = not leaf.is_floating_point() and leaf.ndim == 2
        axes = ("sample", "token") if tokens else batch.axes(path)
        named[path] = _with_target(axes, score.per_target)
    return batch.structured(values), named


def _padded(paths: list[dict[str, Tensor] | None]) -> dict[str, np.ndarray] | None:
    """Return the nodes of all rows, padded to those of the longest path."""
    known = [path for path in paths if path is not None]
    if not known or len(known) < len(paths):
        return None
    most = max(path["step"].shape[1] for path in known)
    return {
        name: torch.cat(
            [
                torch.nn.functional.pad(
                    path[name].float(), (0, most - path[name].shape[1]), value=float("nan")
                )
                for path in known
            ]
        ).numpy()
        for name in known[0]
    }


def _joined(parts: list[_Part], place: str, name: str, score: Scoring) -> np.ndarray | None:
    """Return one number for each row (and target), of all blocks; None where it is not known."""
    columns = [getattr(part.found[place], name) for part in parts]
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
