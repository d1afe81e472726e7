"""Models as people have them: each of a kind that has broken an attribution library before."""

import collections
import os

import captum.attr
import numpy as np
import pytest
import torch
from small_models import cnn_with_batch_norm, left_in_training, mlp, with_running_statistics
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid import viz
from pellucid.errors import InputError, ModelError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def slopes(score, *leaves):
    """The gradient of each row's score by each leaf, from torch alone."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    found = torch.autograd.grad(score(*leaves).sum(), leaves)
    return [one.cpu().double().numpy() for one in found]


def predicted(logits):
    return logits.gather(1, logits.argmax(1, keepdim=True))[:, 0]


def close(found, expected, rtol=1e-4, atol=1e-6):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


# -- inputs ----------------------------------------------------------------------------------


class Nested(nn.Module):
    """Positional and keyword inputs, nested, with indices and a flag among them."""

    def __init__(self):
        super().__init__()
        self.table, self.first = nn.Embedding(7, 3), nn.Linear(4 + 3 + 2 + 3, 16)
        self.second = nn.Linear(16, 3)

    def forward(self, pair, *, more, index, double=False):
        there = [pair[0], pair[1]["b"], more, self.table(index)]
        z = self.second(torch.tanh(self.first(torch.cat(there, 1))))
        return 2 * z if double else z


def test_nested_and_keyword_inputs_beside_indices(device):
    body = Nested().to(device).eval()
    a, b, c = (torch.randn(5, k, device=device) for k in (4, 3, 2))
    index = torch.randint(7, (5,), device=device)

    class Whole(nn.Module):
        """Takes everything by name, the pair nested."""

        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, *, pair, more, index, double):
            return self.body(pair, more=more, index=index, double=double)

    given = {"pair": (a, {"b": b}), "more": c, "index": index, "double": True}
    model = Whole()
    before = state_of(model, given)
    found = pl.explain(model, given, method="saliency", target=1)
    expected = slopes(
        lambda a, b, c: body((a, {"b": b}), more=c, index=index, double=True)[:, 1], a, b, c
    )
    close(found.values["pair"][0], expected[0])
    close(found.values["pair"][1]["b"], expected[1])
    close(found.values["more"], expected[2])
    assert "index" in found.settings["carried"]
    assert changes(before, state_of(model, given)) == []

    def score(a, b, c, index):
        return body((a, {"b": b}), more=c, index=index, double=True)

    peers = captum.attr.IntegratedGradients(score).attribute(
        (a, b, c), target=1, n_steps=400, additional_forward_args=(index,)
    )
    found = pl.explain(model, given, target=1, tolerance=0.002)
    for path, peer in zip(("pair.0", "pair.1.b", "more"), peers, strict=True):
        close(found.select(path).values, peer.cpu().numpy(), rtol=0.01, atol=2e-3)
    assert np.abs(found.residual).max() < 2e-3


def test_index_and_float_inputs_at_a_layer(device):
    model = Nested().to(device).eval()
    pair = (torch.randn(4, 4, device=device), {"b": torch.randn(4, 3, device=device)})
    more, index = torch.randn(4, 2, device=device), torch.tensor([0, 6, 2, 2], device=device)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pair, more, index):
            return self.model(pair, more=more, index=index)

    found = pl.explain(
        Named(), (pair, more, index), at="model.first", method="input_x_gradient", target=2
    )
    with torch.no_grad():
        hidden = model.first(torch.cat([pair[0], pair[1]["b"], more, model.table(index)], 1))
    (gradient,) = slopes(lambda h: model.second(torch.tanh(h))[:, 2], hidden)
    close(found.values, gradient * hidden.cpu().numpy())


def test_inputs_that_require_gradients_keep_theirs(device):
    model = mlp().to(device)
    x = torch.randn(4, 6, device=device, requires_grad=True)
    x.grad = torch.full_like(x, 3.0)
    made = x * 2  # not a leaf: part of somebody's graph
    before = state_of(model, (x,))
    for given in (x, made):
        for method in ("saliency", "integrated_gradients"):
            found = pl.explain(model, given, method=method, target=0)
            assert isinstance(found.values, np.ndarray)
    assert changes(before, state_of(model, (x,))) == []
    assert made.grad_fn is not None
    expected = slopes(lambda x: model(x)[:, 0], x)[0]
    close(pl.explain(model, x, method="saliency", target=0).values, expected)
    made.sum().backward()  # the graph is still there
    close(x.grad.cpu(), 5.0)


def test_a_baseline_that_requires_gradients(device):
    model, x = mlp().to(device), torch.randn(4, 6, device=device)
    start = torch.zeros(4, 6, device=device, requires_grad=True)
    found = pl.explain(model, x, target=0, baseline=start)
    close(found.values, pl.explain(model, x, target=0).values)
    assert start.grad is None


# -- outputs ---------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", ["scores", "hidden"])  # noqa: PYI024 - the plain kind


def of_huggingface(z, h):
    from transformers.modeling_outputs import SequenceClassifierOutput

    return SequenceClassifierOutput(logits=z, hidden_states=(h,))


OUTPUTS = {
    "tuple": (lambda z, h: (z, h), "output[0]"),
    "list": (lambda z, h: [z, h], "output[0]"),
    "named tuple": (Pair, "output[0]"),
    "dict with logits": (lambda z, h: {"hidden": h, "logits": z}, "logits"),
    "dict of one": (lambda z, h: {"out": z}, "out"),
    "hugging face": (of_huggingface, "logits"),
}


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.hidden, self.out, self.wrap = nn.Linear(6, 8), nn.Linear(8, 3), wrap

    def forward(self, x):
        h = self.hidden(x).relu()
        return self.wrap(self.out(h), h)

    def logits(self, x):
        return self.out(self.hidden(x).relu())


@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_are_found_in_what_models_return(kind, device):
    wrap, part = OUTPUTS[kind]
    model, x = Returns(wrap).to(device), torch.randn(5, 6, device=device)
    found = pl.explain(model, x, method="saliency")
    assert found.settings["scored"] == part
    close(found.values, slopes(lambda x: predicted(model.logits(x)), x)[0])
    assert found.target.tolist() == model.logits(x).argmax(1).tolist()
    probable = pl.explain(model, x, method="saliency", target="all", output="probability")
    for c in range(3):
        expected = slopes(lambda x, c=c: model.logits(x).softmax(1)[:, c], x)[0]
        close(probable.values[:, c], expected)
    at = pl.explain(model, x, method="saliency", target=1, at="hidden")
    with torch.no_grad():
        hidden = model.hidden(x)
    close(at.values, slopes(lambda h: model.out(h.relu())[:, 1], hidden)[0])
    # Any other part is explained by a function of what the model returns.
    which = {"tuple": 1, "list": 1, "named tuple": 1, "dict with logits": "hidden"}.get(kind)
    if which is not None:
        other = pl.explain(model, x, method="saliency", target=lambda out: out[which][:, 2])
        close(other.values, slopes(lambda x: model.hidden(x).relu()[:, 2], x)[0])
        assert "scored" not in other.settings


def test_dicts_of_several_tensors_need_a_function():
    model = Returns(lambda z, h: {"class": z, "box": h})
    with pytest.raises(ModelError, match="say which part to explain with a function"):
        pl.explain(model, torch.randn(2, 6))


def test_layers_that_return_tuples(device):
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = nn.Linear(8, 3)

        def forward(self, x):
            return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))

    model, x = Attends().to(device).eval(), torch.randn(3, 5, 8, device=device)
    found = pl.explain(model, x, at="attention", method="saliency", target=0)
    # The score is linear in what the attention puts out.
    expected = np.broadcast_to(model.out.weight[0].detach().cpu() / 5, (3, 5, 8))
    close(found.values, expected)


# -- layers of other kinds -------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.core = kind(4, 6, num_layers=2, dropout=0.5, batch_first=True)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.core(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("training", [True, False])
def test_recurrent_layers_in_evaluation_mode(kind, training, device):
    model = Recurrent(kind).to(device).train(training)
    x = torch.randn(4, 7, 4, device=device)
    before, cudnn = state_of(model, x), torch.backends.cudnn.enabled
    found = pl.explain(model, x, method="saliency", target=1)
    layer = pl.explain(model, x, method="saliency", target=1, at="core")
    whole = pl.explain(model, x, target=1, tolerance=0.005)
    assert changes(before, state_of(model, x)) == []
    assert torch.backends.cudnn.enabled is cudnn
    model.eval()
    with torch.backends.cudnn.flags(enabled=False):
        expected = slopes(lambda x: model(x)[:, 1], x)[0]
        peer = captum.attr.IntegratedGradients(model).attribute(x, target=1, n_steps=400)
    close(found.values, expected)
    close(whole.values, peer.cpu().numpy(), rtol=0.01, atol=1e-3)
    linear = np.zeros((4, 7, 6))
    linear[:, -1] = model.out.weight[1].detach().cpu()
    close(layer.values, linear)


def test_cudnn_is_back_on_after_an_exception(device):
    model = Recurrent(nn.LSTM).to(device)
    before = torch.backends.cudnn.enabled
    with pytest.raises(ModelError):
        pl.explain(model, torch.randn(3, 7, 5, device=device))
    assert torch.backends.cudnn.enabled is before


class Overwrites(nn.Module):
    """Activations, and the input, written over where they are."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.out = nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)

    def forward(self, x):
        x.mul_(2)
        h = self.act(self.first(x))
        h += 1
        h *= 0.5
        return self.out(h)


def test_activations_that_are_written_over(device):
    model, x = Overwrites().to(device), torch.randn(5, 6, device=device)
    before = state_of(model, x)
    found = pl.explain(model, x, method="input_x_gradient", at=["input", "first", "act"], target=2)
    assert changes(before, state_of(model, x)) == []
    first, weights = model.first, model.out.weight[2].detach().cpu().numpy() / 2
    with torch.no_grad():
        hidden = first(2 * x).cpu().numpy()
    close(found.values["first"], hidden * (hidden > 0) * weights)
    close(found.values["act"], np.maximum(hidden, 0) * weights)
    slope = ((hidden > 0) * weights) @ first.weight.detach().cpu().numpy() * 2
    close(found.values["input"], slope * x.cpu().numpy())


class Twice(nn.Module):
    """One activation for two layers, one linear layer called again."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.out = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.act(self.first(self.act(self.first(x)))))


def test_reused_modules(device):
    model, x = Twice().to(device), torch.randn(4, 6, device=device)
    found = pl.explain(model, x, target=0, tolerance=0.003)
    peer = captum.attr.IntegratedGradients(model).attribute(x, target=0, n_steps=500)
    close(found.values, peer.cpu().numpy(), rtol=0.01, atol=1e-3)
    for name in ("first", "act"):
        with pytest.raises(ModelError, match="called 2 times or more"):
            pl.explain(model, x, at=name, method="saliency")
    at = pl.explain(model, x, at="out", method="input_x_gradient", target=0)
    with torch.no_grad():
        close(at.values[:, 0], model(x)[:, 0].cpu())
    close(at.values[:, 1:], 0)


@pytest.mark.parametrize("method", ["saliency", "conductance"])
def test_training_mode_with_batch_norm_and_dropout_at_layers(method, device):
    model = left_in_training().to(device)
    x = torch.randn(6, 6, device=device)
    before = state_of(model, x)
    found = pl.explain(model, x, at=["0", "3", "5"], method=method, target=1)
    assert changes(before, state_of(model, x)) == []
    calm = left_in_training().to(device)
    calm.load_state_dict(model.state_dict())
    expected = pl.explain(calm.eval(), x, at=["0", "3", "5"], method=method, target=1)
    for name in ("0", "3", "5"):
        np.testing.assert_array_equal(found.values[name], expected.values[name])
    if method == "saliency":
        with torch.no_grad():
            hidden = calm[:4](x)
        close(found.values["3"], slopes(lambda h: calm[4:](h)[:, 1], hidden)[0])
    else:
        sums = found.values["3"].sum(1)
        close(sums, found.prediction - found.baseline_prediction["3"], rtol=0.02, atol=1e-3)


def test_frozen_parameters_stay_frozen(device):
    model = mlp().to(device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = torch.randn(4, 6, device=device)
    expected = slopes(lambda x: model(x)[:, 1], x)[0]
    close(pl.explain(model, x, method="saliency", target=1).values, expected)
    at = pl.explain(model, x, method="saliency", target=1, at="0")
    with torch.no_grad():
        hidden = model[0](x)
    close(at.values, slopes(lambda h: model[1:](h)[:, 1], hidden)[0])
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


# -- compiled by the person ------------------------------------------------------------------


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("way", ["torch.compile", "module.compile"])
def test_models_that_were_compiled(backend, way, device):
    model = cnn_with_batch_norm().to(device).eval()
    x = torch.randn(5, 1, 6, 6, device=device)
    plain = {
        "integrated_gradients": pl.explain(model, x, target=1, steps=20),
        "grad_cam": pl.explain(model, x, target=1, method="grad_cam", at="4"),
        "layers": pl.explain(model, x, target=1, method="saliency", at=["1", "4"]),
        "score": pl.explain(model, x, target=("4", 2), method="saliency"),
    }
    if way == "torch.compile":
        compiled = torch.compile(model, backend=backend)
    else:
        model.compile(backend=backend)
        compiled = model
    with torch.no_grad():
        compiled(x)  # used before, as it would be
    before = state_of(model, x)
    found = {
        "integrated_gradients": pl.explain(compiled, x, target=1, steps=20),
        "grad_cam": pl.explain(compiled, x, target=1, method="grad_cam", at="4"),
        "layers": pl.explain(compiled, x, target=1, method="saliency", at=["1", "4"]),
        "score": pl.explain(compiled, x, target=("4", 2), method="saliency"),
    }
    assert changes(before, state_of(model, x)) == []
    for name in ("integrated_gradients", "grad_cam", "score"):
        close(found[name].values, plain[name].values)
    for layer in ("1", "4"):
        close(found["layers"].values[layer], plain["layers"].values[layer])
    assert np.abs(plain["grad_cam"].values).max() > 0


# -- half precision --------------------------------------------------------------------------

EPS = {torch.bfloat16: 2**-7, torch.float16: 2**-10}


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("at", ["input", "2"])
def test_half_precision_says_how_far_it_is_off(dtype, at, device):
    exact = mlp(6, 3, 32).double().to(device)
    half = mlp(6, 3, 32).to(device)
    half.load_state_dict(exact.state_dict())
    half = half.to(dtype)
    exact.load_state_dict(half.state_dict())  # the weights that it has
    x = torch.randn(16, 6, device=device).to(dtype)
    method = "integrated_gradients"
    found = pl.explain(half, x, target=1, at=at, method=method)
    expected = pl.explain(exact, x.double(), target=1, at=at, method=method, tolerance=1e-3)
    assert found.values.dtype == np.float32
    assert (found.error >= EPS[dtype]).all()
    off = np.linalg.norm(found.values - expected.values, axis=1)
    relative = off / np.linalg.norm(expected.values, axis=1)
    assert np.mean(relative <= found.error) >= 0.9
    assert (relative <= 3 * found.error).all()
    with pytest.raises(InputError, match="finer than the model computes"):
        pl.explain(half, x, target=1, at=at, method=method, tolerance=EPS[dtype] / 2)
    slope = pl.explain(half, x, target=1, at=at, method="saliency")
    close(
        slope.values,
        pl.explain(exact, x.double(), target=1, at=at, method="saliency").values,
        rtol=0,
        atol=0.25 * np.abs(expected.values).max() + 8 * EPS[dtype],
    )
    assert slope.values.dtype == np.float32


def test_half_precision_pictures_and_probabilities(device):
    model = with_running_statistics(cnn_with_batch_norm()).to(device).bfloat16().eval()
    x = torch.randn(3, 1, 6, 6, device=device).bfloat16()
    found = pl.explain(model, x, target="all", output="probability", method="saliency")
    # Softmax in float32: it adds up to one, more closely than bfloat16 could.
    close(found.prediction.sum(1), 1, rtol=0, atol=1e-6)
    with torch.no_grad():
        close(found.prediction, model(x).float().softmax(1).cpu(), rtol=1e-6)
    cam = pl.explain(model, x, method="grad_cam", at="4", target=0)
    assert np.isfinite(cam.values).all()


def test_half_precision_probabilities_are_known_as_such(device):
    model = nn.Sequential(mlp(), nn.Softmax(1)).to(device).bfloat16()
    found = pl.explain(model, torch.randn(3, 6, device=device).bfloat16(), method="saliency")
    assert found.units == "probability"


# -- targets ---------------------------------------------------------------------------------


class Detects(nn.Module):
    """Boxes and scores of a few anchors, and a map of classes, of each picture."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.map, self.head = nn.Conv2d(8, 5, 1), nn.Linear(8, 4 * 6)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        anchors = self.head(h.mean((2, 3))).unflatten(1, (4, 6))
        return {"boxes": anchors[..., :4], "scores": anchors[..., 4:], "map": self.map(h)}


def best_score(out):
    return out["scores"].softmax(-1)[..., 1].amax(1)


def road(out):
    return out["map"][:, 3, 2:5, 1:].mean((1, 2))


@pytest.mark.parametrize("score", [best_score, road])
def test_detection_and_segmentation_by_a_function(score, device):
    model, x = Detects().to(device).eval(), torch.randn(3, 3, 8, 8, device=device)
    found = pl.explain(model, x, target=score, method="saliency")
    close(found.values, slopes(lambda x: score(model(x)), x)[0])
    assert "scored" not in found.settings
    assert score.__name__ in found.settings["target"]
    whole = pl.explain(model, x, target=score, tolerance=0.005)
    assert np.abs(whole.residual).max() <= 0.02 * np.abs(whole.values).sum((1, 2, 3)).max()
    both = pl.explain(model, x, target=[best_score, road], method="saliency", at="body")
    assert both.values.shape == (3, 2, 8, 8, 8)
    with torch.no_grad():
        hidden = model.body(x)

    def behind(h):
        h = torch.tanh(h)
        anchors = model.head(h.mean((2, 3))).unflatten(1, (4, 6))
        return score({"scores": anchors[..., 4:], "map": model.map(h)})

    close(both.values[:, [best_score, road].index(score)], slopes(behind, hidden)[0])


def test_a_map_of_classes_without_a_function_says_what_to_do(device):
    model = Detects().to(device)
    with pytest.raises(ModelError, match="function of the output as the target"):
        pl.explain(lambda x: model(x)["map"], torch.randn(2, 3, 8, 8, device=device))


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 4), nn.Linear(5, 4)

    def forward(self, a, b):
        return torch.tanh(self.left(a)), torch.tanh(self.right(b))


def similarity(out):
    return torch.cosine_similarity(*out)


def test_similarity_of_two_outputs(device):
    model = Towers().to(device)
    a, b = torch.randn(4, 6, device=device), torch.randn(4, 5, device=device)
    found = pl.explain(model, (a, b), target=similarity, method="saliency")
    expected = slopes(lambda a, b: similarity(model(a, b)), a, b)
    close(found.values[0], expected[0])
    close(found.values[1], expected[1])
    other = torch.tanh(model.right(b)).detach()
    one = pl.explain(model, (a, b), target=similarity, method="saliency", attribute="0", at="input")
    picked = slopes(lambda a: torch.cosine_similarity(torch.tanh(model.left(a)), other), a)[0]
    close(one.select("0").values if isinstance(one.values, tuple) else one.values, picked)


def test_neurons_and_channels_of_a_layer(device):
    model = cnn_with_batch_norm().to(device).eval()
    x = torch.randn(3, 1, 6, 6, device=device)
    unit = pl.explain(model, x, target=("1", (2, 3, 4)), method="saliency")
    close(unit.values, slopes(lambda x: model[:2](x)[:, 2, 3, 4], x)[0])
    channel = pl.explain(model, x, target=("5", 1), method="saliency")
    close(channel.values, slopes(lambda x: model[:6](x)[:, 1].mean((1, 2)), x)[0])
    assert unit.units == "activation"
    # One batch norm after another convolution is linear: gradient times input is the whole.
    with torch.no_grad():
        whole = model[:2](x)[:, 2, 3, 4] - model[:2](torch.zeros_like(x))[:, 2, 3, 4]
    complete = pl.explain(model, x, target=("1", (2, 3, 4)))
    close(complete.values.sum((1, 2, 3)), whole.cpu(), rtol=1e-3, atol=1e-5)
    with pytest.raises(InputError, match="no unit"):
        pl.explain(model, x, target=("1", (2, 9, 4)), method="saliency")


# -- Keras ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        found = pytest.importorskip("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
    if found.config.backend() != "torch":
        pytest.skip("Keras runs on another backend here")
    return found


@pytest.fixture
def pictures(keras, device):
    """A network for pictures of 8 x 6, and some of them."""
    if device.type == "cpu" and torch.cuda.is_available():
        pytest.skip("Keras puts its models on the GPU by itself")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    given = keras.Input((8, 6, 3))
    h = layers.Conv2D(5, 3, name="conv")(given)
    h = layers.BatchNormalization(name="norm")(h)
    h = layers.Dropout(0.5)(layers.Activation("relu", name="act")(h))
    out = layers.Dense(4, name="out")(layers.Flatten()(h))
    model = keras.Model(given, out)
    model.get_layer("norm").moving_mean.assign(np.random.default_rng(0).normal(size=5))
    return model, np.random.default_rng(1).normal(size=(4, 8, 6, 3)).astype(np.float32)


def test_keras_models(pictures):
    model, x = pictures
    flags = {layer.name: (layer.training, layer.trainable) for layer in model.layers}
    weights = [w.copy() for w in model.get_weights()]
    logits = model.predict(x, verbose=0)
    before = state_of(model)
    found = pl.explain(model, x, method="saliency")
    close(found.prediction, logits.max(1), rtol=1e-5)
    assert found.target.tolist() == logits.argmax(1).tolist()
    assert found.axes == ("sample", "row", "column", "channel")
    tensor = torch.from_numpy(x).to(next(model.parameters()).device)
    close(found.values, slopes(lambda x: predicted(model(x, training=False)), tensor)[0])
    conv, norm, act, out = (model.get_layer(name) for name in ("conv", "norm", "act", "out"))

    def behind(h):
        return out(act(norm(h, training=False)).flatten(1))[:, 2]

    with torch.no_grad():
        hidden = conv(tensor)
    slope = slopes(behind, hidden)[0]
    at = pl.explain(model, x, method="saliency", at="conv", target=2)
    assert at.axes == ("sample", "row", "column", "channel")
    close(at.values, slope)
    cam = pl.explain(model, x, method="grad_cam", at="conv", target=2)
    assert cam.axes == ("sample", "row", "column")
    expected = np.maximum((slope.mean((1, 2), keepdims=True) * hidden.cpu().numpy()).sum(-1), 0)
    close(cam.values, expected)
    # The last map is that of the activation, or of the dropout that hands it on.
    assert pl.explain(model, x, method="grad_cam").values.shape == (4, 6, 4)
    both = pl.explain(model, x, at=["input", "conv"], method="conductance", target=1)
    for place in ("input", "conv"):
        sums = both.values[place].sum((1, 2, 3))
        start = both.baseline_prediction[place]
        close(sums, both.prediction - start, rtol=0.02, atol=1e-3)
    assert changes(before, state_of(model)) == []
    now = {layer.name: (layer.training, layer.trainable) for layer in model.layers}
    assert now == flags
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    close(model.predict(x, verbose=0), logits, rtol=0, atol=0)


def test_keras_models_by_their_scores(pictures):
    model, x = pictures
    halves = np.repeat([0, 1], 4)[:, None, None] * np.ones((8, 6, 3), dtype=int)
    found = pl.explain(model, x[:2], method="shapley", background=x[2:], groups=halves, target=1)

    def worth(top, bottom):
        mixed = np.stack([np.concatenate([a[:4], b[4:]]) for a in top for b in bottom])
        return model.predict(mixed, verbose=0)[:, 1]

    for i in range(2):
        own, others = x[i][None], x[2:]
        neither, both = model.predict(others, verbose=0)[:, 1].mean(), worth(own, own)[0]
        top, bottom = worth(own, others).mean(), worth(others, own).mean()
        expected = [(top - neither + both - bottom) / 2, (bottom - neither + both - top) / 2]
        close(found.values[i], expected, rtol=1e-4, atol=1e-5)


def test_keras_pictures_are_drawn_by_their_axes(pictures):
    model, x = pictures
    found = pl.explain(model, x, method="saliency", target=0)
    figure = viz.image(found, clip=None)
    drawn = next(t for t in figure.data if t.type == "heatmap" and t.coloraxis == "coloraxis")
    close(np.asarray(drawn.z, dtype=float), found.values[0].sum(-1), rtol=1e-3)


@pytest.mark.parametrize("method", ["blur_ig", "score_cam"])
def test_keras_pictures_are_not_blurred_along_channels(pictures, method):
    model, x = pictures
    with pytest.raises(InputError, match="pictures"):
        pl.explain(model, x, method=method, target=0)


def test_keras_sequential_models_with_several_inputs(keras, device):
    if device.type == "cpu" and torch.cuda.is_available():
        pytest.skip("Keras puts its models on the GPU by itself")
    keras.utils.set_random_seed(0)
    first, second = keras.Input((4,), name="first"), keras.Input((3,), name="second")
    both = keras.layers.Concatenate()([first, second])
    out = keras.layers.Dense(2, name="out")(keras.layers.Dense(8, "tanh", name="hidden")(both))
    model = keras.Model([first, second], out)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)).astype("float32"), rng.normal(size=(5, 3)).astype("float32")
    found = pl.explain(model, ([a, b],), target=1, tolerance=0.003)
    logits = model.predict([a, b], verbose=0)
    close(found.prediction, logits[:, 1], rtol=1e-5)
    assert np.abs(found.residual).max() < 3e-3
    at = pl.explain(model, ([a, b],), target=1, at="hidden", method="input_x_gradient")
    weight, bias = model.get_layer("out").get_weights()
    close(at.values.sum(1) + bias[1], logits[:, 1], rtol=1e-4)
