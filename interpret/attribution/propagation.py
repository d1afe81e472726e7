"""Rules that send the output back through the network, layer by layer; computed by Captum."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_real
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.points import Kept, Leaves, Path
from pellucid.interpret.targets import Score


@method(
    baseline=True,
    complete=True,
    cost="4 forward passes and 2 backward, with hooks",
    promise="complete only where Captum has a rule for every non-linear module: the residual tells",
    paper="Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685; computed by Captum",
    points=lambda _: 3,
    several_targets=False,
)
def deep_lift(block: Block, *, eps: float = 1e-10) -> Attribution:
    """Compare activations with those at the baseline (DeepLIFT, rescale rule), through Captum."""
    from captum.attr import DeepLift

    model = _module_that_captum_takes(block)
    if not is_real(eps) or not 0 < eps < 1:
        raise InputError(f"eps={eps!r}; differences below it are taken as zero: a small number")
    attributes = {m: set(vars(m)) for m in model.modules()}
    explainer = DeepLift(_Scored(block, model), eps=eps)

    def attribute(inputs: Leaves, baselines: Leaves, rows: Tensor) -> Leaves:
        with warnings.catch_warnings():
            # "Setting forward, backward hooks ...", at every call; the engine takes them off.
            warnings.simplefilter("ignore", UserWarning)
            found = explainer.attribute(
                tuple(leaf.requires_grad_() for leaf in inputs),
                baselines=baselines,
                additional_forward_args=(rows,),
            )
        block.engine.count.backward += 2 * len(rows)
        return tuple(found)

    try:
        values = block.delegate(attribute)
    except (RuntimeError, AssertionError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"Captum's DeepLift cannot take {block.engine.model.name}: {error}\nIt needs every "
            "activation to be a module of its own that is used once; "
            "method='integrated_gradients' has no such need"
        ) from error
    finally:
        # When a pass fails, Captum leaves what it stored on the modules behind.
        for module, before in attributes.items():
            for name in set(vars(module)) - before:
                delattr(module, name)
    ends = Kept()
    block.values(Path.between(0.0, 1.0, count=block.n, device=values.device), ends)
    baseline_prediction, prediction = ends.scores.reshape(block.n, 2, -1).unbind(1)
    return Attribution(values, prediction, baseline_prediction, None, {"eps": float(eps)})


def _module_that_captum_takes(block: Block) -> nn.Module:
    model, score = block.engine.model, block.score
    assert isinstance(score, Score)
    if model.module is None:
        raise InputError(
            "deep_lift sends differences through a module's layers, and the model is a function; "
            "pass the torch.nn.Module, or use method='integrated_gradients'"
        )
    softmax = score.output == "probability" and not score.binary
    if softmax or any(isinstance(m, nn.Softmax) for m in model.module.modules()):
        raise InputError(
            "deep_lift is not defined behind a softmax: Captum's rule for it mixes the rows of a "
            "batch, and DeepLIFT's authors explain the logits. Use output='raw' and a model that "
            "ends in logits, or method='integrated_gradients'"
        )
    return model.module


class _Scored(nn.Module):
    """The model with its target chosen: Captum needs one module that puts out one number a row."""

    def __init__(self, block: Block, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(block.score, Score)
        self.model, self.squash = model, block.score.squash  # submodules, which Captum hooks
        self._block = block

    def forward(self, *tensors: Any) -> Tensor:
        # Captum doubles the batch, inputs and baselines; and the row numbers with it.
        *leaves, rows = tensors
        return self._block.scores(tuple(leaves), rows)[:, 0]
