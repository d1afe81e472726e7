"""What can be explained: torch modules, and functions of tensors; held frozen while we look."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pellucid.errors import InputError, InputTypeError

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)

# How deep a function is searched for the modules that it runs.
_DEPTH = 5


class Model:
    """A torch module, or a function of tensors, under one interface.

    Parameters
    ----------
    model
        An `torch.nn.Module`, or a function from tensors to a tensor.

    Raises
    ------
    InputTypeError
        If it is neither.
    """

    def __init__(self, model: Any) -> None:
        if isinstance(model, type) and issubclass(model, nn.Module):
            raise InputTypeError(
                f"model is the class {model.__name__}, not a model; make one: {model.__name__}(...)"
            )
        if not callable(model):
            raise InputTypeError(
                f"model is a {type(model).__name__}; give a torch.nn.Module, a fitted estimator, "
                "or a function of tensors, arrays or data frames"
            )
        self.call: Callable[..., Any] = model
        # A function of tables may well run a network, which sees no tensor of ours.
        self._of_tables = bool(getattr(model, "takes_tables", False))
        bound = model
        while isinstance(bound, functools.partial):
            bound = bound.func
        # Compiled modules ignore hooks and flags set on them later: work on the module beneath.
        beneath = getattr(bound, "_orig_mod", bound)
        self.module: nn.Module | None = beneath if isinstance(beneath, nn.Module) else None
        self.name: str = (
            type(beneath).__name__
            if self.module is not None
            else getattr(bound, "__name__", type(bound).__name__)
        )
        # A function that runs a module is held as still as the module itself would be.
        self._roots = [beneath] if self.module is not None else _modules_within(model)
        lazy = [n for root in self._roots for n, p in root.named_parameters() if is_lazy(p)]
        if lazy:
            raise InputError(
                f"{self.name} has parameters without a shape yet ({', '.join(lazy[:3])}), which "
                "the first batch would give them; run the model once before explaining it"
            )
        for module in self.modules:
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
                raise InputError(
                    f"{self.name} has a {type(module).__name__} without running statistics: it "
                    "normalises every batch by itself, so that a row's prediction depends on the "
                    "rows beside it, and has no explanation of its own"
                )

    # Walking through a model takes longer than evaluating a small one: once is enough.

    @functools.cached_property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter once, but for those made in inference mode.

        Those never require gradients, and may not be asked to.
        """
        found = dict.fromkeys(p for root in self._roots for p in root.parameters())
        return [p for p in found if not p.is_inference()]

    @functools.cached_property
    def modules(self) -> list[nn.Module]:
        """Every module once."""
        return list(dict.fromkeys(m for root in self._roots for m in root.modules()))

    @functools.cached_property
    def tensors(self) -> list[Tensor]:
        """Every parameter and buffer."""
        return [t for root in self._roots for t in (*root.parameters(), *root.buffers())]

    @property
    def device(self) -> torch.device | None:
        """Where the parameters are; None for a model without any, or of tables."""
        return None if self._of_tables else next((t.device for t in self.tensors), None)

    @property
    def dtype(self) -> torch.dtype | None:
        """The parameters' floating dtype; None for a model without any, or of tables."""
        if self._of_tables:
            return None
        return next((t.dtype for t in self.tensors if t.is_floating_point()), None)

    @property
    def ends_in_sigmoid(self) -> bool:
        """Whether the module that was added last is a sigmoid."""
        return self.module is not None and isinstance(self.modules[-1], nn.Sigmoid)

    @property
    def looks_up(self) -> bool:
        """Whether it has an embedding, which takes indices."""
        return any(isinstance(module, nn.Embedding) for module in self.modules)

    def is_word_embedding(self, module: nn.Embedding) -> bool:
        """Whether an embedding is that of the words, as models of Hugging Face say themselves."""
        ask = getattr(self.module, "get_input_embeddings", None)
        try:
            words = ask() if callable(ask) else None
        except (NotImplementedError, AttributeError):  # a model without words, of audio say
            return False
        # Encoder and decoder may each have their own, of the same weights.
        return words is not None and getattr(words, "weight", None) is module.weight

    @functools.cached_property
    def layers(self) -> dict[str, nn.Module]:
        """Every module by its path in the model; of a Keras model by the layer's name."""
        if self.module is None:
            return {}
        named = dict(self.module.named_modules())
        if self.is_keras:
            # Keras registers parameters with torch, not the layers that they belong to.
            named.update(_keras_layers(self.module))
        return named

    @property
    def is_keras(self) -> bool:
        """Whether it is a model of Keras 3, on its torch backend."""
        return any(cls.__module__.startswith("keras.") for cls in type(self.module).__mro__)

    @property
    def channels_last(self) -> bool:
        """Whether pictures have their channels behind rows and columns."""
        if not self.is_keras:
            return False
        return bool(sys.modules["keras"].config.image_data_format() == "channels_last")

    def layer(self, name: str) -> nn.Module:
        """Return a layer by its path in the model.

        Raises
        ------
        InputError
            If there is none; the message names those that are most alike.
        """
        if self.module is None:
            raise InputError(f"{self.name} is a function: it has no layers to read {name!r} from")
        layers = self.layers
        if name in layers and name:
            return layers[name]
        names = [n for n in layers if n]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:12]
        raise InputError(
            f"{self.name} has no layer {name!r}; "
            + (f"did you mean {', '.join(map(repr, close))}?" if close else "it has no layers")
            + (f" (it has {len(names)})" if len(names) > len(close) else "")
        )

    @contextlib.contextmanager
    def frozen(self, seed: int, device: torch.device | None = None) -> Iterator[None]:
        """Hold the model still; leave it, and torch's random state, as they were to the bit.

        Evaluation mode, no gradients for parameters, a seeded random state. Training flags,
        `requires_grad`, buffers and hooks are put back, also when an exception passes through.
        """
        modules = self.modules
        parameters = self.parameters
        training = [m.training for m in modules]
        wanted = [p.requires_grad for p in parameters]
        buffers = [(m, {k: (b, _saved(b)) for k, b in m._buffers.items()}) for m in modules]
        hooks = [(m, name, dict(getattr(m, name))) for m in modules for name in _HOOKS]
        device = self.device if device is None else device
        cuda = [device] if device is not None and device.type == "cuda" else []
        fast_path = torch.backends.mha.get_fastpath_enabled()
        cudnn = torch.backends.cudnn.enabled
        recurrent = any(isinstance(m, nn.RNNBase) for m in modules)
        with torch.random.fork_rng(devices=cuda):
            # Only the generators that were saved are seeded: torch.manual_seed would seed all.
            torch.default_generator.manual_seed(seed)
            for place in cuda:
                with torch.cuda.device(place):
                    torch.cuda.manual_seed(seed)
            try:
                for module in modules:
                    # Not .eval(): a module may override it to do more than set the flag.
                    module.training = False
                for parameter in parameters:
                    parameter.requires_grad_(False)
                # The fast path of attention bypasses hooks, and differs in rounding.
                torch.backends.mha.set_fastpath_enabled(False)
                if recurrent and cuda:
                    # cuDNN differentiates recurrent layers in training mode only.
                    torch.backends.cudnn.enabled = False
                yield
            finally:
                torch.backends.cudnn.enabled = cudnn
                torch.backends.mha.set_fastpath_enabled(fast_path)
                for module, flag in zip(modules, training, strict=True):
                    module.training = flag
                for parameter, flag in zip(parameters, wanted, strict=True):
                    parameter.requires_grad_(flag)
                for module, before in buffers:
                    _restore(module, before)
                for module, name, known in hooks:
                    now = getattr(module, name)
                    for key in [k for k in now if k not in known]:
                        del now[key]


def _keras_layers(module: Any, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    for layer in getattr(module, "layers", ()):
        if isinstance(layer, nn.Module):
            path = f"{before}{layer.name}"
            yield path, layer
            yield from _keras_layers(layer, f"{path}.")


def _modules_within(call: Callable[..., Any]) -> list[nn.Module]:
    """Return the modules that a function may run, as far as they can be seen.

    In its closure, defaults, bound arguments, the globals that it names, the object that it belongs
    to, and what those hold, a few levels deep.
    """
    found: list[nn.Module] = []
    level: list[Any] = [call]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        held: list[Any] = []
        for thing in level:
            one = getattr(thing, "_orig_mod", thing)
            if id(one) in seen or isinstance(one, (type, types.ModuleType, Tensor, str)):
                continue
            seen.add(id(one))
            if isinstance(one, nn.Module):
                found.append(one)
            else:
                held += _held(one)
        level = held
    return found


def _held(one: Any) -> list[Any]:
    """Return what a function, a container or an object holds."""
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if inspect.ismethod(one):
        return [one.__self__, one.__func__]
    if inspect.isfunction(one):
        function = inspect.unwrap(one)
        cells = inspect.getclosurevars(function)
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        return [*cells.nonlocals.values(), *cells.globals.values(), *defaults]
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, (list, tuple, set)):
        return list(one)
    return list(vars(one).values()) if hasattr(one, "__dict__") else []


_Saved = tuple[int | None, Tensor]


def _saved(buffer: Tensor | None) -> _Saved | None:
    if buffer is None or buffer.is_meta:
        return None
    with torch.no_grad():
        return None if buffer.is_inference() else buffer._version, buffer.clone()


def _restore(module: nn.Module, before: dict[str, tuple[Tensor | None, _Saved | None]]) -> None:
    """Put a module's buffers back: the same objects, with the values that they had, and no more."""
    for key in [k for k in module._buffers.keys() if k not in before]:  # noqa: SIM118
        del module._buffers[key]
        module._non_persistent_buffers_set.discard(key)
    for key, (buffer, saved) in before.items():
        if buffer is not None and saved is not None:
            version, values = saved
            now = None if buffer.is_inference() else buffer._version
            # What is written through `.data` counts as no new version.
            if now != version or not torch.equal(buffer, values):
                with torch.no_grad():
                    buffer.copy_(values)
        # The buffers of a TorchScript module are not a dict, and know no `get`.
        if key not in module._buffers or module._buffers[key] is not buffer:
            module._buffers[key] = buffer
