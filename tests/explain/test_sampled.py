"""Methods that draw: expected gradients and noise around the input; and the numbers they draw."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from small_models import mlp

import pellucid as pl
from pellucid.errors import InputError
from pellucid.interpret.draws import normal, order, uniform


@pytest.fixture
def model(device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return mlp(6, 3, 32).to(device)


def rows(n, device, seed=0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)).to(device)


def exact_mean(model, x, background, target):
    """Integrated gradients from every sample of the background, averaged."""
    each = [
        pl.explain(model, x, target=target, baseline=b, steps=500).values.astype(float)
        for b in background
    ]
    return np.mean(each, axis=0)


# -- expected gradients ------------------------------------------------------------------------------


def test_expected_gradients_of_a_linear_model_are_exact_in_the_mean(device):
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.0], device=device)
    x, background = rows(4, device), rows(10, device, seed=1)
    found = pl.explain(lambda x: x @ weights, x, method="expected_gradients", background=background)
    true = weights * (x - background.mean(0))
    # Every sample is used equally often, so that nothing is left to chance.
    np.testing.assert_allclose(found.values, true.cpu().numpy(), rtol=1e-4, atol=1e-5)


def test_standard_errors_of_expected_gradients_cover_the_truth(model, device):
    x, background = rows(8, device), rows(20, device, seed=1)
    target = torch.zeros(8, dtype=torch.long, device=device)
    true = exact_mean(model, x, background, target)
    z = []
    for seed in range(10):
        found = pl.explain(
            model, x, method="expected_gradients", background=background, target=target, seed=seed
        )
        assert found.error is None
        assert found.standard_error.shape == (8, 6)
        z.append((found.values - true) / found.standard_error)
    z = np.stack(z)
    assert (np.abs(z) < 2).mean() > 0.94  # conservative: the draws are spread evenly
    assert np.abs(z).max() < 5
    assert abs(z.mean()) < 0.15  # no bias


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_expected_gradients_keep_to_their_tolerance(model, tolerance, device):
    x, background = rows(30, device), rows(12, device, seed=1)
    target = torch.zeros(30, dtype=torch.long, device=device)
    true = exact_mean(model, x, background, target)
    found = pl.explain(
        model, x, method="expected_gradients", background=background, target=target,
        tolerance=tolerance,
    )  # fmt: skip
    wrong = np.linalg.norm(found.values - true, axis=1) / np.linalg.norm(true, axis=1)
    assert (wrong <= tolerance).mean() >= 0.95
    assert (wrong <= found.error).mean() >= 0.9
    assert (found.error <= tolerance).all()
    gap = np.abs(found.prediction - found.baseline_prediction)
    assert (np.abs(found.residual) <= 3 * tolerance * np.maximum(gap, 0.1)).all()


def test_expected_gradients_from_one_sample_are_integrated_gradients(model, device):
    x, background = rows(5, device), rows(1, device, seed=1)
    options = {"target": 0, "tolerance": 0.01}
    one = pl.explain(model, x, method="expected_gradients", background=background, **options)
    same = pl.explain(model, x, baseline=background[0], **options)
    np.testing.assert_allclose(one.values, same.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.error, same.error, rtol=1e-4)


def test_expected_gradients_at_a_layer_are_complete(model, device):
    x, background = rows(5, device), rows(7, device, seed=1)
    found = pl.explain(
        model, x, method="expected_gradients", background=background, at=["0", "2"], tolerance=0.01
    )
    start = model(background).detach().cpu().numpy().mean(0)[found.target]
    for layer in ("0", "2"):
        one = found.select(layer)
        np.testing.assert_allclose(one.baseline_prediction, start, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.values.sum(1), one.prediction - start, atol=0.02)


def test_expected_gradients_have_half_the_error_of_independent_draws(model, device):
    """The same number of gradients, every reference equally often and the paths evenly covered."""
    from captum.attr import GradientShap

    x, background = rows(20, device), rows(16, device, seed=1)
    true = exact_mean(model, x, background, torch.zeros(20, dtype=torch.long, device=device))
    scale = np.linalg.norm(true, axis=1)
    ours, theirs = [], []
    for seed in range(5):
        found = pl.explain(
            model, x, method="expected_gradients", background=background, target=0, draws=64,
            seed=seed,
        ).values  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            peer = GradientShap(model).attribute(
                x, baselines=background, target=0, n_samples=64, stdevs=0.0
            )
        ours.append(np.linalg.norm(found - true, axis=1) / scale)
        theirs.append(np.linalg.norm(peer.detach().cpu().numpy() - true, axis=1) / scale)
    print(np.median(ours), np.median(theirs))
    assert np.median(ours) < 0.6 * np.median(theirs)


def test_bad_backgrounds_are_refused(model, device):
    x = rows(3, device)
    for options, words in [
        ({}, "give them as background"),
        ({"background": x[:, :4]}, r"\(3, 4\)"),
        ({"background": x[:0]}, r"\(0, 6\)"),
        ({"background": x * torch.nan}, "NaN"),
        ({"background": x, "draws": 1}, "draws=1"),
        ({"background": x, "draws": 10, "tolerance": 0.1}, "not both"),
        ({"background": x, "baseline": 0.0}, "leave baseline out"),
    ]:
        with pytest.raises(InputError, match=words):
            pl.explain(model, x, method="expected_gradients", **options)


# -- noise around the input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kind"),
    [("smoothgrad", "smoothgrad"), ("smoothgrad_squared", "smoothgrad_sq"), ("vargrad", "vargrad")],
)
def test_smoothing_agrees_with_captums_within_its_standard_errors(model, method, kind, device):
    x = rows(4, device)
    draws = 2000
    with torch.random.fork_rng():
        torch.manual_seed(1)
        true = NoiseTunnel(Saliency(model)).attribute(
            x, target=1, nt_type=kind, nt_samples=draws, nt_samples_batch_size=500, stdevs=0.4,
            abs=False,
        )  # fmt: skip
    found = pl.explain(model, x, method=method, target=1, draws=draws, stdev=0.4)
    # Both draw, so that the difference has the errors of both.
    z = (found.values - true.cpu().numpy()) / (2**0.5 * found.standard_error)
    assert np.abs(z).max() < 4.5
    assert 0.5 < np.sqrt((z**2).mean()) < 1.5


def test_smoothing_wraps_any_method_with_its_options(model, device):
    x = rows(3, device)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        true = NoiseTunnel(IntegratedGradients(model)).attribute(
            x, target=1, nt_samples=400, nt_samples_batch_size=50, stdevs=0.4, n_steps=16,
            baselines=0.5, method="riemann_middle",
        )  # fmt: skip
    found = pl.explain(
        model, x, method="smoothgrad", of="integrated_gradients", steps=16, target=1, draws=400,
        stdev=0.4, baseline=0.5,
    )  # fmt: skip
    z = (found.values - true.cpu().numpy()) / (2**0.5 * found.standard_error)
    assert np.abs(z).max() < 4.5
    assert found.settings["of"] == "integrated_gradients"
    assert found.settings["steps"] == 16
    with pytest.raises(InputError, match="takes no option 'steps'"):
        pl.explain(model, x, method="smoothgrad", steps=16)
    with pytest.raises(InputError, match="not a method that noise"):
        pl.explain(model, x, method="smoothgrad", of="vargrad")


def test_noise_is_a_share_of_each_rows_own_range(device):
    x = torch.tensor([[0.0, 10.0, 5.0], [0.0, 0.1, 0.05]], device=device)
    # The gradient of the square is twice the input, so that its spread is that of the noise.
    found = pl.explain(lambda x: (x**2).sum(1), x, method="vargrad", noise=0.1, draws=4000)
    np.testing.assert_allclose(found.values, [[4.0] * 3, [4e-4] * 3], rtol=0.15)
    mean = pl.explain(lambda x: (x**2).sum(1), x, method="smoothgrad", noise=0.1, draws=4000)
    np.testing.assert_allclose(mean.values, 2 * x.cpu().numpy(), atol=0.15)


# -- the numbers -------------------------------------------------------------------------------------


def test_draws_are_uniform_and_normal_and_independent():
    rows, columns = torch.arange(300)[:, None], torch.arange(400)
    u = uniform(3, rows, columns)
    counts = np.histogram(u.numpy().ravel(), bins=50, range=(0, 1))[0]
    expected = u.numel() / 50
    assert ((counts - expected) ** 2 / expected).sum() < 100  # chi squared of 49 degrees: mean 49
    assert (u > 0).all()
    assert (u < 1).all()
    z = normal(3, rows, columns)
    assert abs(z.mean()) < 0.015
    assert abs(z.var() - 1) < 0.02
    assert abs((z**3).mean()) < 0.05
    assert abs((z**4).mean() - 3) < 0.12
    for one, other in [(z[:, 1:], z[:, :-1]), (z[1:], z[:-1]), (z, normal(4, rows, columns))]:
        assert abs((one * other).mean()) < 0.015


def test_draws_belong_to_their_keys():
    rows, columns = torch.arange(10)[:, None], torch.arange(7)
    whole = normal(1, rows, columns)
    assert torch.equal(whole[3:5, 2:4], normal(1, rows[3:5], columns[2:4]))
    assert not torch.equal(whole, normal(2, rows, columns))
    assert len(whole.unique()) == whole.numel()
    orders = order(1, torch.arange(50), 6)
    assert (orders.sort(1).values == torch.arange(6)).all()
    assert len({tuple(o.tolist()) for o in orders}) > 40
