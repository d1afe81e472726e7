"""One of Captum's attribution classes, called as a method of ours."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import InputError
from pellucid.interpret.attribution.curves import Between
from pellucid.interpret.attribution.delegated import (
    Scored,
    counted,
    delegated,
    module_of,
    refuse_softmax,
)
from pellucid.interpret.attribution.registry import Attribution
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import as_tensor
from pellucid.interpret.places import Slot, layer_axes
from pellucid.interpret.points import Kept, Leaves
from pellucid.interpret.results.trees import leaves
from pellucid.interpret.taps import first_tensor
from pellucid.interpret.targets import Score, neuron_of

# Arguments that `explain` gives in its own words, or that change what comes back.
_OURS = {
    "inputs", "baselines", "target", "additional_forward_args", "return_convergence_delta",
    "neuron_selector", "attribute_to_layer_input", "attribute_to_neuron_input",
    "return_input_shape", "show_progress", "model", "forward_func", "layer", "device_ids",
    "attribution_method",
}  # fmt: skip
# `method` says how steps are weighted, and to `explain` which method it is.
_RENAMED = {"method": "rule"}
# Their values add up to the score less that at the baseline.
_COMPLETE = {
    "IntegratedGradients", "DeepLift", "DeepLiftShap", "ShapleyValueSampling", "ShapleyValues",
    "KernelShap", "LayerConductance", "LayerIntegratedGradients", "LayerDeepLift",
    "LayerDeepLiftShap", "NeuronIntegratedGradients", "NeuronDeepLift", "NeuronDeepLiftShap",
}  # fmt: skip


def kind_of(found: Any) -> str | None:
    """Return what a class attributes to: ``"input"``, ``"layer"``, or a ``"neuron"`` to the input.

    None for what attributes no tensors to tensors.
    """
    from captum import attr

    if not inspect.isclass(found) or not issubclass(found, attr.Attribution):
        return None
    if "inputs" not in inspect.signature(getattr(found, "attribute", lambda: None)).parameters:
        return None
    if issubclass(found, attr.LayerAttribution):
        return "layer"
    return "neuron" if issubclass(found, attr.NeuronAttribution) else "input"


@dataclass(frozen=True)
class Call:
    """One of Captum's classes, callable as a method.

    Attributes
    ----------
    name
        Of the class.
    of
        What it wraps, if it is NoiseTunnel.
    whole
        Whether the values are what each feature contributes by itself.
    """

    name: str
    of: Call | None = None
    whole: bool = True

    @property
    def core(self) -> str:
        """The name of the class that attributes, without the layer or neuron."""
        inner = self.of.name if self.of else self.name
        return re.sub("^(Layer|Neuron)", "", inner)

    @property
    def kind(self) -> str:
        """Where it attributes to."""
        from captum import attr

        return self.of.kind if self.of else kind_of(getattr(attr, self.name)) or "input"

    @functools.cached_property
    def made_with(self) -> dict[str, inspect.Parameter]:
        """What its constructor takes."""
        return self._parameters(None)

    @functools.cached_property
    def called_with(self) -> dict[str, inspect.Parameter]:
        """What its `attribute` takes."""
        return self._parameters("attribute")

    def _parameters(self, of: str | None) -> dict[str, inspect.Parameter]:
        from captum import attr

        found = getattr(attr, self.name)
        parameters = inspect.signature(found if of is None else getattr(found, of)).parameters
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return {name: p for name, p in parameters.items() if p.kind is plain and name != "self"}

    @property
    def options(self) -> dict[str, Any]:
        """What can be given to it, with the defaults; `Parameter.empty` where there is none."""
        both = {**self.made_with, **self.called_with}
        own = {_RENAMED.get(n, n): p.default for n, p in both.items() if n not in _OURS}
        if self.name == "GuidedGradCam":
            own["layer"] = inspect.Parameter.empty
        if self.name == "NeuronConductance":
            own["neuron"] = inspect.Parameter.empty
        if self.of is not None:
            own = {"of": "Saliency", **own, **self.of.options}
        return own

    @property
    def __signature__(self) -> inspect.Signature:
        """The block, and the options: what the registry reads."""
        block = inspect.Parameter("block", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        rest = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in self.options]
        return inspect.Signature([block, *rest])

    @property
    def _comparison(self) -> inspect.Parameter | None:
        return (self.of or self).called_with.get("baselines")

    @property
    def baseline(self) -> bool:
        """Whether it compares with a baseline."""
        found = self._comparison
        return found is not None and found.default is not inspect.Parameter.empty

    @property
    def background(self) -> bool:
        """Whether it compares with samples of the data."""
        found = self._comparison
        return found is not None and found.default is inspect.Parameter.empty

    @property
    def complete(self) -> bool:
        """Whether its values add up to the prediction less the baseline's."""
        return self.whole and self.of is None and self.name in _COMPLETE

    @property
    def paper(self) -> str:
        """Where it comes from, as far as Captum says."""
        import captum
        from captum import attr

        said = re.search(r"https?://arxiv\.org/\S+\d", getattr(attr, self.name).__doc__ or "")
        by = f"computed by Captum {captum.__version__}"
        return f"{said.group()}; {by}" if said else by

    # -- running it --------------------------------------------------------------------------

    def __call__(self, block: Block, **options: Any) -> Attribution:
        """Return Captum's attributions for the rows of a block."""
        import captum

        self._check(block, options)
        source = block.source if self.kind == "layer" else block
        explainer, arguments = self._explainer(block, options), self._arguments(source, options)
        shapes: list[tuple[int, ...]] = []
        tensors = 1

        def attribute(inputs: Leaves, baselines: Leaves, rows: Tensor) -> Leaves:
            nonlocal tensors
            given = dict(arguments)
            if self.baseline:
                given["baselines"] = baselines
            if self.background:
                pairs = zip(source.background, inputs, strict=True)
                given["baselines"] = tuple(samples.to(leaf.dtype) for samples, leaf in pairs)
            if "internal_batch_size" in (self.of or self).called_with:
                given.setdefault("internal_batch_size", max(len(rows), block.engine.chunk))
            self._check_rows(rows, block)
            found = explainer.attribute(inputs, additional_forward_args=(rows,), **given)
            if self.kind == "layer":
                tensors = len(found) if isinstance(found, (tuple, list)) else 1
                found = (first_tensor(found),)
            else:
                self._check_shapes(found, inputs)
            shapes.append(tuple(found[0].shape[1:]))
            return self._of_tokens(tuple(found), source, given)

        values = delegated(
            source,
            attribute,
            what=self.name,
            width=self._width(block, options),
            reduce=self.kind != "layer",
        )
        prediction, start = self._scores(block)
        said = {name: _said(v) for name, v in {**self.options, **options}.items()}
        settings = {"captum": captum.__version__, **said}
        if tensors > 1:
            settings["tensor"] = f"the first of the {tensors} that the layer puts out"
            start = None
        shape, axes = self._shape(block, shapes[0])
        return Attribution(values, prediction, start, None, settings, shape=shape, axes=axes)

    def _check(self, block: Block, options: dict[str, Any]) -> None:
        """Raise an `InputError` for a place or a target that the class has no use for."""
        what, score = f"captum:{self.name}", block.score
        inside = block.place.inside
        if self.kind == "layer" and not inside:
            raise InputError(f"{what} attributes to a layer; name it: at='layer'")
        at_input = self.kind == "neuron" or self.core in ("GuidedGradCam", "LRP")
        if inside and at_input and self.kind != "layer":
            raise InputError(
                f"{what} attributes to the input, not to layer {block.place.name!r}; "
                + (
                    "use 'captum:LayerLRP'"
                    if self.core == "LRP"
                    else "leave at out"
                    if self.kind == "input"
                    else f"use 'captum:{self.core}' with the neuron as the target"
                )
            )
        if self.kind == "neuron" and "neuron" not in self.options and score and not score.layer:
            raise InputError(
                f"{what} explains a unit inside the model; name it: target=('layer', index)"
            )
        missing = [
            n
            for n, default in self.options.items()
            if default is inspect.Parameter.empty and n not in options
        ]
        if missing:
            raise InputError(f"{what} needs {missing[0]}=...")
        if self.core.endswith("GradCam") and block.engine.model.channels_last:
            raise InputError(
                f"{what} takes the first axis for the channels, and this model has them last; "
                "use method='grad_cam'"
            )
        if self.core == "Occlusion" and block.source.place.layers:
            raise InputError(
                f"{what} slides over the inputs' axes, and an embedding's is none to slide over; "
                "'captum:FeatureAblation' takes token by token"
            )

    def _check_rows(self, rows: Tensor, block: Block) -> None:
        if self.core != "FeaturePermutation":
            return
        samples = block.engine.inputs.samples
        if samples < 2 or len(rows) < samples:
            raise InputError(
                f"captum:{self.name} shuffles a feature among the rows that go through the model "
                + (
                    "together, and there is one sample only"
                    if samples < 2
                    else f"together, and of {samples} samples only {len(rows)} do; give "
                    f"batch_size={samples}, or fewer samples"
                )
            )

    def _check_shapes(self, found: Any, inputs: Leaves) -> None:
        given = [tuple(leaf.shape) for leaf in inputs]
        came = [tuple(part.shape) for part in found]
        if given != came:
            raise InputError(
                f"captum:{self.name} returned attributions of shape {came} for inputs of shape "
                f"{given}: it cannot map them back to the inputs"
            )

    def _explainer(self, block: Block, options: dict[str, Any]) -> Any:
        """Return the class's instance, for the model with its target chosen."""
        from captum import attr

        if self.of is not None:
            return attr.NoiseTunnel(self.of._explainer(block, options))
        module = None
        if "model" in self.made_with:
            module = module_of(block, f"captum:{self.name}")
            if self.core.startswith("DeepLift") and self.kind != "neuron":
                refuse_softmax(block, module, f"captum:{self.name}")
        made: list[Any] = [Scored(block.source if self.kind == "layer" else block, module)]
        layer = self._layer(block, options)
        if layer is not None:
            made.append(block.engine.model.layer(layer))
        own = {n: options[n] for n in self.made_with if n in options and n not in _OURS}
        explainer = getattr(attr, self.name)(*made, **own)
        if self.core == "LRP":
            # It would reload the model's state, buffers and all; what it changed is put back by us.
            explainer._restore_state = lambda: None
        return explainer

    def _layer(self, block: Block, options: dict[str, Any]) -> str | None:
        """Return the layer that Captum is to hook."""
        if self.kind == "layer":
            return block.place.name
        if self.name == "GuidedGradCam":
            return str(options["layer"])
        if self.kind == "neuron":
            assert block.score is not None
            return self._neuron(options)[0] if "neuron" in self.options else block.score.layer
        return None

    def _neuron(self, options: dict[str, Any]) -> tuple[str, Any]:
        found = neuron_of(options["neuron"])
        if found is None:
            raise InputError(
                f"neuron={options['neuron']!r}; give the layer and the index: ('layer', index)"
            )
        return found

    def _arguments(self, source: Block, options: dict[str, Any]) -> dict[str, Any]:
        """Return what `attribute` is called with, besides inputs and their baselines."""
        if self.of is not None:
            own = {n: options[n] for n in self.called_with if n in options}
            return own | self.of._arguments(source, options)
        own = {
            n: options[_RENAMED.get(n, n)]
            for n in self.called_with
            if _RENAMED.get(n, n) in options and n not in _OURS
        }
        if "feature_mask" in self.called_with:
            mask = _mask(source, own.pop("feature_mask", None))
            if mask is not None:
                own["feature_mask"] = mask
        if self.kind == "neuron":
            score = source.score
            if "neuron" in self.options:
                own["neuron_selector"] = self._neuron(options)[1]
            else:
                assert isinstance(score, Score)
                own["neuron_selector"] = lambda output: counted(
                    score.functions[0](first_tensor(output)), source
                )
        return own

    def _width(self, block: Block, options: dict[str, Any]) -> int:
        """Return how many points it makes of each row at a time."""

        def of(name: str) -> int:
            value = options.get(name) or self.options.get(name)
            return value if isinstance(value, int) else 1

        width = of("nt_samples_batch_size") if options.get("nt_samples_batch_size") else 1
        if width == 1:
            width = of("nt_samples")
        if self.core.startswith("DeepLift"):
            return width * 2 * (len(block.engine.background[0]) if self.background else 1)
        if self.core == "GradientShap":
            return width * of("n_samples")
        return width * (1 if self.core in ("Lime", "KernelShap") else of("perturbations_per_eval"))

    def _of_tokens(self, found: Leaves, source: Block, given: dict[str, Any]) -> Leaves:
        """Share a token's one value among what its embedding holds, which is added up later."""
        if given.get("feature_mask") is None:
            return found
        return tuple(
            part / part.shape[-1] if _is_embedded(slot) else part
            for part, slot in zip(found, source.place.slots, strict=True)
        )

    def _scores(self, block: Block) -> tuple[Tensor, Tensor | None]:
        """Return the rows' scores, and those that they are compared with."""
        # Of Captum's layers' paths, one is straight at the layer, the others are at the input.
        at_input = self.kind == "layer" and self.name != "LayerIntegratedGradients"
        place, device = block.source if at_input else block, block.engine.device
        if self.complete and self.baseline:
            start, prediction = place.ends()
            return prediction, start
        if not self.complete:
            return block.prediction(), None
        starts = Kept()
        samples = place.background
        count = len(samples[0])
        row = torch.arange(block.n, device=device).repeat_interleave(count)
        number = torch.arange(count, device=device).repeat(block.n)
        place.values(Between(row, number, torch.zeros_like(row).double(), samples), starts)
        return block.prediction(), starts.scores.reshape(block.n, count, -1).mean(1)

    def _shape(
        self, block: Block, shape: tuple[int, ...]
    ) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
        """Return the shape of a row's values and its axes, where they are not the place's."""
        if self.kind != "layer":
            return None, None
        ((there, _),) = block.engine.shapes[block.place.name]
        if shape == there:
            return None, None
        model = block.engine.model
        axes = layer_axes(shape, model.layer(block.place.name), model)
        if len(shape) > 1 and shape[0] == 1:  # a map, summed over the channels
            return shape[1:], (axes[0], *axes[2:])
        return shape, axes


def _is_embedded(slot: Slot) -> bool:
    """Whether a slot holds what an embedding looked up: vectors, one for each token."""
    return slot.path is not None and slot.layer is not None


def _mask(source: Block, given: Any) -> Leaves | None:
    """Return which features belong together, as Captum takes it: one tensor for each slot.

    A token is one feature, with all that its embedding holds.
    """
    slots, inputs = source.place.slots, source.inputs
    if given is None and not any(map(_is_embedded, slots)):
        return None
    parts = dict(leaves(given)) if given is not None else {}
    masks, first = [], 0
    for slot, leaf in zip(slots, inputs, strict=True):
        path, shape = slot.path or "", tuple(leaf.shape[1:])
        of_row = shape[:-1] if _is_embedded(slot) else shape
        if given is None:
            size = torch.Size(of_row).numel()
            mask = torch.arange(first, first + size).reshape(of_row)
            first += size
        else:
            mask = as_tensor(path, parts.get(path), None)
            if isinstance(mask, Tensor) and mask.ndim == len(of_row) + 1 and len(mask) == 1:
                mask = mask[0]
            if not isinstance(mask, Tensor) or tuple(mask.shape) != of_row:
                came = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
                raise InputError(
                    f"feature_mask has {came}; give the number of each feature's group, in one "
                    f"sample's shape {of_row}: it is the same for all samples"
                )
        mask = mask.long().to(leaf.device)
        if _is_embedded(slot):
            mask = mask[..., None].expand(shape)
        # Captum's Shapley values take a view of it, which fails for one that is spread out.
        masks.append(mask[None].contiguous())
    return tuple(masks)


def _said(value: Any) -> Any:
    """Return an argument as the result keeps it: numbers and words as they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_said(one) for one in value]
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    return getattr(value, "__name__", type(value).__name__)
