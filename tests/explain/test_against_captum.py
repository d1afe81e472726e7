"""Second opinions: Captum where it is known to be right, and closed forms."""

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, Saliency
from small_models import make_case, make_inputs
from torch import nn

import pellucid as pl
from pellucid.interpret.attribution.quadrature import RULES
from pellucid.interpret.results.trees import leaves

# Captum warns of what it does to the tensors that it is given.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Input Tensor .* did not already require gradients", "ignore:Setting forward, backward"
)

DIFFERENTIABLE = [
    "mlp",
    "cnn",
    "cnn with batch norm",
    "two inputs",
    "named inputs",
    "nested inputs",
]


def for_captum(case, inputs):
    """The model as a function of positional tensors, and those tensors."""
    case.model.eval()
    if isinstance(inputs, dict):
        model = lambda second, first: case.model(second=second, first=first, scale=inputs["scale"])
        return model, (inputs["second"], inputs["first"])
    if isinstance(inputs, tuple) and isinstance(inputs[0], dict):
        return lambda x, y, c: case.model({"a": (x, y)}, c), (*inputs[0]["a"], inputs[1])
    return case.model, inputs if isinstance(inputs, tuple) else (inputs,)


def assert_same(explanation, expected, tolerance=1e-5):
    """All inputs' values agree, each row relative to its norm."""
    values = [array for _, array in leaves(explanation.values) if array is not None]
    assert len(values) == len(expected)

    def flat(parts):
        return np.concatenate([np.asarray(p).reshape(len(p), -1) for p in parts], axis=1)

    found, wanted = flat(values), flat([e.detach().cpu() for e in expected])
    assert np.abs(wanted).max() > 0
    apart = np.linalg.norm(found - wanted, axis=1)
    assert (apart <= tolerance * np.linalg.norm(wanted, axis=1)).all(), apart


@pytest.fixture(params=DIFFERENTIABLE)
def case(request, device):
    return make_case(request.param, device)


def test_gauss_legendre_is_captums_integrated_gradients(case):
    inputs = make_inputs(case, 6)
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    found = pl.explain(case.model, inputs, target=target, steps=50, rule="gauss_legendre")
    model, tensors = for_captum(case, inputs)
    expected = IntegratedGradients(model).attribute(
        tensors, target=target.to(tensors[0].device), method="gausslegendre", n_steps=50
    )
    assert_same(found, expected)


def test_gauss_legendre_is_captums_from_any_baseline(case):
    inputs, other = make_inputs(case, 6), make_inputs(case, 6, seed=5)
    found = pl.explain(
        case.model, inputs, target=1, baseline=other, steps=50, rule="gauss_legendre"
    )
    model, tensors = for_captum(case, inputs)
    expected = IntegratedGradients(model).attribute(
        tensors, baselines=for_captum(case, other)[1], target=1, n_steps=50
    )
    assert_same(found, expected)


def test_saliency_and_input_x_gradient_are_captums(case):
    inputs = make_inputs(case, 6)
    model, tensors = for_captum(case, inputs)
    signed = Saliency(model).attribute(tensors, target=2, abs=False)
    assert_same(pl.explain(case.model, inputs, method="saliency", target=2), signed)
    magnitude = Saliency(model).attribute(tensors, target=2, abs=True)
    assert_same(
        pl.explain(case.model, inputs, method="saliency", target=2, absolute=True), magnitude
    )
    times = InputXGradient(model).attribute(tensors, target=2)
    assert_same(pl.explain(case.model, inputs, method="input_x_gradient", target=2), times)


@pytest.mark.parametrize("name", ["mlp", "cnn", "two inputs"])
def test_deep_lift_is_captums(name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 6)
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    found = pl.explain(case.model, inputs, method="deep_lift", target=1, batch_size=4)
    expected = DeepLift(case.model.eval()).attribute(tensors, target=1)
    assert_same(found, expected)


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency"])
@pytest.mark.parametrize("name", ["mlp", "cnn with batch norm"])
def test_probability_is_an_explicit_softmax(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 6)
    options = {"steps": 20} if method == "integrated_gradients" else {}
    found = pl.explain(case.model, inputs, method=method, target=1, output="probability", **options)
    behind = nn.Sequential(case.model, nn.Softmax(1))
    expected = pl.explain(behind, inputs, method=method, target=1, **options)
    assert_same(found, [torch.tensor(expected.values)])


@pytest.mark.parametrize("target", [0, 1])
def test_probability_of_one_logit_is_an_explicit_sigmoid(target, device):
    case = make_case("one logit", device)
    inputs = make_inputs(case, 6)
    found = pl.explain(case.model, inputs, target=target, output="probability", steps=20)
    behind = nn.Sequential(case.model, nn.Sigmoid())
    expected = pl.explain(behind, inputs, steps=20)
    sign = 1 if target else -1
    assert_same(found, [sign * torch.tensor(expected.values)])


def test_target_function_is_what_it_computes(device):
    case = make_case("mlp", device)
    inputs = make_inputs(case, 6)
    found = pl.explain(case.model, inputs, target=lambda out: out[:, 0] - out[:, 2], steps=20)
    a, c = (pl.explain(case.model, inputs, target=t, steps=20).values for t in (0, 2))
    assert_same(found, [torch.tensor(a - c)])


# -- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, *({"rule": r, "steps": 16} for r in RULES)])
def test_linear_model_gives_weight_times_difference(options, dtype, device):
    torch.manual_seed(0)
    model = nn.Linear(5, 3).to(device, dtype)
    x, baseline = torch.randn(4, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)
    found = pl.explain(model, x, baseline=baseline, target="all", **options)
    weight = model.weight.detach().cpu()
    expected = (weight[None] * (x - baseline)[:, None]).numpy()
    rounding = 1e-6 if dtype == torch.float32 else 1e-14
    np.testing.assert_allclose(found.values, expected, rtol=rounding, atol=rounding)
    assert (found.error <= 1e-5).all()


def test_linear_model_takes_the_fewest_gradients():
    model, x = nn.Linear(5, 3), torch.randn(4, 5)
    assert pl.explain(model, x).cost.backward == 5 * 4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [2, 3, 10, 501])
def test_weights_of_every_rule_sum_to_one(rule, steps):
    nodes, weights = RULES[rule](steps)
    assert abs(weights.sum() - 1) < 1e-12
    assert nodes.shape == weights.shape == (steps,)
    assert (np.diff(nodes) > 0).all()
    assert nodes[0] >= 0
    assert nodes[-1] <= 1


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_gauss_legendre_is_exact_up_to_degree_twice_its_steps(steps):
    nodes, weights = RULES["gauss_legendre"](steps)
    for degree in range(2 * steps):
        assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), rel=1e-12)
    assert abs(weights @ nodes ** (2 * steps) - 1 / (2 * steps + 1)) > 1e-12


@pytest.mark.parametrize("steps", [2, 5, 40])
def test_midpoint_and_trapezoid_err_on_a_parabola_as_they_should(steps):
    nodes, weights = RULES["midpoint"](steps)
    assert weights @ nodes**2 - 1 / 3 == pytest.approx(-1 / (12 * steps**2), rel=1e-9)
    nodes, weights = RULES["trapezoid"](steps)
    assert weights @ nodes**2 - 1 / 3 == pytest.approx(1 / (6 * (steps - 1) ** 2), rel=1e-9)


def test_cubes_are_integrated_exactly_by_two_gauss_legendre_steps(device):
    x = torch.tensor([[1.0, -2.0, 0.5]], device=device)
    found = pl.explain(lambda x: (x**3).sum(1), x, steps=2, rule="gauss_legendre")
    np.testing.assert_allclose(found.values, x.cpu().numpy() ** 3, rtol=1e-6)
