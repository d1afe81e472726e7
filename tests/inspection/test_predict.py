"""Predictions of every kind of model are what the model itself says, beside the truth."""

import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from small_models import cnn_with_batch_norm, left_in_training, mlp
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, Interrupted, ModelError
from pellucid.interpret import Predictions
from pellucid.interpret.inspection import truth
from pellucid.interpret.inspection.predict import predict

WINE = pl.datasets.load_wine()
CANCER = pl.datasets.load_breast_cancer()
DIABETES = pl.datasets.load_diabetes()
SCALED = CANCER.standardized()


@pytest.fixture(scope="module")
def forest():
    return make_pipeline(StandardScaler(), GaussianNB()).fit(WINE.inputs, WINE.targets)


# -- torch -----------------------------------------------------------------------------------


def test_logits_become_probabilities_and_the_model_stays_what_it_is():
    model, x = left_in_training(), torch.randn(7, 6)
    before = state_of(model, x)
    found = predict(model, x)
    assert changes(before, state_of(model, x)) == []
    with torch.no_grad():
        expected = torch.softmax(model.eval()(x).double(), dim=1).numpy()
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert (found.kind, found.units, found.name) == ("classification", "probability", "Sequential")
    assert found.settings["scores"] == "softmax of the model's outputs"
    assert found.truth is None
    np.testing.assert_array_equal(found.inputs, x)
    np.testing.assert_array_equal(found.predicted, expected.argmax(1))


def test_raw_scores_are_the_models_outputs():
    model, x = mlp(), torch.randn(5, 6)
    found = predict(model, x, output="raw")
    np.testing.assert_allclose(found.scores, model(x).detach(), rtol=1e-6)
    assert found.units == "logit"


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(-30, 30, width=32)))
def test_one_logit_is_two_classes(logits):
    x = torch.from_numpy(logits)[:, None]
    found = predict(nn.Identity(), x, class_names=["no", "yes"], output="auto")
    if ((logits >= 0) & (logits <= 1)).all():
        np.testing.assert_allclose(found.scores[:, 1], logits)  # taken for probabilities, as said
        assert "taken for probabilities" in found.settings["scores"]
    else:
        yes = 1 / (1 + np.exp(-logits.astype(float)))
        np.testing.assert_allclose(found.scores, np.stack([1 - yes, yes], 1), rtol=1e-6, atol=1e-13)
    raw = predict(nn.Identity(), x * 40 + 2, class_names=["no", "yes"], output="raw")
    if raw.units == "logit":
        np.testing.assert_array_equal(raw.scores[:, 0], -raw.scores[:, 1])
    np.testing.assert_array_equal(raw.predicted, raw.scores[:, 1] > raw.scores[:, 0])


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1)])
def test_probabilities_are_not_squashed_again(last):
    columns = 1 if isinstance(last, nn.Sigmoid) else 3
    model, x = nn.Sequential(nn.Linear(4, columns), last), torch.randn(6, 4)
    found = predict(model, x)
    expected = model(x).detach().double().numpy()
    expected = np.exp(expected) if isinstance(last, nn.LogSoftmax) else expected
    assert (found.kind, found.units) == ("classification", "probability")
    np.testing.assert_allclose(found.scores[:, -columns:], expected, rtol=1e-6)
    np.testing.assert_allclose(found.scores.sum(1), 1, rtol=1e-6)


def test_sigmoids_of_several_classes_stay_what_they_are():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.randn(6, 4)
    found = predict(model, x)
    np.testing.assert_allclose(found.scores, model(x).detach(), rtol=1e-6)
    assert "need not add up to 1" in found.settings["scores"]


def test_what_decides_between_classes_and_values():
    one, three, x = nn.Linear(4, 1), nn.Linear(4, 3), torch.randn(6, 4)
    whole, real = np.arange(6) % 2, np.linspace(0, 1, 6)
    kinds = {
        "no targets, one": predict(one, x),
        "no targets, three": predict(three, x),
        "0 and 1": predict(one, x, whole),
        "booleans": predict(one, x, whole == 1),
        "numbers": predict(one, x, real),
        "counts": predict(one, x, np.arange(6)),
        "several": predict(three, x, np.stack([real] * 3, axis=1)),
        "told": predict(one, x, whole, output="value"),
        "probability": predict(one, x, output="probability"),
    }
    classes = {name for name, found in kinds.items() if found.kind == "classification"}
    assert classes == {"no targets, three", "0 and 1", "booleans", "probability"}
    assert kinds["numbers"].scores.shape == (6,)
    assert kinds["several"].truth.shape == (6, 3)
    assert all(": " in found.settings["kind"] for found in kinds.values())


def test_a_data_set_brings_its_targets_names_and_ids():
    part = SCALED.subset(slice(100, 160))
    found = predict(nn.Linear(30, 1), part)
    assert found.kind == "classification"
    assert found.class_names == CANCER.class_names
    assert found.feature_names == CANCER.feature_names
    np.testing.assert_array_equal(found.truth, part.targets)
    np.testing.assert_array_equal(found.sample_ids, np.arange(100, 160))
    # Shown in their own units, not as standardized.
    np.testing.assert_allclose(found.inputs, CANCER.inputs[100:160], rtol=1e-4, atol=1e-4)
    other = predict(nn.Linear(30, 2), part, np.zeros(60, int), class_names=["a", "b"])
    assert other.class_names == ("a", "b")
    assert not other.truth.any()


def test_pictures_several_inputs_tokens_and_batch_sizes():
    x = torch.rand(9, 1, 6, 6)
    model = cnn_with_batch_norm()
    whole = predict(model, x)
    np.testing.assert_allclose(predict(model, x, batch_size=2).scores, whole.scores, atol=1e-6)
    assert whole.inputs.shape == x.shape
    shown = predict(model, x, display=np.zeros((9, 6, 6, 3)))
    assert shown.inputs.shape == (9, 6, 6, 3)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(10, 4), nn.Linear(7, 3)

        def forward(self, tokens, numbers):
            return {"logits": self.out(torch.cat([self.words(tokens).mean(1), numbers], 1))}

    both, tokens, numbers = Both(), torch.randint(0, 10, (5, 8)), torch.randn(5, 3)
    found = predict(both, {"tokens": tokens, "numbers": numbers})
    logits = both(tokens, numbers)["logits"].detach()
    np.testing.assert_allclose(found.scores, torch.softmax(logits, 1), rtol=1e-5)
    assert found.inputs is None


@pytest.mark.slow
def test_keras_on_torch():
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras = pytest.importorskip("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    layers = [keras.layers.Input((5,)), keras.layers.Dense(4, activation="relu")]
    for last, activation in ((1, "sigmoid"), (3, "softmax"), (3, None)):
        model = keras.Sequential([*layers, keras.layers.Dense(last, activation=activation)])
        found = predict(model, x)
        own = model.predict(x, verbose=0).astype(float)
        if activation is None:
            own = np.exp(own) / np.exp(own).sum(1, keepdims=True)
        np.testing.assert_allclose(found.scores[:, -last:], own, rtol=1e-5)
        assert found.units == "probability"


# -- estimators ------------------------------------------------------------------------------


def boosted(name):
    module = pytest.importorskip(name)
    make = {"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier"}[name]
    return getattr(module, make)(n_estimators=3, n_jobs=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        lambda: MLPClassifier((8,), max_iter=40, random_state=0),
        lambda: GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-6]}, cv=2),
        lambda: boosted("lightgbm"),
        lambda: boosted("xgboost"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_estimators_with_probabilities(make):
    model = make().fit(WINE.inputs, WINE.targets)
    found = predict(model, WINE)
    np.testing.assert_allclose(found.scores, model.predict_proba(WINE.inputs), rtol=1e-6)
    assert (found.units, found.kind) == ("probability", "classification")
    assert (found.predicted == found.truth).mean() == accuracy_score(
        WINE.targets, model.predict(WINE.inputs)
    )
    assert found.name == type(model).__name__
    method = predict(model.predict_proba, WINE)
    assert (method.units, method.name) == ("probability", found.name)


@pytest.mark.parametrize("make", [SVC, LinearSVC, SGDClassifier, RidgeClassifier])
@pytest.mark.filterwarnings("ignore")
def test_support_vector_machines_have_decision_values(make):
    two = make().fit(SCALED.inputs, SCALED.targets)
    found = predict(two, SCALED)
    values = two.decision_function(SCALED.inputs.astype(float))
    np.testing.assert_allclose(found.scores, np.stack([-values, values], 1), rtol=1e-4, atol=1e-4)
    assert found.units == "decision value"
    np.testing.assert_array_equal(found.predicted, two.predict(SCALED.inputs))
    three = make().fit(WINE.inputs, WINE.targets)
    assert predict(three, WINE).scores.shape == (178, 3)
    with pytest.raises(InputError, match=r"no probabilities.*CalibratedClassifierCV"):
        predict(two, SCALED, output="probability")


def test_scores_of_pairs_are_no_scores_of_classes():
    pairs = make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo"))
    with pytest.raises(InputError, match="scores pairs of classes"):
        predict(pairs.fit(WINE.inputs, WINE.targets), WINE)


def test_regressions_of_one_and_several_outputs():
    model = GradientBoostingRegressor(n_estimators=5).fit(DIABETES.inputs, DIABETES.targets)
    found = predict(model, DIABETES)
    np.testing.assert_allclose(found.scores, model.predict(DIABETES.inputs))
    np.testing.assert_allclose(found.truth, DIABETES.targets)
    assert (found.kind, found.units, found.class_names) == ("regression", "value", None)
    both = np.stack([DIABETES.targets, -DIABETES.targets], axis=1)
    linear = LinearRegression().fit(DIABETES.inputs, both)
    several = predict(linear, DIABETES.inputs, both)
    np.testing.assert_allclose(several.scores, linear.predict(DIABETES.inputs), rtol=1e-6)
    assert list(several.to_frame()) == ["predicted 0", "predicted 1", "truth 0", "truth 1"]
    with pytest.raises(InputError, match=r"predicts shape \(442, 2\)"):
        predict(linear, DIABETES.inputs, DIABETES.targets)
    with pytest.raises(InputError, match="class_names were given"):
        predict(model, DIABETES, class_names=["a", "b"])


def test_labels_are_matched_with_what_the_model_was_fitted_with():
    words = np.array(CANCER.class_names)[CANCER.targets]
    model = LogisticRegression(max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(SCALED.inputs, words)
    # The model sorts its classes by name; the data set has its own order.
    assert model.classes_.tolist() == ["benign", "malignant"]
    found = predict(model, SCALED)
    np.testing.assert_array_equal(found.truth, words == "malignant")
    assert found.class_names == ("benign", "malignant")
    for targets in (words, words.tolist(), pd.Series(words)):
        np.testing.assert_array_equal(predict(model, SCALED.inputs, targets).truth, found.truth)
    with pytest.raises(InputError, match=r"'fine' is not a class.*'benign', 'malignant'"):
        predict(model, SCALED.inputs, ["fine"] * 569)
    numbers = np.array([30, 10, 20])[WINE.targets]
    tens = GaussianNB().fit(WINE.inputs, numbers)
    named = predict(tens, WINE.inputs, numbers, class_names=["x", "y", "z"])
    np.testing.assert_array_equal(named.truth, np.array([2, 0, 1])[WINE.targets])
    np.testing.assert_array_equal(
        predict(tens, WINE.inputs, np.array(["z", "x", "y"])[WINE.targets],
                class_names=["x", "y", "z"]).truth, named.truth
    )  # fmt: skip


def test_names_of_a_data_set_are_those_of_the_classes_that_the_model_knows():
    some = WINE.subset(WINE.targets != 1)
    model = GaussianNB().fit(some.inputs, some.targets)
    assert predict(model, some).class_names == (WINE.class_names[0], WINE.class_names[2])
    with pytest.raises(InputError, match="target 1 is not a class"):
        predict(model, WINE)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_bring_their_names_and_are_shown_as_they_are(library):
    columns = {"size": [1.0, 2.0, None, 4.0], "city": ["Ulm", "Bern", None, "Rom"]}
    frame = pytest.importorskip(library).DataFrame(columns)
    seen = []

    def model(rows):
        seen.append(type(rows))
        size = np.nan_to_num(np.asarray(rows["size"], dtype=float))
        return np.stack([size, 5 - size], axis=1)

    found = predict(model, frame)
    assert set(seen) >= {type(frame)}
    assert found.feature_names == ("size", "city")
    assert found.inputs.tolist() == [["1", "Ulm"], ["2", "Bern"], ["missing"] * 2, ["4", "Rom"]]
    np.testing.assert_allclose(found.scores[:, 1], 1 / (1 + np.exp(2 * np.array([1, 2, 0, 4]) - 5)))


def test_texts_go_to_the_model_as_texts():
    texts, words = ["good", "bad film", "very good", "bad"] * 6, ["pos", "neg"] * 12
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, words)
    found = predict(model, texts, words, batch_size=5)
    np.testing.assert_allclose(found.scores, model.predict_proba(texts))
    assert found.inputs.tolist() == texts
    np.testing.assert_array_equal(predict(model, np.array(texts), words).scores, found.scores)
    assert predict(lambda these: [len(one) for one in these], texts).scores[1] == 8


# -- what is not as it should be -------------------------------------------------------------


def test_scores_that_are_not_finite_are_counted_and_have_no_class():
    def model(rows):
        rows = np.where(rows > 0.8, np.nan, rows)
        return np.concatenate([rows, 1 - rows], axis=1)

    x = np.linspace(0.05, 1, 20)[:, None]
    found = predict(model, x, np.zeros(20, int))
    broken = x[:, 0] > 0.8
    np.testing.assert_array_equal(found.finite, ~broken)
    assert (found.predicted[broken] == -1).all()
    assert f"{broken.sum()} of them with scores that are not finite" in repr(found)
    assert found.to_frame()["predicted"].iloc[-1] == "none"
    torched = predict(torch.log, torch.tensor([[0.5, 1], [-1, 1], [-2, 3]]))
    np.testing.assert_array_equal(torched.finite, [True, False, False])
    with pytest.raises(ModelError, match="every one of the 3 samples"):
        predict(lambda rows: rows * torch.nan, torch.ones(3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"targets": [0, 1]}, InputError, r"shape \(2,\); give one for each of the 6"),
        ({"targets": [0, 1, 2, 3, 0, 1]}, InputError, "target 3 is not a class.*0 to 2"),
        ({"targets": [0, 1, -1, 0, 0, 1]}, InputError, "target -1 is not a class"),
        ({"targets": [0, 1, np.nan, 0, 0, 1]}, InputError, "1 of 6 targets are NaN"),
        ({"targets": [0, 0.5, 1, 0, 0, 1]}, InputError, "target 0.5 is not a class"),
        ({"targets": list("abcabc")}, InputError, "give class_names"),
        ({"targets": list("abcabd"), "class_names": list("abc")}, InputError, "'d' is not a class"),
        ({"targets": [None] * 6}, InputError, "None is not a class"),
        ({"targets": np.eye(3)[[0, 1, 2, 0, 1, 2]]}, InputError, r"argmax\(axis=1\)"),
        ({"class_names": ["a", "b"]}, InputError, "2 class names.*3 classes"),
        ({"class_names": ["a", "a", "b"]}, InputError, "more than once"),
        ({"sample_ids": [1, 2]}, InputError, "sample_ids have shape"),
        ({"feature_names": ["a"]}, InputError, "1 feature names"),
        ({"display": np.zeros((2, 3))}, InputError, "display has shape"),
        ({"output": "logits"}, InputError, "output='logits' is not known"),
        ({"batch_size": 0}, InputError, "batch_size"),
    ],
)
def test_errors_say_what_to_do(arguments, error, words):
    model, x = nn.Linear(4, 3), torch.randn(6, 4)
    with pytest.raises(error, match=words):
        predict(model, x, **arguments)


def test_models_that_give_no_scores():
    x = torch.randn(4, 2)
    with pytest.raises(ModelError, match="more than one number for each row"):
        predict(lambda rows: rows[:, :, None] * torch.ones(3), x)
    with pytest.raises(ModelError, match="needs one row for each"):
        predict(lambda rows: rows.sum(), x)
    with pytest.raises(ModelError, match="classes, it seems"):
        predict(lambda rows: rows.argmax(1), x)
    with pytest.raises(InputError, match="not fitted yet"):
        predict(GaussianNB(), WINE)
    with pytest.raises(InputError, match="classes, not scores"):
        predict(GaussianNB().fit(WINE.inputs, WINE.targets).predict, WINE)
    with pytest.raises(InputError, match="numbers of clusters"):
        predict(KMeans(2, n_init=1).fit(WINE.inputs), WINE)
    with pytest.raises(InputTypeError, match="is the class"):
        predict(nn.Linear, x)
    with pytest.raises(InputError, match="NaN"):
        predict(nn.Linear(2, 2), x * torch.nan)


def test_one_hot_targets_of_a_classifier_are_refused(forest):
    with pytest.raises(InputError, match=r"argmax\(axis=1\)"):
        predict(forest, WINE.inputs, np.eye(3)[WINE.targets])


def test_an_interruption_keeps_the_rows_that_were_finished():
    calls = []

    def model(rows):
        calls.append(len(rows))
        if calls.count(100) > 4:  # the chunks of a block of 256 rows are of 100, 100 and 56
            raise KeyboardInterrupt
        return rows

    with pytest.raises(Interrupted, match="after 512 of 3000 rows") as caught:
        predict(model, torch.rand(3000, 3), np.arange(3000) % 3, batch_size=100)
    partial = caught.value.partial
    assert len(partial) == 512
    np.testing.assert_array_equal(partial.truth, np.arange(512) % 3)


# -- the result ------------------------------------------------------------------------------


def test_predictions_are_saved_sliced_and_told(tmp_path, forest):
    found = predict(forest, WINE)
    loaded = pl.load(found.save(tmp_path / "wine.safetensors"))
    np.testing.assert_array_equal(loaded.scores, found.scores)
    np.testing.assert_array_equal(loaded.truth, found.truth)
    assert loaded.class_names == found.class_names
    frame = found[3:5].to_frame()
    assert frame.index.tolist() == [3, 4]
    assert list(frame)[:2] == ["predicted", "truth"]
    accuracy = accuracy_score(found.truth, found.predicted)
    assert f"accuracy  {accuracy:6.1%}".replace("  ", " ") in repr(found).replace("  ", " ")
    error = Predictions(scores=np.array([1.0, 3, np.nan]), kind="regression", units="value",
                        truth=np.array([2.0, 5, 1]))  # fmt: skip
    assert "1.581" in repr(error)  # the root of (1 + 4) / 2
    assert "-1.5" in repr(error)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "ranking"}, "kind is"),
        ({"scores": np.ones(3)}, "two classes or more"),
        ({"scores": np.ones((3, 1))}, "two classes or more"),
        ({"truth": np.array([0, 1])}, "truth has 2 entries for 3"),
        ({"truth": np.array([0, 1, 2])}, "from 0 to 2"),
        ({"truth": np.array([0.0, 1, 1])}, "one class index"),
        ({"class_names": ("a",)}, "1 class names"),
        ({"kind": "regression", "truth": np.ones(3)}, "truth has shape"),
        ({"kind": "regression", "scores": np.ones((3, 2, 2))}, r"\(samples, outputs\)"),
    ],
)
def test_predictions_that_do_not_fit_together(changes, words):
    arguments = {"scores": np.ones((3, 2)), "kind": "classification"} | changes
    with pytest.raises(InputError, match=words):
        Predictions(**arguments)


@given(
    st.lists(st.sampled_from(["b", "a", "c"]), min_size=1, max_size=30),
    st.permutations(["a", "b", "c"]),
)
def test_class_indices_are_positions_among_the_labels(targets, labels):
    found = truth.class_indices(np.array(targets), 3, np.array(labels), None)
    assert [labels[k] for k in found] == targets
    mixed = np.array(targets, dtype=object)
    np.testing.assert_array_equal(truth.class_indices(mixed, 3, None, labels), found)
