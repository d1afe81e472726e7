"""Maps, and the measures of how faithful they are, against scikit-learn and brute force."""

import numpy as np
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
