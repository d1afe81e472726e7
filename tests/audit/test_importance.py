"""Permutation importance, against closed forms and scikit-learn's."""

import numpy as np
import pandas as pd
import polars as pol  # noqa: ICN001
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

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


# -- tables ----------------------------------------------------------------------------------------


def homes(n, seed=0):
    """Rows with texts, categories and missing values, and what they are to be told from."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": np.where(draw.random(n) < 0.2, np.nan, draw.normal(100, 30, n)),
            "city": draw.choice(["Oslo", "Rome", None], n),
            "kind": pd.Categorical(draw.choice(["flat", "house"], n), ["house", "flat"]),
            "floors": pd.array(np.where(draw.random(n) < 0.2, None, draw.integers(1, 4, n)), "Int64"),
            "noise": draw.normal(size=n),
        }
    )  # fmt: skip
    dear = (frame["city"] == "Rome") | (frame["size"].fillna(0) > 120)
    return frame, np.where(dear, "dear", "cheap")


def encoded():
    columns = make_column_transformer(
        (OneHotEncoder(), ["city", "kind"]),
        (SimpleImputer(), ["floors"]),
        remainder="passthrough",
        sparse_threshold=0,
    )
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=10))


def test_texts_categories_and_missing_values_by_brute_force():
    frame, kind = homes(80)
    model = encoded().fit(*homes(300, 1))
    found = pl.importance(model, frame, kind, repeats=3, seed=5)
    assert found.feature_names == tuple(frame.columns)
    assert found.reference == model.score(frame, kind)
    draw = torch.Generator().manual_seed(5)
    for repeat in range(3):
        order = torch.randperm(80, generator=draw).numpy()
        for i, name in enumerate(frame.columns):
            shuffled = frame.copy()
            shuffled[name] = frame[name].to_numpy(dtype=object)[order]
            shuffled = shuffled.astype(frame.dtypes)
            lost = model.score(frame, kind) - model.score(shuffled, kind)
            assert found.repeats[i, repeat] == pytest.approx(lost, abs=1e-12)
    assert {found.feature_names[i] for i in found.order()[:2]} == {"size", "city"}
    loss = pl.importance(model, frame, kind, metric="log_loss", repeats=2)
    assert loss.reference == pytest.approx(log_loss(kind, model.predict_proba(frame)), rel=1e-6)


def test_an_index_and_numbered_columns_make_no_difference():
    frame, kind = homes(60)
    model = encoded().fit(*homes(300, 1))
    expected = pl.importance(model, frame, kind, repeats=2)
    again = pl.importance(model, frame.set_axis([0] * 60), kind, repeats=2)
    np.testing.assert_array_equal(again.repeats, expected.repeats)
    x, y = load_iris(return_X_y=True)
    line = LogisticRegression(max_iter=1000).fit(x, y)
    numbered = pd.DataFrame(x, columns=[3, 2, 1, 0])
    fitted = LogisticRegression(max_iter=1000).fit(numbered.rename(columns=str), y)
    names = pl.importance(fitted, numbered.rename(columns=str), y, repeats=2)
    assert names.feature_names == ("3", "2", "1", "0")
    np.testing.assert_allclose(names.repeats, pl.importance(line, x, y, repeats=2).repeats)


def test_functions_of_data_frames_and_polars():
    frame, kind = homes(60)

    def score(given):
        city, size = (np.asarray(given[name]) for name in ("city", "size"))
        return (city == "Rome") + (np.nan_to_num(np.asarray(size, dtype=float)) > 120)

    y = (kind == "dear").astype(float) * 2 - 0.5
    one = pl.importance(score, frame, y, repeats=2)
    table = pol.DataFrame(
        {
            "size": frame["size"].to_numpy(),
            "city": [None if pd.isna(city) else city for city in frame["city"]],
            "noise": frame["noise"].to_numpy(),
        }
    )
    other = pl.importance(score, table, y, repeats=2)
    assert other.feature_names == ("size", "city", "noise")
    assert one.values[[2, 3, 4]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(other.values, one.values[[0, 1, 4]])
    assert one.metric == "r2"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, f, k: pl.importance(encoded(), f, k), "not fitted"),
        (lambda m, f, k: pl.importance(m, f.drop(columns="city"), k), "failed on the first samples"),
        (lambda m, f, k: pl.importance(m, f.assign(size=np.inf), k), "'size' of the inputs is infinite"),
        (lambda m, f, k: pl.importance(m, f, np.where(k == "dear", "dear", "odd")), "y holds 'odd'"),
        (lambda m, f, k: pl.importance(m, f[:0], k[:0]), "empty"),
        (lambda m, f, k: pl.importance(lambda x: x["city"], f, np.ones(20)), "returns"),
    ],
)  # fmt: skip
def test_bad_tables_are_met_with_a_sentence(call, says):
    with pytest.raises(PellucidError, match=says):
        call(encoded().fit(*homes(300, 1)), *homes(20))
