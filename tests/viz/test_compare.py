"""Side by side: one scale where quantities are the same, and plain words where they are not."""

import dataclasses
import json

import numpy as np
import pytest
from drawn import caption
from viz_samples import (
    make_images,
    make_map,
    make_places,
    make_table,
    make_targets,
    make_text,
)

from pellucid import viz
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Comparison


def heads(figure):
    return [a.text for a in figure.layout.annotations if a.y == 1 and a.yanchor == "bottom"]


def feet(figure):
    return [a.text for a in figure.layout.annotations if a.yanchor == "top" and a.name != "caption"]


def maps(figure):
    """The traces of attributions, with their colour axes."""
    return [
        (trace, figure.layout[trace.coloraxis])
        for trace in figure.data
        if trace.type == "heatmap" and trace.coloraxis not in (None, "coloraxis99")
    ]


def gradients(values, **changes):
    changes = {"method": "saliency", "baseline_prediction": None, "error": None, **changes}
    return make_images(values, **changes)


# -- scales ----------------------------------------------------------------------------------


def test_contributions_share_one_scale_centred_on_zero(rng):
    strong, weak = rng.normal(size=(2, 2, 1, 8, 8)) * np.array([1, 0.01]).reshape(2, 1, 1, 1, 1)
    figure = viz.compare({"a": make_images(strong), "b": make_images(weak)}, clip=None)
    drawn = maps(figure)
    assert len(drawn) == 4
    assert len({trace.coloraxis for trace, _ in drawn}) == 1
    axis = drawn[0][1]
    assert -axis.cmin == axis.cmax == pytest.approx(np.abs(strong).max(), rel=1e-5)
    assert axis.colorbar.ticktext[2] == "0"
    assert "contribution to the logit" in axis.colorbar.title.text
    assert "All columns share one scale" in caption(figure) or "all columns share" in caption(
        figure
    )
    assert heads(figure) == ["input", *[h for h in heads(figure) if "span" in h]]
    assert not any("±" in head for head in heads(figure))


def test_different_quantities_have_scales_of_their_own_and_it_is_said(rng):
    values = rng.normal(size=(1, 1, 8, 8))
    given = {
        "one": make_images(values),
        "other": make_images(2 * values),
        "gradient": gradients(300 * values),
        "cam": make_map(rng.random((1, 4, 4)), size=(8, 8)),
    }
    figure = viz.compare(given, clip=None)
    axes = [axis for _, axis in maps(figure)]
    largest = np.abs(values).max()
    ends = [2 * largest, 2 * largest, 300 * largest, given["cam"].values.max()]
    np.testing.assert_allclose([axis.cmax for axis in axes], ends, rtol=1e-5)
    assert axes[3].cmin == 0
    assert axes[2].cmin == -axes[2].cmax
    assert "different quantities" in caption(figure)
    said = heads(figure)[1:]
    assert "± " in said[2]
    assert "0 to " in said[3]
    # A bar with numbers would be true of one column only.
    texts = [text for axis in axes for text in axis.colorbar.ticktext or ()]
    assert texts
    assert not any(any(letter in "123456789" for letter in text) for text in texts)


def test_normalize_is_obeyed_or_refused(rng):
    values = rng.normal(size=(1, 1, 4, 4))
    same = {"a": make_images(values), "b": make_images(5 * values)}
    own = viz.compare(same, normalize=True, clip=None)
    assert [axis.cmax for _, axis in maps(own)] == pytest.approx(
        [np.abs(values).max(), 5 * np.abs(values).max()], rel=1e-5
    )
    assert "has its own scale" in caption(own)
    assert "different quantities" not in caption(own)
    viz.compare(same, normalize=False)
    with pytest.raises(InputError, match="'a' and 'b' are different quantities"):
        viz.compare({"a": make_images(values), "b": gradients(values)}, normalize=False)
    with pytest.raises(InputError, match="normalize"):
        viz.compare(same, normalize="yes")


def test_two_units_are_two_scales(rng):
    values = rng.normal(size=(1, 1, 4, 4))
    figure = viz.compare([make_images(values), make_images(values, units="probability")])
    assert "different quantities" in caption(figure)


def test_clipping_is_disclosed_for_every_column(rng):
    values = rng.normal(size=(1, 1, 40, 40))
    values[0, 0, 0, :5] = 90
    shared = viz.compare([make_images(values), make_images(values, method="deep_lift")])
    assert "clipped at ±" in caption(shared)
    assert maps(shared)[0][1].colorbar.ticktext[0].startswith("≤")
    own = viz.compare([make_images(values), gradients(values)])
    assert "clipped at each column's end: at most" in caption(own)
    assert "clipped" not in caption(viz.compare([gradients(values)] * 2, clip=None))


def test_a_column_of_zeros_says_so():
    figure = viz.compare([make_images(np.ones((1, 4, 4))), gradients(np.zeros((1, 4, 4)))])
    assert "all zero" in heads(figure)[2]
    assert "one column is zero" in caption(figure)


# -- columns ---------------------------------------------------------------------------------


def test_every_layer_is_a_column_at_its_own_resolution(rng):
    values = {
        "conv1": rng.normal(size=(2, 3, 16, 16)),
        "block.conv2": rng.normal(size=(2, 8, 4, 4)),
    }
    explanation = make_places(values)
    figure = viz.compare(explanation)
    assert [head for head in heads(figure) if "conv" in head]
    (fine, _), (coarse, _) = maps(figure)[:2]
    np.testing.assert_allclose(coarse.z, values["block.conv2"][0].sum(axis=0), rtol=1e-5)
    assert (coarse.dx, coarse.x0) == (4, 1.5)
    assert fine.dx is None
    # The coarse map lies over the faded picture: a picture for the row, and one beneath it.
    pictures = [t for t in figure.data if t.type == "heatmap" and t.coloraxis == "coloraxis99"]
    assert len(pictures) == 4
    assert figure.layout[coarse.coloraxis].colorscale[20][1].endswith("0.000)")
    assert "a large cell holds what several small ones do" in caption(figure)
    assert "channels are summed" in caption(figure)
    assert type(viz.figure(explanation)) is type(figure)
    same = viz.figure(make_places({"a": np.ones((1, 4, 4)), "b": np.ones((1, 4, 4))}))
    assert "share one scale" in caption(same)


def test_layers_without_a_picture_are_left_out_and_said(rng):
    figure = viz.compare(make_places({"conv": np.ones((1, 2, 4, 4)), "fc": np.ones((1, 9))}))
    assert "no picture of fc" in caption(figure)
    both = make_places({"fc1": np.ones((1, 9)), "fc2": np.ones((1, 4))})
    with pytest.raises(InputError, match=r"fc1.*select"):
        viz.compare(both)


def test_places_unlike_each_other_are_apart_in_a_report(tmp_path):
    both = make_places({"fc1": np.ones((1, 9)), "fc2<b>": np.ones((1, 4))})
    page = viz.report(both, tmp_path / "r.html").read_text()
    assert page.count('class="plot"') == 2
    assert "<h3>At fc2&lt;b&gt;</h3>" in page
    alike = make_places({"a": np.ones((1, 4, 4)), "b": np.ones((1, 2, 2))})
    assert viz.report(alike, tmp_path / "r.html").read_text().count('class="plot"') == 1


def test_every_target_is_a_column_with_its_own_score(rng):
    explanation = make_targets(rng.normal(size=(2, 3, 1, 6, 6)))
    figure = viz.compare(explanation)
    drawn = maps(figure)
    assert len(drawn) == 6
    np.testing.assert_allclose(drawn[4][0].z, explanation.values[1, 1, 0], rtol=1e-6)
    assert len({trace.coloraxis for trace, _ in drawn}) == 1
    assert ["class 2" in head for head in heads(figure)] == [False, False, False, True]
    assert any("logit 4" in foot for foot in feet(figure))
    assert "each one's own class" in drawn[0][1].colorbar.title.text
    saliency = dataclasses.replace(explanation, baseline_prediction=None, residual=None)
    assert "share one scale" in caption(viz.compare(saliency))


def test_too_many_columns_are_named(rng):
    figure = viz.compare(make_targets(rng.normal(size=(1, 11, 1, 4, 4))))
    assert len(maps(figure)) == 8
    assert "3 more not shown: class 8, class 9, class 10" in caption(figure)
    narrow = viz.compare(make_targets(rng.normal(size=(1, 11, 1, 4, 4))), width=420)
    assert len(maps(narrow)) == 4
    assert "7 more not shown" in caption(narrow)


def test_the_same_method_twice_keeps_both():
    one = make_images(np.ones((1, 3, 3)))
    at = make_images(np.ones((1, 3, 3)), at="conv1")
    texts = " ".join(heads(viz.compare([one, one, at])))
    assert "(1)" in texts.replace("<br>", " ")
    assert "(2)" in texts.replace("<br>", " ")
    assert "at conv1" in texts.replace("<br>", " ")


# -- rows ------------------------------------------------------------------------------------


def test_rows_say_sample_score_and_error(rng):
    late = make_images(rng.normal(size=(3, 4, 4)), error=np.array([0.001, 0.5, 0.001]))
    unknown = make_images(rng.normal(size=(3, 4, 4)), error=None, method="deep_lift")
    figure = viz.compare({"ig": late, "dl": unknown}, samples=2)
    said = feet(figure)
    assert sum("▲" in text for text in said) == 1
    assert sum("error not" in text for text in said) == 2
    assert sum("Sample" in text and "logit 1" in text for text in said) == 2
    assert "2 of 3 samples shown" in caption(figure)
    nothing = viz.compare({"a": unknown, "b": unknown})
    assert "errors not known" in caption(nothing)
    assert not any("error" in text for text in feet(nothing))


def test_sample_ids_travel(rng):
    ids = np.array([70, 80])
    figure = viz.compare([make_images(rng.normal(size=(2, 4, 4)), sample_ids=ids)])
    assert {trace.customdata[0][0] for trace in figure.data} == {70, 80}


def test_not_a_number_is_drawn_and_counted():
    values = np.ones((1, 4, 4))
    values[0, 1, 2] = np.nan
    figure = viz.compare([make_images(values), make_images(np.ones((1, 4, 4)))])
    assert "1 values are not finite" in caption(figure)
    assert [t for t in figure.data if t.type == "heatmap" and t.coloraxis is None]
    json.loads(figure.to_json())


def test_values_without_a_picture_beside_them(rng):
    explanation = make_images(rng.normal(size=(2, 5, 5)), inputs=rng.normal(size=(2, 7)))
    figure = viz.compare([explanation, make_map(rng.random((2, 3, 3)), inputs=None)])
    assert "input" not in heads(figure)
    (_, _), (coarse, _) = maps(figure)[:2]
    assert coarse.dx == pytest.approx(5 / 3)


def test_provenance_is_that_of_every_explanation(results):
    meta = viz.compare(results["comparison"]).layout.meta["provenance"]
    assert meta["result"] == "Comparison"
    assert set(meta["explanations"]) == {"integrated gradients", "saliency"}
    assert meta["explanations"]["saliency"]["settings"]["baseline"] == "black"


# -- tables and texts ------------------------------------------------------------------------


def test_one_scale_is_grouped_bars_of_the_same_features(rng):
    values = rng.normal(size=(2, 20))
    shap = make_table(values * 1.1, error=None, standard_error=np.full((2, 20), 0.1))
    figure = viz.compare({"ig": make_table(values), "shap": shap})
    ig, other = figure.data
    assert (ig.name, other.name) == ("ig", "shap")
    assert figure.layout.barmode == "group"
    np.testing.assert_allclose(np.array(other.x), 1.1 * np.array(ig.x), rtol=1e-5)
    assert ig.x.sum() == pytest.approx(values[0].sum(), rel=1e-5)
    assert figure.layout.yaxis.ticktext[-1] == "8 other features"
    assert ig.error_x.array is None
    assert np.isnan(other.error_x.array[-1])
    assert "whiskers" in caption(figure)
    assert "ig: estimated error 1.2 %" in caption(figure)
    assert "the first of 2 samples" in caption(figure)
    assert "contribution to the logit of yes" in figure.layout.xaxis.title.text


def test_two_scales_are_two_axes(rng):
    values = rng.normal(size=(1, 4))
    small = make_table(
        np.abs(values) / 1000, method="saliency", baseline_prediction=None,
        settings={"absolute": True},
    )  # fmt: skip
    figure = viz.compare({"ig": make_table(values), "gradient": small})
    first, second = figure.data
    assert (first.xaxis, second.xaxis) == ("x", "x2")
    low, high = figure.layout.xaxis.range
    assert low == -high
    assert figure.layout.xaxis2.range[0] == 0
    assert figure.layout.xaxis2.range[1] == pytest.approx(1.08e-3 * np.abs(values).max(), rel=1e-4)
    assert "different quantities" in caption(figure)
    # A feature that matters by any column's own measure is among the first.
    assert list(first.y) == list(second.y)


def test_targets_of_a_table_are_bars(results):
    figure = viz.figure(results["targets"])
    assert [trace.name for trace in figure.data] == ["class 0", "class 1", "class 2"]
    assert figure.data[0].type == "bar"


def test_a_table_of_nothing_finite_has_bars():
    figure = viz.compare([make_table([[np.nan, np.inf]]), make_table([[np.nan, 0.0]])])
    assert "not finite" in figure.data[0].hovertext[0]
    json.loads(figure.to_json())


def test_tables_of_other_features_are_refused():
    other = make_table(np.ones((1, 3)), feature_names=("x", "y", "z"))
    with pytest.raises(InputError, match="same features"):
        viz.compare([make_table(np.ones((1, 3))), other])


def test_texts_stand_one_below_the_other():
    one = make_text([["a", "b", "c"]], [[1, 2, 4]])
    two = make_text([["a", "b", "c"]], [[1, 2, 8]], method="deep_lift")
    figure = viz.compare([one, two])
    assert figure.layout.coloraxis10.cmax == 8
    assert sum("Sample 0" in (a.text or "") for a in figure.layout.annotations) == 2
    mixed = viz.compare([one, dataclasses.replace(two, baseline_prediction=None, residual=None)])
    assert (mixed.layout.coloraxis10.cmax, mixed.layout.coloraxis11.cmax) == (4, 8)
    assert "each text has its own scale" in caption(mixed)
    assert any("colours end at ± 8" in (a.text or "") for a in mixed.layout.annotations)


# -- what cannot be compared -----------------------------------------------------------------


def test_what_is_no_comparison_is_refused(results):
    for wrong in (3, "ab", [3], {"a": 3}, results["importance"]):
        with pytest.raises(InputTypeError, match=r"viz\.compare"):
            viz.compare(wrong)
    for empty in ([], {}):
        with pytest.raises(InputTypeError, match="nothing"):
            viz.compare(empty)
    table = results["table"]
    with pytest.raises(InputError, match="same samples"):
        viz.compare([table, table[:1]])
    with pytest.raises(InputError, match="no samples"):
        viz.compare([table[[]], table[[]]])
    with pytest.raises(InputError, match="samples"):
        viz.compare(table, samples=0)
    both = dataclasses.replace(
        table, values=(table.values, table.values), inputs=None, feature_names=None, axes=None
    )
    with pytest.raises(InputError, match=r"2 inputs"):
        viz.compare([both])
    with pytest.raises(InputError, match=r"2 places.*select"):
        viz.image(make_places({"a": np.ones((1, 2, 2)), "b": np.ones((1, 2, 2))}))


def test_one_explanation_is_a_comparison_of_one(rng):
    figure = viz.compare(Comparison(explanations={"only": make_images(rng.normal(size=(1, 4, 4)))}))
    assert "share one scale" not in caption(figure)
    assert "explained in one way" in figure.layout.title.text
