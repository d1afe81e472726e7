"""Peak bytes of live tensors, by their storages: what a program needs, not what malloc holds on to."""

from __future__ import annotations

import gc
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages made inside, from birth to death."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._born(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _born(self, storage):
        # A storage's Python object lives as long as somebody holds it; `_cdata` is the storage's own.
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        weakref.finalize(storage, self._died, key, size)

    def _died(self, key, size):
        self._known.discard(key)
        self.now -= size


def peak_bytes(work):
    """Run some work; return its result and the most bytes that its tensors held at once."""
    gc.collect()
    with LiveBytes() as live:
        result = work()
    return result, live.peak
