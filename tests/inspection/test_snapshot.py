"""A snapshot holds a model's parameters, and none of the model."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, ModelError


def test_every_parameter_once_and_exactly(device):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 3)).to(device)
    found = pl.snapshot(model)
    ours = {
        f"{layer.name}.{key}": array
        for layer in found.layers
        for key, array in layer.parameters.items()
    }
    theirs = dict(model.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name].detach().cpu().numpy())
    assert found.size == sum(p.numel() for p in model.parameters())
    assert [layer.kind for layer in found.layers] == ["Conv2d", "BatchNorm2d", "Linear"]


def test_it_is_a_copy():
    model = nn.Linear(2, 2)
    found = pl.snapshot(model)
    before = found.layer("").parameters["weight"].copy()
    model.weight.data.zero_()
    np.testing.assert_array_equal(found.layer("").parameters["weight"], before)


def test_tied_weights_are_counted_once_and_half_precision_is_readable():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    found = pl.snapshot(nn.Sequential(first, second).to(torch.bfloat16))
    assert found.size == 16
    assert found.layers[0].parameters["weight"].dtype == np.float32


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (lambda x: x, InputTypeError, "expected a torch.nn.Module"),
        (nn.ReLU(), InputError, "no parameters"),
    ],
)
def test_bad_input_is_met_with_a_sentence(model, error, says):
    with pytest.raises(error, match=says):
        pl.snapshot(model)


def test_an_unknown_layer_lists_those_that_there_are():
    with pytest.raises(InputError, match="'0'"):
        pl.snapshot(nn.Sequential(nn.Linear(1, 1))).layer("9")


# -- with inputs: what goes into what --------------------------------------------------------


class Block(nn.Module):
    """A residual block: a convolution, a ReLU used twice, a sum."""

    def __init__(self, short=None):
        super().__init__()
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.short = short

    def forward(self, x):
        aside = x if self.short is None else self.short(x)
        y = self.drop(self.second(self.relu(self.first(x))))
        y += aside
        return self.relu(y)


class Net(nn.Module):
    """Parts by name, put together by a function."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.wire = forward

    def forward(self, *args, **kwargs):
        return self.wire(self, *args, **kwargs)


def edges(model, *inputs):
    found = pl.snapshot(model, inputs if len(inputs) > 1 else inputs[0])
    assert found.settings["edges"] == "followed"
    names = {node.name for node in found.nodes} | {"input", "output"}
    parents = {name.rpartition(".")[0] for name in names}
    assert {name for pair in found.edges for name in pair} <= names - parents | {""}
    return set(found.edges)


def linear(a=4, b=4):
    return nn.Linear(a, b)


def test_edges_of_a_residual_block():
    assert edges(nn.Sequential(Block(), nn.Flatten(), linear(18, 3)), torch.rand(2, 2, 3, 3)) == {
        ("input", "0.first"),
        ("0.first", "0.relu"),
        ("0.relu", "0.second"),
        ("0.second", "0.drop"),
        ("0.drop", "0.add"),
        ("input", "0.add"),
        ("0.add", "0.relu (2)"),
        ("0.relu (2)", "1"),
        ("1", "2"),
        ("2", "output"),
    }


def test_what_hands_its_input_on_untouched_is_still_on_the_way():
    net = Net(lambda s, x: s.out(s.same(s.first(x)) + s.first(x)), first=linear(), same=nn.Identity(), out=linear())  # fmt: skip
    assert edges(net, torch.rand(2, 4)) == {
        ("input", "first"),
        ("first", "same"),
        ("same", "add"),
        ("input", "first (2)"),
        ("first (2)", "add"),
        ("add", "out"),
        ("out", "output"),
    }


def test_edges_of_a_diamond_and_of_a_concatenation():
    def wire(s, x):
        x = s.a(x)
        return s.d(torch.cat([s.b(x).relu(), s.c(x).flatten(1)], 1))

    net = Net(wire, a=linear(), b=linear(), c=linear(), d=linear(8, 2))
    assert edges(net, torch.rand(3, 4)) == {
        ("input", "a"),
        ("a", "b"),
        ("a", "c"),
        ("b", "cat"),
        ("c", "cat"),
        ("cat", "d"),
        ("d", "output"),
    }


def test_edges_through_writing_into_a_part_of_a_tensor():
    def wire(s, x):
        room = torch.zeros(len(x), 2, 4)
        room[:, 0] = s.a(x)
        room[:, 1] = s.b(x)
        return s.c(room)

    net = Net(wire, a=linear(), b=linear(), c=linear())
    assert edges(net, torch.rand(3, 4)) == {
        ("input", "a"),
        ("input", "b"),
        ("a", "copy"),
        ("b", "copy"),
        ("copy", "c"),
        ("c", "output"),
    }


def test_edges_of_attention_and_of_several_inputs():
    def wire(s, x, y):
        q, k = s.q(x), s.k(y)
        scores = (q @ k.transpose(1, 2) / 2).softmax(-1)
        return s.out(scores @ s.v(y))

    net = Net(wire, q=linear(), k=linear(), v=linear(), out=linear())
    assert edges(net, torch.rand(2, 3, 4), torch.rand(2, 5, 4)) == {
        ("input", "q"),
        ("input", "k"),
        ("input", "v"),
        ("q", "matmul"),
        ("k", "matmul"),
        ("v", "matmul"),
        ("matmul", "out"),
        ("out", "output"),
    }


def test_a_block_used_again_has_nodes_for_each_time_and_its_parameters_once():
    block = nn.Sequential(linear(), nn.Tanh())
    net = Net(lambda s, x: s.block(s.block(x)), block=block)
    found = pl.snapshot(net, torch.rand(2, 4))
    assert set(found.edges) == {
        ("input", "block.0"),
        ("block.0", "block.1"),
        ("block.1", "block (2).0"),
        ("block (2).0", "block (2).1"),
        ("block (2).1", "output"),
    }
    owned = {node.name: node.statistics["parameters"] for node in found.nodes}
    assert owned["block.0"] == 20
    assert owned["block (2).0"] == 0


def test_the_cell_of_a_long_loop_is_one_node():
    def wire(s, x):
        for _ in range(50):
            x = s.act(s.cell(x))
        return x

    found = pl.snapshot(Net(wire, cell=linear(), act=nn.Tanh()), torch.rand(2, 4))
    assert set(found.edges) == {
        ("input", "cell"),
        ("cell", "act"),
        ("act", "cell"),
        ("act", "output"),
    }


def test_where_tensors_cannot_be_followed_the_order_of_the_calls_is_told():
    net = Net(lambda s, x: s.b(torch.tensor(s.a(x).tolist())), a=linear(), b=linear())
    found = pl.snapshot(net, torch.rand(2, 4))
    assert found.settings["edges"] == "order of the calls"
    assert found.edges == (("input", "a"), ("a", "b"), ("b", "output"))


def transformer():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=50,
        max_position_embeddings=16,
    )
    return BertForSequenceClassification(config), {"input_ids": torch.randint(0, 50, (3, 5))}


def recurrent():
    def wire(s, x):
        return s.out(s.rnn(s.words(x))[0][:, -1])

    parts = {"words": nn.Embedding(9, 4), "rnn": nn.LSTM(4, 6, batch_first=True)}
    return Net(wire, **parts, out=linear(6, 2)), torch.randint(0, 9, (3, 5))


def nested():
    lists = nn.ModuleList([nn.ModuleList([linear(), nn.GELU()]) for _ in range(2)])

    def wire(s, x):
        for first, second in s.lists:
            x = x + second(first(x))
        return x

    return Net(wire, lists=lists), torch.rand(3, 4)


def wrapped():
    model, x = nested()
    return nn.DataParallel(model), x


def compiled():
    model, x = nested()
    return torch.compile(model), x


def convolutions():
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    return nn.Sequential(*layers, linear(12, 3)).train(), torch.rand(4, 1, 4, 4)


def attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.rand(2, 5, 8)


MODELS = [transformer, recurrent, nested, wrapped, compiled, convolutions, attention]


@pytest.mark.parametrize("make", MODELS)
def test_any_model_adds_up_and_is_left_as_it_was(make):
    torch.manual_seed(0)
    model, inputs = make()
    before = state_of(model, inputs)
    found = pl.snapshot(model, inputs)
    assert not changes(before, state_of(model, inputs))
    assert found.settings["edges"] == "followed"
    ours = sum(node.statistics["parameters"] for node in found.nodes)
    assert ours == sum(p.numel() for p in model.parameters()) == found.size
    names = [node.name for node in found.nodes]
    assert len(set(names)) == len(names)
    for place, name in enumerate(names):
        assert not name or name.rpartition(".")[0] in names[:place]
    seconds = {node.name: node.statistics.get("seconds") for node in found.nodes}
    assert all(s is None or s >= 0 for s in seconds.values())


def test_state_comes_back_when_the_model_fails():
    def wire(s, x):
        s.norm(x)
        raise ValueError("no")

    model = Net(wire, norm=nn.BatchNorm1d(4)).train()
    x = torch.rand(3, 4)
    before = state_of(model)
    with pytest.raises(ModelError, match="no"):
        pl.snapshot(model, x)
    assert not changes(before, state_of(model))


# -- with inputs: what is put out ------------------------------------------------------------


def test_activations_and_shares_against_a_plain_forward_pass():
    torch.manual_seed(1)
    model = nn.Sequential(linear(5, 6), nn.ReLU(), linear(6, 3)).eval()
    model[0].bias.data[2] = -100.0  # a unit that is never active
    x = torch.randn(20, 5)
    found = pl.snapshot(model, x, keep=4)
    with torch.no_grad():
        hidden = model[:2](x).numpy()
    np.testing.assert_allclose(found.activations["1"], hidden[:4], rtol=1e-6)
    np.testing.assert_array_equal(found.inputs, x[:4].numpy())
    relu = next(node for node in found.nodes if node.name == "1")
    assert relu.shape == (20, 6)
    assert relu.statistics["zero"] == pytest.approx((hidden == 0).mean())
    assert relu.statistics["dead"] == pytest.approx((hidden == 0).all(0).mean())
    assert relu.statistics["dead"] >= 1 / 6
    assert len(found[1:3].activations["1"]) == 2


def test_operations_of_a_matrix_product_a_convolution_and_attention():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), linear(8 * 16, 7))
    found = {n.name: n.statistics for n in pl.snapshot(model, torch.rand(5, 3, 6, 6)).nodes}
    assert found["0"]["operations"] == 2 * 8 * 16 * 3 * 9
    assert found["2"]["operations"] == 2 * 8 * 16 * 7
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    net = Net(lambda s, x: s.a(x, x, x)[0], a=attention)
    own = {n.name: n.statistics for n in pl.snapshot(net, torch.rand(3, 5, 8)).nodes}["a"]
    # Four projections of 5 tokens; two products of 5 x 5 pairs of tokens.
    assert own["operations"] == 2 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)


@pytest.mark.parametrize(
    "function",
    [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.Tanh(), nn.SiLU(), nn.LeakyReLU(0.2),
     nn.Softplus(), nn.Hardswish(), nn.Sigmoid(), nn.PReLU(4), nn.ELU()],
    ids=lambda function: type(function).__name__,
)  # fmt: skip
def test_an_activation_function_with_what_comes_into_it(function):
    torch.manual_seed(0)
    model = nn.Sequential(linear(3, 4), function).eval()
    x = torch.randn(50, 3)
    found = pl.snapshot(model, x).functions["1"]
    assert found.kind == type(function).__name__
    with torch.no_grad():
        before = model[0](x).numpy()
        given = torch.tensor(found.x)[:, None].expand(-1, 4).clone()
        expected = function(given)[:, 0].numpy()
    np.testing.assert_allclose(found.y, expected, atol=1e-6)
    counts, _ = np.histogram(before, found.edges)
    assert found.counts.sum() == before.size
    assert np.abs(found.counts - counts).sum() <= 4  # values next to an edge, in float32
    assert found.x[0] < found.edges[0]
    assert found.x[-1] > found.edges[-1]


@pytest.mark.parametrize(
    "other", [nn.Softmax(-1), nn.Identity(), nn.Dropout(), nn.LayerNorm(4), nn.Flatten(), nn.GLU()]
)
def test_what_is_no_activation_function(other):
    assert not pl.snapshot(nn.Sequential(linear(3, 4), other), torch.randn(9, 3)).functions


def test_gradient_norms_against_autograd():
    torch.manual_seed(0)
    model = nn.Sequential(linear(4, 5), nn.Tanh(), linear(5, 3))
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    found = {n.name: n.statistics for n in pl.snapshot(model, x, targets=y).nodes}
    nn.functional.cross_entropy(model(x), y).backward()
    for name in ("0", "2"):
        parts = [p.grad.flatten() for p in model[int(name)].parameters()]
        assert found[name]["gradient norm"] == pytest.approx(float(torch.cat(parts).norm()), 1e-5)
    assert "gradient norm" not in found["1"]
    squares = pl.snapshot(model, x, targets=torch.rand(8, 3), loss=nn.functional.mse_loss)
    assert squares.settings["loss"] == "mse_loss"


def test_relevance_of_a_layer_is_what_its_attributions_amount_to():
    torch.manual_seed(0)
    model = nn.Sequential(linear(4, 5), nn.ReLU(), linear(5, 3))
    x = torch.randn(6, 4)
    explanation = pl.explain(model, x, method="integrated_gradients", at=["0", "1"])
    found = {n.name: n.statistics for n in pl.snapshot(model, x, explanation=explanation).nodes}
    for name in ("0", "1"):
        expected = np.abs(explanation.values[name]).sum(axis=1).mean()
        assert found[name]["relevance"] == pytest.approx(expected)
    with pytest.raises(InputError, match="explanation is of the input"):
        pl.snapshot(model, x, explanation=pl.explain(model, x, method="saliency"))


def test_activations_stay_within_their_room(monkeypatch):
    from pellucid.interpret.inspection import snapshot as module

    room = 4 * (3 * 10 + 3 * 10 + 3 * 2)
    monkeypatch.setattr(module, "_ROOM", room)
    model = nn.Sequential(linear(4, 10), nn.ReLU(), linear(10, 2))
    found = pl.snapshot(model, torch.rand(8, 4))
    assert found.settings["samples kept"] == 3
    assert sum(array.nbytes for array in found.activations.values()) == room
    monkeypatch.setattr(module, "_ROOM", 50)
    found = pl.snapshot(model, torch.rand(8, 4))
    assert set(found.activations) == {"2", "0"}
    assert found.settings["activations left out"] == 1


def test_a_snapshot_with_everything_is_saved_and_read_back(tmp_path):
    model, x = convolutions()
    found = pl.snapshot(model, x, targets=[0, 1, 2, 0])
    again = pl.load(found.save(tmp_path / "snapshot.safetensors"))
    assert again.nodes == found.nodes
    assert again.edges == found.edges
    np.testing.assert_array_equal(again.activations["0"], found.activations["0"])
    np.testing.assert_array_equal(again.functions["2"].y, found.functions["2"].y)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"inputs": None, "targets": [0]}, InputError, "without inputs"),
        ({"samples": 0}, InputError, "samples is a number"),
        ({"keep": 1.5}, InputError, "keep is a number"),
        ({"inputs": np.full((2, 4), np.nan)}, InputError, "NaN"),
        ({"inputs": np.zeros((0, 4))}, InputError, "empty batch"),
        ({"inputs": np.zeros((2, 7))}, ModelError, "failed on the inputs"),
        ({"targets": [0]}, InputError, "one for each sample"),
        ({"targets": [0, 9]}, InputError, "has 3 classes"),
        ({"targets": [0.5, 1.0]}, InputTypeError, "without a loss"),
        ({"targets": [0, 1], "loss": lambda o, t: o}, ModelError, "not one number"),
        ({"explanation": "saliency"}, InputTypeError, "give what pl.explain returns"),
    ],
)
def test_options_that_cannot_be_worked_with(options, error, says):
    options = {"inputs": np.zeros((2, 4), dtype=np.float32)} | options
    with pytest.raises(error, match=says):
        pl.snapshot(nn.Sequential(linear(4, 3)), **options)


# -- Keras and scikit-learn ------------------------------------------------------------------


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend")
    return keras


def test_a_keras_model_has_its_layers_and_weights_in_torch_layout(keras):
    ends = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(3, 3, padding="same", name="conv")(ends)
    y = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Add(name="sum")([x, y])
    out = keras.layers.Dense(2, name="dense")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(ends, out)
    found = pl.snapshot(model, np.random.default_rng(0).random((4, 6, 6, 1), dtype=np.float32))
    assert set(found.edges) == {
        ("input", "conv"),
        ("conv", "relu"),
        ("conv", "sum"),
        ("relu", "sum"),
        ("sum", "flat"),
        ("flat", "dense"),
        ("dense", "output"),
    }
    assert found.layer("conv").parameters["weight"].shape == (3, 1, 3, 3)
    kernel = model.get_layer("dense").kernel.value.detach().numpy()
    np.testing.assert_array_equal(found.layer("dense").parameters["weight"], kernel.T)
    assert found.size == model.count_params()
    assert list(found.functions) == ["relu"]


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_a_network_of_scikit_learn_computes_what_it_predicts(activation):
    x, y = load_iris(return_X_y=True)
    network = MLPClassifier((6, 4), activation=activation, max_iter=30, random_state=0)
    model = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, y)
    found = pl.snapshot(model, x, keep=150, samples=150)
    np.testing.assert_allclose(found.activations["softmax 3"], model.predict_proba(x), atol=1e-12)
    assert [layer.name for layer in found.layers] == ["hidden 1", "hidden 2", "output layer"]
    assert found.layers[0].parameters["weight"].shape == (6, 4)
    function = found.functions[f"{activation} 1"]
    before = found.activations["hidden 1"]
    np.testing.assert_array_equal(function.counts, np.histogram(before, function.edges)[0])
    assert found.edges[0] == ("input", "hidden 1")
    assert pl.snapshot(model).size == found.size


@pytest.mark.parametrize(
    "make", [LinearSVC, lambda: SVC(kernel="linear"), LogisticRegression, Ridge]
)
def test_a_linear_model_is_one_layer(make):
    x, y = load_iris(return_X_y=True)
    x, y = x[:100], y[:100]
    model = make().fit(x, y)
    found = pl.snapshot(model, x, keep=100, samples=100)
    says = getattr(model, "decision_function", model.predict)
    np.testing.assert_allclose(found.activations["coefficients"][:, 0], says(x), atol=1e-9)


@pytest.mark.parametrize("model", [SVC(), DecisionTreeClassifier(), LinearSVC()])
def test_an_estimator_without_coefficients_is_refused(model):
    if not isinstance(model, LinearSVC):
        model.fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(InputTypeError, match="without coefficients"):
        pl.snapshot(model, [[0.0]])


def test_inputs_of_an_estimator_are_checked():
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    for inputs, says in {"features": [[0.0, 1.0]], "NaN": [[np.nan]], "empty": []}.items():
        expected = "fitted on" if says == [[0.0, 1.0]] else inputs
        with pytest.raises(InputError, match=expected):
            pl.snapshot(model, says)
