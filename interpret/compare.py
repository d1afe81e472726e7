"""`compare`: several methods side by side, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.errors import InputError
from pellucid.interpret.attributing import Request, Wanted, attributed
from pellucid.interpret.results import Comparison


def compare(
    model: Any,
    inputs: Any,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = (
        "saliency",
        "input_x_gradient",
        "integrated_gradients",
    ),
    *,
    target: Any = "predicted",
    at: Any = "input",
    attribute: Any = None,
    baseline: Any = "auto",
    background: Any = None,
    output: str = "raw",
    groups: Any = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    sample_ids: Any = None,
    display: Any = None,
    device: Any = "auto",
    batch_size: int | str = "auto",
    precision: str | None = None,
    compile: bool | str = False,  # noqa: A002 - what torch calls it
    seed: int = 0,
    progress: bool | None = None,
    tokenizer: Any = None,
) -> Comparison:
    """Explain the same rows by several methods, sharing passes where they need the same.

    Parameters
    ----------
    model, inputs
        As `explain` takes them, like every argument that is not described here.
    methods
        Names that `pellucid.methods` lists; or a dict from names to the options of each, such as
        ``{"integrated_gradients": {"tolerance": 0.05}, "grad_cam": {}}``.

    Returns
    -------
    Comparison
        One `Explanation` for each method; `pellucid.viz.compare` draws them side by side.

    Raises
    ------
    InputError
        If there are no methods, or an argument that no method has a use for; and whatever
        `explain` raises.

    Examples
    --------
    >>> import torch, pellucid as pl
    >>> model = torch.nn.Linear(3, 2)
    >>> both = pl.compare(model, torch.eye(3), ["saliency", "integrated_gradients"])
    >>> list(both.explanations)
    ['saliency', 'integrated_gradients']
    """
    if isinstance(methods, str):
        raise InputError(f"methods={methods!r} is one; give a list of names, or use explain")
    twice = next((key for i, key in enumerate(methods) if key in list(methods)[:i]), None)
    if twice is not None:
        raise InputError(f"methods name {twice!r} more than once; leave one of them out")
    unnamed = [name for name in methods if not isinstance(name, str)]
    if unnamed:
        raise InputError(
            f"methods holds {unnamed[0]!r}, which is no name; methods with options are a dict as a "
            "whole, {'saliency': {}, 'integrated_gradients': {'tolerance': 0.05}}"
        )
    named = dict(methods) if isinstance(methods, Mapping) else {str(key): {} for key in methods}
    if not named:
        raise InputError("there are no methods to compare; give a list of names")
    wanted = [Wanted.of(name, dict(options), name) for name, options in named.items()]
    request = Request(
        target=target,
        at=at,
        attribute=attribute,
        baseline=baseline,
        background=background,
        output=output,
        groups=groups,
        feature_names=feature_names,
        class_names=class_names,
        sample_ids=sample_ids,
        display=display,
        device=device,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
        seed=seed,
        progress=progress,
        tokenizer=tokenizer,
    )
    found = attributed(model, inputs, wanted, request)
    return Comparison(
        explanations=dict(zip(named, found, strict=True)),
        settings={"methods": ", ".join(named)},
        provenance=found[0].provenance,
    )
