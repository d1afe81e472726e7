"""Layers' values and paths: true to their resolution, sign and order."""

import dataclasses
import json

import numpy as np
import pytest
from drawn import caption
from viz_samples import make_images, make_map, make_path, make_places, make_table, make_text

from pellucid import viz
from pellucid.errors import InputError
from pellucid.viz.attributions.words import magnitude, method

# -- class activation maps -------------------------------------------------------------------


def test_a_map_without_a_sign_begins_at_zero(rng):
    figure = viz.image(make_map(rng.random((1, 7, 7))), clip=None)
    for axis in (figure.layout.coloraxis, figure.layout.coloraxis2):
        assert (axis.cmin, axis.cmid) == (0, None)
    assert "leaves out" in figure.layout.coloraxis.colorbar.title.text.replace("<br>", " ")
    assert "7 x 7 cells" in caption(figure)
    assert "at layer4" in caption(figure)


def test_a_sign_is_shown_whatever_was_promised(rng):
    wrong = dataclasses.replace(make_map(rng.random((1, 7, 7))), values=rng.normal(size=(1, 7, 7)))
    axis = viz.image(wrong).layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert not magnitude(wrong)


@pytest.mark.parametrize("colour", ["inputs", "display"])
def test_cells_cover_a_colour_picture_exactly(rng, colour):
    tall, wide = 224, 300
    picture = rng.random((1, 3, tall, wide))
    given = {"inputs": picture} if colour == "inputs" else {"display": np.moveaxis(picture, 1, 3)}
    figure = viz.image(make_map(rng.random((1, 7, 10)), **given))
    over = figure.data[-1]
    assert (over.dx, over.dy) == (30, 32)
    assert over.x0 - over.dx / 2 == -0.5
    assert over.x0 + 9.5 * over.dx == wide - 0.5
    assert over.y0 + 6.5 * over.dy == tall - 0.5
    image = next(trace for trace in figure.data if trace.type == "image")
    assert image.z.shape == (tall, wide, 3)
    # The map on its own stands in the shape of the picture too.
    attribution = figure.data[1]
    assert (attribution.dx, attribution.dy) == (30, 32)
    ranges = {tuple(figure.layout[f"xaxis{k}"].range) for k in ("", 2, 3)}
    assert ranges == {(-0.5, wide - 0.5)}


def test_channels_of_a_layer_are_summed(rng):
    values = rng.normal(size=(1, 64, 4, 4))
    figure = viz.image(make_images(values, inputs=rng.random((1, 3, 16, 16)), at="layer2"))
    drawn = next(t for t in figure.data if t.type == "heatmap" and t.coloraxis == "coloraxis")
    np.testing.assert_allclose(drawn.z, values[0].sum(axis=0), rtol=1e-4)
    assert "64 channels are summed" in caption(figure)


def test_captions_say_the_place():
    assert " at " not in method(make_images(np.ones((1, 2, 2)), settings={}))
    assert method(make_images(np.ones((1, 2, 2)), settings={}, at="enc.3")).endswith("at enc.3")
    assert "at 2 places" in method(make_places({"a": np.ones((1, 2)), "b": np.ones((1, 2))}))


@pytest.mark.parametrize("last", [False, True])
def test_channels_are_where_the_axes_say(rng, last):
    """Three rows and columns too: nothing but the axes tells which of them are the channels."""
    values, picture = rng.normal(size=(2, 3, 3, 4)), rng.random((2, 3, 3, 4))
    axes = ("sample", "channel", "row", "column")
    if last:
        values, axes = np.moveaxis(values, 1, -1), ("sample", "row", "column", "channel")
        picture = np.moveaxis(picture, 1, -1)
    explanation = make_images(values, inputs=picture, axes=axes)
    for figure in (viz.figure(explanation), viz.image(explanation, clip=None)):
        shown = next(trace for trace in figure.data if trace.type == "image")
        assert shown.z.shape == (3, 4, 3)
        expected = np.rint((picture if last else np.moveaxis(picture, 1, -1))[0] * 255)
        np.testing.assert_array_equal(shown.z, expected)
        drawn = next(t for t in figure.data if t.type == "heatmap" and t.coloraxis == "coloraxis")
        np.testing.assert_allclose(drawn.z, values[0].sum(-1 if last else 0), rtol=1e-4)
        assert "3 channels are summed" in caption(figure)


def test_a_map_over_a_picture_with_channels_last(rng):
    picture = rng.random((1, 28, 35, 3))
    figure = viz.image(make_map(rng.random((1, 4, 5)), inputs=picture))
    shown = next(trace for trace in figure.data if trace.type == "image")
    np.testing.assert_array_equal(shown.z, np.rint(picture[0] * 255))
    assert (figure.data[-1].dx, figure.data[-1].dy) == (7, 7)


def test_channels_last_side_by_side(rng):
    axes = ("sample", "row", "column", "channel")
    values = {"input": rng.normal(size=(2, 8, 8, 3)), "conv": rng.normal(size=(2, 6, 4, 5))}
    both = make_places(values, axes=dict.fromkeys(values, axes), inputs=rng.random((2, 8, 8, 3)))
    figure = viz.compare(both, clip=None)
    drawn = [np.asarray(t.z, dtype=float) for t in figure.data if t.type == "heatmap"]
    for array in values.values():
        expected = array[0].sum(-1)
        assert any(z.shape == expected.shape and np.allclose(z, expected, atol=1e-3) for z in drawn)


# -- maps that are no pictures ---------------------------------------------------------------


def test_tokens_by_features_are_maps_without_padding(rng):
    values = rng.normal(size=(2, 3, 5))
    text = make_text([["a", "b", "c"], ["", "d"]], values, axes=("sample", "token", "feature"))
    figure = viz.figure(text)
    first, second = figure.data
    np.testing.assert_allclose(first.z, values[0], rtol=1e-6)
    np.testing.assert_allclose(second.z, values[1, 1:2], rtol=1e-6)
    assert list(figure.layout.yaxis2.ticktext) == ["d"]
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert figure.layout.xaxis2.title.text == "feature"
    tall = [np.diff(axis.domain)[0] for axis in (figure.layout.yaxis, figure.layout.yaxis2)]
    assert tall[0] >= tall[1] > 0


def test_channels_over_time_are_a_map_not_a_picture(rng):
    explanation = make_images(rng.normal(size=(5, 3, 40)), axes=("sample", "channel", "time"))
    figure = viz.figure(explanation)
    assert len(figure.data) == 3
    assert "3 of 5 samples shown" in caption(figure)
    assert figure.layout.yaxis.dtick == 1
    json.loads(figure.to_json())


def test_large_maps_are_reduced_and_it_is_said(rng):
    values = rng.normal(size=(1, 4, 5000))
    values[0, 1, 3333] = 70
    figure = viz.heatmap(make_images(values, axes=("sample", "channel", "time")), clip=None)
    assert max(figure.data[0].z.shape) <= 1024
    assert np.nanmax(figure.data[0].z) == 70
    assert "5 x 5 values" in caption(figure)


def test_maps_of_zeros_and_nan():
    values = np.zeros((1, 2, 3))
    values[0, 0, 0] = np.nan
    figure = viz.heatmap(make_images(values, axes=("sample", "channel", "time")))
    assert "every attribution is zero" in caption(figure).lower()
    assert "1 values are not finite" in caption(figure)


def test_other_shapes_are_errors_that_help():
    with pytest.raises(InputError, match=r"viz\.figure"):
        viz.heatmap(make_table(np.ones((1, 3))))
    heads = make_images(np.ones((1, 2, 3, 3)), axes=("sample", "head", "query", "key"))
    with pytest.raises(InputError, match="no picture of values"):
        viz.figure(heads)


# -- paths -----------------------------------------------------------------------------------


def test_nodes_are_drawn_in_the_order_of_the_path():
    explanation = make_path(9)
    figure = viz.path(explanation)
    score, norm = figure.data[:2]
    order = np.argsort(explanation.path["step"][0])
    np.testing.assert_allclose(score.x, explanation.path["step"][0][order], rtol=1e-6)
    np.testing.assert_allclose(score.y, explanation.path["score"][0][order], rtol=1e-6)
    np.testing.assert_allclose(norm.y, explanation.path["norm"][0][order], rtol=1e-6)
    assert (np.diff(norm.x) > 0).all()
    assert norm.yaxis == "y2"
    assert figure.layout.xaxis.ticktext[0] == "0: baseline"
    assert figure.layout.xaxis.ticktext[-1] == "1: input"
    assert "9 nodes" in caption(figure)
    assert "estimated error 1.2 %" in caption(figure)


def test_padding_is_no_node():
    figure = viz.path(make_path(9), sample=1)
    assert len(figure.data[0].x) == 5
    assert "5 nodes" in caption(figure)
    assert figure.data[0].customdata[0][0] == "id-1"
    rug = figure.data[-1]
    np.testing.assert_array_equal(rug.x, figure.data[0].x)


def test_the_ends_are_the_predictions():
    explanation = make_path(9)
    ends = next(t for t in viz.path(explanation).data if t.marker.symbol == "diamond")
    assert list(ends.x) == [0, 1]
    assert list(ends.y) == [explanation.baseline_prediction[0], explanation.prediction[0]]
    bare = dataclasses.replace(explanation, baseline_prediction=None, residual=None)
    ends = next(t for t in viz.path(bare).data if t.marker.symbol == "diamond")
    assert list(ends.x) == [1]


@pytest.mark.parametrize("nodes", [1, 2, 500])
def test_paths_of_any_length(nodes):
    figure = viz.path(make_path(nodes))
    assert len(figure.data[0].x) == nodes
    assert ("markers" in figure.data[0].mode) == (nodes < 100)
    assert ("nodes" in caption(figure)) == (nodes > 1)
    json.loads(figure.to_json())


def test_what_is_not_finite_along_a_path_is_counted():
    explanation = make_path(5)
    explanation.path["score"][0, 2] = np.nan
    assert "1 values are not finite" in caption(viz.path(explanation))


def test_without_a_path_it_says_who_has_one():
    with pytest.raises(InputError, match="holds no path; path methods"):
        viz.path(make_table(np.ones((1, 2))))
    empty = {name: np.full((1, 3), np.nan) for name in ("step", "score", "norm")}
    with pytest.raises(InputError, match="no nodes"):
        viz.path(make_table(np.ones((1, 2)), path=empty))
    with pytest.raises(InputError, match="position from 0 to 1"):
        viz.path(make_path(4), sample=2)
