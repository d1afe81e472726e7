"""What results and pictures say of themselves: where, of what, and how far to trust it."""

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import InputError


class Around(nn.Module):
    """A layer, and a way around it."""

    def __init__(self):
        super().__init__()
        self.through, self.out, self.around = nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.through(x))) + self.around(x)


def made(make, device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().to(device), torch.rand(4, 1, 6, 6, device=device)


def pictures():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


def test_what_goes_around_a_layer_is_not_taken_for_a_jump(device):
    model, pixels = made(Around, device)
    with pytest.warns(UserWarning, match="do not add up") as caught:
        found = pl.explain(model, pixels[:, 0, 0, :3], at="through")
    assert (found.error < 0.02).all()
    assert abs(found.residual).min() > 0.1
    (said,) = [str(one.message) for one in caught]
    assert "a part of it goes around through" in said
    assert "steps=500" not in said


def test_methods_with_options_are_a_dict_as_a_whole(device):
    model, pixels = made(pictures, device)
    with pytest.raises(InputError, match="which is no name; methods with options are a dict"):
        pl.compare(model, pixels, ["saliency", {"integrated_gradients": {}}])


def test_a_summary_says_where_and_how_large_standard_errors_are(device):
    model, pixels = made(pictures, device)
    first = pl.explain(model, pixels, method="grad_cam", at="1").summary().splitlines()[0]
    assert first == "Explanation of 4 samples by grad_cam at 1"
    sampled = pl.explain(model, pixels, method="smoothgrad", draws=5)
    assert sampled.summary().splitlines()[0] == "Explanation of 4 samples by smoothgrad"
    worst = f"worst {sampled.standard_error.max():.2g}"
    assert any(
        "standard error of the values" in line and line.endswith(worst)
        for line in sampled.summary().splitlines()
    )


def written(figure):
    texts = [annotation.text for annotation in figure.layout.annotations]
    return " ".join([figure.layout.title.text or "", *texts]).replace("<br>", " ")


def test_pictures_say_what_is_sampled_and_what_is_empty(device):
    model, pixels = made(pictures, device)
    with torch.no_grad():
        model[-1].weight.fill_(-1.0)  # whatever is active speaks against every class
    found = pl.compare(model, pixels[:2], {"smoothgrad": {"draws": 5}, "grad_cam": {}})
    assert not found.explanations["grad_cam"].values.any()
    text = written(pl.viz.compare(found))
    assert text.count("standard errors known") == 2
    assert "errors not known" not in text
    assert text.count("all zero") >= 2


def test_a_picture_names_the_neuron(device):
    model, pixels = made(pictures, device)
    found = pl.explain(model, pixels, target=("1", (2, 1, 1)))
    assert "activation of 1, (2, 1, 1)" in written(pl.viz.image(found))
