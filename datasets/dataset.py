"""`Dataset`: inputs and targets, with what they are called and where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pellucid.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

Task = Literal["classification", "regression"]


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Dataset:
    """Samples with their targets, and all that is known about them.

    Attributes
    ----------
    name
        Its name.
    inputs
        Float32, shape (samples, features) for a table, (samples, channels, rows, columns) for
        images.
    targets
        Shape (samples,): the class index (int64), or the value to predict (float32).
    task
        ``"classification"`` or ``"regression"``.
    feature_names
        One for each column of a table; None for images.
    class_names
        One for each class index; None for a regression.
    description
        What the data are.
    source, license
        Where they come from, and what may be done with them.
    preprocessing
        What was done to the inputs as they were published.
    sample_ids
        What each sample is called: its position in the data as loaded, which splits keep.
    mean, scale
        Of each feature, where the inputs were standardized: ``inputs * scale + mean`` are the
        values in their own units.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    task: Task
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    description: str = ""
    source: str = ""
    license: str = ""
    preprocessing: str = "none"
    sample_ids: np.ndarray = None  # type: ignore[assignment]  # None takes the positions
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Bring the arrays to their types, and find what does not fit together.

        Raises
        ------
        InputError
            If lengths, names, classes or numbers are not what they should be.
        """
        # A value that float32 cannot hold becomes infinite, and is reported below as that.
        with np.errstate(over="ignore"):
            self._set("inputs", _numbers(self.inputs, "inputs").astype(np.float32, copy=False))
        if self.inputs.ndim < 2 or self.inputs.size == 0:
            raise InputError(
                f"inputs have a sample axis, and after it at least one feature; "
                f"got shape {self.inputs.shape}"
            )
        bad = np.argwhere(~np.isfinite(self.inputs))
        if len(bad):
            raise InputError(
                f"inputs have {len(bad)} values that are NaN, infinite or too large for float32, "
                f"the first in sample {bad[0][0]}, {self._place(bad[0][1:])}"
            )
        self._check_targets()
        self._check_names()
        ids = np.arange(len(self)) if self.sample_ids is None else np.asarray(self.sample_ids)
        if ids.shape != (len(self),):
            raise InputError(f"there are {len(self)} samples, but sample_ids of shape {ids.shape}")
        self._set("sample_ids", ids)

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def _place(self, position: np.ndarray) -> str:
        if self.feature_names is not None and len(self.feature_names) > position[0]:
            return f"feature {self.feature_names[position[0]]!r}"
        return f"feature {', '.join(map(str, position))}"

    def _check_targets(self) -> None:
        if self.task not in ("classification", "regression"):
            raise InputError(f"task is 'classification' or 'regression', not {self.task!r}")
        targets = _numbers(self.targets, "targets")
        if targets.shape != (len(self.inputs),):
            raise InputError(
                f"there are {len(self.inputs)} samples, but targets of shape {targets.shape}"
            )
        if self.task == "classification":
            if targets.dtype.kind not in "iu" or targets.min() < 0:
                raise InputError(
                    f"targets of a classification are class indices 0, 1, ...; got "
                    f"{targets.dtype} from {targets.min()} to {targets.max()}"
                )
            self._set("targets", targets.astype(np.int64, copy=False))
        else:
            if not np.isfinite(targets).all():
                raise InputError("targets of a regression are finite numbers; some are not")
            self._set("targets", targets.astype(np.float32, copy=False))

    def _check_names(self) -> None:
        if self.feature_names is not None:
            self._set("feature_names", _names(self.feature_names, "feature_names"))
            if self.inputs.ndim != 2 or len(self.feature_names) != self.inputs.shape[1]:
                raise InputError(
                    f"there are {len(self.feature_names)} feature names for inputs of shape "
                    f"{self.inputs.shape}; a table has one for each column, images have none"
                )
        if self.class_names is not None:
            self._set("class_names", _names(self.class_names, "class_names"))
            if self.task == "regression":
                raise InputError("a regression has no class_names")
            if self.targets.max() >= len(self.class_names):
                raise InputError(
                    f"targets go up to class {self.targets.max()}, but there are "
                    f"{len(self.class_names)} class names"
                )

    # -- choosing ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, index: Any) -> Dataset:
        """Return the chosen samples, with their ids.

        Parameters
        ----------
        index
            A position, a slice, a list of positions or a boolean mask.

        Raises
        ------
        InputError
            If it chooses nothing, or something that is not there.
        """
        try:
            positions = np.atleast_1d(np.arange(len(self))[index])
        except IndexError as error:
            raise InputError(f"cannot choose from {len(self)} samples: {error}") from error
        if positions.ndim != 1 or not len(positions):
            raise InputError(
                f"a subset is chosen by one list of positions with at least one in it; got an "
                f"index of shape {positions.shape}"
            )
        return replace(
            self,
            inputs=self.inputs[positions],
            targets=self.targets[positions],
            sample_ids=self.sample_ids[positions],
        )

    def split(
        self, test: float = 0.25, seed: int = 0, *, stratify: bool = True
    ) -> tuple[Dataset, Dataset]:
        """Return the samples in two parts, shuffled.

        Parameters
        ----------
        test
            The share of the samples that is held out, between 0 and 1. Each part has at least one
            sample.
        seed
            The same seed gives the same parts.
        stratify
            Keep the shares of the classes, to within one sample of each. A regression has none,
            and is split at random.

        Returns
        -------
        tuple of Dataset
            The training part and the test part.

        Raises
        ------
        InputError
            If `test` or `seed` cannot be worked with, or there are fewer than two samples.
        """
        n = len(self)
        if isinstance(test, bool) or not isinstance(test, (int, float)) or not 0 < test < 1:
            raise InputError(f"test is the share that is held out, between 0 and 1; got {test!r}")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise InputError(f"seed is an integer of at least 0; got {seed!r}")
        if n < 2:
            raise InputError("one sample cannot be split in two parts")
        held_out = min(max(round(test * n), 1), n - 1)
        shuffled = np.random.default_rng(seed).permutation(n)
        if stratify and self.task == "classification":
            classes = self.targets[shuffled]
            quota = _apportion(np.bincount(classes), held_out)
            chosen = np.concatenate([np.flatnonzero(classes == c)[:k] for c, k in enumerate(quota)])
        else:
            chosen = np.arange(held_out)
        mask = np.zeros(n, dtype=bool)
        mask[chosen] = True
        return self.subset(shuffled[~mask]), self.subset(shuffled[mask])

    # -- scaling -----------------------------------------------------------------------------

    def standardized(self, like: Dataset | None = None) -> Dataset:
        """Return the data with every feature at mean 0 and standard deviation 1.

        A feature that is constant becomes 0.

        Parameters
        ----------
        like
            The data whose mean and standard deviation are used: give the training part, before or
            after it was standardized, to bring the test part to the same scale. None takes these
            data themselves.

        Raises
        ------
        InputError
            If the data are standardized already, or `like` has other features.

        Examples
        --------
        >>> from pellucid import datasets
        >>> train, test = datasets.load_diabetes().split()
        >>> train = train.standardized()
        >>> test = test.standardized(like=train)
        """
        if self.mean is not None:
            raise InputError(f"{self.name} is standardized already")
        reference = self if like is None else like
        if reference.inputs.shape[1:] != self.inputs.shape[1:]:
            raise InputError(
                f"like has samples of shape {reference.inputs.shape[1:]}, these data have "
                f"{self.inputs.shape[1:]}"
            )
        mean, scale = reference.mean, reference.scale
        if mean is None or scale is None:
            mean, scale = _moments(reference.inputs)
        step = "each feature minus its mean, over its standard deviation"
        if like is not None:
            step += f" (of the {len(like)} samples of {like.name} that were given)"
        return replace(
            self,
            inputs=((self.inputs - mean) / scale).astype(np.float32),
            preprocessing=step if self.preprocessing == "none" else f"{self.preprocessing}; {step}",
            mean=mean,
            scale=scale,
        )

    def original_inputs(self) -> np.ndarray:
        """Return the inputs as they were before `standardized`, in the features' own units."""
        if self.mean is None or self.scale is None:
            return self.inputs
        return np.asarray(self.inputs * self.scale + self.mean, dtype=np.float32)

    # -- in other forms ----------------------------------------------------------------------

    def torch(self) -> tuple[Tensor, Tensor]:
        """Return inputs and targets as tensors on the CPU, copied."""
        import torch

        return torch.tensor(self.inputs), torch.tensor(self.targets)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each sample.

        Returns
        -------
        pandas.DataFrame
            One column for each feature, named by its position where it has no name, and
            ``target``: the class name, or its index, or the value. The index is ``sample_id``.
        """
        import pandas as pd

        names = self.feature_names or tuple(
            ", ".join(map(str, position)) for position in np.ndindex(self.inputs.shape[1:])
        )
        frame = pd.DataFrame(
            self.inputs.reshape(len(self), -1),
            columns=list(names),
        )
        frame.index = pd.Index(self.sample_ids, name="sample_id")
        target = (
            np.array(self.class_names, dtype=object)[self.targets]
            if self.class_names
            else self.targets
        )
        frame.insert(frame.shape[1], "target", target, allow_duplicates=True)
        return frame

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.inputs.shape[1:]))
        what = f"{shape} features" if self.inputs.ndim == 2 else f"images of {shape}"
        lines = [f"Dataset {self.name}: {len(self):,} samples, {what}, {self.task}"]
        if self.task == "regression":
            lines.append(f"  targets: {self.targets.min():.4g} to {self.targets.max():.4g}")
        else:
            counts = np.bincount(self.targets, minlength=len(self.class_names or ()))
            names = self.class_names or tuple(map(str, range(len(counts))))
            shown = [f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
            more = [f"... {len(shown) - 10} more"] if len(shown) > 10 else []
            lines.append(f"  classes: {', '.join(shown[:10] + more)}")
        lines += [
            f"  {label}: {text}"
            for label, text in [
                ("about", self.description),
                ("preprocessing", self.preprocessing),
                ("source", self.source),
                ("license", self.license),
            ]
            if text
        ]
        return "\n".join(lines)


def _numbers(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} are an array of numbers; got {array.dtype}")
    return array


def _names(names: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{what} are a sequence of strings; got {names!r}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{what} name {', '.join(map(repr, twice))} more than once")
    return tuple(names)


def _apportion(counts: np.ndarray, seats: int) -> np.ndarray:
    """Divide `seats` in proportion to `counts`, by largest remainder."""
    share = counts * seats / counts.sum()
    quota: np.ndarray = np.floor(share).astype(int)
    largest = np.argsort(quota - share, kind="stable")
    quota[largest[: seats - quota.sum()]] += 1
    return quota


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each feature; 1 where it is constant."""
    wide = inputs.astype(np.float64)
    constant = np.ptp(inputs, axis=0) == 0
    mean = np.where(constant, wide[0], wide.mean(axis=0))
    return mean, np.where(constant, 1.0, wide.std(axis=0))
