"""`snapshot`: a model at one moment: its parameters, and what some inputs make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import InputError, InputTypeError, ModelError, PellucidError
from pellucid.interpret.inputs import Inputs, is_whole, read_inputs
from pellucid.interpret.inspection import activity
from pellucid.interpret.inspection.architecture import Trace, trace, uncompiled
from pellucid.interpret.inspection.coefficients import has_coefficients, of_estimator
from pellucid.interpret.inspection.nodes import Architecture, relevance_of
from pellucid.interpret.inspection.parameters import modules_of, parameters_of
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.models import Model
from pellucid.interpret.results import Explanation, Layer, Node, Provenance, Snapshot
from pellucid.interpret.results.trees import rebuild

_ROOM = 64 * 2**20  # bytes of activations
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def snapshot(
    model: Any,
    inputs: Any = None,
    *,
    targets: Any = None,
    loss: Callable[..., Any] | None = None,
    explanation: Explanation | None = None,
    samples: int = 64,
    keep: int = 8,
    seed: int = 0,
) -> Snapshot:
    """Look at a model at one moment, so that it can be drawn without it.

    Without inputs, its parameters and the tree of its modules. With inputs, also what flows where,
    what the layers and the activation functions put out, and how long they take. The model is run
    in evaluation mode, and left as it was, to the bit.

    Parameters
    ----------
    model
        A `torch.nn.Module`, a Keras 3 model on torch, or a fitted estimator of scikit-learn with
        coefficients (`MLPClassifier`, a linear model, a linear SVM, or a pipeline that ends in
        one).
    inputs
        Some samples, the sample axis first: an array, tensor or data frame; a tuple of positional
        or a dict of named inputs.
    targets
        What these samples' outputs should be: class indices, or whatever `loss` takes. Gives each
        node its gradient norm.
    loss
        A function of the model's output (its ``logits``, where it has such) and the targets; None
        for cross-entropy.
    explanation
        Attributions at layers of this model (``explain(..., at=["layer1", "layer2"])``). Gives
        these nodes their relevance.
    samples
        How many samples are run at most, the first ones.
    keep
        For how many of these the activations are kept at most. All activations together take 64 MiB
        at most; ``settings`` say what was left out.
    seed
        Of the random state that the model sees.

    Returns
    -------
    Snapshot
        Arrays are copies on the CPU. Weights have torch's layout, (out, in, ...), also those of
        Keras and scikit-learn.

    Raises
    ------
    InputTypeError
        If the model is of another kind, or something else is.
    InputError
        If it has no parameters, or the inputs or targets cannot be worked with.
    ModelError
        If it fails on the inputs.
    """
    for name, value in {"samples": samples, "keep": keep}.items():
        if not is_whole(value) or value < 1:
            raise InputError(f"{name} is a number of samples of at least 1; got {value!r}")
    if explanation is not None and not isinstance(explanation, Explanation):
        raise InputTypeError(
            f"explanation is a {type(explanation).__name__}; give what pl.explain returns"
        )
    if inputs is None:
        _need_inputs(targets=targets, loss=loss, explanation=explanation)
    module = getattr(model, "_orig_mod", model)
    if not isinstance(module, nn.Module):
        if has_coefficients(model):
            _not_of_tables(targets=targets, loss=loss, explanation=explanation)
            return of_estimator(model, inputs, samples=samples, keep=keep)
        raise InputTypeError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module, a Keras model, or a "
            "fitted estimator of scikit-learn that has coefficients"
        )
    parts = modules_of(module)
    taken, owned = parameters_of(parts)
    if not taken:
        raise InputError(f"{type(module).__name__} has no parameters to take a snapshot of")
    name = type(module).__name__
    device = next((str(p.device) for found in owned.values() for p in found), "cpu")
    if inputs is None:
        nodes = tuple(
            Node(
                path,
                type(part).__name__,
                None,
                {"parameters": float(sum(p.numel() for p in owned.get(path, ())))},
            )
            for path, part in parts.items()
        )
        return Snapshot(
            layers=taken, name=name, nodes=nodes, provenance=Provenance(model=name, device=device)
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise InputTypeError(
            f"{name} is a module of TorchScript, which cannot be listened to; give the module that "
            "it was made from, or leave the inputs out"
        )
    look = _Look(Model(model), parts, inputs, samples)
    return look.snapshot(taken, owned, targets, loss, explanation, keep, seed)


def _need_inputs(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} was given without inputs; give the samples that belong to it")


def _not_of_tables(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} has no meaning for an estimator; leave it out")


class _Look:
    """A model, its modules, and the samples to run it on."""

    def __init__(
        self, model: Model, parts: Mapping[str, nn.Module], inputs: Any, samples: int
    ) -> None:
        self.model, self.parts = model, parts
        given = read_inputs(inputs, attribute=None, dtype=model.dtype)
        self.given, self.rows = given.samples, min(given.samples, samples)
        self.device = model.device or torch.device("cpu")
        self.inputs = Inputs(
            tree=rebuild(given.tree, self._first),
            attributed=given.attributed,
            samples=self.rows,
        )
        module = model.module
        # What spreads a batch over devices calls copies of the modules, not those that we hear.
        self._runs = module.module if isinstance(module, _WRAPPERS) else module

    def _first(self, _: str, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim:
            return leaf[: self.rows].to(self.device)
        return leaf

    def run(self, tensors: Mapping[str, Tensor]) -> Any:
        """Run the model on these samples."""
        arguments, named = self.inputs.arguments(tensors)
        assert self._runs is not None
        return self._runs(*arguments, **named)

    def fresh(self) -> Any:
        """Run the model on copies: it may write into what it is given."""
        return self.run({path: leaf.clone() for path, leaf in self.inputs.tensors().items()})

    def snapshot(
        self,
        layers: tuple[Layer, ...],
        owned: Mapping[str, list[nn.Parameter]],
        targets: Any,
        loss: Callable[..., Any] | None,
        explanation: Explanation | None,
        keep: int,
        seed: int,
    ) -> Snapshot:
        """Run the model, and say what happened."""
        norms: dict[nn.Parameter, float] = {}
        try:
            with self.model.frozen(seed, self.device), uncompiled():
                with torch.no_grad():
                    found = self._follow()
                    watched, kept = self._watch(found, keep)
                    seconds = activity.seconds(self.fresh, self.parts, self.device)
                if targets is not None:
                    norms = dict(
                        activity.gradient_norms(self.fresh, self.model, targets, loss, self.rows)
                    )
        except Exception as error:
            if isinstance(error, PellucidError) or is_out_of_memory(error):
                raise
            raise ModelError(
                f"{self.model.name} failed on the inputs: {type(error).__name__}: {error}\nThe "
                "first axis of every input counts the samples; a dict is passed by name"
            ) from error
        shown = {path: activity.array(leaf[:kept]) for path, leaf in self.inputs.tensors().items()}
        here = Architecture(found, self.parts)
        return Snapshot(
            layers=layers,
            name=self.model.name,
            nodes=here.nodes(watched, seconds, self.rows, owned, norms, relevance_of(explanation)),
            edges=here.edges,
            inputs=self.inputs.structured(shown),
            activations=here.named(watched.activations),
            functions=here.named(watched.functions),
            settings={
                "samples": self.rows,
                "samples given": self.given,
                "samples kept": kept,
                "edges": "followed" if found.followed else "order of the calls",
                "activations left out": len(watched.zero) - len(watched.activations),
                "loss": None if targets is None else _loss_name(loss),
            },
            provenance=Provenance(model=self.model.name, device=str(self.device), seed=seed),
        )

    def _follow(self) -> Trace:
        tensors = {path: leaf.clone() for path, leaf in self.inputs.tensors().items()}
        return trace(lambda: self.run(tensors), self.parts, list(tensors.values()))

    def _watch(self, found: Trace, keep: int) -> tuple[activity.Activity, int]:
        """Return what the layers put out, and for how many samples it is kept at most."""
        shapes = {
            call.number: call.shape or ()
            for call in found.calls
            if call.number is not None and call.leaf
        }
        kept, count = activity.kept_samples(shapes, self.rows, keep, _ROOM)
        return activity.watch(
            self.fresh, self.parts, set(shapes), kept, self.rows, self.model
        ), count


def _loss_name(loss: Callable[..., Any] | None) -> str:
    return "cross-entropy" if loss is None else getattr(loss, "__name__", type(loss).__name__)
