"""XRAI against its authors' code, and against growing that is slow and simple."""

import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from small_models import cnn, mlp
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.attribution import regions


def pictures(n=4, shape=(1, 6, 6), seed=0, device="cpu"):
    drawn = np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)
    return torch.from_numpy(drawn).to(device)


def colour_model(device="cpu"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=3), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
        )  # fmt: skip
    return made.to(device)


def colour_picture(shape=(224, 224), seed=0):
    """Patches of colour with soft edges: something to find segments in."""
    drawn = np.random.default_rng(seed).normal(size=(3, *shape))
    soft = np.stack([gaussian_filter(one, 12) + gaussian_filter(one, 3) / 6 for one in drawn])
    return np.round(soft / soft.std() * 2) / 2 + soft / soft.std() / 10


def labels(n=None, shape=(6, 6), count=5, seed=0):
    drawn = np.random.default_rng(seed)
    return drawn.integers(0, count, shape if n is None else (n, *shape))


def slow_growth(attribution, masks, least):
    """The next segment is always the one that adds the largest mean attribution."""
    grown, taken, masks = np.full(attribution.shape, np.nan), np.zeros_like(masks[0]), list(masks)
    while True:
        added = [mask & ~taken for mask in masks]
        added = [one for one in added if one.sum() >= least]
        if not added:
            break
        best = max(added, key=lambda one: attribution[one].mean())
        grown[best] = attribution[best].mean()
        taken |= best
    if not taken.all():
        grown[~taken] = attribution[~taken].mean()
    return grown


def masks_of(*segmentations):
    return np.array([one == name for one in segmentations for name in np.unique(one)])


# -- against the authors' code ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(224, 224), (224, 300)])
def test_segments_and_growth_are_those_of_the_authors(shape):
    theirs = pytest.importorskip("saliency.core.xrai")
    picture = colour_picture(shape)
    wanted = theirs._get_segments_felzenszwalb(picture.transpose(1, 2, 0))
    found = np.concatenate([regions._masks(one, 5) for one in regions._found(picture)])
    assert len(found) > 50
    np.testing.assert_array_equal(found, wanted)
    attribution = gaussian_filter(np.random.default_rng(1).normal(size=shape), 4)
    grown = regions._Pieces(found).grown(attribution.ravel(), 50)
    expected, _ = theirs.XRAI._xrai(attribution, wanted)
    np.testing.assert_allclose(grown, expected.ravel(), atol=1e-12)


def test_xrai_is_that_of_its_authors(device):
    """Of a whole picture, from the model to the map, but for their coarser integral beneath."""
    saliency = pytest.importorskip("saliency.core")
    network, picture = colour_model(device), colour_picture().astype(np.float32)
    found = pl.explain(network, torch.from_numpy(picture)[None], method="xrai", target=1)
    beneath = [
        pl.explain(
            network, torch.from_numpy(picture)[None], target=1, baseline=float(level)
        ).values[0]
        for level in (picture.min(), picture.max())
    ]
    expected = saliency.XRAI().GetMask(
        picture.transpose(1, 2, 0),
        None,
        base_attribution=np.mean(beneath, axis=0).transpose(1, 2, 0),
    )
    assert found.values.shape == (1, 224, 224)
    assert found.axes == ("sample", "row", "column")
    assert len(np.unique(expected)) > 20
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5 * scale)
    assert found.settings["least"] == 50


# -- the growth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("least", [1, 3, 9, 100])
def test_growth_is_that_of_the_slow_way(seed, least):
    drawn = np.random.default_rng(seed)
    attribution = drawn.normal(size=(9, 7))
    several = [drawn.integers(0, count, (9, 7)) for count in (2, 6, 20)]
    masks = masks_of(*several)
    if seed % 2:
        masks = masks[drawn.random(len(masks)) < 0.5]  # places that no segment covers
    found = regions._Pieces(masks).grown(attribution.ravel(), least)
    expected = slow_growth(attribution, masks, least)
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-12)
    # Whatever the regions, nothing is lost: they hold what was there.
    assert found.sum() == pytest.approx(attribution.sum())


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_segments_overlap_by_a_disk(overlap):
    segments = labels(shape=(12, 9), count=4) * 7 - 3  # any numbers will do
    far = np.add.outer(np.arange(-12, 13) ** 2, np.arange(-12, 13) ** 2)
    for name, found in zip(np.unique(segments), regions._masks(segments, overlap), strict=True):
        expected = np.zeros((12, 9), dtype=bool)
        for row, column in np.argwhere(segments == name):
            disk = far[12 - row : 24 - row, 12 - column : 21 - column] <= overlap**2
            expected |= disk
        np.testing.assert_array_equal(found, expected)


# -- through explain -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one for all", "one each", "several", "tensor", "booleans"])
def test_given_segments_rank_the_attribution_beneath(kind, device):
    network, x = cnn().to(device), pictures(5, device=device)
    several = {
        "one for all": [labels()],
        "one each": [labels(5)],
        "several": [labels(5, seed=1), labels(count=2, seed=2), labels(count=30, seed=3)],
        "tensor": [labels(seed=4)],
        "booleans": [labels(count=2).astype(bool)],
    }[kind]
    given = several if kind == "several" else several[0]
    given = torch.from_numpy(given).to(device) if kind == "tensor" else given
    found = pl.explain(network, x, method="xrai", of="saliency", segments=given, target=2)
    beneath = pl.explain(network, x, method="saliency", target=2)
    for i in range(5):
        masks = masks_of(*[one if one.ndim == 2 else one[i] for one in several])
        expected = slow_growth(beneath.values[i, 0].astype(float), masks, 1)
        np.testing.assert_allclose(found.values[i], expected, atol=1e-6)
    np.testing.assert_allclose(found.prediction, beneath.prediction, rtol=1e-6)
    assert found.settings["segments"] == "given"
    assert found.settings["least"] == 1
    assert found.residual is None


def test_integrated_gradients_beneath_are_the_mean_of_black_and_white(device):
    network, x = cnn().to(device), pictures(5, device=device)
    everything = np.arange(36).reshape(6, 6)  # each place a segment of its own: nothing is averaged
    found = pl.explain(network, x, method="xrai", segments=everything, target=0, tolerance=0.001)
    black, white = (
        pl.explain(
            network, x, target=0, tolerance=0.001, baseline=level.reshape(5, 1, 1, 1).expand_as(x)
        ).values
        for level in (x.flatten(1).amin(1), x.flatten(1).amax(1))
    )
    expected = (black + white)[:, 0] / 2
    np.testing.assert_allclose(found.values, expected, atol=1e-5 * np.abs(expected).max())
    assert found.settings["tolerance"] == 0.001
    assert "smallest value" in found.settings["baseline"]
    assert found.cost.backward > 10


def test_the_largest_of_the_channels_counts(device):
    x = pictures(3, (2, 4, 5), device=device)
    weight = pictures(1, (2, 4, 5), seed=1, device=device)[0]
    found = pl.explain(
        lambda x: (x * weight).sum((1, 2, 3)), x, method="xrai", of="saliency",
        segments=np.arange(20).reshape(4, 5),
    )  # fmt: skip
    for values in found.values:
        np.testing.assert_allclose(values, weight.amax(0).cpu(), rtol=1e-6)


def test_pictures_without_channels_are_pictures_too(device):
    x = pictures(3, (4, 5), device=device)
    found = pl.explain(
        lambda x: (x**2).sum((1, 2)), x, method="xrai", of="saliency",
        segments=np.arange(20).reshape(4, 5),
    )  # fmt: skip
    np.testing.assert_allclose(found.values, 2 * x.cpu(), rtol=1e-6)


def test_all_targets_are_what_each_gives_alone(device):
    network, x = cnn().to(device), pictures(device=device)
    options = {"method": "xrai", "segments": labels(4), "steps": 12}
    every = pl.explain(network, x, target="all", **options)
    assert every.values.shape == (4, 4, 6, 6)
    assert every.axes == ("sample", "target", "row", "column")
    for target in range(4):
        alone = pl.explain(network, x, target=target, **options)
        np.testing.assert_allclose(every.values[:, target], alone.values, rtol=1e-4, atol=1e-6)


def test_each_of_many_samples_gets_its_own_segments(device):
    """More rows than one block has."""
    network, x, segments = cnn().to(device), pictures(300, device=device), labels(300)
    options = {"method": "xrai", "of": "saliency", "target": 1}
    whole = pl.explain(network, x, segments=segments, batch_size=64, **options)
    for i in (0, 255, 256, 299):
        alone = pl.explain(network, x[i : i + 1], segments=segments[i], **options)
        np.testing.assert_allclose(whole.values[i], alone.values[0], atol=1e-6)


def test_small_pictures_are_segmented_in_their_own_proportions(device):
    x = pictures(3, (8, 8), device=device)
    found = pl.explain(lambda x: (x**3).sum((1, 2)), x, method="xrai")
    assert found.settings["least"] == 1
    beneath = (x**3).sum((1, 2)).cpu().numpy()
    black, white = ((x.flatten(1).amin(1) ** 3) * 64, (x.flatten(1).amax(1) ** 3) * 64)
    expected = beneath - ((black + white) / 2).cpu().numpy()
    np.testing.assert_allclose(found.values.sum((1, 2)), expected, rtol=0.02, atol=0.5)


def test_a_picture_of_one_colour_is_one_region(device):
    x = torch.full((1, 1, 6, 6), 0.5, device=device)
    found = pl.explain(cnn().to(device), x, method="xrai", of="saliency", target=0)
    assert len(np.unique(found.values)) == 1


def test_without_scikit_image_segments_must_be_given(monkeypatch, device):
    for name in [m for m in sys.modules if m == "skimage" or m.startswith("skimage.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skimage", None)
    network, x = cnn().to(device), pictures(device=device)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pellucid\[pictures\]'"):
        pl.explain(network, x, method="xrai")
    assert pl.explain(network, x, method="xrai", segments=labels()).values.shape == (4, 6, 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"segments": labels(shape=(5, 6))}, r"shape \(5, 6\); give \(6, 6\), or \(4, 6, 6\)"),
        ({"segments": labels(3)}, r"shape \(3, 6, 6\)"),
        ({"segments": labels() + 0.5}, "segments are float64; .* whole numbers"),
        ({"segments": []}, "segments is empty"),
        ({"least": 0}, "least=0"),
        ({"of": "smoothgrad"}, "of='smoothgrad' gives no attribution"),
        ({"of": "grad_cam"}, "of='grad_cam' gives no attribution"),
        ({"of": "xrai"}, "of='xrai' gives no attribution"),
        ({"of": "gradients"}, "there is no method 'gradients'"),
        ({"of": "saliency", "steps": 5}, "saliency takes no option 'steps'"),
        ({"of": "deep_lift", "target": "all"}, "deep_lift explains one target at a time"),
        ({"baseline": "zero"}, "compares with no baseline"),
        ({"at": "0"}, "is made of the picture itself, and at= names layer '0'"),
    ],
    ids=str,
)
def test_xrai_says_what_it_cannot_do(options, words):
    with pytest.raises(InputError, match=words):
        pl.explain(cnn(), pictures(), method="xrai", **options)


def test_xrai_wants_one_picture(device):
    with pytest.raises(InputError, match="needs pictures"):
        pl.explain(mlp().to(device), torch.randn(3, 6, device=device), method="xrai")

    def two(a, b):
        return a.flatten(1).sum(1) * b.flatten(1).sum(1)

    given = pictures(2, device=device), pictures(2, seed=1, device=device)
    with pytest.raises(InputError, match="2 inputs are attributed; choose one"):
        pl.explain(two, given, method="xrai")
    with pytest.raises(InputError, match="2 inputs are attributed; choose one"):
        pl.explain(two, given, method="xrai", segments=labels())
