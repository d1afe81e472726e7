"""Regions of a picture, ranked by the attribution that they hold (XRAI)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.attribution import registry
from pellucid.interpret.attribution.pictures import pictures
from pellucid.interpret.attribution.registry import Attribution, method
from pellucid.interpret.block import Block
from pellucid.interpret.inputs import is_whole

# As in the authors' code: a picture is segmented at this size, with values from -1 to 1, at each of
# these scales; segments overlap at their edges by so many pixels, and a region adds at least so
# many. For pictures of other sizes, where the authors' pixels stay the same, these two go with the
# size: 50 pixels are most of a picture of 8 x 8.
_SIZE = 224
_SCALES = (50, 100, 150, 250, 500, 1200)
_SMOOTHED, _SMALLEST = 0.8, 150
_OVERLAP, _LEAST = 5, 50

_Options = dict[str, Any]


@method(
    baseline=False,
    complete=False,
    cost="the method that it sums over regions (integrated gradients), once against black and once "
    "against white; and a second or so of each picture for its segments, on the CPU",
    promise="which regions count, as sure as the attribution beneath and the segments are right; "
    "values are means over regions, not contributions",
    paper="Kapishnikov et al. 2019, https://arxiv.org/abs/1906.02825",
    points=lambda _: None,
    kept=lambda options: _inner(options).kept(_handed_on(options)),
    where="input",
    typical=80,
    trial={"steps": 2},
)
def xrai(
    block: Block,
    *,
    of: str = "integrated_gradients",
    segments: Any = None,
    least: int | None = None,
    tolerance: float | None = None,
    budget: int | None = None,
    steps: int | None = None,
    rule: str | None = None,
) -> Attribution:
    """Grow the region that holds most attribution for its size, segment by segment.

    The next is always the segment that adds the largest mean attribution; what it adds gets that
    mean as its value. What no segment covers gets its own.

    Parameters
    ----------
    block
        Pictures, at the input.
    of
        The method that gives the attribution beneath. If it compares with a baseline, it does so
        twice, with the picture's smallest value and with its largest, and the mean counts; of the
        channels, the largest.
    segments
        Whole numbers that say which segment each place belongs to: (rows, columns) for all
        pictures, (samples, rows, columns), or a list of several such segmentations. By default
        those of Felzenszwalb & Huttenlocher 2004 at six scales, which scikit-image finds.
    least
        How many pixels a segment must add. By default 1 of those that were given; of those found,
        50 of each 224 x 224.
    tolerance, budget, steps, rule
        Those that the method beneath takes.

    Raises
    ------
    InputError
        If the input is not one picture, or an option does not fit.
    MissingDependencyError
        If segments are to be found, and scikit-image is not installed.
    """
    pictures(block, "xrai")
    if len(block.inputs) > 1:
        raise InputError(
            f"xrai looks at one picture, and {len(block.inputs)} inputs are attributed; choose one "
            "with attribute=..."
        )
    shape = tuple(block.inputs[0].shape[-2:])
    given = None if segments is None else _checked(segments, block, shape)
    if given is None:
        _felzenszwalb()
    if least is not None and (not is_whole(least) or least < 1):
        raise InputError(f"least={least!r}; give a number of pixels from 1")
    enough = least or (1 if segments is not None else max(1, _LEAST * prod(shape) // _SIZE**2))
    options = {"of": of, "tolerance": tolerance, "budget": budget, "steps": steps, "rule": rule}
    base, sentence = _base(block, options)
    maps = base.values.reshape(*base.values.shape[:-1], *block.inputs[0].shape[1:])
    maps = (maps.amax(2) if maps.ndim == 5 else maps).flatten(2)

    def grow(rows: Tensor) -> Tensor:
        found = []
        numbers = block.numbers[rows].cpu().numpy()
        several = zip(
            numbers, block.inputs[0][rows].cpu().numpy(), maps[rows].cpu().numpy(), strict=True
        )
        for number, picture, targets in several:
            labels = _found(picture) if given is None else [one[number % len(one)] for one in given]
            overlap = round(_OVERLAP * min(shape) / _SIZE) if given is None else 0
            pieces = _Pieces(np.concatenate([_masks(one, overlap) for one in labels]))
            found.append([pieces.grown(attribution, int(enough)) for attribution in targets])
        return torch.from_numpy(np.array(found)).to(maps)

    settings = {
        **base.settings,
        "of": _inner(options).name,
        "segments": "given" if given is not None else f"Felzenszwalb at scales {_SCALES}",
        "least": int(enough),
    }
    if sentence is not None:
        settings["baseline"] = sentence
    return Attribution(
        block.each(block.n, grow),
        base.prediction,
        None,
        None,
        settings,
        shape=shape,
        axes=("sample", "row", "column"),
    )


# -- the attribution beneath -----------------------------------------------------------------------


def _inner(options: _Options) -> registry.Method:
    return registry.find(options.get("of", "integrated_gradients"))


def _handed_on(options: _Options) -> _Options:
    names = ("tolerance", "budget", "steps", "rule")
    return {name: options[name] for name in names if options.get(name) is not None}


def _base(block: Block, options: _Options) -> tuple[Attribution, str | None]:
    """Return the attribution that is summed over regions, and what it compares with."""
    inner, handed_on = _inner(options), _handed_on(options)
    if inner.wraps or inner.background or inner.where != "any":
        raise InputError(
            f"of={inner.name!r} gives no attribution that xrai can sum over regions; use a method "
            "of gradients or paths, such as 'integrated_gradients' or 'saliency'"
        )
    if block.targets > 1 and not inner.several_targets:
        raise InputError(f"{inner.name} explains one target at a time; give one class")
    registry.check_options(inner, handed_on)

    if not inner.baseline:
        return inner.at(block, **handed_on), None
    (picture,) = block.inputs
    black, white = (
        inner.at(
            block.against((level.reshape(-1, *[1] * (picture.ndim - 1)).expand_as(picture),)),
            **handed_on,
        )
        for level in (picture.flatten(1).amin(1), picture.flatten(1).amax(1))
    )
    mean = replace(black, values=(black.values + white.values) / 2)
    return mean, "the mean of two: the picture's smallest value, and its largest"


# -- segments --------------------------------------------------------------------------------------


def _checked(segments: Any, block: Block, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return segmentations, each (samples or 1, rows, columns).

    Raises
    ------
    InputError
        If one is not of whole numbers, or of another shape than the pictures.
    """
    samples, several = block.engine.inputs.samples, isinstance(segments, (list, tuple))
    checked = []
    for one in segments if several else [segments]:
        labels = one.detach().cpu().numpy() if isinstance(one, Tensor) else np.asarray(one)
        if labels.dtype.kind not in "iub":
            raise InputError(
                f"segments are {labels.dtype}; give the number of its segment for each place, "
                "whole numbers"
            )
        if labels.shape == shape:
            labels = labels[None]
        if labels.shape[1:] != shape or len(labels) not in (1, samples):
            raise InputError(
                f"segments have shape {np.shape(one)}; give {shape}, or {(samples, *shape)} with "
                "one segmentation for each sample, or a list of several of these"
            )
        checked.append(labels)
    if not checked:
        raise InputError("segments is empty; give at least one segmentation, or leave it out")
    return checked


def _felzenszwalb() -> tuple[Any, Any]:
    """Return what finds segments, and what resizes a picture for it."""
    try:
        from skimage.segmentation import felzenszwalb
        from skimage.transform import resize
    except ImportError as error:
        raise MissingDependencyError(
            "xrai finds segments with scikit-image, which is not installed: "
            "pip install 'pellucid[pictures]', or give segments=..."
        ) from error
    return felzenszwalb, resize


def _found(picture: np.ndarray) -> list[np.ndarray]:
    """Return segmentations of a picture ([channels,] rows, columns), each (rows, columns)."""
    felzenszwalb, resize = _felzenszwalb()
    shape = picture.shape[-2:]
    channels = picture.reshape(-1, *shape).transpose(1, 2, 0).astype(np.float64)
    low, high = channels.min(), channels.max()
    scaled = 2 * (channels - low) / (high - low) - 1 if high > low else np.zeros_like(channels)
    size = (_SIZE, _SIZE)
    scaled = resize(scaled, size, order=3, mode="constant", preserve_range=True, anti_aliasing=True)
    found = []
    for scale in _SCALES:
        with warnings.catch_warnings():
            # Of channels that are neither one nor three.
            warnings.filterwarnings("ignore", message="Got image with third dimension")
            labels = felzenszwalb(scaled, scale=scale, sigma=_SMOOTHED, min_size=_SMALLEST)
        small = resize(
            labels, shape, order=0, mode="constant", preserve_range=True, anti_aliasing=False
        )
        found.append(small.astype(int))
    return found


def _masks(labels: np.ndarray, overlap: int) -> np.ndarray:
    """Return where each segment is, and so many pixels around it: (segments, rows, columns)."""
    names, number = np.unique(labels, return_inverse=True)
    height, width = labels.shape
    place = np.arange(labels.size).reshape(labels.shape)
    start = number.reshape(labels.shape) * labels.size
    masks = np.zeros(len(names) * labels.size, dtype=bool)
    reach = range(-overlap, overlap + 1)
    for down, across in ((d, a) for d in reach for a in reach if d * d + a * a <= overlap**2):
        here = start[max(0, -down) : height - down, max(0, -across) : width - across]
        there = place[max(0, down) : height + down, max(0, across) : width + across]
        masks[here + there] = True
    return masks.reshape(-1, height, width)


class _Pieces:
    """The pieces that overlapping segments cut a picture into: far fewer than it has pixels.

    Parameters
    ----------
    masks
        Where each segment is: (segments, rows, columns).
    """

    def __init__(self, masks: np.ndarray) -> None:
        masks = masks.reshape(len(masks), -1)
        bits = np.ascontiguousarray(np.packbits(masks, axis=0).T)
        same = bits.view(np.dtype((np.void, bits.shape[1])))[:, 0]
        _, first, self._of = np.unique(same, return_index=True, return_inverse=True)
        self._segments = masks[:, first].astype(np.float64)
        self._size = np.bincount(self._of)

    def grown(self, attribution: np.ndarray, least: int) -> np.ndarray:
        """Return what each pixel's region added on average.

        Parameters
        ----------
        attribution
            Of each pixel: (pixels,).
        least
            How many pixels a segment must add.
        """
        held = np.bincount(self._of, attribution)
        left = np.ones(len(held), dtype=bool)
        grown = np.empty_like(held)
        while left.any():
            count, total = (self._segments @ np.stack([self._size * left, held * left], 1)).T
            mean = np.divide(total, count, out=np.full_like(total, -np.inf), where=count >= least)
            best = mean.argmax()
            added = left & (self._segments[best] > 0) if count[best] >= least else left
            grown[added] = held[added].sum() / self._size[added].sum()
            left = left & ~added
        return grown[self._of]
