"""Whatever predicts: estimators, pipelines on data frames, functions of arrays and frames."""

import itertools
import warnings

import lightgbm
import numpy as np
import pandas as pd
import polars as pol  # noqa: ICN001
import pytest
import torch
import xgboost
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import SVC, LinearSVC

import pellucid as pl
from pellucid.errors import InputError, ModelError, PellucidError

IRIS, KIND = load_iris(return_X_y=True, as_frame=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[KIND]
FOREST = RandomForestClassifier(10, random_state=0).fit(IRIS, NAMES)


def people(n, seed=0):
    """Rows of every kind of column, without missing values."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": draw.integers(18, 80, n),
            "income": draw.gamma(2, 20_000, n),
            "city": draw.choice(["Oslo", "Rome", "Bonn"], n),
            "plan": pd.Categorical(draw.choice(["free", "pro", "team"], n), ["team", "free", "pro"]),
            "member": draw.random(n) < 0.5,
            "visits": pd.array(draw.integers(0, 9, n), dtype="Int64"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 999, n), "D"),
        }
    )  # fmt: skip


def answers(frame):
    """What the people would buy: needs several columns at once."""
    rich = frame["income"].fillna(0) * (frame["plan"].astype(object) == "pro") > 20_000
    return np.where(rich | (frame["city"].eq("Rome") & frame["member"].eq(True)), "buys", "leaves")


def days(frame):
    return ((frame - pd.Timestamp("2020-01-01")) / pd.Timedelta("1D")).to_numpy()


def pipeline(**steps):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        (FunctionTransformer(days), ["since"]),
        (SimpleImputer(), ["age", "income", "visits", "member"]),
    )
    frame = people(300)
    return make_pipeline(columns, RandomForestClassifier(8, random_state=0)).fit(
        frame, answers(frame)
    )


def with_gaps(frame):
    frame = frame.copy()
    frame.loc[frame.index[::3], "income"] = np.nan
    frame.loc[frame.index[1::4], "visits"] = pd.NA
    frame.loc[frame.index[::4], "city"] = None
    frame.loc[frame.index[::5], "plan"] = None
    return frame


def brute_force(score, frame, background):
    """Interventional Shapley values from all coalitions, columns replaced in the data frame."""
    names, rows = list(frame.columns), len(frame)
    worth = {}
    for size in range(len(names) + 1):
        for players in itertools.combinations(names, size):
            # Every row beside every sample, row by row.
            mixed = background.iloc[np.tile(np.arange(len(background)), rows)]
            mixed = mixed.reset_index(drop=True)
            for name in players:
                own = frame[name].iloc[np.repeat(np.arange(rows), len(background))]
                mixed[name] = own.reset_index(drop=True)
            worth[frozenset(players)] = score(mixed).reshape(rows, -1).mean(1)
    values = np.zeros((rows, len(names)))
    n = len(names)
    for i, name in enumerate(names):
        others = [other for other in names if other != name]
        for size in range(n):
            for players in map(frozenset, itertools.combinations(others, size)):
                gain = worth[players | {name}] - worth[players]
                values[:, i] += gain / (n * len(list(itertools.combinations(others, size))))
    return values, worth[frozenset()]


def same(one, other):
    np.testing.assert_allclose(one.values, other.values, rtol=1e-6, atol=1e-9)


# -- against enumeration on data frames ------------------------------------------------------------


def test_a_pipeline_on_every_kind_of_column_agrees_with_enumeration():
    model, frame, background = pipeline(), people(4, 1), people(5, 2)
    found = pl.explain(model, frame, background=background, target="buys")
    true, start = brute_force(lambda f: model.predict_proba(f)[:, 0], frame, background)
    np.testing.assert_allclose(found.values, true, atol=1e-9)
    np.testing.assert_allclose(found.baseline_prediction, start, atol=1e-9)
    np.testing.assert_allclose(found.prediction, model.predict_proba(frame)[:, 0])
    assert found.feature_names == tuple(frame.columns)
    assert found.class_names == ("buys", "leaves")
    assert found.method == "shapley"
    assert found.units == "probability"
    sampled = pl.explain(model, frame, method="permutation_shapley", background=background,
                         target="buys", budget=26 * 20)  # fmt: skip
    off = np.abs(sampled.values - true)
    assert (off <= 5 * sampled.standard_error + 1e-9).all()


def test_missing_values_agree_with_enumeration_where_the_model_takes_them():
    model = pipeline()
    frame, background = with_gaps(people(4, 1)), with_gaps(people(5, 2))
    found = pl.explain(model, frame, background=background, target="buys")
    true, _ = brute_force(lambda f: model.predict_proba(f)[:, 0], frame, background)
    np.testing.assert_allclose(found.values, true, atol=1e-9)


def test_the_result_shows_numbers_gaps_and_codes_and_comes_back_from_its_file(tmp_path):
    frame = with_gaps(people(6, 1))
    found = pl.explain(pipeline(), frame, background=people(3, 2))
    shown = found.inputs
    np.testing.assert_array_equal(shown[:, 1], frame["income"])
    np.testing.assert_array_equal(shown[:, 5], frame["visits"].to_numpy(float, na_value=np.nan))
    np.testing.assert_array_equal(shown[:, 4], frame["member"])
    assert set(found.categories) == {"city", "plan", "since"}
    for name, column in (("city", 2), ("plan", 3)):
        texts = found.categories[name]
        read = [None if np.isnan(code) else texts[int(code)] for code in shown[:, column]]
        assert read == [None if pd.isna(value) else value for value in frame[name]]
    there = set(frame["plan"].dropna()) | set(people(3, 2)["plan"])
    assert found.categories["plan"] == tuple(p for p in ("team", "free", "pro") if p in there)
    found.save(tmp_path / "people.pellucid")
    again = pl.load(tmp_path / "people.pellucid")
    np.testing.assert_array_equal(again.inputs, shown)
    np.testing.assert_array_equal(again.values, found.values)
    assert again.categories == found.categories
    assert again.feature_names == found.feature_names


@pytest.mark.parametrize("make", [
    lambda x, y: xgboost.XGBClassifier(n_estimators=8, enable_categorical=True).fit(x, y == "buys"),
    lambda x, y: lightgbm.LGBMClassifier(n_estimators=8, verbose=-1).fit(x, y == "buys"),
    lambda x, y: HistGradientBoostingClassifier(
        max_iter=8, categorical_features="from_dtype"
    ).fit(x, y == "buys"),
], ids=["xgboost", "lightgbm", "scikit-learn"])  # fmt: skip
def test_boosted_trees_get_the_categories_that_they_were_fitted_with(make):
    def columns(frame):
        kinds = {"city": pd.CategoricalDtype(["Rome", "Oslo", "Bonn"])}
        return frame[["income", "city", "plan", "member"]].astype(kinds)

    train = people(300)
    model = make(columns(with_gaps(train)), answers(train))
    frame, background = columns(with_gaps(people(5, 1))), columns(with_gaps(people(6, 2)))
    # Fewer values than categories: the codes of the type are not those of the values.
    frame, background = frame[frame["plan"] != "team"], background[background["city"] != "Rome"]
    found = pl.explain(model, frame, background=background, target=1)
    true, _ = brute_force(lambda f: model.predict_proba(f)[:, 1], frame, background)
    np.testing.assert_allclose(found.values, true, atol=1e-6)
    assert np.abs(true).max() > 0.05
    assert found.class_names in {("False", "True"), ("0", "1")}


def test_boosted_regressions_with_missing_values():
    frame = with_gaps(people(200))[["age", "income", "visits"]].astype(float)
    y = frame["age"] + frame["income"].fillna(0) / 1000
    for make in (
        xgboost.XGBRegressor(n_estimators=8),
        lightgbm.LGBMRegressor(n_estimators=8, verbose=-1),
        HistGradientBoostingRegressor(max_iter=8),
    ):
        model = make.fit(frame, y)
        found = pl.explain(model, frame[:5], background=frame[100:110])
        true, _ = brute_force(model.predict, frame[:5], frame[100:110])
        np.testing.assert_allclose(found.values, true, rtol=1e-4, atol=1e-4)
        assert found.units == "output"


def test_a_background_in_chunks_and_at_once_gives_the_same():
    model, frame = pipeline(), with_gaps(people(4, 1))
    whole = pl.explain(model, frame, background=people(5, 2))
    same(whole, pl.explain(model, frame, background=people(5, 2), batch_size=7))


# -- estimators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "shapley", "permutation_shapley"])
def test_classes_go_by_their_names(method):
    found = pl.explain(FOREST, IRIS[::50], method=method, background=IRIS[::30], target="setosa", budget=64)  # fmt: skip
    np.testing.assert_allclose(found.prediction, FOREST.predict_proba(IRIS[::50])[:, 0])
    assert found.class_names == ("setosa", "versicolor", "virginica")
    each = pl.explain(FOREST, IRIS[::50], background=IRIS[::30], target="all")
    assert each.values.shape == (3, 3, 4)
    np.testing.assert_allclose(each.values.sum(1), 0, atol=1e-12)


def test_a_linear_regression_has_its_values_in_closed_form():
    x, y = IRIS.to_numpy()[:, :3], IRIS.to_numpy()[:, 3]
    model = LinearRegression().fit(x, y)
    for method in ("auto", "permutation_shapley"):
        found = pl.explain(model, x[:7], method=method, background=x[::9], budget=32)
        np.testing.assert_allclose(found.values, model.coef_ * (x[:7] - x[::9].mean(0)), atol=1e-12)
    found = pl.explain(model, x[:7], baseline=x[100])
    np.testing.assert_allclose(found.values, model.coef_ * (x[:7] - x[100]), atol=1e-12)


def test_a_decision_function_stands_in_for_probabilities():
    for model in (LinearSVC(), RidgeClassifier()):
        model.fit(IRIS, NAMES)
        found = pl.explain(model, IRIS[::40], background=IRIS[::30], target="virginica")
        np.testing.assert_allclose(found.prediction, model.decision_function(IRIS[::40])[:, 2])
        expected = model.coef_[2] * (IRIS[::40] - IRIS[::30].mean(axis=0))
        np.testing.assert_allclose(found.values, expected, atol=1e-9)
    two = KIND < 2
    model = LinearSVC().fit(IRIS[two], NAMES[two])
    for target, sign in (("setosa", -1), ("versicolor", 1)):
        found = pl.explain(model, IRIS[:2], background=IRIS[::30], target=target)
        np.testing.assert_allclose(found.prediction, sign * model.decision_function(IRIS[:2]))


def test_columns_that_are_no_classes_do_not_go_by_their_names():
    x, y = load_digits(return_X_y=True)
    model = SVC(decision_function_shape="ovo").fit(x[y < 4, :6], y[y < 4])
    found = pl.explain(model, x[:2, :6], background=x[:3, :6], target=5)
    assert found.class_names is None
    np.testing.assert_allclose(found.prediction, model.decision_function(x[:2, :6])[:, 5])


def test_votes_where_there_is_nothing_else():
    class Rule:
        classes_ = ["no", "yes"]

        def predict(self, rows):
            return np.where(rows[:, 0] > 0, "yes", "no")

    found = pl.explain(Rule(), np.array([[1.0, 5.0]]), baseline=np.array([-1.0, 0.0]), target="yes")
    assert found.values.tolist() == [[1.0, 0.0]]


def test_an_outlier_detector_has_one_score():
    model = IsolationForest(n_estimators=10, random_state=0).fit(IRIS)
    found = pl.explain(model, IRIS[:3], background=IRIS[::30])
    np.testing.assert_allclose(found.prediction, model.decision_function(IRIS[:3]))


def test_methods_of_an_estimator_know_its_classes():
    whole = pl.explain(FOREST, IRIS[::50], background=IRIS[::30], target="setosa")
    bound = pl.explain(FOREST.predict_proba, IRIS[::50], background=IRIS[::30], target="setosa")
    same(whole, bound)
    assert bound.method == "shapley"
    log = pl.explain(LogisticRegression(max_iter=1000).fit(IRIS, NAMES).predict_log_proba, IRIS[::50],
                     background=IRIS[::30], target="setosa")  # fmt: skip
    assert log.class_names == whole.class_names
    trees = RandomForestRegressor(5, random_state=0).fit(IRIS, KIND)
    same(
        pl.explain(trees.predict, IRIS[:3], background=IRIS[::30]),
        pl.explain(trees, IRIS[:3], background=IRIS[::30]),
    )


def test_forms_of_the_same_table_give_the_same_values():
    x = IRIS.to_numpy().copy()
    model = RandomForestClassifier(10, random_state=0).fit(x, KIND)
    expected = pl.explain(model, x[:4], background=x[::30])
    named = pd.DataFrame(x, columns=[5, 3, 1, 0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names")
        forms = {
            "lists": (x[:4].tolist(), x[::30].tolist()),
            "tensors": (torch.from_numpy(x[:4]), torch.from_numpy(x[::30])),
            "objects": (x[:4].astype(object), x[::30].astype(object)),
            "numbered": (named[:4], named[::30]),
            "indexed": (named[:4].set_axis([9, 9, -1, 3]), named[::30].set_axis([1, 1, 1, 2, 0])),
            "polars": (pol.DataFrame(x)[:4], pol.DataFrame(x)[::30]),
            "frame and array": (named[:4], x[::30]),
            "array and frame": (x[:4], named[::30]),
        }
        for inputs, background in forms.values():
            same(pl.explain(model, inputs, background=background), expected)
    assert pl.explain(model, named[:4], background=named[::30]).feature_names == (
        "5",
        "3",
        "1",
        "0",
    )
    assert (
        pl.explain(model, pol.DataFrame(x)[:4], background=x[::30]).feature_names[1] == "column_1"
    )


def test_polars_frames_reach_the_model_as_they_are():
    frame = pol.DataFrame(people(5)[["age", "income", "city", "member"]].to_dict("list"))
    frame = frame.with_columns(pol.col("city").cast(pol.Enum(["Rome", "Bonn", "Oslo"])))

    def score(given):
        assert given.schema == frame.schema
        return given.select(
            pol.when(pol.col("city") == "Rome").then(pol.col("age")).otherwise(0) * 1.0
        ).to_series()

    found = pl.explain(score, frame[:3], background=frame[3:])
    as_pandas = pd.DataFrame(frame.to_dict(as_series=False))
    true, _ = brute_force(
        lambda f: np.where(f["city"] == "Rome", f["age"], 0.0), as_pandas[:3], as_pandas[3:]
    )
    np.testing.assert_allclose(found.values, true, atol=1e-9)
    assert found.categories == {"city": tuple(c for c in ("Rome", "Bonn", "Oslo") if c in set(frame["city"]))}  # fmt: skip


def test_single_precision_reaches_the_model_as_it_is():
    x = IRIS.astype("float32")
    seen = set()

    def score(frame):
        seen.update(map(str, frame.dtypes))
        return frame.sum(axis=1)

    pl.explain(score, x[:3], background=x[::30])
    assert seen == {"float32"}
    pl.explain(lambda a: seen.add(a.dtype.name) or np.asarray(a).sum(1), x.to_numpy()[:3], method="shapley")  # fmt: skip


def test_one_sample_may_be_the_baseline():
    model, frame, other = pipeline(), people(4, 1), people(1, 3)
    expected = pl.explain(model, frame, background=other)
    for baseline in (other, other.iloc[0], other.iloc[0].to_dict(), lambda rows: people(1, 3)):
        same(pl.explain(model, frame, baseline=baseline), expected)
    own = pl.explain(model, frame, baseline=people(4, 5))
    for i in range(4):
        alone = pl.explain(model, frame[i : i + 1], background=people(4, 5)[i : i + 1])
        np.testing.assert_allclose(own.values[i], alone.values[0], atol=1e-9)


def test_groups_of_columns():
    model, frame, background = pipeline(), people(3, 1), people(4, 2)
    groups = {"who": ["age", "city", "member"], "what": ["plan", "visits", "since", "income"]}
    found = pl.explain(model, frame, background=background, groups=groups)
    assert found.values.shape == (3, 2)
    np.testing.assert_allclose(
        found.values.sum(1), found.prediction - found.baseline_prediction, atol=1e-9
    )


# -- functions -------------------------------------------------------------------------------------


def test_functions_of_frames_and_arrays_and_of_tensors():
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    x, background = IRIS.to_numpy()[:5], IRIS.to_numpy()[::30]
    expected = weights * (x - background.mean(0))
    tensor = torch.from_numpy(weights)
    for function, form in (
        (lambda a: (np.asarray(a) * weights).sum(1), np.asarray),
        (lambda a: [float(row @ weights) for row in np.asarray(a)], np.asarray),
        (lambda f: f.mul(weights, axis=1).sum(axis=1), pd.DataFrame),
        (lambda t: t.double() @ tensor, np.asarray),
        (lambda t: torch.nn.functional.linear(t, tensor), np.asarray),
        (lambda t: torch.nn.functional.linear(t, tensor), pd.DataFrame),
        (lambda t: torch.nn.functional.linear(t, tensor), torch.from_numpy),
    ):
        for method in ("shapley", "permutation_shapley"):
            found = pl.explain(function, form(x), method=method, background=form(background), budget=64)  # fmt: skip
            np.testing.assert_allclose(found.values, expected, atol=1e-9)


def test_an_object_that_is_called_with_tensors_is_a_function_whatever_else_it_can_do():
    class Wrapped:
        def __call__(self, rows):
            return (rows**2).sum(1)

        def predict(self, rows):
            return self(torch.as_tensor(rows)).numpy()

    x = torch.from_numpy(IRIS.to_numpy(copy=True))[:3]
    assert pl.explain(Wrapped(), x).method == "integrated_gradients"
    assert pl.explain(Wrapped(), x.numpy(), background=x.numpy()).method == "shapley"


def test_auto_is_integrated_gradients_wherever_torch_differentiates():
    x = IRIS.to_numpy()[:3]
    assert pl.explain(lambda t: (t**2).sum(1), x).method == "integrated_gradients"
    assert pl.explain(lambda a: (np.asarray(a) ** 2).sum(1), x).method == "shapley"
    net = torch.nn.Linear(4, 2)
    assert pl.explain(lambda t: net(t) * 2, x).method == "integrated_gradients"
    assert pl.explain(net, IRIS[:3]).method == "integrated_gradients"


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_pictures_reach_the_function_in_their_own_type(dtype):
    pictures = load_digits().images[:6].astype(dtype)
    seen = set()

    def ink(batch):
        seen.add((type(batch), batch.dtype.name, batch.shape[1:]))
        return np.asarray(batch, dtype=float)[:, 2:6, 2:6].sum((1, 2))

    parts = np.repeat(np.repeat(np.arange(16).reshape(4, 4), 2, 0), 2, 1)
    found = pl.explain(
        ink, pictures[:3], method="shapley", background=pictures[3:], groups=parts, budget=500
    )
    gain = (pictures[:3] - pictures[3:].astype(float).mean(0))[:, 2:6, 2:6]
    expected = gain.reshape(3, 2, 2, 2, 2).sum((2, 4)).reshape(3, 4)
    np.testing.assert_allclose(found.values[:, [5, 6, 9, 10]], expected, atol=1e-4)
    assert seen == {(np.ndarray, dtype, (8, 8))}


def test_a_function_around_a_network_leaves_it_as_it_was():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def score(array):
        return net(torch.as_tensor(np.asarray(array), dtype=torch.float32)).detach().numpy()

    found = pl.explain(score, IRIS.to_numpy()[:3], background=IRIS.to_numpy()[::30], target=0)
    again = pl.explain(score, IRIS.to_numpy()[:3], background=IRIS.to_numpy()[::30], target=0)
    same(found, again)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_what_the_caller_holds_stays_as_it_is():
    def greedy(frame):
        frame["age"] = 0
        return frame["income"] * 1.0

    frame, background = people(4), people(3, 1)
    kept = frame.copy(), background.copy()
    pl.explain(greedy, frame, background=background)
    pd.testing.assert_frame_equal(frame, kept[0])
    pd.testing.assert_frame_equal(background, kept[1])


# -- methods and comparisons -----------------------------------------------------------------------


def test_methods_lists_those_that_take_an_estimator():
    line = LogisticRegression(max_iter=1000).fit(IRIS, NAMES)
    found = pl.methods(line, IRIS[:8], background=IRIS[::50])
    assert {"shapley", "permutation_shapley", "feature_ablation"} <= set(found)
    assert not any(one.gradients for one in found.values())
    assert "needs gradients" in found.refused["integrated_gradients"]
    assert "\n" not in found.refused["integrated_gradients"]
    assert all(0 < seconds < 600 for seconds in found.seconds.values())


def test_methods_says_which_cannot_do_with_texts():
    frame = people(9)[["age", "city"]]
    found = pl.methods(lambda f: f["age"] * (f["city"] == "Rome"), frame[:3], background=frame[3:])
    assert "shapley" in found
    assert "not of numbers" in found.refused["feature_ablation"]


def test_methods_tries_polars_frames():
    x = pol.DataFrame(IRIS.to_numpy())
    model = LinearRegression().fit(IRIS.to_numpy(), KIND)
    assert "shapley" in pl.methods(model, x, background=x[::50])


def test_compare_shares_the_table():
    found = pl.compare(
        FOREST, IRIS[::50], {"shapley": {}, "permutation_shapley": {"budget": 200}},
        background=IRIS[::50],
    )  # fmt: skip
    one, other = found.explanations.values()
    assert (np.abs(one.values - other.values) <= 5 * other.standard_error + 1e-9).all()
    assert one.feature_names == other.feature_names == tuple(IRIS.columns)


# -- bad input -------------------------------------------------------------------------------------


def infinite(frame):
    return frame.assign(**{frame.columns[0]: np.inf})


def explain(*given, **options):
    return lambda: pl.explain(*given, **options)


def sometimes_nan(rows):
    return np.where(np.asarray(rows)[:, 0] > 5, np.nan, 1.0)


def other_length(rows):
    return np.ones(len(np.asarray(rows)) + 1)


def buggy(frame):
    return frame["no such column"]


PEOPLE = people(6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (explain(FOREST, IRIS[:3]), "give background="),
        (explain(FOREST, IRIS[:3], method="feature_ablation"), "give background="),
        (explain(FOREST, IRIS[:3], method="integrated_gradients"), "(?s)torch cannot differentiate RandomForestClassifier.*: .*permutation_shapley"),
        (explain(FOREST.predict_proba, IRIS[:3], method="saliency"), "cannot differentiate predict_proba"),
        (explain(sometimes_nan, PEOPLE, method="saliency"), "cannot differentiate sometimes_nan"),
        (explain(FOREST, IRIS[:3], background=IRIS.iloc[:, :3]), "'petal width .cm.' is missing"),
        (explain(FOREST, IRIS[:3], background=IRIS.assign(more=1)), "'more' is one more"),
        (explain(FOREST, IRIS[:3], background=IRIS.to_numpy()[:, :3]), "have 4 columns"),
        (explain(FOREST, IRIS[:3], background=IRIS.astype(str)), "'sepal length .cm.' is Float64 in"),
        (explain(FOREST, infinite(IRIS[:3]), background=IRIS), "of the inputs is infinite in row 0"),
        (explain(FOREST, IRIS[:3], background=infinite(IRIS)), "of the background is infinite"),
        (explain(FOREST, IRIS.to_numpy()[0], background=IRIS), "x.None."),
        (explain(FOREST, IRIS.iloc[:3, :2], background=IRIS.iloc[:, :2]), "failed on the first samples .a data frame of sepal"),
        (explain(LogisticRegression(max_iter=1000).fit(IRIS, KIND), IRIS[:3], background=IRIS.where(IRIS > 3)), "failed on the background.*NaN"),
        (explain(RandomForestClassifier(), IRIS[:3], background=IRIS), "RandomForestClassifier is not fitted"),
        (explain(xgboost.XGBClassifier(), IRIS[:3], background=IRIS), "XGBClassifier is not fitted"),
        (explain(lightgbm.LGBMRegressor(), IRIS[:3], background=IRIS), "LGBMRegressor is not fitted"),
        (explain(RandomForestClassifier, IRIS[:3], background=IRIS), "is the class RandomForestClassifier"),
        (explain(KMeans(2, n_init=1).fit(IRIS), IRIS[:3], background=IRIS), "numbers of clusters"),
        (explain(FOREST.predict, IRIS[:3], background=IRIS), "returns classes, not scores"),
        (explain(MultiOutputClassifier(FOREST).fit(IRIS, np.stack([KIND, KIND], 1)), IRIS[:3], background=IRIS), "2 outputs at once"),
        (explain(lambda f: np.array(["a"] * len(f)), IRIS[:3], background=IRIS), "returns texts such as 'a'"),
        (explain(other_length, PEOPLE, background=PEOPLE), "shape .3,. for 2 rows"),
        (explain(lambda f: 1.0, PEOPLE, background=PEOPLE), "shape .. for 2 rows"),
        (explain(sometimes_nan, IRIS[:3], background=IRIS), "NaN or infinite"),
        (explain(buggy, PEOPLE, background=PEOPLE), "buggy failed on the first samples .*no such column"),
        (explain(buggy, PEOPLE.to_numpy(), method="shapley", background=PEOPLE.to_numpy()), "buggy failed on the first samples"),
        (explain(pipeline(), PEOPLE, baseline=0), "'city' is not of numbers"),
        (explain(pipeline(), PEOPLE, baseline="zero"), "'city' is not of numbers"),
        (explain(pipeline(), PEOPLE, baseline="mean", background=PEOPLE, method="feature_ablation"), "'city' is not of numbers"),
        (explain(pipeline(), PEOPLE, background=PEOPLE, method="feature_ablation"), "compares with the mean, and column 'city'"),
        (explain(pipeline(), PEOPLE, background=PEOPLE, method="conditional_shapley"), "covariance, and column 'city'"),
        (explain(pipeline(), PEOPLE, baseline=[1, 2.0, "Rome"]), "have 7 columns"),
        (explain(HistGradientBoostingRegressor().fit(IRIS, KIND), IRIS[:3], background=IRIS.where(IRIS > 3), method="conditional_shapley"), "has missing values"),
        (explain(FOREST, IRIS[:3], background=IRIS, at="layer"), "has no layers"),
        (explain(FOREST, IRIS[:3], background=IRIS, target="daisy"), "not a class"),
    ],
)  # fmt: skip
def test_bad_input_is_met_with_a_sentence(call, says):
    with pytest.raises(PellucidError, match=says):
        call()


def test_a_booster_without_its_estimator():
    model = xgboost.XGBRegressor(n_estimators=2).fit(IRIS, KIND)
    with pytest.raises(InputError, match="DMatrix"):
        pl.explain(model.get_booster(), IRIS[:3], background=IRIS[:3])
    light = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(IRIS, KIND)
    same(
        pl.explain(light.booster_, IRIS[:3], background=IRIS[::50]),
        pl.explain(light, IRIS[:3], background=IRIS[::50]),
    )


def test_a_model_that_fails_later_says_so_with_its_own_words():
    def score(frame):
        if (frame["age"] > 200).any():
            raise RuntimeError("nobody is that old")
        return frame["age"] * 1.0

    frame = people(5)
    frame.loc[4, "age"] = 300
    with pytest.raises(ModelError, match="nobody is that old"):
        pl.explain(score, frame, background=people(3))
