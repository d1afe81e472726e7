"""How much to do at once: chunks of points, and what a method may keep."""

from __future__ import annotations

import torch

# What keeps the cores busy and their caches warm. Measured on two cores: a ResNet-18 does equally
# well from 16 to 64 points, an MLP best at 2,048, and a small CNN, which keeps 60 kB a point, from
# 256 to 1,024; at 2,048 it is half as fast.
_CPU_CHUNK_BYTES = 64 * 2**20
_CPU_CHUNK = (8, 2048)
_CUDA_CHUNK = (8, 65536)
# What a method may keep between its rounds, on a CPU; on a GPU it is an eighth of what is free.
_KEEP_BYTES = 256 * 2**20


def chunk_size(device: torch.device, bytes_per_point: float) -> int:
    """Return how many points go through the model at once, given what one of them keeps."""
    low, high = _CUDA_CHUNK if device.type == "cuda" else _CPU_CHUNK
    return int(min(high, max(low, room(device) // max(1.0, bytes_per_point))))


def forward_factor(device: torch.device, chunk: int) -> int:
    """Return how many times a chunk may be larger where nothing is kept for a backward pass.

    Of the smallest models on a CPU, whose chunk is the largest that there is, a forward pass takes
    hardly longer than making its points; others gain nothing from more.
    """
    return 4 if device.type == "cpu" and chunk >= _CPU_CHUNK[1] else 1


def room(device: torch.device) -> int:
    """Return how many bytes a chunk may take."""
    return _free(device) // 4 if device.type == "cuda" else _CPU_CHUNK_BYTES


def keep_bytes(device: torch.device) -> int:
    """Return how many bytes a method may keep between its rounds."""
    return max(_KEEP_BYTES, _free(device) // 8) if device.type == "cuda" else _KEEP_BYTES


def _free(device: torch.device) -> int:
    """Return what is free on a GPU, what torch holds in reserve included."""
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + reserve


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or in the CPU's allocator."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error)


def too_large(device: torch.device) -> str:
    """Return what to say when not even one point fits."""
    return (
        f"even one point at a time does not fit into the memory of {device}; free some, use "
        "smaller inputs or a device with more"
    )
