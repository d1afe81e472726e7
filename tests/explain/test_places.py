"""Attributions at layers and at several places: against Captum, complete, and from shared passes."""

import copy

import numpy as np
import pytest
import torch
from captum.attr import (
    InternalInfluence,
    LayerConductance,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    NeuronGradient,
)
from small_models import cnn, cnn_with_batch_norm, mlp
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, ModelError


def pictures(n, device, seed=0):
    return torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed)).to(device)


def relative(found, true):
    found, true = (np.asarray(a).reshape(len(a), -1).astype(float) for a in (found, true))
    return np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)


@pytest.fixture
def model(device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cnn_with_batch_norm().to(device).eval()


class Rows:
    """How many rows went through a model."""

    def __init__(self, model):
        self.count = 0
        self.handle = model.register_forward_hook(self.heard)

    def heard(self, _, inputs, __):
        self.count += len(inputs[0])


# -- against Captum ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["0", "1", "3", "4", "8"])
def test_gradient_and_activation_at_a_layer_are_captums(model, layer, device):
    x = pictures(5, device)
    target = model(x).argmax(1)
    found = pl.explain(model, x, method="input_x_gradient", at=layer)
    slope = pl.explain(model, x, method="saliency", at=layer)
    module = model.get_submodule(layer)
    for e, multiply in ((found, True), (slope, False)):
        captum = LayerGradientXActivation(model, module, multiply_by_inputs=multiply)
        true = captum.attribute(x, target=target)
        assert e.at == layer
        np.testing.assert_allclose(e.values, true.detach().cpu().numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layer", ["0", "2", "5", "8"])
@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint"])
def test_integrated_gradients_at_a_layer_are_captums(model, layer, rule, device):
    x, start = pictures(5, device), pictures(5, device, seed=1)
    name = {"gauss_legendre": "gausslegendre", "midpoint": "riemann_middle"}[rule]
    true = LayerIntegratedGradients(model, model.get_submodule(layer)).attribute(
        x, baselines=start, target=1, n_steps=20, method=name
    )
    found = pl.explain(
        model, x, method="integrated_gradients", at=layer, baseline=start, target=1, steps=20,
        rule=rule,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, true.detach().cpu().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:for . of 5 rows the values do not add up")
@pytest.mark.parametrize("layer", ["0", "2", "6", "8"])
def test_conductance_and_influence_are_captums_in_the_limit(model, layer, device):
    x, module = pictures(5, device), model.get_submodule(layer)
    fine = {"target": 1, "n_steps": 3000, "internal_batch_size": 1000}
    cases = {
        "conductance": LayerConductance(model, module).attribute(x, **fine),
        "internal_influence": InternalInfluence(model, module).attribute(x, **fine),
    }
    for method, limit in cases.items():
        true = limit.detach().cpu().numpy()
        found = pl.explain(model, x, method=method, at=layer, target=1)
        assert (relative(found.values, true) <= 0.012).all()
        assert (found.error <= 0.01).all()
        fixed = pl.explain(model, x, method=method, at=layer, target=1, steps=33)
        assert (relative(fixed.values, true) <= fixed.error + 0.002).all()


def test_gradient_of_a_neuron_is_captums(model, device):
    x = pictures(5, device)
    for index in ((2, 1, 1), (0, 0, 2)):
        true = NeuronGradient(model, model[4]).attribute(x, neuron_selector=index)
        found = pl.explain(model, x, method="saliency", target=("4", index))
        np.testing.assert_allclose(found.values, true.cpu().numpy(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(
            found.prediction, model[:5](x)[(slice(None), *index)].detach().cpu().numpy(), rtol=1e-5
        )
        assert found.units == "activation"


def test_channel_of_a_neuron_target_is_its_mean(model, device):
    x = pictures(5, device)
    found = pl.explain(model, x, method="saliency", target=("4", 2))
    mean = pl.explain(
        nn.Sequential(*model[:5]), x, method="saliency", target=lambda out: out[:, 2].mean((1, 2))
    )
    np.testing.assert_allclose(found.values, mean.values, rtol=1e-5, atol=1e-8)


# -- what must be so -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "conductance"])
def test_every_layer_on_the_only_way_is_complete(model, method, device):
    x = pictures(6, device)
    layers = ["input", "0", "2", "3", "6", "8"]
    found = pl.explain(model, x, method=method, at=layers, tolerance=0.003)
    assert found.at == tuple(layers)
    for layer in layers:
        one = found.select(layer)
        gap = np.abs(one.prediction - one.baseline_prediction)
        assert one.at == layer
        assert (np.abs(one.residual) <= 0.01 * gap + 1e-4).all()
        assert (one.error <= 0.003).all()


def test_conductance_at_the_input_is_integrated_gradients(model, device):
    x = pictures(5, device)
    true = pl.explain(model, x, steps=2000).values
    found = pl.explain(model, x, method="conductance")
    assert (relative(found.values, true) <= 0.01).all()


@pytest.mark.parametrize("method", ["saliency", "input_x_gradient", "integrated_gradients",
                                    "conductance", "internal_influence"])  # fmt: skip
def test_several_places_are_what_each_gives_alone(model, method, device):
    x = pictures(5, device)
    options = {"steps": 15} if "steps" in pl.methods()[method].options else {}
    many = pl.explain(model, x, method=method, at=["4", "input", model[0]], **options)
    assert many.at == ("4", "input", "0")
    for place in many.at:
        one, alone = many.select(place), pl.explain(model, x, method=method, at=place, **options)
        assert one.axes == alone.axes
        np.testing.assert_allclose(one.values, alone.values, rtol=1e-4, atol=1e-7)
        if alone.error is not None:
            np.testing.assert_allclose(one.error, alone.error, rtol=1e-3)
    rows = many[[3, 1]]
    np.testing.assert_array_equal(rows.values["4"], many.values["4"][[3, 1]])
    assert "values of 4" in many.summary()


def test_all_targets_at_a_layer_are_what_each_gives_alone(model, device):
    x = pictures(4, device)
    for method in ("saliency", "integrated_gradients", "conductance"):
        options = {} if method == "saliency" else {"steps": 12}
        every = pl.explain(model, x, method=method, at="4", target="all", **options)
        some = pl.explain(model, x, method=method, at="4", target=[[3, 1]], **options)
        assert every.values.shape[:2] == (4, 4)
        assert some.target.tolist() == [3, 1]
        for column, target in enumerate((3, 1)):
            one = pl.explain(model, x, method=method, at="4", target=target, **options)
            np.testing.assert_allclose(every.values[:, target], one.values, rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(some.values[:, column], one.values, rtol=1e-4, atol=1e-7)


def test_functions_may_be_several_targets(model, device):
    x = pictures(4, device)
    both = pl.explain(
        model, x, method="saliency", target=[lambda out: out[:, 0], lambda out: out[:, 1] ** 2]
    )
    second = pl.explain(model, x, method="saliency", target=lambda out: out[:, 1] ** 2)
    assert both.values.shape == (4, 2, 1, 6, 6)
    np.testing.assert_allclose(both.values[:, 1], second.values, rtol=1e-5, atol=1e-8)


def test_layer_before_an_in_place_module_is_read_before_it_is_written_over(device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = cnn().to(device)
    written = copy.deepcopy(plain)
    for module in written.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    x = pictures(4, device)
    for method in ("input_x_gradient", "integrated_gradients", "conductance"):
        options = {} if method == "input_x_gradient" else {"steps": 10}
        expected = pl.explain(plain, x, method=method, at=["0", "3"], target=0, **options)
        found = pl.explain(written, x, method=method, at=["0", "3"], target=0, **options)
        for layer in ("0", "3"):
            np.testing.assert_allclose(found.values[layer], expected.values[layer], rtol=1e-5)


class Returns(nn.Module):
    """A model whose layer puts out a tuple, a list or a dict, the tensor first."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.out = _Inner(kind), nn.Linear(5, 3)
        self.kind = kind

    def forward(self, x):
        held = self.inner(x)
        return self.out(held["a"] if self.kind is dict else held[0])


class _Inner(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.kind = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), kind

    def forward(self, x):
        a = self.body(x)
        return {"a": a, "b": x} if self.kind is dict else self.kind([a, x])


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_first_tensor_of_a_layers_output_is_attributed_to(kind, device):
    torch.manual_seed(0)
    model, x = Returns(kind).to(device), torch.randn(4, 6, device=device)
    for method in ("input_x_gradient", "integrated_gradients"):
        found = pl.explain(model, x, method=method, at="inner", target=0)
        inner = pl.explain(model, x, method=method, at="inner.body", target=0)
        np.testing.assert_allclose(found.values, inner.values, rtol=1e-5, atol=1e-7)


def test_recurrent_layer_is_attributed_to_by_step(device):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    model, x = Reader().to(device), torch.randn(3, 5, 4, device=device)
    before = state_of(model, x)
    found = pl.explain(model, x, at="lstm", target=0)
    assert found.values.shape == (3, 5, 6)
    assert found.axes == ("sample", "token", "feature")
    assert not found.values[:, :-1].any()  # only the last step is read
    assert (np.abs(found.residual) < 0.01).all()
    whole = pl.explain(model, x, target=0)
    assert whole.values.shape == (3, 5, 4)
    assert changes(before, state_of(model, x)) == []


# -- passes are shared -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["saliency", "input_x_gradient"])
def test_places_share_one_pass(model, method, device):
    x, rows = pictures(7, device), Rows(model)
    found = pl.explain(model, x, method=method, at=["0", "3", "5", "input"])
    probed = 2
    assert rows.count == probed + 7  # the predicted class is chosen in the same pass
    assert found.cost.backward == 7


@pytest.mark.parametrize("method", ["conductance", "internal_influence"])
def test_places_share_the_passes_of_a_path(model, method, device):
    x, rows = pictures(7, device), Rows(model)
    pl.explain(model, x, method=method, at=["0", "3", "5"], target=1, steps=10)
    probed, ends = 2, 2 * 7
    assert rows.count == probed + 10 * 7 + ends


def test_targets_share_the_forward_pass(model, device):
    x, rows = pictures(7, device), Rows(model)
    found = pl.explain(model, x, method="saliency", target="all")
    assert rows.count == 2 + 7
    assert found.cost.backward == 4 * 7


# -- bad input -------------------------------------------------------------------------------------


def test_bad_places_are_refused_with_words_that_help(device):
    x, model = torch.randn(3, 6, device=device), mlp().to(device)
    for at, error, words in [
        ("layer9", InputError, ["layer9", "did you mean"]),
        (nn.Linear(2, 2), InputError, ["Linear that is not a part of Sequential"]),
        ([], InputError, ["at is empty"]),
        (["0", "0"], InputError, ["'0' more than once"]),
        (3, InputTypeError, ["at=3", "the name of a layer such as '0'"]),
    ]:
        with pytest.raises(error) as caught:
            pl.explain(model, x, at=at)
        for word in words:
            assert word in str(caught.value)
    with pytest.raises(InputError, match="a function: it has no layers"):
        pl.explain(lambda x: x.sum(1), x, at="0")
    for target, words in [
        (("0", 99), "no unit"),
        (("9", 0), "no layer '9'"),
        ([[0, 0]], "more than once"),
    ]:
        with pytest.raises(InputError, match=words):
            pl.explain(model, x, target=target)


def test_layer_that_is_used_twice_or_never_is_refused(device):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice, self.never, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.twice(self.twice(x)))

    model, x = Odd().to(device), torch.randn(3, 6, device=device)
    before = state_of(model, x)
    for layer, words in [("twice", "called 2 times"), ("never", "called 0 times")]:
        with pytest.raises(ModelError, match=words):
            pl.explain(model, x, at=layer)
    assert changes(before, state_of(model, x)) == []


def test_layer_that_the_score_does_not_depend_on_is_refused(device):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.side = nn.Linear(6, 2), nn.Linear(6, 2)

        def forward(self, x):
            return self.main(x), self.side(x)

    with pytest.raises(ModelError, match="does not depend on layer side"):
        pl.explain(Two().to(device), torch.randn(3, 6, device=device), at="side", method="saliency")
