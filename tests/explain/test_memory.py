"""A thousand steps need the memory of one chunk; an adaptive path what it was allowed to keep."""

import numpy as np
import pytest
import torch
from memory import peak_bytes
from small_models import mlp, resnet18
from torch import nn

import pellucid as pl


def explain_fixed(model, x, steps, batch_size):
    return lambda: pl.explain(model, x, target=0, steps=steps, batch_size=batch_size)


@pytest.mark.slow
def test_thousand_steps_of_an_mlp_need_the_memory_of_sixteen():
    torch.manual_seed(0)
    model, x = mlp(30, 2, 64), torch.randn(1000, 30)
    few, little = peak_bytes(explain_fixed(model, x, 16, "auto"))
    many, much = peak_bytes(explain_fixed(model, x, 1000, "auto"))
    print(
        f"\nMLP, 1,000 rows: {little / 2**20:.2f} MiB with 16 steps, {much / 2**20:.2f} with 1,000"
    )
    assert many.cost.backward == 1000 * 1000
    assert much <= 1.2 * little
    assert little >= few.values.nbytes


@pytest.mark.slow
def test_many_steps_of_a_resnet_need_the_memory_of_sixteen():
    torch.manual_seed(0)
    model, x = resnet18(8), torch.randn(16, 3, 32, 32)
    few, little = peak_bytes(explain_fixed(model, x, 16, 32))
    many, much = peak_bytes(explain_fixed(model, x, 250, 32))
    print(
        f"\nResNet-18, 16 rows: {little / 2**20:.2f} MiB with 16 steps, {much / 2**20:.2f} with 250"
    )
    assert few.cost.backward == 16 * 16
    assert many.cost.backward == 16 * 250
    assert much <= 1.2 * little


@pytest.mark.slow
def test_adaptive_path_keeps_within_what_it_may_keep(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), mlp(400, 3, 32))
    x = torch.randn(40, 20, 20)
    batch_size = 32

    def explain():
        return pl.explain(model, x, tolerance=0.005, target=0, batch_size=batch_size)

    free, unbounded = peak_bytes(explain)
    _, chunk = peak_bytes(explain_fixed(model, x, 16, batch_size))
    seen = []
    for keep in (2**20, 2**18):
        monkeypatch.setattr("pellucid.interpret.memory._KEEP_BYTES", keep)
        bounded, peak = peak_bytes(explain)
        seen.append(peak)
        print(
            f"\nadaptive: {peak / 2**20:.2f} MiB where {keep / 2**20:.2f} may be kept and a chunk "
            f"takes {chunk / 2**20:.2f}; {unbounded / 2**20:.2f} with no bound"
        )
        assert peak <= keep + 2 * chunk
        apart = np.linalg.norm((bounded.values - free.values).reshape(40, -1), axis=1)
        norm = np.linalg.norm(free.values.reshape(40, -1), axis=1)
        assert (apart <= 1e-5 * norm).all()
        assert bounded.cost.backward >= free.cost.backward
    assert seen[1] < seen[0] < unbounded / 2


def test_rows_that_gave_up_their_memory_begin_again_and_are_finished(monkeypatch):
    """Blocks that fit typical rows, of which every row needs far more than that."""
    torch.manual_seed(0)
    direction = torch.randn(64) / 8
    model = lambda x: torch.sin(60 * x @ direction) + 60 * x @ direction
    x = torch.randn(12, 64)
    free = pl.explain(model, x, tolerance=0.01)
    monkeypatch.setattr("pellucid.interpret.memory._KEEP_BYTES", 12 * 64 * 64 * 4)
    bounded = pl.explain(model, x, tolerance=0.01)
    assert bounded.cost.backward > free.cost.backward  # some rows did begin again
    np.testing.assert_allclose(bounded.values, free.values, rtol=1e-4, atol=1e-6)
    assert (bounded.error <= 0.01).all()


def test_one_row_is_finished_however_little_may_be_kept(monkeypatch):
    monkeypatch.setattr("pellucid.interpret.memory._KEEP_BYTES", 1)
    torch.manual_seed(0)
    found = pl.explain(mlp(), torch.randn(3, 6), tolerance=0.002, target=0)
    assert (found.error <= 0.002).all()
