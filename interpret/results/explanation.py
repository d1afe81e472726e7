"""`Explanation`: what each part of an input contributed, and how wrong that may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pellucid.errors import InputError
from pellucid.interpret.results.base import Result, format_table, screen, shorten
from pellucid.interpret.results.storage import storable
from pellucid.interpret.results.trees import Tree, is_leaf, leaves

if TYPE_CHECKING:
    import pandas as pd


@storable
@dataclass(frozen=True)
class Cost:
    """What the work cost.

    Attributes
    ----------
    forward, backward
        Points (rows of a batch) that went through the model, and back.
    seconds
        Wall time.
    """

    forward: int
    backward: int
    seconds: float


ByPlace = np.ndarray | dict[str, np.ndarray | None] | None  # a dict where there are several places

# Fields that are a dict from place to what it has, where there are several places.
_BY_PLACE = (
    "values",
    "baseline",
    "baseline_prediction",
    "error",
    "residual",
    "standard_error",
    "path",
)


@storable
@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Explanation(Result):
    """Attributions of some samples, with what is needed to judge them.

    What the method cannot say is None, never zero. With several inputs, `values`, `inputs`,
    `baseline` and `axes` have the structure of the inputs, with None for those that were carried
    along. With several targets, a target axis follows the sample axis of `values`, `prediction`,
    `baseline_prediction`, `error` and `residual`. With several places (`at` is a tuple), `values`,
    `baseline`, `baseline_prediction`, `error`, `residual`, `standard_error`, `axes` and `path` are
    dicts from place to what each of them has.

    Attributes
    ----------
    values
        The attributions, in `units` (per unit of input for a plain gradient).
    method
        The method's name.
    inputs, baseline
        What was explained, and what it was compared with (one row that all samples share, or one
        row for each).
    target
        The class index explained in each row, shape (samples,), or (targets,) with a target axis,
        or (samples, targets) where each row has its own, as generated tokens do: then -1, and NaN
        in `values` and whatever else is of a target, where a row has fewer than others. None for a
        regression or a function of the output.
    prediction, baseline_prediction
        The score that is explained, at the input and at the baseline.
    error
        Estimated relative L2 error of each row's attribution, against the exact integral. The
        error of a row is relative to the larger of the attribution's norm and the floor that
        `settings` states.
    residual
        Completeness residual of each row: prediction - baseline prediction - sum of the values. An
        independent check; it is never redistributed over the values.
    standard_error
        Of each value, where the method samples.
    cost
        Points through the model and back, and seconds.
    feature_names, class_names, sample_ids
        Names for the feature axis, the classes and the samples.
    at
        Where in the model the values are: ``"input"``, or the name of a layer; a tuple of these
        with several places.
    axes
        What each axis of `values` is: sample, target, channel, row, column, feature, ...
    units
        Units of the score: ``"logit"``, ``"probability"``, ``"output"``.
    groups
        Named groups of features: for each name the boolean mask over one sample's values. Where
        `values` have an axis of groups, it is these, in this order, and masks are over the inputs.
    categories
        For columns that are not of numbers, by their names (or positions): what the codes in
        `inputs` and `baseline` stand for.
    display
        What to show in place of the inputs (the picture before normalisation).
    tokens
        The text of each input token, shape (samples, tokens); empty for padding, which is never
        attributed.
    words
        Which word each token belongs to, shape (samples, tokens); -1 for none (padding, and the
        special tokens).
    target_names
        The text of each target where targets are tokens, shape (samples, targets), with one column
        where there is no target axis; empty where a row has fewer targets. A target's values are
        zero at the token itself and at those behind it: a language model does not see them.
    path
        The nodes at which a path was evaluated, each array of shape (samples, nodes) and padded
        with NaN: ``"step"`` (0 is the baseline, 1 the input), ``"score"``, and ``"norm"``, that of
        gradient x difference. None where there was no path, or several targets.
    """

    values: Tree
    method: str
    inputs: Tree = None
    baseline: Tree = None
    target: np.ndarray | None = None
    prediction: np.ndarray | None = None
    baseline_prediction: ByPlace = None
    error: ByPlace = None
    residual: ByPlace = None
    standard_error: Tree = None
    cost: Cost | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    sample_ids: np.ndarray | None = None
    at: str | tuple[str, ...] = "input"
    axes: Tree = None
    units: str = "output"
    groups: dict[str, np.ndarray] | None = None
    categories: dict[str, tuple[str, ...]] | None = None
    display: np.ndarray | None = None
    tokens: np.ndarray | None = None
    words: np.ndarray | None = None
    target_names: np.ndarray | None = None
    path: dict[str, Any] | None = None

    _sampled: ClassVar[tuple[str, ...]] = (
        "values",
        "inputs",
        "baseline",
        "prediction",
        "baseline_prediction",
        "error",
        "residual",
        "standard_error",
        "sample_ids",
        "display",
        "tokens",
        "words",
        "target_names",
        "path",
    )

    def __post_init__(self) -> None:
        found = [array for _, array in leaves(self.values) if array is not None]
        if not found or not all(isinstance(a, np.ndarray) and a.ndim >= 1 for a in found):
            raise InputError("an Explanation needs values: arrays with a sample axis")
        n = len(found[0])
        for name in self._sampled_fields():
            for path, array in leaves(getattr(self, name)):
                if not isinstance(array, np.ndarray):
                    if array is not None and name not in ("inputs", "baseline"):
                        raise InputError(f"{name} is a {type(array).__name__}, not an array")
                    continue
                allowed = {(n,), (1,)} if name in ("baseline", "inputs") else {(n,)}
                if array.shape[:1] not in allowed:
                    where = f"{name}[{path}]" if path else name
                    raise InputError(
                        f"{where} has shape {array.shape}, but values have {n} samples"
                    )
        for path, array in leaves(self.values):
            axes = self._axes_of(path)
            if array is not None and axes and len(axes) != array.ndim:
                raise InputError(f"axes {axes} are not those of values of shape {array.shape}")
        if self.feature_names is not None and "feature" in self._axes_of(""):
            wanted = self._leaf("values").shape[self._axes_of("").index("feature")]
            if len(self.feature_names) != wanted:
                raise InputError(f"{len(self.feature_names)} feature names for {wanted} features")

    # -- structure ---------------------------------------------------------------------------

    def _sampled_fields(self) -> tuple[str, ...]:
        per_row = self.target is not None and (not self.targeted or self.target.ndim == 2)
        return (*self._sampled, "target") if per_row else self._sampled

    def _samples(self) -> int:
        return len(next(a for _, a in leaves(self.values) if a is not None))

    def _axes_of(self, path: str) -> tuple[str, ...]:
        """Return the axes of the leaf at `path`."""
        if isinstance(self.axes, dict):
            return tuple(self.axes.get(path, ()))
        return tuple(self.axes or ())

    @property
    def _only_axes(self) -> tuple[str, ...]:
        """Return the axes of the only leaf of `values`."""
        return self._axes_of(self.paths[0])

    def _leaf(self, name: str) -> np.ndarray:
        """Return a field's only leaf, or say how to choose one."""
        tree = getattr(self, name)
        if is_leaf(tree):
            return np.asarray(tree)
        found = {path: a for path, a in leaves(tree) if a is not None}
        if len(found) == 1:
            return np.asarray(next(iter(found.values())))
        raise InputError(
            f"there are {len(found)} inputs ({', '.join(found)}); choose one with "
            f"explanation.select({next(iter(found))!r})"
        )

    def select(self, path: str) -> Explanation:
        """Return the explanation of one of several inputs or places, as if it were the only one.

        Parameters
        ----------
        path
            The input's name or position: ``"image"``, ``"0"``, ``"0.mask"``; or the place's name:
            ``"layer3.1"``.

        Raises
        ------
        InputError
            If there is none of this name.
        """
        from dataclasses import replace

        if isinstance(self.at, tuple):
            return self._select_place(path)
        known = {p: a for p, a in leaves(self.values) if a is not None}
        if path not in known:
            raise InputError(f"there is no attributed input {path!r}; there are {list(known)}")

        def one(tree: Tree) -> Any:
            return None if tree is None else dict(leaves(tree)).get(path)

        return replace(
            self,
            values=known[path],
            inputs=one(self.inputs) if self.at == "input" else self.inputs,
            baseline=one(self.baseline),
            standard_error=one(self.standard_error),
            axes=self._axes_of(path),
            settings={**self.settings, "input": path},
        )

    def _select_place(self, place: str) -> Explanation:
        from dataclasses import replace

        if place not in self.at:
            raise InputError(f"there is no place {place!r}; there are {list(self.at)}")

        def one(by_place: Tree) -> Any:
            return by_place.get(place) if isinstance(by_place, dict) else by_place

        axes = self.axes or {}
        within = {
            key.removeprefix(place).removeprefix("."): found
            for key, found in axes.items()
            if key == place or key.startswith(f"{place}.")
        }
        return replace(
            self,
            **{name: one(getattr(self, name)) for name in _BY_PLACE},
            axes=within[""] if set(within) == {""} else within,
            at=place,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the inputs that have values; ``""`` where there is one bare input."""
        return tuple(path for path, array in leaves(self.values) if array is not None)

    @property
    def missing(self) -> np.ndarray | None:
        """Where a row has fewer targets than others, (samples, targets); None where none has."""
        if self.target is None or self.target.ndim != 2 or not (self.target < 0).any():
            return None
        absent: np.ndarray = self.target < 0
        return absent

    @property
    def targeted(self) -> bool:
        """Whether `values` have a target axis."""
        return self.prediction is not None and self.prediction.ndim == 2

    def target_name(self, sample: int = 0) -> str:
        """Return the name of the class that is explained in a row; empty for a regression.

        With a target axis, of the target at that position.
        """
        if self.target is None or self.target.ndim != 1:
            return ""
        if self.target_names is not None and not self.targeted:
            return str(self.target_names[sample, 0])
        index = int(self.target[sample])
        if self.class_names is not None and 0 <= index < len(self.class_names):
            return self.class_names[index]
        return str(index)

    # -- tables ------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each value.

        Returns
        -------
        pandas.DataFrame
            Columns ``sample_id``, ``input`` (with several inputs), one for each further axis, then
            ``value``, and ``input_value`` where the inputs are known and of the values' shape, as
            its text where it is of a category; ``text`` beside ``token`` and ``target_text`` beside
            ``target`` where they have texts.
        """
        import pandas as pd

        frames = []
        many = not is_leaf(self.values)
        # A layer's values stand beside no input.
        inputs = dict(leaves(self.inputs)) if self.at == "input" else {}
        for path, array in leaves(self.values):
            if array is None:
                continue
            axes = self._axes_of(path) or tuple(f"axis {i}" for i in range(array.ndim))
            grid = np.indices(array.shape).reshape(array.ndim, -1)
            columns: dict[str, Any] = {"sample_id": self._ids()[grid[0]]}
            if many:
                columns["input"] = path
            for axis, index in zip(axes[1:], grid[1:], strict=True):
                columns[axis] = self._axis_labels(axis)[index] if self._named(axis) else index
            columns["value"] = array.ravel()
            shown = inputs.get(path)
            if self._of_tokens(array, axes):
                assert self.tokens is not None
                columns["text"] = self.tokens[grid[0], grid[axes.index("token")]]
            if self.target_names is not None and "target" in axes:
                columns["target_text"] = self.target_names[grid[0], grid[axes.index("target")]]
            own = tuple(n for n, axis in zip(array.shape, axes, strict=True) if axis != "target")
            # Beside a group, or two features, stands no one value.
            alike = "group" not in axes and getattr(shown, "shape", ())[1:] == own[1:]
            if isinstance(shown, np.ndarray) and shown.size and alike:
                shown = self._with_texts(shown)
                if self.targeted:
                    shown = shown[:, None]
                columns["input_value"] = np.broadcast_to(shown, array.shape).ravel()
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def top(self, k: int = 5) -> pd.DataFrame:
        """Return the k values of largest magnitude in each sample, largest first.

        Parameters
        ----------
        k
            How many to keep for each sample (and target).

        Returns
        -------
        pandas.DataFrame
            The rows of `to_frame` for those values.
        """
        if k < 1:
            raise InputError(f"k is how many values to keep, at least 1; got {k}")
        frame = self.to_frame()
        # By row and target, not by their names: two rows may have the same id.
        leading = 2 if self.targeted else 1
        cells = np.concatenate(
            [
                np.arange(prod(a.shape[:leading])).repeat(prod(a.shape[leading:]))
                for _, a in leaves(self.values)
                if a is not None
            ]
        )
        order = np.lexsort((-frame["value"].abs().to_numpy(), cells))
        ordered = cells[order]
        rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
        return frame.iloc[order[rank < k]].reset_index(drop=True)

    def by_word(self, sample: int = 0) -> pd.DataFrame:
        """Add the values of one text up within words.

        Parameters
        ----------
        sample
            The text's position.

        Returns
        -------
        pandas.DataFrame
            Columns ``word`` and ``value``, and ``target`` before them with a target axis. Special
            tokens stand for themselves, so that the values add up to those of the tokens; padding
            is left out.

        Raises
        ------
        InputError
            If it is not known which word a token belongs to.
        """
        import pandas as pd

        values, axes = self._leaf("values"), self._only_axes
        if self.tokens is None or self.words is None or axes[-1:] != ("token",):
            raise InputError(
                "words are known where tokens are attributed to, and a tokenizer names them: "
                "explain(..., tokenizer=...)" + (f"; these values have axes {axes}" if axes else "")
            )
        texts, belongs = self.tokens[sample], self.words[sample]
        real = [i for i, text in enumerate(texts) if text]
        begins = [
            k == 0 or belongs[i] < 0 or belongs[i] != belongs[real[k - 1]]
            for k, i in enumerate(real)
        ]
        number = np.cumsum(begins) - 1
        words = [""] * (int(number[-1]) + 1 if real else 0)
        for k, i in zip(number, real, strict=True):
            words[k] += str(texts[i])
        # A character of several tokens stands with the last of them.
        words = [word.replace("\N{REPLACEMENT CHARACTER}", "").strip() or word for word in words]
        rows = values[sample][None] if not self.targeted else values[sample]
        sums = np.array([np.bincount(number, row[real], len(words)) for row in rows])
        frame = pd.DataFrame({"word": words * len(rows), "value": sums.ravel()})
        if self.targeted:
            named = self.target_names[sample] if self.target_names is not None else range(len(rows))
            frame.insert(0, "target", np.repeat(np.asarray(named), len(words)))
        return frame

    def group_sums(self, groups: Mapping[str, Any] | np.ndarray | None = None) -> pd.DataFrame:
        """Add the values up within groups of features.

        Parameters
        ----------
        groups
            For each group's name its features (names, positions, or a boolean mask over one
            sample's values); or an integer array of one sample's shape that gives the group of
            each value. None takes the groups that `explain` was given.

        Returns
        -------
        pandas.DataFrame
            One row for each sample, one column for each group.
        """
        import pandas as pd

        values = self._leaf("values")
        if self.targeted:
            raise InputError("group sums are for one target; slice the target axis first")
        axes = self._only_axes
        if axes[-1:] == ("with",):  # what a feature does with the others is half of it its own
            values, axes = values.sum(axis=-1), axes[:-1]
        known, names = self.groups, self.feature_names
        if axes[1:] == ("group",) and self.groups is not None:
            names = tuple(self.groups)
            known = {name: np.arange(len(names)) == i for i, name in enumerate(names)}
        masks = known if groups is None else resolve_groups(groups, values.shape[1:], names)
        if masks is None:
            raise InputError("no groups are known; give groups={'name': [features], ...}")
        sums = {name: values[:, mask].sum(axis=1) for name, mask in masks.items()}
        return pd.DataFrame(sums, index=pd.Index(self._ids(), name="sample_id"))

    def _ids(self) -> np.ndarray:
        return np.arange(len(self)) if self.sample_ids is None else self.sample_ids

    def _of_tokens(self, array: np.ndarray, axes: tuple[str, ...]) -> bool:
        """Whether an array has an axis of the tokens that have texts; a layer may have others."""
        if self.tokens is None or "token" not in axes:
            return False
        return bool(array.shape[axes.index("token")] == self.tokens.shape[1])

    def _named(self, axis: str) -> bool:
        if axis == "target":
            return self.target is not None and self.target.ndim == 1
        if axis == "with":
            return self._named(self._only_axes[-2])
        if axis == "group":
            return self.groups is not None
        return axis == "feature" and self.feature_names is not None

    def _axis_labels(self, axis: str) -> np.ndarray:
        if axis == "with":
            return self._axis_labels(self._only_axes[-2])
        if axis == "group":
            return np.array(list(self.groups or ()), dtype=object)
        if axis == "feature":
            return np.array(self.feature_names, dtype=object)
        assert self.target is not None
        return np.array([self.target_name(i) for i in range(len(self.target))], dtype=object)

    def _with_texts(self, inputs: np.ndarray) -> np.ndarray:
        """Return inputs with the texts of categories in place of their codes."""
        if not self.categories or inputs.ndim != 2:
            return inputs
        names = self.feature_names or tuple(map(str, range(inputs.shape[1])))
        told = inputs.astype(object)
        for i, name in enumerate(names):
            for code, text in enumerate(self.categories.get(name, ())):
                told[inputs[:, i] == code, i] = text
        return told

    # -- shap --------------------------------------------------------------------------------

    def to_shap(self) -> Any:
        """Return this as a `shap.Explanation`, for the plots of the shap package.

        Its sample axis is the first, several targets are its outputs (last), and the channels of a
        picture come behind rows and columns. Its base values are the baseline predictions; codes of
        categories are texts in its display data, and standard errors its `error_std`.

        Returns
        -------
        shap.Explanation
            Without data where the values are of groups, or of a layer.

        Raises
        ------
        InputError
            If there are several inputs or places; choose one with `select`.
        MissingDependencyError
            If shap is not installed.
        """
        from pellucid.interpret.results.shap_values import to_shap

        return to_shap(self)

    @classmethod
    def from_shap(
        cls,
        explanation: Any,
        *,
        prediction: Any = None,
        class_names: Sequence[str] | None = None,
        units: str = "output",
    ) -> Explanation:
        """Return what one of shap's explainers found, to be drawn, compared and saved as ours.

        Parameters
        ----------
        explanation
            A `shap.Explanation` of a table, of texts or pictures, or of one sample of it.
        prediction
            What the model puts out for these samples: (samples,) or (samples, outputs). With it the
            residual says how far shap's values miss it; without, it is what they add up to.
        class_names
            Names of the outputs, where shap has none.
        units
            Of the prediction.

        Raises
        ------
        InputTypeError
            If it is no `shap.Explanation`.
        InputError
            If it holds interactions or texts of several lengths, or another argument does not fit.
        """
        from pellucid.interpret.results.shap_values import from_shap

        return from_shap(explanation, prediction=prediction, class_names=class_names, units=units)

    # -- words -------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return what was explained, how, how far to trust it and what it cost."""
        n = len(self)
        of = f"{n} {'sample' if n == 1 else 'samples'}"
        where = "" if isinstance(self.at, tuple) or self.at == "input" else f" at {self.at}"
        lines = [f"Explanation of {of} by {self.method}{where}"]
        found = [(path, array) for path, array in leaves(self.values) if array is not None]
        for path, array in found[:6]:
            axes = self._axes_of(path) or ("",) * array.ndim
            sizes = " x ".join(
                f"{size} {name}".rstrip() for size, name in zip(array.shape, axes, strict=True)
            )
            lines.append(f"  values{f' of {path}' if path else ''}: {sizes}, in {self.units}")
        if len(found) > 6:
            lines.append(f"  ... and {len(found) - 6} more inputs")
        baseline = self.settings.get("baseline")
        if isinstance(baseline, str):
            lines.append(f"  baseline: {baseline}")
        if self.settings.get("carried"):
            lines.append(
                shorten(f"  carried along, not attributed: {self.settings['carried']}", 100)
            )
        lines += self._trust_lines()
        if self.settings.get("together"):
            lines.append(shorten(f"  go together: {self.settings['together']}", 100))
            lines.append("    what they tell, not what is used of them: conditional_shapley")
        if self.cost is not None:
            lines.append(
                f"  cost: {self.cost.forward:,} forward, {self.cost.backward:,} backward, "
                f"{self.cost.seconds:.2f} s"
            )
        if n and len(found) == 1 and not self.targeted and not isinstance(self.at, tuple):
            lines += self._sample_lines()
        return screen(lines)

    def _trust_lines(self) -> list[str]:
        lines = []
        error, residual = self._known(self.error), self._known(self.residual)
        if error is not None and not np.isnan(error).all():
            worst, middle = np.nanmax(error), np.nanmedian(error)
            lines.append(
                f"  estimated relative error: median {middle:.2%}, worst {worst:.2%}"
                + self._late(error)
            )
        elif self.error is None and self.standard_error is None:
            lines.append("  estimated error: not known for this method")
        sampled = self._known(self.standard_error)
        if sampled is not None and sampled.size and not np.isnan(sampled).all():
            lines.append(
                f"  standard error of the values: median {np.nanmedian(sampled):.2g}, "
                f"worst {np.nanmax(sampled):.2g}"
            )
        if residual is not None and residual.size:
            size = np.abs(residual)
            lines.append(
                f"  completeness residual: median {np.median(size):.2g}, "
                f"worst {np.max(size):.2g} {self.units}"
            )
        return lines

    def _known(self, tree: Tree) -> np.ndarray | None:
        """Return the numbers of all leaves, without those of targets that a row does not have."""
        missing = self.missing
        there = [a for _, a in leaves(tree) if a is not None]
        found = [(a if missing is None else a[~missing]).ravel() for a in there]
        return np.concatenate(found) if found else None

    def _late(self, error: np.ndarray) -> str:
        tolerance = self.settings.get("tolerance")
        if tolerance is None:
            return ""
        late = int((~(error <= tolerance)).sum())
        return f"; {late} of {error.size} rows above the tolerance of {tolerance:g}" if late else ""

    def _sample_lines(self, samples: int = 3, k: int = 5) -> list[str]:
        lines: list[str] = []
        for i in range(min(samples, len(self))):
            target = self.target_name(i)
            head = f"  sample {self._ids()[i]}" + (f", target {target}" if target else "")
            if self.prediction is not None:
                head += f": {self.units} {self.prediction[i]:.4g}"
                if isinstance(self.baseline_prediction, np.ndarray):
                    head += f" (baseline {self.baseline_prediction[i]:.4g})"
            lines.append(head)
            values = self._leaf("values")[i]
            order = np.argsort(-np.abs(values), axis=None, kind="stable")
            if values.ndim == 1 and self._of_tokens(self._leaf("values"), self._only_axes):
                assert self.tokens is not None
                order = order[self.tokens[i, order] != ""]  # without padding
            order = order[:k]
            rows = [
                (self._place(position, i), f"{values[position]:+.4g}")
                for position in zip(*np.unravel_index(order, values.shape), strict=True)
            ]
            lines += format_table(rows, indent="    ")
        if len(self) > samples:
            lines.append(f"  ... and {len(self) - samples} more samples")
        return lines

    def _place(self, position: tuple[int, ...], sample: int) -> str:
        """Return where one value stands: the feature's name, or its position on each axis."""
        axes = self._only_axes[1:] or tuple(f"axis {i + 1}" for i in range(len(position)))
        sizes = self._leaf("values").shape[1:]
        # The only channel of a grey picture is not worth a word.
        told = [part for part in zip(axes, position, sizes, strict=True) if part[2] > 1]
        text = self._of_tokens(self._leaf("values"), ("sample", *axes))

        def name(axis: str, i: int) -> str:
            if axis == "token" and text:
                assert self.tokens is not None
                return f"token {i} {str(self.tokens[sample, i])!r}"
            return str(self._axis_labels(axis)[i]) if self._named(axis) else f"{axis} {i}"

        return ", ".join(
            name(axis, i) for axis, i, _ in told or zip(axes, position, sizes, strict=True)
        )


def resolve_groups(
    groups: Mapping[str, Any] | np.ndarray | Sequence[Any],
    shape: tuple[int, ...],
    feature_names: Sequence[str] | None,
) -> dict[str, np.ndarray]:
    """Turn any way of naming groups into boolean masks over one sample's values.

    Raises
    ------
    InputError
        If a feature is unknown, or a mask does not have the shape of one sample.
    """
    if not isinstance(groups, Mapping):
        labels = _for_all_channels(np.asarray(groups), shape)
        if labels.shape != shape or labels.dtype.kind not in "iu":
            raise InputError(
                f"groups as an array are integers of one sample's shape {shape}; "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        return {f"group {label}": labels == label for label in np.unique(labels)}
    masks: dict[str, np.ndarray] = {}
    size = int(np.prod(shape))
    for name, members in groups.items():
        chosen = np.asarray(members)
        mask = np.zeros(size, dtype=bool)
        if chosen.dtype == bool:
            chosen = _for_all_channels(chosen, shape)
            if chosen.shape != shape:
                raise InputError(
                    f"group {name!r} is a mask of shape {chosen.shape}; one sample has {shape}"
                )
            mask = chosen.ravel()
        else:
            for member in chosen.ravel().tolist():
                mask[_feature_position(member, name, size, feature_names)] = True
        masks[str(name)] = mask.reshape(shape)
    return masks


def _for_all_channels(given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what is given for the rows and columns of a picture, for each of its channels."""
    if len(shape) == 3 and given.shape == shape[1:]:
        return np.broadcast_to(given, shape)
    if len(shape) == 3 and given.shape == shape[:2]:
        return np.broadcast_to(given[..., None], shape)
    return given


def _feature_position(member: Any, group: str, size: int, names: Sequence[str] | None) -> int:
    if isinstance(member, str):
        if names is None or member not in names:
            known = (
                f"known: {', '.join(list(names)[:8])}" if names else "no feature names are known"
            )
            raise InputError(f"group {group!r} names the unknown feature {member!r}; {known}")
        return list(names).index(member)
    if not isinstance(member, int) or not 0 <= member < size:
        raise InputError(f"group {group!r} has {member!r}; features are 0 to {size - 1}")
    return member
