"""UMAP, t-SNE and PCA: held to umap-learn, scikit-learn and closed forms."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from sklearn import manifold
from sklearn.base import clone
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import make_pipeline

import pellucid as pl
from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.projection import pca as pca_module
from pellucid.interpret.projection.fuzzy import fuzzy_graph, memberships
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.pca import PCA
from pellucid.interpret.projection.relax import Curve
from pellucid.interpret.projection.space import Space
from pellucid.interpret.projection.stability import aligned
from pellucid.interpret.projection.tsne import TSNE, affinities
from pellucid.interpret.projection.umap import UMAP


@pytest.fixture(scope="module")
def digits():
    data = pl.datasets.load_digits()
    return data.inputs.reshape(len(data), -1).astype(np.float64), data.targets


@pytest.fixture(scope="module")
def ours(digits):
    return UMAP().fit(digits[0])


def kept(features, places, k=15):
    """The share of the nearest neighbours that a map keeps."""
    there, here = (
        NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
        for points in (features, places)
    )
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(there, here, strict=True)])


# -- UMAP ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("umap")


def test_the_graph_is_that_of_umap_learn(digits, reference):
    x = digits[0][:400].astype(np.float32)
    found = nearest(Space(torch.from_numpy(x)), 14)
    graph = fuzzy_graph(found, 15)
    full = np.zeros((400, 400))
    full[graph.heads.numpy(), graph.columns.numpy()] = graph.weights.numpy()
    own = np.arange(400)[:, None]
    theirs, *_ = reference.umap_.fuzzy_simplicial_set(
        x,
        15,
        np.random.RandomState(0),
        "euclidean",
        knn_indices=np.concatenate([own, found.indices.numpy()], 1).astype(np.int32),
        knn_dists=np.concatenate([0 * own, found.distances.numpy()], 1).astype(np.float32),
    )
    np.testing.assert_allclose(full, theirs.toarray(), atol=2e-4)
    np.testing.assert_allclose(full, full.T, atol=1e-6)


@pytest.mark.parametrize(("min_dist", "spread"), [(0.1, 1.0), (0.0, 1.0), (0.5, 2.0)])
def test_the_curve_is_that_of_umap_learn(reference, min_dist, spread):
    ours = Curve.fitted(min_dist, spread)
    assert (ours.a, ours.b) == pytest.approx(reference.umap_.find_ab_params(spread, min_dist))


def test_digits_are_kept_as_well_as_by_umap_learn(digits, ours, reference):
    x = digits[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reference.UMAP(random_state=0, n_jobs=1, n_epochs=200).fit_transform(x)
    trust = [manifold.trustworthiness(x, y, n_neighbors=15) for y in (ours.embedding_, theirs)]
    assert trust[0] > trust[1] - 0.005
    assert kept(x, ours.embedding_) > kept(x, theirs) - 0.02


def test_seeds_change_little_and_one_seed_nothing(digits, ours):
    again, other = (UMAP(random_state=seed).fit(digits[0]).embedding_ for seed in (0, 1))
    np.testing.assert_array_equal(again, ours.embedding_)
    assert 0 < procrustes(ours.embedding_, other)[2] < 0.02


def test_a_hub_throws_no_point_off_the_map():
    rng = np.random.default_rng(0)
    far = rng.normal(size=(3000, 50)) * rng.exponential(size=(3000, 1))
    hub = UMAP(epochs=60).fit(np.concatenate([far, rng.normal(size=(200, 50)) * 0.01]))
    assert hub.graph_.rows.diff().max() > 150
    radius = np.linalg.norm(hub.embedding_ - hub.embedding_.mean(0), axis=1)
    assert radius.max() / np.quantile(radius, 0.99) < 1.2


@pytest.mark.slow
def test_beside_a_hub_as_many_neighbours_are_kept_as_by_umap_learn(reference):
    rng = np.random.default_rng(0)
    far = rng.normal(size=(1400, 50)) * rng.exponential(size=(1400, 1))
    x = np.concatenate([far, rng.normal(size=(100, 50)) * 0.01])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reference.UMAP(random_state=0, n_jobs=1).fit_transform(x)
    assert kept(x, UMAP().fit(x).embedding_) >= kept(x, theirs)


def test_where_a_new_point_goes_does_not_depend_on_the_others(digits):
    x, y = digits
    made = UMAP().fit(x[:1400])
    new = made.transform(x[1400:])
    for part in ([0], [5, 7], list(range(260)), list(range(390))[::-1]):
        np.testing.assert_array_equal(made.transform(x[1400:][part]), new[part])
    right = KNeighborsClassifier(5).fit(made.embedding_, y[:1400]).score(new, y[1400:])
    assert right > 0.93
    assert made.outlying(x[1400:]).max() < 2
    assert made.outlying(5 * x[1400:1410]).min() > 3
    with pytest.warns(UserWarning, match="3 of 5 new samples are far") as told:
        made.transform(np.concatenate([5 * x[:3], x[1400:1402]]))
    assert told[0].filename == __file__


def test_places_between_samples_have_features_between_theirs():
    # A sheet in twelve dimensions: what lies between its points is known.
    rng = np.random.default_rng(0)
    sheet = rng.uniform(-1, 1, size=(1500, 2))
    turned = np.linalg.qr(rng.normal(size=(12, 12)))[0][:2]
    made = UMAP(n_neighbors=30).fit(sheet @ turned)
    new = rng.uniform(-0.8, 0.8, size=(200, 2)) @ turned
    back = made.inverse_transform(made.transform(new))
    assert back.shape == new.shape
    off = np.sqrt(((back - new) ** 2).sum(1).mean())
    assert off < 0.1 * np.sqrt((new**2).sum(1).mean())
    # One place at a time, or all: the same, and never beyond the samples.
    np.testing.assert_allclose(made.inverse_transform(made.transform(new[3:4]))[0], back[3], 1e-4)
    far = made.inverse_transform([[1e4, 1e4]])
    known = sheet @ turned
    assert ((far >= known.min(0) - 1e-6) & (far <= known.max(0) + 1e-6)).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_map_keeps_to_the_samples_that_it_was_made_of(digits, metric):
    x = digits[0][:300].copy()
    made = UMAP(metric=metric, epochs=20).fit(x)
    new = digits[0][300:310]
    before = made.transform(new), made.inverse_transform(made.embedding_[:5])
    x *= 0
    np.testing.assert_array_equal(made.transform(new), before[0])
    np.testing.assert_array_equal(made.inverse_transform(made.embedding_[:5]), before[1])
    near = digits[0][:300][made.neighbors_.indices[:5]].mean(1)
    assert np.abs(before[1] - near).mean() < 0.1 * np.abs(near).max()


def test_half_precision_and_another_default_are_no_matter(digits):
    x = torch.from_numpy(digits[0][:200])
    half = UMAP(epochs=20).fit(x.bfloat16())
    assert half.transform(x[:3].bfloat16()).dtype == np.float32
    assert half.inverse_transform(half.embedding_[:3]).dtype == np.float32
    plain = UMAP(epochs=20).fit(x).embedding_
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(UMAP(epochs=20).fit(x).embedding_, plain)
    finally:
        torch.set_default_dtype(torch.float32)


def test_copies_do_not_make_all_others_strangers():
    x = np.random.default_rng(0).normal(size=(60, 4))
    made = UMAP(epochs=20).fit(np.concatenate([np.repeat(x[:10], 30, axis=0), x[10:40]]))
    assert made.outlying(x[40:]).max() < 3


def test_labels_shape_the_map_where_they_are_known(digits):
    x, y = digits[0][:600], digits[1][:600]

    def purity(places):
        return KNeighborsClassifier(5).fit(places, y).score(places, y)

    half = y.copy()
    half[::2] = -1
    plain, some, all_ = (UMAP().fit(x, labels).embedding_ for labels in (None, half, y))
    assert purity(all_) > 0.995
    assert purity(all_) >= purity(some) >= purity(plain)
    np.testing.assert_array_equal(UMAP(target_weight=0.5).fit(x, y.astype(str)).embedding_, all_)


def test_an_anchored_map_stays_near_the_earlier_one(digits):
    x = digits[0][:500]
    before = UMAP().fit(x).embedding_
    moved = x + np.random.default_rng(0).normal(scale=0.03, size=x.shape)
    free = UMAP(random_state=5).fit(moved).embedding_
    held = UMAP(random_state=5).fit(moved, near=before, strength=0.3).embedding_
    apart = np.abs(held - before).mean()
    assert apart < 0.7 * np.abs(free - before).mean()
    assert apart < 0.1 * np.abs(before).max()
    some = before.copy()
    some[:100] = np.nan
    assert np.isfinite(UMAP().fit(moved, near=some).embedding_).all()


@given(
    n=st.integers(20, 40), width=st.integers(1, 5), kind=st.integers(0, 3), seed=st.integers(0, 99)
)
@settings(max_examples=25)
def test_awkward_points_have_a_finite_map(n, width, kind, seed):
    x = np.random.default_rng(seed).normal(size=(n, width))
    if kind == 1:
        x[: n // 2] = x[0]  # copies
    if kind == 2:
        x[: n // 2] += 1e6  # two groups that no edge joins
    if kind == 3:
        x[:, 0] = 3.0  # a constant column
    places = UMAP(n_neighbors=5, epochs=20).fit_transform(x)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()


def test_widths_add_up_to_the_logarithm_of_the_neighbours():
    distances = torch.rand(50, 14, generator=torch.Generator().manual_seed(0)).sort(1).values
    held, first, _ = memberships(distances, 15)
    torch.testing.assert_close(held.sum(1), torch.full((50,), np.log2(15)), atol=1e-3, rtol=0)
    assert torch.equal(first, distances[:, 0])
    assert (held[:, 0] == 1).all()


# -- t-SNE -----------------------------------------------------------------------------------


def test_affinities_are_those_of_scikit_learn(digits):
    from sklearn.manifold._t_sne import _joint_probabilities

    # With all others as neighbours, the sparse affinities are the dense ones.
    x = digits[0][:120] + np.random.default_rng(0).normal(scale=1e-3, size=(120, 64))
    found = nearest(Space(torch.from_numpy(x)), 119)
    graph = affinities(found, 20.0)
    full = np.zeros((120, 120))
    full[graph.heads.numpy(), graph.columns.numpy()] = graph.weights.numpy()
    squares = ((x[:, None] - x[None]) ** 2).sum(2).astype(np.float32)
    theirs = _joint_probabilities(squares, 20.0, 0)
    np.testing.assert_allclose(full[np.triu_indices(120, 1)], theirs, atol=1e-7, rtol=1e-3)
    assert graph.weights.sum() == pytest.approx(1, abs=1e-5)


def test_tsne_reaches_the_divergence_of_scikit_learn(digits):
    x = digits[0][:300]
    found = TSNE().fit(x)
    theirs = manifold.TSNE(init="pca", random_state=0).fit(x)  # the same neighbours pull
    assert found.backend_ == "torch"
    assert found.kl_divergence_ < theirs.kl_divergence_ * 1.02
    ours, reference = (
        manifold.trustworthiness(x, y, n_neighbors=15)
        for y in (found.embedding_, theirs.embedding_)
    )
    assert ours > reference - 0.005
    np.testing.assert_array_equal(TSNE().fit_transform(x), found.embedding_)


def test_other_programs_make_the_map_where_they_are_asked_for(digits):
    x = digits[0][:300]
    assert TSNE(backend="scikit-learn").fit(x).kl_divergence_ > 0
    try:
        import openTSNE  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pip install openTSNE"):
            TSNE(backend="openTSNE").fit(x)


# -- PCA -------------------------------------------------------------------------------------


@given(n=st.integers(4, 30), width=st.integers(2, 30), seed=st.integers(0, 2**31))
@settings(max_examples=30)
def test_pca_is_that_of_scikit_learn_in_every_way_to_compute_it(n, width, seed):
    x = np.random.default_rng(seed).normal(size=(n, width)) * np.arange(1, width + 1)
    k = min(2, n - 1, width)
    theirs = SklearnPCA(k, svd_solver="full").fit(x)
    before = pca_module._SMALL
    for small in (before, 3):  # 3: the randomized search
        pca_module._SMALL = small
        try:
            found = PCA(k).fit(x)
        finally:
            pca_module._SMALL = before
        np.testing.assert_allclose(found.explained_variance_, theirs.explained_variance_, rtol=1e-4)
        np.testing.assert_allclose(
            found.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-5
        )
        back = found.inverse_transform(found.transform(x))
        np.testing.assert_allclose(
            back, theirs.inverse_transform(theirs.transform(x)), atol=1e-3 * np.abs(x).max()
        )


@pytest.mark.parametrize("falls", [0.0, 0.3, 1.0])
def test_the_randomized_search_finds_what_a_full_one_finds(falls, monkeypatch):
    # More directions than the search holds, of a spectrum that falls or does not.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 400)) * np.arange(1, 401) ** -falls
    theirs = SklearnPCA(3, svd_solver="full").fit(x)
    monkeypatch.setattr(pca_module, "_SMALL", 100)
    found = PCA(3).fit(x)
    captured = ((x - x.mean(0)) @ found.components_.T).var(0, ddof=1).sum()
    assert captured == pytest.approx(theirs.explained_variance_.sum(), rel=1e-4)


def test_sums_in_single_precision_capture_the_same_variance(digits, monkeypatch):
    x = digits[0] + 100
    theirs = SklearnPCA(5, svd_solver="full").fit(x)
    monkeypatch.setattr(pca_module, "_EXACT", 0)
    found = PCA(5).fit(x.astype(np.float32))
    np.testing.assert_allclose(found.explained_variance_, theirs.explained_variance_, rtol=1e-4)
    captured = ((x - x.mean(0)) @ found.components_.T).var(0, ddof=1)
    np.testing.assert_allclose(captured, theirs.explained_variance_, rtol=1e-4)


def test_what_large_numbers_have_in_common_costs_no_digits(monkeypatch):
    x = 1e5 + 1e-3 * np.random.default_rng(0).normal(size=(500, 20)) * np.arange(1, 21)
    theirs = SklearnPCA(3, svd_solver="full").fit(x)
    monkeypatch.setattr(pca_module, "_EXACT", 0)
    found = PCA(3).fit(x)
    np.testing.assert_allclose(found.explained_variance_, theirs.explained_variance_, rtol=1e-4)


def test_pca_of_parts_is_that_of_all(digits):
    x = digits[0] + 1000
    whole = PCA(5).fit(x)
    parts = PCA(5)
    for part in np.array_split(x, 7):
        parts.partial_fit(part)
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-5)
    np.testing.assert_allclose(parts.explained_variance_, whole.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(parts.transform(x), whole.transform(x), atol=1e-2)


# -- scikit-learn's interface ----------------------------------------------------------------


@pytest.mark.parametrize("estimator", [PCA(3), UMAP(n_neighbors=7), TSNE(perplexity=9.0)])
def test_estimators_are_scikit_learns(estimator):
    assert clone(estimator).get_params() == estimator.get_params()
    made = clone(estimator).set_params(n_components=2)
    assert made.fit_transform(np.random.default_rng(0).normal(size=(60, 4))).shape == (60, 2)


@pytest.mark.parametrize("estimator", [PCA(), UMAP()])
def test_what_was_not_fitted_says_so(estimator):
    for method in (estimator.transform, estimator.inverse_transform):
        with pytest.raises(NotFittedError):
            method(np.eye(4))


def test_estimators_stand_in_a_pipeline(digits):
    x, y = digits[0][:400], digits[1][:400]
    model = make_pipeline(UMAP(), LogisticRegression(max_iter=500)).fit(x[:300], y[:300])
    assert model.score(x[300:], y[300:]) > 0.8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: UMAP(metric="manhattan").fit(np.eye(30)), "umap-learn has others"),
        (lambda: UMAP().fit(np.eye(10)), "more than 15"),
        (lambda: UMAP(min_dist=2).fit(np.eye(30)), "min_dist"),
        (lambda: UMAP(n_components=0).fit(np.eye(30)), "n_components"),
        (lambda: UMAP().fit(np.full((30, 2), np.nan)), "NaN"),
        (lambda: UMAP().fit(np.eye(30)).transform(np.eye(3)), "fitted to 30"),
        (lambda: UMAP().fit_transform(np.eye(30), near=np.ones((3, 2))), "earlier map"),
        (lambda: UMAP().fit(np.eye(30), near=np.ones((3, 2))), "earlier map"),
        (lambda: TSNE(perplexity=10).fit(np.eye(30)), "third"),
        (lambda: TSNE(backend="magic").fit(np.eye(100)), "backend"),
        (lambda: PCA(9).fit(np.eye(5)), "1 to 5"),
        (lambda: PCA().partial_fit(np.ones((2, 5000))), "4096"),
    ],
)
def test_bad_input_is_met_with_a_sentence(call, says):
    with pytest.raises(InputError, match=says):
        call()


# -- the front door --------------------------------------------------------------------------


def test_umap_learns_map_is_its_own(digits, reference):
    x = digits[0][:300].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reference.UMAP(random_state=7, n_jobs=1).fit_transform(x)
        same = pl.project(x, method="umap", backend="umap-learn", seed=7)
    np.testing.assert_array_equal(same.coordinates, theirs)
    assert same.settings["backend"] == "umap-learn"


def test_what_a_map_says_of_itself(digits):
    x, y = digits[0][:300], digits[1][:300]
    found = pl.project(x, seeds=2, labels=y)
    assert found.moved.shape == (300,)
    assert 0 < found.disparity < 0.2
    assert found.recall == 1
    assert found.measures["neighbors"].tolist() == [5, 15, 50]
    assert found.nearest.shape == (300, 15)
    assert found.settings["backend"] == "torch"
    near = pl.project(x, near=found, seed=4)
    assert np.abs(near.coordinates - found.coordinates).mean() < 1
    tsne = pl.project(x, method="tsne", dimensions=3)
    assert tsne.coordinates.shape == (300, 3)
    assert tsne.trustworthiness.mean() > 0.95


def test_a_dataset_brings_its_labels_and_names():
    data = pl.datasets.load_wine()
    found = pl.project(data, method="pca")
    np.testing.assert_array_equal(found.labels, data.targets)
    assert found.class_names == data.class_names
    assert found.feature_names == data.feature_names
    assert found.loadings.shape == (2, 13)


def test_procrustes_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 2))
    assert aligned(a, b)[1] == pytest.approx(procrustes(b, a)[2])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    there, left = aligned(3 * b @ turn + 5, b)
    np.testing.assert_allclose(there, b, atol=1e-9)
    assert left == pytest.approx(0, abs=1e-12)
