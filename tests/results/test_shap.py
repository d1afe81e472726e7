"""Explanations to shap and back: nothing is lost that both know, and both draw the other's."""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import shap
from sklearn.ensemble import RandomForestRegressor

from pellucid import viz
from pellucid.errors import InputError, InputTypeError, MissingDependencyError
from pellucid.interpret.results import Explanation

mpl.use("Agg")

KEPT = (
    "values", "prediction", "baseline_prediction", "inputs", "standard_error", "sample_ids",
)  # fmt: skip


def drawn(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def table(n=6, outputs=0, **changed):
    """A table of four features, or with a target axis."""
    values = drawn((n, outputs, 4) if outputs else (n, 4))
    start = drawn((n, outputs) if outputs else n, seed=1)
    fields = {
        "values": values,
        "method": "tried",
        "inputs": drawn((n, 4), seed=2),
        "prediction": start + values.sum(-1),
        "baseline_prediction": start,
        "standard_error": np.abs(drawn(values.shape, seed=3)),
        "feature_names": ("age", "height", "weight", "dose"),
        "sample_ids": np.array([f"patient {i}" for i in range(n)]),
        "axes": ("sample", "target", "feature") if outputs else ("sample", "feature"),
        "target": np.arange(outputs) if outputs else None,
        "class_names": tuple("pqrst"[:outputs]) or None,
    }
    return Explanation(**fields | changed)


def same(found, wanted, fields=KEPT):
    for name in fields:
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if other is not None and other.dtype.kind == "f":
            np.testing.assert_allclose(one, other, err_msg=name, atol=1e-12)
        elif other is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)


def draw(found):
    """Let shap draw a table of one output, and say what stands in its pictures."""
    texts = []
    for plot, given in (
        (shap.plots.waterfall, found[0]),
        (shap.plots.beeswarm, found),
        (shap.plots.bar, found),
    ):
        plot(given, show=False)
        texts.append(
            [text.get_text() for axes in plt.gcf().axes for text in axes.get_yticklabels()]
        )
        plt.close("all")
    return texts


# -- there and back --------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was():
    wanted = table()
    made = wanted.to_shap()
    assert isinstance(made, shap.Explanation)
    np.testing.assert_array_equal(made.base_values, wanted.baseline_prediction)
    np.testing.assert_array_equal(made.error_std, wanted.standard_error)
    found = Explanation.from_shap(made)
    same(found, wanted)
    assert found.feature_names == wanted.feature_names
    assert found.axes == ("sample", "feature")
    assert found.residual is None  # of shap's own sum it would be no check
    assert found.target is None


def test_targets_are_outputs():
    wanted = table(outputs=3)
    made = wanted.to_shap()
    assert made.shape == (6, 4, 3)
    assert list(made.output_names) == ["p", "q", "r"]
    found = Explanation.from_shap(made)
    same(found, wanted)
    assert found.axes == ("sample", "target", "feature")
    assert found.class_names == ("p", "q", "r")
    np.testing.assert_array_equal(found.target, [0, 1, 2])
    one = Explanation.from_shap(made[:, :, "q"])
    np.testing.assert_array_equal(one.values, wanted.values[:, 1])
    np.testing.assert_allclose(one.prediction, wanted.prediction[:, 1])
    assert one.target_name() == "q"


def test_outputs_without_names_stay_without():
    made = table(outputs=3, class_names=None).to_shap()
    assert Explanation.from_shap(made).class_names is None
    assert Explanation.from_shap(made, class_names=list("xyz")).class_names == ("x", "y", "z")


def test_a_class_that_all_rows_share_keeps_its_name():
    shared = table(target=np.ones(6, dtype=int), class_names=("no", "yes"))
    assert Explanation.from_shap(shared.to_shap()).target_name() == "yes"
    several = table(target=np.arange(6) % 2, class_names=("no", "yes"))
    assert several.to_shap().output_names is None
    same(Explanation.from_shap(several.to_shap()), several)


@pytest.mark.parametrize("outputs", [0, 3])
def test_one_sample_that_was_picked_out_is_a_sample(outputs):
    wanted = table(outputs=outputs)
    same(Explanation.from_shap(wanted.to_shap()[2]), wanted[2])
    if outputs:
        alone = Explanation.from_shap(wanted.to_shap()[2, :, 1])
        np.testing.assert_array_equal(alone.values, wanted.values[2:3, 1])


def test_categories_are_texts_in_what_is_displayed():
    inputs = np.stack([drawn(6), [0, 2, 1, 1, 0, 2], drawn(6), drawn(6)], axis=1)
    wanted = table(inputs=inputs, categories={"height": ("low", "middle", "high")})
    made = wanted.to_shap()
    assert list(made.display_data[:, 1]) == ["low", "high", "middle", "middle", "low", "high"]
    found = Explanation.from_shap(made)
    same(found, wanted)
    assert found.categories == wanted.categories
    assert any("high" in text for text in draw(made[1:])[0])


def test_a_table_of_texts_has_its_categories_found():
    data = np.array([["a", 1.5], ["b", 2.0], ["a", 3.0]], dtype=object)
    found = Explanation.from_shap(
        shap.Explanation(drawn((3, 2)), np.zeros(3), data, feature_names=["kind", "size"])
    )
    assert found.categories == {"kind": ("a", "b")}
    np.testing.assert_array_equal(found.inputs, [[0, 1.5], [1, 2], [0, 3]])


def test_groups_are_features_without_data():
    masks = {"body": np.array([1, 1, 1, 0], bool), "drug": np.array([0, 0, 0, 1], bool)}
    values = drawn((6, 2))
    wanted = table(
        values=values, groups=masks, axes=("sample", "group"), standard_error=None,
        prediction=drawn(6, 1) + values.sum(1),
    )  # fmt: skip
    made = wanted.to_shap()
    assert list(made.feature_names) == ["body", "drug"]
    assert made.data is None
    assert all("body" in " ".join(texts) for texts in draw(made))
    same(Explanation.from_shap(made), wanted, ("values", "prediction"))


@pytest.mark.parametrize("outputs", [0, 2])
def test_pictures_have_their_channels_last(outputs):
    values = drawn((3, outputs, 3, 8, 5) if outputs else (3, 3, 8, 5))
    start = np.zeros((3, outputs) if outputs else 3)
    wanted = table(
        n=3, outputs=outputs, values=values, inputs=drawn((3, 3, 8, 5), 1), feature_names=None,
        axes=("sample", *["target"] * bool(outputs), "channel", "row", "column"),
        baseline_prediction=start, prediction=values.sum((-3, -2, -1)), standard_error=None,
    )  # fmt: skip
    made = wanted.to_shap()
    assert made.shape == (3, 8, 5, 3, *[outputs] * bool(outputs))
    assert made.data.shape == (3, 8, 5, 3)
    shap.image_plot(made, show=False)
    plt.close("all")
    found = Explanation.from_shap(made)
    assert found.axes[-3:] == ("row", "column", "channel")
    np.testing.assert_array_equal(np.moveaxis(found.values, -1, -3), values)
    np.testing.assert_allclose(Explanation.from_shap(made[0]).prediction, wanted.prediction[:1])


def test_tokens_are_data():
    texts = np.array([["to", "be"], ["or", "not"]])
    values = drawn((2, 2))
    wanted = table(
        n=2, values=values, tokens=texts, inputs=None, feature_names=None, standard_error=None,
        axes=("sample", "token"), prediction=drawn(2, 1) + values.sum(1),
    )  # fmt: skip
    found = Explanation.from_shap(wanted.to_shap())
    np.testing.assert_array_equal(found.tokens, texts)
    assert found.axes == ("sample", "token")
    same(found, wanted, ("values", "prediction"))


def test_a_result_of_shap_is_saved_like_any_other(tmp_path):
    from pellucid.interpret.results import load

    wanted = Explanation.from_shap(table(outputs=2).to_shap())
    same(load(wanted.save(tmp_path / "from.safetensors")), wanted)


# -- what shap's explainers find -------------------------------------------------------------


def two(rows):
    return np.c_[rows[:, 0] * rows[:, 1], rows.sum(1)]


@pytest.mark.parametrize("kind", ["KernelExplainer", "ExactExplainer"])
def test_what_explainers_return_is_read(kind):
    x = drawn((5, 4))
    found = Explanation.from_shap(getattr(shap, kind)(two, x)(x), prediction=two(x))
    assert found.axes == ("sample", "target", "feature")
    np.testing.assert_allclose(found.residual, 0, atol=1e-9)
    np.testing.assert_array_equal(found.inputs, x)
    np.testing.assert_allclose(found.values[:, 1], x - x.mean(0), atol=1e-6)  # of a sum
    np.testing.assert_allclose(found.baseline_prediction[0], two(x).mean(0))


def test_a_residual_says_what_the_model_has_that_shap_has_not():
    made = table().to_shap()
    off = table().prediction + 0.25
    np.testing.assert_allclose(Explanation.from_shap(made, prediction=off).residual, 0.25)


def test_trees_of_shap_are_read_and_their_interactions_refused():
    x = drawn((30, 4))
    model = RandomForestRegressor(5, random_state=0).fit(x, x[:, 0])
    explainer = shap.TreeExplainer(model)
    found = Explanation.from_shap(explainer(x[:5]), prediction=model.predict(x[:5]), units="kg")
    np.testing.assert_allclose(found.residual, 0, atol=1e-9)
    assert found.units == "kg"
    with pytest.raises(InputError, match="interactions"):
        Explanation.from_shap(explainer(x[:5], interactions=True))


def test_one_base_value_does_for_all_rows():
    found = Explanation.from_shap(shap.Explanation(drawn((5, 4)), base_values=0.5))
    np.testing.assert_allclose(found.prediction, 0.5 + drawn((5, 4)).sum(1))
    np.testing.assert_array_equal(found.baseline_prediction, np.full(5, 0.5))


# -- each draws the other's ------------------------------------------------------------------


def test_shap_draws_ours():
    names = draw(table().to_shap())
    assert all("weight" in " ".join(texts) for texts in names)
    draw(table(outputs=3).to_shap()[..., 1])


def test_we_draw_those_of_shap():
    x = drawn((5, 4))
    found = Explanation.from_shap(shap.ExactExplainer(two, x)(x)[..., 0])
    assert viz.waterfall(found).data
    assert viz.bar(found).data


# -- what cannot be converted ----------------------------------------------------------------


@pytest.mark.parametrize("given", [drawn((3, 4)), table(), None, "values"])
def test_what_is_no_explanation_of_shap_is_refused(given):
    with pytest.raises(InputTypeError, match=r"shap\.Explanation"):
        Explanation.from_shap(given)


def ragged():
    return shap.Explanation(
        [np.ones(2), np.ones(3)], np.zeros(2), [np.array(["a", "b"]), np.array(["c", "d", "e"])]
    )


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (ragged, {}, "one sample at a time"),
        (lambda: table().to_shap(), {"prediction": np.zeros(5)}, "prediction has shape"),
        (lambda: table(outputs=3).to_shap(), {"class_names": ["a"]}, "1 class names for 3"),
        (
            lambda: shap.Explanation(drawn((5, 4)), np.zeros(3)),
            {},
            r"base values have shape \(3,\)",
        ),
        (
            lambda: table(outputs=3, baseline_prediction=None).to_shap(),
            {},
            r"no base values; give prediction=.*\(6, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_said(made, options, said):
    with pytest.raises(InputError, match=said):
        Explanation.from_shap(made(), **options)


def test_several_inputs_are_chosen_among_first():
    many = table(
        values={"a": drawn((6, 4)), "b": drawn((6, 2))}, inputs=None, feature_names=None,
        standard_error=None, axes={"a": ("sample", "feature"), "b": ("sample", "feature")},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"explanation\.select\('a'\)"):
        many.to_shap()
    assert many.select("b").to_shap().shape == (6, 2)


def test_shap_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingDependencyError, match=r"pellucid\[trees\]"):
        table().to_shap()
