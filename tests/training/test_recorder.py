"""The recorder: it says what happened, and changes nothing."""

import contextlib
import copy
import io
import math
import os
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils.checkpoint import checkpoint

from pellucid.errors import InputError, InputTypeError, ModelError, UnwritableError
from pellucid.interpret.training.recorder import Recorder
from pellucid.interpret.training.recording.octaves import EDGES
from pellucid.interpret.training.recording.store import read_store


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def batches(count, rows=6):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield (
            torch.randn(rows, 1, 4, 4, generator=generator),
            torch.randint(0, 3, (rows,), generator=generator),
        )


def train(model, steps, recorder=None, optimizer=None, **metrics):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for x, y in batches(steps):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder is not None:
            recorder.step(loss=loss, samples=len(x), **metrics)


def last(run, layer, name):
    return run.layers[layer][name][1][-1]


@pytest.mark.parametrize("watched", [False, True])
def test_a_training_comes_out_the_same_bit_by_bit(tmp_path, watched):
    results = []
    for recorded in (False, True):
        model = network()
        torch.manual_seed(7)  # dropout's
        if recorded:
            watch = {"watch": next(batches(1))[0], "watch_layers": ["0"]} if watched else {}
            with Recorder(model, tmp_path, every=2, **watch) as recorder:
                train(model, 9, recorder)
        else:
            train(model, 9)
        results.append((model.state_dict(), torch.get_rng_state()))
    (plain, state), (ours, other) = results
    assert list(plain) == list(ours)
    assert all(torch.equal(plain[key], ours[key]) for key in plain)
    assert torch.equal(state, other)


def test_what_is_recorded_of_a_training(tmp_path):
    model = network()
    with Recorder(model, tmp_path / "first", every=3) as recorder:
        train(model, 8, recorder, accuracy=0.5)
        recorder.epoch(val_loss=torch.tensor(0.25))
    run = recorder.run
    assert run.name == "first"
    np.testing.assert_array_equal(run.metrics["loss"][0], range(8))
    np.testing.assert_array_equal(run.metrics["accuracy"][1], [0.5] * 8)
    np.testing.assert_array_equal(run.metrics["val_loss"], [[7], [0.25]])
    np.testing.assert_array_equal(run.metrics["learning_rate"], [[0, 3, 6], [0.1] * 3])
    ratio = run.metrics["samples_per_second"][1] / run.metrics["steps_per_second"][1]
    np.testing.assert_allclose(ratio, 6)
    assert (np.diff(run.clock[1]) > 0).all()
    assert list(run.layers) == ["0", "1", "2", "5", "6", "7"], "in the model's order"
    np.testing.assert_array_equal(run.layers["0"]["weight.mean"][0], [0, 3, 6])
    for name in ("mean", "std", "min", "max", "norm"):
        for what in ("weight", "weight.gradient", "bias", "bias.gradient", "output"):
            assert f"{what}.{name}" in run.layers["5"]
    assert set(run.histograms) == {
        *(f"{k}/output" for k in (0, 1, 2, 5, 6, 7)),
        *(f"{k}/input" for k in (2, 6)),
        *(
            f"{k}/{p}{g}"
            for k in (0, 1, 5, 7)
            for p in ("weight", "bias")
            for g in ("", ".gradient")
        ),
    }
    assert run.events == ()


def test_numbers_of_one_step_are_what_the_step_was(tmp_path):
    """Weights before the step, the gradient, and how far the step moved, computed by hand."""
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    x, y = torch.randn(7, 5), torch.randn(7, 2)
    weight = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with Recorder(model, tmp_path, every=1) as recorder:
        hidden = model[0](x)
        loss = mse_loss(model(x), y)
        loss.backward()
        gradient = model[0].weight.grad.clone()
        optimizer.step()
        optimizer.zero_grad()
        recorder.step(loss=loss)
        run = recorder.run
    np.testing.assert_allclose(last(run, "0", "weight.norm"), weight.norm(), rtol=1e-6)
    np.testing.assert_allclose(
        last(run, "0", "weight.gradient.std"), gradient.std(correction=0), rtol=1e-5
    )
    np.testing.assert_allclose(last(run, "0", "weight.gradient.min"), gradient.min())
    np.testing.assert_allclose(
        last(run, "0", "weight.update_ratio"), 0.5 * gradient.norm() / weight.norm(), rtol=1e-5
    )
    out = hidden.relu().detach()
    np.testing.assert_allclose(last(run, "1", "output.zero"), (out == 0).float().mean(), rtol=1e-6)
    np.testing.assert_allclose(last(run, "1", "output.dead"), (out == 0).all(0).float().mean())
    np.testing.assert_allclose(last(run, "0", "output.max"), hidden.max().item())
    histogram = run.histograms["0/weight"]
    counts, _ = np.histogram(np.abs(weight.numpy()), EDGES[EDGES > 0])
    folded = dict.fromkeys(EDGES[EDGES > 0].tolist(), 0.0)
    for low, high, count in zip(
        histogram.edges[0][:-1], histogram.edges[0][1:], histogram.counts[0], strict=True
    ):
        folded[min(abs(low), abs(high))] = folded.get(min(abs(low), abs(high)), 0.0) + count
    assert [folded[edge] for edge in EDGES[EDGES > 0].tolist()][:-1] == counts.tolist()


def test_dead_and_saturated_units(tmp_path):
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([1.0, -1.0, -2.0, 3.0]))
        model[2].weight.zero_()
        model[2].bias.copy_(torch.tensor([5.0, 0.1, -5.0, -0.2]))
    with Recorder(model, tmp_path, every=1) as recorder:
        model(torch.randn(3, 2)).sum().backward()
        recorder.step()
        run = recorder.run
    assert last(run, "1", "output.dead") == 0.5
    assert last(run, "3", "output.dead") == 0
    assert last(run, "3", "output.saturated") == 0.5


@pytest.mark.parametrize(
    ("first", "shape", "dead"),
    [(nn.Conv1d(3, 3, 1, groups=3), (2, 3, 5), 1 / 3), (nn.Linear(3, 3), (2, 5, 3), 1 / 3)],
)
def test_units_are_on_the_axis_of_the_layer_before(tmp_path, first, shape, dead):
    """Channels of a convolution come before the positions, features of a linear layer behind."""
    with torch.no_grad():
        first.weight.copy_(
            torch.eye(3).reshape(first.weight.shape)
            if first.weight.ndim == 2
            else torch.ones(3, 1, 1)
        )
        first.bias.copy_(torch.tensor([0.0, -100.0, 0.0]))
    model = nn.Sequential(first, nn.ReLU())
    with Recorder(model, tmp_path, every=1) as recorder:
        model(torch.rand(shape)).sum().backward()
        recorder.step()
        assert last(recorder.run, "1", "output.dead") == pytest.approx(dead)


def test_gradients_are_those_that_the_optimizer_sees(tmp_path):
    x, y = next(batches(1))

    def clipped(model, optimizer):
        cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()

    def scaled(model, optimizer):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        scaler.scale(cross_entropy(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()

    def with_closure(model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    def reference(scale=1.0):
        model = network().eval()
        cross_entropy(model(x), y).backward()
        return model[5].weight.grad.norm().item()

    def recorded(work, make):
        model = network().eval()
        optimizer = make(model.parameters())
        with Recorder(model, tmp_path / work.__name__, every=1) as recorder:
            model.zero_grad()
            work(model, optimizer)
            optimizer.zero_grad()
            recorder.step()
            return last(recorder.run, "5", "weight.gradient.norm")

    def sgd(parameters):
        return torch.optim.SGD(parameters, 0.1)

    def fused(parameters):
        return torch.optim.SGD(parameters, 0.1, fused=True)

    def lbfgs(parameters):
        return torch.optim.LBFGS(parameters, 0.1, max_iter=2)

    whole = reference()
    assert 0 < recorded(clipped, sgd) <= 1e-3
    for make in (sgd, fused):
        assert recorded(scaled, make) == pytest.approx(whole, rel=1e-4)
    for make in (sgd, lbfgs):
        assert recorded(with_closure, make) == pytest.approx(whole, rel=1e-4)


def test_without_an_optimizer_of_torchs_gradients_are_what_lies_there(tmp_path):
    model = nn.Linear(3, 2)
    with Recorder(model, tmp_path, every=1) as recorder:
        for _ in range(3):
            model.zero_grad()
            model(torch.ones(1, 3)).sum().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(0.1 * parameter.grad)
            recorder.step()
        run = recorder.run
    np.testing.assert_array_equal(run.layers["Linear"]["weight.gradient.norm"][0], [1, 2])
    np.testing.assert_allclose(run.layers["Linear"]["weight.gradient.norm"][1], math.sqrt(6))


def test_several_optimizers_and_one_of_another_model(tmp_path):
    model, other = network(), nn.Linear(2, 2)
    one = torch.optim.SGD(
        [{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.3}], 0.1
    )
    two = torch.optim.Adam(
        [*other.parameters(), *model[5].parameters(), *model[7].parameters()], 0.2
    )
    third = torch.optim.SGD(other.parameters(), 9.0)
    with Recorder(model, tmp_path, every=1) as recorder:
        for x, y in batches(2):
            other(torch.ones(1, 2)).sum().backward()
            third.step()
            cross_entropy(model(x), y).backward()
            one.step()
            two.step()
            recorder.step()
        run = recorder.run
    rates = {name: pair[1].tolist() for name, pair in run.metrics.items() if "rate" in name}
    assert rates == {
        "learning_rate/0": [0.1] * 2,
        "learning_rate/1": [0.3] * 2,
        "learning_rate/2": [0.2] * 2,
    }
    assert len(run.statistic("weight.update_ratio")) == 4


def test_only_the_first_forward_pass_in_training_mode_counts(tmp_path):
    model = nn.Sequential(nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.zero_()
    with Recorder(model, tmp_path, every=1) as recorder:
        model.eval()(torch.full((2, 1), 5.0))
        model.train()(torch.full((2, 1), 3.0)).sum().backward()
        model(torch.full((2, 1), 7.0)).sum().backward()
        recorder.step()
        run = recorder.run
    assert last(run, "0", "output.mean") == 3
    assert run.histograms["0/output"].counts[0].sum() == 2


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointings_second_forward_pass_does_not_count(tmp_path, reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x):
            return checkpoint(self.inside, x, use_reentrant=reentrant)

    for name, part in (("whole", lambda m: m), ("part", lambda m: m)):
        model = Checkpointed()
        # Without a call of the whole model nothing says where its forward pass ends.
        call = model if name == "whole" else model.forward
        with Recorder(part(model), tmp_path / name, every=1) as recorder:
            call(torch.ones(4, 3, requires_grad=True)).sum().backward()
            recorder.step()
            assert recorder.run.histograms["inside.0/output"].counts[0].sum() == 12


def test_a_layer_that_is_called_several_times_is_measured_as_one(tmp_path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.act(self.fc(self.act(x)))

    model = Shared()
    x = torch.randn(3, 4)
    with Recorder(model, tmp_path, every=1) as recorder:
        model(x).sum().backward()
        recorder.step()
        run = recorder.run
    first = x.relu()
    values = torch.cat([first, model.fc(first).relu()]).detach()
    assert last(run, "act", "output.norm") == pytest.approx(values.norm().item(), rel=1e-6)
    assert run.histograms["act/input"].counts[0].sum() == 24


def test_layers_are_chosen_by_name_and_histograms_less_often(tmp_path):
    model = network()
    with Recorder(
        model, tmp_path, every=2, activations=["2", "5"], histograms=4, updates=False
    ) as recorder:
        train(model, 7, recorder)
    run = recorder.run
    assert list(run.statistic("output.mean")) == ["2", "5"]
    np.testing.assert_array_equal(run.layers["2"]["output.mean"][0], [0, 2, 4, 6])
    np.testing.assert_array_equal(run.histograms["2/output"].steps, [0, 4])
    with pytest.raises(InputError, match="update_ratio"):
        run.statistic("weight.update_ratio")
    with Recorder(
        model, tmp_path / "less", every=1, activations=False, histograms=False
    ) as recorder:
        train(model, 1, recorder)
    assert not recorder.run.histograms
    assert "output.mean" not in recorder.run.layers["0"]


def test_histograms_thin_out_in_a_long_training(tmp_path, monkeypatch):
    from pellucid.interpret.training import recorder as module

    monkeypatch.setattr(module, "_DENSE", 2)
    model = network()
    with Recorder(model, tmp_path, every=2) as recorder:
        train(model, 30, recorder)
    run = recorder.run
    np.testing.assert_array_equal(run.layers["0"]["weight.mean"][0], range(0, 30, 2))
    np.testing.assert_array_equal(run.histograms["0/weight"].steps, [0, 2, 4, 8, 16, 24])


def global_hooks():
    return [
        *modules._global_forward_hooks.values(),
        *modules._global_forward_pre_hooks.values(),
        *optimizers._global_optimizer_pre_hooks.values(),
        *optimizers._global_optimizer_post_hooks.values(),
    ]


def test_nothing_is_left_behind_also_after_an_exception(tmp_path):
    before = global_hooks()
    model = network()
    state = {name: dict(vars(module)) for name, module in model.named_modules()}
    with contextlib.suppress(ZeroDivisionError), Recorder(model, tmp_path, every=1) as recorder:
        assert len(global_hooks()) == len(before) + 4
        train(model, 2, recorder)
        model(next(batches(1))[0])
        raise ZeroDivisionError
    assert global_hooks() == before
    for name, module in model.named_modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert vars(module).keys() == state[name].keys()
    assert not any(
        parameter._backward_hooks or parameter._post_accumulate_grad_hooks
        for parameter in model.parameters()
    )
    recorder.close()  # once more does no harm
    with pytest.raises(InputError, match="closed"):
        recorder.step(loss=1.0)
    assert len(recorder.run.metrics["loss"][0]) == 2


def test_a_model_is_copied_and_saved_while_it_is_recorded(tmp_path):
    model = network()
    with Recorder(model, tmp_path, every=1) as recorder:
        copied = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        copied(next(batches(1))[0])  # this is not the one that is recorded
        train(model, 1, recorder)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert not loaded[0]._forward_hooks
        run = recorder.run
    assert run.histograms["0/output"].counts[0].sum() == 6 * 4 * 16


def test_the_first_value_that_is_not_finite_is_found(tmp_path):
    def outputs(model):
        with torch.no_grad():
            model[5].weight[0, 0] = math.nan

    def gradients(model):
        model[5].weight.register_hook(lambda gradient: gradient * math.inf)

    for spoil, layer, what in ((outputs, "5", "output"), (gradients, "5", "weight gradient")):
        model = network()
        with Recorder(model, tmp_path / spoil.__name__, every=2) as recorder:
            train(model, 4, recorder)
            spoil(model)
            train(model, 4, recorder)
        events = recorder.run.events
        (where,) = (event for event in events if event.layer)  # it is said once
        assert (where.kind, where.step, where.layer) == ("not finite", 4, layer)
        assert what in where.text
        (loss,) = (event for event in events if event.layer is None)
        assert loss.step == (4 if spoil is outputs else 5)
        assert "loss is nan" in loss.text


def test_a_loss_is_looked_at_in_every_step_and_the_layers_right_behind(tmp_path):
    model = network()
    with Recorder(model, tmp_path, every=100) as recorder:
        train(model, 3, recorder)
        with torch.no_grad():
            model[5].weight[0, 0] = math.nan
        train(model, 5, recorder)
    loss, layer = recorder.run.events
    assert (loss.step, loss.layer) == (3, None)
    assert (layer.step, layer.layer) == (4, "0")
    assert "the first step that was looked at" in layer.text


def test_an_overflow_of_what_amp_has_scaled_is_no_event(tmp_path):
    for fused in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=10**6)
        with Recorder(model, tmp_path / str(fused), every=1) as recorder:
            for x, y in batches(3):
                optimizer.zero_grad()
                scaler.scale(10 * cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()
                recorder.step()
        assert scaler.get_scale() < 2.0**127, "it did overflow"
        assert recorder.run.events == ()


def test_watched_samples(tmp_path):
    model = network()
    x = torch.randn(3, 1, 4, 4)
    expected, maps = [], []
    with Recorder(
        model, tmp_path, every=2, watch=x, watch_layers=["0", "2"], sample_ids=["a", "b", "c"]
    ) as recorder:
        for _ in range(3):
            train(model, 1, recorder)
            assert model.training
            with torch.no_grad():
                expected.append(copy.deepcopy(model).eval()(x))
                maps.append(copy.deepcopy(model)[0].eval()(x))
        run = recorder.run
    prediction = run.watched["prediction"]
    np.testing.assert_array_equal(prediction.steps, [0, 2])
    np.testing.assert_allclose(prediction.values, torch.stack(expected[::2]), rtol=1e-6)
    assert prediction.sample_ids.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(run.watched["0"].values, torch.stack(maps[::2]), rtol=1e-6)
    assert (run.watched["2"].values >= 0).all()


def test_watching_leaves_flags_buffers_gradients_and_chance_alone(tmp_path):
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.quiet = nn.Dropout(0.5).eval()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, a, *, b):
            self.calls += 1
            return {"scores": self.fc(a) + b + torch.rand(1)}

    class Named(Restless):
        def forward(self, a, b):
            return super().forward(a, b=b)

    model = Named()
    model.fc.weight.grad = torch.ones(2, 2)
    state = torch.get_rng_state()
    with Recorder(
        model, tmp_path, every=1, watch={"a": torch.ones(4, 2), "b": np.ones((4, 2), np.float32)}
    ) as recorder:
        recorder.step()
        run = recorder.run
    assert run.watched["prediction"].values.shape == (1, 4, 2)
    assert model.calls == 0
    assert model.training
    assert not model.quiet.training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.fc.weight.grad, torch.ones(2, 2))


def test_awkward_models(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.empty = nn.Parameter(torch.zeros(0))
            self.phase = nn.Parameter(torch.randn(3, 2, dtype=torch.complex64))
            self.register_buffer("count", torch.zeros(3, dtype=torch.int64))
            self.table = nn.Embedding(10, 3, sparse=True)
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight
            self.frozen = nn.Linear(3, 3).requires_grad_(False)
            self.unused = nn.Linear(2, 2)
            self.small = nn.Linear(3, 3).bfloat16()
            self.late = nn.LazyLinear(3)

        def forward(self, index):
            x = self.frozen(self.two(self.one(self.table(index))))
            x = self.late(self.small(x.bfloat16()).float())
            return (x.to(torch.complex64) @ self.phase).abs()

    model = Odd()
    with Recorder(model, tmp_path, every=1) as recorder:
        optimizer = None
        for _ in range(3):
            loss = model(torch.tensor([[1, 2], [2, 9]])).mean()
            optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss=loss)
        run = recorder.run
    assert list(run.layers) == ["Odd", "table", "one", "two", "frozen", "unused", "small", "late"]
    assert {name.split(".")[0] for name in run.layers["Odd"]} == {"phase"}
    assert "weight.mean" not in run.layers["two"], "a shared parameter belongs to the first"
    assert run.histograms["table/weight.gradient"].counts[0].sum() == 30, "zeros included"
    assert len(run.layers["frozen"]["weight.mean"][0]) == 1, "it does not change"
    assert "weight.gradient.norm" not in run.layers["unused"]
    assert run.layers["small"]["weight.update_ratio"][1].shape == (3,)
    assert "weight.gradient.norm" in run.layers["late"]
    assert run.events == ()


@pytest.mark.parametrize("how", ["given", "beneath", "in place"])
def test_compiled_models(tmp_path, how):
    results = []
    for recorded in (False, True):
        torch._dynamo.reset()
        model = network().eval()
        compiled = model
        if how == "in place":
            model.compile(backend="eager")
        else:
            compiled = torch.compile(model, backend="eager")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*global hooks on modules")
            if recorded:
                given = compiled if how == "given" else model
                with Recorder(given, tmp_path, every=2) as recorder:
                    train(compiled, 4, recorder)
                    run = recorder.run
            else:
                train(compiled, 4)
        results.append(model.state_dict())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])
    assert set(run.layers) == {"0", "1", "5", "7"}
    assert "output.mean" not in run.layers["0"]
    assert "weight.gradient.norm" in run.layers["0"]


def test_a_wrapped_model_has_the_names_of_the_one_beneath(tmp_path):
    model = nn.DataParallel(network())
    with Recorder(model, tmp_path, every=1) as recorder:
        train(model, 1, recorder)
        assert list(recorder.run.layers) == ["0", "1", "2", "5", "6", "7"]


def test_a_process_of_another_rank_records_its_metrics_only(tmp_path, monkeypatch):
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        model = network()
        with Recorder(model, tmp_path, every=1, watch=next(batches(1))[0]) as recorder:
            train(model, 2, recorder)
    run = read_store(tmp_path)
    assert {"loss", "loss/rank1"} <= set(run.metrics)
    assert all("rank" not in layer for layer in run.layers)
    assert run.events == ()


def test_a_training_that_is_taken_up_again(tmp_path):
    for start in (0, 3):
        model = network()
        with Recorder(model, tmp_path, every=2, start=start) as recorder:
            train(model, 5, recorder)
    run = recorder.run
    np.testing.assert_array_equal(run.metrics["loss"][0], range(8))
    np.testing.assert_array_equal(run.layers["0"]["weight.norm"][0], [0, 2, 4, 6])
    (event,) = run.events
    assert (event.kind, event.step) == ("restart", 3)


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path, monkeypatch):
    model = network()
    write = os.write

    def full(file, content):
        raise OSError(28, "No space left on device")

    with Recorder(model, tmp_path, every=1) as recorder:
        train(model, 1, recorder)
        monkeypatch.setattr(os, "write", full)
        with pytest.warns(UserWarning, match="No space left") as caught:
            train(model, 3, recorder)
        assert len(caught) == 1
        monkeypatch.setattr(os, "write", write)
        train(model, 1, recorder)
    assert set(recorder.run.metrics["loss"][0]) >= {0, 4}


def test_a_measurement_that_fails_is_said_once_and_stops_nothing(tmp_path, monkeypatch):
    from pellucid.interpret.training.recording.statistics import Gathering

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    model = network()
    with Recorder(model, tmp_path, every=1) as recorder:
        monkeypatch.setattr(Gathering, "add", fail)
        with pytest.warns(UserWarning, match="out of memory") as caught:
            train(model, 3, recorder)
        assert len(caught) == 1
    assert len(recorder.run.metrics["loss"][0]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is a whole number of 1 or more"),
        ({"every": 2.5}, "every"),
        ({"every": True}, "every"),
        ({"start": -1}, "start"),
        ({"every": 10, "histograms": 15}, "multiple of every=10"),
        ({"activations": ["nowhere"]}, "'nowhere'.*'0'"),
        ({"sample_ids": [1]}, "watch="),
        ({"watch": torch.ones(2, 1, 4, 4), "sample_ids": [1]}, "1 sample_ids for 2"),
        ({"watch": torch.ones(2, 1, 4, 4), "watch_layers": ["x"]}, "no layer"),
        ({"watch": torch.ones(0, 1, 4, 4)}, "at least one sample"),
        ({"watch": ()}, "at least one sample"),
    ],
)
def test_options_that_cannot_be_worked_with_are_errors(tmp_path, options, message):
    before = global_hooks()
    with pytest.raises(InputError, match=message):
        Recorder(network(), tmp_path / "run", **options)
    assert global_hooks() == before
    assert not (tmp_path / "run").exists()


def test_other_errors(tmp_path):
    with pytest.raises(InputTypeError, match=r"torch\.nn\.Module"):
        Recorder("model", tmp_path)
    with pytest.raises(InputTypeError, match="tensors or arrays"):
        Recorder(network(), tmp_path, watch="samples")
    with pytest.raises(ModelError, match="cannot be run"):
        Recorder(network(), tmp_path, watch=torch.ones(2, 9))
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match="file"):
        Recorder(network(), tmp_path / "file" / "run")
    with Recorder(network(), tmp_path) as recorder:
        with pytest.raises(InputError, match=r"'loss'.*\(2,\)"):
            recorder.step(loss=torch.ones(2))
        with pytest.raises(InputTypeError, match="'loss'.*str"):
            recorder.step(loss="1.5")
        with pytest.raises(InputTypeError, match="'val'.*list"):
            recorder.epoch(val=[1.0])
        recorder.step(loss=np.float32(1), other=torch.ones(1, 1), third=np.ones(()), fourth=True)
