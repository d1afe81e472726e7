"""What cannot be worked with is found before the work starts, and said in a sentence that helps."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import Fails, NamedInputs, OneLogit, TwoInputs, mlp
from torch import nn

import pellucid as pl
from pellucid.errors import PellucidError

MODEL = mlp()
X = torch.linspace(-1, 1, 24).reshape(4, 6)


def spoilt(value, place):
    x = X.clone()
    x[place] = value
    return x


class Detached(nn.Module):
    def forward(self, x):
        return MODEL(x.detach())


class ThroughNumpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(MODEL(x).detach().numpy() * 2)


class WithoutGrad(nn.Module):
    @torch.no_grad()
    def forward(self, x):
        return MODEL(x)


class Predicts:
    def predict(self, X):
        return X


def frame(**columns):
    return pd.DataFrame({"age": [1.0, 2], "height": [3.0, 4], **columns})


def spoilt_rows():
    """NaN comes out for the first samples."""
    return nn.Sequential(mlp(), nn.Threshold(100, float("nan")))


# name: (arguments, options, the built-in error, words of the message)
BAD = {
    # -- the inputs
    "NaN": ((MODEL, spoilt(float("nan"), (2, 3))), {}, ValueError,
            ["1 NaN or infinite value", "sample 2, position (3,)", "fill or drop"]),
    "infinity": ((MODEL, spoilt(float("inf"), (slice(1, 3), 0))), {}, ValueError,
                 ["2 NaN or infinite values", "sample 1"]),
    "NaN with names": ((MODEL, spoilt(float("nan"), (2, 3))), {"feature_names": list("abcdef")},
                       ValueError, ["sample 2"]),
    "NaN in a data frame": ((mlp(2), frame(height=[1.0, None])), {}, ValueError,
                            ["sample 1, feature 'height'"]),
    "pandas NA": ((mlp(2), frame(height=pd.array([None, 2.0], dtype="Float64"))), {}, ValueError,
                  ["sample 0, feature 'height'"]),
    "NaN in the second input": ((TwoInputs(), (torch.ones(4, 4), torch.full((4, 3), torch.nan))),
                                {}, ValueError, ["input '1' has 12 NaN"]),
    "wrong number of features": ((MODEL, torch.ones(4, 5)), {}, TypeError,
                                 ["Sequential failed on the first 2 of the samples", "(4, 5)"]),
    "sample axis forgotten": ((MODEL, torch.ones(6)), {}, TypeError, ["(6,)", "x[None]"]),
    "empty batch": ((MODEL, torch.ones(0, 6)), {}, ValueError, ["empty batch"]),
    "empty list": ((MODEL, []), {}, ValueError, ["empty batch"]),
    "integers": ((MODEL, torch.ones(4, 6, dtype=torch.long)), {}, TypeError,
                 ["torch.int64", "inputs.float()", "embedded vectors"]),
    "booleans": ((MODEL, np.ones((4, 6), bool)), {}, TypeError, ["torch.bool", "astype(float)"]),
    "text": ((MODEL, "how are you"), {}, TypeError, ["no array with a sample axis"]),
    "texts in an array": ((MODEL, np.array([["a", "b"]])), {}, TypeError,
                          ["dtype <U1", "encode categories"]),
    "texts in a data frame": ((MODEL, frame(town=["Ulm", "Rom"], job=["a", "b"])), {}, TypeError,
                              ["columns that are not numbers", "'town', 'job'", "encode"]),
    "complex numbers": ((MODEL, X.to(torch.complex64)), {}, TypeError, ["complex", "real numbers"]),
    "complex array": ((MODEL, np.ones((4, 6), complex)), {}, TypeError, ["complex"]),
    "sparse": ((MODEL, X.to_sparse()), {}, TypeError, ["sparse", "to_dense()"]),
    "None": ((MODEL, None), {}, TypeError, ["no array with a sample axis"]),
    "an object": ((MODEL, object()), {}, TypeError, ["of type object", "array or tensor"]),
    "lengths differ": ((TwoInputs(), (torch.ones(4, 4), torch.ones(3, 3))), {}, ValueError,
                       ["input '0' has 4", "input '1' has 3", "functools.partial"]),
    "unknown attribute": ((TwoInputs(), (torch.ones(4, 4), torch.ones(4, 3))), {"attribute": "2"},
                          ValueError, ["'2'", "['0', '1']"]),
    "attribute of one input": ((MODEL, X), {"attribute": "image"}, ValueError,
                               ["'image'", "one input only", "leave attribute out"]),
    "no attribute": ((TwoInputs(), (torch.ones(4, 4), torch.ones(4, 3))), {"attribute": []},
                     ValueError, ["attribute is empty"]),
    "attribute of integers": ((NamedInputs(), {"first": torch.ones(4, 4), "second": torch.ones(4).long()}),
                              {"attribute": "second"}, TypeError, ["'second'", "torch.int64", "['first']"]),
    "unknown named input": ((NamedInputs(), {"left": torch.ones(4, 4), "right": torch.ones(4, 3)}),
                            {}, TypeError, ["NamedInputs failed", "left"]),
    # -- the target
    "unknown class name": ((MODEL, X), {"target": "dog", "class_names": ["ant", "bee", "cat"]},
                           ValueError, ["'dog' is not a class", "ant, bee, cat"]),
    "class name without names": ((MODEL, X), {"target": "dog"}, ValueError, ["no class_names were given"]),
    "class out of range": ((MODEL, X), {"target": 3}, ValueError, ["target 3", "3 classes, 0 to 2"]),
    "negative class": ((MODEL, X), {"target": -1}, ValueError, ["target -1", "0 to 2"]),
    "class out of range in one row": ((MODEL, X), {"target": [0, 1, 2, 5]}, ValueError, ["target 5"]),
    "half a class": ((MODEL, X), {"target": 1.5}, TypeError, ["1.5", "class index"]),
    "no number as a class": ((MODEL, X), {"target": float("nan")}, TypeError, ["nan", "class index"]),
    "boolean as a class": ((MODEL, X), {"target": True}, TypeError, ["True is a bool"]),
    "a dict as a class": ((MODEL, X), {"target": {"a": 1}}, TypeError, ["is a dict"]),
    "too few targets": ((MODEL, X), {"target": [0, 1]}, ValueError, ["(2,)", "each of the 4 samples"]),
    "too many axes of targets": ((MODEL, X), {"target": np.zeros((4, 3), int)}, ValueError, ["(4, 3)"]),
    "target=None with classes": ((MODEL, X), {"target": None}, ValueError, ["this one has 3"]),
    "class of a regression": ((OneLogit(), X), {"target": 0}, ValueError,
                              ["one output", "target=0", "class_names=(negative, positive)"]),
    "all classes of a regression": ((OneLogit(), X), {"target": "all"}, ValueError, ["one output"]),
    "target function that fails": ((MODEL, X), {"target": lambda out: out[:, 9]}, TypeError,
                                   ["target function failed", "(2, 3)", "out of bounds"]),
    "target function of no tensor": ((MODEL, X), {"target": lambda out: 3.0}, TypeError, ["a float"]),
    "target function that gives too much": ((MODEL, X), {"target": lambda out: out}, TypeError,
                                            ["(2, 3)", "one number for each row"]),
    "target function that sums all": ((MODEL, X), {"target": lambda out: out.sum()}, TypeError,
                                      ["shape ()", "one number for each row"]),
    "target function that takes the largest": ((MODEL, X), {"target": lambda out: out.argmax(1).float()},
                                               TypeError, ["argmax in the target function"]),
    "wrong number of class names": ((MODEL, X), {"class_names": ["a", "b"]}, ValueError,
                                    ["2 class names", "3 classes", "(2, 3)"]),
    "class names of one logit": ((OneLogit(), X), {"class_names": ["a", "b", "c"]}, ValueError,
                                 ["3 class names", "one logit for two classes"]),
    "class names as a text": ((MODEL, X), {"class_names": "abc"}, TypeError, ["the text 'abc'", "list"]),
    "a class name twice": ((MODEL, X), {"class_names": ["a", "b", "a"]}, ValueError, ["'a' more than once"]),
    "unknown output": ((MODEL, X), {"output": "logits"}, ValueError, ["'logits'", "'raw' or 'probability'"]),
    "probability of probabilities": ((nn.Sequential(MODEL, nn.Softmax(1)), X), {"output": "probability"},
                                     ValueError, ["probabilities already", "output='raw'"]),
    "probability of a function": ((MODEL, X), {"output": "probability", "target": lambda out: out[:, 0]},
                                  ValueError, ["let the function return"]),
    # -- the model
    "the model's class": ((TwoInputs, X), {}, TypeError, ["the class TwoInputs", "TwoInputs(...)"]),
    "an estimator": ((Predicts(), X), {}, ValueError, ["shapley compares", "background=..."]),
    "gradients of an estimator": ((Predicts(), X), {"method": "saliency"}, ValueError,
                                  ["needs gradients", "Predicts", "permutation_shapley"]),
    "no model": ((None, X), {}, TypeError, ["a NoneType", "torch.nn.Module"]),
    "a tuple comes out": ((lambda x: ((x > 0).long(), x), X), {}, TypeError, ["tuple of Tensor, Tensor", "output[0]"]),
    "a dict comes out": ((lambda x: {"scores": x, "boxes": x}, X), {}, TypeError,
                         ["dict with scores, boxes", "output['logits']"]),
    "feature maps come out": ((lambda x: x[:, :, None, None], X), {}, TypeError,
                              ["(2, 6, 1, 1)", "target=lambda output"]),
    "integers come out": ((lambda x: (x > 0).long(), X), {}, TypeError, ["torch.int64", "no gradient"]),
    "one number comes out": ((lambda x: x.sum(), X), {}, TypeError, ["shape ()", "one row for each"]),
    "detached": ((Detached(), X), {}, TypeError, ["detach()"]),
    "through NumPy": ((ThroughNumpy(), X), {}, TypeError, ["round trip", "through NumPy"]),
    "under no_grad": ((WithoutGrad(), X), {}, TypeError, ["no_grad()"]),
    "a model that fails": ((Fails(0), X), {}, TypeError, ["Fails failed", "the power went out"]),
    "a model that fails later": ((Fails(1), X), {}, TypeError,
                                 ["samples 0 to 3", "RuntimeError: the power went out"]),
    "NaN comes out": ((lambda x: x.sum(1) / 0 * 0, X), {}, TypeError, ["NaN or infinite values"]),
    "a lazy layer": ((nn.LazyLinear(3), X), {}, ValueError, ["weight", "run the model once"]),
    # -- the baseline
    "baseline of another shape": ((MODEL, X), {"baseline": torch.zeros(5)}, ValueError,
                                  ["(5,)", "(6,)", "(4, 6)"]),
    "baseline of too few rows": ((MODEL, X), {"baseline": torch.zeros(3, 6)}, ValueError, ["(3, 6)"]),
    "mean of nothing": ((MODEL, X), {"baseline": "mean"}, ValueError, ["background=..."]),
    "unknown baseline": ((MODEL, X), {"baseline": "median"}, ValueError, ["'median'", "'zero', 'mean'"]),
    "NaN in the baseline": ((MODEL, X), {"baseline": float("nan")}, ValueError, ["baseline has", "NaN"]),
    "baseline of one input missing": ((TwoInputs(), (torch.ones(4, 4), torch.ones(4, 3))),
                                      {"baseline": (0.0,)}, ValueError, ["input '1' is missing"]),
    "boolean baseline": ((MODEL, X), {"baseline": True}, TypeError, ["True"]),
    "text in the baseline": ((MODEL, X), {"baseline": np.array(["a"] * 6)}, TypeError,
                             ["baseline for the input", "not an array of numbers"]),
    "baseline of saliency": ((MODEL, X), {"baseline": 0.0, "method": "saliency"}, ValueError,
                             ["saliency compares with no baseline", "leave baseline out"]),
    "background of saliency": ((MODEL, X), {"background": X, "method": "saliency"}, ValueError,
                               ["saliency compares with no baseline", "background"]),
    "background of another shape": ((MODEL, X), {"background": torch.zeros(9, 5)}, ValueError,
                                    ["(9, 5)", "(6,)"]),
    "empty background": ((MODEL, X), {"background": torch.zeros(0, 6)}, ValueError, ["(0, 6)"]),
    "NaN in the background": ((MODEL, X), {"background": torch.full((3, 6), torch.nan)}, ValueError,
                              ["background for the input has 18 NaN"]),
    # -- names
    "feature names of the wrong number": ((MODEL, X), {"feature_names": ["a"]}, ValueError,
                                          ["1 feature names", "6 features"]),
    "feature names as a text": ((MODEL, X), {"feature_names": "abcdef"}, ValueError, ["'abcdef'", "list"]),
    "feature names of two inputs": ((TwoInputs(), (torch.ones(4, 4), torch.ones(4, 3))),
                                    {"feature_names": list("abcd")}, ValueError, ["attribute=..."]),
    "sample ids of the wrong number": ((MODEL, X), {"sample_ids": [1, 2]}, ValueError,
                                       ["(2,)", "4 samples"]),
    "display of the wrong number": ((MODEL, X), {"display": np.zeros((3, 8, 8))}, ValueError,
                                    ["(3, 8, 8)", "4 samples"]),
    "group of an unknown feature": ((MODEL, X), {"groups": {"body": ["age"]}}, ValueError,
                                    ["'body'", "'age'"]),
    # -- options
    "unknown method": ((MODEL, X), {"method": "integrated_gradient"}, ValueError,
                       ["did you mean 'integrated_gradients'?", "saliency", "deep_lift"]),
    "no method": ((MODEL, X), {"method": None}, ValueError, ["no method None"]),
    "unknown option": ((MODEL, X), {"n_steps": 50}, ValueError,
                       ["no option 'n_steps'", "tolerance, budget, steps, rule"]),
    "option of another method": ((MODEL, X), {"method": "saliency", "steps": 50}, ValueError,
                                 ["saliency takes no option 'steps'", "absolute"]),
    "option of a method without": ((MODEL, X), {"method": "input_x_gradient", "steps": 50},
                                   ValueError, ["takes none"]),
    "steps and tolerance": ((MODEL, X), {"steps": 50, "tolerance": 0.01}, ValueError, ["not both"]),
    "steps and budget": ((MODEL, X), {"steps": 50, "budget": 100}, ValueError, ["not both"]),
    "rule without steps": ((MODEL, X), {"rule": "midpoint"}, ValueError, ["goes with steps"]),
    "unknown rule": ((MODEL, X), {"steps": 9, "rule": "simpson"}, ValueError,
                     ["'simpson'", "'midpoint', 'gauss_legendre', 'trapezoid'"]),
    "one step of the trapezoid": ((MODEL, X), {"steps": 1, "rule": "trapezoid"}, ValueError,
                                  ["at least 2 steps"]),
    "no steps": ((MODEL, X), {"steps": 0}, ValueError, ["steps=0"]),
    "steps as a text": ((MODEL, X), {"steps": "50"}, ValueError, ["steps='50'", "whole number"]),
    "half a step": ((MODEL, X), {"steps": 1.5}, ValueError, ["steps=1.5"]),
    "tolerance of nothing": ((MODEL, X), {"tolerance": 0.0}, ValueError, ["tolerance=0.0"]),
    "tolerance in percent": ((MODEL, X), {"tolerance": "1%"}, ValueError, ["'1%'", "such as 0.01"]),
    "tolerance above one": ((MODEL, X), {"tolerance": 5}, ValueError, ["between 0 and 1"]),
    "budget too small": ((MODEL, X), {"budget": 4}, ValueError, ["budget=4", "at least 5"]),
    "budget as a text": ((MODEL, X), {"budget": "many"}, ValueError, ["budget='many'"]),
    "eps of deep_lift": ((MODEL, X), {"method": "deep_lift", "eps": "small"}, ValueError, ["eps='small'"]),
    "batch size of zero": ((MODEL, X), {"batch_size": 0}, ValueError, ["batch_size=0", "'auto'"]),
    "batch size as a text": ((MODEL, X), {"batch_size": "big"}, ValueError, ["batch_size='big'"]),
    "half a row": ((MODEL, X), {"batch_size": 2.5}, ValueError, ["batch_size=2.5"]),
    "negative seed": ((MODEL, X), {"seed": -1}, ValueError, ["seed=-1"]),
    "seed as a text": ((MODEL, X), {"seed": "x"}, ValueError, ["seed='x'"]),
    "seed that is too large": ((MODEL, X), {"seed": 2**70}, ValueError, ["seed=1180591620717411303424"]),
    "unknown device": ((MODEL, X), {"device": "gpu"}, ValueError, ["device='gpu'", "'cuda'"]),
    "another device": ((MODEL, X), {"device": "meta"}, ValueError,
                       ["the model is on cpu", "model.to('meta')"]),
    "another place": ((MODEL, X), {"at": "layer4"}, ValueError, ["at='layer4'", "at='input'"]),
    "precision": ((MODEL, X), {"precision": "bf16"}, ValueError, ["precision='bf16'"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_words_that_help(name):
    arguments, options, kind, words = BAD[name]
    with pytest.raises(PellucidError) as caught:
        pl.explain(*arguments, **options)
    message = str(caught.value)
    assert isinstance(caught.value, kind), message
    for word in words:
        assert word in message
    assert len(message) > 30


def test_device_that_this_machine_lacks_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(PellucidError, match="device='cuda' cannot be used here"):
        pl.explain(lambda x: x.sum(1), X, device="cuda")


def test_deep_lift_behind_a_softmax_is_refused():
    for model, output in ((MODEL, "probability"), (nn.Sequential(MODEL, nn.Softmax(1)), "raw")):
        with pytest.raises(PellucidError, match=r"explain the logits.*integrated_gradients"):
            pl.explain(model, X, method="deep_lift", output=output)


def test_rows_that_a_model_mixes_are_found_out():
    """Two rows and two classes: by its shape alone the first answer looks right."""
    with pytest.raises(PellucidError, match="may reduce over the rows"):
        pl.explain(mlp(6, 2), X, target=lambda out: out.mean(0))


def test_bad_row_beyond_the_first_names_where_it_is():
    model, index = nn.Embedding(5, 3), torch.tensor([0, 1, 2, 3, 4, 9])

    def forward(i, x):
        return (model(i) * x).sum(1)

    with pytest.raises(PellucidError, match="samples 4 to 5: IndexError"):
        pl.explain(forward, (index, torch.ones(6, 3)), method="saliency", batch_size=2)


def test_unknown_class_of_a_long_list_keeps_the_message_short():
    names = [f"class {i}" for i in range(1000)]
    with pytest.raises(PellucidError) as caught:
        pl.explain(nn.Linear(6, 1000), X, class_names=names, target="clas 7")
    assert "did you mean 'class 7'" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_nothing_is_computed_before_options_are_checked():
    calls = []

    def model(x):
        calls.append(1)
        return x.sum(1)

    for options in ({"method": "nothing"}, {"n_steps": 3}, {"baseline": "median"}, {"seed": -1}):
        with pytest.raises(PellucidError):
            pl.explain(model, X, **options)
    assert not calls
