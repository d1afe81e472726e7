"""Captum's own table of models, inputs, targets and algorithms: its call beside ours.

Twice for every pair: natively, where a method of ours answers the same question, and by Captum's
name. What is not compared stands in a table here, with the reason.
"""

import copy
import functools
import warnings

import numpy as np
import pytest
import torch
from captum import attr
from captum.testing.attr.helpers.test_config import config
from torch import nn

import pellucid as pl
from pellucid.interpret.attribution.registry import registered
from pellucid.interpret.results.trees import leaves

pytestmark = pytest.mark.filterwarnings("ignore")

PAIRS = {
    f"{case['name']}-{algorithm.__name__}": (case, algorithm)
    for case in config
    for algorithm in case["algorithms"]
}


class Flattened(nn.Module):
    """A model of several outputs for each row and class, as one of more classes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(*inputs).flatten(1)


def moved(value, device):
    if isinstance(value, torch.Tensor):
        return value.clone().to(device)
    return tuple(moved(v, device) for v in value) if isinstance(value, tuple) else value


class Pair:
    """One case and algorithm of the table, as both sides are called."""

    def __init__(self, case, algorithm, device):
        self.case, self.algorithm, self.name = case, algorithm, algorithm.__name__
        self.model = copy.deepcopy(case["model"]).to(device).eval()
        self.arguments = {k: moved(v, device) for k, v in case["attribute_args"].items()}
        self.noisy = case.get("noise_tunnel", False)

    # -- Captum's side -------------------------------------------------------------------------

    def captum(self, *, seed=0, **changes):
        """Return what Captum returns, as one tuple of tensors."""
        made = []
        if self.case.get("layer") is not None:
            named = dict(self.model.named_modules())
            layers = self.case["layer"]
            made = [named[n] for n in layers] if isinstance(layers, list) else [named[layers]]
            made = [made] if isinstance(layers, list) else made
        explainer = self.algorithm(self.model, *made)
        if self.noisy:
            explainer = attr.NoiseTunnel(explainer)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            np.random.seed([seed, 0, 0, 0])
            found = explainer.attribute(**{**self.arguments, **changes})
        return found if isinstance(found, (tuple, list)) else (found,)

    # -- our side ------------------------------------------------------------------------------

    def options(self):
        """Return model, inputs and what else `explain` takes, but for the method's options."""
        given = dict(self.arguments)
        first, extra = given.pop("inputs"), given.pop("additional_forward_args", ())
        several = isinstance(first, tuple)
        inputs = (*(first if several else (first,)), *(extra if isinstance(extra, tuple) else ()))
        attribute = [str(i) for i in range(len(first))] if several else ["0"]
        options = {"batch_size": 10**6, "attribute": attribute} if len(inputs) > 1 else {
            "batch_size": 10**6
        }  # fmt: skip
        model = self.model
        target = given.pop("target", None)
        if isinstance(target, list) and isinstance(target[0], tuple):
            model, target = Flattened(model), [4 * a + 2 * b + c for a, b, c in target]
        elif isinstance(target, torch.Tensor) and target.numel() == 1:
            target = int(target)
        if target is not None:
            options["target"] = target
        if "baselines" in given:
            compared = given.pop("baselines")
            compared = compared if isinstance(compared, tuple) else (compared,)
            whole = (*compared, *[None] * (len(inputs) - len(compared)))
            word = "background" if self.case.get("baseline_distr") else "baseline"
            options[word] = whole if len(inputs) > 1 else whole[0]
        self.rest = given
        return model, inputs if len(inputs) > 1 else inputs[0], options

    def layer(self, model):
        layers = self.case["layer"]
        before = "model." if isinstance(model, Flattened) else ""
        return [before + n for n in layers] if isinstance(layers, list) else before + layers

    def ours(self, method, **changes):
        """Return our explanation, with the method's options on top."""
        model, inputs, options = self.options()
        if self.name.startswith("Neuron") and "neuron" not in changes:
            options["target"] = (self.layer(model), self.rest.pop("neuron_selector"))
        elif self.case.get("layer") is not None and self.name != "GuidedGradCam":
            if not self.name.startswith("Neuron"):
                options["at"] = self.layer(model)
        return pl.explain(model, inputs, method=method, **{**options, **changes})


def parts(explanation):
    """Return an explanation's values as a list of arrays, those that are there."""
    return [array for _, array in leaves(explanation.values) if array is not None]


def assert_same(found, expected, tolerance=1e-5):
    """All parts agree, relative to the norm of them all."""
    expected = [e.detach().cpu().double().numpy() for e in expected]
    assert [f.shape for f in found] == [e.shape for e in expected]
    size = max(np.sqrt(sum((e**2).sum() for e in expected)), 1e-12)
    apart = np.sqrt(sum(((f - e) ** 2).sum() for f, e in zip(found, expected, strict=True)))
    assert apart <= tolerance * size, (apart, size)


@pytest.mark.parametrize("pair", PAIRS)
def test_captums_name_gives_what_captum_gives(pair, device):
    case, algorithm = PAIRS[pair]
    pair = Pair(case, algorithm, device)
    expected = pair.captum()
    pair.options()
    changes = {k: v for k, v in pair.rest.items() if k != "neuron_selector"}
    name = pair.name
    if pair.noisy:
        name, changes["of"] = "NoiseTunnel", pair.name
    if name == "GuidedGradCam":
        changes["layer"] = case["layer"]
    if name == "NeuronConductance":
        model, _, _ = pair.options()
        changes["neuron"] = (pair.layer(model), case["attribute_args"]["neuron_selector"])
    found = pair.ours(f"captum:{name}", **changes)
    assert_same(parts(found), expected)
