"""`compare`: what several methods need of the same rows is computed once."""

import captum.attr
import numpy as np
import pytest
import torch
from methods import GENERAL, METHODS, needed
from scipy.stats import spearmanr
from small_models import cnn, left_in_training, mlp
from state import changes, state_of

import pellucid as pl
from pellucid import viz
from pellucid.errors import InputError, ModelError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def count_rows(model):
    """The rows of every call of a model."""
    rows = []
    model.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    return rows


@pytest.mark.parametrize("target", ["predicted", 2, "all"])
def test_one_pass_is_enough_for_all_that_need_the_rows_as_they_are(target, device):
    model, x = cnn().to(device), torch.randn(40, 1, 6, 6, device=device)
    rows = count_rows(model)
    alone = pl.explain(model, x, method="saliency", target=target)
    of_one = sum(rows)
    rows.clear()
    found = pl.compare(model, x, ["saliency", "input_x_gradient"], target=target)
    assert sum(rows) == of_one == 42  # the rows once, and two of them to try the model
    costs = {name: one.cost for name, one in found.explanations.items()}
    assert costs["saliency"].forward == 40
    assert costs["input_x_gradient"].forward == costs["input_x_gradient"].backward == 0
    assert alone.cost.forward == of_one


def test_maps_share_the_pass_with_what_is_made_at_the_input(device):
    model, x = cnn().to(device), torch.randn(40, 1, 6, 6, device=device)
    rows = count_rows(model)
    methods = ["saliency", "input_x_gradient", "grad_cam", "hires_cam", "layer_cam"]
    found = pl.compare(model, x, methods)
    # Besides: two rows to find the layer, and two to try the model at it.
    assert sum(rows) == 40 + 2 + 2
    assert sum(one.cost.forward for one in found.explanations.values()) == 40
    assert sum(one.cost.backward for one in found.explanations.values()) == 40
    for name, one in found.explanations.items():
        expected = pl.explain(model, x, method=name)
        assert one.at == expected.at
        assert one.axes == expected.axes
        np.testing.assert_allclose(one.values, expected.values, rtol=1e-5, atol=1e-7)
        assert one.settings == expected.settings | {"method": one.settings["method"]}
    gradient = captum.attr.Saliency(model).attribute(
        x, target=torch.from_numpy(found.explanations["saliency"].target).to(device), abs=False
    )
    np.testing.assert_allclose(
        found.explanations["saliency"].values, gradient.cpu().numpy(), rtol=1e-4, atol=1e-6
    )


def test_several_layers_share_the_pass(device):
    model, x = left_in_training().to(device), torch.randn(300, 6, device=device)
    rows = count_rows(model)
    found = pl.compare(model, x, ["saliency", "input_x_gradient"], at=["input", "0", "4"])
    assert sum(rows) == 302
    one = pl.explain(model, x, method="input_x_gradient", at=["input", "0", "4"])
    for place in one.paths:
        np.testing.assert_allclose(
            found.explanations["input_x_gradient"].values[place],
            one.values[place],
            rtol=1e-5,
            atol=1e-7,
        )


def test_every_method_finds_what_it_finds_alone(device):
    model, x = mlp().to(device), torch.randn(23, 6, device=device)
    before = state_of(model, x)
    options = {name: ({"steps": 5} if name == "guided_ig" else {}) for name in GENERAL}
    found = pl.compare(
        model, x, options, target=1, background=x[:3], sample_ids=np.arange(23) + 5, seed=3
    )
    assert changes(before, state_of(model, x)) == []
    assert list(found.explanations) == GENERAL
    for name, one in found.explanations.items():
        # The background is that of the baseline too, where a method has one.
        shared = one.baseline is not None or METHODS[name].samples
        more = {"background": x[:3]} if shared else needed(name, x)
        expected = pl.explain(
            model, x, method=name, target=1, sample_ids=np.arange(23) + 5, seed=3,
            **options[name] | more,
        )  # fmt: skip
        np.testing.assert_allclose(one.values, expected.values, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.prediction, expected.prediction, rtol=1e-6)
        assert one.method == name
        assert one.sample_ids.tolist() == expected.sample_ids.tolist()
        for field in ("error", "residual", "standard_error", "baseline"):
            assert (getattr(one, field) is None) == (getattr(expected, field) is None), field
        assert one.settings["baseline"] == expected.settings["baseline"]


def test_options_of_each(device):
    model, x = mlp().to(device), torch.randn(9, 6, device=device)
    found = pl.compare(
        model, x, {"integrated_gradients": {"steps": 7}, "saliency": {"absolute": True}}, target=0
    ).explanations
    assert found["integrated_gradients"].settings["steps"] == 7
    assert found["integrated_gradients"].cost.backward == 9 * 7
    assert (found["saliency"].values >= 0).all()
    peer = captum.attr.IntegratedGradients(model).attribute(
        x, target=0, n_steps=7, method="riemann_middle"
    )
    np.testing.assert_allclose(
        found["integrated_gradients"].values, peer.cpu().numpy(), rtol=1e-4, atol=1e-6
    )


def test_classes_predicted_once_are_those_of_all(device):
    model, x = mlp().to(device), torch.randn(50, 6, device=device)
    with torch.no_grad():
        expected = model(x).argmax(1).tolist()
    for methods in (["integrated_gradients", "saliency"], ["saliency", "integrated_gradients"]):
        found = pl.compare(model, x, methods)
        for one in found.explanations.values():
            assert one.target.tolist() == expected


def test_errors_say_what_to_do():
    model, x = mlp(), torch.randn(4, 6)
    with pytest.raises(InputError, match="give a list of names, or use explain"):
        pl.compare(model, x, "saliency")
    for none in ([], {}):
        with pytest.raises(InputError, match="no methods to compare"):
            pl.compare(model, x, none)
    with pytest.raises(InputError, match="no method 'salience'; did you mean 'saliency'"):
        pl.compare(model, x, ["saliency", "salience"])
    with pytest.raises(InputError, match="steps"):
        pl.compare(model, x, {"saliency": {"steps": 4}})
    with pytest.raises(InputError, match="saliency and input_x_gradient compare with no baseline"):
        pl.compare(model, x, ["saliency", "input_x_gradient"], baseline="zero")
    with pytest.raises(InputError, match="background"):
        pl.compare(model, x, ["saliency", "expected_gradients"])
    with pytest.raises(InputError, match="guided_ig explains one target at a time"):
        pl.compare(model, x, {"saliency": {}, "guided_ig": {"steps": 3}}, target="all")
    with pytest.raises(ModelError, match="failed on the first"):
        pl.compare(model, x[:, :5], ["saliency"])


def test_names_given_twice_are_refused():
    with pytest.raises(InputError, match="more than once"):
        pl.compare(mlp(), torch.randn(4, 6), ["saliency", "saliency"])


def test_agreement_is_the_rank_correlation(device):
    model, x = mlp().to(device), torch.randn(11, 6, device=device)
    found = pl.compare(model, x, ["saliency", "input_x_gradient", "integrated_gradients"])
    table = found.agreement()
    for one in table.index:
        for other in table.columns:
            pairs = zip(
                found.explanations[one].values, found.explanations[other].values, strict=True
            )
            expected = np.median([spearmanr(a, b).statistic for a, b in pairs])
            assert table.loc[one, other] == pytest.approx(expected, abs=1e-6)
    assert "agreement" in found.summary()


def test_saved_and_loaded(tmp_path, device):
    model, x = cnn().to(device), torch.randn(4, 1, 6, 6, device=device)
    found = pl.compare(model, x, ["saliency", "integrated_gradients", "grad_cam"], target=1)
    found.save(tmp_path / "both.npz")
    back = pl.load(tmp_path / "both.npz")
    assert list(back.explanations) == list(found.explanations)
    assert back.settings == found.settings
    assert back.provenance == found.provenance
    for name, one in found.explanations.items():
        np.testing.assert_array_equal(back.explanations[name].values, one.values)
        assert back.explanations[name].cost == one.cost
        assert back.explanations[name].at == one.at


def test_drawn_side_by_side(device):
    model, x = cnn().to(device), torch.randn(3, 1, 6, 6, device=device)
    found = pl.compare(model, x, ["saliency", "integrated_gradients", "grad_cam"], target=1)
    figure = viz.compare(found, clip=None)
    heads = " ".join(a.text for a in figure.layout.annotations if a.text)
    for name in ("saliency", "integrated gradients", "grad"):
        assert name in heads.replace("_", " ").lower()
    drawn = [np.asarray(t.z, dtype=float) for t in figure.data if t.type == "heatmap"]
    for one in found.explanations.values():
        expected = one.values.sum(1) if one.values.ndim == 4 else one.values
        for row in range(3):
            scale = np.abs(expected).max() or 1
            assert any(
                z.shape == expected[row].shape and np.allclose(z, expected[row], atol=1e-3 * scale)
                for z in drawn
            )


def test_cost_of_each(device):
    model, x = mlp().to(device), torch.randn(30, 6, device=device)
    rows = count_rows(model)
    found = pl.compare(
        model, x, {"integrated_gradients": {"steps": 10}, "saliency": {}}, target=1
    ).explanations
    whole = sum(rows)
    path, slope = found["integrated_gradients"].cost, found["saliency"].cost
    assert path.backward == 300
    assert slope.forward == slope.backward == 30
    assert path.forward + slope.forward == whole - 2
    assert path.seconds > 0
    assert slope.seconds > 0
