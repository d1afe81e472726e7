"""Figures say what is so: ranges, sums, marks, names as text, and errors that help."""

import dataclasses
import json

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from drawn import caption, lists_of_numbers, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from viz_samples import (
    EVIL,
    FILL,
    MATH,
    make_generation,
    make_images,
    make_interactions,
    make_map,
    make_path,
    make_projection,
    make_table,
    make_targets,
    make_text,
)

from pellucid import viz
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Importance, Layer, Projection, Run, Snapshot
from pellucid.viz import theme
from pellucid.viz.pixels import png
from pellucid.viz.projection.scatter import hover_images
from pellucid.viz.scale import decimate, reduce_blocks
from pellucid.viz.tiles import tile
from pellucid.viz.training.curves import smooth

# -- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_result_has_a_picture(results, look):
    for result in results.values():
        figure = viz.figure(result, theme=look)
        assert type(figure) is go.Figure
        assert figure.layout.template.layout.modebar.remove == ("sendChartToCloud",)
        assert figure.layout.meta["provenance"]["result"] == type(result).__name__
        assert "created" in figure.layout.meta["provenance"]
        assert figure.layout.height > 100
        json.loads(figure.to_json())


def test_the_global_default_template_is_left_alone():
    assert pio.templates.default == "plotly"
    assert {"pellucid", "pellucid_dark"} <= set(pio.templates)


DRAW = {
    "images": viz.image,
    "table": viz.bar,
    "many": viz.beeswarm,
    "interactions": viz.interactions,
    "regions": viz.image,
    "map": viz.image,
    "places": viz.compare,
    "targets": viz.compare,
    "comparison": viz.compare,
    "text": viz.tokens,
    "generation": viz.token_matrix,
    "layer": viz.heatmap,
    "importance": viz.importance,
    "projection": viz.scatter,
    "run": viz.loss_curves,
    "snapshot": viz.weights,
    "diagnosis": viz.training_health,
    "landscape": viz.landscape,
    "predictions": viz.confusion_matrix,
    "architecture": viz.architecture,
}


@pytest.mark.parametrize("name", list(DRAW))
def test_sizes_and_title_are_taken(results, name):
    draw = DRAW[name]
    figure = draw(results[name], width=500, height=420, title="Mine")
    assert (figure.layout.width, figure.layout.height) == (500, 420)
    assert figure.layout.title.text == "Mine"
    for wrong in ({"width": -3}, {"height": "tall"}, {"theme": "pink"}, {"theme": None}):
        with pytest.raises(InputError, match="width|height|theme"):
            draw(results[name], **wrong)


def test_every_result_is_tried(results):
    assert set(DRAW) == set(results)


def test_a_wrong_kind_of_result_says_which_function_to_take(results):
    draws = [viz.image, viz.bar, viz.waterfall, viz.scatter, viz.weights, viz.loss_curves]
    draws += [viz.compare, viz.tokens, viz.token_matrix, viz.path, viz.heatmap]
    draws += [viz.beeswarm, viz.decision, viz.stacked, viz.dependence, viz.sample_matrix]
    draws += [viz.interactions]
    for draw in draws:
        with pytest.raises(InputTypeError, match="Importance"):
            draw(results["importance"])
    with pytest.raises(InputTypeError, match="Explanation"):
        viz.importance(results["table"])
    with pytest.raises(InputTypeError, match="int"):
        viz.figure(3)


# -- names from outside are text -------------------------------------------------------------


@pytest.mark.parametrize("evil", [EVIL, MATH, FILL, f"{MATH} {FILL} {EVIL}"])
def test_names_from_outside_are_escaped_everywhere(rng, evil):
    names = (evil, evil + "2", evil + "3")
    table = make_table(
        rng.normal(size=(2, 3)),
        feature_names=names,
        class_names=(evil, evil),
        sample_ids=np.array([evil, "b"]),
        method=evil,
        units=evil,
        settings={"baseline": evil, "tolerance": 0.001},
    )
    pictures = make_images(
        rng.normal(size=(2, 6, 6)), class_names=(evil,), sample_ids=np.array([evil, "b"])
    )
    repeats = rng.normal(size=(3, 4))
    importance = Importance(
        values=repeats.mean(axis=1),
        standard_error=repeats.std(axis=1),
        repeats=repeats,
        feature_names=names,
        metric=evil,
        reference=1.0,
        samples=3,
    )
    projection = make_projection(
        3, rng, labels=np.arange(3), class_names=names, sample_ids=np.array(names), at=evil
    )
    run = Run(
        metrics={
            evil: (np.arange(3), np.array([1, np.nan, 2])),
            "val_loss" + evil: (np.arange(3),) * 2,
        },
        name=evil,
        step_unit=evil,
    )
    layers = (Layer(evil, evil, {"weight": rng.normal(size=(2, 2)), "bias": np.arange(2.0)}),)
    text = make_text([[evil, "a", evil]], class_names=(evil, evil), sample_ids=np.array([evil]),
                     words=np.array([[-1, 0, 0]]), at=evil)  # fmt: skip
    others = {"sample_ids": np.array([evil, "b"]), "class_names": (evil, evil, evil)}
    layer = make_text([[evil, "b"]], np.ones((1, 2, 3)), axes=("sample", "token", evil))
    categories = dict.fromkeys(names, (evil, evil, evil))
    coded = dataclasses.replace(table, inputs=np.ones((2, 3)), categories=categories)
    groups = {name: np.arange(3) == i for i, name in enumerate(names)}
    joined = dataclasses.replace(table, axes=("sample", "group"), groups=groups)
    both = make_interactions(2, 3, feature_names=names, class_names=(evil, evil), units=evil,
                             method=evil, sample_ids=np.array([evil, "b"]))  # fmt: skip
    compared = {evil: pictures, "other" + evil: make_map(np.ones((2, 3, 3)), **others)}
    figures = [
        viz.tokens(text),
        viz.tokens(text, words=True),
        viz.compare({evil: text, "b": text}),
        viz.token_matrix(make_generation([evil, "b"], [evil], units=evil, method=evil)),
        viz.compare(compared),
        viz.compare({evil: table, evil + "2": table}),
        viz.compare({evil: table, evil + "2": table}, normalize=True),
        viz.compare(make_targets(np.ones((2, 3, 4)), **others)),
        viz.path(make_path(5, class_names=(evil, evil), units=evil, method=evil)),
        viz.heatmap(layer),
        viz.bar(table),
        viz.waterfall(table),
        viz.waterfall(coded),
        viz.beeswarm(table),
        viz.beeswarm(coded),
        viz.decision(table),
        viz.decision(joined[:1]),
        viz.stacked(table),
        viz.stacked(joined[:1]),
        viz.dependence(table),
        viz.dependence(coded, color=1),
        viz.sample_matrix(joined),
        viz.interactions(both),
        viz.interactions(both, sample=0),
        viz.image(pictures),
        viz.importance(importance),
        viz.scatter(projection),
        viz.scatter(projection, color=np.array(names)),
        viz.loss_curves(run, smoothing=0.5),
        viz.weights(Snapshot(layers=layers, name=evil), title=evil),
    ]
    for figure in figures:
        found = list(texts(figure.to_dict()))
        assert any("&" in text for text in found)
        for text in found:
            assert "<img" not in text
            assert "$" not in text
            assert "%{evil}" not in text


def test_escape_leaves_what_plotly_undoes():
    assert theme.escape("a < b & c") == "a &lt; b &amp; c"
    assert theme.escape("$5 and $6") == "&#36;5 and &#36;6"
    assert theme.escape("%{x}") == "&#37;{x}"


def test_long_names_are_shortened_in_the_middle_and_whole_on_hover(rng):
    long = "a very long name of a feature that never seems to end " * 2
    figure = viz.bar(make_table([[1.0, 2.0]], feature_names=(long + "1", long + "2")))
    assert all("…" in tick and len(tick) < 45 for tick in figure.layout.yaxis.ticktext)
    assert "2 =" in figure.layout.yaxis.ticktext[0]
    assert long.strip() in figure.data[0].hovertext[0]


# -- pictures --------------------------------------------------------------------------------


def test_panels_share_one_range_centred_on_zero(rng):
    values = rng.normal(size=(3, 3, 8, 8))
    values[1] *= 0.001
    figure = viz.image(make_images(values), clip=None)
    axis = figure.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert axis.cmid == 0
    assert axis.cmax == pytest.approx(np.abs(values.sum(axis=1)).max(), rel=1e-5)
    assert figure.layout.coloraxis2.cmax == axis.cmax
    maps = [t for t in figure.data if t.type == "heatmap" and t.coloraxis == "coloraxis"]
    assert len(maps) == 3
    np.testing.assert_allclose(maps[1].z, values[1].sum(axis=0), rtol=1e-5)
    assert all(trace.zsmooth is False for trace in maps)
    assert "3 channels are summed" in caption(figure)


def test_clipping_is_disclosed(rng):
    values = rng.normal(size=(1, 40, 50))
    values[0, 0, :4] = 50
    figure = viz.image(make_images(values), clip=99.5)
    assert figure.layout.coloraxis.cmax < 10
    assert "Colours clipped" in caption(figure) or "colours clipped" in caption(figure)
    assert "of the mass" in caption(figure)
    assert figure.layout.coloraxis.colorbar.ticktext[0].startswith("≤")
    plain = viz.image(make_images(values), clip=None)
    assert plain.layout.coloraxis.cmax == 50
    assert "clipped" not in caption(plain)
    for wrong in (0, 101, "no"):
        with pytest.raises(InputError, match="percentile"):
            viz.image(make_images(values), clip=wrong)


def test_magnitudes_are_sequential(rng):
    explanation = make_images(np.abs(rng.normal(size=(1, 5, 5))), settings={"absolute": True})
    axis = viz.image(explanation).layout.coloraxis
    assert axis.cmin == 0
    assert axis.cmid is None


def test_a_row_above_the_tolerance_is_marked():
    explanation = make_images(np.ones((2, 4, 4)), error=np.array([0.001, 0.5]))
    figure = viz.image(explanation)
    marked = [a.text for a in figure.layout.annotations if "▲" in a.text]
    assert len(marked) == 1
    assert "50 %" in marked[0]
    assert len(figure.layout.shapes) == 1
    unknown = viz.image(make_images(np.ones((1, 4, 4)), error=None))
    assert any("error not known" in a.text for a in unknown.layout.annotations)


def test_samples_left_out_are_said_and_ids_travel(rng):
    explanation = make_images(rng.normal(size=(9, 4, 4)), sample_ids=np.arange(9) * 10)
    figure = viz.image(explanation, samples=2)
    assert "2 of 9 samples shown" in caption(figure)
    assert {trace.customdata[0][0] for trace in figure.data} == {0, 10}
    with pytest.raises(InputError, match="at least 1"):
        viz.image(explanation, samples=0)


def test_not_a_number_is_drawn_and_counted():
    values = np.ones((1, 4, 4))
    values[0, 1, 1] = np.nan
    values[0, 2, 2] = np.inf
    figure = viz.image(make_images(values))
    assert "2 values are not finite" in caption(figure)
    marks = [t for t in figure.data if t.type == "heatmap" and t.coloraxis is None]
    assert np.isfinite(marks[0].z).sum() == 2


def test_a_coarse_map_keeps_its_cells_over_the_picture(rng):
    explanation = make_images(rng.random((1, 7, 7)), inputs=rng.random((1, 3, 56, 56)))
    over = viz.image(explanation).data[-1]
    assert (over.dx, over.x0, over.dy) == (8, 3.5, 8)


def test_display_is_shown_in_place_of_the_inputs(rng):
    display = rng.integers(0, 255, size=(1, 6, 6, 3)).astype(np.uint8)
    figure = viz.image(make_images(rng.normal(size=(1, 6, 6)), display=display))
    np.testing.assert_array_equal(next(t for t in figure.data if t.type == "image").z, display[0])
    stretched = make_images(rng.normal(size=(1, 3, 6, 6)), inputs=rng.normal(size=(1, 3, 6, 6)) * 9)
    assert "rescaled" in caption(viz.image(stretched))


def test_big_pictures_are_typed_arrays(rng):
    explanation = make_images(rng.normal(size=(2, 3, 64, 64)).astype(np.float16))
    assert not list(lists_of_numbers(json.loads(viz.image(explanation).to_json())))


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(
            st.integers(1, 3), st.sampled_from([1, 2, 3]), st.integers(1, 5), st.integers(1, 5)
        ),
        elements=st.floats(width=32, allow_subnormal=False),
    )
)
def test_any_attribution_has_a_picture(values):
    with np.errstate(all="ignore"):
        figure = viz.image(make_images(values, inputs=np.zeros(values.shape)))
    axis = figure.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert np.isfinite(axis.cmax)
    assert axis.cmax > 0
    json.loads(figure.to_json())


# -- rows of a table -------------------------------------------------------------------------


def test_bars_are_sorted_named_and_signed():
    figure = viz.bar(make_table([[0.5, -2.0, 1.0]]))
    assert figure.data[0].x.tolist() == [-2.0, 1.0, 0.5]
    assert figure.layout.yaxis.ticktext[0] == "feature 1 = 1"
    notes = [a.text for a in figure.layout.annotations if a.xref == "paper" and a.yref == "y"]
    assert notes == ["−2", "+1", "+0.5"]
    assert len(set(figure.data[0].marker.color)) == 2
    assert "yes" in figure.layout.title.text
    assert "at the baseline 0.25" in figure.layout.title.text
    assert "estimated error 1.2 %" in caption(figure)
    assert figure.data[0].customdata[0][0] == "id-0"
    assert "contribution to the logit of yes" in figure.layout.xaxis.title.text


def test_the_rest_is_summed(rng):
    values = rng.normal(size=(1, 30))
    figure = viz.bar(make_table(values), top=4)
    assert figure.layout.yaxis.ticktext[-1] == "26 other features"
    assert figure.data[0].x.sum() == pytest.approx(values.sum(), rel=1e-5)


def test_standard_errors_are_whiskers(rng):
    errors = np.array([[0.1, 0.2, 0.3]])
    table = make_table([[3.0, 2.0, 1.0]], standard_error=errors, error=None)
    figure = viz.bar(table)
    np.testing.assert_allclose(figure.data[0].error_x.array, errors[0])
    assert "± one standard error" in caption(figure)


def test_bars_of_nothing_finite():
    figure = viz.bar(make_table([[np.nan, 1.0]]))
    assert [a.text for a in figure.layout.annotations if a.yref == "y"] == ["not finite", "+1"]
    assert type(viz.figure(make_table([[np.nan, 1.0]]))) is go.Figure


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 15)),
           elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 14),
)  # fmt: skip
def test_a_waterfall_adds_up(values, top):
    table = make_table(values)
    figure = viz.waterfall(table, sample=-1, top=top)
    base, steps = np.array(figure.data[0].base, dtype=float), figure.data[0].x
    close = 1e-9 * (1 + float(np.abs(values).sum()))
    assert base[0] == pytest.approx(table.baseline_prediction[-1])
    np.testing.assert_allclose(base[:-1] + steps[:-1], base[1:], atol=close)
    assert base[-1] + steps[-1] == pytest.approx(table.prediction[-1], abs=close)
    assert steps[-1] == pytest.approx(table.residual[-1], abs=close)
    assert "residual" in figure.layout.yaxis.ticktext[-2]


def test_a_waterfall_needs_a_complete_method(rng):
    saliency = make_table(rng.normal(size=(1, 3)), baseline_prediction=None, method="saliency")
    with pytest.raises(InputError, match=r"saliency.*viz\.bar"):
        viz.waterfall(saliency)
    assert viz.figure(saliency).data[0].type == "bar"
    with pytest.raises(InputError, match="not finite"):
        viz.waterfall(make_table([[np.nan, 1.0]]))


def test_unknown_samples_and_shapes_are_errors_that_help(rng, results):
    table = results["table"]
    for sample in (3, -4, 1.5, "x", True):
        with pytest.raises(InputError, match="position from 0 to 2"):
            viz.bar(table, sample=sample)
    with pytest.raises(InputError, match=r"viz\.image"):
        viz.bar(results["images"])
    with pytest.raises(InputError, match=r"viz\.bar"):
        viz.image(table)
    with pytest.raises(InputError, match="no samples"):
        viz.bar(table[[]])
    both = dataclasses.replace(
        table, values=(table.values, table.values), inputs=None, feature_names=None, axes=None
    )
    with pytest.raises(InputError, match=r"select\('0'\)"):
        viz.figure(both)
    assert list(both._repr_mimebundle_()) == ["text/plain"]
    for draw in (viz.bar, viz.waterfall):
        with pytest.raises(InputError, match=r"several targets.*viz\.compare"):
            draw(results["targets"])


# -- importance ------------------------------------------------------------------------------


def test_features_not_distinguishable_from_zero_are_hollow(results):
    figure = viz.importance(results["importance"])
    assert list(figure.layout.yaxis.ticktext) == ["age", "height", "noise"]
    hollow = [color == theme.LIGHT.paper for color in figure.data[0].marker.color]
    assert hollow == [False, False, True]
    assert "not distinguishable from zero" in figure.data[0].hovertext[2]
    expected = 2 * results["importance"].standard_error[[0, 2, 1]]
    np.testing.assert_allclose(figure.data[0].error_x.array, expected, rtol=1e-6)
    assert "accuracy of the model 0.9" in caption(figure)
    assert "3 repeats" in caption(figure)
    assert "1 less important" in caption(viz.importance(results["importance"], top=2))


# -- maps of points --------------------------------------------------------------------------


def test_a_map_always_says_how_far_to_trust_it(rng):
    projection = make_projection(60, rng)
    for color in (None, "preservation", "trustworthiness", np.arange(60.0)):
        assert projection.trust() in caption(viz.scatter(projection, color=color, title="x"))


def test_points_carry_id_and_position(rng):
    named = make_projection(9, rng, sample_ids=np.array([f"p{i}" for i in range(9)]))
    assert viz.scatter(named).data[0].customdata[4][:2].tolist() == ["p4", 4]
    labelled = make_projection(9, rng, labels=np.arange(9) % 2, sample_ids=np.arange(9) * 7)
    figure = viz.scatter(labelled)
    assert figure.data[1].customdata[:, 0].tolist() == [7, 21, 35, 49]
    assert figure.data[1].customdata[:, 1].tolist() == [1, 3, 5, 7]
    symbols = {(t.marker.color, t.marker.symbol) for t in figure.data}
    assert len(symbols) == 2


def test_many_points_are_webgl_and_typed(rng):
    figure = viz.scatter(make_projection(6000, rng))
    assert figure.data[0].type == "scattergl"
    assert figure.data[0].x.dtype == np.float32
    assert not list(lists_of_numbers(json.loads(figure.to_json())))
    assert viz.scatter(make_projection(100, rng)).data[0].type == "scatter"


def test_axes_claim_only_what_they_can(rng):
    assert viz.scatter(make_projection(9, rng)).layout.xaxis.showticklabels is False
    pca = make_projection(
        9, rng, method="pca", explained_variance_ratio=np.array([0.5, 0.25, 0.125]),
        coordinates=rng.normal(size=(9, 3)),
    )  # fmt: skip
    assert "50 %" in viz.scatter(pca).layout.scene.xaxis.title.text


def test_class_order_and_numbers(rng):
    figure = viz.scatter(make_projection(30, rng, labels=np.arange(30) % 12))
    assert [trace.name for trace in figure.data] == [str(i) for i in range(12)]
    assert len({(t.marker.color, t.marker.symbol) for t in figure.data}) == 12
    assert len(viz.scatter(make_projection(99, rng, labels=np.arange(99))).data) == 1


def test_hover_pictures_are_one_sprite(rng):
    figure = viz.scatter(make_projection(10, rng, display=rng.random((10, 4, 5))))
    images = figure.layout.meta["hover_images"]
    assert images["uri"].startswith("data:image/png;base64,")
    assert (images["width"], images["height"], images["columns"], images["count"]) == (5, 4, 4, 10)
    assert "provenance" in figure.layout.meta
    assert hover_images(np.zeros((5001, 2, 2), np.uint8))[0] is None
    noise = rng.integers(0, 255, size=(900, 56, 56), dtype=np.uint8)
    assert "too large" in hover_images(noise)[1]


def test_a_png_is_what_it_was_made_from(rng):
    import struct
    import zlib

    pixels = rng.integers(0, 255, size=(3, 4, 3), dtype=np.uint8)
    file = png(pixels)
    length = struct.unpack(">I", file[33:37])[0]
    rows = np.frombuffer(zlib.decompress(file[41 : 41 + length]), np.uint8).reshape(3, 13)
    np.testing.assert_array_equal(rows[:, 1:].reshape(3, 4, 3), pixels)


def test_scatter_errors(rng):
    projection = make_projection(5, rng)
    with pytest.raises(InputError, match="no labels"):
        viz.scatter(projection, color="label")
    with pytest.raises(InputError, match="'shade'"):
        viz.scatter(projection, color="shade")
    with pytest.raises(InputError, match="5 points"):
        viz.scatter(projection, color=np.zeros(4))
    with pytest.raises(InputError, match="no points"):
        viz.scatter(projection[[]])
    with pytest.raises(InputError, match="needs 2 or 3"):
        viz.scatter(make_projection(5, rng, coordinates=np.zeros((5, 4))))


# -- training --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, st.integers(1, 4000), elements=st.floats(-1e9, 1e9)), st.data())
def test_decimation_keeps_extremes_and_gaps(values, data):
    broken = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=3, unique=True))
    values[broken] = np.nan
    kept = decimate(values, limit=200)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(200 + len(broken), 200)
    finite = values[np.isfinite(values)]
    if finite.size:
        assert np.nanmin(values[kept]) == finite.min()
        assert np.nanmax(values[kept]) == finite.max()
    assert np.isnan(values[kept]).any() == bool(broken)


def test_long_lines_are_thinned_and_it_is_said():
    steps = np.arange(50_000)
    values = np.sin(steps / 50)
    values[777] = 9
    figure = viz.loss_curves(Run(metrics={"loss": (steps, values)}))
    assert len(figure.data[0].x) <= 2000
    assert figure.data[0].y.max() == 9
    assert figure.data[0].y.dtype == np.float32
    assert "minima and maxima" in caption(figure)
    assert not list(lists_of_numbers(json.loads(figure.to_json())))


def test_what_is_not_finite_is_marked():
    values = np.array([3.0, np.nan, 1.0, np.inf, 2.0])
    figure = viz.loss_curves(Run(metrics={"loss": (np.arange(5), values)}))
    marks = figure.data[1]
    assert marks.x.tolist() == [1, 3]
    assert marks.marker.symbol == "x"
    assert list(marks.text) == ["nan", "inf"]
    assert "2 values that are not finite" in caption(figure)
    nothing = viz.loss_curves(Run(metrics={"loss": (np.arange(2), np.full(2, np.nan))}))
    assert "2 not finite" in nothing.data[1].name


def test_smoothing_stands_beside_the_recorded_line(results):
    figure = viz.loss_curves(results["run"], smoothing=0.9)
    names = [trace.name for trace in figure.data]
    assert names[:2] == ["train_loss", "train_loss (smoothed)"]
    assert figure.data[0].opacity < figure.data[1].opacity
    assert "0.9" in caption(figure)
    np.testing.assert_allclose(smooth(np.full(4, 3.0), 0.9), 3.0)
    assert np.isnan(smooth(np.array([1.0, np.nan, 2.0]), 0.5)).tolist() == [False, True, False]


def test_panels_best_step_and_log(results):
    figure = viz.loss_curves(results["run"])
    best = [trace for trace in figure.data if trace.name.startswith("best")]
    assert len(best) == 1
    assert best[0].x.tolist() == [49]
    assert figure.layout.yaxis2.title.text == "accuracy"
    log = viz.loss_curves(Run(metrics={"loss": (np.arange(3), np.array([1, 0, 2.0]))}), log_y=True)
    assert log.layout.yaxis.type == "log"
    assert "1 values ≤ 0" in caption(log)


def test_loss_curve_errors(results):
    with pytest.raises(InputError, match="no values"):
        viz.loss_curves(Run(metrics={}))
    with pytest.raises(InputError, match="smoothing"):
        viz.loss_curves(results["run"], smoothing=1.0)


# -- weights ---------------------------------------------------------------------------------


def test_weights_share_a_range_centred_on_zero(results):
    figure = viz.weights(results["snapshot"])
    axis = figure.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert sum(trace.type == "heatmap" for trace in figure.data) == 2
    assert any("bias all 0" in a.text for a in figure.layout.annotations)


def test_filters_are_tiles_of_one_map():
    filters = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    plane, tiled = tile(filters)
    assert tiled
    assert plane.shape == (5, 8)
    np.testing.assert_array_equal(plane[3:, 3:5], filters[1, 1])
    assert np.isnan(plane[2]).all()
    assert tile(np.zeros(7))[0].shape == (1, 7)
    assert tile(np.zeros((4, 2, 3)))[1]


def test_large_maps_are_reduced_by_size_and_it_is_said(rng):
    weight = rng.normal(size=(30, 3000)).astype(np.float32)
    weight[17, 2222] = -80
    cells, block = reduce_blocks(weight)
    assert block == 3
    assert cells.shape == (10, 1000)
    assert cells[5, 740] == -80
    figure = viz.weights(Snapshot(layers=(Layer("fc", "Linear", {"weight": weight}),)))
    assert "3 x 3 weights" in caption(figure)
    assert not list(lists_of_numbers(json.loads(figure.to_json())))


def test_unknown_layers_are_named(results):
    with pytest.raises(InputError, match="'conv', 'fc'"):
        viz.weights(results["snapshot"], layer="nope")
    assert "fc" in viz.weights(results["snapshot"], layer="fc").layout.annotations[0].text
    with pytest.raises(InputError, match="no parameters"):
        viz.weights(Snapshot(layers=()))


def test_show_writes_a_page_and_opens_it(results, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = viz.show(results["projection"], theme="dark")
    assert opened == [page.as_uri()]
    assert "pellucidHover" in page.read_text()
    assert isinstance(results["projection"], Projection)
