"""Shapley values: against enumeration and closed forms, and as wrong as they say."""

import itertools
from math import factorial

import numpy as np
import pytest
import torch
from memory import peak_bytes
from small_models import mlp
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, ModelError
from pellucid.interpret.attribution.coalitions import allotted, draw, existing, fresh

ESTIMATORS = ["shapley", "permutation_shapley"]


def enumerated(value, n):
    """Shapley values by their definition, from a function of a set of players."""
    known = {s: value(s) for k in range(n + 1) for s in itertools.combinations(range(n), k)}
    found = np.zeros(n)
    for i in range(n):
        for s, without in known.items():
            if i not in s:
                weight = factorial(len(s)) * factorial(n - len(s) - 1) / factorial(n)
                found[i] += weight * (known[tuple(sorted((*s, i)))] - without)
    return found


def game_of(function, x, background):
    """The value of a coalition: the mean over the background with the coalition's features."""

    def value(players):
        rows = np.stack([np.asarray(row, dtype=float) for row in background])
        rows[:, list(players)] = np.asarray(x)[list(players)]
        return float(np.mean(function(rows)))

    return value


def cubic(n, seed=0):
    """A function whose features interact three at a time."""
    weights = np.random.default_rng(seed).normal(size=(n, n, n))
    return lambda rows: np.einsum("bi,bj,bk,ijk->b", rows, rows, rows, weights) + rows.sum(1)


# -- exact -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("samples", [1, 6])
def test_enumeration_over_a_background_is_the_definition(n, samples):
    rng = np.random.default_rng(n)
    x, background, function = rng.normal(size=(3, n)), rng.normal(size=(samples, n)), cubic(n)
    found = pl.explain(function, x, method="shapley", background=background)
    for row, values in zip(x, found.values, strict=True):
        np.testing.assert_allclose(
            values, enumerated(game_of(function, row, background), n), atol=1e-9
        )
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-12)
    np.testing.assert_allclose(found.error, 0, atol=1e-12)
    np.testing.assert_allclose(found.prediction, function(x))
    np.testing.assert_allclose(found.baseline_prediction, function(background).mean())
    np.testing.assert_allclose(found.residual, 0, atol=1e-9)


def test_a_network_on_tensors_is_enumerated(device):
    torch.manual_seed(0)
    model, x = mlp(6, 3, 16).to(device), torch.randn(2, 6, device=device)
    background = torch.randn(4, 6, device=device)
    found = pl.explain(model, x, method="shapley", target="all", background=background)

    for row, target in itertools.product(range(2), range(3)):

        def function(rows, target=target):
            with torch.no_grad():
                return (
                    model(torch.tensor(rows, dtype=torch.float32, device=device))[:, target]
                    .cpu()
                    .numpy()
                )

        expected = enumerated(game_of(function, x[row].cpu(), background.cpu()), 6)
        np.testing.assert_allclose(found.values[row, target], expected, atol=1e-5)


@pytest.mark.parametrize("method", ESTIMATORS)
@pytest.mark.parametrize("budget", [14, 15, 20, 26, 27, 46, 60, 200])
def test_an_additive_function_is_exact_with_any_budget(method, budget):
    if method == "permutation_shapley" and budget < 46:
        pytest.skip("two orders and their reverses take 46")
    rng = np.random.default_rng(0)
    weights, x, background = rng.normal(size=12), rng.normal(size=(4, 12)), rng.normal(size=(3, 12))
    found = pl.explain(
        lambda r: r @ weights, x, method=method, background=background, budget=budget
    )
    np.testing.assert_allclose(found.values, weights * (x - background.mean(0)), atol=1e-9)
    assert (found.standard_error is None) == (budget < 28)
    if found.standard_error is not None:
        np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)


@pytest.mark.parametrize("budget", [64, 100, 500])
def test_where_only_two_features_interact_at_a_time_pairs_are_exact_and_say_so(budget):
    rng = np.random.default_rng(1)
    n = 14
    square, x = rng.normal(size=(n, n)), rng.normal(size=(3, n))
    function = lambda rows: np.einsum("bi,bj,ij->b", rows, rows, square) + rows.sum(1)
    found = pl.explain(function, x, method="shapley", baseline=np.zeros(n), budget=budget)
    # What two features do together is shared between them.
    both = square + square.T
    np.fill_diagonal(both, np.diag(square) * 2)
    expected = x * (x @ both) / 2 + x
    np.testing.assert_allclose(found.values, expected, atol=1e-8)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-8)


@pytest.mark.parametrize("members", [(2,), (0, 3), (1, 4, 7), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_a_unanimity_game_is_shared_by_its_members(members):
    function = lambda rows: (rows[:, list(members)] > 0.5).all(1).astype(float)
    found = pl.explain(function, np.ones((1, 8)), method="shapley", baseline=np.zeros(8))
    expected = np.zeros(8)
    expected[list(members)] = 1 / len(members)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-12)


@pytest.mark.parametrize("method", ESTIMATORS)
def test_efficiency_dummy_and_symmetry(method):
    rng = np.random.default_rng(0)
    n = 14
    x = rng.normal(size=(3, n))
    x[:, 1] = x[:, 0]  # two features that the function treats alike
    function = lambda rows: (
        np.tanh(rows[:, 0] * rows[:, 1] * rows[:, 2]) + rows[:, 3:13].prod(1) * 50
    )
    found = pl.explain(function, x, method=method, baseline=np.full(n, 0.3), budget=2**n)
    if method == "shapley":
        np.testing.assert_allclose(found.values[:, 13], 0, atol=1e-10)
        np.testing.assert_allclose(found.values[:, 0], found.values[:, 1], atol=1e-10)
    some = pl.explain(function, x, method=method, baseline=np.full(n, 0.3), budget=300)
    for one in (found, some):
        total = one.prediction - one.baseline_prediction
        np.testing.assert_allclose(one.values.sum(1), total, atol=1e-9)


# -- estimated -------------------------------------------------------------------------------------


def interacting(n=12, seed=3):
    """A smooth function with interactions of every order, and its values by enumeration."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(n, 8)) / 1.5, rng.normal(size=8)
    function = lambda rows: np.tanh(rows @ first) @ second
    x = rng.normal(size=(2, n))
    exact = pl.explain(function, x, method="shapley", baseline=np.zeros(n), budget=2**n)
    return function, x, exact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "budget"),
    [("shapley", 120), ("shapley", 480), ("permutation_shapley", 480)],
)
def test_intervals_cover_the_truth_as_often_as_they_should(method, budget):
    function, x, exact = interacting()
    covered = []
    for seed in range(200):
        found = pl.explain(
            function, x, method=method, baseline=np.zeros(12), budget=budget, seed=seed
        )
        covered.append(np.abs(found.values - exact.values) <= 1.96 * found.standard_error)
    share = np.mean(covered)
    print(f"\n{method} with {budget} evaluations: {share:.1%} of 95 % intervals cover the truth")
    assert 0.92 <= share <= 0.98


@pytest.mark.slow
def test_intervals_of_a_game_of_triples_cover_the_truth():
    """Nothing but interactions of three and of five players."""
    n = 13
    rng = np.random.default_rng(5)
    sets = [rng.permutation(n)[:k] for k in [3] * 40 + [5] * 20]
    size = rng.normal(size=len(sets))
    function = lambda rows: sum(w * rows[:, s].prod(1) for w, s in zip(size, sets, strict=True))
    exact = np.zeros(n)
    for w, s in zip(size, sets, strict=True):
        exact[s] += w / len(s)
    covered = []
    for seed in range(200):
        found = pl.explain(
            function, np.ones((1, n)), method="shapley", baseline=np.zeros(n), budget=200, seed=seed
        )
        covered.append(np.abs(found.values[0] - exact) <= 1.96 * found.standard_error[0])
    print(f"\n{np.mean(covered):.1%} of 95 % intervals cover the truth")
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("method", ESTIMATORS)
def test_more_evaluations_are_less_wrong(method):
    function, x, exact = interacting()
    wrong = []
    for budget in (100, 1600):
        runs = [
            pl.explain(function, x, method=method, baseline=np.zeros(12), budget=budget, seed=seed)
            for seed in range(5)
        ]
        wrong.append(np.mean([np.linalg.norm(run.values - exact.values) for run in runs]))
    assert wrong[1] < wrong[0] / 2.5


@pytest.mark.parametrize("method", ESTIMATORS)
def test_a_tolerance_is_met_and_rows_that_meet_it_cost_no_more(method):
    function, x, exact = interacting()
    loose, tight = (
        pl.explain(function, x, method=method, baseline=np.zeros(12), tolerance=tolerance)
        for tolerance in (0.3, 0.05)
    )
    assert (tight.error <= 0.05).all()
    assert loose.cost.forward < tight.cost.forward
    wrong = np.linalg.norm(tight.values - exact.values, axis=1)
    assert (wrong <= 0.15 * np.linalg.norm(exact.values, axis=1)).all()
    # A row that is additive is known at once, beside one that is not.
    mixed = lambda rows: np.where(rows[:, 0] > 50, rows.sum(1), function(rows))
    easy = x.copy()
    easy[0, 0] = 100.0
    both = pl.explain(mixed, easy, method=method, baseline=np.full(12, 60.0), tolerance=0.05)
    assert both.cost.forward < 2 * tight.cost.forward


def test_an_earlier_draw_is_the_beginning_of_a_later_one():
    few, many = (draw(11, pairs, 7, torch.device("cpu")) for pairs in (40, 300))
    old, new = fresh(few, many)
    assert torch.equal(many.masks[old], few.masks)
    assert sorted([*old.tolist(), *new.tolist()]) == list(range(300))
    assert len(torch.unique(many.masks, dim=0)) == 300


@pytest.mark.parametrize("players", [2, 3, 4, 9, 12, 40])
@pytest.mark.parametrize("pairs", [1, 7, 12, 100, 3000])
def test_as_many_pairs_are_allotted_as_there_are(players, pairs):
    drawn = allotted(players, pairs)
    there = [existing(players, size) for size in range(1, players // 2 + 1)]
    assert sum(there) == 2 ** (players - 1) - 1
    assert sum(drawn) == min(pairs, sum(there))
    assert all(k <= most for k, most in zip(drawn, there, strict=True))


@pytest.mark.parametrize("method", ["shapley", "permutation_shapley", "shapley_interactions"])
def test_batches_rows_and_their_order_do_not_matter(method):
    torch.manual_seed(0)
    model, x = mlp(13, 2, 16).double(), torch.randn(5, 13, dtype=torch.float64)
    options = {
        "method": method,
        "background": torch.randn(7, 13).double(),
        "target": 1,
        "budget": 300,
    }
    whole = pl.explain(model, x, **options)
    for batch_size in (3, 50, 1000):
        found = pl.explain(model, x, batch_size=batch_size, **options)
        np.testing.assert_allclose(found.values, whole.values, atol=1e-10)
        np.testing.assert_allclose(found.standard_error, whole.standard_error, atol=1e-10)
    back = pl.explain(model, x.flip(0), **options)
    np.testing.assert_allclose(back.values[::-1], whole.values, atol=1e-10)


@pytest.mark.slow
def test_memory_does_not_grow_with_samples_and_rows(monkeypatch):
    monkeypatch.setattr("pellucid.interpret.memory._KEEP_BYTES", 2**20)
    torch.manual_seed(0)
    model, x, background = mlp(20, 2, 64), torch.randn(900, 20), torch.randn(60, 20)

    def explain(rows, samples):
        return lambda: pl.explain(
            model, x[:rows], background=background[:samples], method="shapley", budget=200, target=0
        )

    _, little = peak_bytes(explain(150, 10))
    _, rows = peak_bytes(explain(900, 10))
    _, samples = peak_bytes(explain(150, 60))
    print(
        f"\n{little / 2**20:.1f} MiB, {rows / 2**20:.1f} with 6 times the rows, "
        f"{samples / 2**20:.1f} with 6 times the samples"
    )
    results = 6 * 900 * 20 * 8  # values and standard errors, and what they are made of
    assert rows <= 1.2 * little + results
    assert samples <= 1.3 * little


# -- groups, places, several inputs ----------------------------------------------------------------


def test_groups_play_as_one():
    rng = np.random.default_rng(0)
    x, background, function = rng.normal(size=(2, 6)), rng.normal(size=(3, 6)), cubic(6)
    groups = {"first": ["a", "c"], "second": ["b", "d"]}
    found = pl.explain(
        function,
        x,
        method="shapley",
        background=background,
        groups=groups,
        feature_names=list("abcdef"),
    )
    assert found.axes == ("sample", "group")
    assert list(found.groups) == ["first", "second", "e", "f"]
    members = [(0, 2), (1, 3), (4,), (5,)]
    for row, values in zip(x, found.values, strict=True):
        value = game_of(function, row, background)
        expected = enumerated(lambda s, v=value: v(sum((members[i] for i in s), ())), 4)
        np.testing.assert_allclose(values, expected, atol=1e-9)


def test_segments_of_pictures_play_as_one(device):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).to(
        device
    )
    x = torch.rand(2, 3, 8, 8, device=device)
    segments = np.arange(8)[:, None] // 4 * 2 + np.arange(8)[None] // 4
    found = pl.explain(model, x, method="shapley", groups=segments, target=0)
    assert found.values.shape == (2, 4)

    def value(players):
        keep = torch.tensor(np.isin(segments, players), device=device)
        with torch.no_grad():
            return float(model(x[:1] * keep)[0, 0])

    np.testing.assert_allclose(found.values[0], enumerated(value, 4), atol=1e-5)


def test_groups_may_not_share_features():
    x = np.random.default_rng(0).normal(size=(2, 4))
    with pytest.raises(InputError, match="groups 'a' and 'b' share features"):
        pl.explain(cubic(4), x, method="shapley", groups={"a": [0, 1], "b": [1, 2]})
    with pytest.raises(InputError, match="group 'none' has no features"):
        pl.explain(cubic(4), x, method="shapley", groups={"none": []})


def test_several_inputs_play_together(device):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, device=device), torch.randn(2, 2, device=device)
    model = lambda a, b: (a[:, 0] * b[:, 0] * b[:, 1]) + a.sum(1)
    found = pl.explain(model, (a, b), method="shapley")

    def value(players):
        keep = torch.tensor([i in players for i in range(5)], device=device)
        return float(model(a[:1] * keep[:3], b[:1] * keep[3:])[0])

    expected = enumerated(value, 5)
    np.testing.assert_allclose(np.concatenate([v[0] for v in found.values]), expected, atol=1e-6)


def test_a_layer_has_shapley_values(device):
    torch.manual_seed(0)
    model, x = mlp(4, 2, 5).to(device), torch.randn(2, 4, device=device)
    found = pl.explain(model, x, method="shapley", at="1", target=0)
    with torch.no_grad():
        here, start = model[:2](x), model[:2](torch.zeros_like(x[:1]))

    def value(players):
        keep = torch.tensor([i in players for i in range(here.shape[1])], device=device)
        with torch.no_grad():
            return float(model[2:](torch.where(keep, here[:1], start))[0, 0])

    np.testing.assert_allclose(found.values[0], enumerated(value, here.shape[1]), atol=1e-5)


# -- conditional -----------------------------------------------------------------------------------


def test_conditional_values_of_a_linear_function_are_the_gaussians():
    """By enumeration of the conditional means, which are linear in the coalition's values."""
    rng = np.random.default_rng(0)
    n = 5
    mixed = rng.normal(size=(n, n))
    background = rng.normal(size=(400, n)) @ mixed
    weights, x = rng.normal(size=n), rng.normal(size=(2, n)) @ mixed
    found = pl.explain(
        lambda rows: rows @ weights, x, method="conditional_shapley", background=background
    )
    mean, covariance = background.mean(0), np.cov(background.T)

    def value(players, row):
        inside = list(players)
        expected = mean.copy()
        if inside:
            slope = covariance[:, inside] @ np.linalg.inv(covariance[np.ix_(inside, inside)])
            expected = mean + slope @ (row[inside] - mean[inside])
        expected[inside] = row[inside]
        return expected @ weights

    for row, values in zip(x, found.values, strict=True):
        np.testing.assert_allclose(
            values, enumerated(lambda s, row=row: value(s, row), n), atol=1e-8
        )


def test_conditional_values_of_a_product_match_the_gaussians_second_moment():
    """E[x0 x1 | x2] of three correlated Gaussians has a closed form."""
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.6, 0.7], [0.6, 1.0, 0.5], [0.7, 0.5, 1.0]])
    background = rng.multivariate_normal(np.zeros(3), covariance, size=20_000)
    x = np.array([[0.5, -1.0, 1.5]])
    found = pl.explain(
        lambda rows: rows[:, 0] * rows[:, 1], x, method="conditional_shapley", background=background
    )

    def value(players):
        inside = list(players)
        out = [i for i in range(3) if i not in inside]
        mean, rest = np.zeros(3), covariance.copy()
        if inside:
            slope = covariance[np.ix_(out, inside)] @ np.linalg.inv(
                covariance[np.ix_(inside, inside)]
            )
            mean[out] = slope @ x[0, inside]
            rest = np.zeros((3, 3))
            rest[np.ix_(out, out)] = (
                covariance[np.ix_(out, out)] - slope @ covariance[np.ix_(inside, out)]
            )
        mean[inside] = x[0, inside]
        return mean[0] * mean[1] + rest[0, 1]

    np.testing.assert_allclose(found.values[0], enumerated(value, 3), atol=0.03)


def test_a_feature_that_is_not_used_has_a_conditional_value_only():
    rng = np.random.default_rng(0)
    background = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=500)
    used = lambda rows: rows[:, 0]
    both = pl.compare(
        used, background[:4], ["shapley", "conditional_shapley"], background=background
    )
    plain, conditional = both.explanations.values()
    np.testing.assert_allclose(plain.values[:, 1], 0, atol=1e-12)
    assert (np.abs(conditional.values[:, 1]) > 0.1 * np.abs(conditional.values[:, 0])).all()


# -- interactions ----------------------------------------------------------------------------------


def index_of_interaction(value, n, i, j):
    others = [k for k in range(n) if k not in (i, j)]
    total = 0.0
    for size in range(n - 1):
        weight = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
        for s in itertools.combinations(others, size):
            both = value((*s, i, j)) - value((*s, i)) - value((*s, j)) + value(s)
            total += weight * both
    return total


def test_interactions_are_the_definition_and_add_up_to_shapley_values():
    rng = np.random.default_rng(2)
    n, function = 6, cubic(6)
    x, background = rng.normal(size=(2, n)), rng.normal(size=(3, n))
    found = pl.explain(function, x, method="shapley_interactions", background=background)
    alone = pl.explain(function, x, method="shapley", background=background)
    assert found.axes == ("sample", "feature", "with")
    np.testing.assert_allclose(found.values.sum(2), alone.values, atol=1e-9)
    np.testing.assert_allclose(found.values, found.values.swapaxes(1, 2))
    value = game_of(function, x[1], background)
    for i, j in [(0, 1), (2, 5), (3, 4)]:
        expected = index_of_interaction(value, n, i, j) / 2
        np.testing.assert_allclose(found.values[1, i, j], expected, atol=1e-9)


def test_interactions_of_two_at_a_time_are_exact_from_few_evaluations():
    rng = np.random.default_rng(0)
    n = 15
    square, x = rng.normal(size=(n, n)), rng.normal(size=(2, n))
    square = square + square.T
    found = pl.explain(
        lambda rows: np.einsum("bi,bj,ij->b", rows, rows, square),
        x, method="shapley_interactions", baseline=np.zeros(n), budget=400,
    )  # fmt: skip
    expected = x[:, :, None] * x[:, None] * square
    np.testing.assert_allclose(found.values, expected, atol=1e-8)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-8)


@pytest.mark.slow
def test_intervals_of_interactions_cover_the_truth():
    function, x, _ = interacting()
    options = {"method": "shapley_interactions", "baseline": np.zeros(12)}
    exact = pl.explain(function, x, budget=2**12, **options)
    covered = []
    for seed in range(60):
        found = pl.explain(function, x, budget=600, seed=seed, **options)
        covered.append(np.abs(found.values - exact.values) <= 1.96 * found.standard_error)
    off = ~np.eye(12, dtype=bool)
    share = np.array(covered)[..., off].mean()
    print(f"\ninteractions: {share:.1%} of 95 % intervals cover the truth")
    assert 0.91 <= share <= 0.985


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 12}, "budget=12 is too small for 15 features: 17 evaluations"),
        ({"budget": 2.5}, "budget=2.5; give a whole number"),
        ({"tolerance": 2}, "tolerance=2; give a relative error"),
        ({"method": "permutation_shapley", "budget": 40}, "58 evaluations"),
        ({"method": "conditional_shapley", "background": None}, "give them as background"),
        ({"baseline": 0.5, "background": np.zeros((2, 15))}, "give one of the two"),
        ({"background": np.zeros((2, 14))}, r"shape \(2, 14\)"),
    ],
)
def test_what_cannot_be_done_is_said(options, words):
    x = np.random.default_rng(0).normal(size=(2, 15))
    options = {"method": "shapley", **options}
    with pytest.raises(InputError, match=words):
        pl.explain(lambda rows: rows.sum(1), x, **options)


def test_too_many_features_are_refused_before_the_work():
    with pytest.raises(InputError, match="join them to at most 4,096 groups"):
        pl.explain(lambda rows: rows.sum(1), np.zeros((1, 5000)), method="shapley")


def test_a_score_that_is_not_a_number_is_an_error():
    def gaps(rows):
        return np.where(rows[:, 0] == 0, np.nan, rows.sum(1))

    with pytest.raises(ModelError, match="NaN or infinite values"):
        pl.explain(gaps, np.ones((2, 3)), method="shapley", baseline=np.zeros(3))
