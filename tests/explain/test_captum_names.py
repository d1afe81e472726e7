"""Captum by our call: what runs, what is refused, and what is left as it was."""

import captum as captum_itself
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum import attr
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from small_models import Fails, make_case, make_inputs
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution import captum
from pellucid.interpret.attribution.registry import find

pytestmark = pytest.mark.filterwarnings("ignore:for . of . rows the values of lrp")

NAMES = captum.names()
# What a class needs to be told, on the model below.
TOLD = {
    "Occlusion": {"sliding_window_shapes": (1, 3, 3)},
    "GuidedGradCam": {"layer": "conv"},
    "NeuronConductance": {"neuron": ("act", (0, 1, 1))},
    # Its lasso is absolute, and makes zeros of this model's small outputs.
    "Lime": {"interpretable_model": SkLearnLinearRegression(), "n_samples": 60},
    "ShapleyValues": {"feature_mask": torch.arange(36).reshape(1, 6, 6) // 9},
}
LAYERS = [n for n in NAMES if n.startswith("Layer") or n == "InternalInfluence"]
NEURONS = [n for n in NAMES if n.startswith("Neuron")]
SHAP = [n for n in NAMES if n.endswith(("GradientShap", "DeepLiftShap"))]
RANDOM = {
    "GradientShap", "NoiseTunnel", "Lime", "KernelShap", "ShapleyValueSampling",
    "FeaturePermutation", "LayerFeaturePermutation", "LayerGradientShap", "NeuronGradientShap",
}  # fmt: skip


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.pool = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
        self.first, self.second, self.last = nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        x = self.pool(self.act(self.conv(x))).flatten(1)
        return self.last(self.second(self.first(x)))


@pytest.fixture(name="model")
def small_model(device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small().to(device)


@pytest.fixture(name="x")
def small_inputs(device):
    return torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)).to(device)


def call(name, model, x, **changes):
    """Explain by Captum's name, told what it needs."""
    options = {"target": 1, **TOLD.get(name, {})}
    if name in LAYERS:
        options["at"] = "conv"
    if name in NEURONS and name != "NeuronConductance":
        options["target"] = ("first", 2)
    if name in SHAP:
        options["background"] = torch.linspace(-1, 1, 4 * 36).reshape(4, 1, 6, 6)
    return pl.explain(model, x, method=f"captum:{name}", **{**options, **changes})


# -- what runs ---------------------------------------------------------------------------------


def test_all_of_captums_attribution_classes_are_there():
    """Those that attribute tensors to tensors, by a second list."""
    others = {
        "Attribution", "GradientAttribution", "PerturbationAttribution", "NeuronAttribution",
        "LayerAttribution", "DataLoaderAttribution", "LimeBase", "LLMAttribution",
        "LLMGradientAttribution", "RemoteLLMAttribution",
    }  # fmt: skip
    exported = {n for n in attr.__all__ if hasattr(getattr(attr, n), "attribute")} | others
    assert set(NAMES) == exported - others
    assert len(NAMES) == 39


@pytest.mark.parametrize("name", NAMES)
def test_result_is_an_explanation_like_any_other(name, model, x):
    neuron = call(name, model, x).target is None
    found = call(name, model, x)
    axes = found.axes
    assert found.method == f"captum:{name}"
    assert found.settings["captum"] == captum_itself.__version__
    assert found.error is None
    assert found.values.shape[0] == len(x)
    assert len(axes) == found.values.ndim
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() > 0
    if name not in LAYERS:
        assert found.values.shape == tuple(x.shape)
    with torch.no_grad():
        inside = model.first(model.pool(model.act(model.conv(x))).flatten(1))[:, 2]
        score = inside if neuron else model(x)[:, 1]
    np.testing.assert_allclose(found.prediction, score.cpu().numpy(), rtol=1e-4, atol=1e-6)
    method = find(f"captum:{name}", TOLD.get(name, {}))
    assert (found.residual is None) == (not method.complete)
    assert (found.baseline is None) == (not method.baseline)
    assert found.cost.forward > 0
    assert (found.cost.backward > 0) == ("Ablation" not in name and name not in {
        "FeaturePermutation", "LayerFeaturePermutation", "Occlusion", "ShapleyValueSampling",
        "ShapleyValues", "Lime", "KernelShap", "LayerActivation",
    })  # fmt: skip
    assert found.summary()


COMPLETE = [n for n in NAMES if find(f"captum:{n}").complete]


@pytest.mark.parametrize("name", COMPLETE)
def test_values_add_up_where_that_is_promised(name, model, x):
    # A sampled fit adds up by its constraint; the others by the theorem, but for their steps.
    changes = {"feature_mask": None} if name == "ShapleyValues" else {}
    if "IntegratedGradients" in name or "Conductance" in name:
        changes["n_steps"] = 400
    if name == "KernelShap":
        changes["n_samples"] = 400
    if name == "ShapleyValues":
        model, x, changes = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), x[0, 0], {}
        x = x[:5, :4]
        found = pl.explain(model.to(x.device), x, method="captum:ShapleyValues", target=1)
    else:
        found = call(name, model, x, **changes)
    gap = np.abs(found.prediction - found.baseline_prediction) + np.abs(found.prediction)
    assert (np.abs(found.residual) <= 0.01 * gap).all()
    total = found.values.reshape(len(x), -1).sum(1)
    np.testing.assert_allclose(
        found.residual, found.prediction - found.baseline_prediction - total, atol=1e-5
    )


def test_values_that_do_not_add_up_claim_no_residual(model, x):
    mask = torch.arange(36).reshape(1, 6, 6) // 9
    assert call("KernelShap", model, x, feature_mask=mask).residual is None
    assert call("IntegratedGradients", model, x, multiply_by_inputs=False).residual is None
    assert call("NoiseTunnel", model, x, of="IntegratedGradients").residual is None


@pytest.mark.parametrize("name", ["IntegratedGradients", "Saliency", "FeatureAblation", "LRP"])
def test_targets_are_ours(name, model, x):
    """Predicted, one for each row, a function, a probability: Captum of a model that does it."""
    predicted = pl.explain(model, x, method=f"captum:{name}")
    best = model(x).argmax(1)
    each = pl.explain(model, x, method=f"captum:{name}", target=best)
    np.testing.assert_array_equal(predicted.values, each.values)
    function = pl.explain(model, x, method=f"captum:{name}", target=lambda out: out[:, 1])
    np.testing.assert_allclose(function.values, call(name, model, x).values, rtol=1e-5, atol=1e-7)
    if name == "LRP":
        return  # it has no rule for a softmax
    chance = pl.explain(model, x, method=f"captum:{name}", target=2, output="probability")
    kind = getattr(attr, name)(lambda x: model(x).softmax(1))
    expected = kind.attribute(x.clone().requires_grad_(), target=2).detach().cpu().numpy()
    np.testing.assert_allclose(chance.values, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["named inputs", "nested inputs", "index and floats"])
def test_inputs_are_ours(name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 5)
    ours = pl.explain(case.model, inputs, method="integrated_gradients", target=1, steps=50,
                      rule="gauss_legendre")  # fmt: skip
    theirs = pl.explain(case.model, inputs, method="captum:IntegratedGradients", target=1)
    for (_, a), (_, b) in zip(_leaves(ours.values), _leaves(theirs.values), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def _leaves(tree):
    from pellucid.interpret.results.trees import leaves

    return leaves(tree)


@pytest.mark.parametrize("name", ["IntegratedGradients", "DeepLift", "FeatureAblation", "Saliency"])
def test_primary_classes_work_at_a_layer(name, model, x):
    """As if the network began there."""
    rest = nn.Sequential(model.act, model.pool, nn.Flatten(), model.first, model.second, model.last)
    baseline = model.conv(torch.zeros_like(x[:1])).detach()
    found = call(name, model, x, at="conv")
    start = {} if name == "Saliency" else {"baselines": baseline}
    expected = getattr(attr, name)(rest).attribute(
        model.conv(x).detach().requires_grad_(), target=1, **start
    )
    np.testing.assert_allclose(found.values, expected.detach().cpu().numpy(), rtol=1e-4, atol=1e-6)


def test_several_layers_are_each_what_they_are_alone(model, x):
    both = call("LayerGradientXActivation", model, x, at=["conv", "first"])
    for layer in ("conv", "first"):
        alone = call("LayerGradientXActivation", model, x, at=layer)
        np.testing.assert_array_equal(both.values[layer], alone.values)


def test_a_map_summed_over_channels_has_the_axes_of_a_map(model, x):
    found = call("LayerGradCam", model, x)
    assert found.values.shape == (5, 6, 6)
    assert found.axes == ("sample", "row", "column")


@pytest.mark.parametrize("name", [n for n in NAMES if n not in RANDOM])
def test_batch_size_does_not_change_the_result(name, model, x):
    whole, cut = call(name, model, x), call(name, model, x, batch_size=2)
    size = np.linalg.norm(whole.values)
    assert np.linalg.norm(whole.values - cut.values) <= 1e-5 * size


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_classes_keep_to_the_seed(name, model, x):
    if name == "NoiseTunnel":
        model = nn.Sequential(model, nn.Tanh())
    values = []
    for seed in (3, 3, 4):
        torch.randn(2)
        np.random.rand()
        values.append(call(name, model, x, seed=seed).values)
    assert values[0].tobytes() == values[1].tobytes()
    assert values[0].tobytes() != values[2].tobytes()


@pytest.mark.parametrize(("name", "options", "most"), [
    ("IntegratedGradients", {"n_steps": 40}, 12),
    ("LayerConductance", {"n_steps": 40}, 16),
    ("NoiseTunnel", {"nt_samples": 6}, 12),
    ("NoiseTunnel", {"nt_samples": 40, "nt_samples_batch_size": 4}, 12),
    ("GradientShap", {"n_samples": 6}, 12),
    ("DeepLiftShap", {}, 12),
    ("FeatureAblation", {"perturbations_per_eval": 4}, 12),
])  # fmt: skip
def test_points_that_captum_makes_of_rows_keep_to_the_batch_size(name, options, most, model, x):
    seen = []
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    call(name, model, x, batch_size=12, **options)
    assert max(seen) <= most


# -- tokens and groups -------------------------------------------------------------------------


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)
        self.weight = nn.Parameter(torch.rand(4, 1))

    def forward(self, ids):
        return self.head(torch.tanh((self.table(ids) * self.weight).sum(1)))


@pytest.fixture(name="words")
def small_words(device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Words().to(device), torch.randint(11, (3, 4)).to(device)


def without(model, ids, tokens):
    """The score with the embeddings of some tokens put to zero."""
    vectors = model.table(ids).clone()
    vectors[:, tokens] = 0
    return model.head(torch.tanh((vectors * model.weight).sum(1)))[:, 1].detach()


def test_a_token_is_one_feature(words):
    model, ids = words
    found = pl.explain(model, ids, method="captum:FeatureAblation", target=1)
    assert found.values.shape == (3, 4)
    expected = torch.stack(
        [without(model, ids, []) - without(model, ids, [t]) for t in range(4)], 1
    )
    np.testing.assert_allclose(found.values, expected.cpu().numpy(), atol=1e-6)


def test_tokens_of_a_group_go_together(words):
    model, ids = words
    mask = np.array([0, 1, 1, 2])
    found = pl.explain(model, ids, method="captum:FeatureAblation", target=1, feature_mask=mask)
    pair = without(model, ids, []) - without(model, ids, [1, 2])
    np.testing.assert_allclose(found.values[:, 1], pair.cpu().numpy(), atol=1e-6)
    np.testing.assert_allclose(found.values[:, 2], pair.cpu().numpy(), atol=1e-6)


def test_shapley_values_of_tokens_add_up(words):
    model, ids = words
    found = pl.explain(model, ids, method="captum:ShapleyValues", target=1)
    change = without(model, ids, []) - without(model, ids, [0, 1, 2, 3])
    np.testing.assert_allclose(found.values.sum(1), change.cpu().numpy(), atol=1e-6)
    np.testing.assert_allclose(found.residual, 0, atol=1e-6)


def test_windows_over_an_embedding_are_refused(words):
    with pytest.raises(InputError, match="captum:FeatureAblation"):
        pl.explain(*words, method="captum:Occlusion", target=1, sliding_window_shapes=(1, 6))


def test_a_spread_out_mask_is_taken(model, x):
    """Captum's Shapley values take a view of the mask, which fails for one that is spread out."""
    mask = torch.arange(6)[None, :, None].expand(1, 6, 6) // 2
    found = call("ShapleyValues", model, x, feature_mask=mask)
    assert found.values.shape == (5, 1, 6, 6)
    assert (np.ptp(found.values.reshape(5, 3, 12), axis=2) == 0).all()


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(attr.__all__) - set(NAMES)))
def test_what_is_no_attribution_says_what_to_do(name, model, x):
    with pytest.raises(InputError, match=f"'captum:{name}' is nothing that explain can run: "):
        pl.explain(model, x, method=f"captum:{name}")


@pytest.mark.parametrize("name", ["TCAV", "TracInCP", "infidelity", "FGSM"])
def test_so_does_what_captum_has_elsewhere(name, model, x):
    with pytest.raises(InputError, match="is nothing that explain can run"):
        pl.explain(model, x, method=f"captum:{name}")


@pytest.mark.parametrize(("name", "meant"), [
    ("saliency", "captum:Saliency"), ("Integratedgradient", "captum:IntegratedGradients"),
    ("LayerGradCAM", "captum:LayerGradCam"), ("xyz", "it has IntegratedGradients, "), ("", "it has"),
])  # fmt: skip
def test_an_unknown_name_is_met_with_close_ones(name, meant, model, x):
    with pytest.raises(InputError, match=meant):
        pl.explain(model, x, method=f"captum:{name}")


@pytest.mark.parametrize(("name", "options", "words"), [
    ("Saliency", {"n_steps": 3}, ["takes no option 'n_steps'", "its options are abs"]),
    ("IntegratedGradients", {"steps": 3}, ["takes no option 'steps'", "n_steps", "rule"]),
    ("Lime", {"return_input_shape": False}, ["takes no option 'return_input_shape'"]),
    ("Saliency", {"of": "LRP"}, ["takes no option 'of'"]),
    ("NoiseTunnel", {"of": "Saliency", "n_steps": 3}, ["takes no option 'n_steps'", "abs", "of"]),
    ("NoiseTunnel", {"of": "NoiseTunnel"}, ["noise around noise"]),
    ("NoiseTunnel", {"of": "Saliensy"}, ["captum:Saliency"]),
    ("Saliency", {"baseline": 0}, ["compares with no baseline"]),
    ("NoiseTunnel", {"baseline": 0}, ["compares with no baseline"]),
    ("GradientShap", {"background": None}, ["background="]),
    ("LayerConductance", {"at": "input"}, ["at='layer'"]),
    ("LayerConductance", {"at": "cnov"}, ["did you mean 'conv'"]),
    ("NeuronGradient", {"target": 1}, ["target=('layer', index)"]),
    ("NeuronGradient", {"at": "conv"}, ["captum:Gradient", "neuron"]),
    ("NeuronConductance", {"neuron": 3}, ["('layer', index)"]),
    ("LRP", {"at": "conv"}, ["captum:LayerLRP"]),
    ("GuidedGradCam", {"layer": "conv", "at": "conv"}, ["leave at out"]),
    ("FeaturePermutation", {"batch_size": 2}, ["batch_size=5"]),
    ("FeatureAblation", {"feature_mask": torch.zeros(5, 1, 6, 6)}, ["one sample's shape (1, 6, 6)"]),
    ("FeatureAblation", {"feature_mask": 3}, ["one sample's shape (1, 6, 6)"]),
    ("Saliency", {"target": [[0, 1]]}, ["one target at a time"]),
    ("DeepLift", {"output": "probability"}, ["not defined behind a softmax"]),
])  # fmt: skip
def test_what_a_class_has_no_use_for_is_refused(name, options, words, model, x):
    with pytest.raises(InputError) as caught:
        call(name, model, x, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("missing", ["Occlusion", "GuidedGradCam", "NeuronConductance"])
def test_what_a_class_needs_is_asked_for(missing, model, x):
    (needed,) = TOLD[missing]
    with pytest.raises(InputError, match=f"needs {needed}="):
        pl.explain(model, x, method=f"captum:{missing}", target=1)


def test_one_sample_cannot_be_shuffled(model, x):
    with pytest.raises(InputError, match="one sample only"):
        call("FeaturePermutation", model, x[:1])


@pytest.mark.parametrize("name", ["DeepLift", "GuidedBackprop", "LRP"])
def test_rules_for_modules_need_modules(name, x):
    with pytest.raises(InputError, match="the model is a function"):
        pl.explain(lambda x: x.flatten(1)[:, :3], x, method=f"captum:{name}")


def test_maps_that_cannot_be_brought_back_to_the_input_are_refused(model, x):
    with pytest.raises(InputError, match="cannot map them back"):
        call("GuidedGradCam", model, x, layer="first")


def test_what_captum_raises_comes_with_a_sentence(device):
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)).to(device)
    with pytest.raises(ModelError, match="Captum's LRP cannot take Sequential: TypeError"):
        pl.explain(model, torch.randn(2, 6), method="captum:LRP")


# -- what is left as it was ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_left_as_it_was(name, model, x):
    model.train()
    numpy_before = np.random.get_state()[1].copy()
    before = state_of(model, x)
    storages = [p.data_ptr() for p in model.parameters()]
    call(name, model, x)
    assert changes(before, state_of(model, x)) == []
    assert storages == [p.data_ptr() for p in model.parameters()]
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {*LAYERS, *NEURONS, *SHAP}])
@pytest.mark.parametrize("after", [1, 2])
def test_everything_is_left_as_it_was_when_the_model_fails(name, after, device):
    if name in {"Occlusion", "GuidedGradCam", "FeaturePermutation"}:
        options = {
            "Occlusion": {"sliding_window_shapes": (2,)}, "GuidedGradCam": {"layer": "body.0"},
            "FeaturePermutation": {"batch_size": 40},
        }[name]  # fmt: skip
    else:
        options = {}
    model, x = Fails(after).to(device), torch.randn(4, 6, device=device)
    before = state_of(model, x)
    with pytest.raises(ModelError):
        pl.explain(model, x, method=f"captum:{name}", target=0, **{"batch_size": 4, **options})
    assert changes(before, state_of(model, x)) == []


def test_rules_that_a_person_gave_to_modules_stay_there(model, x):
    mine = EpsilonRule(0.5)
    model.first.rule = mine
    with_rule = call("LRP", model, x)
    assert model.first.rule is mine
    del model.first.rule
    assert np.abs(call("LRP", model, x).values - with_rule.values).max() > 1e-3


# -- ReLUs that are no modules -------------------------------------------------------------------


class Mixed(nn.Module):
    """One ReLU that is a module, one that is a function."""

    def __init__(self, functional):
        super().__init__()
        self.first, self.act, self.out = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)
        self.unused, self.functional = nn.ReLU(), functional

    def forward(self, x):
        self.unused(x)
        return self.out(self.functional(self.act(self.first(x)) - 0.1))


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
@pytest.mark.parametrize("call", [F.relu, torch.relu, lambda x: x.relu(), lambda x: x.relu_()])
def test_a_relu_that_is_a_function_is_refused(method, call, device):
    model = Mixed(call).to(device)
    with pytest.raises(InputError, match=r"1 of the 2 ReLUs of Mixed are calls of a function"):
        pl.explain(model, torch.randn(3, 6), method=method)
    # Behind it the question does not arise: of a unit before it only the module lies on the way.
    found = pl.explain(model, torch.randn(3, 6), method=method, target=("act", 2))
    assert found.values.shape == (3, 6)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_a_network_without_a_relu_is_refused(method, device):
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).to(device)
    with pytest.raises(InputError, match="would be the plain gradient"):
        pl.explain(model, torch.randn(3, 6), method=method)


def test_captum_takes_them_for_what_they_are_not(device):
    """What is refused above is silently the plain gradient behind the function."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(device)
    x = torch.randn(3, 6)
    theirs = pl.explain(model, x, method="captum:GuidedBackprop", target=1)
    plain = pl.explain(model, x, method="saliency", target=1)
    np.testing.assert_allclose(theirs.values, plain.values, rtol=1e-5)


def test_guided_backprop_lets_through_what_is_positive(device):
    """By hand, for one hidden layer."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
    x = torch.randn(4, 6, device=device)
    weight, last = (m.weight.detach() for m in (model[0], model[2]))
    on = (model[0](x) > 0).float()
    back = last[1].expand(4, -1)
    for method, gate in (("guided_backprop", on * (back > 0)), ("deconvolution", back > 0)):
        found = pl.explain(model, x, method=method, target=1)
        expected = (back * gate) @ weight
        np.testing.assert_allclose(found.values, expected.detach().cpu().numpy(), atol=1e-6)


# -- relevance -----------------------------------------------------------------------------------


def shared_out(layers, x, relevance):
    """LRP by matrices, a second derivation: through affine maps W x + b and passing activations.

    Returns the relevance of the input, and what the offsets kept.
    """
    held, kept = [x], 0.0
    for weight, offset, activation in layers:
        held.append(activation(held[-1] @ weight.T + offset))
    for (weight, offset, _), here in zip(layers[::-1], held[-2::-1], strict=True):
        whole = here @ weight.T + offset
        share = relevance / whole
        kept = kept + (share * offset).sum(1)
        relevance = here * (share @ weight)
    return relevance, kept


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU])
@pytest.mark.parametrize("normalised", [False, True])
def test_relevance_is_that_of_the_matrices(activation, normalised, device):
    """A normalisation is merged into the layer before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [nn.Linear(6, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 3)]
        norm = nn.BatchNorm1d(8)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        x = torch.randn(7, 6, dtype=torch.float64)
    if normalised:
        parts.insert(1, norm)
    model = nn.Sequential(*parts).double().to(device).eval()
    act = activation().double()
    layers = []
    for part in (part.cpu() for part in parts):
        if isinstance(part, nn.Linear):
            layers.append([part.weight, part.bias, lambda x: x])
        elif isinstance(part, nn.BatchNorm1d):
            scale = part.weight / (part.running_var + part.eps).sqrt()
            layers[-1][0] = scale[:, None] * layers[-1][0]
            layers[-1][1] = scale * (layers[-1][1] - part.running_mean) + part.bias
        else:
            layers[-1][2] = act
    score = model(x)[:, 1:2] * torch.tensor([0.0, 1, 0])
    expected, kept = shared_out(layers, x, score)
    model.to(device)
    found = pl.explain(model, x.to(device), method="lrp", target=1)
    np.testing.assert_allclose(found.values, expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        found.baseline_prediction, kept.detach().numpy(), rtol=1e-5, atol=1e-7
    )
    assert np.abs(found.residual).max() < 1e-6


def test_of_a_linear_model_the_bias_keeps_the_prediction_at_zero(device):
    model, x = nn.Linear(6, 3).to(device), torch.randn(5, 6)
    found = pl.explain(model, x, method="lrp", target=2)
    np.testing.assert_allclose(found.baseline_prediction, model.bias[2].item(), rtol=1e-4)
    np.testing.assert_allclose(
        found.values, (x * model.weight[2].cpu()).detach().numpy(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("layer", ["conv", "pool", "first"])
def test_relevance_at_a_layer_is_captums(layer, model, x):
    found = pl.explain(model, x, method="lrp", target=1, at=layer)
    expected = attr.LayerLRP(model, model.get_submodule(layer)).attribute(x, target=1)
    np.testing.assert_allclose(found.values, expected.detach().cpu().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rule", "theirs"), [
    ("gamma", GammaRule), ("alpha1_beta0", Alpha1_Beta0_Rule),
])  # fmt: skip
def test_other_rules_are_captums(rule, theirs, model, x):
    found = pl.explain(model, x, method="lrp", target=1, rule=rule)
    weights = model.first.weight.detach().clone()
    for module in (model.conv, model.first, model.last):
        module.rule = theirs()
    expected = attr.LRP(model).attribute(x, target=1)
    np.testing.assert_allclose(found.values, expected.detach().cpu().numpy(), rtol=1e-3, atol=1e-6)
    assert torch.equal(model.first.weight, weights)
    assert np.abs(found.residual).max() < 1e-5
    for module in (model.conv, model.first, model.last):
        module.rule = EpsilonRule()
    plain = pl.explain(model, x, method="lrp", target=1)
    assert np.abs(found.values - plain.values).max() > 1e-3


def test_modules_without_a_rule_are_named(device):
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)).to(device)
    with pytest.raises(ModelError, match=r"LRP has no rule for 1 \(LayerNorm\) of Sequential"):
        pl.explain(model, torch.randn(2, 6), method="lrp")


def test_layers_used_twice_are_refused(device):
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer).to(device)
    with pytest.raises(ModelError, match="used once"):
        pl.explain(model, torch.randn(2, 6), method="lrp")


@pytest.mark.parametrize(("options", "word"), [
    ({"rule": "zplus"}, "'epsilon', 'gamma'"), ({"epsilon": 0}, "above 0"), ({"gamma": -1}, "from 0"),
    ({"output": "probability"}, "explain the logits"),
])  # fmt: skip
def test_options_of_lrp_are_checked(options, word, model, x):
    with pytest.raises(InputError, match=word):
        pl.explain(model, x, method="lrp", **options)
