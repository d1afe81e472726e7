"""What a review of the engine proved wrong, and must not come back."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError


def test_a_layer_is_read_before_the_in_place_layer_behind_it_writes_over_it(device):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)).to(device)
    x = torch.randn(12, 4, device=device)
    projection = pl.project(model, x, at="0", method="pca")
    with torch.no_grad():
        features = model[0](x).cpu().numpy()
    expected = pl.project(features, method="pca")
    np.testing.assert_allclose(projection.coordinates, expected.coordinates, atol=1e-5)


class Holder:
    def __init__(self, net):
        self.net = net

    def predict_scores(self, x):
        return self.net(x)

    def __call__(self, x):
        return self.net(x)


def run(net, x):
    return net(x)


def in_a_list(net):
    nets = [net]

    def call(x):
        return nets[0](x)

    return call


def in_an_object(net):
    held = Holder(net)

    def call(x):
        return held.net(x)

    return call


def as_a_default(net):
    def call(x, *, used=net):
        return used(x)

    return call


WRAPPERS = {
    "partial of a function": lambda net: functools.partial(run, net),
    "a list in the closure": in_a_list,
    "a callable object": Holder,
    "a bound method": lambda net: Holder(net).predict_scores,
    "an object in the closure": in_an_object,
    "a keyword-only default": as_a_default,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_module_inside_of_a_function_is_held_as_still_as_the_module(name, device):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    net = net.to(device).train()
    x = torch.randn(10, 4, device=device)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    expected = pl.explain(net, x, target=1)
    found = pl.explain(WRAPPERS[name](net), x, target=1)
    np.testing.assert_array_equal(found.values, expected.values)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training


def test_the_columns_of_a_background_are_matched_by_name():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [100.0, 200.0, 300.0], "c": [5.0, 5.0, 6.0]})
    model = nn.Linear(3, 1)
    one = pl.explain(model, frame, background=frame)
    other = pl.explain(model, frame, background=frame[["c", "b", "a"]])
    np.testing.assert_array_equal(one.baseline, other.baseline)
    np.testing.assert_allclose(one.baseline, [[2.0, 200.0, 16 / 3]], rtol=1e-6)
    with pytest.raises(InputError, match="'c' is missing"):
        pl.explain(model, frame, background=frame.rename(columns={"c": "d"}))


@pytest.mark.filterwarnings("error")
def test_backgrounds_that_cannot_be_written_to_or_run_backwards(device):
    model = nn.Linear(3, 1).to(device)
    frozen = np.ones((4, 3))
    frozen.flags.writeable = False
    for background in (frozen, np.ones((4, 3))[::-1, ::-1], pd.DataFrame(np.ones((4, 3)))):
        found = pl.explain(model, torch.zeros(2, 3), background=background)
        np.testing.assert_array_equal(found.baseline, [[1, 1, 1]])


def test_few_steps_make_no_claim_about_their_error():
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    assert pl.explain(model, torch.randn(4, 3), steps=9).error is None
    assert pl.explain(model, torch.randn(4, 3), steps=10).error is not None


def test_half_precision_is_part_of_the_error_and_bounds_the_tolerance(device):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).to(device)
    x = torch.randn(20, 6, device=device)
    half = model.bfloat16()
    with pytest.raises(InputError, match="half precision"):
        pl.explain(half, x, target=0, tolerance=0.003)
    found = pl.explain(half, x, target=0, tolerance=0.02)
    assert (found.error >= torch.finfo(torch.bfloat16).eps).all()


def test_pca_of_data_with_fewer_directions_than_asked_for():
    wide = np.outer([1.0, 2.0, -1.0, 0.0, 3.0], np.arange(1.0, 10.0))
    projection = pl.project(wide, method="pca", dimensions=3)
    assert np.isfinite(projection.coordinates).all()
    np.testing.assert_allclose(projection.coordinates[:, 1:], 0, atol=1e-4)
    exact = np.outer([0.0, 1.0, -2.0, -1.0, 2.0], np.arange(1.0, 10.0))
    np.testing.assert_allclose(
        np.abs(projection.coordinates[:, 0]), np.linalg.norm(exact, axis=1), rtol=1e-5, atol=1e-9
    )
    for scale in (1e160, 1e-170):
        shares = pl.project(wide * scale, method="pca").explained_variance_ratio
        np.testing.assert_allclose(shares, [1, 0], atol=1e-9)


def test_a_layer_whose_first_axis_is_time_is_refused_also_when_it_is_as_long_as_the_batch():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.GRU(3, 4)  # sequence first

        def forward(self, x):
            return self.net(x.transpose(0, 1))[0].transpose(0, 1)

    with pytest.raises(TypeError, match="row for each input"):
        pl.project(Swapped(), torch.randn(12, 12, 3), at="net", method="pca")


def test_gradients_of_many_targets_take_a_chunk_that_fits(monkeypatch):
    chunks = []
    monkeypatch.setattr("pellucid.interpret.memory._CPU_CHUNK_BYTES", 2**20)
    model = nn.Linear(500, 100)

    def spy(x):
        if x.requires_grad:  # passes that keep no gradients take more points
            chunks.append(len(x))
        return model(x)

    pl.explain(spy, torch.randn(4, 500), target="all", steps=64)
    assert max(chunks[1:]) <= 2**20 // (6 * 100 * 500 * 4) + 1


def test_what_is_carried_along_is_said(device):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(5, 3)

        def forward(self, tokens, side):
            return self.words(tokens).mean(1) + side

    tokens, side = torch.randint(5, (4, 6), device=device), torch.randn(4, 3, device=device)
    found = pl.explain(Both().to(device), (tokens, side), target=0)
    assert found.settings["carried"] == "0 (int64)"
    assert "carried along, not attributed: 0 (int64)" in found.summary()


def test_an_engine_that_cannot_start_leaves_the_model_alone(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).train()

    def broken(*_, **__):
        raise InputTypeError("no bar")

    monkeypatch.setattr("pellucid.interpret.engine.tqdm", broken)
    with pytest.raises(InputTypeError) as held:
        pl.explain(model, torch.randn(4, 3), target=0)
    assert held.value is not None
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_a_process_without_standard_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert len(pl.explain(nn.Linear(3, 1), torch.randn(4, 3))) == 4


def test_results_do_not_share_the_callers_memory():
    pictures, ids = np.ones((9, 4, 4)), np.arange(9)
    projection = pl.project(np.random.rand(9, 3), method="pca", display=pictures, sample_ids=ids)
    pictures[:], ids[:] = 0, 0
    assert (projection.display == 1).all()
    assert projection.sample_ids.tolist() == list(range(9))


def test_a_report_of_several_inputs_has_a_figure_for_each(tmp_path):
    class Two(nn.Module):
        def forward(self, left, right):
            return left.sum(1, keepdim=True) + right.sum(1, keepdim=True)

    x = {"left": torch.randn(3, 4), "right": torch.randn(3, 2)}
    found = pl.explain(Two(), x)
    page = pl.report(found, tmp_path / "two.html").read_text(encoding="utf-8")
    assert "<h3>Input left</h3>" in page
    assert "<h3>Input right</h3>" in page
    assert page.count("<figure>") == 2
    assert "other inputs, and residual" in page
