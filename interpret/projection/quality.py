"""How faithful a map is: point by point, and as a whole.

Up to some 8,000 points every measure is exact. Beyond, those that rank all points
(trustworthiness, continuity) are taken over some 500 points, exactly for these, with the standard
error of their mean; and point by point from the ranks among some 1,000 others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.interpret.projection.neighbors import nearest
from pellucid.interpret.projection.space import Neighbors, Space

_EXACT = 8192  # points up to which all pairs are looked at
_CHUNK = 64 * 2**20  # bytes of the distances that are held at once
_ASKED, _OTHERS, _TRIPLETS = 512, 1024, 50_000
KS = (5, 15, 50)


@dataclass(frozen=True)
class Faithfulness:
    """How much of the neighbourhoods a map kept.

    Attributes
    ----------
    preservation, trustworthiness, continuity
        Shape (samples,), at the number of neighbours asked for.
    measures
        For each measure its mean at several numbers of neighbours: ``"neighbors"`` says which,
        ``"standard_error"`` by how much that of trustworthiness may be off (zeros where exact).
    triplets
        Of random triplets, the share in which the same of two points is the nearer on the map: the
        global shape. 0.5 is chance.
    shown
        Each point's nearest neighbours on the map, shape (samples, neighbours).
    """

    preservation: Tensor
    trustworthiness: Tensor
    continuity: Tensor
    measures: dict[str, Tensor]
    triplets: float
    shown: Tensor


def faithfulness(
    features: Tensor,
    places: Tensor,
    k: int,
    *,
    space: Space | None = None,
    found: Neighbors | None = None,
    metric: str = "euclidean",
    seed: int = 0,
) -> Faithfulness:
    """Compare the neighbourhoods among the features with those on a map.

    Parameters
    ----------
    features, places
        Shape (samples, features) and (samples, dimensions).
    k
        How many nearest neighbours to look at, fewer than half of the samples.
    space
        The features, where they are prepared already: it spares a copy of many.
    found
        The nearest neighbours among the features, where they are known: `k` of them or more.
    metric
        Of the features; the map's is Euclidean.
    seed
        Of the points that are drawn where there are too many to look at all.

    Returns
    -------
    Faithfulness
        Trustworthiness and continuity are those of Venna and Kaski (2001): a point's is 1 where no
        point was drawn into its neighbourhood, and none out of it; their means are scikit-learn's
        `sklearn.manifold.trustworthiness`, and that of the two spaces exchanged.
    """
    n = len(features)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.float64 if n <= _EXACT else torch.float32
    if space is None or kind == torch.float64:
        space = Space(features, metric, kind)
    there, here = _Pairs(space), _Pairs(Space(places, "euclidean", kind))
    ks = sorted({j for j in (*KS, k) if j < (n - 1) / 2} | {k})
    if n <= _EXACT:
        rows = torch.arange(n, device=features.device)
        kept, trust, going, shown = _measured(there, here, rows, ks)
        at = ks.index(k)
        mine = (kept[at], trust[at], going[at])
        shown = shown[:, :k]
        errors = torch.zeros(len(ks), dtype=torch.float64)
    else:
        rows = torch.randperm(n, generator=generator)[:_ASKED].to(features.device)
        kept, trust, going, _ = _measured(there, here, rows, ks)
        errors = trust.std(1) / len(rows) ** 0.5
        shown = nearest(here.space, k, recall=0.995).indices
        mine = _by_others(there, here, found, shown, generator)
    measures = {
        "neighbors": torch.tensor(ks),
        "preservation": kept.mean(1),
        "trustworthiness": trust.mean(1),
        "continuity": going.mean(1),
        "standard_error": errors,
    }
    return Faithfulness(*mine, measures, _triplets(there, here, generator), shown)


class _Pairs:
    """Squared distances between points."""

    def __init__(self, space: Space) -> None:
        self.space, self.points, self.norms = space, space.points, space.norms

    def __len__(self) -> int:
        return len(self.points)

    def of(self, rows: Tensor, to: Tensor | None = None) -> Tensor:
        """Return the squared distances from some points to all (or some), infinite to itself."""
        others = self.points if to is None else self.points[to]
        norms = self.norms if to is None else self.norms[to]
        found = torch.addmm(norms, self.points[rows], others.T, alpha=-2)
        found += self.norms[rows, None]
        found.clamp_min_(0)  # of copies, rounding may leave less
        columns = torch.arange(len(self), device=rows.device) if to is None else to
        return found.masked_fill_(rows[:, None] == columns, torch.inf)

    def between(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the squared distances of pairs, in the shape of the others."""
        width = self.points.shape[1] * self.points.element_size()
        pairs = torch.stack([one.expand_as(other).flatten(), other.flatten()], 1)
        found = [
            (self.points[part[:, 0]] - self.points[part[:, 1]]).square().sum(1)
            for part in torch.split(pairs, max(1, _CHUNK // (4 * width)))
        ]
        return torch.cat(found).view(other.shape)


def _measured(
    there: _Pairs, here: _Pairs, rows: Tensor, ks: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return preservation, trustworthiness and continuity of some points, (numbers, points).

    And the nearest on the map, (points, largest number).
    """
    n, most = len(there), max(ks)
    size = max(1, _CHUNK // max(16 * n, most * most))
    kept, trust, going, near_by = [], [], [], []
    for part in torch.split(rows, size):
        far, near = there.of(part), here.of(part)
        real = far.topk(most, largest=False)
        shown = near.topk(most, largest=False)
        common = shown.indices[:, :, None] == real.indices[:, None, :]
        near_by.append(shown.indices)
        drawn_in = _ranks(far, shown.indices)
        torn_out = _ranks(near, real.indices)
        for k in ks:
            kept.append(common[:, :k, :k].any(2).double().mean(1))
            trust.append(1 - _scale(n, k) * (drawn_in[:, :k] - k).clamp_min(0).sum(1))
            going.append(1 - _scale(n, k) * (torn_out[:, :k] - k).clamp_min(0).sum(1))
    count = len(ks)
    found = [
        torch.stack([torch.cat(parts[i::count]) for i in range(count)])
        for parts in (kept, trust, going)
    ]
    return found[0], found[1], found[2], torch.cat(near_by)


def _ranks(squares: Tensor, of: Tensor) -> Tensor:
    """Return which nearest neighbour of its row each of some points is, from 1; float64."""
    ordered = squares.sort(1).values
    return (torch.searchsorted(ordered, squares.gather(1, of).contiguous()) + 1).double()


def _scale(n: int, k: int) -> float:
    return 2 / (k * (2 * n - 3 * k - 1))


def _by_others(
    there: _Pairs,
    here: _Pairs,
    found: Neighbors | None,
    shown: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three measures of every point, ranks being estimated among some others."""
    n, k = shown.shape
    real = (found or nearest(there.space, k)).indices[:, :k]
    others = torch.randperm(n, generator=generator)[:_OTHERS].to(real.device)
    kept: list[Tensor] = []
    trust: list[Tensor] = []
    going: list[Tensor] = []
    size = max(1, _CHUNK // (4 * _OTHERS))
    for part in torch.split(torch.arange(n, device=real.device), size):
        kept.append((shown[part, :, None] == real[part, None, :]).any(2).double().mean(1))
        for pairs, mine, into in ((there, shown, trust), (here, real, going)):
            ordered = pairs.of(part, others).sort(1).values
            distances = pairs.between(part[:, None], mine[part])
            nearer = torch.searchsorted(ordered, distances.contiguous())
            ranks = nearer.double() * ((n - 1) / len(others)) + 1
            into.append(1 - _scale(n, k) * (ranks - k).clamp_min(0).sum(1))
    return torch.cat(kept), torch.cat(trust), torch.cat(going)


def purity(labels: Tensor, near: Tensor) -> Tensor:
    """Return of each point's neighbours the share that has its label, shape (samples,), float64.

    Parameters
    ----------
    labels
        Shape (samples,), negative where not known: such neighbours do not count, and the purity of
        such points is NaN.
    near
        Shape (samples, neighbours).
    """
    theirs = labels[near]
    known = (theirs >= 0).double().sum(1)
    same = (theirs == labels[:, None]).double().sum(1)
    return torch.where((labels >= 0) & (known > 0), same / known, torch.nan)


def _triplets(there: _Pairs, here: _Pairs, generator: torch.Generator) -> float:
    """Return the share of random triplets whose order the map kept (Wang and others 2021)."""
    n = len(there)
    drawn = torch.randint(n, (3, _TRIPLETS), generator=generator).to(there.points.device)
    one, two, three = drawn
    real = (one != two) & (two != three) & (one != three)
    agreed = hits = 0
    for part in torch.split(real.nonzero()[:, 0], 8192):
        a, b, c = one[part], two[part], three[part]
        far = there.between(a, b) < there.between(a, c)
        near = here.between(a, b) < here.between(a, c)
        hits += int((far == near).sum())
        agreed += len(part)
    return hits / max(1, agreed)
