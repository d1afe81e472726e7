"""Blur IG and guided IG against their authors' code, closed forms, and loops that share nothing."""

import functools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from small_models import cnn, mlp
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import pellucid as pl
from pellucid.errors import InputError
from pellucid.interpret.attribution.pictures import blurred

MODES = {"reflect": "reflect", "zero": "constant"}


def norms(values):
    return np.linalg.norm(np.asarray(values, float).reshape(len(values), -1), axis=1)


def apart(found, expected):
    """Relative L2 distance of each row."""
    return norms(np.asarray(found) - expected) / norms(expected)


@functools.cache
def model(act=nn.Softplus, device="cpu"):
    """Of pictures that are not square, in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), act(), nn.Conv2d(6, 6, 3, stride=2), act(),
            nn.Flatten(), nn.Linear(6 * 4 * 3, 3),
        )  # fmt: skip
    return made.double().to(device)


def random_pictures(n=3, shape=(2, 9, 7), seed=0, device="cpu"):
    drawn = np.random.default_rng(seed).normal(size=(n, *shape))
    return torch.from_numpy(drawn).to(device)


def gradient_at(network, target):
    """The gradient of one score at any batch, as arrays."""

    def gradient(batch):
        device = next(network.parameters()).device
        x = torch.from_numpy(np.asarray(batch)).double().to(device).requires_grad_()
        (found,) = torch.autograd.grad(network(x)[:, target].sum(), x)
        return found.cpu().numpy()

    return gradient


def called_by_authors(network, target, channels_last=False):
    """The call-back that the authors' package takes."""
    from saliency.core import INPUT_OUTPUT_GRADIENTS

    gradient = gradient_at(network, target)

    def call(batch, call_model_args=None, expected_keys=None):
        found = gradient(np.moveaxis(batch, -1, 1) if channels_last else batch)
        return {INPUT_OUTPUT_GRADIENTS: np.moveaxis(found, 1, -1) if channels_last else found}

    return call


# -- the blur --------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", sorted(MODES))
@pytest.mark.parametrize("shape", [(3, 12, 9), (1, 5, 30), (20, 7)])
def test_blur_is_that_of_scipy(shape, edge, device):
    pictures = random_pictures(5, shape, device=device)
    sigmas = [0.1, 0.5, 2.0, 7.0, 30.0]
    found = blurred(pictures, torch.tensor(sigmas, dtype=float, device=device), 30.0, edge)
    for one, picture, sigma in zip(found, pictures, sigmas, strict=True):
        along = [0] * (len(shape) - 2) + [sigma, sigma]
        wanted = gaussian_filter(picture.cpu().numpy(), along, mode=MODES[edge], truncate=7)
        np.testing.assert_allclose(one.cpu().numpy(), wanted, atol=3e-8)


def test_no_blur_is_the_picture_itself_to_the_bit(device):
    pictures = random_pictures(2, device=device).float()
    found = blurred(pictures, torch.tensor([0.0, 1.0], device=device).double(), 1.0, "reflect")
    assert torch.equal(found[0], pictures[0])
    assert not torch.allclose(found[1], pictures[1])


def test_autocast_does_not_reach_the_blur(device):
    pictures = random_pictures(2, device=device).float()
    sigma = torch.tensor([1.0], dtype=float, device=device)
    expected = blurred(pictures, sigma, 1.0, "reflect")
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert torch.equal(blurred(pictures, sigma, 1.0, "reflect"), expected)


# -- blur IG ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", sorted(MODES))
@pytest.mark.parametrize("act", [nn.Softplus, nn.ReLU])
def test_blur_ig_is_the_integral_that_a_loop_finds(act, edge, device):
    network, x = model(act, device), random_pictures(device=device)
    picture, gradient, widest = x.cpu().numpy(), gradient_at(network, 1), 2.5
    # Another parametrisation, another blur: squares of equal steps, with scipy.
    sigmas = widest * np.linspace(1, 0, 3000) ** 2
    total, before = np.zeros_like(picture), None
    for sigma in sigmas:
        here = picture
        if sigma:
            here = gaussian_filter(picture, [0, 0, sigma, sigma], mode=MODES[edge], truncate=7)
        slope = gradient(here)
        if before is not None:
            total += (before[1] + slope) / 2 * (here - before[0])
        before = here, slope
    found = pl.explain(
        network, x, method="blur_ig", target=1, max_sigma=widest, edge=edge,
        tolerance=0.002, budget=3000,
    )  # fmt: skip
    assert (found.error <= 0.002).all()
    assert (apart(found.values, total) <= 0.002).all()
    fixed = pl.explain(
        network, x, method="blur_ig", target=1, max_sigma=widest, edge=edge, steps=400
    )
    assert (apart(fixed.values, total) <= fixed.error).all()
    assert (fixed.error < 0.02).all()


def test_blur_ig_is_that_of_its_authors(device):
    saliency = pytest.importorskip("saliency.core")
    network, x = model(nn.Softplus, device), random_pictures(device=device)
    call = called_by_authors(network, 2, channels_last=True)
    found = pl.explain(
        network, x, method="blur_ig", target=2, max_sigma=3, edge="zero", tolerance=0.001
    )
    for values, picture in zip(found.values, x.cpu().numpy(), strict=True):
        theirs = saliency.BlurIG().GetMask(
            np.moveaxis(picture, 0, -1), call, max_sigma=3.0, steps=2000, grad_step=1e-4
        )
        # They sum to the left, and cut the Gaussian at four sigma.
        assert apart(values[None], np.moveaxis(theirs, -1, 0)[None]) < 0.002


def test_blur_ig_of_a_linear_model_is_weight_times_what_the_blur_took(device):
    weight = random_pictures(1, (8, 6), seed=5, device=device)[0]
    x = random_pictures(4, (8, 6), device=device)
    found = pl.explain(lambda p: (p * weight).sum((1, 2)), x, method="blur_ig")
    soft = gaussian_filter(x.cpu().numpy(), [0, 2, 2], mode="reflect", truncate=7)
    expected = weight.cpu().numpy() * (x.cpu().numpy() - soft)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    np.testing.assert_allclose(
        found.baseline_prediction, (soft * weight.cpu().numpy()).sum((1, 2)), atol=1e-6
    )
    assert np.abs(found.residual).max() < 1e-6
    assert found.error.max() < 0.01
    assert found.baseline is None
    assert found.settings["max_sigma"] == 2
    assert "blurred with sigma 2" in found.settings["baseline"]


def test_blur_ig_of_a_constant_picture_is_zero(device):
    x = torch.full((2, 1, 6, 6), 3.0, device=device)
    found = pl.explain(cnn().to(device), x, method="blur_ig")
    np.testing.assert_allclose(found.values, 0, atol=1e-5)
    np.testing.assert_allclose(found.prediction, found.baseline_prediction, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"steps": 15}], ids=["tolerance", "steps"])
def test_blur_ig_knows_how_wrong_it_is(options, device):
    """Rows whose true error is larger than what it says are few."""
    torch.manual_seed(3)
    network = cnn().double().to(device)
    x = random_pictures(100, (1, 6, 6), seed=1, device=device)
    truth = pl.explain(network, x, method="blur_ig", target=0, steps=3000)
    found = pl.explain(network, x, method="blur_ig", target=0, **options)
    true = norms(found.values - truth.values) / norms(truth.values)
    assert np.mean(true <= found.error) >= 0.95
    assert np.median(found.error / true) < 5


def test_blur_ig_of_all_targets_is_what_each_gives_alone(device):
    network, x = model(nn.ReLU, device), random_pictures(device=device)
    every = pl.explain(network, x, method="blur_ig", target="all", steps=12)
    assert every.values.shape == (3, 3, 2, 9, 7)
    for target in range(3):
        alone = pl.explain(network, x, method="blur_ig", target=target, steps=12)
        np.testing.assert_allclose(every.values[:, target], alone.values, atol=1e-12)
        np.testing.assert_allclose(every.residual[:, target], alone.residual, atol=1e-12)


def test_blur_ig_blurs_only_what_is_attributed_to(device):
    class Two(nn.Module):
        def forward(self, left, right):
            return (left.flatten(1).prod(1) + left.flatten(1).sum(1)) * right.flatten(1).mean(1)

    left, right = (random_pictures(3, (4, 4), seed=seed, device=device) for seed in (0, 1))
    both = pl.explain(Two(), (left, right), method="blur_ig", tolerance=0.001)
    assert np.abs(both.residual).max() < 0.001
    one = pl.explain(Two(), (left, right), method="blur_ig", attribute="0", tolerance=0.001)
    assert one.values[1] is None
    soft = blurred(left, torch.tensor([1.0], dtype=float, device=device), 1.0, "reflect")
    np.testing.assert_allclose(one.baseline_prediction, Two()(soft, right).cpu(), rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        ((5, 6), {}, r"needs pictures.*shape \(samples, 6\); choose"),
        ((5, 1, 2, 3, 4), {}, "needs pictures"),
        ((5, 1, 6, 6), {"max_sigma": 0}, "max_sigma=0"),
        ((5, 1, 6, 6), {"max_sigma": 61}, "up to 10 times the longer side"),
        ((5, 1, 6, 6), {"max_sigma": float("nan")}, "max_sigma=nan"),
        ((5, 1, 6, 6), {"edge": "wrap"}, "edge='wrap' is not known; use 'reflect', 'zero'"),
        ((5, 1, 6, 6), {"rule": "midpoint", "steps": 5}, "the only rule is 'trapezoid'"),
        ((5, 1, 6, 6), {"baseline": "zero"}, "compares with no baseline"),
        ((5, 1, 6, 6), {"at": "0"}, "is made of the picture itself"),
    ],
)
def test_blur_ig_says_what_it_cannot_do(inputs, options, words):
    network = cnn() if inputs[1:] == (1, 6, 6) else nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(inputs)
    network(x)
    with pytest.raises(InputError, match=words):
        pl.explain(network, x, method="blur_ig", **options)


# -- guided IG -------------------------------------------------------------------------------------


@pytest.fixture
def authors_guided(monkeypatch):
    """The authors' guided IG; NumPy has renamed an option of `quantile` that it takes."""
    module = pytest.importorskip("saliency.core.guided_ig")

    class Numpy:
        def __getattr__(self, name):
            return getattr(np, name)

        def quantile(self, values, q, interpolation):
            return np.quantile(values, q, method=interpolation)

    monkeypatch.setattr(module, "np", Numpy())
    return module.GuidedIG()


@pytest.mark.parametrize("act", [nn.Softplus, nn.ReLU])
@pytest.mark.parametrize(
    "options",
    [
        {"steps": 30},
        {"steps": 60, "fraction": 0.25, "max_dist": 0.1},
        {"steps": 25, "fraction": 0.01, "max_dist": 1.0},
        {"steps": 10, "fraction": 1.0, "max_dist": 0.3},
        {"steps": 8, "max_dist": 0.0},
        {"steps": 1},
    ],
    ids=str,
)
def test_guided_ig_is_that_of_its_authors(act, options, authors_guided, device):
    network, x = model(act, device), random_pictures(device=device)
    baseline = random_pictures(seed=9, device=device)
    baseline[0, 0] = x[0, 0]  # what does not change has no part in it
    found = pl.explain(
        network, x, method="guided_ig", target=1, rule="left", baseline=baseline, **options
    )
    full = {"steps": 200, "fraction": 0.1, "max_dist": 0.02} | options
    for values, one, start in zip(found.values, x.cpu(), baseline.cpu(), strict=True):
        theirs = authors_guided.GetMask(
            one.numpy(), called_by_authors(network, 1), x_baseline=start.numpy(),
            x_steps=full["steps"], fraction=full["fraction"], max_dist=full["max_dist"],
        )  # fmt: skip
        np.testing.assert_allclose(values, theirs, atol=1e-12 * np.abs(theirs).max())
    assert found.error is None


def test_guided_ig_takes_equal_gradients_together_like_its_authors(authors_guided, device):
    """A whole half of the picture that does not count, and weights of three sizes."""
    weight = torch.from_numpy(np.random.default_rng(2).integers(-3, 4, (2, 6, 6)) / 2.0)
    weight[..., 3:] = 0
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False), nn.Softplus())
    network[1].weight.data = weight.reshape(2, 36)
    network = network.double().to(device)
    x = random_pictures(4, (6, 6), device=device)
    found = pl.explain(network, x, method="guided_ig", target=0, rule="left", steps=40)
    for values, one in zip(found.values, x.cpu().numpy(), strict=True):
        theirs = authors_guided.GetMask(
            one, called_by_authors(network, 0), x_steps=40, fraction=0.1, max_dist=0.02
        )
        np.testing.assert_allclose(values, theirs, atol=1e-12)


def test_guided_ig_without_distance_is_integrated_gradients(device):
    network, x = model(nn.ReLU, device), random_pictures(device=device)
    guided = pl.explain(network, x, method="guided_ig", target=0, max_dist=0, steps=16)
    straight = pl.explain(
        network, x, method="integrated_gradients", target=0, steps=17, rule="trapezoid"
    )
    np.testing.assert_allclose(guided.values, straight.values, atol=1e-12)
    np.testing.assert_allclose(guided.prediction, straight.prediction)
    np.testing.assert_allclose(guided.baseline_prediction, straight.baseline_prediction)


class Watched:
    """A function that notes all that it is called with, one batch of all rows after another."""

    def __init__(self, network):
        self.network, self.seen = network, []

    def __call__(self, x):
        self.seen.append(x.detach().cpu().numpy().copy())
        return self.network(x)


@pytest.mark.parametrize("max_dist", [0.02, 1.0])
def test_guided_ig_knows_how_wrong_its_integral_is(max_dist, device):
    """Against the integral along the very path that it took, part by part."""
    torch.manual_seed(5)
    network = cnn().double().to(device)
    watched = Watched(network)
    x = random_pictures(60, (1, 6, 6), seed=4, device=device)
    found = pl.explain(
        watched, x, method="guided_ig", target=0, max_dist=max_dist, steps=100, batch_size=60
    )
    path = np.stack(watched.seen[-101:])
    np.testing.assert_array_equal(path[-1], x.cpu().numpy())
    assert not path[0].any()
    gradient, truth = gradient_at(network, 0), np.zeros_like(path[0])
    middles = (np.arange(20) + 0.5) / 20
    for before, behind in zip(path[:-1], path[1:], strict=True):
        some = [before + middle * (behind - before) for middle in middles]
        slopes = gradient(np.concatenate(some)).reshape(20, *before.shape)
        truth += slopes.mean(0) * (behind - before)
    true = norms(found.values - truth) / norms(truth)
    assert np.mean(true <= found.error) >= 0.95
    assert np.median(found.error / true) < 5
    assert (np.abs(found.residual) <= 36**0.5 * true * norms(truth) + 1e-12).all()


def test_guided_ig_of_a_linear_model_is_weight_times_difference(device):
    network = nn.Linear(7, 2).double().to(device)
    x = random_pictures(5, (7,), device=device)
    found = pl.explain(network, x, method="guided_ig", target=1, baseline=0.5, steps=13)
    expected = network.weight[1].detach().cpu().numpy() * (x.cpu().numpy() - 0.5)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.error.max() < 1e-12
    assert np.abs(found.residual).max() < 1e-12


def test_guided_ig_from_the_input_itself_is_zero(device):
    x = random_pictures(2, (6,), device=device).float()
    x[1] = 0
    found = pl.explain(mlp().to(device), x, method="guided_ig", steps=5)
    assert norms(found.values)[0] > 0
    assert not found.values[1].any()
    assert found.error[1] == 0


def test_guided_ig_ends_where_a_gradient_is_not_a_number(device):
    x = torch.tensor([[1.0, 2, 3], [1, 0, -1]], device=device)
    with pytest.warns(UserWarning, match="1 of 2 rows have NaN"):
        # Where the other branch is taken, its gradient is 0 times one that is not a number.
        found = pl.explain(
            lambda x: torch.where(x > -0.5, (x + 0.5).sqrt(), x).sum(1),
            x,
            method="guided_ig",
            baseline=1.0,
            steps=5,
        )
    assert np.isfinite(found.values[0]).all()


def test_guided_ig_at_a_layer_is_that_of_the_network_behind_it(device):
    network, x = model(nn.Softplus, device), random_pictures(device=device)
    there = pl.explain(network, x, method="guided_ig", target=2, at="1", steps=20)
    with torch.no_grad():
        behind, start = network[:2](x), network[:2](torch.zeros_like(x))
    alone = pl.explain(network[2:], behind, method="guided_ig", target=2, baseline=start, steps=20)
    np.testing.assert_allclose(there.values, alone.values, atol=1e-12)


def test_guided_ig_takes_several_inputs_as_one(device):
    network, x = mlp().double().to(device), random_pictures(4, (6,), device=device)
    whole = pl.explain(network, x, method="guided_ig", target=0, steps=20)
    parts = pl.explain(
        lambda a, b: network(torch.cat([a, b], 1))[:, 0],
        (x[:, :2], x[:, 2:]),
        method="guided_ig",
        steps=20,
    )
    np.testing.assert_allclose(np.concatenate(parts.values, 1), whole.values, atol=1e-12)


class Reads(TorchDispatchMode):
    """Counts how often a value is read from the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
        return function(*args, **(kwargs or {}))


def test_guided_ig_does_not_wait_for_the_device_between_its_steps(device):
    counts = []
    for steps in (5, 25):
        with Reads() as reads:
            pl.explain(
                model(nn.ReLU, device), random_pictures(device=device), method="guided_ig",
                target=0, steps=steps,
            )  # fmt: skip
        counts.append(reads.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"fraction": 0}, "fraction=0; give the share"),
        ({"fraction": 1.5}, "fraction=1.5"),
        ({"max_dist": -0.1}, "max_dist=-0.1"),
        ({"max_dist": "far"}, "max_dist='far'"),
        ({"rule": "midpoint"}, "rule='midpoint' is not known; use 'trapezoid', 'left'"),
        ({"tolerance": 0.1}, "takes no option 'tolerance'"),
        ({"target": "all"}, "one target at a time"),
    ],
)
def test_guided_ig_says_what_it_cannot_do(options, words):
    with pytest.raises(InputError, match=words):
        pl.explain(mlp(), torch.randn(2, 6), method="guided_ig", **options)
