"""What holds for inputs of any shape, type and structure; and what a person may not expect to."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import left_in_training, mlp, with_running_statistics
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import PellucidError
from pellucid.interpret.results.trees import leaves, rebuild

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])
structures = st.recursive(
    st.lists(st.integers(1, 4), min_size=0, max_size=2).map(tuple).map(lambda s: ("leaf", s)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda v: ("tuple", v)),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(
            lambda v: ("dict", v)
        ),
    ),
    max_leaves=5,
)


def cubes(*positional, **named):
    """A model of any structure: the sum of all cubes of a row."""
    total = 0
    for _, leaf in leaves((positional, named)):
        total = total + (leaf.double() ** 3).reshape(len(leaf), -1).sum(1)
    return total


def tree_of(structure, n):
    kind, inside = structure
    if kind == "leaf":
        return torch.rand(n, *inside) + 0.5
    if kind == "tuple":
        return tuple(tree_of(part, n) for part in inside)
    return {name: tree_of(part, n) for name, part in inside.items()}


@given(
    shape=shapes,
    dtype=dtypes,
    method=st.sampled_from(["saliency", "input_x_gradient", "integrated_gradients"]),
)
def test_any_shape_and_type_of_input_gives_values_of_that_shape(shape, dtype, method):
    x = (torch.rand(shape) + 0.5).to(dtype)
    found = pl.explain(cubes, x, method=method)
    exact = x.double().numpy()
    exact = {"saliency": 3 * exact**2, "input_x_gradient": 3 * exact**3}.get(method, exact**3)
    assert found.values.shape == shape
    assert found.values.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    loose = 0.05 if dtype in (torch.float16, torch.bfloat16) else 0.02
    np.testing.assert_allclose(found.values, exact, rtol=loose)
    assert len(found.axes) == len(shape)


@given(structure=structures, n=st.integers(1, 4))
def test_any_structure_of_inputs_comes_back(structure, n):
    inputs = tree_of(structure, n)
    found = pl.explain(cubes, inputs, method="saliency")
    expected = rebuild(inputs, lambda _, leaf: 3 * leaf.numpy() ** 2)
    assert [path for path, _ in leaves(found.values)] == [path for path, _ in leaves(expected)]
    for (_, value), (_, exact) in zip(leaves(found.values), leaves(expected), strict=True):
        np.testing.assert_allclose(value, exact, rtol=1e-5)
    assert type(found.values) is type(expected)


@given(data=st.data(), n=st.integers(1, 4), features=st.integers(1, 6))
def test_groups_add_up_whatever_they_are(data, n, features):
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=features, max_size=features)))
    x = torch.rand(n, features) + 0.5
    found = pl.explain(cubes, x, method="input_x_gradient", groups=labels)
    sums = found.group_sums()
    assert sums.shape == (n, len(np.unique(labels)))
    np.testing.assert_allclose(sums.sum(axis=1), found.values.sum(1), rtol=1e-5)
    by_hand = {
        f"group {k}": [i for i in range(features) if labels[i] == k] for k in np.unique(labels)
    }
    again = pl.explain(cubes, x, method="input_x_gradient", groups=by_hand).group_sums()
    pd.testing.assert_frame_equal(sums, again)


@given(rows=st.integers(1, 12), batch_size=st.integers(1, 40), seed=st.integers(0, 5))
def test_no_batch_size_changes_an_adaptive_result(rows, batch_size, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, x = mlp(), torch.randn(rows, 6)
    found = pl.explain(model, x, target=0, batch_size=batch_size)
    expected = pl.explain(model, x, target=0)
    apart = np.linalg.norm(found.values - expected.values, axis=1)
    assert (apart <= 1e-5 * np.linalg.norm(expected.values, axis=1)).all()
    assert found.cost.backward == expected.cost.backward


# -- a module behind a function is held as still as the module itself --------------------------------


@pytest.mark.parametrize("way", ["partial", "lambda", "method", "global", "default"])
def test_module_that_a_function_runs_is_frozen_too(way):
    torch.manual_seed(0)
    net, x = left_in_training(), torch.randn(8, 6)
    globals()["a_global_net"] = net
    function = {
        "partial": functools.partial(net),
        "lambda": lambda x: net(x) * 1,
        "method": net.forward,
        "global": lambda x: a_global_net(x) * 1,  # noqa: F821
        "default": lambda x, inner=net: inner(x),
    }[way]
    before = state_of(net)
    found = pl.explain(function, x, target=0, steps=8)
    assert changes(before, state_of(net)) == []
    np.testing.assert_array_equal(found.values, pl.explain(net, x, target=0, steps=8).values)


def test_function_of_a_module_gets_inputs_of_its_type():
    net = mlp()
    x = np.random.default_rng(0).normal(size=(3, 6))  # float64
    found = pl.explain(lambda x: net(x) * 1, x, target=0, steps=4)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize(
    "compiled", [torch.jit.script, lambda m: torch.jit.trace(m.eval(), torch.ones(2, 6))]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torch_script_is_explained_like_any_module(compiled):
    torch.manual_seed(0)
    net = with_running_statistics(
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    )
    x = torch.randn(4, 6)
    expected = pl.explain(net, x, target=1, steps=5)
    script = compiled(net)
    before = {name: value.clone() for name, value in script.state_dict().items()}
    found = pl.explain(script, x, target=1, steps=5)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in script.state_dict().items())


def test_model_made_in_inference_mode_is_refused_in_words():
    with torch.inference_mode():
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(PellucidError, match="Inference tensors cannot be saved for backward"):
        pl.explain(net, torch.randn(4, 3))


# -- data frames -------------------------------------------------------------------------------------


def test_data_frame_of_numbers_and_booleans_is_numbers():
    frame = pd.DataFrame({"age": [1.0, 2.0], "member": [True, False], "visits": [3, 4]})
    found = pl.explain(nn.Linear(3, 1), frame)
    assert found.feature_names == ("age", "member", "visits")
    np.testing.assert_array_equal(found.inputs, [[1, 1, 3], [2, 0, 4]])


def test_data_frame_of_pandas_own_types_is_numbers():
    frame = pd.DataFrame(
        {"age": pd.array([1.0, 2.0], dtype="Float64"), "n": pd.array([3, 4], dtype="Int64")}
    )
    found = pl.explain(nn.Linear(2, 1), frame)
    np.testing.assert_array_equal(found.inputs, [[1, 3], [2, 4]])


def test_numpy_scalars_are_constants_of_the_model():
    model = lambda x, scale: (x * float(scale)).sum(1)
    for scale in (2.0, np.float32(2), np.int64(2), np.array(2)):
        found = pl.explain(model, (torch.ones(3, 2), scale), method="saliency")
        np.testing.assert_array_equal(found.values[0], 2)
        assert found.values[1] is None


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_baseline_may_be_any_kind_of_number(number):
    found = pl.explain(nn.Linear(2, 1), torch.ones(3, 2), baseline=number)
    np.testing.assert_array_equal(found.baseline, [[0.5, 0.5]])


def test_whole_numbers_may_be_numpys():
    options = {"steps": np.int64(4), "batch_size": np.int32(2), "seed": np.uint8(3)}
    found = pl.explain(nn.Linear(2, 1), torch.ones(3, 2), **options)
    assert type(found.settings["steps"]) is int
    assert type(found.provenance.seed) is int


def test_input_may_be_chosen_by_its_position():
    model = lambda a, b: a.sum(1) + b.sum(1)
    found = pl.explain(model, (torch.ones(3, 2), torch.ones(3, 2)), attribute=1)
    assert found.values[0] is None


def test_baseline_function_cannot_change_the_inputs():
    x = torch.ones(3, 2)

    def halved(inputs):
        return inputs.mul_(0.5)

    found = pl.explain(nn.Linear(2, 1), x, baseline=halved)
    assert torch.equal(x, torch.ones(3, 2))
    np.testing.assert_array_equal(found.inputs, 1)
    np.testing.assert_array_equal(found.baseline, 0.5)


def test_mean_of_the_background_is_the_baseline():
    background = torch.arange(12.0).reshape(6, 2)
    found = pl.explain(nn.Linear(2, 1), torch.ones(3, 2), background=background)
    np.testing.assert_allclose(found.baseline, [[5, 6]])
    assert "mean of a background of 6 samples" in found.settings["baseline"]


def test_baseline_far_from_the_data_is_warned_of():
    x = torch.randn(50, 2) + torch.tensor([100.0, 0.0])
    with pytest.warns(
        UserWarning, match="far outside the range of the samples for 50% of the features"
    ):
        pl.explain(nn.Linear(2, 1), x)
