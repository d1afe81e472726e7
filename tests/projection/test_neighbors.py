"""Nearest neighbours: the true ones, in every metric, or as many as were promised."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from pellucid.interpret.projection import cells, neighbors
from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.space import METRICS, Space, exact


@given(
    n=st.integers(4, 60),
    width=st.integers(2, 30),
    metric=st.sampled_from(METRICS),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 2**31),
)
def test_distances_are_those_of_scikit_learn(n, width, metric, offset, seed):
    points = np.random.default_rng(seed).normal(size=(n, width))
    points += offset if metric != "cosine" else 0
    k = min(5, n - 1)
    found = nearest(Space(torch.from_numpy(points), metric), k)
    theirs, _ = NearestNeighbors(n_neighbors=k, metric=metric).fit(points).kneighbors()
    # float32 points far from zero have lost the digits that tell them apart.
    loose = np.finfo(np.float32).eps * (1 + abs(offset)) * 10
    np.testing.assert_allclose(found.distances.numpy(), theirs, atol=loose + 1e-5, rtol=1e-4)
    assert not (found.indices == torch.arange(n)[:, None]).any()
    assert found.recall == 1


@pytest.mark.parametrize("cells", [False, True])
@pytest.mark.parametrize("kind", ["line", "tight clusters", "far from zero"])
def test_neighbours_are_told_apart_however_near_they_are(kind, cells, monkeypatch):
    monkeypatch.setattr(neighbors, "_EXACT", 500 if cells else 8192)
    rng = np.random.default_rng(0)
    if kind == "line":
        points = rng.permutation(np.linspace(0, 1, 3000))[:, None]
    if kind == "tight clusters":
        points = 100 * rng.normal(size=(30, 40))[rng.integers(30, size=3000)]
        points = points + 1e-2 * rng.normal(size=points.shape)
    if kind == "far from zero":
        points = 1e8 + rng.normal(size=(3000, 40))
    if kind != "far from zero":  # float64 has digits there that float32 has not
        points = points.astype(np.float32)
    found = nearest(Space(torch.from_numpy(points)), 10, recall=0.9)
    centred = points.astype(np.float64) - points.mean(0)  # scikit-learn would lose them too
    _, right = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(centred).kneighbors()
    hits = np.mean([np.isin(a, b).mean() for a, b in zip(right, found.indices, strict=True)])
    assert hits > (0.88 if cells else 0.99)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("unit", [2.0**90, 2.0**-90])
def test_very_large_and_very_small_numbers_have_the_same_neighbours(metric, unit):
    points = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    plain, other = (nearest(Space(x, metric), 10) for x in (points, points * unit))
    torch.testing.assert_close(plain.indices, other.indices)
    scale = unit if metric == "euclidean" else 1
    torch.testing.assert_close(plain.distances, other.distances / scale, rtol=1e-4, atol=1e-6)


def test_columns_first_in_memory_change_nothing(clouds):
    turned = clouds.float().T.contiguous().T
    assert Space(turned).points.is_contiguous()
    found, same = (nearest(Space(x), 10) for x in (clouds.float(), turned))
    assert torch.equal(found.indices, same.indices)


def test_copies_of_a_point_are_at_distance_zero():
    point = torch.randn(1, 200, generator=torch.Generator().manual_seed(0)) * 100
    found = nearest(Space(torch.cat([point.expand(6, -1), point + 5, point - 5])), 5)
    assert (found.distances[:6] == 0).all()


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(30, 32))
    return torch.from_numpy(centers[rng.integers(30, size=9000)] + rng.normal(size=(9000, 32)))


def test_cells_keep_the_recall_that_they_report(clouds):
    space = Space(clouds)
    everyone = torch.arange(len(clouds))
    truth = exact(space, space.points, 10, everyone).indices
    for target in (0.8, 0.95):
        found = nearest(space, 10, recall=target)
        true = (truth[:, :, None] == found.indices[:, None, :]).any(2).float().mean().item()
        assert found.recall >= target
        assert true == pytest.approx(found.recall, abs=0.02)
        assert found.distances.diff(dim=1).min() >= 0
        real = (space.points[:50, None] - space.points[found.indices[:50]]).norm(dim=2)
        torch.testing.assert_close(found.distances[:50], real, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_wide_points_are_compared_by_what_tells_them_apart(metric, monkeypatch):
    # A low rank and noise, as a layer puts out: 8 components order the points as all 200 do.
    rng = np.random.default_rng(0)
    inner = 3 * rng.normal(size=(10, 8))[rng.integers(10, size=9000)] + rng.normal(size=(9000, 8))
    wide = inner @ rng.normal(size=(8, 200)) + 0.1 * rng.normal(size=(9000, 200)) + 5
    widths = []
    search = cells._Cells.__init__
    monkeypatch.setattr(
        cells._Cells,
        "__init__",
        lambda self, space, points, *rest: (
            widths.append(points.shape[1]),
            search(self, space, points, *rest),
        )[1],
    )
    found = nearest(Space(torch.from_numpy(wide), metric), 10)
    assert widths == [16]
    rows = rng.permutation(9000)[:500]
    near = NearestNeighbors(n_neighbors=11, metric=metric, algorithm="brute").fit(wide)
    distances, theirs = near.kneighbors(wide[rows])
    ours = found.indices[rows].numpy()
    hits = np.mean([np.isin(a[1:], b).mean() for a, b in zip(theirs, ours, strict=True)])
    assert found.recall >= 0.98
    assert hits == pytest.approx(found.recall, abs=0.02)
    same = (ours == theirs[:, 1:]).all(1)
    assert same.mean() > 0.5
    np.testing.assert_allclose(found.distances[rows][same], distances[same, 1:], rtol=1e-3)


def test_points_without_any_shape_are_searched_to_the_end(monkeypatch):
    monkeypatch.setattr(neighbors, "_EXACT", 1000)
    noise = torch.randn(3000, 64, generator=torch.Generator().manual_seed(1))
    found = nearest(Space(noise), 10, recall=0.99)
    truth = exact(Space(noise), Space(noise).points, 10, torch.arange(3000)).indices
    assert (truth[:, :, None] == found.indices[:, None, :]).any(2).float().mean() >= 0.98


def test_the_same_seed_finds_the_same(clouds):
    first, again = (nearest(Space(clouds), 10, seed=3) for _ in range(2))
    assert torch.equal(first.indices, again.indices)


def test_rows_of_zeros_have_no_direction_and_harm_nobody():
    points = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    points[3] = 0
    for metric in METRICS:
        assert torch.isfinite(nearest(Space(points, metric), 5).distances).all()
