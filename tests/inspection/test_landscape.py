"""Loss landscapes: closed forms, what may not matter, and a model that is left as it was."""

import copy

import numpy as np
import pytest
import torch
from small_models import cnn_with_batch_norm, make_case, make_inputs
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError, ModelError
from pellucid.interpret.inspection.directions import Parameters
from pellucid.interpret.inspection.landscape import loss_landscape
from pellucid.interpret.models import Model
from pellucid.interpret.results import Landscape


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def problem(n=40, features=6, classes=3):
    return torch.randn(n, features), torch.randint(classes, (n,))


def relu_net():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def length(tensor, axes):
    return (tensor**2).sum(axes).sqrt()


# -- closed forms ----------------------------------------------------------------------------


def test_the_squared_error_of_a_linear_model_is_the_parabola():
    model = nn.Linear(5, 2).double()
    x, y = torch.randn(30, 5, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    found = loss_landscape(model, x, y, points=7, span=2.0, seed=3)
    first, second = (
        Parameters(Model(model)).random(g)[0] for g in [torch.Generator().manual_seed(3)] * 2
    )
    residual = (model(x) - y).detach()
    # The outputs move linearly, so the loss is |r + a u + b v|^2 / n, expanded.
    u, v = x @ first.T, x @ second.T
    a, b = np.meshgrid(found.x, found.y)
    inner = lambda p, q: float((p * q).mean())
    expected = (
        inner(residual, residual)
        + 2 * a * inner(residual, u)
        + 2 * b * inner(residual, v)
        + a**2 * inner(u, u)
        + 2 * a * b * inner(u, v)
        + b**2 * inner(v, v)
    )
    np.testing.assert_allclose(found.losses, expected, rtol=1e-12)
    assert found.loss == "mean squared error"


@pytest.mark.parametrize("kind", ["conv", "transposed", "linear", "embedding", "lstm"])
def test_each_filter_of_a_direction_is_as_long_as_the_models_own(kind):
    made = {
        "conv": (nn.Conv2d(3, 4, 5), (1, 2, 3)),
        "transposed": (nn.ConvTranspose2d(3, 4, 5), (0, 2, 3)),
        "linear": (nn.Linear(6, 4), (1,)),
        "embedding": (nn.Embedding(7, 3), (1,)),
        "lstm": (nn.LSTM(3, 4), (1,)),
    }
    layer, within = made[kind]
    moving = Parameters(Model(layer))
    drawn = moving.random(torch.Generator().manual_seed(0))
    for name, own, part in zip(moving.names, moving.tensors, drawn, strict=True):
        if own.ndim < 2:
            assert part is None, name
        else:
            torch.testing.assert_close(length(part, within), length(own, within))


def test_a_filter_of_zeros_does_not_move():
    layer = nn.Linear(4, 3)
    layer.weight.data[1] = 0
    (part, bias) = Parameters(Model(layer)).random(torch.Generator().manual_seed(0))
    assert bias is None
    assert not part[1].any()
    assert part[0].any()


@pytest.mark.parametrize("scale", [10.0, 0.01])
def test_the_scale_of_layers_that_cancel_does_not_matter(scale):
    model, (x, y) = relu_net().double(), problem()
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight *= scale
        scaled[0].bias *= scale
        scaled[2].weight /= scale
    args = {"points": 5, "span": 1.5, "seed": 2}
    ours = loss_landscape(model, x, y, **args)
    theirs = loss_landscape(scaled, x, y, **args)
    np.testing.assert_allclose(theirs.losses, ours.losses, rtol=1e-9)
    assert np.ptp(ours.losses) > 0.01


def test_every_point_is_the_loss_of_the_moved_model():
    """Against the plain way: a copy whose parameters are overwritten."""
    model = cnn_with_batch_norm().eval()
    x, y = torch.randn(10, 1, 6, 6), torch.randint(4, (10,))
    found = loss_landscape(model, x, y, points=5, seed=1, batch_size=3)
    draw = torch.Generator().manual_seed(1)
    directions = [Parameters(Model(model)).random(draw) for _ in range(2)]
    for j, i in [(0, 0), (2, 4), (3, 1)]:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for k, parameter in enumerate(moved.parameters()):
                for part, step in zip(directions, (found.x[i], found.y[j]), strict=True):
                    if part[k] is not None:
                        parameter.add_(step * part[k])
            expected = nn.functional.cross_entropy(moved(x), y)
        assert found.losses[j, i] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("points", [5, 6])
def test_the_center_is_the_models_loss(points):
    model, (x, y) = relu_net(), problem()
    with torch.no_grad():
        expected = float(nn.functional.cross_entropy(model(x).double(), y))
    found = loss_landscape(model, x, y, points=points)
    assert found.center == pytest.approx(expected, rel=1e-9)
    if points % 2:
        assert found.losses[2, 2] == found.center
        assert found.x[2] == found.y[2] == 0.0
    assert found.samples == 40
    assert found.losses.shape == (points, points)


# -- to another model, along a training ------------------------------------------------------


def test_the_way_to_another_model_begins_and_ends_at_the_two():
    model, other = cnn_with_batch_norm(), cnn_with_batch_norm()
    x, y = torch.randn(20, 1, 6, 6), torch.randint(4, (20,))
    for given in (other, other.state_dict()):
        found = loss_landscape(model, x, y, to=given, points=8)
        at = found.x.tolist()
        losses = dict(zip(at, found.losses, strict=True))
        with torch.no_grad():
            own, its = (float(nn.functional.cross_entropy(m.eval()(x), y)) for m in (model, other))
        assert losses[0.0] == pytest.approx(own, rel=1e-6)
        assert losses[1.0] == pytest.approx(its, rel=1e-5)
        assert (min(at), max(at)) == (-0.5, 1.5)
        assert found.y is None
        assert found.trajectory.tolist() == [[0.0], [1.0]]


def test_a_trajectory_spans_the_plane_that_it_lies_in():
    """Of states in a plane, the plane's losses at their places are the states' own."""
    model, (x, y) = relu_net().double(), problem()
    one, two = ([torch.randn_like(p) for p in model.parameters()] for _ in range(2))
    states = []
    for a, b in [(3.0, 1.0), (2.0, 0.4), (1.0, -0.5), (0.2, 0.3)]:
        state = copy.deepcopy(model)
        with torch.no_grad():
            for p, u, v in zip(state.parameters(), one, two, strict=True):
                p.add_(a * u + b * v)
        states.append(state)
    found = loss_landscape(model, x, y, trajectory=[s.state_dict() for s in states], points=5)
    assert found.trajectory.shape == (4, 2)
    steps = [
        torch.cat(
            [(p - q).flatten() for p, q in zip(s.parameters(), model.parameters(), strict=True)]
        )
        for s in states
    ]
    distances = torch.stack(steps).norm(dim=1).detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(found.trajectory, axis=1), distances, rtol=1e-6)
    moving = Parameters(Model(model))
    directions, places, shares = moving.principal([moving.read(s, "") for s in states], 2)
    assert shares.sum() == pytest.approx(1)
    for state, place in zip(states, places, strict=True):
        torch.testing.assert_close(
            moving.moved(directions, place.tolist())(x.double()), state(x.double())
        )
    assert found.x.min() < found.trajectory[:, 0].min() < found.trajectory[:, 0].max()
    with pytest.raises(InputError, match="does not move"):
        loss_landscape(model, x, y, trajectory=[model])
    assert loss_landscape(model, x, y, trajectory=states[:1], points=3).y is None
    with pytest.raises(InputError, match="directions=1"):
        loss_landscape(model, x, y, trajectory=states[:1], directions=2)


# -- models of every kind --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["left in training", "changes buffers", "in place first", "named inputs", "nested inputs",
     "index and floats", "bfloat16", "one logit", "one flat logit"],
)  # fmt: skip
def test_model_and_random_state_are_left_to_the_bit(name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 8)
    targets = np.arange(8) % 2
    before = state_of(case.model, inputs)
    found = loss_landscape(case.model, inputs, targets, points=3, batch_size=3)
    assert changes(before, state_of(case.model, inputs)) == []
    assert np.isfinite(found.losses).all()
    assert np.ptp(found.losses) > 0
    torch.rand(3)  # the state of the generator may not matter
    again = loss_landscape(case.model, inputs, targets, points=3, batch_size=3)
    np.testing.assert_array_equal(again.losses, found.losses)


def test_the_model_is_left_as_it_was_also_when_a_loss_fails():
    model, (x, y) = relu_net().train(), problem()
    before = state_of(model, x)

    def fails(output, targets):
        raise ZeroDivisionError

    with pytest.raises(InputError, match="loss=fails failed.*ZeroDivision"):
        loss_landscape(model, x, y, loss=fails)
    assert changes(before, state_of(model, x)) == []


@pytest.mark.parametrize("batch", [1, 7, "auto"])
def test_the_batch_size_does_not_matter(batch):
    model, (x, y) = relu_net().double(), problem()
    whole = loss_landscape(model, x, y, points=3, batch_size=40)
    parts = loss_landscape(model, x, y, points=3, batch_size=batch)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-12)


def test_a_recurrent_net_moves_and_a_tied_weight_moves_once():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)
            self.body = nn.LSTM(4, 4, batch_first=True)
            self.out = nn.Linear(4, 9, bias=False)
            self.out.weight = self.table.weight

        def forward(self, ids):
            return self.out(self.body(self.table(ids))[0]).transpose(1, 2)

    model, ids = Tagger(), torch.randint(9, (5, 6))
    assert Parameters(Model(model)).names.count("table.weight") == 1
    found = loss_landscape(model, ids, ids, points=3, directions=1)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(ids), ids)
    assert found.center == pytest.approx(float(expected), rel=1e-5)
    assert np.ptp(found.losses) > 0


def test_keras_models_move(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend")
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.Flatten(),
         layers.BatchNormalization(), layers.Dense(4, activation="softmax")]
    )  # fmt: skip
    other = keras.models.clone_model(model)
    x, y = np.random.default_rng(0).normal(size=(9, 6, 6, 1)).astype("f"), np.arange(9) % 4
    before = [w.copy() for w in model.get_weights()]
    found = loss_landscape(model, x, y, points=3)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    probabilities = model.predict(x, verbose=0)
    expected = -np.log(probabilities[np.arange(9), y]).mean()
    assert found.center == pytest.approx(expected, rel=1e-4)
    assert np.ptp(found.losses) > 1e-3
    moving = Parameters(Model(model))
    drawn = dict(zip(moving.names, moving.random(torch.Generator()), strict=True))
    for name, value in zip(moving.names, moving.tensors, strict=True):
        if value.ndim > 1:
            within = tuple(range(value.ndim - 1))
            torch.testing.assert_close(length(drawn[name], within), length(value, within))
    way = loss_landscape(model, x, y, to=other, points=3)
    end = other.predict(x, verbose=0)[np.arange(9), y]
    assert way.losses[way.x == 1.0][0] == pytest.approx(-np.log(end).mean(), rel=1e-4)


# -- losses ----------------------------------------------------------------------------------


class Answers(nn.Module):
    """Returns its input times a parameter that is one."""

    def __init__(self, last=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
        self.last = last or nn.Identity()

    def forward(self, x):
        return self.last(x * self.scale)


F = nn.functional
CASES = {
    "classes": (None, (8, 3), lambda: torch.arange(8) % 3, F.cross_entropy),
    "classes as floats": (None, (8, 3), (torch.arange(8) % 3).double,
                          lambda o, t: F.cross_entropy(o, t.long())),
    "pixels": (None, (8, 3, 2, 2), lambda: torch.arange(32).reshape(8, 2, 2) % 3, F.cross_entropy),
    "probabilities": (nn.Softmax(1), (8, 3), lambda: torch.arange(8) % 3,
                      lambda o, t: F.nll_loss(o.log(), t)),
    "one-hot": (None, (8, 3), lambda: F.one_hot(torch.arange(8) % 3, 3),
                lambda o, t: F.cross_entropy(o, t.double())),
    "several labels": (None, (8, 3), lambda: torch.arange(24).reshape(8, 3) // 2 % 2,
                       lambda o, t: F.binary_cross_entropy_with_logits(o, t.double())),
    "one logit": (None, (8, 1), lambda: torch.arange(8) % 2,
                  lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t.double())),
    "a sigmoid": (nn.Sigmoid(), (8, 1), lambda: torch.arange(8) % 2,
                  lambda o, t: F.binary_cross_entropy(o[:, 0], t.double())),
    "numbers": (None, (8, 1), lambda: torch.arange(8.0).double(),
                lambda o, t: F.mse_loss(o[:, 0], t)),
    "several numbers": (None, (8, 2), lambda: torch.arange(16.0).double().reshape(8, 2),
                        F.mse_loss),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_the_loss_that_fits_is_chosen(name):
    last, shape, targets, expected = CASES[name]
    model, x = Answers(last), torch.randn(*shape, dtype=torch.float64)
    found = loss_landscape(model, x, targets(), points=3, directions=1, batch_size=3)
    with torch.no_grad():
        assert found.center == pytest.approx(float(expected(model(x), targets())), rel=1e-9)


def test_a_loss_of_ones_own_is_a_mean_or_a_number_for_each_sample():
    model, (x, y) = relu_net().double(), problem()
    named = loss_landscape(model, x, y, points=3, batch_size=7)
    for own in (F.cross_entropy, lambda o, t: F.cross_entropy(o, t, reduction="none")):
        found = loss_landscape(model, x, y, points=3, loss=own, batch_size=7)
        np.testing.assert_allclose(found.losses, named.losses, rtol=1e-9)
    squared = loss_landscape(
        nn.Linear(6, 1), x, (x[:, :1] > 0).float(), loss="mean_squared_error", points=3
    )
    assert squared.loss == "mean squared error"


# -- what cannot be worked with --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"targets": torch.zeros(39, dtype=torch.long)}, InputError, "each of 40 samples"),
        ({"targets": torch.full((40,), 7)}, InputError, "3 classes are 0 to 2"),
        ({"targets": torch.full((40,), 0.5)}, InputError, "not whole"),
        ({"targets": torch.full((40,), torch.nan)}, InputError, "NaN"),
        ({"targets": ["a"] * 40}, InputTypeError, "class indices or numbers"),
        ({"targets": torch.zeros(40, 2)}, InputError, "do not fit outputs of shape"),
        ({"loss": "mean_squared_error"}, InputError, "do not fit"),
        ({"loss": "hinge"}, InputError, "'cross_entropy'"),
        ({"loss": lambda o, t: o}, None, None),
        ({"loss": lambda o, t: o[:1]}, InputError, "one number for each sample"),
        ({"loss": lambda o, t: 3.0}, InputError, "as a tensor"),
        ({"directions": 3}, InputError, "give 1 or 2"),
        ({"points": 2}, InputError, "from 3"),
        ({"span": 0}, InputError, "above 0"),
        ({"span": float("inf")}, InputError, "above 0"),
        ({"seed": -1}, InputError, "seed"),
        ({"to": nn.Linear(2, 2)}, InputError, "another architecture"),
        ({"to": "weights.pt"}, InputTypeError, "state dict"),
        ({"to": relu_net(), "directions": 2}, InputError, "one direction"),
        ({"to": relu_net(), "trajectory": [relu_net()]}, InputError, "give one of them"),
        ({"trajectory": []}, InputError, "empty"),
        ({"trajectory": relu_net().state_dict()}, InputTypeError, "list of state dicts"),
        ({"model": lambda x: x}, InputTypeError, "torch.nn.Module"),
        ({"model": nn.ReLU()}, InputError, "no parameters"),
        ({"model": torch.jit.script(relu_net())}, InputTypeError, "TorchScript"),
        ({"model": nn.LayerNorm(6)}, InputError, "only biases and scales"),
        ({"inputs": torch.full((40, 6), torch.nan)}, InputError, "NaN"),
        ({"inputs": torch.zeros(40, 5)}, ModelError, "failed on the first"),
    ],
)  # fmt: skip
def test_bad_input_is_met_with_a_sentence(options, error, says):
    x, y = problem()
    given = {"model": relu_net(), "inputs": x, "targets": y, "points": 3, **options}
    args = [given.pop(name) for name in ("model", "inputs", "targets")]
    if error is None:
        assert np.isfinite(loss_landscape(*args, **given).center)
        return
    with pytest.raises(error, match=says):
        loss_landscape(*args, **given)


def test_a_loss_that_is_nan_at_the_model_is_an_error_and_beyond_it_a_gap():
    model, (x, y) = relu_net(), problem()
    broken = copy.deepcopy(model)
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="own parameters is nan"):
        loss_landscape(broken, x, y, points=3)

    def explodes(output, targets):
        loss = F.cross_entropy(output, targets)
        return loss if abs(loss - at) < 1e-9 else loss * torch.inf

    with torch.no_grad():
        at = F.cross_entropy(model(x), y)
    found = loss_landscape(model, x, y, points=3, loss=explodes)
    assert np.isinf(found.losses).sum() == 8
    assert np.isfinite(found.losses[1, 1])
    assert "around it" in found.summary()


# -- the result ------------------------------------------------------------------------------


def test_a_landscape_saves_and_is_a_table(tmp_path):
    model, (x, y) = relu_net(), problem()
    for options in ({}, {"directions": 1}, {"to": relu_net()}):
        found = loss_landscape(model, x, y, points=3, **options)
        back = pl.load(found.save(tmp_path / "landscape.safetensors"))
        assert isinstance(back, Landscape)
        np.testing.assert_array_equal(back.losses, found.losses)
        assert back.axes == found.axes
        frame = back.to_frame()
        assert len(frame) == found.losses.size
        row = frame.iloc[1]
        assert row["loss"] == found.losses.ravel()[1]
        assert row["x"] == found.x[1]
        assert repr(found)


def test_a_landscape_knows_its_shape():
    with pytest.raises(InputError, match="losses have shape"):
        Landscape(losses=np.zeros((2, 3)), x=np.zeros(2), y=np.zeros(3))
    with pytest.raises(InputError, match="axes names 1"):
        Landscape(losses=np.zeros((3, 2)), x=np.zeros(2), y=np.zeros(3), axes=("one",))
    with pytest.raises(InputError, match="trajectory"):
        Landscape(losses=np.zeros(2), x=np.zeros(2), trajectory=np.zeros((4, 2)))
