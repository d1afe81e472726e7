"""From blocks to an `Explanation`: the parts put together, in the structure of the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.interpret.attribution.registry import Attribution, Method
from pellucid.interpret.block import Block
from pellucid.interpret.engine import Engine
from pellucid.interpret.labels import Labels
from pellucid.interpret.language import Language, masked
from pellucid.interpret.places import Place, input_axes, layer_axes
from pellucid.interpret.results import Cost, Explanation, Provenance
from pellucid.interpret.results.trees import Tree, rebuild
from pellucid.interpret.targets import Scoring


@dataclass(frozen=True)
class Part:
    """What is known of one block when it is done; the block itself may go, and its memory."""

    found: dict[str, Attribution]  # by place
    index: Tensor | None  # the class of each row and target
    stop: int  # the row behind its last
    cost: Cost

    @classmethod
    def of(cls, found: dict[str, Attribution], block: Block, cost: Cost) -> Part:
        """Return a block's attributions, on the CPU."""
        index = None if block.index is None else block.index.cpu()
        here = {name: _on_cpu(one) for name, one in found.items()}
        return cls(here, index, block.rows.stop, cost)


def _on_cpu(found: Attribution) -> Attribution:
    def here(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: here(one) for key, one in value.items()}
        return value.detach().cpu() if isinstance(value, Tensor) else value

    return Attribution(
        **{f.name: here(getattr(found, f.name)) for f in fields(found) if f.name != "settings"},
        settings=found.settings,
    )


def assemble(
    chosen: Method,
    places: Sequence[Place],
    parts: list[Part],
    engine: Engine,
    baselines: Mapping[str, Tensor | None],
    score: Scoring,
    labels: Labels,
    settings: dict[str, Any],
    provenance: Provenance,
    cost: Cost,
    language: Language,
) -> Explanation:
    """Put the blocks together, in the structure of the inputs, or by place."""
    done, batch = parts[-1].stop, engine.inputs
    one = len(places) == 1
    by_place = {
        place.name: _assemble_place(chosen, place, parts, engine, score) for place in places
    }

    def whole(tree: Tree) -> Tree:
        """Return arrays (rows, targets, ...) with nothing where a row has no such target."""
        if score.missing is None:
            return tree
        gone = score.missing[:done]
        return rebuild(
            tree,
            lambda _, a: (
                a if a is None else np.where(gone[(..., *[None] * (a.ndim - 2))], np.nan, a)
            ),
        )

    def of(name: str) -> Any:
        found = {place: whole(known[name]) for place, known in by_place.items()}
        if one:
            return found[places[0].name]
        return None if all(value is None for value in found.values()) else found

    axes: dict[str, tuple[str, ...]] = {}
    for place, known in by_place.items():
        for path, named in known["axes"].items():
            axes[path if one else f"{place}.{path}".rstrip(".")] = named
    index: np.ndarray | None = None
    if parts[0].index is not None:
        index = score.classes_of(
            torch.cat([part.index for part in parts if part.index is not None])
        ).numpy()
        index = index[:, 0] if not score.per_target else index[0] if score.shared else index

    def shown(tree: Tree) -> Tree:
        return rebuild(
            tree,
            lambda _, leaf: (
                labels.shown(leaf[:done]) if isinstance(leaf, Tensor) and leaf.ndim else None
            ),
        )

    first = parts[0].found[places[0].name]
    starts = {
        path: labels.shown(b if len(b) == 1 else b[:done])
        for path, b in baselines.items()
        if b is not None
    }
    return Explanation(
        values=of("values"),
        method=chosen.name,
        inputs=shown(batch.tree),
        baseline=batch.structured(starts) if starts else None,
        target=index,
        prediction=whole(joined(parts, places[0].name, "prediction", score)),
        baseline_prediction=of("baseline_prediction"),
        error=of("error"),
        residual=of("residual"),
        standard_error=of("standard_error"),
        cost=cost,
        feature_names=labels.features,
        class_names=score.class_names,
        sample_ids=labels.samples[:done],
        at=places[0].name if one else tuple(place.name for place in places),
        axes=axes[""] if list(axes) == [""] else axes,
        units=score.units,
        groups=labels.groups,
        categories=labels.categories,
        display=None if labels.display is None else labels.display[:done],
        path=of("path"),
        **language.names(batch, score, index, done),
        settings=settings | first.settings,
        provenance=provenance,
    )


def _assemble_place(
    chosen: Method, place: Place, parts: list[Part], engine: Engine, score: Scoring
) -> dict[str, Any]:
    """Return what is known at one place, each in the form that the explanation has it."""
    found = [part.found[place.name] for part in parts]
    flat = torch.cat([one.values for one in found])
    prediction = joined(parts, place.name, "prediction", score)
    baseline_prediction = joined(parts, place.name, "baseline_prediction", score)
    residual = None
    if chosen.complete and prediction is not None and baseline_prediction is not None:
        sums = torch.cat([one.values.sum(-1, dtype=torch.float64) for one in found]).numpy()
        total = sums if score.per_target else sums[:, 0]
        residual = prediction.astype(float) - baseline_prediction.astype(float) - total
    errors = [one.standard_error for one in found if one.standard_error is not None]
    values, axes = _shaped(flat, place, found[0], engine, score)
    return {
        "values": values,
        "axes": axes,
        "standard_error": (
            _shaped(torch.cat(errors), place, found[0], engine, score)[0] if errors else None
        ),
        # Beside values that do not account for the difference it would be taken for one.
        "baseline_prediction": baseline_prediction if chosen.complete else None,
        "error": joined(parts, place.name, "error", score),
        "residual": residual,
        "path": _padded([one.path for one in found]),
    }


def _shaped(
    flat: Tensor, place: Place, found: Attribution, engine: Engine, score: Scoring
) -> tuple[Tree, dict[str, tuple[str, ...]]]:
    """Return flattened values (rows, targets, values) in the shape of their place, and its axes."""

    def one(part: Tensor, shape: Sequence[int]) -> np.ndarray:
        array = part.reshape(*part.shape[:2], *shape)
        whole: np.ndarray = (array if score.per_target else array[:, 0]).numpy()
        return whole

    if found.shape is not None:
        assert found.axes is not None
        return one(flat, found.shape), {"": _with_target(found.axes, score.per_target)}
    if place.inside:
        ((shape, _),) = engine.shapes[place.name]
        axes = layer_axes(shape, engine.model.layer(place.name), engine.model)
        return one(flat, shape), {"": _with_target(axes, score.per_target)}
    batch = engine.inputs
    here = batch.tensors(attributed=True)
    split = torch.split(flat, [leaf[0].numel() for leaf in here.values()], dim=-1)
    values = {}
    named = {}
    for (path, leaf), part in zip(here.items(), split, strict=True):
        mask = batch.mask(path) if not leaf.is_floating_point() else None
        if mask is not None:
            # What is padding has no part in the prediction.
            part = masked(part, mask)  # noqa: PLW2901
        values[path] = one(part, leaf.shape[1:])
        tokens = not leaf.is_floating_point() and leaf.ndim == 2
        axes = ("sample", "token") if tokens else input_axes(batch.axes(path), engine.model)
        named[path] = _with_target(axes, score.per_target)
    return batch.structured(values), named


def _padded(paths: list[dict[str, Tensor] | None]) -> dict[str, np.ndarray] | None:
    """Return the nodes of all rows, padded to those of the longest path."""
    known = [path for path in paths if path is not None]
    if not known or len(known) < len(paths):
        return None
    most = max(path["step"].shape[1] for path in known)
    return {
        name: torch.cat(
            [
                torch.nn.functional.pad(
                    path[name].float(), (0, most - path[name].shape[1]), value=float("nan")
                )
                for path in known
            ]
        ).numpy()
        for name in known[0]
    }


def joined(parts: list[Part], place: str, name: str, score: Scoring) -> np.ndarray | None:
    """Return one number for each row (and target), of all blocks; None where it is not known."""
    columns = [getattr(part.found[place], name) for part in parts]
    if any(column is None for column in columns):
        return None
    whole: np.ndarray = torch.cat(columns).numpy()
    return whole if score.per_target else whole[:, 0]


def _with_target(axes: tuple[str, ...], per_target: bool) -> tuple[str, ...]:
    return (axes[0], "target", *axes[1:]) if per_target else axes
