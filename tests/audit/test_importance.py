"""Permutation importance, against closed forms and scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.metrics import log_loss

import pellucid as pl
from pellucid.errors import ModelError, PellucidError


def linear(weights, bias=0.0):
    model = torch.nn.Linear(len(weights), 1, dtype=torch.float64)
    model.weight.data[:] = torch.tensor(weights)
    model.bias.data[:] = bias
    return model


def test_a_linear_models_importance_is_twice_the_squared_weight_times_the_variance():
    weights = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    x = np.random.default_rng(0).normal(size=(4000, 5))
    x = (x - x.mean(0)) / x.std(0)
    found = pl.importance(linear(weights), x, x @ weights, metric="mean_squared_error", repeats=30)
    assert found.reference == pytest.approx(0, abs=1e-12)
    gap = np.abs(found.values - 2 * weights**2)
    assert (gap <= 4 * found.standard_error + 1e-9).all()
    assert found.values[4] == 0
    assert found.standard_error[4] == 0
    assert found.order().tolist() == [0, 1, 2, 3, 4]


def test_r2_is_the_mean_squared_error_over_the_variance():
    x = np.random.default_rng(1).normal(size=(500, 3))
    y = x @ [1.0, 2.0, 0.0] + 0.3
    model = linear([1.0, 2.0, 0.0], 0.1)
    squared = pl.importance(model, x, y, metric="mean_squared_error", repeats=3)
    share = pl.importance(model, x, y, repeats=3)
    assert share.metric == "r2"
    assert share.reference == pytest.approx(1 - squared.reference / y.var())
    np.testing.assert_allclose(share.values, squared.values / y.var(), rtol=1e-9)


def test_the_shuffles_are_real_shuffles_by_brute_force():
    """Repeat the work by hand, with the orders that the seed gives."""
    x = np.random.default_rng(2).normal(size=(50, 3))
    y = x @ [1.0, -2.0, 0.5]
    model = linear([1.0, -2.0, 0.4])
    found = pl.importance(model, x, y, metric="mean_squared_error", repeats=4, seed=7)
    draw = torch.Generator().manual_seed(7)
    for repeat in range(4):
        order = torch.randperm(50, generator=draw).numpy()
        for feature in range(3):
            shuffled = x.copy()
            shuffled[:, feature] = x[order, feature]
            loss = ((shuffled @ [1.0, -2.0, 0.4] - y) ** 2).mean()
            before = ((x @ [1.0, -2.0, 0.4] - y) ** 2).mean()
            assert found.repeats[feature, repeat] == pytest.approx(loss - before)


@pytest.mark.parametrize("batch_size", [1, 7, 300])
def test_neither_the_batch_nor_the_blocks_show(batch_size):
    x = np.random.default_rng(3).normal(size=(300, 2))
    model = linear([1.0, 2.0])
    whole = pl.importance(model, x, x.sum(1), repeats=2)
    parts = pl.importance(model, x, x.sum(1), repeats=2, batch_size=batch_size)
    np.testing.assert_allclose(parts.repeats, whole.repeats, rtol=1e-9)


def test_a_forest_agrees_with_scikit_learn_within_the_standard_errors():
    x, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    forest = RandomForestClassifier(30, random_state=0).fit(x[::2], names[::2])
    theirs = permutation_importance(forest, x[1::2], names[1::2], n_repeats=30, random_state=0)
    ours = pl.importance(forest, x[1::2], names[1::2], repeats=30)
    assert ours.metric == "accuracy"
    assert ours.reference == forest.score(x[1::2], names[1::2])
    assert ours.feature_names == tuple(x.columns)
    spread = np.hypot(ours.standard_error, theirs.importances_std / np.sqrt(30))
    assert (np.abs(ours.values - theirs.importances_mean) <= 4 * spread + 1e-12).all()
    loss = pl.importance(forest, x[1::2], names[1::2], metric="log_loss", repeats=2)
    expected = log_loss(names[1::2], forest.predict_proba(x[1::2]).clip(1e-15))
    assert loss.reference == pytest.approx(expected, rel=1e-6)


def test_every_kind_of_output_gives_the_same_accuracy_and_log_loss():
    x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] + 0.3 * x[:, 1] > 0).long()
    one = linear([2.0, 1.0])
    forms = {
        "logit": one,
        "flat logit": lambda rows: one(rows)[:, 0],
        "probability": torch.nn.Sequential(one, torch.nn.Sigmoid()),
        "two logits": lambda rows: torch.cat([-one(rows) / 2, one(rows) / 2], 1),
        "two probabilities": lambda rows: torch.cat([-one(rows), one(rows)], 1).div(2).softmax(1),
    }
    for metric in ("accuracy", "log_loss"):
        found = [pl.importance(f, x, y, metric=metric, repeats=3).repeats for f in forms.values()]
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-7, atol=1e-12)


def test_estimators_without_probabilities_and_of_numbers():
    x, y = load_iris(return_X_y=True)
    ridge = RidgeClassifier().fit(x, y)
    assert pl.importance(ridge, x, y, repeats=2).reference == ridge.score(x, y)
    line = LinearRegression().fit(x[:, :3], x[:, 3])
    found = pl.importance(line, x[:, :3], x[:, 3], repeats=2)
    assert found.reference == pytest.approx(line.score(x[:, :3], x[:, 3]))


def test_the_standard_error_is_that_of_the_mean_over_repeats():
    x = np.random.default_rng(4).normal(size=(40, 2))
    found = pl.importance(linear([1.0, 1.0]), x, x.sum(1), repeats=6)
    expected = found.repeats.std(1, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found.standard_error, expected)
    np.testing.assert_allclose(found.values, found.repeats.mean(1))


FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]})
X = np.random.default_rng(5).normal(size=(6, 2))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: pl.importance(m, X, np.ones(5)), "one for each of 6"),
        (lambda m: pl.importance(m, X, X.sum(1), metric="auc"), "not known"),
        (lambda m: pl.importance(m, X, X.sum(1), metric="accuracy"), "of classes"),
        (lambda m: pl.importance(m, X, X.sum(1), repeats=1), "at least 2"),
        (lambda m: pl.importance(m, X, X.sum(1), feature_names=["a"]), "feature names"),
        (lambda m: pl.importance(m, X, X.sum(1) * np.nan), "y holds NaN"),
        (lambda m: pl.importance(m, X, np.full(6, 0.5)), "same for all"),
        (lambda m: pl.importance(m, X * np.inf, X.sum(1)), "infinite"),
        (lambda m: pl.importance(m, X[:0], X[:0, 0]), "empty"),
        (lambda m: pl.importance(m, X[:, :, None], X.sum(1)), "samples, features"),
        (lambda m: pl.importance(m, X[:, :1], X.sum(1)), "failed on the first"),
        (lambda m: pl.importance(m, FRAME, [1, 2, 3]), "numbers"),
        (lambda m: pl.importance(m, X, list("aabbcc")), "class indices"),
        (lambda m: pl.importance("model", X, X.sum(1)), "model is a str"),
        (lambda m: pl.importance(lambda x: (x, x), X, X.sum(1)), "returns a tuple"),
        (lambda m: pl.importance(lambda x: x, X, [0, 1, 2, 0, 1, 2]), "0 to 1"),
    ],
)
def test_bad_input_is_met_with_a_sentence(call, says):
    with pytest.raises(PellucidError, match=says):
        call(linear([1.0, 1.0]))


def test_a_model_that_fails_says_so_with_its_own_words():
    def broken(rows):
        raise RuntimeError("the cat is on the keyboard")

    with pytest.raises(ModelError, match="the cat is on the keyboard"):
        pl.importance(broken, X, X.sum(1))


def test_another_seed_draws_other_shuffles():
    x = np.random.default_rng(6).normal(size=(60, 2))
    one, other = (pl.importance(linear([1.0, 1.0]), x, x.sum(1), seed=s).repeats for s in (0, 1))
    assert not np.isin(one, other).any()


def test_a_regressor_on_zeros_and_ones_is_not_taken_for_a_classifier():
    x = np.random.default_rng(7).normal(size=(200, 2))
    y = (x[:, 0] > 0).astype(int)
    line = LinearRegression().fit(x, y)
    found = pl.importance(line, x, y, repeats=2)
    assert found.metric == "r2"
    assert found.reference == pytest.approx(line.score(x, y))
    with pytest.raises(PellucidError, match="predict_proba"):
        pl.importance(RidgeClassifier().fit(x, y), x, y, metric="log_loss")


def test_a_model_that_is_nan_on_some_rows_is_no_wrong_answer():
    def sometimes(rows):
        return torch.where(rows[:, :1] > 1, torch.nan, rows)

    x = np.random.default_rng(8).normal(size=(200, 2))
    with pytest.raises(ModelError, match="NaN"):
        pl.importance(sometimes, x, (x[:, 1] > x[:, 0]).astype(int))
