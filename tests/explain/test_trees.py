"""Exact Shapley values of trees, against enumeration over the same background, and what is refused.

The enumeration asks the model for its margin or its probabilities and knows nothing of trees.
"""

import itertools
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

import pellucid as pl
from pellucid.errors import InputError, MissingDependencyError, ModelError
from pellucid.interpret.attribution import trees

FEATURES = 6
SMALL = {"n_estimators": 8, "random_state": 0}
FORESTS = {
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(**SMALL),
}
BOOSTED = {
    "sklearn": GradientBoostingClassifier(**SMALL),
    "histogram": HistGradientBoostingClassifier(max_iter=8),
    "xgboost": XGBClassifier(**SMALL),
    "lightgbm": LGBMClassifier(**SMALL, verbose=-1, n_jobs=1),
}
# Of those of scikit-learn, shap reads two classes only.
BOOSTED_COUNTS = [pair for pair in itertools.product(BOOSTED, [2, 3]) if pair != ("sklearn", 3)]
REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(**SMALL),
    "extra trees": ExtraTreesRegressor(**SMALL),
    "sklearn": GradientBoostingRegressor(**SMALL),
    "histogram": HistGradientBoostingRegressor(max_iter=8),
    "xgboost": XGBRegressor(**SMALL),
    "lightgbm": LGBMRegressor(**SMALL, verbose=-1, n_jobs=1),
}


def classes(count=2, seed=0):
    return make_classification(
        300, FEATURES, n_informative=5, n_redundant=0, n_classes=count, random_state=seed
    )


def numbers():
    found, y = make_regression(300, FEATURES, noise=5, random_state=0)
    return found, y / y.std()


def margin(model):
    """What the trees add up to, as each library names it."""
    if isinstance(model, (XGBClassifier, XGBRegressor)):
        return lambda rows: model.predict(rows, output_margin=True)
    if isinstance(model, (LGBMClassifier, LGBMRegressor)):
        return lambda rows: model.predict(rows, raw_score=True)
    return model.decision_function


def enumerated(function, rows, background, **options):
    return pl.explain(
        function, rows, method="shapley", background=background, budget=2**FEATURES, **options
    )


def agree(found, wanted, atol=1e-6):
    """Values, and what they lead from and to; XGBoost adds up in single precision itself."""
    np.testing.assert_allclose(found.values, wanted.values, atol=atol)
    np.testing.assert_allclose(found.prediction, wanted.prediction, atol=1e-9)
    np.testing.assert_allclose(found.baseline_prediction, wanted.baseline_prediction, atol=1e-9)
    np.testing.assert_allclose(found.residual, 0, atol=atol)
    assert np.abs(wanted.values).max() > 0.05


# -- exact -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", FORESTS)
def test_probabilities_of_forests_are_enumerated(name, count):
    x, y = classes(count)
    model = clone(FORESTS[name]).fit(x, y)
    for target in ("all", "predicted", np.arange(4) % count):
        found = pl.explain(model, x[20:24], method="tree_shapley", background=x[:20], target=target)
        agree(found, enumerated(model, x[20:24], x[:20], target=target))
        assert found.units == "probability"
        assert "scored" not in found.settings


@pytest.mark.parametrize(("name", "count"), BOOSTED_COUNTS)
def test_margins_of_boosted_classifiers_are_enumerated(name, count):
    x, y = classes(count)
    model = clone(BOOSTED[name]).fit(x, y)
    names = [str(one) for one in range(count)]
    for target in ("all", "predicted", np.arange(4) % count):
        found = pl.explain(model, x[20:24], method="tree_shapley", background=x[:20], target=target)
        wanted = enumerated(margin(model), x[20:24], x[:20], target=target, class_names=names)
        agree(found, wanted)
        assert found.units == "logit"
        assert "margin" in found.settings["scored"]
        assert found.settings["baseline"] == "each of 20 samples of the background"
    assert (found.target == np.arange(4) % count).all()


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressions_are_enumerated(name):
    x, y = numbers()
    model = REGRESSORS[name].fit(x, y)
    found = pl.explain(model, x[20:24], method="tree_shapley", background=x[:20])
    agree(found, enumerated(model, x[20:24], x[:20]))
    assert found.units == "output"
    assert "scored" not in found.settings


@pytest.mark.parametrize(
    "model",
    [
        XGBRegressor(objective="count:poisson", **SMALL),
        LGBMRegressor(objective="poisson", verbose=-1, n_jobs=1, **SMALL),
    ],
)
def test_behind_a_link_the_margin_is_explained(model):
    x, y = numbers()
    model.fit(x, np.round(np.abs(y) * 3))
    found = pl.explain(model, x[20:24], method="tree_shapley", background=x[:20])
    agree(found, enumerated(margin(model), x[20:24], x[:20]))
    assert "margin" in found.settings["scored"]
    assert np.abs(found.prediction - model.predict(x[20:24])).max() > 0.1


def test_one_sample_is_a_background_and_a_row_as_its_own_background_gets_nothing():
    x, y = numbers()
    model = REGRESSORS["histogram"].fit(x, y)
    found = pl.explain(model, x[:3], method="tree_shapley", background=x[:1])
    agree(found, enumerated(model, x[:3], x[:1]))
    np.testing.assert_array_equal(found.values[0], 0)
    assert found.error[0] == 0
    assert (found.error[1:] > 0).all()


def test_all_samples_of_a_large_background_count():
    """shap by itself would draw a hundred of them."""
    x, y = numbers()
    model = REGRESSORS["lightgbm"].fit(x, y)
    found = pl.explain(model, x[:2], method="tree_shapley", background=x)
    agree(found, enumerated(model, x[:2], x))
    assert "300 samples" in found.settings["baseline"]


def test_values_on_a_threshold_take_the_side_that_the_model_sends_them_to():
    """shap rounds thresholds to single precision; these cannot be told apart in it."""
    x = (1 + np.arange(40) * 1e-9)[:, None] * np.ones((1, 2))
    x[:, 1] = np.random.default_rng(0).normal(size=40)
    y = (np.arange(40) % 7 < 3) + x[:, 1]
    for model in (
        HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=2),
        LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1, n_jobs=1),
    ):
        model.fit(x, y)
        found = pl.explain(model, x[10:20], method="tree_shapley", background=x[:10])
        wanted = pl.explain(model, x[10:20], method="shapley", background=x[:10])
        np.testing.assert_allclose(found.values, wanted.values, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(**SMALL),
        HistGradientBoostingRegressor(max_iter=8),
        XGBRegressor(**SMALL),
        LGBMRegressor(**SMALL, verbose=-1, n_jobs=1),
    ],
)
def test_missing_values_go_where_the_model_sends_them(model):
    x, y = numbers()
    gone = np.random.default_rng(0).random(x.shape) < 0.2
    x = np.where(gone, np.nan, x)
    model.fit(x, y)
    found = pl.explain(model, x[20:24], method="tree_shapley", background=x[:20])
    agree(found, enumerated(model, x[20:24], x[:20]))
    assert np.isnan(found.inputs).any()


def test_training_that_stopped_early_counts_as_many_trees_as_it_predicts_with():
    x, y = numbers()
    xgboost = XGBRegressor(n_estimators=200, early_stopping_rounds=3, random_state=0)
    xgboost.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    assert xgboost.best_iteration < 199
    found = pl.explain(xgboost, x[20:24], method="tree_shapley", background=x[:20])
    agree(found, enumerated(xgboost, x[20:24], x[:20]), atol=1e-5)


# -- along the paths -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGRESSORS)
def test_without_a_background_the_training_samples_are_followed(name):
    """Of a stump that splits one feature, the value is the prediction less the mean in training."""
    x, y = numbers()
    found = pl.explain(REGRESSORS[name].fit(x, y), x[:4], method="tree_shapley")
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    assert "training samples" in found.settings["baseline"]
    assert found.baseline is None
    stump = DecisionTreeRegressor(max_depth=1).fit(x, y)
    found = pl.explain(stump, x[:4], method="tree_shapley")
    np.testing.assert_allclose(found.baseline_prediction, stump.predict(x).mean())
    split = int(stump.tree_.feature[0])
    np.testing.assert_allclose(found.values[:, split], stump.predict(x[:4]) - y.mean())
    assert np.count_nonzero(found.values) == 4


@pytest.mark.parametrize(("name", "count"), [*itertools.product(FORESTS, [2, 3]), *BOOSTED_COUNTS])
def test_classes_without_a_background_add_up(name, count):
    x, y = classes(count)
    model = clone({**FORESTS, **BOOSTED}[name]).fit(x, y)
    found = pl.explain(model, x[:4], method="tree_shapley", target="all")
    assert found.values.shape == (4, count, FEATURES)
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    scores = model.predict_proba(x[:4]) if name in FORESTS else margin(model)(x[:4])
    np.testing.assert_allclose(found.prediction[:, -1], scores.reshape(4, -1)[:, -1])


def categories(seed=0):
    rng = np.random.default_rng(seed)
    size = rng.normal(size=200)
    colour = rng.choice(["red", "green", "blue"], 200)
    frame = pd.DataFrame({"size": size, "colour": pd.Categorical(colour)})
    return frame, size + 2.0 * (colour == "red") + size * (colour == "blue")


@pytest.mark.parametrize(
    "model",
    [
        LGBMRegressor(**SMALL, verbose=-1, n_jobs=1),
        XGBRegressor(**SMALL, enable_categorical=True, tree_method="hist"),
    ],
)
def test_categories_are_followed_by_the_library_itself(model):
    frame, y = categories()
    model.fit(frame, y)
    found = pl.explain(model, frame[:5], method="tree_shapley")
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    assert "blue" in found.categories["colour"]
    with pytest.raises(InputError, match="categories.*leave the background out"):
        pl.explain(model, frame[:5], method="tree_shapley", background=frame[5:15])


def test_methods_are_compared_on_the_same_margin():
    x, y = classes()
    model = BOOSTED["lightgbm"].fit(x, y)
    both = pl.compare(model, x[:3], ["shapley", "tree_shapley"], background=x[:20])
    values = [one.values for one in both.explanations.values()]
    np.testing.assert_allclose(*values, atol=1e-6)
    assert {one.units for one in both.explanations.values()} == {"logit"}


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["torch", "function", "method", "pipeline", "linear", "three"])
def test_what_shap_reads_no_trees_of_is_refused_with_what_works(how):
    x, y = classes(3)
    forest = FORESTS["forest"].fit(x, y)
    model = {
        "torch": lambda: torch.nn.Linear(FEATURES, 3),
        "function": lambda: np.tanh,
        "method": lambda: forest.predict_proba,
        "pipeline": lambda: make_pipeline(StandardScaler(), forest).fit(x, y),
        "linear": lambda: LogisticRegression().fit(x, y),
        "three": lambda: GradientBoostingClassifier(n_estimators=2).fit(x, y),
    }[how]()
    x = torch.from_numpy(x).float() if how == "torch" else x
    with pytest.raises(InputError, match="method='shapley'"):
        pl.explain(model, x[:2], method="tree_shapley", background=x[:5])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": {"first": [0, 1]}}, "group_sums"),
        ({"output": "probability"}, "no values of its probabilities are exact"),
        ({"target": lambda scores: scores**2}, "not a function"),
        ({"baseline": 0.0}, "background=x"),
        ({"budget": 100}, "no option 'budget'"),
    ],
)
def test_what_does_not_go_with_trees_is_said(options, said):
    x, y = classes()
    model = BOOSTED["lightgbm"].fit(x, y)
    with pytest.raises(InputError, match=said):
        pl.explain(model, x[:2], method="tree_shapley", **options)


def lightgbm_of_codes():
    frame, y = categories()
    x = np.stack([frame["size"], frame["colour"].cat.codes], axis=1)
    return LGBMRegressor(**SMALL, verbose=-1, n_jobs=1).fit(x, y, categorical_feature=[1]), x, x


def histogram_of_codes():
    frame, y = categories()
    x = np.stack([frame["size"], frame["colour"].cat.codes], axis=1)
    return HistGradientBoostingRegressor(max_iter=5, categorical_features=[1]).fit(x, y), x, x


def zeros_for_gaps():
    x, y = numbers()
    x = np.where(x < 0, 0, x)
    return LGBMRegressor(**SMALL, verbose=-1, n_jobs=1, zero_as_missing=True).fit(x, y), x, x


def gaps_of_their_own():
    x, y = numbers()
    return LGBMRegressor(**SMALL, verbose=-1, n_jobs=1).fit(x, y), x + np.nan, x


def numbers_for_gaps():
    x, y = numbers()
    return XGBRegressor(**SMALL, missing=-1.0).fit(x, y), x, x


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lightgbm_of_codes, "categories"),
        (histogram_of_codes, "categories"),
        (zeros_for_gaps, "zeros that stand for missing"),
        (gaps_of_their_own, "missing values that were not in training"),
        (numbers_for_gaps, "missing=-1"),
    ],
)
def test_what_shap_would_misread_is_refused(made, said):
    model, rows, background = made()
    with pytest.raises(InputError, match=said):
        pl.explain(model, rows[:3], method="tree_shapley", background=background[:5])


def test_trees_of_more_nodes_than_shap_can_number_are_refused(monkeypatch):
    x, y = numbers()
    model = REGRESSORS["tree"].fit(x, y)
    monkeypatch.setattr(trees, "_NODES", 100)
    with pytest.raises(InputError, match="more than 100 nodes.*leave the background out"):
        pl.explain(model, x[:3], method="tree_shapley", background=x[:5])
    pl.explain(model, x[:3], method="tree_shapley")


@pytest.mark.parametrize("background", [True, False])
def test_values_that_miss_the_prediction_are_no_explanation(background):
    """shap knows nothing of the logarithm behind this one, which has no name for its margin."""
    x, y = numbers()
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=5).fit(x, np.abs(y))
    with pytest.raises(ModelError, match="otherwise than it predicts"):
        pl.explain(model, x[:3], method="tree_shapley", background=x[:5] if background else None)


def test_shap_is_asked_for_by_name(monkeypatch):
    x, y = numbers()
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingDependencyError, match=r"pellucid\[trees\]"):
        pl.explain(REGRESSORS["tree"].fit(x, y), x[:3], method="tree_shapley")
