"""Binary models that end in a sigmoid, and models whose rows cannot be told apart."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import InputError


@pytest.fixture
def logits(device):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)


@pytest.fixture
def x(device):
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).to(device)


NAMES = ("no", "yes")


def test_a_sigmoid_at_the_end_is_a_probability_of_the_second_class(logits, x):
    squashed = nn.Sequential(*logits, nn.Sigmoid())
    ours = pl.explain(squashed, x, class_names=NAMES, tolerance=1e-3)
    theirs = pl.explain(logits, x, class_names=NAMES, output="probability", tolerance=1e-3)
    assert ours.units == "probability"
    assert set(ours.target.tolist()) == {0, 1}
    np.testing.assert_array_equal(ours.target, theirs.target)
    np.testing.assert_allclose(ours.prediction, theirs.prediction, atol=1e-6)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-4)
    assert (ours.prediction >= 0.5).all()


def test_a_second_sigmoid_is_refused(logits, x):
    with pytest.raises(InputError, match="probabilities already"):
        pl.explain(nn.Sequential(*logits, nn.Sigmoid()), x, class_names=NAMES, output="probability")


def test_a_logit_that_happens_to_lie_between_0_and_1_stays_a_logit(x):
    model = nn.Linear(5, 1).to(x.device)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.fill_(0.3)
    explanation = pl.explain(model, x, class_names=NAMES)
    assert explanation.units == "logit"
    assert (explanation.target == 1).all()


def test_a_sigmoid_that_is_not_at_the_end_is_none(x):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(5, 1)
            self.gate = nn.Sigmoid()

        def forward(self, x):
            return 7 + self.line(x) * self.gate(x[:, :1])

    explanation = pl.explain(Gated().to(x.device), x, class_names=NAMES)
    assert explanation.units == "logit"


def test_batch_norm_without_running_statistics_mixes_rows_and_is_refused(x):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False))
    with pytest.raises(InputError, match="rows beside it"):
        pl.explain(model.to(x.device), x, target=0)
