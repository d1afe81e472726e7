"""Captum's own table of models, inputs, targets and algorithms: its call beside ours.

Twice for every pair: natively, where a method of ours answers the same question, and by Captum's
name. What is not compared stands in a table here, with the reason.
"""

import copy
import itertools

import captum
import numpy as np
import pytest
import torch
from captum import attr
from captum.testing.attr.helpers.test_config import config
from captum.testing.helpers.basic_models import BasicModel_ConvNet
from torch import nn

import pellucid as pl
from pellucid.errors import InputError
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
        self.model = copy.deepcopy(case["model"])
        if isinstance(self.model, BasicModel_ConvNet):
            # All its classes have the same weights: behind the softmax, gradients are rounding.
            generator = torch.Generator().manual_seed(0)
            self.model.fc2.weight.data = 0.01 * torch.randn(10, 8, generator=generator)
        self.model = self.model.to(device).eval()
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
        of_neuron = self.name.startswith("Neuron")
        if of_neuron and "neuron" not in changes:
            options["target"] = (self.layer(model), self.rest.pop("neuron_selector"))
        elif self.case.get("layer") is not None and not of_neuron and self.name != "GuidedGradCam":
            options["at"] = self.layer(model)
        return pl.explain(model, inputs, method=method, **{**options, **changes})


def parts(explanation):
    """Return an explanation's values as a list of arrays, those that are there."""
    return [array for _, array in leaves(explanation.values) if array is not None]


def first_tensors(found):
    """Return of each layer's tensors the first: the one that we attribute to."""
    return [one[0] if isinstance(one, tuple) else one for one in found]


def assert_same(found, expected, tolerance=1e-5):
    """All parts agree, relative to the norm of them all."""
    expected = [e.detach().cpu().double().numpy() for e in expected]
    # A map summed over channels has an axis of one channel at Captum.
    expected = [
        e[:, 0] if e.shape == (len(f), 1, *f.shape[1:]) else e
        for f, e in zip(found, expected, strict=True)
    ]
    assert [f.shape for f in found] == [e.shape for e in expected]
    size = np.sqrt(sum((e**2).sum() for e in expected))
    apart = np.sqrt(sum(((f - e) ** 2).sum() for f, e in zip(found, expected, strict=True)))
    assert apart <= tolerance * size, (apart, size)


# -- by Captum's name --------------------------------------------------------------------------

_SELECTOR = "a neuron is named by its index: functions and slices of a layer are no target"
REFUSED = {
    **{
        f"{case['name']}-{algorithm.__name__}": (InputError, _SELECTOR)
        for case in config
        if case["name"] in ("basic_neuron_multi_input_function_selector",
                            "conv_neuron_slice_selector")
        for algorithm in case["algorithms"]
    },
    "conv_layer_single_target-LayerDeepLift": (
        InputError, "Captum's rule for softmax mixes the rows of a batch"
    ),
}  # fmt: skip


def by_name(pair, case):
    """Return what `explain` gives for a pair, by Captum's name."""
    pair.options()
    changes = {k: v for k, v in pair.rest.items() if k != "neuron_selector"}
    name = pair.name
    if pair.noisy:
        name, changes["of"] = "NoiseTunnel", pair.name
    if name == "GuidedGradCam":
        changes["layer"] = case["layer"]
    if name == "NeuronConductance":
        changes["neuron"] = (pair.layer(pair.options()[0]), pair.rest["neuron_selector"])
    return pair.ours(f"captum:{name}", **changes)


@pytest.mark.parametrize("name", PAIRS)
def test_captums_name_gives_what_captum_gives(name, device):
    case, algorithm = PAIRS[name]
    pair = Pair(case, algorithm, device)
    if name in REFUSED:
        with pytest.raises(REFUSED[name][0]):
            by_name(pair, case)
        return
    expected = pair.captum()
    if pair.name.startswith(("Layer", "Internal")):
        # Of a layer that puts out several tensors ours is the first.
        expected = first_tensors(expected)[: len(case["layer"]) if is_list(case) else 1]
    found = by_name(pair, case)
    assert_same(parts(found), expected)
    assert found.method == f"captum:{'NoiseTunnel' if pair.noisy else pair.name}"
    assert found.settings["captum"] == captum.__version__


def is_list(case):
    return isinstance(case.get("layer"), list)


# -- natively ----------------------------------------------------------------------------------

GAUSS = {"steps": 50, "rule": "gauss_legendre"}
NATIVE = {
    "Saliency": ("saliency", {"absolute": True}),
    "InputXGradient": ("input_x_gradient", {}),
    "IntegratedGradients": ("integrated_gradients", GAUSS),
    "DeepLift": ("deep_lift", {}),
    "DeepLiftShap": ("deep_lift", {}),
    "GuidedBackprop": ("guided_backprop", {}),
    "Deconvolution": ("deconvolution", {}),
    "LRP": ("lrp", {}),
    "GradientShap": ("expected_gradients", {"draws": 1000}),
    "LayerGradientXActivation": ("input_x_gradient", {}),
    "LayerIntegratedGradients": ("integrated_gradients", GAUSS),
    "LayerDeepLift": ("deep_lift", {}),
    "LayerDeepLiftShap": ("deep_lift", {}),
    "LayerLRP": ("lrp", {}),
    "LayerGradCam": ("grad_cam", {"relu": False}),
    "LayerConductance": ("conductance", {"tolerance": 1e-3}),
    "InternalInfluence": ("internal_influence", {"tolerance": 1e-3}),
    "LayerGradientShap": ("internal_influence", {"tolerance": 1e-3}),
    "NeuronGradient": ("saliency", {}),
    "NeuronIntegratedGradients": ("integrated_gradients", GAUSS),
    "NeuronDeepLift": ("deep_lift", {}),
    "NeuronDeepLiftShap": ("deep_lift", {}),
    "NeuronGuidedBackprop": ("guided_backprop", {}),
    "NeuronDeconvolution": ("deconvolution", {}),
    "NeuronGradientShap": ("expected_gradients", {"draws": 1000}),
}
# Pairs that a method of ours would answer, but refuses.
NOT_OURS = {
    "conv_layer_single_target-LayerDeepLift": (InputError, "not defined behind a softmax"),
}
METHODS = registered()


class Layer(nn.Module):
    """What a layer puts out, as a model: a function of it is a target like any other."""

    def __init__(self, model, name):
        super().__init__()
        self.model, self.name = model, name
        for child, module in model.named_children():
            if isinstance(module, nn.Softmax):  # behind the layer
                setattr(model, child, nn.Identity())

    def forward(self, *inputs):
        heard = []
        layer = self.model.get_submodule(self.name)
        handle = layer.register_forward_hook(lambda _, __, output: heard.append(output))
        self.model(*inputs)
        handle.remove()
        return heard[0]


def native(pair, case):
    """Return our own method's values for a pair, and the standard errors of those that have any."""
    method, options = NATIVE[pair.name]
    if pair.noisy:  # with no noise, at Captum's table
        method, options = "smoothgrad", {"of": method, "draws": 20, "stdev": 1e-9, **options}
    selector = case["attribute_args"].get("neuron_selector")
    if callable(selector) or (isinstance(selector, tuple) and isinstance(selector[0], slice)):
        model, inputs, others = pair.options()
        chosen = selector if callable(selector) else sliced(selector)
        layer = Layer(model, case["layer"])
        others["target"] = chosen
        return parts(pl.explain(layer, inputs, method=method, **others, **options)), None
    if pair.name == "LayerGradCam" and pair.captum()[0].ndim == 2:
        # Of a layer without rows and columns it is the sum over its units.
        found = pair.ours("input_x_gradient")
        return [part.sum(1, keepdims=True) for part in parts(found)], None
    if pair.name.endswith("DeepLiftShap"):
        # The mean over the baselines.
        found = [
            parts(pair.ours(method, background=None, baseline=one, **options))
            for one in baselines(pair)
        ]
        return [np.mean(part, axis=0) for part in zip(*found, strict=True)], None
    if pair.name == "LayerGradientShap":
        # The mean gradient along the paths from all baselines, each times the layer's difference.
        model, inputs, _ = pair.options()
        total = 0
        starts = baselines(pair, mixed=True)
        for one in starts:
            slope = pair.ours(method, background=None, baseline=one, **options).values
            total = total + slope * (activation(pair, model, inputs) - activation(
                pair, model, started(inputs, one)))  # fmt: skip
        return [total / len(starts)], [np.zeros_like(total)]
    found = pair.ours(method, **options)
    errors = found.standard_error
    return parts(found), None if errors is None else [e for _, e in leaves(errors) if e is not None]


def sliced(selector):
    """The sum over a slice of a layer's output."""
    return lambda output: output[(slice(None), *selector)].flatten(1).sum(1)


def baselines(pair, *, mixed=False):
    """Return the samples of a pair's distribution, each in the structure of the inputs.

    Captum's GradientShap draws for each input by itself: it mixes the parts of all samples.
    """
    many = pair.arguments["baselines"]
    many = many if isinstance(many, tuple) else (many,)
    inputs = pair.options()[1]
    whole = itertools.product(*many) if mixed else zip(*many, strict=True)
    if not isinstance(inputs, tuple):
        return [one for (one,) in whole]
    return [(*one, *[None] * (len(inputs) - len(one))) for one in whole]


def started(inputs, baseline):
    """Return inputs with the baseline in the place of those that have one."""
    if not isinstance(inputs, tuple):
        return baseline.expand_as(inputs)
    pairs = zip(inputs, baseline, strict=True)
    return tuple(x if b is None else b.expand_as(x) for x, b in pairs)


def activation(pair, model, inputs):
    """Return what a pair's layer puts out: the first tensor."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    with torch.no_grad():
        output = Layer(model, pair.case["layer"])(*inputs)
    return (output[0] if isinstance(output, tuple) else output).cpu().numpy()


@pytest.mark.parametrize("name", [n for n in PAIRS if PAIRS[n][1].__name__ in NATIVE])
def test_our_method_gives_what_captum_gives(name, device):
    case, algorithm = PAIRS[name]
    pair = Pair(case, algorithm, device)
    if name in NOT_OURS:
        with pytest.raises(NOT_OURS[name][0], match=NOT_OURS[name][1]):
            native(pair, case)
        return
    cut = slice(len(case["layer"]) if is_list(case) else 1)
    cut = cut if pair.name.startswith(("Layer", "Internal")) else slice(None)
    found, errors = native(pair, case)
    if pair.name.endswith("GradientShap"):
        drawn = [first_tensors(pair.captum(seed=s, n_samples=50))[cut] for s in range(40)]
        for ours, error, theirs in zip(found, errors, zip(*drawn, strict=True), strict=True):
            many = np.stack([t.detach().cpu().double().numpy() for t in theirs])
            both = np.sqrt(error.astype(float) ** 2 + many.var(0, ddof=1) / len(many))
            apart, rounding = np.abs(ours - many.mean(0)), 1e-5 * np.abs(ours).max()
            assert (apart <= 3 * both + rounding).all(), (apart / (both + rounding)).max()
        return
    # Both converge, each by a rule of its own.
    steps = {"n_steps": 1000} if "tolerance" in NATIVE[pair.name][1] else {}
    assert_same(found, first_tensors(pair.captum(**steps))[cut], 5e-3 if steps else 1e-5)


def test_everything_is_compared_or_said_not_to_be():
    """The figures that are told of this table."""
    native = [n for n in PAIRS if PAIRS[n][1].__name__ in NATIVE and n not in NOT_OURS]
    assert (len(config), len(PAIRS), len({a for _, a in PAIRS.values()})) == (77, 288, 36)
    assert len(native) == COMPARED
    assert len(PAIRS) - len(REFUSED) == 275
    rest = {PAIRS[n][1].__name__ for n in PAIRS if n not in native} - {"LayerDeepLift"}
    assert rest == set(ALONE)
    assert {method for method, _ in NATIVE.values()} <= METHODS.keys()


# What no method of ours computes in Captum's way; ours measure regions and games by their own.
ALONE = {
    "FeatureAblation", "FeaturePermutation", "Occlusion", "ShapleyValueSampling", "Lime",
    "KernelShap", "LayerFeatureAblation", "NeuronFeatureAblation", "LayerActivation",
    "GuidedGradCam", "NeuronConductance",
}  # fmt: skip
COMPARED = 198


# -- where Captum is wrong ---------------------------------------------------------------------


def share_missing(explanation):
    """Return how much of the change of the prediction the values do not add up to, at the median."""
    gap = np.abs(explanation.prediction - explanation.baseline_prediction)
    return float(np.median(np.abs(explanation.residual) / gap))


def pooled():
    """A ReLU, then a pooling over maxima: both have a rule."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4 * 9, 3),
    )  # fmt: skip


def smooth():
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3))


def squeezed():
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.ReLU(), nn.Linear(16, 3))


class Residual(nn.Module):
    """A sum that is no module, without biases."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.act, self.out = nn.ReLU(), nn.Linear(6, 3, bias=False)

    def forward(self, x):
        x = self.act(self.first(x))
        return self.out(x + self.act(self.second(x)))


# Captum's class and options, the model, its inputs' shape; at least so much of the change its values
# miss at the median (of LRP: of the prediction), and at most so much our method's.
WRONG = {
    "a pooling behind a ReLU": ("DeepLift", {}, pooled, (1, 6, 6), 0.3, {}, 0.01),
    "GELU, for which there is no rule": ("DeepLift", {}, smooth, (6,), 0.1, {}, 0.01),
    "a ReLU behind a Tanh": ("DeepLift", {}, squeezed, (6,), 0.1, {}, 0.01),
    "a trapezoid whose weights miss a step": (
        "IntegratedGradients", {"n_steps": 20, "method": "riemann_trapezoid"}, smooth, (6,), 0.03,
        {"steps": 20, "rule": "trapezoid"}, 0.01,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_captum_is_wrong_where_its_values_do_not_add_up(what, device):
    name, theirs, make, shape, missed, ours, within = WRONG[what]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().to(device)
        x, start = torch.randn(40, *shape, device=device), torch.randn(40, *shape, device=device)
    given = {"target": 1, "baseline": start}
    # By Captum's name the residual says so, and is Captum's own delta.
    renamed = {"rule" if k == "method" else k: v for k, v in theirs.items()}
    found = pl.explain(model, x, method=f"captum:{name}", **renamed, **given)
    assert share_missing(found) > missed
    delta = getattr(attr, name)(model).attribute(
        x, start, target=1, return_convergence_delta=True, **theirs
    )[1]
    np.testing.assert_allclose(found.residual, -delta.detach().cpu().numpy(), atol=1e-5)
    assert share_missing(pl.explain(model, x, **ours, **given)) < within


def test_captums_relevance_is_not_kept_where_a_sum_is_no_module(device):
    """Both have no rule for it; ours says so."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Residual().to(device), torch.randn(10, 6, device=device)
    delta = attr.LRP(model).attribute(x, target=1, return_convergence_delta=True)[1]
    with pytest.warns(UserWarning, match="has no rule for"):
        found = pl.explain(model, x, method="lrp", target=1)
    assert share_missing(found) > 0.3
    np.testing.assert_allclose(found.residual, delta.detach().cpu().numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("factor", [-1.0, 2.0])
def test_captum_scales_the_relevance_of_a_function_twice(factor, device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)
        ).to(device)
        x = torch.randn(10, 6, device=device)
    target = lambda output: factor * output[:, 1]
    plain = pl.explain(model, x, method="lrp", target=1)
    ours = pl.explain(model, x, method="lrp", target=target)
    theirs = pl.explain(model, x, method="captum:LRP", target=target)
    assert np.abs(ours.residual).max() < 1e-5
    np.testing.assert_allclose(ours.values, factor * plain.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(theirs.values, factor**2 * plain.values, rtol=1e-4, atol=1e-6)


# The relevance that flows back through products and sums that are no modules, in Captum's models.
LOST = [n for n in PAIRS if n.endswith("-LRP") and not PAIRS[n][0].get("noise_tunnel")]


@pytest.mark.parametrize("name", LOST)
def test_what_captums_relevance_loses_our_residual_tells(name, device):
    pair = Pair(*PAIRS[name], device)
    found = pair.ours("lrp")
    kept = ("multi_input" not in name) and ("tuple" not in name)
    scale = np.abs(found.prediction).max()
    if kept:
        assert np.abs(found.residual).max() <= 1e-5 * scale
    else:  # scale * (x1 + x2 + x3), of which x3 is carried along; 2 * y and 4 * y
        assert np.abs(found.residual).max() > 0.5 * scale
