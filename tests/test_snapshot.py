"""A snapshot holds a model's parameters, and none of the model."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, InputTypeError


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
