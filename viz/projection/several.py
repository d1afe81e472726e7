"""Several maps as input: their names, whether they show the same samples, and how they align."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.projection.stability import aligned
from pellucid.interpret.results import Projection
from pellucid.viz.projection.points import check
from pellucid.viz.theme import shorten


def named(maps: Any, function: str) -> dict[Any, Projection]:
    """Return maps by their names; of a list, names that say what tells them apart."""
    if isinstance(maps, Mapping):
        found = dict(maps)
    elif isinstance(maps, Sequence) and not isinstance(maps, str):
        found = dict(zip(_names(list(maps)), maps, strict=True))
    else:
        raise InputTypeError(
            f"viz.{function} draws a list or a dict of Projection; got a {type(maps).__name__}"
        )
    if not found:
        raise InputError(f"viz.{function} was given no maps to draw")
    for projection in found.values():
        check(projection, function)
    return found


def _names(maps: list[Any]) -> list[str]:
    """Return names for maps: the settings in which they differ."""
    if not all(isinstance(one, Projection) for one in maps):
        return [str(k) for k in range(len(maps))]
    settings = [
        {
            "method": one.method,
            "at": one.at,
            "seed": one.provenance.seed,
            **{key: value for key, value in one.settings.items() if key != "method"},
        }
        for one in maps
    ]
    keys = dict.fromkeys(key for one in settings for key in one)
    differ = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]
    found = [", ".join(_said(key, one.get(key)) for key in differ if one.get(key) is not None)
             for one in settings]  # fmt: skip
    counted: dict[str, int] = {}
    names = []
    for name in found:
        counted[name] = counted.get(name, 0) + 1
        names.append(name if name and counted[name] == 1 else f"{name or 'map'} ({counted[name]})")
    return names


def _said(key: str, value: Any) -> str:
    return str(value) if key in ("method", "at") else f"{key} {shorten(value, 20)}"


def same_samples(one: Projection, other: Projection) -> bool:
    """Whether two maps show the same samples in the same order, as far as can be known."""
    if one.coordinates.shape != other.coordinates.shape:
        return False
    ours, theirs = (
        np.arange(len(p)) if p.sample_ids is None else p.sample_ids for p in (one, other)
    )
    return bool(np.array_equal(ours, theirs))


def align(places: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Return a map turned onto another, by the points that have a place on both.

    The disparity is None where too few do.
    """
    both = np.isfinite(places).all(axis=1) & np.isfinite(to).all(axis=1)
    if both.sum() < 3:
        return places, None
    found = np.full(places.shape, np.nan)
    found[both], disparity = aligned(places[both], to[both])
    only = np.isfinite(places).all(axis=1) & ~both
    if only.any():
        # Procrustes is an affine map: what it does to some points says what it does to all.
        known = np.column_stack([places[both], np.ones(int(both.sum()))])
        turn = np.linalg.lstsq(known.astype(np.float64), found[both], rcond=None)[0]
        found[only] = np.column_stack([places[only], np.ones(int(only.sum()))]) @ turn
    return found, disparity


def measured(projection: Projection) -> tuple[str, ...]:
    """Return the measures of a map in short sentences, for below its panel."""
    said = [
        f"{projection.preservation.mean():.0%} of {projection.neighbors} neighbours kept,",
        f"trustworthiness {projection.trustworthiness.mean():.3f}",
    ]
    if projection.continuity is not None:
        said[-1] += ","
        said.append(f"continuity {projection.continuity.mean():.3f}")
    return tuple(said)


def trust_of_all(maps: Mapping[Any, Projection]) -> str:
    """Return how far several maps can be trusted: each, or where they are many, from-to."""
    if len(maps) <= 3:
        return "; ".join(f"{shorten(name, 30)}: {one.trust()}" for name, one in maps.items())
    kept = [float(one.preservation.mean()) for one in maps.values()]
    trust = [float(one.trustworthiness.mean()) for one in maps.values()]
    ks = sorted({one.neighbors for one in maps.values()})
    k = str(ks[0]) if len(ks) == 1 else f"{ks[0]} to {ks[-1]}"
    return (
        f"{min(kept):.0%} to {max(kept):.0%} of the {k} nearest neighbours kept, "
        f"trustworthiness {min(trust):.3f} to {max(trust):.3f}"
    )
