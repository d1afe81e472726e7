"""What every registered method must keep to. A new method is picked up by itself.

Where a method may refuse, `REFUSALS` says so, and the refusal is tested like everything else.
"""

import numpy as np
import pytest
import torch
from small_models import CASES, Fails, Noisy, make_case, make_inputs, mlp
from state import changes, state_of

import pellucid as pl
from pellucid.errors import InputError, ModelError, PellucidError
from pellucid.interpret.attribution.registry import registered
from pellucid.interpret.results.trees import leaves, rebuild

# In half precision DeepLIFT's values do not add up to a percent, and it says so.
pytestmark = pytest.mark.filterwarnings("ignore:for . of 5 rows the values of deep_lift")

METHODS = registered()
# No model here has attention: methods of it refuse them all, and tests/explain/test_attention.py
# asks for the rest on models that have.
OF_ATTENTION = {m for m in METHODS if METHODS[m].family == "attention"}
# Methods of maps need rows and columns, which most models here do not have: those refuse them, and
# tests/explain/test_cam.py asks for the rest on models that have.
# Likewise of pictures, tests/explain/test_pictures.py, test_regions.py and test_perturbation.py.
OF_PICTURES = {"blur_ig", "xrai", "rise"}
# Values of every two features, and of trees alone, have tests of their own.
OTHERS = {m for m in METHODS if METHODS[m].family in ("interactions", "trees")}
# They take thousands of evaluations where nobody says how many.
FEWER = {
    "shapley": {"budget": 80},
    "conditional_shapley": {"budget": 80},
    "permutation_shapley": {"budget": 150},
    "lime": {"samples": 200},
    "rise": {"samples": 100},
}
every_method = pytest.mark.parametrize(
    "method",
    sorted(
        m for m in METHODS.keys() - OF_ATTENTION - OF_PICTURES - OTHERS if METHODS[m].where != "map"
    ),
)
every_method_of_maps_too = pytest.mark.parametrize(
    "method", sorted(METHODS.keys() - OF_ATTENTION - OTHERS)
)
WITH_MAPS = {"cnn", "cnn with batch norm"}
every_case = pytest.mark.parametrize("name", sorted(CASES))

# Squares and variances: the same for a class and for its opposite.
UNSIGNED = {"smoothgrad_squared", "vargrad"}
# What they do to a gradient depends on its sign: a class's opposite is another question.
ONE_SIDED = {"guided_backprop", "deconvolution"}
# (method, case) -> the error, and words of its message
REFUSALS = {
    ("deep_lift", "function"): (InputError, "the model is a function"),
    ("deep_lift", "reused module"): (ModelError, "a module of its own that is used once"),
    ("guided_backprop", "function"): (InputError, "the model is a function"),
    ("deconvolution", "function"): (InputError, "the model is a function"),
    ("lrp", "function"): (InputError, "the model is a function"),
}
# (method, feature of `explain`) -> likewise
REFUSED_OPTIONS = {
    ("deep_lift", "all"): (InputError, "one target at a time"),
    ("guided_ig", "all"): (InputError, "one target at a time"),
    ("deep_lift", "probability"): (InputError, "not defined behind a softmax"),
    ("guided_backprop", "all"): (InputError, "one target at a time"),
    ("deconvolution", "all"): (InputError, "one target at a time"),
    ("lrp", "all"): (InputError, "one target at a time"),
    ("lrp", "probability"): (InputError, "a probability is no sum"),
    ("lrp", "probability of one logit"): (InputError, "a probability is no sum"),
}


def explain(model, inputs, *, method, **options):
    """`pl.explain`, with a background for the methods that need one."""
    if METHODS[method].background:
        tree = np.asarray(inputs) if isinstance(inputs, list) else inputs
        options.setdefault("background", rebuild(tree, drawn))
    options = FEWER.get(method, {}) | options
    return pl.explain(model, inputs, method=method, **options)


def drawn(path, leaf):
    """Some samples in the shape of an input, the same whatever the input's rows are."""
    shape = leaf.shape if hasattr(leaf, "shape") else np.shape(leaf)
    numbers = np.random.default_rng(len(path)).standard_normal((4, *tuple(shape)[1:]))
    return torch.from_numpy(numbers.astype(np.float32))


def refused(method, what):
    """The refusal that is expected, if any."""
    if METHODS[method].where == "map" and what in CASES and what not in WITH_MAPS:
        return InputError, "no layer of the model puts out a tensor"
    if method in OF_PICTURES and what in CASES and what not in WITH_MAPS:
        return InputError, f"{method} needs pictures"
    return REFUSALS.get((method, what)) or REFUSED_OPTIONS.get((method, what))


def explain_or_refuse(method, what, *arguments, **options):
    """Return the explanation; or None where the method refuses as it should."""
    expected = refused(method, what)
    if expected is None:
        return explain(*arguments, method=method, **options)
    with pytest.raises(expected[0], match=expected[1]):
        explain(*arguments, method=method, **options)
    return None


def flat_values(explanation):
    parts = [a for _, a in leaves(explanation.values) if a is not None]
    return np.concatenate([a.reshape(len(a), -1) for a in parts], axis=1)


def assert_close(found, expected, tolerance=1e-5):
    """Every row agrees, relative to its norm."""
    found, expected = flat_values(found), flat_values(expected)
    assert found.shape == expected.shape
    apart = np.linalg.norm(found - expected, axis=1)
    assert (apart <= tolerance * np.linalg.norm(expected, axis=1)).all(), apart


def assert_alike(method, found, expected):
    """As close as the method promises, where the rows have other numbers, and so other draws."""
    if not METHODS[method].sampled:
        assert_close(found, expected)
        return
    spread = [
        np.concatenate(
            [a.reshape(len(a), -1) for _, a in leaves(e.standard_error) if a is not None], 1
        )
        for e in (found, expected)
    ]
    apart = np.abs(flat_values(found) - flat_values(expected))
    assert (apart <= 6 * np.hypot(*spread) + 1e-4 * np.abs(flat_values(expected)).max()).all()


# -- shapes, dtypes, axes ----------------------------------------------------------------------


@every_case
@every_method_of_maps_too
def test_values_have_the_structure_and_shape_of_the_inputs(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 5)
    explanation = explain_or_refuse(method, name, case.model, inputs)
    if explanation is None:
        return
    given = dict(leaves(inputs))
    values = dict(leaves(explanation.values))
    assert values.keys() == given.keys()
    for path, leaf in given.items():
        carried = not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point()
        assert (values[path] is None) == carried
        if carried:
            continue
        shape = (5, 3, 3) if METHODS[method].where == "map" else tuple(leaf.shape)
        shape = (5, 6, 6) if method in {"xrai", "rise"} else shape
        assert values[path].shape == shape
        assert values[path].dtype == (np.float64 if leaf.dtype == torch.float64 else np.float32)
        assert np.isfinite(values[path]).all()
        axes = explanation.axes[path] if isinstance(explanation.axes, dict) else explanation.axes
        assert len(axes) == len(shape)
        assert axes[0] == "sample"
        shown = dict(leaves(explanation.inputs))[path]
        np.testing.assert_allclose(shown, leaf.cpu().numpy(), rtol=1e-2)
    assert explanation.prediction.shape == (5,)
    assert explanation.prediction.dtype in (np.float32, np.float64)
    assert explanation.method == method
    for field in ("error", "residual", "baseline_prediction"):
        value = getattr(explanation, field)
        assert value is None or (value.shape == (5,) and np.isfinite(value).all())
    assert (explanation.baseline is None) == (not METHODS[method].baseline)
    assert len(explanation) == 5
    assert explanation.summary()


@every_method
@pytest.mark.parametrize("axes", [0, 1, 2, 3, 4])
def test_samples_may_have_any_number_of_axes(method, axes, device):
    shape = (2, 3, 2, 2)[:axes]
    model = torch.nn.Sequential(torch.nn.Flatten(), mlp(int(np.prod(shape)), 2)).to(device)
    if not axes:
        model = torch.nn.Sequential(torch.nn.Unflatten(0, (-1, 1)), mlp(1, 2)).to(device)
    explanation = explain(model, torch.randn(4, *shape, device=device), method=method)
    assert explanation.values.shape == (4, *shape)
    assert len(explanation.axes) == axes + 1


@every_method
def test_prediction_is_what_the_model_returns(method, device):
    case = make_case("left in training", device)
    x = make_inputs(case, 5)
    explanation = explain(case.model, x, method=method, target=1)
    case.model.eval()
    with torch.no_grad():
        expected = case.model(x)[:, 1].cpu().numpy()
    np.testing.assert_allclose(explanation.prediction, expected, rtol=1e-4, atol=1e-6)


# -- everything is left as it was --------------------------------------------------------------


@every_case
@every_method_of_maps_too
def test_model_inputs_and_torch_are_left_as_they_were(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 5)
    before = state_of(case.model, inputs)
    explain_or_refuse(method, name, case.model, inputs)
    assert changes(before, state_of(case.model, inputs)) == []


@every_method
@pytest.mark.parametrize("after", [0, 1, 2])
def test_everything_is_left_as_it_was_when_the_model_fails_half_way(method, after, device):
    model = Fails(after).to(device)
    inputs = torch.randn(40, 6, device=device)
    before = state_of(model, inputs)
    with pytest.raises(ModelError, match="the power went out"):
        explain(model, inputs, method=method, batch_size=8)
    assert model.calls == after + 1
    assert changes(before, state_of(model, inputs)) == []


@every_method
def test_inputs_and_parameters_may_hold_gradients_already(method, device):
    case = make_case("mlp", device)
    plain = make_inputs(case, 5)
    inputs = plain.clone().requires_grad_()
    case.model(inputs).sum().backward()
    held = inputs.grad.clone()
    before = state_of(case.model, inputs)
    found = explain(case.model, inputs, method=method)
    assert changes(before, state_of(case.model, inputs)) == []
    assert torch.equal(inputs.grad, held)
    assert_close(found, explain(case.model, plain, method=method))


@every_method
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_gradient_mode_does_not_matter(method, mode, device):
    case = make_case("two inputs", device)
    inputs = make_inputs(case, 5)
    expected = explain(case.model, inputs, method=method)
    with mode():
        before = state_of(case.model, inputs)
        made_inside = make_inputs(case, 5)
        found = explain(case.model, inputs, method=method)
        inside = explain(case.model, made_inside, method=method)
        assert changes(before, state_of(case.model, inputs)) == []
    np.testing.assert_array_equal(flat_values(found), flat_values(expected))
    np.testing.assert_array_equal(flat_values(inside), flat_values(expected))


@every_method
def test_result_shares_no_memory_with_what_was_given(method, device):
    case = make_case("mlp", device)
    x = make_inputs(case, 5).cpu().numpy().copy()
    ids, picture = np.arange(5), np.zeros((5, 2, 2))
    member = np.array([True, False] * 3)
    options = {"baseline": np.zeros((5, 6), np.float32)} if METHODS[method].baseline else {}
    explanation = explain(
        case.model,
        x,
        method=method,
        sample_ids=ids,
        display=picture,
        groups={"a": member},
        **options,
    )
    kept = explanation.inputs.copy()
    x[:], ids[:], picture[:], member[:] = 7, 7, 7, True
    for array in options.values():
        array[:] = 7
    np.testing.assert_array_equal(explanation.inputs, kept)
    assert explanation.sample_ids.tolist() == [0, 1, 2, 3, 4]
    assert not explanation.display.any()
    assert explanation.groups["a"].tolist() == [True, False] * 3
    if options:
        assert not explanation.baseline.any()


# -- the same result however the work is cut -----------------------------------------------------


@every_method_of_maps_too
@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn with batch norm", "nested inputs", "function"])
def test_batch_size_does_not_change_the_result(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 5)
    expected = explain_or_refuse(method, name, case.model, inputs)
    if expected is None:
        return
    for batch_size in (1, 3):
        found = explain(case.model, inputs, method=method, batch_size=batch_size)
        assert_close(found, expected)
        if expected.error is not None:
            np.testing.assert_allclose(found.error, expected.error, rtol=1e-3, atol=1e-6)


@every_method
def test_rows_of_different_blocks_are_treated_alike(method, device):
    """More rows than one block has, each with its own target and baseline."""
    case = make_case("mlp", device)
    n = 300
    x = make_inputs(case, n)
    target = torch.arange(n) % 3
    options = {"baseline": make_inputs(case, n, seed=2)} if METHODS[method].baseline else {}
    whole = explain(case.model, x, method=method, target=target, batch_size=64, **options)
    assert whole.target.tolist() == target.tolist()
    some = [0, 255, 256, 299, 17]
    chosen = {key: value[some] for key, value in options.items()}
    part = explain(case.model, x[some], method=method, target=target[some], batch_size=64, **chosen)
    assert_alike(method, whole[some], part)
    np.testing.assert_allclose(whole.prediction[some], part.prediction, rtol=1e-5)


@every_method_of_maps_too
def test_order_of_the_rows_does_not_matter(method, device):
    case = make_case("cnn", device)
    x = make_inputs(case, 8)
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    explanation = explain(case.model, x, method=method)
    assert_alike(method, explain(case.model, x[order], method=method), explanation[order])
    assert_alike(method, explain(case.model, x[2:5], method=method), explanation[2:5])


@every_method
def test_same_seed_and_batch_size_give_the_same_bits(method, device):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Noisy().to(device), torch.randn(6, 6, device=device)
    options = {"tolerance": 0.3, "budget": 24} if "tolerance" in METHODS[method].options else {}

    def values(seed):
        torch.randn(3)  # the caller's random state is not what counts
        explanation = explain(model, x, method=method, seed=seed, batch_size=4, target=0, **options)
        return explanation.values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pellucid.interpret.attributing.warn_of_doubts", lambda *_: None)
        assert values(1).tobytes() == values(1).tobytes()
        assert values(1).tobytes() != values(2).tobytes()


# -- inputs --------------------------------------------------------------------------------------


@every_method
def test_one_of_several_inputs_can_be_chosen(method, device):
    case = make_case("named inputs", device)
    inputs = make_inputs(case, 5)
    explanation = explain(case.model, inputs, method=method, attribute="first")
    assert explanation.values["second"] is None
    assert explanation.values["scale"] is None
    assert explanation.values["first"].shape == (5, 4)
    if not METHODS[method].baseline and not METHODS[method].sampled:
        both = explain(case.model, inputs, method=method)
        np.testing.assert_allclose(
            explanation.values["first"], both.values["first"], rtol=1e-4, atol=1e-7
        )


@every_method
def test_carried_integers_stay_with_their_rows(method, device):
    case = make_case("index and floats", device)
    index, x = make_inputs(case, 7)
    explanation = explain(case.model, (index, x), method=method, target=0, batch_size=3)
    assert explanation.values[0] is None
    np.testing.assert_array_equal(explanation.inputs[0], index.cpu().numpy())
    for i in range(7):
        alone = explain(case.model, (index[i : i + 1], x[i : i + 1]), method=method, target=0)
        assert_alike(method, alone, explanation[i])


@every_method
@pytest.mark.parametrize(
    "kind", ["tensor", "numpy", "list", "frame", "float16", "big-endian", "strided"]
)
def test_inputs_may_come_as_any_array(method, kind, device):
    pd = pytest.importorskip("pandas")
    case = make_case("mlp", device)
    x = torch.linspace(-2, 2, 30).reshape(5, 6).half().float()  # exact in half precision
    given = {
        "tensor": x,
        "numpy": x.numpy().astype(np.float64),
        "list": x.tolist(),
        "frame": pd.DataFrame(x.numpy(), columns=list("abcdef")),
        "float16": x.half(),
        "big-endian": x.numpy().astype(">f4"),
        "strided": np.repeat(x.numpy(), 2, axis=0)[::2][::-1][::-1],
    }[kind]
    found = explain(case.model, given, method=method)
    assert_close(found, explain(case.model, x.to(device), method=method))
    assert found.feature_names == (tuple("abcdef") if kind == "frame" else None)


# -- targets -------------------------------------------------------------------------------------


@every_method
def test_every_way_to_say_one_class_means_the_same(method, device):
    case = make_case("mlp", device)
    x = make_inputs(case, 4)
    names = ("ant", "bee", "cat")
    expected = explain(case.model, x, method=method, target=2)
    assert expected.target.tolist() == [2, 2, 2, 2]
    same = [
        "cat", np.int64(2), np.array(2), torch.tensor(2), [2, 2, 2, 2], ("cat",) * 4, np.full(4, 2),
        torch.full((4,), 2), torch.full((4,), 2, device=device), np.array(["cat"] * 4),
        [np.int64(2)] * 4, [torch.tensor(2)] * 4, np.array([2, 2, 2, 2], dtype=np.uint8),
    ]  # fmt: skip
    for target in same:
        found = explain(case.model, x, method=method, target=target, class_names=names)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.target.tolist() == [2, 2, 2, 2]
    function = explain(case.model, x, method=method, target=lambda output: output[:, 2])
    assert_close(function, expected)
    assert function.target is None


@every_method
def test_predicted_class_is_the_one_with_the_highest_score(method, device):
    case = make_case("mlp", device)
    x = make_inputs(case, 9)
    best = case.model(x).argmax(1)
    found = explain(case.model, x, method=method)
    assert found.target.tolist() == best.tolist()
    assert_close(found, explain(case.model, x, method=method, target=best))
    assert found.units == "output"


@every_method
def test_all_targets_are_what_each_gives_alone(method, device):
    case = make_case("nested inputs", device)
    inputs = make_inputs(case, 4)
    options = {"steps": 12} if "steps" in METHODS[method].options else {}
    every = explain_or_refuse(method, "all", case.model, inputs, target="all", **options)
    if every is None:
        return
    assert every.target.tolist() == [0, 1, 2]
    assert every.prediction.shape == (4, 3)
    for target in range(3):
        one = explain(case.model, inputs, method=method, target=target, **options)
        for (path, many), (_, alone) in zip(leaves(every.values), leaves(one.values), strict=True):
            assert many.shape == (4, 3, *alone.shape[1:])
            assert every.axes[path][:2] == ("sample", "target")
            np.testing.assert_allclose(many[:, target], alone, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(every.prediction[:, target], one.prediction, rtol=1e-5)


@every_method
@pytest.mark.parametrize("name", ["one logit", "one flat logit"])
def test_one_logit_stands_for_two_classes(method, name, device):
    case = make_case(name, device)
    x = make_inputs(case, 8)
    logit = case.model(x).reshape(-1)
    yes = explain(case.model, x, method=method, class_names=("no", "yes"), target="yes")
    no = explain(case.model, x, method=method, class_names=("no", "yes"), target="no")
    np.testing.assert_allclose(yes.prediction, logit.detach().cpu().numpy(), rtol=1e-5)
    sign = 1 if method in UNSIGNED else -1
    if method not in ONE_SIDED:
        np.testing.assert_allclose(no.values, sign * yes.values, rtol=1e-4, atol=1e-6)
    predicted = explain(case.model, x, method=method, class_names=("no", "yes"))
    assert predicted.target.tolist() == (logit > 0).long().tolist()
    what, given = "probability of one logit", {"output": "probability", "target": 1}
    chance = explain_or_refuse(method, what, case.model, x, **given)
    if chance is not None:
        expected = logit.sigmoid().detach().cpu().numpy()
        np.testing.assert_allclose(chance.prediction, expected, rtol=1e-5)
        assert chance.units == "probability"
    plain = explain(case.model, x, method=method)  # a regression, for all that it says
    assert plain.target is None
    assert plain.units == "output"
    assert_close(plain, yes)


@every_method
def test_probability_is_that_of_the_softmax(method, device):
    case = make_case("mlp", device)
    x = make_inputs(case, 5)
    found = explain_or_refuse(method, "probability", case.model, x, output="probability")
    if found is None:
        return
    behind = torch.nn.Sequential(case.model, torch.nn.Softmax(1))
    assert_close(found, explain(behind, x, method=method, target=found.target))
    assert ((found.prediction > 0) & (found.prediction < 1)).all()
    assert found.units == "probability"


# -- promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", sorted(m for m in METHODS.keys() - OTHERS if METHODS[m].complete)
)
@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn with batch norm", "nested inputs", "function"])
def test_complete_methods_add_up_to_the_change_of_the_prediction(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 6)
    options = {"tolerance": 0.001} if "tolerance" in METHODS[method].options else {}
    found = explain_or_refuse(method, name, case.model, inputs, **options)
    if found is None:
        return
    change = found.prediction.astype(float) - found.baseline_prediction
    total = flat_values(found).astype(float).sum(1)
    np.testing.assert_allclose(found.residual, change - total, atol=1e-5)
    scale = np.abs(change) + np.abs(flat_values(found)).sum(1)
    # Guided IG goes to and fro across the edges of linear pieces, however small its steps.
    share = 0.03 if method == "guided_ig" else 0.01
    assert (np.abs(found.residual) <= share * scale).all()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_unknown_option_is_refused_with_those_that_there_are(method):
    with pytest.raises(PellucidError) as caught:
        explain(mlp(), torch.randn(2, 6), method=method, smoothing=3)
    assert f"{method} takes no option 'smoothing'" in str(caught.value)
    for option in METHODS[method].options:
        assert option in str(caught.value)


@every_method
def test_cost_counts_what_went_through_the_model(method, device):
    case = make_case("mlp", device)
    seen = []
    case.model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    x = make_inputs(case, 6)
    found = explain(case.model, x, method=method, target=0)
    # Captum's DeepLIFT runs on inputs and baselines at once: the engine counts its rows once.
    assert found.cost.forward <= sum(seen) <= 2 * found.cost.forward
    assert (found.cost.backward > 0) == METHODS[method].gradients
    assert found.cost.backward <= sum(seen)
    assert len(case.model._forward_hooks) == 1


@every_case
@pytest.mark.parametrize("method", sorted(OF_ATTENTION))
def test_methods_of_attention_refuse_models_without_any(method, name, device):
    case = make_case(name, device)
    inputs = make_inputs(case, 5)
    before = state_of(case.model, inputs)
    with pytest.raises((InputError, ModelError), match="attention is between|no self-attention"):
        explain(case.model, inputs, method=method)
    assert changes(before, state_of(case.model, inputs)) == []
