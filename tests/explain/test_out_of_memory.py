"""When memory runs out the work goes on in smaller pieces, and nothing is counted twice."""

import numpy as np
import pytest
import torch
from methods import GENERAL, needed
from small_models import mlp
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import OutOfMemoryError, PellucidError

ERRORS = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu allocator": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 8000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "python": MemoryError,
}


class Limited(nn.Module):
    """Fits so many rows, and no more."""

    def __init__(self, limit, error):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.limit, self.error, self.refused = mlp(), limit, error, 0

    def forward(self, x):
        if len(x) > self.limit:
            self.refused += 1
            raise self.error()
        return self.body(x)


every_error = pytest.mark.parametrize("error", ERRORS)


@every_error
@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize("limit", [2, 5, 30])
def test_result_is_that_of_a_model_with_room(method, limit, error):
    model = Limited(limit, ERRORS[error])
    x = torch.randn(41, 6)
    # The baseline doubles DeepLIFT's batch.
    target = torch.arange(41) % 3
    options = {"method": method, "target": target, "batch_size": 40, **needed(method, x)}
    found = pl.explain(model, x, **options)
    expected = pl.explain(model.body, x, **options)
    assert model.refused
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=1e-5, atol=1e-6)


@every_error
def test_sums_over_steps_count_nothing_twice(error):
    model = Limited(7, ERRORS[error])
    x = torch.randn(20, 6)
    found = pl.explain(model, x, target=1, steps=33)
    expected = pl.explain(model.body, x, target=1, steps=33)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.error, expected.error, rtol=1e-3)
    assert found.cost.backward == expected.cost.backward == 20 * 33


@every_error
@pytest.mark.parametrize("method", GENERAL)
def test_one_point_that_does_not_fit_is_an_error_of_ours(method, error):
    model = Limited(2, ERRORS[error])
    x = torch.randn(4, 6)
    before = state_of(model)
    model.limit = 0
    with pytest.raises(OutOfMemoryError, match="even one point at a time does not fit") as caught:
        pl.explain(model, x, method=method, target=0, **needed(method, x))
    assert isinstance(caught.value, PellucidError)
    assert isinstance(caught.value, MemoryError)
    assert changes(before, state_of(model)) == []


def test_memory_that_runs_out_half_way_is_an_error_of_ours():
    """The model shrinks to nothing after some calls."""
    model = Limited(100, ERRORS["torch"])
    calls = []

    def shrink(*_):
        calls.append(1)
        if len(calls) > 3:
            model.limit = 0

    model.register_forward_pre_hook(shrink)
    with pytest.raises(OutOfMemoryError, match="use smaller inputs or a device with more"):
        pl.explain(model, torch.randn(30, 6), steps=50, target=0, batch_size=16)


def test_memory_that_runs_out_between_the_passes_is_an_error_of_ours(monkeypatch):
    """What a method keeps may be too much, too."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("pellucid.interpret.attribution.bisection._Nodes.reserve", full)
    with pytest.raises(OutOfMemoryError, match="explain fewer samples at a time"):
        pl.explain(mlp(), torch.randn(3, 6), target=0)


def test_errors_of_other_kinds_are_not_taken_for_memory():
    model = Limited(2, lambda: RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(PellucidError, match="shapes cannot be multiplied"):
        pl.explain(model, torch.randn(9, 6), target=0)
    assert model.refused == 1
