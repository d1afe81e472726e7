"""Pictures of predictions: every number in them is that of scikit-learn, or of a closed form."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from drawn import caption
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import pellucid as pl
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret import Predictions
from pellucid.interpret.inspection.predict import predict
from pellucid.viz import theme
from pellucid.viz.predictions import measures, samples
from pellucid.viz.predictions.calibration import calibration
from pellucid.viz.predictions.confusion import confusion_matrix
from pellucid.viz.predictions.curves import precision_recall, roc
from pellucid.viz.predictions.gallery import prediction_gallery
from pellucid.viz.predictions.listed import listed
from pellucid.viz.predictions.measures import Bins, Ranked
from pellucid.viz.predictions.residuals import residuals
from pellucid.viz.predictions.scores import confidence, decision_values
from pellucid.viz.predictions.thresholds import POINTS, thinned

OF_CLASSES = {
    "confusion_matrix": confusion_matrix,
    "prediction_gallery": prediction_gallery,
    "roc": roc,
    "precision_recall": precision_recall,
    "calibration": calibration,
    "decision_values": decision_values,
    "confidence": confidence,
}
EVIL = tuple(f"<b>evil</b> class with a long name {k} $x$ %{{y}}" for k in range(4))


def classifier(samples=200, classes=4, seed=0, sharp=2.0, **changes):
    """Probabilities of a model that is often right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, samples)
    logits = rng.normal(size=(samples, classes)) + sharp * np.eye(classes)[truth]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    made = Predictions(scores=scores, kind="classification", truth=truth, name="model")
    return dataclasses.replace(made, **changes)


def regression(samples=300, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=samples)
    return Predictions(
        scores=scores, kind="regression", units="value", truth=scores + rng.normal(size=samples)
    )


@st.composite
def rankings(draw):
    """Binary truth of both kinds, and scores that are often equal."""
    size = draw(st.integers(2, 40))
    scores = draw(arrays(np.float64, size, elements=st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1])))
    positive = draw(arrays(bool, size))
    positive[:2] = [True, False]
    return positive, scores


# -- areas and curves ------------------------------------------------------------------------


@given(rankings())
def test_areas_are_those_of_scikit_learn_ties_included(ranking):
    positive, scores = ranking
    ranked = Ranked.of(positive, scores)
    area, _ = measures.roc_area(ranked, positive)
    assert area == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    precision, _ = measures.precision_area(ranked, positive)
    expected = metrics.average_precision_score(positive, scores)
    assert precision == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25)
@given(rankings(), st.data())
def test_an_area_depends_on_each_weight_as_differences_say(ranking, data):
    positive, scores = ranking
    k = data.draw(st.integers(0, len(scores) - 1))
    ranked, step = Ranked.of(positive, scores), 1e-5
    for found, own in ((measures.roc_area, metrics.roc_auc_score),
                       (measures.precision_area, metrics.average_precision_score)):  # fmt: skip
        ends = []
        for sign in (-1, 1):
            weight = np.ones(len(scores))
            weight[k] += sign * step
            ends.append(own(positive, scores, sample_weight=weight))
        slope = found(ranked, positive)[1][k]
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-6)


@given(rankings())
def test_the_spread_of_a_roc_area_is_delongs(ranking):
    positive, scores = ranking
    a, b = scores[positive], scores[~positive]
    better = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    _, slopes = measures.roc_area(Ranked.of(positive, scores), positive)
    # DeLong: the components' variances over their numbers; the jackknife divides by m, not m - 1.
    expected = better.mean(1).var() / len(a) + better.mean(0).var() / len(b)
    assert (slopes**2).sum() == pytest.approx(expected, abs=1e-12)


def test_intervals_hold_the_true_area_as_often_as_they_say():
    rng = np.random.default_rng(0)
    true = stats.norm.cdf(1 / np.sqrt(2))  # of two normal distributions one apart
    inside = 0
    for _ in range(300):
        positive = np.arange(120) < 40
        scores = rng.normal(size=120) + positive
        area, slopes = measures.roc_area(Ranked.of(positive, scores), positive)
        low, high = measures.interval(area, slopes)
        assert 0 <= low < area < high <= 1
        inside += low <= true <= high
    assert 0.92 <= inside / 300 <= 0.98
    assert measures.interval(1.0, np.zeros(4)) is None


def lines(figure):
    return {t.name.split("  ")[0]: t for t in figure.data if t.mode == "lines"}


@pytest.mark.parametrize("classes", [2, 4])
def test_curves_are_those_of_scikit_learn(classes):
    found = classifier(classes=classes)
    curves = lines(roc(found))
    assert ("macro" in curves) == (classes > 2)
    for k in range(1, classes):
        x, y, thresholds = metrics.roc_curve(
            found.truth == k, found.scores[:, k], drop_intermediate=False
        )
        curve = curves[str(k)]
        every = set(zip(*(np.float32(part) for part in (x, y, thresholds)), strict=True))
        assert set(zip(curve.x, curve.y, curve.customdata, strict=True)) <= every
        # What is not drawn lies on the line: measured along the diagonal, where it has one height.
        height = np.interp(x + y, np.add(curve.x, curve.y, dtype=float),
                           np.subtract(curve.y, curve.x, dtype=float))  # fmt: skip
        np.testing.assert_allclose(height, y - x, atol=1e-6)
        area = metrics.roc_auc_score(found.truth == k, found.scores[:, k])
        assert f"{area:.3f} (" in curves[str(k)].name
        precision, recall, _ = metrics.precision_recall_curve(found.truth == k, found.scores[:, k])
        curve = lines(precision_recall(found))[str(k)]
        drawn = set(zip(np.float32(curve.x), np.float32(curve.y), strict=True))
        assert drawn - set(zip(np.float32(recall), np.float32(precision), strict=True)) <= {
            (np.float32(0), curve.y[0])
        }


def test_mean_and_pooled_curves_have_the_areas_that_they_say():
    found = classifier()
    hot = np.eye(4)[found.truth]
    curves = lines(roc(found))
    for average in ("macro", "micro"):
        area = metrics.roc_auc_score(hot, found.scores, average=average)
        assert f"{area:.3f} (" in curves[average].name
        drawn = np.trapezoid(curves[average].y.astype(float), curves[average].x.astype(float))
        assert drawn == pytest.approx(area, abs=1e-6)
    curves = lines(precision_recall(found))
    for average in ("macro", "micro"):
        area = metrics.average_precision_score(hot, found.scores, average=average)
        x, y = (np.asarray(part, float) for part in (curves[average].x, curves[average].y))
        assert f"{area:.3f} (" in curves[average].name
        assert (np.diff(x) * y[1:]).sum() == pytest.approx(area, abs=1e-6)


def test_the_interval_of_a_mean_is_that_of_a_bootstrap_over_samples():
    found = classifier(samples=150, classes=3, sharp=0.8)
    rng, areas = np.random.default_rng(0), {"macro": [], "micro": []}
    for _ in range(120):
        part = found[rng.integers(0, 150, 150)]
        for average, kept in areas.items():
            kept.append(metrics.roc_auc_score(np.eye(3)[part.truth], part.scores, average=average))
    for average, kept in areas.items():
        said = lines(roc(found))[average].name.split("(")[1].strip(")").split(" to ")
        wide = float(said[1]) - float(said[0])
        assert wide == pytest.approx(2 * 1.96 * np.std(kept), rel=0.3)


def test_dots_are_where_the_model_decides():
    found = classifier(classes=3)
    dots = [t for t in roc(found).data if t.mode == "markers"]
    table = metrics.confusion_matrix(found.truth, found.predicted)
    for k, dot in enumerate(dots):
        assert dot.y[0] == pytest.approx(table[k, k] / table[k].sum())
        others = table[:, k].sum() - table[k, k]
        assert dot.x[0] == pytest.approx(others / (len(found) - table[k].sum()))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([20, 100, 1000]))
def test_a_thinned_curve_is_as_it_was(seed, limit):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 20_000))
    positive = np.append(rng.random(size) < 0.3, [True, False])
    ranked = Ranked.of(positive, rng.normal(size=size + 2) + positive)
    x = np.append(0, ranked.alarms / ranked.negatives)
    y = np.append(0, ranked.hits / ranked.positives)
    kept = thinned(x, y, limit)
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    assert len(kept) <= limit + 1
    assert np.abs(np.interp(x, x[kept], y[kept]) - y)[1:-1].max(initial=0) < 4 / limit + 1e-9 or (
        len(np.unique(x)) < len(x)
    )
    # A step up has no one height: measured along the diagonal, where it has.
    along, across = (x + y) / 2, y - x
    assert np.abs(np.interp(along, along[kept], across[kept]) - across).max() < 4 / limit


def test_a_long_curve_is_bounded_and_says_so():
    found = classifier(samples=20_000, classes=2, sharp=0.5)
    figure = roc(found)
    assert len(lines(figure)["1"].x) <= POINTS + 1
    assert "drawn by 1,000" in caption(figure)
    assert len(precision_recall(found).to_json()) < 100_000
    assert "drawn by" not in caption(roc(classifier()))


def test_curves_need_samples_of_both_kinds():
    found = classifier(classes=3)
    with pytest.raises(InputError, match="samples of a class, and samples of others"):
        roc(found[found.truth == 1])
    two = found[found.truth != 1]
    assert "1" not in lines(roc(two))
    assert "no samples of 1 class" in caption(roc(two))
    hot = np.eye(3)[two.truth]
    area = metrics.roc_auc_score(hot.ravel(), two.scores.ravel())  # the class that is not there too
    assert f"{area:.3f}" in lines(roc(two))["micro"].name
    with pytest.raises(InputError, match="no class 'x'"):
        roc(found, classes=["x"])
    constant = dataclasses.replace(found, scores=np.full((200, 3), 1 / 3))
    assert "0.500" in lines(roc(constant))["0"].name
    perfect = dataclasses.replace(found, scores=np.eye(3)[found.truth])
    assert lines(roc(perfect))["0"].name == "0  1.000"
    assert "apart without overlap" in caption(roc(perfect))


def test_of_many_classes_those_of_least_area_are_drawn():
    found = classifier(samples=600, classes=12)
    areas = [metrics.roc_auc_score(found.truth == k, found.scores[:, k]) for k in range(12)]
    drawn = {int(name) for name in lines(roc(found)) if name.isdigit()}
    assert drawn == set(np.argsort(areas)[:8].tolist())
    assert "8 classes of least area of 12" in caption(roc(found))
    assert {n for n in lines(roc(found, classes=[3, 5])) if n.isdigit()} == {"3", "5"}


# -- confusion -------------------------------------------------------------------------------


def cells(figure):
    return next(trace for trace in figure.data if trace.text is not None)


@settings(max_examples=8, deadline=None)
@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 2)), st.integers(0, 99))
def test_the_matrix_is_that_of_scikit_learn(truth, seed):
    scores = np.random.default_rng(seed).random((len(truth), 3))
    found = Predictions(scores=scores, kind="classification", units="logit", truth=truth)
    table = metrics.confusion_matrix(truth, found.predicted, labels=[0, 1, 2])
    np.testing.assert_array_equal(cells(confusion_matrix(found, normalize=None)).z, table)
    for normalize, name in (("truth", "true"), ("predicted", "pred"), ("all", "all")):
        figure = confusion_matrix(found, normalize=normalize)
        expected = metrics.confusion_matrix(
            truth, found.predicted, labels=[0, 1, 2], normalize=name
        )
        of = {"truth": table.sum(1, keepdims=True), "predicted": table.sum(0, keepdims=True)}
        void = np.broadcast_to(of.get(normalize, np.ones((1, 1))) == 0, (3, 3))
        np.testing.assert_allclose(np.nan_to_num(cells(figure).z), expected, atol=1e-6)
        np.testing.assert_array_equal(np.isnan(cells(figure).z), void)  # nothing is not zero
        assert ("grey" in caption(figure)) == void.any()
        for i, j in itertools.product(range(3), range(3)):
            ids = cells(figure).customdata[i][j]
            assert sorted(ids) == np.flatnonzero((truth == i) & (found.predicted == j)).tolist()
            assert int(cells(figure).text[i][j].split("<br>")[0]) == table[i, j]


def test_a_cell_lists_its_most_confident_samples():
    found = classifier(samples=900, classes=2, sample_ids=np.array([f"id {i}" for i in range(900)]))
    figure = confusion_matrix(found)
    here = np.flatnonzero((found.truth == 1) & (found.predicted == 1))
    order = here[np.argsort(-found.scores[here].max(1), kind="stable")]
    assert cells(figure).customdata[1][1] == [f"id {i}" for i in order[:50]]
    parts = {part["key"]: part for part in figure.layout.meta["samples"]["parts"]}
    assert parts["0:1,1"]["count"] == len(here)
    assert [row[0] for row in parts["0:1,1"]["rows"]] == [f"id {i}" for i in order[:50]]
    assert list(parts)[-1] == "0:1,1"  # errors come first


def test_many_classes_are_the_pairs_that_are_confused():
    found = classifier(samples=2000, classes=40, sharp=1.5)
    figure = confusion_matrix(found)
    table = metrics.confusion_matrix(found.truth, found.predicted)
    np.fill_diagonal(table, 0)
    expected = np.sort(table.ravel())[::-1][:25]
    np.testing.assert_array_equal(figure.data[0].x, expected)
    assert f"{expected.sum()} of {table.sum():,} errors" in caption(figure)
    perfect = dataclasses.replace(found, scores=np.eye(40)[found.truth])
    with pytest.raises(InputError, match="predicted right"):
        confusion_matrix(perfect)


def test_what_a_report_lists_is_bounded_and_says_so():
    pictures = (np.random.default_rng(0).random((3000, 3, 32, 32)) * 255).astype(np.uint8)
    found = classifier(samples=3000, classes=10, inputs=pictures)
    listing = confusion_matrix(found).layout.meta["samples"]
    assert sum(len(part["rows"]) for part in listing["parts"]) <= 1000
    assert len(json.dumps(listing)) < 1_200_000
    assert "most confident listed" in listed("figure-1", listing)


def test_a_list_of_samples_holds_names_as_text():
    ids = np.array([f"<script>alert({i})</script>" for i in range(200)])
    table = np.random.default_rng(0).normal(size=(200, 12))
    found = classifier(class_names=EVIL, sample_ids=ids, inputs=table)
    listing = dict(confusion_matrix(found).layout.meta["samples"])
    text = listed("figure-1", listing)
    assert "<script>alert" not in text
    assert "<b>evil" not in text
    assert "&lt;b&gt;evil" in text
    assert text.count("data-part=") == len(listing["parts"])
    foreign = listing | {"sprite": {"uri": "x)}</style><script>", "width": 1, "height": 1,
                                    "columns": 1}}  # fmt: skip
    assert "<script>" not in listed("figure-1", foreign)


# -- calibration -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 15), st.booleans(), st.booleans())
def test_bins_are_those_of_scikit_learn(seed, bins, mass, tied):
    rng = np.random.default_rng(seed)
    probability = rng.random(int(rng.integers(2, 200)))
    probability = np.round(probability, 1) if tied else probability
    true = rng.random(len(probability)) < probability
    true[:2] = [True, False]
    found = Bins.of(probability, true, bins, mass=mass)
    there = found.counts > 0
    share, said = calibration_curve(
        true, probability, n_bins=bins, strategy="quantile" if mass else "uniform"
    )
    np.testing.assert_allclose(found.share[there], share)
    np.testing.assert_allclose(found.confidence[there], said)
    weight = found.counts[there] / len(true)
    assert found.error == pytest.approx((weight * np.abs(share - said)).sum())


@given(st.integers(1, 400), st.data())
def test_wilsons_interval_solves_its_equation(count, data):
    hits = data.draw(st.integers(0, count))
    ends = measures.wilson(np.array([hits]), np.array([count]))
    for end in (float(ends[0][0]), float(ends[1][0])):
        # Where the share is Z standard errors, of the end itself, away.
        gap = (hits / count - end) ** 2
        assert gap == pytest.approx(measures.Z**2 * end * (1 - end) / count, abs=1e-9)
    assert np.isnan(measures.wilson(np.array([0]), np.array([0]))[0][0])


def test_calibration_draws_what_came_true():
    found = classifier()
    figure = calibration(found, of=2, bins=5, equal="width")
    share, said = calibration_curve(found.truth == 2, found.scores[:, 2], n_bins=5)
    np.testing.assert_allclose(figure.data[1].x, said, rtol=1e-6)
    np.testing.assert_allclose(figure.data[1].y, share, rtol=1e-6)
    low, high = measures.wilson(*figure.data[1].customdata[:, :2].T)
    np.testing.assert_allclose(figure.data[1].error_y.array, high - share, atol=1e-6)
    np.testing.assert_allclose(figure.data[1].error_y.arrayminus, share - low, atol=1e-6)
    assert figure.data[2].y.sum() == len(found)
    assert "5 bins of equal width" in caption(figure)
    top = calibration(found)
    right, sure = found.predicted == found.truth, found.scores.max(1)
    share, said = calibration_curve(right, sure, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(top.data[1].y, share, rtol=1e-6)
    assert len(calibration(found, of="classes").data) == 5


def test_calibration_wants_probabilities():
    values = classifier(
        units="decision value", scores=np.random.default_rng(0).normal(size=(200, 4))
    )
    with pytest.raises(InputError, match=r"decision values.*CalibratedClassifierCV"):
        calibration(values)
    with pytest.raises(InputError, match="'mass' or 'width'"):
        calibration(classifier(), equal="size")
    with pytest.raises(InputError, match="no class 'bottom'"):
        calibration(classifier(), of="bottom")
    assert "left, since many" in caption(calibration(classifier(scores=np.full((200, 4), 0.25))))


# -- distributions ---------------------------------------------------------------------------


def test_decision_values_are_told_by_class_and_side():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    values = rng.normal(size=300) + 2 * truth - 1
    found = Predictions(scores=np.stack([-values, values], 1), kind="classification",
                        units="decision value", truth=truth, class_names=("no", "yes"))  # fmt: skip
    figure = decision_values(found)
    medians = [t.x[1] for t in figure.data if t.mode == "lines+markers"]
    np.testing.assert_allclose(medians, [np.median(values[truth == k]) for k in (0, 1)], rtol=1e-5)
    said = [a.text for a in figure.layout.annotations if a.yref == "y"]
    shares = [(values[truth == 0] <= 0).mean(), (values[truth == 1] > 0).mean()]
    assert [text.split(" of ")[0] for text in said] == [theme.percent(share) for share in shares]
    assert figure.layout.shapes[0].x0 == 0
    assert "decision value of yes" in figure.layout.xaxis.title.text
    assert decision_values(classifier(classes=2)).layout.shapes[0].x0 == 0.5


def test_the_margin_is_below_zero_where_the_prediction_is_wrong():
    found = classifier()
    said = [a.text for a in decision_values(found).layout.annotations if a.yref == "y"]
    recall = metrics.recall_score(found.truth, found.predicted, average=None)
    assert [text.split(" of ")[0] for text in said] == [theme.percent(share) for share in recall]


def test_the_margin_of_one_class_is_above_zero_where_it_is_predicted():
    found = classifier()
    figure = decision_values(found, label=2)
    said = [a.text for a in figure.layout.annotations if a.yref == "y"]
    chosen = found.predicted == 2
    shares = [(chosen == (k == 2))[found.truth == k].mean() for k in range(4)]
    assert [text.split(" of ")[0] for text in said] == [theme.percent(share) for share in shares]
    others = np.delete(found.scores, 2, axis=1).max(1)
    medians = [t.x[1] for t in figure.data if t.mode == "lines+markers"]
    margin = found.scores[:, 2] - others
    np.testing.assert_allclose(
        medians, [np.median(margin[found.truth == k]) for k in range(4)], rtol=1e-5
    )


def test_confidence_counts_right_above_and_wrong_below():
    found = classifier()
    above, below = confidence(found, bins=7).data
    right = found.predicted == found.truth
    assert above.y.sum() == right.sum()
    assert below.y.sum() == -(~right).sum()
    edges = np.append(above.customdata[:, 1], above.customdata[-1, 2])
    np.testing.assert_array_equal(above.y, np.histogram(found.scores.max(1)[right], edges)[0])


def test_residuals_are_the_truth_less_the_prediction():
    found = regression()
    figure = residuals(found)
    left = found.truth - found.scores
    np.testing.assert_allclose(figure.data[0].y, left, rtol=1e-5)
    np.testing.assert_array_equal(figure.data[0].customdata[:, 0], np.arange(300))
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert bars.y.sum() == 300
    quantiles = figure.data[-1]
    expected, ordered = stats.probplot(left, fit=False)
    np.testing.assert_allclose(quantiles.y, ordered, rtol=1e-5)
    # Another convention for the plotting positions moves them by less than a hundredth.
    np.testing.assert_allclose(quantiles.x, left.mean() + left.std() * expected, atol=0.15)
    assert f"{theme.number(metrics.mean_absolute_error(found.truth, found.scores))}" in caption(
        figure
    )
    assert f"R² {metrics.r2_score(found.truth, found.scores):.3f}" in caption(figure)
    middle = next(
        t for t in figure.data if t.type == "scatter" and "median" in str(t.hovertemplate)
    )
    order = np.argsort(found.scores)
    groups = np.array_split(left[order], 20)
    np.testing.assert_allclose(middle.y, [np.median(group) for group in groups], rtol=1e-5)


def test_many_residuals_are_a_density_and_some_points():
    figure = residuals(regression(201_000))
    assert figure.data[0].type == "heatmap"
    assert int(np.asarray(figure.data[0].customdata).sum()) == 201_000
    assert len(figure.data[1].x) == 2000
    assert "2,000 of 201,000" in caption(figure)
    assert len(figure.to_json()) < 250_000
    assert residuals(regression(6000)).data[0].type == "scattergl"


def test_values_that_are_missing_are_left_out_and_said():
    found = regression(50)
    broken = dataclasses.replace(found, truth=np.where(np.arange(50) < 3, np.nan, found.truth))
    figure = residuals(broken)
    assert len(figure.data[0].x) == 47
    assert "left out: 3 samples" in caption(figure)
    with pytest.raises(InputError, match="no sample has both"):
        residuals(dataclasses.replace(found, truth=np.full(50, np.nan)))
    both = dataclasses.replace(
        found, scores=np.stack([found.scores] * 2, 1), truth=np.stack([found.truth] * 2, 1)
    )
    assert "output 1" in residuals(both, output=1).layout.title.text
    with pytest.raises(InputError, match="one of 2 outputs"):
        residuals(both, output=2)


# -- galleries -------------------------------------------------------------------------------


def shown(figure):
    """The ids of the samples, in the order in which they are drawn."""
    data = next(t.customdata for t in figure.data if t.customdata is not None)
    return [row[0][0] if isinstance(row[0], list) else row[0] for row in data]


def test_a_gallery_is_in_the_order_that_it_says():
    found = classifier(inputs=np.zeros((200, 5, 5)))
    others = np.where(np.eye(4, dtype=bool)[found.truth], -1, found.scores).max(1)
    margin = found.scores[np.arange(200), found.truth] - others
    sure = found.scores.max(1)
    orders = {"worst": margin, "most confident": -sure, "least confident": sure}
    for order, by in orders.items():
        figure = prediction_gallery(found, order=order, count=7)
        assert shown(figure) == np.argsort(by, kind="stable")[:7].tolist()
        assert "7 of 200 samples" in caption(figure)
    values = regression(30)
    with pytest.raises(InputError, match="nothing to show"):
        prediction_gallery(values)
    rows = prediction_gallery(dataclasses.replace(values, inputs=np.ones((30, 2))), count=5)
    expected = np.argsort(-np.abs(values.truth - values.scores), kind="stable")[:5]
    assert shown(rows) == expected.tolist()


def test_pictures_are_one_image_of_bounded_size():
    big = (np.random.default_rng(0).random((200, 224, 224, 3)) * 255).astype(np.uint8)
    figure = prediction_gallery(classifier(inputs=big), count=18)
    assert [trace.type for trace in figure.data] == ["image", "scatter", "scatter"]
    assert len(figure.to_json()) < 1_500_000
    assert "mean of 2 x 2" in caption(figure)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([4, 16, 48]))
def test_sized_pictures_keep_their_mean(tall, wide, side):
    pixels = np.full((2, tall, wide), 77, np.uint8)
    found, _ = samples.sized(pixels, side)
    assert max(found.shape[1:]) <= max(side, 1.5 * side)
    assert (found == 77).all()


def test_texts_tables_and_bare_scores_are_rows():
    texts = np.array([f"<i>text</i> {i} " + "word " * i for i in range(200)])
    figure = prediction_gallery(classifier(inputs=texts), count=3)
    assert all("<i>" not in text for text in figure.data[0].text)
    table = np.random.default_rng(0).normal(size=(200, 30))
    table[:, 4] = np.nan
    names = tuple(f"feature {k} <b>" for k in range(30))
    figure = prediction_gallery(classifier(inputs=table, feature_names=names), count=3)
    assert "features of 30 in which these samples are least like" in caption(figure)
    assert "<b>" not in "".join(figure.layout.xaxis.ticktext)
    mixed = np.array([["1", "Ulm"]] * 200)
    assert not prediction_gallery(classifier(inputs=mixed), count=3).data[0].showscale
    assert "scores of the classes" in caption(prediction_gallery(classifier(), count=3))


# -- all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(OF_CLASSES))
def test_what_is_needed_is_said(name):
    draw = OF_CLASSES[name]
    with pytest.raises(InputError, match=r"truth.*pellucid\.predict\(model, inputs, targets\)"):
        draw(classifier(truth=None))
    with pytest.raises(InputTypeError, match="Predictions"):
        draw(np.ones((3, 2)))
    with pytest.raises(InputError, match="no sample has scores that are all finite"):
        draw(classifier(scores=np.full((200, 4), np.nan)))
    with pytest.raises(InputError, match="no theme"):
        draw(classifier(), theme="blue")
    if name != "prediction_gallery":
        with pytest.raises(InputError, match=r"draws a classification.*viz\.residuals"):
            draw(regression())


def test_residuals_are_of_values():
    with pytest.raises(InputError, match=r"draws a regression.*viz\.confusion_matrix"):
        residuals(classifier())


@pytest.mark.parametrize("name", list(OF_CLASSES))
def test_figures_have_sizes_titles_and_no_markup_of_others(name):
    draw = OF_CLASSES[name]
    figure = draw(classifier(class_names=EVIL, name="<b>evil</b> model"), width=600, height=500)
    assert (figure.layout.width, figure.layout.height) == (600, 500)
    drawn = json.dumps(json.loads(figure.to_json())["data"]) + str(figure.layout.title.text)
    drawn += "".join(str(t) for t in (figure.layout.xaxis.ticktext or ()))
    drawn += "".join(str(t) for t in (figure.layout.yaxis.ticktext or ()))
    assert "<b>evil" not in drawn
    assert "%{y}" not in drawn.replace("%{y:", "").replace("<br>came true: %{y", "")
    assert draw(classifier(), title="Mine", theme="dark").layout.title.text == "Mine"


@pytest.mark.parametrize("name", [n for n in OF_CLASSES if n not in ("roc", "precision_recall")])
def test_one_sample_constant_scores_and_gaps(name):
    draw = OF_CLASSES[name]
    assert draw(classifier(samples=1)) is not None
    assert draw(classifier(scores=np.full((200, 4), 0.25))) is not None
    gaps = classifier()
    gaps.scores[:5, 2] = np.nan
    assert "left out: 5 samples whose scores are not finite" in caption(draw(gaps))


# -- in a browser, of real models ------------------------------------------------------------


@pytest.fixture
def real():
    """Predictions of a network of pictures, one of a table, an SVM, an MLP and trees."""
    torch.manual_seed(0)
    found = {}

    def train(model, data):
        x, y = data.torch()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(25):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return model

    part, test = pl.datasets.load_digits().split(0.2)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 10)
    )
    found["digits"] = predict(train(net, part), test)
    part, test = pl.datasets.load_wine().split(0.5)
    scaled, test = part.standardized(), test.standardized(like=part)
    net = torch.nn.Sequential(torch.nn.Linear(13, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    found["wine"] = predict(train(net, scaled), test)
    part, test = pl.datasets.load_breast_cancer().split(0.5)
    found["svm"] = predict(SVC().fit(part.inputs, part.targets), test)
    scaled, test = part.standardized(), test.standardized(like=part)
    network = MLPClassifier((8,), max_iter=40, random_state=0)
    found["mlp"] = predict(network.fit(scaled.inputs, scaled.targets), test)
    part, test = pl.datasets.load_diabetes().split(0.5)
    trees = GradientBoostingRegressor(n_estimators=20).fit(part.inputs, part.targets)
    found["trees"] = predict(trees, test)
    return found


CUT_OFF = """() => [...document.querySelectorAll(".plot")].flatMap(plot => {
    const box = plot.querySelector(".main-svg").getBoundingClientRect();
    return [...plot.querySelectorAll(".main-svg text")].filter(t => {
        const own = t.getBoundingClientRect();
        return t.textContent && own.width && (own.left < box.left - 1 || own.right > box.right + 1
            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
    }).map(t => `${plot.id}: ${t.textContent}`);
})"""


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_no_text_is_cut_off_and_nothing_goes_wrong(browser, tmp_path, real):
    evil = classifier(class_names=EVIL, name="a model with a <b>very</b> long name, as some have")
    wide, narrow = {"theme": "light"}, {"theme": "dark", "width": 430}
    drawn = [
        confusion_matrix(real["digits"], **wide),
        confusion_matrix(evil, **narrow),
        confusion_matrix(classifier(samples=500, classes=35), **narrow),
        prediction_gallery(real["digits"], count=4, **narrow),
        prediction_gallery(real["wine"], count=3, **wide),
        prediction_gallery(real["trees"], count=3, **narrow),
        prediction_gallery(evil, order="least confident", count=3, **wide),
        roc(real["digits"], **narrow),
        roc(evil, **wide),
        precision_recall(evil, **narrow),
        precision_recall(real["svm"], **wide),
        calibration(real["mlp"], **narrow),
        calibration(evil, of="classes", **wide),
        decision_values(real["svm"], **wide),
        decision_values(evil, **narrow),
        confidence(real["digits"], **narrow),
        residuals(real["trees"], **wide),
        residuals(real["trees"], **narrow),
    ]
    path = pl.report({f"{k}": one for k, one in enumerate(drawn)}, tmp_path / "a.html")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(path.as_uri())
    page.wait_for_selector("[data-drawn]")
    tall = page.evaluate("document.body.scrollHeight")
    page.set_viewport_size({"width": 1000, "height": tall})
    page.wait_for_function(
        f"document.querySelectorAll('[data-drawn] .gtitle').length === {len(drawn)}"
    )
    page.wait_for_timeout(300)
    assert page.evaluate(CUT_OFF) == []
    marks = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => plot.querySelectorAll("
        "'.hm image, .im image, .point, .points path, .js-line, .textpoint').length)"
    )
    assert all(marks), marks
    page.close()
    assert problems == []
