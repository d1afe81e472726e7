"""Several devices, autocast, compilation and little memory: the same results by other ways."""

import copy
import re
import signal
import threading

import captum.attr
import numpy as np
import pytest
import torch
from memory import peak_bytes
from methods import GENERAL, needed
from small_models import cnn, cnn_with_batch_norm, left_in_training, mlp, resnet18
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, Interrupted, ModelError, OutOfMemoryError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def norms(values):
    return np.linalg.norm(np.asarray(values, dtype=float).reshape(len(values), -1), axis=1)


# -- several devices -------------------------------------------------------------------------

ROWS = 41
WORK = {
    "adaptive": {},
    "fixed": {"steps": 12},
    "saliency": {"method": "saliency"},
    "expected gradients": {"method": "expected_gradients", "background": 9, "draws": 20},
    "smoothgrad": {"method": "smoothgrad", "draws": 8},
    "conductance": {"method": "conductance", "at": ["1", "3"]},
    "conductance, fixed": {"method": "conductance", "at": ["input", "2"], "steps": 11},
    "all classes": {"method": "input_x_gradient", "target": "all"},
    "several classes": {"method": "saliency", "target": [[2, 0]]},
    "predicted probability": {"method": "saliency", "output": "probability"},
    "another library": {"method": "captum:DeepLift"},
    "neuron": {"method": "saliency", "target": ("2", 5)},
}


def options_of(work):
    options = dict(WORK[work])
    if "background" in options:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            options["background"] = torch.randn(options["background"], 6)
    return options


def same(found, expected, **tolerance):
    """Equal but for how many rows are multiplied at once."""
    known = tolerance or {"rtol": 1e-4, "atol": 1e-6}
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, part in expected.items():
            same(found[key], part, **tolerance)
    elif expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected, **known)


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("work", WORK)
def test_replicas_find_what_one_finds(work, replicas, device):
    model, x = left_in_training().to(device), torch.randn(ROWS, 6, device=device)
    options = options_of(work)
    one = pl.explain(model, x, **options)
    before = state_of(model, x)
    found = pl.explain(model, x, device=[device] * replicas, **options)
    assert changes(before, state_of(model, x)) == []
    for name in ("values", "prediction", "baseline_prediction", "standard_error"):
        same(getattr(found, name), getattr(one, name))
    # Rows are the same work: an error estimate is a small difference of large numbers.
    same(found.error, one.error, rtol=1e-2, atol=1e-5)
    np.testing.assert_array_equal(found.target, one.target)
    assert found.settings["replicas"] == replicas
    assert found.provenance.device.count(",") == replicas - 1
    assert "replicas" not in one.settings
    if work not in ("adaptive", "conductance", "another library"):
        # Each of the others tries the first two rows.
        assert found.cost.forward == one.cost.forward + 2 * (replicas - 1)
        assert found.cost.backward == one.cost.backward


@pytest.mark.parametrize("method", GENERAL)
def test_every_method_on_replicas(method, device):
    model, x = mlp().to(device), torch.randn(ROWS, 6, device=device)
    options = {"method": method, "target": 1, **needed(method, x)}
    if method == "guided_ig":
        options["steps"] = 10
    one = pl.explain(model, x, **options)
    found = pl.explain(model, x, device=[device] * 3, **options)
    assert one.axes == found.axes
    same(found.values, one.values)


def test_pictures_on_replicas(device):
    model, x = cnn_with_batch_norm().to(device), torch.randn(7, 1, 6, 6, device=device)
    for options in (
        {"method": "grad_cam"},
        {"method": "score_cam", "at": "4"},
        {"method": "blur_ig", "steps": 6},
        {"method": "xrai", "segments": np.arange(36).reshape(6, 6) // 9, "steps": 6},
    ):
        one = pl.explain(model, x, target=1, **options)
        same(pl.explain(model, x, target=1, device=[device] * 2, **options).values, one.values)


def test_a_list_of_one_device_is_that_device(device):
    model, x = mlp().to(device), torch.randn(5, 6, device=device)
    found = pl.explain(model, x, device=[device])
    np.testing.assert_array_equal(found.values, pl.explain(model, x).values)
    assert "replicas" not in found.settings


def test_rows_keep_their_targets_baselines_and_names(device):
    model, x = mlp().to(device), torch.randn(ROWS, 6, device=device)
    targets, starts = np.arange(ROWS) % 3, torch.randn(ROWS, 6, device=device)
    ids = np.array([f"row {i}" for i in range(ROWS)])
    found = pl.explain(
        model, x, target=targets, baseline=starts, sample_ids=ids, steps=50,
        device=[device] * 4, batch_size=7,
    )  # fmt: skip
    with torch.no_grad():
        index = torch.from_numpy(targets).to(device)[:, None]
        ends = model(x).gather(1, index)[:, 0].cpu().numpy()
        begins = model(starts).gather(1, index)[:, 0].cpu().numpy()
    same(found.prediction, ends, rtol=1e-5, atol=1e-6)
    same(found.baseline_prediction, begins, rtol=1e-5, atol=1e-6)
    same(found.values.sum(1), ends - begins, rtol=0.05, atol=0.02)
    assert found.sample_ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(found.inputs, x.cpu().numpy())
    np.testing.assert_array_equal(found.baseline, starts.cpu().numpy())


@pytest.mark.parametrize("rows", [1, 2])
def test_more_replicas_than_rows(rows, device):
    model, x = mlp().to(device), torch.randn(rows, 6, device=device)
    found = pl.explain(model, x, device=[device] * 5)
    same(found.values, pl.explain(model, x).values)


def test_comparison_on_replicas(device):
    model, x = mlp().to(device), torch.randn(ROWS, 6, device=device)
    methods = ["saliency", "integrated_gradients"]
    found = pl.compare(model, x, methods, device=[device] * 2)
    one = pl.compare(model, x, methods)
    for name in methods:
        same(found.explanations[name].values, one.explanations[name].values)


class FailsOn(nn.Module):
    """Raises where a row is above 100, but not among the first."""

    def __init__(self):
        super().__init__()
        self.body = left_in_training()

    def forward(self, x):
        if bool((x > 100).any()):
            raise RuntimeError("the power went out")
        return self.body(x)


@pytest.mark.parametrize("row", [5, 35])
def test_an_error_in_any_shard_is_ours(row, device):
    model, x = FailsOn().to(device), torch.randn(ROWS, 6, device=device)
    x[row] = 1000
    before, threads = state_of(model, x), threading.active_count()
    with pytest.raises(ModelError, match=r"points of samples \d+ to \d+.*power went out") as caught:
        pl.explain(model, x, target=0, device=[device] * 3, batch_size=4)
    first, last = map(int, re.search(r"samples (\d+) to (\d+)", str(caught.value)).groups())
    assert first <= row <= last < first + 4
    assert changes(before, state_of(model, x)) == []
    assert threading.active_count() == threads


def test_what_cannot_be_replicated_is_refused():
    x = torch.randn(4, 6)
    with pytest.raises(InputError, match="is a function, of which no copy"):
        pl.explain(lambda x: x.sum(1), x, device=["cpu", "meta"])
    body = mlp()
    with pytest.raises(InputError, match="is a function, of which no copy"):
        pl.explain(lambda x: 2 * body(x), x, target=0, device=["cpu", "cpu"])
    with pytest.raises(InputError, match="device is an empty list"):
        pl.explain(mlp(), x, device=[])
    with pytest.raises(InputError, match="is not a device"):
        pl.explain(mlp(), x, device=["cpu", "gpu:7"])

    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.lock = mlp(), threading.Lock()

        def forward(self, x):
            return self.body(x)

    model = Locked()
    before = state_of(model, x)
    with pytest.raises(InputError, match="Locked cannot be copied to cpu: TypeError"):
        pl.explain(model, x, device=["cpu", "cpu"])
    assert changes(before, state_of(model, x)) == []


class Pressed(nn.Module):
    """Ctrl-C comes when a row with a mark goes through."""

    def __init__(self):
        super().__init__()
        self.body, self.pressed = left_in_training(), []

    def forward(self, x):
        if not self.pressed and bool((x > 100).any()):
            self.pressed.append(1)
            signal.raise_signal(signal.SIGINT)
        return self.body(x)


@pytest.fixture
def usual_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_handler")
def test_ctrl_c_keeps_the_rows_before_the_cut(device):
    """The first of two shards is cut: what the second has finished does not follow on."""
    model, x = Pressed().to(device), torch.randn(1200, 6, device=device)
    x[300] = 1000
    before = state_of(model, x)
    options = {"target": 0, "steps": 20, "batch_size": 64, "device": [device] * 2}
    with pytest.raises(Interrupted, match=r"after 256 of 1200 rows") as caught:
        pl.explain(model, x, sample_ids=np.arange(1200) + 7, **options)
    assert changes(before, state_of(model, x)) == []
    partial = caught.value.partial
    assert partial.sample_ids.tolist() == list(range(7, 7 + 256))
    model.body.eval()
    expected = pl.explain(model.body, x[:256], target=0, steps=20)
    same(partial.values, expected.values)


class Waits(nn.Module):
    """Rows with a mark wait for Ctrl-C, which comes when the others are done."""

    def __init__(self):
        super().__init__()
        self.body, self.go = mlp(), None

    def forward(self, x):
        if self.go is not None and bool((x < -100).any()):
            assert self.go.wait(60)
        return self.body(x)


@pytest.mark.usefixtures("usual_handler")
def test_ctrl_c_while_waiting_for_the_last_shard_is_heard():
    class Shared(threading.Event):
        def __deepcopy__(self, memo):
            return self

    model, x = Waits(), torch.randn(1200, 6)
    x[700] = -1000  # the second shard's first block
    x[1000] = -1000  # the second shard's second block
    model.go = Shared()

    def press():
        # The first shard needs far less than this; then the main thread waits.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        model.go.set()

    timer = threading.Timer(3.0, press)
    timer.start()
    with pytest.raises(Interrupted, match=r"after \d+ of 1200 rows") as caught:
        pl.explain(model, x, target=0, method="saliency", device=["cpu", "cpu"], batch_size=100)
    timer.join()
    partial = caught.value.partial
    assert 600 <= len(partial) < 1200
    same(
        partial.values,
        pl.explain(model.body, x, target=0, method="saliency").values[: len(partial)],
    )


@pytest.mark.usefixtures("usual_handler")
def test_ctrl_c_before_anything_is_finished(device):
    model, x = Pressed().to(device), torch.randn(100, 6, device=device)
    x[30] = 1000
    with pytest.raises(Interrupted, match="before any row was finished") as caught:
        pl.explain(model, x, target=0, steps=50, batch_size=10, device=[device] * 2)
    assert caught.value.partial is None


# -- autocast --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A small network that has learned something, and rows that it has not seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = mlp(6, 3, 32), torch.randn(600, 6)
        y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()
        adam = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(150):
            adam.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            adam.step()
        for parameter in model.parameters():
            parameter.grad = None
        return model, torch.randn(100, 6)


FLOOR = {"bfloat16": 2.5 * 2**-7, "float16": 2.5 * 2**-10}


@pytest.mark.parametrize("precision", FLOOR)
@pytest.mark.parametrize("options", [{}, {"steps": 300}, {"method": "conductance", "at": "1"}])
def test_autocast_is_within_the_error_that_it_reports(precision, options, trained, device):
    model, x = copy.deepcopy(trained[0]).to(device), trained[1].to(device)
    arguments = {"target": 1, **options}
    exact = arguments | ({} if "steps" in options else {"tolerance": 0.002})
    expected = pl.explain(model, x, **exact)
    before = state_of(model, x)
    found = pl.explain(model, x, precision=precision, **arguments)
    assert changes(before, state_of(model, x)) == []
    off = norms(found.values - expected.values) / norms(expected.values)
    assert np.mean(off <= found.error) >= 0.9
    assert off.max() > 1e-5, "it was computed in less"
    assert (found.error >= FLOOR[precision]).all()
    assert found.values.dtype == np.float32
    assert found.settings["precision"] == f"autocast to {precision}"
    assert "precision" not in expected.settings


def test_tolerances_that_autocast_cannot_meet_are_refused():
    model, x = mlp(), torch.randn(3, 6)
    with pytest.raises(InputError, match="finer than the model computes.*without autocast"):
        pl.explain(model, x, precision="bfloat16", tolerance=0.01)
    assert (pl.explain(model, x, precision="bfloat16", tolerance=0.05).error > 0.019).all()
    assert pl.explain(model, x, precision="float16", tolerance=0.01).error is not None
    for wrong in ("int8", "float32", torch.bfloat16, 16, ["bfloat16"]):
        with pytest.raises(InputError, match="precision=.* is not known"):
            pl.explain(model, x, precision=wrong)


def test_probabilities_under_autocast_are_in_float32(device):
    model, x = mlp().to(device), torch.randn(50, 6, device=device)
    found = pl.explain(
        model, x, precision="bfloat16", output="probability", target="all", method="saliency"
    )
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        logits = model(x)
    assert logits.dtype == torch.bfloat16
    same(found.prediction, logits.float().softmax(1).cpu(), rtol=1e-6)
    same(found.prediction.sum(1), np.ones(50), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "captum:DeepLift", "smoothgrad"])
def test_other_methods_under_autocast(method, device):
    model, x = cnn().to(device), torch.randn(5, 1, 6, 6, device=device)
    found = pl.explain(model, x, method=method, target=1, precision="bfloat16")
    expected = pl.explain(model, x, method=method, target=1)
    assert (norms(found.values - expected.values) <= 0.1 * norms(expected.values)).all()
    assert found.values.dtype == np.float32


# -- compilation -----------------------------------------------------------------------------


@pytest.fixture
def counting():
    """A backend that counts the graphs that it is given, and runs them as they are."""
    torch._dynamo.reset()
    shapes = []

    def backend(graph, examples):
        shapes.append([tuple(e.shape) for e in examples if isinstance(e, torch.Tensor)])
        return graph.forward

    torch._dynamo.register_backend(backend, name="counting")
    yield shapes
    torch._dynamo.reset()
    from torch._dynamo.backends import registry

    registry._BACKENDS.pop("counting", None)
    registry._COMPILER_FNS.pop("counting", None)


@pytest.mark.parametrize("rows", [7, 64, 131])
def test_one_compilation_however_many_rows(rows, counting, device):
    model, x = mlp().to(device), torch.randn(rows, 6, device=device)
    expected = pl.explain(model, x, target=1, steps=9)
    before = state_of(model, x)
    found = pl.explain(model, x, target=1, steps=9, compile="counting", batch_size=16)
    assert changes(before, state_of(model, x)) == []
    # One with gradients, and one forward only for the ends of the path.
    assert len(counting) <= 2
    assert all((16, 6) in shapes for shapes in counting)
    same(found.values, expected.values)
    same(found.prediction, expected.prediction, rtol=1e-5, atol=1e-6)
    assert found.settings["compiled"] == "counting"
    assert found.cost.backward == expected.cost.backward


def test_adaptive_paths_compile_no_more(counting, device):
    model, x = mlp().to(device), torch.randn(20, 6, device=device)
    expected = pl.explain(model, x)
    found = pl.explain(model, x, compile="counting", batch_size=32)
    assert 1 <= len(counting) <= 2
    same(found.values, expected.values)
    assert (found.error <= 0.01).all()


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_padding_is_taken_off_whatever_comes_out(kind, counting, device):
    class Wraps(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            z = self.body(x)
            return {"logits": z, "hidden": 2 * z} if kind == "dict" else (z, 2 * z)

    model, x = Wraps().to(device), torch.randn(9, 6, device=device)
    found = pl.explain(model, x, method="saliency", compile="counting", batch_size=16)
    assert len(counting) >= 1
    same(found.values, pl.explain(model, x, method="saliency").values)
    key = "hidden" if kind == "dict" else 1
    score = lambda out: out[key][:, 1]
    found = pl.explain(model, x, target=score, method="saliency", compile="counting", batch_size=16)
    same(found.values, pl.explain(model, x, target=score, method="saliency").values)


@pytest.mark.usefixtures("counting")
def test_layers_and_other_libraries_beside_a_compiled_model(device):
    model, x = cnn_with_batch_norm().to(device).eval(), torch.randn(9, 1, 6, 6, device=device)
    options = {"compile": "counting", "batch_size": 4, "target": 1}
    for more in (
        {"method": "saliency", "at": ["1", "4"]},
        {"method": "grad_cam"},
        {"method": "captum:DeepLift"},
        {"method": "conductance", "at": "2", "steps": 7},
        {"method": "saliency", "target": ("4", 2)},
    ):
        found = pl.explain(model, x, **options | more)
        expected = pl.explain(model, x, **{"target": 1} | more)
        same(found.values, expected.values)


def test_unknown_backends_are_refused():
    with pytest.raises(InputError, match=r"compile='fastest' is no backend.*inductor"):
        pl.explain(mlp(), torch.randn(2, 6), compile="fastest")


# -- memory ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tenth_of_captums_memory():
    """Fifty steps on sixteen pictures; Captum's default is one batch of all."""
    model, x = resnet18(16), torch.randn(16, 3, 32, 32)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found, ours = peak_bytes(lambda: pl.explain(model, x, target=0, steps=50))
    peer, theirs = peak_bytes(
        lambda: captum.attr.IntegratedGradients(model).attribute(x, target=0, n_steps=50)
    )
    print(f"\nResNet-18: {ours / 2**20:.1f} MiB, Captum {theirs / 2**20:.1f} MiB")
    off = norms(found.values - peer.numpy()) / norms(peer.numpy())
    assert (off < 0.2).all()
    assert ours <= theirs / 10


class Limited(nn.Module):
    """Fits so many rows, and no more."""

    def __init__(self, limit):
        super().__init__()
        self.body, self.limit, self.refused = cnn(), limit, 0

    def forward(self, x):
        if len(x) > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.body(x)


NARROW = {
    "layers": {"method": "saliency", "at": ["body.0", "body.3"]},
    "input and layers": {"method": "input_x_gradient", "at": ["input", "body.1"]},
    "conductance": {"method": "conductance", "at": ["body.1", "body.4"], "steps": 9},
    "conductance, adaptive": {"method": "conductance", "at": "body.1", "tolerance": 0.1},
    "integrated gradients at a layer": {
        "at": "body.0",
        "method": "integrated_gradients",
        "steps": 7,
    },
    "expected gradients": {"method": "expected_gradients", "background": 6, "draws": 12},
    "smoothgrad": {"method": "smoothgrad", "draws": 7},
    "grad_cam": {"method": "grad_cam", "at": "body.3"},
    "layer_cam": {"method": "layer_cam"},
    "score_cam": {"method": "score_cam", "at": "body.3"},
    "blur": {"method": "blur_ig", "steps": 8},
    "captum": {"method": "captum:DeepLift"},
}


@pytest.mark.parametrize("work", NARROW)
def test_back_off_everywhere(work, device):
    model, x = Limited(5).to(device), torch.randn(13, 1, 6, 6, device=device)
    options = dict(NARROW[work])
    if "background" in options:
        options["background"] = torch.randn(options["background"], 1, 6, 6, device=device)
    before = state_of(model, x)
    found = pl.explain(model, x, target=1, batch_size=40, **options)
    assert changes(before, state_of(model, x)) == []
    assert model.refused
    model.limit = 10**9
    expected = pl.explain(model, x, target=1, batch_size=40, **options)
    same(found.values, expected.values)
    same(found.prediction, expected.prediction)
    assert found.cost.backward == expected.cost.backward


@pytest.mark.parametrize("work", ["conductance", "grad_cam", "expected gradients"])
def test_no_room_for_one_row_is_an_error_of_ours(work, device):
    model, x = Limited(0).to(device), torch.randn(3, 1, 6, 6, device=device)
    options = dict(NARROW[work])
    if "background" in options:
        options["background"] = x
    before = state_of(model, x)
    with pytest.raises(OutOfMemoryError, match="does not fit"):
        pl.explain(model, x, target=1, **options)
    assert changes(before, state_of(model, x)) == []


def test_a_replica_backs_off_by_itself(device):
    model, x = Limited(3).to(device), torch.randn(23, 1, 6, 6, device=device)
    found = pl.explain(model, x, target=1, steps=9, batch_size=40, device=[device] * 2)
    same(found.values, pl.explain(model.body, x, target=1, steps=9).values)
