"""What must be as it was, after `explain`."""

from __future__ import annotations

import signal

import torch
from torch import nn

from pellucid.interpret.results.trees import leaves


def state_of(model, inputs=None):
    """Everything of a model, its inputs and torch that explaining must leave alone."""
    modules = list(model.named_modules()) if isinstance(model, nn.Module) else []
    found = {
        "random state": torch.get_rng_state(),
        "gradients on": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "attention's fast path": torch.backends.mha.get_fastpath_enabled(),
        "handler of Ctrl-C": signal.getsignal(signal.SIGINT),
    }
    if torch.cuda.is_available():
        found["random state on cuda"] = torch.cuda.get_rng_state()
    for name, module in modules:
        found[f"{name}: training"] = module.training
        found[f"{name}: attributes"] = set(vars(module))
        found[f"{name}: kind of backward hook"] = module._is_full_backward_hook
        for key, value in vars(module).items():
            if "_hooks" in key and isinstance(value, dict):
                found[f"{name}: {key}"] = (id(value), dict(value))
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
            found[f"{name}.{key}"] = _of_tensor(tensor)
    for path, leaf in leaves(inputs):
        if isinstance(leaf, torch.Tensor):
            found[f"input {path}"] = _of_tensor(leaf)
    return found


def _of_tensor(tensor):
    if tensor is None:
        return None
    gradient = None if tensor.grad is None else tensor.grad.clone()
    backward = None if tensor.is_inference() else tensor._backward_hooks
    return [id(tensor), tensor.detach().clone(), tensor.requires_grad, gradient, backward]


def changes(before, after):
    """The names of what is not the same, to the bit."""
    names = before.keys() | after.keys()
    return sorted(n for n in names if not _same(before.get(n), after.get(n)))


def _same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        raw = [t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
        return torch.equal(*raw)
    return type(a) is type(b) and a == b
