"""The inputs of a model: any structure of arrays, of which some leaves are attributed to."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results.trees import Tree, leaves, rebuild

_AXES: dict[int, tuple[str, ...]] = {
    1: ("sample",),
    2: ("sample", "feature"),
    3: ("sample", "row", "column"),
    4: ("sample", "channel", "row", "column"),
    5: ("sample", "channel", "depth", "row", "column"),
}


@dataclass(frozen=True)
class Inputs:
    """A batch of inputs.

    Attributes
    ----------
    tree
        The structure; its leaves are tensors with the sample axis first, or constants.
    attributed
        Paths of the leaves that are attributed to.
    samples
        Length of the sample axis.
    feature_names
        The columns' names, if the inputs were a data frame.
    masks
        For inputs of tokens which of them are no padding, where the model is not told by an
        attention mask beside them.
    """

    tree: Tree
    attributed: tuple[str, ...]
    samples: int
    feature_names: tuple[str, ...] | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self, *, attributed: bool | None = None) -> dict[str, Tensor]:
        """Return the leaves that are attributed to, those that are carried along, or both."""
        return {
            path: leaf
            for path, leaf in leaves(self.tree)
            if has_samples(leaf) and attributed in (None, path in self.attributed)
        }

    def arguments(self, replaced: Mapping[str, Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and named arguments for the model, with these leaves."""
        tree = rebuild(self.tree, replaced.get)
        if isinstance(tree, dict):
            return (), tree
        return (tree if isinstance(tree, tuple) else (tree,)), {}

    def mask(self, path: str) -> Tensor | None:
        """Return the attention mask that belongs to an input of tokens, if there is one."""
        if path in self.masks:
            return self.masks[path]
        there = self.tensors()
        mask = there.get(self.mask_path(path))
        return mask if mask is not None and mask.shape == there[path].shape else None

    def mask_path(self, path: str) -> str:
        """Return where the attention mask of an input of tokens would be."""
        beside, _, name = path.rpartition(".")
        which = name.removesuffix("input_ids") if name.endswith("input_ids") else ""
        return f"{beside}.{which}attention_mask".lstrip(".")

    def axes(self, path: str) -> tuple[str, ...]:
        """Return what each axis of a leaf is, as far as its number of axes tells."""
        ndim = dict(leaves(self.tree))[path].ndim
        return _AXES.get(ndim, ("sample", *(f"axis {i}" for i in range(1, ndim))))

    def structured(self, by_path: Mapping[str, Any]) -> Tree:
        """Return the structure of the inputs with these leaves, and None for the others."""
        return rebuild(self.tree, lambda path, _: by_path.get(path))


def has_samples(leaf: Any) -> bool:
    """Whether a leaf is a tensor with a sample axis, not a constant."""
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def read_inputs(
    inputs: Any,
    *,
    attribute: str | Sequence[str] | None,
    dtype: torch.dtype | None,
    differentiable: bool = True,
) -> Inputs:
    """Turn what a person passes as inputs into tensors, and check it.

    Parameters
    ----------
    inputs
        An array, tensor or data frame; a tuple of positional inputs; a dict of named inputs; nested
        as the model wants them.
    attribute
        Paths of the inputs to attribute to; None for all that are floating-point;
        without any, none yet: the model tells which of its embeddings look them up.
    dtype
        The model's floating dtype, to which floating-point inputs are converted.
    differentiable
        Whether gradients will be asked for; without, points may be made of every input.

    Raises
    ------
    InputError
        If the batch is empty, its parts differ in length, or it holds NaN or infinite values.
    InputTypeError
        If there is no array among them, or one that is not of numbers.
    """
    names = _column_names(inputs)
    tree = rebuild(_plain(inputs), lambda path, leaf: as_tensor(path, leaf, dtype))
    found = {path: leaf for path, leaf in leaves(tree) if has_samples(leaf)}
    if not found:
        raise InputTypeError(
            "inputs hold no array with a sample axis; pass a tensor or array whose first axis "
            "counts the samples"
        )
    lengths = {path: len(leaf) for path, leaf in found.items()}
    n = next(iter(lengths.values()))
    if any(length != n for length in lengths.values()):
        raise InputError(
            "the inputs differ in their number of samples: "
            + ", ".join(f"{label(path)} has {length}" for path, length in lengths.items())
            + "; an input that is the same for all samples can be bound to the model with "
            "functools.partial"
        )
    if n == 0:
        raise InputError("the inputs are an empty batch: there are no samples to explain")
    attributed = _attributed(found, attribute) if differentiable else tuple(found)
    for path, leaf in found.items():
        # A carried input may well hold -inf: an attention mask does.
        if path in attributed and leaf.is_floating_point():
            check_finite(leaf, label(path), names)
    return Inputs(tree=tree, attributed=attributed, samples=n, feature_names=names)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Whether a value is a real number, Python's or NumPy's; True is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def label(path: str) -> str:
    """Return how a message names an input."""
    return f"input {path!r}" if path else "the input"


def check_finite(values: Tensor, what: str, names: Sequence[str] | None = None) -> None:
    """Raise an `InputError` that says where the first NaN or infinite value stands."""
    if not values.numel() or not (values.is_floating_point() or values.is_complex()):
        return
    # The extremes of a NaN are NaN, and take no copy of the values, which may be large.
    if not values.is_complex() and all(torch.isfinite(torch.stack(values.aminmax()))):
        return
    finite = torch.isfinite(values)
    where = (~finite).nonzero()
    first = where[0].tolist()
    place = f"sample {first[0]}"
    if names is not None and values.ndim == 2:
        place += f", feature {names[first[1]]!r}"
    elif len(first) > 1:
        place += f", position {tuple(first[1:])}"
    raise InputError(
        f"{what} has {len(where)} NaN or infinite {'value' if len(where) == 1 else 'values'}, the "
        f"first at {place}; fill or drop such samples first"
    )


def _column_names(inputs: Any) -> tuple[str, ...] | None:
    return tuple(map(str, inputs.columns)) if is_frame(inputs) else None


def is_frame(value: Any) -> bool:
    """Whether something is a data frame."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _plain(tree: Any) -> Tree:
    """Return tuples and dicts for whatever sequences and mappings there are."""
    if isinstance(tree, Mapping):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        if not tree:
            raise InputError("the inputs are an empty batch: there are no samples to explain")
        if _is_numbers(tree):
            return np.asarray(tree)
        return tuple(_plain(value) for value in tree)
    return tree


def _is_numbers(value: Any) -> bool:
    """Whether nested lists hold nothing but numbers: an array written by hand."""
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_is_numbers(v) for v in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_tensor(path: str, leaf: Any, dtype: torch.dtype | None) -> Any:
    """Return a leaf as a tensor of the model's dtype; a constant stays what it is."""
    if leaf is None or isinstance(leaf, (bool, int, float, str)):
        return leaf
    if is_frame(leaf):
        leaf = _numbers_of_frame(path, leaf)
    if isinstance(leaf, Tensor):
        if leaf.layout != torch.strided:
            raise InputTypeError(f"{label(path)} is sparse; pass a dense one: x.to_dense()")
        # What the caller holds is never touched: not its values, nor its requires_grad.
        tensor = leaf.detach()
    else:
        array = np.asarray(leaf)
        if array.dtype.kind == "c":
            raise InputTypeError(f"{label(path)} is complex; gradient methods need real numbers")
        if array.dtype.kind not in "fiub":
            raise InputTypeError(
                f"{label(path)} is {_kind(array)}; a model of tensors needs an array or tensor of "
                "numbers: encode categories first"
            )
        if array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        # In the machine's own byte order and without negative strides, which torch does not know.
        array = np.require(array, array.dtype.newbyteorder("="), "C")
        # torch shares memory with the array, and warns of one that cannot be written to.
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if tensor.is_complex():
        raise InputTypeError(f"{label(path)} is complex; gradient methods need real numbers")
    if tensor.is_floating_point() and dtype is not None and tensor.dtype != dtype:
        tensor = tensor.to(dtype)
    return tensor


def _numbers_of_frame(path: str, frame: Any) -> Any:
    """Return a data frame's numbers; what is missing as NaN, which the check then names."""
    if not hasattr(frame, "select_dtypes"):
        return frame.to_numpy()
    other = frame.select_dtypes(exclude=["number", "bool"]).columns
    if len(other):
        raise InputTypeError(
            f"{label(path)} has columns that are not numbers: "
            f"{', '.join(repr(str(name)) for name in other[:8])}"
            + (f" and {len(other) - 8} more" if len(other) > 8 else "")
            + "; encode or drop them first"
        )
    array = frame.to_numpy()
    # Booleans beside numbers, and pandas' own missing values, make an array of objects.
    return frame.to_numpy(dtype=float, na_value=np.nan) if array.dtype.kind == "O" else array


def _kind(array: np.ndarray) -> str:
    if array.ndim:
        return f"an array of dtype {array.dtype}"
    return f"of type {type(array.item()).__name__}"


def _attributed(found: Mapping[str, Tensor], attribute: Any) -> tuple[str, ...]:
    """Return the inputs that are attributed to; none yet where all of them are indices."""
    if attribute is None:
        return tuple(path for path, leaf in found.items() if leaf.is_floating_point())
    one = isinstance(attribute, (str, int))
    wanted = [str(path) for path in ([attribute] if one else attribute)]  # 0 is the first input
    for path in wanted:
        if path not in found:
            raise InputError(
                f"attribute names {path!r}, "
                + (
                    "but there is one input only; leave attribute out"
                    if list(found) == [""]
                    else f"which is not among the inputs {list(found)}"
                )
            )
    if not wanted:
        raise InputError(f"attribute is empty; choose among {list(found)}")
    return tuple(path for path in found if path in wanted)
