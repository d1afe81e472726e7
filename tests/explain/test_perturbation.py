"""Ablation, occlusion, LIME and RISE: against Captum, scikit-learn, enumeration and closed forms."""

from itertools import product
from math import ceil

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, Occlusion
from memory import peak_bytes
from small_models import TwoInputs, cnn, mlp
from torch import nn
from torch.nn.functional import interpolate

import pellucid as pl
from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution import lime as lime_file
from pellucid.interpret.attribution.lime import _drawn
from pellucid.interpret.attribution.rise import _Masks
from pellucid.interpret.models import Model

BATCHED = ["feature_ablation", "occlusion", "lime"]


def made(make, device, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*arguments).eval().to(device)


def normal(*shape, seed=0, device="cpu"):
    numbers = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return torch.from_numpy(numbers).to(device)


def colour_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(168, 3)
    )  # fmt: skip


def array(tensor):
    return tensor.detach().cpu().numpy()


class Words(nn.Module):
    """A model of tokens."""

    def __init__(self):
        super().__init__()
        self.table, self.mix, self.out = nn.Embedding(20, 4), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, ids):
        hidden = self.mix(self.table(ids)).tanh()
        return self.out((hidden.mean(1) + hidden[:, 0] * hidden[:, -1]).tanh())


# -- feature ablation ------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "shape"), [(mlp, (6,)), (colour_cnn, (3, 8, 14))])
@pytest.mark.parametrize("each", [False, True])
def test_ablation_is_that_of_captum(make, shape, each, device):
    model, x = made(make, device), normal(5, *shape, device=device)
    baseline = normal(5 if each else 1, *shape, seed=1, device=device)
    found = pl.explain(
        model, x, method="feature_ablation", target=1, baseline=baseline if each else baseline[0]
    )
    expected = FeatureAblation(model).attribute(
        x, baselines=baseline, target=1, perturbations_per_eval=16
    )
    assert found.values.shape == x.shape
    np.testing.assert_allclose(found.values, array(expected), atol=1e-5)
    np.testing.assert_allclose(found.prediction, array(model(x))[:, 1], rtol=1e-5)
    assert found.residual is None
    assert found.error is None
    assert found.standard_error is None


def test_ablation_of_groups_is_that_of_captum(device):
    model, x = made(colour_cnn, device), normal(5, 3, 8, 14, device=device)
    tiles = np.arange(4).reshape(2, 2).repeat(4, 0).repeat(7, 1)
    tiles = np.broadcast_to(tiles, (3, 8, 14))
    found = pl.explain(model, x, method="feature_ablation", target=2, groups=tiles)
    mask = torch.from_numpy(tiles.copy()).to(device)[None]
    expected = FeatureAblation(model).attribute(x, target=2, feature_mask=mask)
    assert found.axes == ("sample", "group")
    assert found.values.shape == (5, 4)
    for number, name in enumerate(found.groups):
        one = array(expected)[:, found.groups[name]]
        np.testing.assert_allclose(found.values[:, [number]], one[:, :1], atol=1e-5)


def test_ablation_of_two_inputs_is_that_of_captum(device):
    model, x = made(TwoInputs, device), (normal(5, 4, device=device), normal(5, 3, device=device))
    found = pl.explain(model, x, method="feature_ablation", target=0)
    expected = FeatureAblation(model).attribute(x, target=0)
    for values, wanted in zip(found.values, expected, strict=True):
        np.testing.assert_allclose(values, array(wanted), atol=1e-5)


def test_ablation_of_a_linear_model_is_exact_for_a_function_of_arrays():
    rng = np.random.default_rng(0)
    weights, x, baseline = rng.normal(size=(7, 3)), rng.normal(size=(4, 7)), rng.normal(size=7)
    found = pl.explain(
        lambda rows: rows @ weights, x, method="feature_ablation", target="all", baseline=baseline
    )
    expected = np.einsum("nf,ft->ntf", x - baseline, weights)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.values.dtype == np.float64


@pytest.mark.parametrize("method", BATCHED)
def test_estimators_are_explained_from_a_data_frame(method):
    pd = pytest.importorskip("pandas")
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 4)), columns=list("abcd"))
    fitted = LinearRegression().fit(table, table @ [1.0, -2.0, 0.5, 3.0] + 1)
    options = {"occlusion": {"window": 1}, "lime": {"penalty": 0.0}}.get(method, {})
    found = pl.explain(fitted, table[:6], method=method, background=table, **options)
    expected = (table[:6] - table.mean()).to_numpy() * [1.0, -2.0, 0.5, 3.0]
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert found.feature_names == tuple("abcd")


@pytest.mark.parametrize("method", BATCHED)
def test_a_token_is_one_feature(method, device):
    model = made(Words, device)
    ids = torch.arange(1, 13, device=device).reshape(2, 6)
    options = {"occlusion": {"window": 1}}.get(method, {})
    found = pl.explain(model, ids, method=method, target=1, baseline=0, **options)
    assert found.values.shape == (2, 6)
    if method == "lime":
        masks, weights = all_masks(6, 0.75 * 6**0.5)
        for row, values in zip(ids, found.values, strict=True):
            mixed = torch.from_numpy(masks).to(device).bool()
            scores = array(model(torch.where(mixed, row, 0))[:, 1])
            expected = ridge(masks, scores, weights, 0.001)
            np.testing.assert_allclose(values, expected, atol=1e-5)
        return
    for token in range(6):
        without = ids.clone()
        without[:, token] = 0
        lost = array((model(ids) - model(without))[:, 1])
        np.testing.assert_allclose(found.values[:, token], lost, atol=1e-6)


def test_ablation_at_a_layer_replaces_what_it_puts_out(device):
    model, x = made(mlp, device), normal(4, 6, device=device)
    found = pl.explain(model, x, method="feature_ablation", target=0, at="0")
    hidden, zero = model[0](x), model[0](torch.zeros_like(x))
    assert found.values.shape == hidden.shape
    for unit in range(hidden.shape[1]):
        changed = hidden.clone()
        changed[:, unit] = zero[:, unit]
        lost = array((model(x) - model[1:](changed))[:, 0])
        np.testing.assert_allclose(found.values[:, unit], lost, atol=1e-5)


def test_ablation_of_very_many_features_is_refused_without_groups(device):
    x = torch.zeros(1, 20_000, device=device)
    with pytest.raises(InputError, match=r"20,001 times|20,000 times.*groups=.*occlusion"):
        pl.explain(lambda x: x.sum(1), x, method="feature_ablation")
    halves = np.arange(20_000) // 10_000
    found = pl.explain(lambda x: x.sum(1), x + 1, method="feature_ablation", groups=halves)
    np.testing.assert_allclose(found.values, [[10_000, 10_000]])


# -- occlusion -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "window", "stride", "theirs"),
    [
        ((3, 8, 14), 2, 1, ((3, 2, 2), (1, 1, 1))),
        ((3, 8, 14), (4, 2), (2, 2), ((3, 4, 2), (1, 2, 2))),
        ((3, 8, 14), (1, 8, 2), (2, 1, 2), None),
        ((3, 8, 14), (1, 4, 7), (1, 4, 7), ((1, 4, 7), (1, 4, 7))),
        ((8, 14), 2, 2, ((2, 14), (2, 1))),
        ((8, 14), (4, 5), (2, 3), ((4, 5), (2, 3))),
        ((9,), 3, 2, ((3,), (2,))),
    ],
)
def test_occlusion_is_that_of_captum(shape, window, stride, theirs, device):
    size = int(np.prod(shape))
    model = made(lambda: nn.Sequential(nn.Flatten(), mlp(size, 3)), device)
    x, baseline = normal(3, *shape, device=device), normal(1, *shape, seed=1, device=device)

    def explained():
        return pl.explain(
            model, x, method="occlusion", target=2, baseline=baseline[0], window=window,
            stride=stride,
        )  # fmt: skip

    if theirs is None:
        with pytest.raises(InputError, match="leaves gaps between windows of 1"):
            explained()
        return
    expected = Occlusion(model).attribute(
        x, sliding_window_shapes=theirs[0], strides=theirs[1], baselines=baseline, target=2
    )
    np.testing.assert_allclose(explained().values, array(expected), atol=1e-5)


def enumerated(score, x, baseline, sizes, strides):
    """The mean loss over windows, window by window, the last one at the edge."""
    total, covering = np.zeros(x.shape), np.zeros(x.shape)
    whole = score(x)
    starts = []
    for length, size, stride in zip(x.shape[1:], sizes, strides, strict=True):
        along = [start for start in range(length) if start % stride == 0 and start + size <= length]
        starts.append(sorted({*along, length - size}))
    for first in product(*starts):
        window = tuple(slice(a, a + size) for a, size in zip(first, sizes, strict=True))
        hidden = x.copy()
        hidden[(slice(None), *window)] = baseline[window]
        lost = whole - score(hidden)
        total[(slice(None), *window)] += lost.reshape(-1, *[1] * len(sizes))
        covering[(slice(None), *window)] += 1
    assert covering.min() >= 1
    return total / covering


@pytest.mark.parametrize(
    ("shape", "options", "sizes", "strides"),
    [
        ((2, 7, 10), {}, (2, 2, 2), (2, 1, 1)),
        ((2, 7, 10), {"window": 4, "stride": 3}, (2, 4, 4), (2, 3, 3)),
        ((2, 7, 10), {"window": (7, 3), "stride": 2}, (2, 7, 3), (2, 2, 2)),
        ((2, 9, 11), {"window": (1, 4, 5)}, (1, 4, 5), (1, 2, 2)),
        ((2, 3, 5, 4), {"window": 2}, (2, 2, 2, 2), (2, 1, 1, 1)),
        ((13, 4), {}, (3, 4), (1, 4)),
        ((13, 4), {"window": 5, "stride": 5}, (5, 4), (5, 4)),
        ((7, 10), {"window": (3, 4)}, (3, 4), (1, 2)),
        ((30,), {}, (8,), (4,)),
        ((11,), {"window": 4, "stride": 3}, (4,), (3,)),
        ((2,), {}, (1,), (1,)),
    ],
)
def test_occlusion_is_the_mean_loss_of_every_window(shape, options, sizes, strides):
    rng = np.random.default_rng(0)
    x, baseline = rng.normal(size=(3, *shape)), rng.normal(size=shape)
    weights = rng.normal(size=(int(np.prod(shape)), 4))

    def score(rows):
        return np.tanh(rows.reshape(len(rows), -1) @ weights).sum(1)

    found = pl.explain(score, x, method="occlusion", baseline=baseline, **options)
    expected = enumerated(score, x, baseline, sizes, strides)
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert tuple(found.settings["window"]) == sizes
    assert tuple(found.settings["stride"]) == strides


def test_occlusion_covers_one_input_at_a_time(device):
    model, x = made(TwoInputs, device), (normal(5, 4, device=device), normal(5, 3, device=device))
    found = pl.explain(model, x, method="occlusion", target=0, window=2, stride=1)
    expected = Occlusion(model).attribute(x, sliding_window_shapes=((2,), (2,)), target=0)
    for values, wanted in zip(found.values, expected, strict=True):
        np.testing.assert_allclose(values, array(wanted), atol=1e-5)
    assert found.settings["window"] == [[2], [2]]


def test_occlusion_at_a_layer_covers_all_channels(device):
    model, x = made(colour_cnn, device), normal(2, 3, 8, 14, device=device)
    found = pl.explain(model, x, method="occlusion", target=0, at="2", window=2)
    hidden, zero = array(model[:3](x)), array(model[:3](torch.zeros_like(x[:1])))[0]

    def score(rows):
        return array(model[3:](torch.from_numpy(rows).to(device)))[:, 0]

    expected = enumerated(score, hidden, zero, (6, 2, 2), (6, 1, 1))
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_channels_may_come_last(method, device, monkeypatch):
    model, x = made(colour_cnn, device), normal(2, 3, 8, 14, device=device)
    options = {"method": method, "target": 0}
    expected = pl.explain(model, x, **options).values
    monkeypatch.setattr(Model, "channels_last", True)
    found = pl.explain(lambda x: model(x.movedim(-1, 1)), x.movedim(1, -1), **options).values
    moved = expected if method == "rise" else np.moveaxis(expected, 1, -1)
    np.testing.assert_allclose(found, moved, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window=0; give a whole number from 1"),
        ({"window": 2.5}, "window=2.5; give a whole number from 1"),
        ({"window": "big"}, "window='big'; give a whole number"),
        ({"stride": True}, "stride=True; give a whole number"),
        ({"window": 9}, "window=9 is longer than an axis of 8"),
        ({"window": (1, 2, 3, 4)}, r"has 4 numbers, and the window slides over 2 axes, \(8, 14\)"),
        ({"window": (2, 2), "stride": (1, 1, 1)}, "has 3 numbers, and the window slides over 2"),
        ({"window": 2, "stride": 3}, "leaves gaps between windows of 2"),
    ],
)
def test_windows_that_do_not_fit_are_refused(options, message, device):
    model, x = made(colour_cnn, device), normal(2, 3, 8, 14, device=device)
    with pytest.raises(InputError, match=message):
        pl.explain(model, x, method="occlusion", **options)


# -- LIME ------------------------------------------------------------------------------------------


def all_masks(n, width):
    """Every coalition, and its weight after the kernel's definition."""
    masks = np.array(list(product([0.0, 1.0], repeat=n)))
    distance = np.linalg.norm(masks - 1, axis=1)
    return masks, np.exp(-(distance**2) / width**2)


def ridge(masks, scores, weights, penalty):
    """The weighted ridge regression with an intercept of its own, from its normal equations."""
    weights = weights / weights.sum()
    spread = (weights[:, None] * (masks - weights @ masks) ** 2).sum(0)
    design = np.column_stack([np.ones(len(masks)), masks])
    products = design.T @ (design * weights[:, None])
    products[1:, 1:] += penalty * spread.mean() * np.eye(masks.shape[1])
    return np.linalg.solve(products, design.T @ (weights * scores))[1:]


def pairwise(n, seed=0, third=0.0):
    """A function that is additive, plus what pairs of features do together, and threes."""
    rng = np.random.default_rng(seed)
    one, two, three = rng.normal(size=n), rng.normal(size=(n, n)), rng.normal(size=(n, n, n))

    def function(rows):
        rows = np.asarray(rows, dtype=float)
        pairs = np.einsum("bi,bj,ij->b", rows, rows, np.triu(two, 1))
        return rows @ one + pairs + third * np.einsum("bi,bj,bk,ijk->b", rows, rows, rows, three)

    return function


def recorded(function, n, **options):
    """Explain a row of ones against zeros: the points are the masks themselves."""
    seen, scores = [], []

    def listening(rows):
        found = function(rows)
        seen.append(np.array(rows))
        scores.append(found)
        return found

    found = pl.explain(listening, np.ones((1, n)), method="lime", baseline=0.0, **options)
    masks, scores = np.concatenate(seen), np.concatenate(scores)
    count = found.settings["samples"]
    # The row itself is evaluated beside them, before or behind.
    start = next(
        i
        for i in range(len(masks) - count + 1)
        if i + count == len(masks) or not (masks[i] == 1).all()
    )
    return found, masks[start : start + count], scores[start : start + count]


@pytest.mark.parametrize("penalty", [0.0, 0.001, 0.5])
@pytest.mark.parametrize(("n", "width"), [(12, None), (12, 1.0), (5, None), (5, 0.7)])
def test_lime_is_the_ridge_regression_of_scikit_learn(n, width, penalty):
    from sklearn.linear_model import Ridge

    options = {"samples": 300, "penalty": penalty, "kernel_width": width}
    found, masks, scores = recorded(pairwise(n, third=0.3), n, **options)
    width = found.settings["kernel_width"]
    assert width == pytest.approx(0.75 * n**0.5 if options["kernel_width"] is None else width)
    every = 2**n <= 300
    assert len(masks) == (2**n if every else 300)
    assert len(np.unique(masks, axis=0)) > 30 - 10 * every
    weights = np.exp(-((1 - masks).sum(1)) / width**2) if every else np.ones(len(masks))
    mean = weights @ masks / weights.sum()
    alpha = penalty * (weights @ (masks - mean) ** 2).mean()
    peer = Ridge(alpha=alpha, solver="cholesky").fit(masks, scores, sample_weight=weights)
    np.testing.assert_allclose(found.values[0], peer.coef_, atol=1e-8)
    if every:
        np.testing.assert_allclose(
            found.values[0], ridge(*every_of(n, third=0.3, width=width), penalty), atol=1e-8
        )
        assert not found.standard_error.any()


def every_of(n, *, third, width, seed=0):
    masks, weights = all_masks(n, width)
    return masks, pairwise(n, seed, third)(masks), weights


def test_coalitions_are_drawn_as_the_kernel_weighs_them():
    """The draws' sizes against the kernel's share of every size; and they come in opposites."""
    n, width, pairs = 7, 1.1, 40_000
    masks, weights = all_masks(n, width)
    share = np.array([weights[masks.sum(1) == k].sum() for k in range(n + 1)]) / weights.sum()
    drawn = _drawn(n, width, pairs, seed=3).masks.numpy()
    sizes = np.bincount(drawn.sum(1), minlength=n + 1) / len(drawn)
    np.testing.assert_allclose(sizes, share, atol=5 * np.sqrt(share.max() / len(drawn)))
    assert not (~drawn[:pairs] & ~drawn[pairs:]).any()  # nothing is replaced on both sides
    np.testing.assert_allclose(drawn.mean(0), weights @ masks / weights.sum(), atol=0.01)


@pytest.mark.parametrize("n", [1, 4, 9, 25])
def test_an_additive_model_is_recovered_without_a_penalty(n):
    rng = np.random.default_rng(n)
    x, baseline, weights = rng.normal(size=(3, n)), rng.normal(size=n), rng.normal(size=n)
    found = pl.explain(
        lambda rows: rows @ weights + 5, x, method="lime", baseline=baseline, samples=120,
        penalty=0.0,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, (x - baseline) * weights, atol=1e-10)
    assert (found.standard_error < 1e-10).all()


def test_the_penalty_takes_its_share_and_leaves_the_intercept():
    """Of independent features: all coalitions under a wide kernel."""
    weights = np.arange(1.0, 9)
    for constant in (0.0, 1e6):
        found = pl.explain(
            lambda rows, constant=constant: rows @ weights + constant,
            np.ones((1, 8)), method="lime", baseline=0.0, penalty=0.25, kernel_width=1e4,
        )  # fmt: skip
        np.testing.assert_allclose(found.values[0], weights / 1.25, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_small_scores_have_values_as_small(scale):
    x, function = np.random.default_rng(0).normal(size=(3, 14)), pairwise(14)
    options = {"method": "lime", "baseline": 0.0, "samples": 200, "penalty": 0.01}
    one = pl.explain(function, x, **options)
    other = pl.explain(lambda rows: scale * function(rows), x, **options)
    np.testing.assert_allclose(other.values, scale * one.values, rtol=1e-9)
    np.testing.assert_allclose(other.standard_error, scale * one.standard_error, rtol=1e-9)
    assert (one.values != 0).all()


@pytest.mark.parametrize(
    ("samples", "width", "third"),
    [(52, None, 0.0), (1000, None, 0.0), (200, 1.0, 0.3), (52, None, 0.3)],
)
def test_standard_errors_cover_the_fit_of_all_coalitions(samples, width, third):
    n = 12
    hits, known = [], {}
    for seed in range(60):
        function = pairwise(n, seed % 4, third)
        found = pl.explain(
            function, np.ones((1, n)), method="lime", baseline=0.0, samples=samples, seed=seed,
            kernel_width=width,
        )  # fmt: skip
        if seed < 4:
            masks, weights = all_masks(n, found.settings["kernel_width"])
            known[seed] = ridge(masks, function(masks), weights, 0.001)
        apart = np.abs(found.values[0] - known[seed % 4])
        hits.append(apart <= 1.96 * found.standard_error[0])
        assert found.error is None
    assert 0.9 <= np.mean(hits) <= 0.99


def test_standard_errors_are_the_sandwich_of_bell_and_mccaffrey():
    """Written out with the whole design, clusters one by one, for the plain regression."""
    found, masks, scores = recorded(pairwise(6, third=0.3), 6, samples=40, penalty=0.0)
    design = np.column_stack([np.ones(40), masks])
    bread = np.linalg.inv(design.T @ design)
    left = scores - design @ (bread @ design.T @ scores)
    meat = np.zeros((7, 7))
    for pair in range(20):
        both = [pair, pair + 20]
        rows = design[both]
        size, vectors = np.linalg.eigh(np.eye(2) - rows @ bread @ rows.T)
        one = rows.T @ (vectors * size**-0.5) @ vectors.T @ left[both]
        meat += np.outer(one, one)
    expected = np.sqrt(np.diag(bread @ meat @ bread))[1:]
    np.testing.assert_allclose(found.standard_error[0], expected, rtol=1e-8)


def test_opposite_draws_of_the_kernel_are_nearer_than_weighted_uniform_ones():
    n, ours, theirs = 10, [], []
    for seed in range(20):
        function = pairwise(n, seed, 0.1)
        found = pl.explain(
            function, np.ones((1, n)), method="lime", baseline=0.0, samples=300, seed=seed,
            penalty=0.0, kernel_width=1.0,
        )  # fmt: skip
        every, weights = all_masks(n, 1.0)
        true = ridge(every, function(every), weights, 0.0)
        drawn = np.random.default_rng(seed).integers(0, 2, (300, n)).astype(float)
        kernel = np.exp(-(1 - drawn).sum(1))
        peer = ridge(drawn, function(drawn), kernel, 0.0)
        ours.append(np.linalg.norm(found.values[0] - true))
        theirs.append(np.linalg.norm(peer - true))
    assert np.mean(ours) < 0.7 * np.mean(theirs)


@pytest.mark.parametrize("at", ["input", "0"])
def test_lime_works_through_rows_that_fit_into_memory(at, device, monkeypatch):
    model, x = made(mlp, device), normal(30, 6, device=device)
    options = {"method": "lime", "target": "all", "samples": 80 if at == "0" else 40, "at": at}
    whole = pl.explain(model, x, **options)
    monkeypatch.setattr(lime_file, "keep_bytes", lambda _: 32 * 40 * 3 * 4)
    monkeypatch.setattr(lime_file, "_NUMBERS", 200)
    parts = pl.explain(model, x, **options)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts.standard_error, whole.standard_error, rtol=1e-3, atol=1e-6)


def test_methods_of_one_baseline_leave_a_background_to_others(device):
    """Beside Shapley values, which compare with each of its samples, LIME takes the mean."""
    model, x = made(mlp, device), normal(4, 6, device=device)
    background = normal(7, 6, seed=1, device=device)
    both = pl.compare(model, x, methods=["shapley", "lime"], background=background, target=0)
    alone = pl.explain(model, x, method="lime", target=0, baseline=background.mean(0))
    np.testing.assert_allclose(both.explanations["lime"].values, alone.values, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 10}, "samples=10 is too few for 20 features: 84 are the least"),
        ({"samples": 99.5}, "samples=99.5; give a whole number"),
        ({"penalty": -1}, "penalty=-1; give a number from 0"),
        ({"penalty": float("nan")}, "penalty=nan"),
        ({"kernel_width": 0}, "kernel_width=0; give a number above 0"),
        ({"kernel_width": 0.3}, "kernel_width=0.3 is so narrow that too few of 1,000 coalitions"),
        ({"kernel_width": 1e-300}, "so narrow"),
    ],
)
def test_what_lime_cannot_tell_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        pl.explain(lambda x: x.sum(1), np.ones((2, 20)), method="lime", baseline=0.0, **options)


def test_lime_of_a_large_picture_asks_for_groups(device):
    x = torch.ones(1, 3, 64, 64, device=device)
    with pytest.raises(InputError, match=r"12,288 features .*4,096 groups with groups="):
        pl.explain(lambda x: x.sum((1, 2, 3)), x, method="lime")


def test_lime_says_when_scores_are_not_finite():
    with pytest.raises(ModelError, match="NaN or infinite values when some features are replaced"):
        pl.explain(lambda x: x.log().sum(1), torch.ones(1, 4), method="lime", baseline=0.0)


# -- RISE ------------------------------------------------------------------------------------------


def masks_of_the_paper(drawn, height, width):
    """Section 3.2: enlarge the cells to one cell more than the picture, and cut it out."""
    cells, shifts = drawn
    grid = cells.shape[-1]
    tall, wide = ceil(height / grid), ceil(width / grid)
    whole = interpolate(cells[:, None], ((grid + 1) * tall, (grid + 1) * wide), mode="bilinear")
    return np.stack(
        [
            one[int(down) : int(down) + height, int(across) : int(across) + width]
            for one, (down, across) in zip(whole[:, 0].numpy(), shifts.numpy(), strict=True)
        ]
    )


@pytest.mark.parametrize(("grid", "shape"), [(4, (8, 14)), (7, (20, 13)), (1, (5, 6)), (8, (3, 4))])
def test_masks_are_those_of_the_paper(grid, shape):
    masks = _Masks(5, grid, 0.4, *shape)
    number = torch.arange(500)
    found = masks.make(number).numpy()
    np.testing.assert_allclose(found, masks_of_the_paper(masks.drawn(number), *shape), atol=1e-12)
    stay, shift = masks.drawn(number)
    assert stay.mean() == pytest.approx(0.4, abs=5 * (0.24 / stay.numel()) ** 0.5)
    for axis, length in enumerate(shape):
        assert set(shift[:, axis].tolist()) == set(range(ceil(length / grid)))
    # Every place is seen as often as any other.
    apart = np.abs(found.mean(0) - 0.4)
    assert (apart < 5 * found.std(0) / 500**0.5 + 1e-9).all()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 64, "auto"])
def test_rise_is_the_average_of_the_paper(centred, batch_size, device):
    model, x = made(colour_cnn, device), normal(3, 3, 8, 14, device=device)
    baseline = normal(3, 8, 14, seed=1, device=device)
    found = pl.explain(
        model, x, method="rise", target="all", samples=60, grid=4, keep=0.3, centred=centred,
        baseline=baseline, batch_size=batch_size, seed=2,
    )  # fmt: skip
    masks = masks_of_the_paper(_Masks(2, 4, 0.3, 8, 14).drawn(torch.arange(60)), 8, 14)
    x, baseline = array(x).astype(float), array(baseline).astype(float)
    seen = np.stack([m * x + (1 - m) * baseline for m in masks])
    points = torch.from_numpy(seen.reshape(-1, 3, 8, 14).astype(np.float32)).to(device)
    scores = array(model(points)).reshape(60, 3, 3).astype(float)  # masks, rows, targets
    if centred:
        scores = scores - scores.mean(0)
    expected = np.einsum("mnt,mhw->nthw", scores, masks) / (60 * 0.3)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.axes == ("sample", "target", "row", "column")
    # The standard error of a mean, one term for each mask.
    terms = scores[..., None, None] * (masks - 0.3 * centred)[:, None, None] / 0.3
    spread = terms.std(0, ddof=1) / 60**0.5
    np.testing.assert_allclose(found.standard_error, spread, rtol=1e-3, atol=1e-6)
    assert found.error is None


@pytest.mark.parametrize("centred", [True, False])
def test_rise_of_a_linear_model_has_the_expected_values(centred):
    """What a mask lets through goes with the mask elsewhere: the covariance of all masks."""
    rng = np.random.default_rng(0)
    x, baseline, weights = rng.normal(size=(2, 9, 9)), rng.normal(size=(9, 9)), np.ones((9, 9))
    weights[4:, :] = rng.normal(size=(5, 9)) * 3
    masks = masks_of_the_paper(_Masks(99, 3, 0.5, 9, 9).drawn(torch.arange(60_000)), 9, 9)
    scores = (masks[:, None] * (x - baseline) * weights).sum((2, 3)) + (baseline * weights).sum()
    scores = scores - scores.mean(0) if centred else scores
    true = np.einsum("mn,mhw->nhw", scores, masks) / (0.5 * len(masks))
    z = []
    for seed in range(20):
        found = pl.explain(
            lambda rows: (rows * weights).sum((1, 2)), x, method="rise", baseline=baseline,
            samples=800, grid=3, seed=seed, centred=centred,
        )  # fmt: skip
        z.append((found.values - true) / found.standard_error)
    assert 0.9 <= (np.abs(z) < 1.96).mean() <= 0.99
    assert np.abs(np.mean(z, 0)).max() < 5 / 20**0.5
    assert np.abs(z).max() < 6


def test_what_makes_no_difference_has_no_value():
    x = np.random.default_rng(0).normal(size=(2, 8, 8))
    found = pl.explain(lambda rows: np.full(len(rows), 7.0), x, method="rise", baseline=0.0)
    assert not found.values.any()
    assert not found.standard_error.any()
    paper = pl.explain(
        lambda rows: np.full(len(rows), 7.0), x, method="rise", baseline=0.0, centred=False
    )
    np.testing.assert_allclose(paper.values, 7, atol=6 * paper.standard_error.max())


def test_all_pictures_share_the_masks(device):
    """Whatever the others are, and however they are batched."""
    model, x = made(cnn, device), normal(9, 1, 6, 6, device=device)
    options = {"method": "rise", "samples": 50, "target": 1}
    whole = pl.explain(model, x, **options)
    for batch_size in (1, 4, 13):
        part = pl.explain(model, x[[7, 2, 5]], batch_size=batch_size, **options)
        np.testing.assert_allclose(part.values, whole.values[[7, 2, 5]], atol=1e-6)


def test_memory_does_not_grow_with_the_samples(device):
    model, x = made(cnn, device), normal(2, 1, 6, 6, device=device)
    tall = interpolate(x, (64, 64))
    network = nn.Sequential(nn.AdaptiveAvgPool2d(6), model)
    peaks = []
    for samples in (32, 256):
        _, peak = peak_bytes(
            lambda n=samples: pl.explain(
                network, tall, method="rise", samples=n, target=0, batch_size=8
            )
        )
        peaks.append(peak)
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 256 * 64**2 * 8  # less than all masks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "samples=1; give a whole number from 2"),
        ({"samples": "many"}, "samples='many'; give a whole number"),
        ({"grid": 0}, "grid=0; give how many cells"),
        ({"keep": 1}, "keep=1; give the share of cells that stay, between 0 and 1"),
        ({"at": "0"}, "rise is made of the picture itself.*layer '0'.*occlusion"),
    ],
)
def test_what_rise_does_not_take_is_refused(options, message, device):
    model, x = made(cnn, device), normal(2, 1, 6, 6, device=device)
    with pytest.raises(InputError, match=message):
        pl.explain(model, x, method="rise", **options)


def test_rise_looks_at_one_picture(device):
    x = normal(2, 1, 6, 6, device=device), normal(2, 1, 6, 6, seed=1, device=device)

    def both(a, b):
        return (a * b).flatten(1).sum(1)

    with pytest.raises(InputError, match="one picture, and 2 inputs are attributed"):
        pl.explain(both, x, method="rise")
    found = pl.explain(both, x, method="rise", attribute="0", samples=20)
    assert found.values.shape == (2, 6, 6)
