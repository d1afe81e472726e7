"""Maps, and the measures of how faithful they are, against scikit-learn and brute force."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, ModelError, PellucidError
from pellucid.interpret.projection import space
from pellucid.interpret.projection.pca import pca
from pellucid.interpret.projection.quality import faithfulness


@pytest.fixture(scope="module")
def digits():
    return pl.datasets.load_digits()


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 10),
    )


@given(
    n=st.integers(5, 40), width=st.integers(2, 60), offset=st.floats(-1e3, 1e3), seed=st.integers(0)
)
def test_pca_is_that_of_scikit_learn_for_tall_and_for_wide_data(n, width, offset, seed):
    data = np.random.default_rng(seed % 2**32).normal(size=(n, width)) * np.arange(1, width + 1)
    theirs = PCA(2, svd_solver="full").fit(data + offset)
    found = pca(torch.from_numpy(data + offset), 2)
    ours, share = found.coordinates(torch.from_numpy(data + offset)), found.shares
    scale = np.abs(data).max()
    np.testing.assert_allclose(
        np.abs(ours.numpy()), np.abs(theirs.transform(data + offset)), atol=1e-5 * scale
    )
    np.testing.assert_allclose(share.numpy(), theirs.explained_variance_ratio_, atol=1e-7)


def test_trustworthiness_and_neighbours_are_those_of_scikit_learn(digits, device):
    features = digits.inputs.reshape(len(digits), -1)[:600] + np.random.default_rng(0).normal(
        scale=1e-3, size=(600, 64)
    )
    coordinates = PCA(2).fit_transform(features)
    for k in (5, 15):
        found = faithfulness(
            torch.from_numpy(features).to(device), torch.from_numpy(coordinates).to(device), k
        )
        preserved, trust = found.preservation, found.trustworthiness
        assert float(found.continuity.mean()) == pytest.approx(
            trustworthiness(coordinates, features, n_neighbors=k), abs=1e-9
        )
        assert float(trust.mean()) == pytest.approx(
            trustworthiness(features, coordinates, n_neighbors=k), abs=1e-9
        )
        near = NearestNeighbors(n_neighbors=k).fit(features).kneighbors(return_distance=False)
        shown = NearestNeighbors(n_neighbors=k).fit(coordinates).kneighbors(return_distance=False)
        expected = [len(set(a) & set(b)) / k for a, b in zip(near, shown, strict=True)]
        np.testing.assert_allclose(preserved.cpu().numpy(), expected)


def test_a_map_that_is_the_data_is_wholly_faithful():
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    found = faithfulness(points, points * 3 + 1, 10)
    assert bool((found.preservation == 1).all())
    assert bool((found.trustworthiness == 1).all())
    assert bool((found.continuity == 1).all())
    assert found.triplets == 1


def test_the_chunks_of_the_measures_do_not_show(monkeypatch, digits):
    points = torch.from_numpy(digits.inputs.reshape(len(digits), -1)[:300])
    points = points + 1e-3 * torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    flat = torch.from_numpy(PCA(2).fit_transform(points.numpy()))
    whole = faithfulness(points, flat, 7)
    monkeypatch.setattr("pellucid.interpret.projection.quality._CHUNK", 16 * 300 * 11)
    parts = faithfulness(points, flat, 7)
    for name in ("preservation", "trustworthiness", "continuity"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name))
    assert whole.triplets == parts.triplets


def test_a_layer_is_read_as_the_model_computes_it(digits, device):
    model = network().to(device)
    x = digits.inputs[:120]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    projection = pl.project(model, x, at="3", method="pca", batch_size=17)
    assert model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    with torch.no_grad():
        features = model.eval()[:4](torch.from_numpy(x).to(device)).cpu().numpy()
    theirs = PCA(2, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(projection.coordinates), np.abs(theirs), atol=1e-4)
    assert projection.features == 144
    assert projection.at == "3"


@pytest.mark.slow
def test_umap_keeps_the_neighbourhoods_of_digits_and_the_global_random_state(digits):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    features = digits.inputs[:500]
    first = pl.project(features, labels=digits.targets[:500], class_names=digits.class_names)
    assert (np.random.get_state()[1] == before).all()
    assert first.method == "umap"
    assert first.trustworthiness.mean() > 0.95
    assert first.preservation.mean() > 0.4
    again = pl.project(features)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)


def test_pictures_labels_and_ids_travel_with_the_points(digits):
    projection = pl.project(
        digits.inputs[:60],
        method="pca",
        dimensions=3,
        labels=[digits.class_names[t] for t in digits.targets[:60]],
        class_names=digits.class_names,
        sample_ids=[f"digit {i}" for i in range(60)],
        display=digits.inputs[:60],
    )
    assert projection.coordinates.shape == (60, 3)
    assert projection.display.shape == (60, 8, 8)
    np.testing.assert_array_equal(projection.labels, digits.targets[:60])
    chosen = projection[[5, 7]]
    assert chosen.sample_ids.tolist() == ["digit 5", "digit 7"]
    np.testing.assert_array_equal(chosen.display, projection.display[[5, 7]])


def test_purity_is_the_share_of_neighbours_with_the_same_label(digits):
    features, labels = digits.inputs.reshape(len(digits), -1)[:400], digits.targets[:400].copy()
    labels[::7] = -1
    found = pl.project(features, labels=labels, method="pca", neighbors=10)
    places = {"purity": features, "map_purity": found.coordinates}
    for name, points in places.items():
        near = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(return_distance=False)
        known = labels[near] >= 0
        share = ((labels[near] == labels[:, None]) & known).sum(1) / known.sum(1)
        share[labels < 0] = np.nan
        # Neighbours at the same distance may be either.
        np.testing.assert_allclose(getattr(found, name), share, atol=0.12)
        assert np.nanmean(getattr(found, name)) == pytest.approx(np.nanmean(share), abs=1e-3)
        assert f"{np.nanmean(share):.0%}" in found.trust()
        assert name in found.to_frame()
    assert pl.project(features, method="pca").purity is None


def test_a_part_of_a_map_has_no_neighbours_and_another_order_has_the_same(digits):
    found = pl.project(digits.inputs[:200], method="pca", neighbors=5)
    assert found[:50].nearest is None
    assert found[np.arange(200) > 0].nearest is None
    order = np.random.default_rng(0).permutation(200)
    other = found[order]
    np.testing.assert_array_equal(order[other.nearest], found.nearest[order])
    np.testing.assert_array_equal(found[:].nearest, found.nearest)
    assert found[[*range(200), 3]].nearest is None


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_one_graph_serves_the_map_and_its_measures(digits, method, monkeypatch):
    spaces = []
    made = space.Space.__init__
    monkeypatch.setattr(
        space.Space,
        "__init__",
        lambda self, points, *rest: (spaces.append(points.shape), made(self, points, *rest))[1],
    )
    monkeypatch.setattr("pellucid.interpret.projection.quality._EXACT", 100)
    features = digits.inputs.reshape(len(digits), -1)[:300]
    pl.project(features, method=method, perplexity=20)
    assert spaces == [(300, 64), (300, 2)]


def test_measures_of_many_points_are_as_far_off_as_they_say(digits, monkeypatch):
    features = torch.from_numpy(digits.inputs.reshape(len(digits), -1)).double()
    features = features + 1e-3 * torch.randn(features.shape, dtype=torch.float64)
    places = torch.from_numpy(PCA(2).fit_transform(features.numpy()))
    whole = faithfulness(features, places, 15)
    monkeypatch.setattr("pellucid.interpret.projection.quality._EXACT", 1000)
    some = faithfulness(features, places, 15)
    at = some.measures["neighbors"].tolist().index(15)
    error = float(some.measures["standard_error"][at])
    assert 0 < error < 0.01
    truth = trustworthiness(features.numpy(), places.numpy(), n_neighbors=15)
    assert float(some.measures["trustworthiness"][at]) == pytest.approx(truth, abs=4 * error)
    # Point by point it is estimated, but not which neighbours are kept.
    torch.testing.assert_close(some.preservation, whole.preservation, atol=0.07, rtol=0)
    for name in ("trustworthiness", "continuity"):
        one, other = getattr(some, name), getattr(whole, name)
        assert float(one.mean()) == pytest.approx(float(other.mean()), abs=0.01)
        assert np.corrcoef(one, other)[0, 1] > 0.95
    found = pl.project(features.numpy(), method="pca")
    assert f"± {error:.3f}" in found.trust()
    assert "±" not in found[:500].trust()


def test_frames_datasets_and_layers_bring_what_they_know(digits):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"))
    assert pl.project(frame, method="pca").feature_names == ("a", "b", "c")
    assert pl.project(frame, method="pca", feature_names="xyz").feature_names == ("x", "y", "z")
    model = network().eval()
    few, _ = digits.split(test=0.9, seed=0)
    seen = pl.project(model, few, at="3", method="pca")
    np.testing.assert_array_equal(seen.labels, few.targets)
    assert seen.class_names == digits.class_names
    assert seen.feature_names is None  # those of the dataset are not the layer's
    features = pl.interpret.projection.read_layer(model, few, "3", batch_size=7)
    assert features.shape == (len(few), 144)
    np.testing.assert_allclose(
        pl.project(features, method="pca").coordinates, seen.coordinates, atol=1e-5
    )


def test_a_frames_columns_are_features_whatever_their_names():
    names = ["inputs", "targets", "sample_ids", "class_names"]
    frame = pd.DataFrame(np.random.default_rng(0).integers(0, 9, size=(40, 4)), columns=names)
    found = pl.project(frame, method="pca")
    assert found.features == 4
    assert found.labels is None
    assert found.feature_names == tuple(names)


@pytest.mark.parametrize("kind", [np.uint16, np.float16, np.float64, bool])
def test_features_of_any_type_have_a_map(kind):
    x = np.random.default_rng(0).integers(2, size=(60, 9)).astype(kind)
    assert np.isfinite(pl.project(x).coordinates).all()


def test_samples_without_a_label_are_minus_one():
    features = np.random.default_rng(0).normal(size=(30, 3))
    found = pl.project(features, method="pca", labels=[0, 1, -1] * 10, class_names="ab")
    assert np.isnan(found.purity[2::3]).all()
    assert np.isfinite(found.purity[::3]).all()


def test_what_shaped_a_map_stands_below_it(digits):
    x, y = digits.inputs[:120], digits.targets[:120]
    first = pl.project(x)
    shaped = pl.project(x, labels=y, supervised=True, near=first, spread=1.5)
    said = pl.viz.scatter(shaped).layout.meta["caption"]["text"]
    for part in ("shaped by the labels", "held near an earlier map", "spread 1.5"):
        assert part in said
        assert part not in pl.viz.scatter(first).layout.meta["caption"]["text"]


@pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
@pytest.mark.parametrize("kind", ["copies", "constant", "apart", "one feature", "integers"])
def test_awkward_samples_have_a_map_or_a_sentence(method, kind):
    x = np.random.default_rng(0).normal(size=(90, 1 if kind == "one feature" else 4))
    if kind == "copies":
        x[:40] = x[0]
    if kind == "constant":
        x[:, 1:3] = 7.0
    if kind == "apart":
        x[:45] += 1e6  # two groups that no edge joins
    if kind == "integers":
        x = (10 * x).astype(np.int16)
    states = np.random.get_state()[1].copy(), torch.random.get_rng_state(), random.getstate()
    if (method, kind) == ("pca", "one feature"):
        with pytest.raises(InputError, match="2 dimensions"):
            pl.project(x, method=method)
        return
    found = pl.project(x, method=method, perplexity=10, seeds=1)
    assert np.isfinite(found.coordinates).all()
    for values in (found.preservation, found.trustworthiness, found.continuity):
        assert np.isfinite(values).all()
        assert ((values >= -1) & (values <= 1)).all()
    if kind == "apart":  # the groups stay apart
        left, right = found.coordinates[:45], found.coordinates[45:]
        assert np.linalg.norm(left.mean(0) - right.mean(0)) > 0
        assert found.trustworthiness.mean() > 0.8
    assert (np.random.get_state()[1] == states[0]).all()
    assert torch.equal(torch.random.get_rng_state(), states[1])
    assert random.getstate() == states[2]


def test_a_reused_layer_and_integer_inputs():
    shared = torch.nn.ReLU()
    twice = torch.nn.Sequential(torch.nn.Linear(3, 3), shared, torch.nn.Linear(3, 3), shared)
    with pytest.raises(ModelError, match="called 2 times"):
        pl.project(twice, torch.randn(9, 3), at="1", method="pca")
    words = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Flatten())
    tokens = torch.arange(40).reshape(10, 4) % 10
    assert pl.project(words, tokens, at="1", method="pca").features == 16


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pl.project(network(), torch.randn(9, 1, 8, 8), at="7"), "no layer '7'"),
        (lambda: pl.project(network(), torch.randn(9, 1, 8, 8)), "at="),
        (lambda: pl.project(network(), at="1"), "inputs|read on"),
        (lambda: pl.project(np.ones((9, 2)), np.ones((9, 2))), "taken as features"),
        (lambda: pl.project(np.ones((9, 2))), "same for all"),
        (lambda: pl.project(np.full((9, 2), np.nan)), "NaN"),
        (lambda: pl.project(np.eye(3)), "3 samples"),
        (lambda: pl.project(np.ones((1, 3))), "1 sample says nothing"),
        *(
            (lambda p=p: pl.project(np.random.rand(60, 3), method="tsne", perplexity=p), "third")
            for p in (None, "x", np.nan, np.inf, 1e6)
        ),
        (lambda: pl.project(np.random.rand(9, 2), labels=np.full(9, -2), class_names="ab"), "-1"),
        (lambda: pl.project(np.random.rand(9, 2), method="lle"), "'umap'"),
        (lambda: pl.project(np.random.rand(9, 2), method="umap"), "fewer neighbors"),
        (lambda: pl.project(np.random.rand(9, 1)), "2 dimensions"),
        (lambda: pl.project(np.random.rand(9, 2), dimensions=4), "2 or 3"),
        (lambda: pl.project(np.random.rand(9, 2), neighbors=0), "from 2"),
        (lambda: pl.project(np.random.rand(9, 2), labels=[0, 1]), "one for each"),
        (
            lambda: pl.project(np.random.rand(9, 2), labels=np.full(9, 5), class_names="ab"),
            "go from",
        ),
        (lambda: pl.project(np.random.rand(9, 2), display=np.ones((9, 2))), "pictures"),
        (lambda: pl.project(np.random.rand(9, 2), sample_ids=[1]), "sample_ids"),
    ],
)
def test_bad_input_is_met_with_a_sentence(call, says):
    with pytest.raises(PellucidError, match=says) as caught:
        call()
    assert isinstance(caught.value, (InputError, InputTypeError))
