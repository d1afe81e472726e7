"""Clusters that explain themselves: against SciPy and scikit-learn, and on clouds that have none."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.cluster import HDBSCAN
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.preprocessing import StandardScaler

import pellucid as pl
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.projection.clusters import _Moments as Moments
from pellucid.interpret.projection.clusters import explain_clusters
from pellucid.interpret.projection.gaps import find_gap, folds_of, intervals
from pellucid.interpret.projection.probe import STRENGTH, accuracies
from pellucid.interpret.results import Explanation, Projection
from pellucid.viz.projection.clusters import clusters as draw


def on_map(places, **changes):
    """A map of which only the places matter."""
    n = len(places)
    fields = {
        "coordinates": np.asarray(places, np.float32),
        "method": "umap",
        "neighbors": 5,
        "preservation": np.ones(n),
        "trustworthiness": np.ones(n),
        "features": 3,
    }
    return Projection(**{**fields, **changes})


def mixture(seed=0, n=300, d=8, apart=6.0, k=3):
    """Normal clouds, each around an axis, on a map that shows them."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % k
    features = rng.normal(size=(n, d)) + apart * np.eye(k, d)[label]
    return features, on_map(features[:, :2]), label


def explained(*args, **options):
    features, projection, label = mixture(*args)
    return features, label, explain_clusters(projection, features, labels=label, **options)


# -- differences -----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(6, 40), d=st.integers(1, 5), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 99)
)
def test_differences_are_cohens_and_their_margins_hold_together(n, d, offset, seed):
    rng = np.random.default_rng(seed)
    table = (rng.normal(size=(n, d)) * np.arange(1, d + 1) + offset).astype(np.float32)
    members = np.sort(rng.permutation(n)[: rng.integers(3, n - 2)])
    difference, margin = Moments(table).standardized(members)
    rest = np.setdiff1d(np.arange(n), members)
    a, b = table[members].astype(np.float64), table[rest].astype(np.float64)
    # Student's t is Cohen's d times a factor of the sizes.
    t = stats.ttest_ind(a, b).statistic
    expected = t * np.sqrt(1 / len(a) + 1 / len(b))
    np.testing.assert_allclose(difference, expected, rtol=1e-5, atol=1e-9)
    error = np.sqrt((n / len(a)) / len(b) + expected**2 / (2 * n))
    np.testing.assert_allclose(margin, stats.norm.ppf(1 - 0.025 / d) * error, rtol=1e-5)


def test_all_margins_of_a_cluster_hold_together_in_19_of_20():
    truth = np.linspace(0, 2, 6)
    held = []
    for seed in range(400):
        table = np.random.default_rng(seed).normal(size=(120, 6))
        table[:60] += truth
        difference, margin = Moments(table).standardized(np.arange(60))
        held.append((np.abs(difference - truth) <= margin).all())
    assert 0.92 < np.mean(held) < 0.99


def test_attributions_are_compared_with_welchs_interval():
    features, projection, label = mixture()
    rng = np.random.default_rng(1)
    values = rng.normal(size=features.shape) * (1 + label[:, None]) + label[:, None]
    explanation = Explanation(values=values, method="m", axes=("sample", "feature"))
    result = explain_clusters(projection, features, labels=label, explanation=explanation)
    a, b = values[label == 1], values[label != 1]
    welch = stats.ttest_ind(a, b, equal_var=False)
    one = result.clusters[1]
    np.testing.assert_allclose(one.attribution, a.mean(0) - b.mean(0))
    error = (a.mean(0) - b.mean(0)) / welch.statistic
    np.testing.assert_allclose(
        one.attribution_margin, stats.norm.ppf(1 - 0.025 / 8) * np.abs(error), rtol=1e-9
    )


def test_what_does_not_vary_has_no_difference_and_comes_last():
    features, projection, label = mixture()
    features[:, 5] = 0.1
    features[:, 6] = label == 0
    result = explain_clusters(projection, features, labels=label)
    one = result.clusters[0]
    assert np.isnan(one.difference[5])
    assert one.difference[6] == np.inf
    assert one.order()[0] == 6
    assert one.order()[-1] == 5
    assert "probe" in result.summary()


# -- members ---------------------------------------------------------------------------------


def test_typical_members_are_medoids_and_purities_are_counted():
    features, label, result = explained(typical=4)
    for k, one in enumerate(result.clusters):
        mine = np.flatnonzero(label == k)
        np.testing.assert_array_equal(one.members, mine)
        order = mine[cdist(features[mine], features[mine]).mean(1).argsort()]
        np.testing.assert_array_equal(one.typical, order[:4])
        np.testing.assert_array_equal(one.atypical, order[::-1][:4])
        for space, share in ((features, one.purity), (result.coordinates, one.map_purity)):
            far = cdist(space[mine], space)
            far[np.arange(len(mine)), mine] = np.inf
            near = far.argsort(axis=1)[:, :5]
            assert share == pytest.approx((label[near] == k).mean(), abs=2e-3)


# -- the probe -------------------------------------------------------------------------------


def test_the_probe_is_scikit_learns_logistic_regression():
    features, _, label = mixture(apart=2.0)
    scaled = StandardScaler().fit_transform(features).astype(np.float32)
    found = accuracies(scaled, label == 0, np.random.default_rng(3))
    fold = folds_of(label == 0, np.random.default_rng(3))
    probe = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=200, tol=1e-3)
    theirs = cross_val_score(
        probe, scaled, label == 0, cv=PredefinedSplit(fold), scoring="balanced_accuracy"
    )
    np.testing.assert_allclose(found, theirs)


def test_every_fold_has_its_share_of_both_sides():
    inside = np.arange(101) < 23
    fold = folds_of(inside, np.random.default_rng(0))
    for side in (inside, ~inside):
        counts = np.bincount(fold[side], minlength=5)
        assert counts.max() - counts.min() <= 1


# -- real, or the map's doing ----------------------------------------------------------------


def test_clouds_of_a_mixture_are_real():
    for seed in range(2):
        _, _, result = explained(seed, 450)
        assert [one.verdict for one in result.clusters] == ["real"] * 3
        assert min(one.gap for one in result.clusters) > 0.5
        assert min(one.accuracy for one in result.clusters) > 0.95


@pytest.mark.parametrize("cut", ["half", "slab", "corner", "hdbscan"])
def test_slices_of_one_cloud_are_not(cut):
    for seed in range(1 if cut == "hdbscan" else 3):
        rng = np.random.default_rng(seed)
        cloud = rng.normal(size=(800, 10)) * np.linspace(1, 0.3, 10)
        along = cloud @ rng.normal(size=10)
        if cut == "hdbscan":
            torn = pl.project(cloud.astype(np.float32), method="umap", seed=seed).coordinates
            label = HDBSCAN(min_cluster_size=50, copy=True).fit_predict(torn.astype(float))
            parts = [label == k for k in range(label.max() + 1)] or [torn[:, 0] > 0]
        else:
            parts = {
                "half": [along > np.median(along)],
                "slab": [np.abs(along - np.median(along)) < 0.5 * along.std()],
                "corner": [(cloud[:, 0] > 0) & (cloud[:, 1] > 0)],
            }[cut]
        for mask in parts[:2]:
            gap = find_gap(cloud / cloud.std(0), mask, np.random.default_rng(seed))
            assert not gap.p_value < 0.5, (cut, seed, gap)


def test_a_slice_can_be_told_by_the_probe_and_is_never_called_real_all_the_same():
    verdicts = []
    for seed in range(6):
        cloud = np.random.default_rng(seed).normal(size=(900, 5))
        result = explain_clusters(on_map(cloud[:, :2]), cloud, select=cloud[:, 0] > 0)
        one = result.clusters[0]
        assert one.accuracy > 0.95
        assert one.purity < one.map_purity
        assert ("artefact of the map" in one.sentence) == (one.verdict == "artefact")
        verdicts.append(one.verdict)
    assert "real" not in verdicts
    assert "artefact" in verdicts


def test_half_of_a_ring_is_no_cluster_though_its_shadow_has_two_peaks():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 1200)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    gap = find_gap(ring / ring.std(0), angle < np.pi, np.random.default_rng(0))
    assert gap.p_value >= 0.5


def test_noise_that_is_left_out_of_the_clusters_makes_no_gap():
    rng = np.random.default_rng(1)
    cloud = rng.normal(size=(1200, 6))
    label = np.where(cloud[:, 0] > 0.4, 0, np.where(cloud[:, 0] < -0.4, 1, -1))
    result = explain_clusters(on_map(cloud[:, :2]), cloud, labels=label)
    assert [one.verdict for one in result.clusters] == ["artefact", "artefact"]
    np.testing.assert_array_equal(result.assigned(), label)


def test_a_border_is_chosen_between_two_peaks():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(-3, 1, 500), rng.normal(3, 1, 500)])
    (low, border, high), width = intervals(scores, np.arange(1000) >= 500)
    assert -4.5 < low < -1.5 < border < 1.5 < high < 4.5
    assert width > 0
    assert intervals(scores, np.arange(1000) < 500) is None


def test_few_samples_are_never_called_an_artefact():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(200, 4))
    order = cloud[:, 0].argsort()
    for size in (3, 9, 30):
        result = explain_clusters(on_map(cloud[:, :2]), cloud, select=order[-size:])
        assert result.clusters[0].verdict == "uncertain"
        assert "few" in result.clusters[0].sentence
        assert str(size) in result.summary()


# -- what is given, and what comes back ------------------------------------------------------


def test_a_selection_is_a_mask_or_ids_or_positions():
    features, projection, label = mixture()
    mask = label == 2
    places = np.flatnonzero(mask)
    texts = np.array([f"id {i}" for i in range(len(mask))])
    numbers = np.arange(len(mask)) + 1000
    named = dataclasses.replace(projection, sample_ids=texts)
    numbered = dataclasses.replace(projection, sample_ids=numbers)
    for one, chosen in (
        (projection, mask),
        (projection, places),
        (named, texts[mask]),
        (named, places),
        (named, texts[mask].tolist()),
        (numbered, numbers[mask]),
    ):
        found = explain_clusters(one, features, select=chosen)
        np.testing.assert_array_equal(found.clusters[0].members, places)
        assert found.method == "selection"


def test_clusters_are_found_on_the_map_and_named_by_their_size():
    features, projection, label = mixture(n=300)
    label = np.where(np.arange(300) < 60, label, 0)
    features = np.random.default_rng(0).normal(size=features.shape) + 9 * np.eye(3, 8)[label]
    result = explain_clusters(on_map(features[:, 1:3] @ [[1, 2], [3, 1]]), features, min_size=10)
    assert [one.name for one in result.clusters] == ["1", "2", "3"]
    assert [len(one) for one in result.clusters] == sorted(map(len, result.clusters), reverse=True)


def test_names_come_from_a_frame_or_the_map():
    features, projection, label = mixture()
    frame = pd.DataFrame(features, columns=list("abcdefgh"))
    assert explain_clusters(projection, frame, labels=label).feature_names == tuple("abcdefgh")
    named = explain_clusters(projection, features, labels=label, feature_names=list("hgfedcba"))
    assert named.feature_names == tuple("hgfedcba")


def test_the_same_seed_gives_the_same_result_and_files_hold_it(tmp_path):
    _, _, first = explained(seed=4)
    _, _, again = explained(seed=4)
    loaded = pl.load(first.save(tmp_path / "clusters.safetensors"))
    for other in (again, loaded):
        pd.testing.assert_frame_equal(first.to_frame(), other.to_frame())
        assert first.summary() == other.summary()
        for a, b in zip(first.clusters, other.clusters, strict=True):
            np.testing.assert_array_equal(a.members, b.members)
            np.testing.assert_array_equal(a.margin, b.margin)


def test_bad_input_is_said_before_the_work():
    features, projection, label = mixture(n=60)
    wrong = [
        ({"select": np.ones(60, bool)}, "leaves no rest"),
        ({"select": [1, 2]}, "at least 3"),
        ({"select": []}, "empty"),
        ({"select": [1, 2, 99]}, "no sample with the id 99"),
        ({"select": np.ones(7, bool)}, "60 samples"),
        ({"labels": np.zeros(60, int)}, "leaves no rest"),
        ({"labels": np.full(60, -1)}, "negative"),
        ({"labels": np.zeros(4, int)}, "60 samples"),
        ({"labels": np.arange(60) // 2, "select": [1, 2, 3]}, "one of both"),
        ({"method": "kmeans"}, "kmeans"),
        ({"min_size": 40}, "smaller min_size"),
        ({"min_size": 1}, "min_size"),
        ({"typical": 0}, "typical"),
        ({"seed": -1}, "seed"),
        ({"feature_names": ["a"]}, "feature_names"),
        ({"explanation": Explanation(values=np.zeros((3, 8)), method="m")}, "60 samples"),
    ]
    for options, said in wrong:
        with pytest.raises((InputError, InputTypeError), match=said):
            explain_clusters(projection, features, **options)
    with pytest.raises(InputTypeError, match="whole numbers or names"):
        explain_clusters(projection, features, labels=np.linspace(0, 1, 60))
    with pytest.raises(InputError, match="not finite|NaN|finite"):
        explain_clusters(projection, np.where(features > 5, np.nan, features), labels=label)
    with pytest.raises(InputError, match="same samples"):
        explain_clusters(projection, features[:50], labels=label)
    with pytest.raises(InputTypeError, match="Projection"):
        explain_clusters(features, features, labels=label)
    with pytest.raises(InputError, match="no clusters|no rest"):
        explain_clusters(on_map(np.tile(np.arange(60.0)[:, None], 2)), features, min_size=20)


# -- the figure ------------------------------------------------------------------------------


def test_the_figure_draws_every_difference_with_its_interval_and_says_the_verdict():
    _, _, result = explained(0, 450)
    figure = draw(result, top=2)
    drawn = [trace for trace in figure.data if trace.xaxis == "x2"]
    for one, trace in zip(result.clusters, drawn, strict=True):
        first = one.order()[:2]
        np.testing.assert_allclose(trace.x, one.difference[first], rtol=1e-6)
        np.testing.assert_allclose(trace.error_x.array, one.margin[first], rtol=1e-6)
    texts = " ".join(a.text for a in figure.layout.annotations)
    assert texts.count("✓ real") == 3 + 1  # each cluster's, and the caption
    points = [trace for trace in figure.data if trace.xaxis != "x2"]
    assert sorted(np.concatenate([t.customdata[:, 0] for t in points])) == list(range(450))
    assert figure.layout.meta["caption"]["text"].startswith(result.trust)


def test_the_figure_escapes_names_shows_pictures_and_the_maps_trust():
    features, projection, label = mixture()
    names = [f"<b>evil</b> {i}" for i in range(8)]
    shown = dataclasses.replace(projection, display=np.random.default_rng(0).random((300, 4, 5)))
    kinds = np.array(["<i>a</i>", "b", "c"])[label]
    values = np.random.default_rng(0).normal(size=features.shape)
    explanation = Explanation(values=values, method="m", axes=("sample", "feature"))
    result = explain_clusters(
        projection, features, labels=kinds, feature_names=names, explanation=explanation
    )
    for width in (420, 1280):
        figure = draw(result, shown, of="attribution", width=width, theme="dark", most=2)
        assert "<b>evil" not in figure.to_json().replace("\\u003c", "<")
        assert "<i>a" not in figure.to_json().replace("\\u003c", "<")
        assert len(figure.layout.images) == 2
        assert shown.trust() in figure.layout.meta["caption"]["text"]
        assert "1 more clusters" in figure.layout.meta["caption"]["text"]


def test_the_figure_says_what_it_cannot_draw():
    features, projection, label = mixture()
    features[:, 6] = label == 0
    result = explain_clusters(projection, features, labels=label)
    assert "vary on neither side" in draw(result).layout.meta["caption"]["text"]
    with pytest.raises(InputError, match="no attributions"):
        draw(result, of="attribution")
    with pytest.raises(InputError, match="of is"):
        draw(result, of="size")
    with pytest.raises(InputError, match="299 samples"):
        draw(result, projection[:299])
    with pytest.raises(InputTypeError, match="Clusters"):
        draw(projection)
    with pytest.raises(InputError, match="no clusters"):
        draw(dataclasses.replace(result, clusters=()))
