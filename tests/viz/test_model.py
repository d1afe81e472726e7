"""Pictures of a model: weights, filters, biases, feature maps, activation functions, landscapes."""

import base64
import json
import os
import struct
import zlib

import numpy as np
import pytest
from drawn import caption
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pellucid import viz
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import ActivationFunction, Landscape, Layer, Node, Snapshot
from pellucid.viz import theme, tiles
from pellucid.viz.attributions.panels import Colors
from pellucid.viz.model.distributions import biases, weight_distributions
from pellucid.viz.model.feature_maps import feature_maps
from pellucid.viz.model.functions import activation_functions, flat_stretches, share_within
from pellucid.viz.model.kernels import as_map
from pellucid.viz.model.landscape import landscape
from pellucid.viz.model.overview import activations
from pellucid.viz.model.weights import weights

EVIL = "<img src=x onerror=alert(1)>"


def notes(figure):
    return " | ".join(a.text for a in figure.layout.annotations)


def decoded(source):
    """A PNG's pixels: numbers of colours and the palette, or red, green and blue."""
    file = base64.b64decode(source.partition(",")[2])
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    at, parts = 8, {}
    while at < len(file):
        length, kind = struct.unpack(">I4s", file[at : at + 8])
        parts[kind] = parts.get(kind, b"") + file[at + 8 : at + 8 + length]
        at += 12 + length
    wide, tall, _, color = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    deep = {0: 1, 2: 3, 3: 1, 6: 4}[color]
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(tall, 1 + wide * deep)
    assert not rows[:, 0].any()
    pixels = rows[:, 1:].reshape(tall, wide, deep)
    if color != 3:
        return pixels
    colors = np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)
    opacity = np.frombuffer(parts[b"tRNS"], np.uint8)
    return np.dstack([colors[pixels[..., 0]], opacity[pixels[..., 0]]])


def images(figure):
    return [trace for trace in figure.data if trace.type == "image"]


def maps(figure):
    return [t for t in figure.data if t.type == "heatmap" and t.opacity != 0]


def labels(figure):
    """What is written above the maps."""
    return list(next(t for t in figure.data if t.type == "scatter" and t.mode == "text").text)


def snapshot(activations=None, **parts):
    found = {name: np.asarray(values, np.float32) for name, values in (activations or {}).items()}
    return Snapshot(layers=parts.pop("layers", ()), activations=found, name="Net", **parts)


def relu(rng, *shape):
    return np.maximum(rng.normal(size=shape), 0)


# -- many maps as one ------------------------------------------------------------------------


@given(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)  # fmt: skip
def test_every_map_stands_at_its_corner_and_all_else_is_a_gap(count, tall, wide, across, gap):
    found = np.arange(count * tall * wide, dtype=np.float32).reshape(count, tall, wide)
    sheet = tiles.Sheet(found, across, gap)
    plane = sheet.plane
    for one, x, y in zip(found, *sheet.corners(), strict=True):
        left, top = int(x + 0.5), int(y + 0.5)
        np.testing.assert_array_equal(plane[top : top + tall, left : left + wide], one)
    assert np.isfinite(plane).sum() == found.size
    assert plane.shape == sheet.shape
    assert not sheet.broken.any()


def test_sheets_without_holes_come_first():
    assert [tiles.columns(n, (8, 8)) for n in (1, 4, 16, 32, 64)] == [1, 2, 4, 8, 8]
    assert tiles.columns(6, (4, 40)) == 1
    for count in range(1, 200):
        assert 1 <= tiles.columns(count, (7, 7)) <= count


def test_a_color_is_within_half_a_level_of_its_value(rng):
    colors = Colors("", 2.0, False, "")
    plane = rng.uniform(-2, 2, size=(20, 30)).astype(np.float32)
    plane[0, :5] = [0, -2, 2, np.nan, 5]
    broken = np.zeros(plane.shape, bool)
    broken[0, 3] = True
    found = tiles.levels(plane, colors, broken)
    back = (found.astype(float) - 2) / 252 * 4 - 2
    inside = np.isfinite(plane) & (np.abs(plane) <= 2)
    assert np.abs(back - plane)[inside].max() <= 4 / 252 / 2 + 1e-6
    assert found[0, 3] == 1
    assert found[0, 4] == 254
    palette = tiles.palette(theme.LIGHT.diverging, theme.LIGHT)
    assert palette[found[0, 0]].tolist() == [0xFA, 0xFA, 0xFA, 255]  # zero, in the middle
    assert palette[found[0, 1]].tolist() == [0x21, 0x66, 0xAC, 255]
    assert palette[found[0, 2]].tolist() == [0xB2, 0x18, 0x2B, 255]
    assert palette[0][3] == 0


# -- feature maps ----------------------------------------------------------------------------


def test_few_cells_are_a_heatmap_and_many_an_image(rng):
    small = feature_maps(snapshot({"a": relu(rng, 2, 64, 14, 14)}), clip=None)
    assert (len(maps(small)), len(images(small))) == (1, 0)
    found = relu(rng, 2, 64, 56, 56)
    big = feature_maps(snapshot({"a": found}), sample=1, clip=None)
    assert (len(maps(big)), len(images(big))) == (0, 1)
    pixels = decoded(images(big)[0].source)
    clear = pixels[..., 3] == 0
    assert (~clear).sum() == found[1].size
    first = pixels[:56, :56, :3]
    strength = found[1, 0] / found[1].max()
    stops = np.array([tiles.rgb(color) for _, color in theme.LIGHT.sequential], float)
    expected = [np.interp(strength, np.linspace(0, 1, len(stops)), c) for c in stops.T]
    assert np.abs(first - np.stack(expected, -1)).max() <= 3
    assert "point at a map" in caption(big)
    hover = next(t for t in big.data if t.opacity == 0)
    assert "channel 9" in hover.hovertext[1][1]
    assert len(big.to_json()) < 0.4 * found[1].size * 4 * 4 / 3  # of what a heatmap would take


def test_signs_choose_the_scale_and_all_maps_share_it(rng):
    signed = feature_maps(snapshot({"a": rng.normal(size=(1, 3, 5, 5))}), clip=None)
    axis = signed.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert axis.cmid == 0
    after = feature_maps(snapshot({"a": relu(rng, 1, 3, 5, 5)}), clip=None)
    assert after.layout.coloraxis.cmin == 0
    assert after.layout.coloraxis.cmid is None
    heavy = relu(rng, 1, 4, 20, 20)
    heavy[0, 0, 0, 0] = 90
    clipped = feature_maps(snapshot({"a": heavy}))
    assert clipped.layout.coloraxis.cmax < 10
    assert "clipped at" in caption(clipped)


def test_dead_channels_are_counted_and_marked(rng):
    found = relu(rng, 3, 8, 6, 6) + 0.01
    found[:, 2] = 0
    found[1, 5] = 0
    figure = feature_maps(snapshot({"a": found}), sample=1)
    assert "2 channels are dead here" in caption(figure)
    assert "1 of them in all 3 samples" in caption(figure)
    assert [text for text in labels(figure) if "✕" in text] == ["2 ✕", "5 ✕"]
    assert "dead" not in caption(feature_maps(snapshot({"a": found + 1})))


def test_the_strongest_channels_are_drawn_where_there_are_too_many(rng):
    found = relu(rng, 1, 30, 4, 4) + np.arange(30)[::-1].reshape(1, 30, 1, 1)
    figure = feature_maps(snapshot({"a": found}), top=4)
    assert labels(figure) == ["0", "1", "2", "3"]
    assert "4 of 30 channels" in caption(figure)
    weakest = feature_maps(snapshot({"a": -found}), top=2, sort="strength", channels=[9, 5, 7])
    assert labels(weakest) == ["5", "7"]
    np.testing.assert_allclose(maps(weakest)[0].z[:4, :4], -found[0, 5], rtol=1e-6)


def test_channels_behind_rows_and_columns_are_seen(rng):
    found = rng.normal(size=(2, 6, 5, 8))  # rows, columns, channels
    conv = (Layer("c", "Conv2D", {"weight": np.ones((8, 3, 2, 2))}),)
    last = snapshot({"c": found}, layers=conv, inputs=rng.random((2, 6, 5, 3)))
    first = snapshot({"c": np.moveaxis(found, -1, 1)}, layers=conv)
    ours, theirs = maps(feature_maps(last))[0], maps(feature_maps(first))[0]
    np.testing.assert_array_equal(ours.z, theirs.z)
    forced = feature_maps(snapshot({"c": found}), channels_last=True)
    np.testing.assert_array_equal(maps(forced)[0].z, theirs.z)
    assert "of 6 channels" in caption(feature_maps(snapshot({"c": found})))


def test_the_input_stands_beside(rng):
    color = feature_maps(
        snapshot({"a": relu(rng, 2, 4, 8, 8)}, inputs=rng.random((2, 3, 16, 16))), sample=1
    )
    assert images(color)[0].z.shape == (16, 16, 3)
    grey = feature_maps(snapshot({"a": relu(rng, 1, 4, 8, 8)}, inputs=rng.random((1, 1, 16, 16))))
    assert sum(t.coloraxis == "coloraxis99" for t in maps(grey)) == 1
    table = feature_maps(snapshot({"a": relu(rng, 1, 4, 8, 8)}, inputs=rng.random((1, 12))))
    assert len(table.data) == 2
    # Beside on a wide screen, above on a narrow one.
    wide, narrow = (
        feature_maps(
            snapshot({"a": relu(rng, 1, 4, 8, 8)}, inputs=rng.random((1, 1, 9, 9))), width=w
        )
        for w in (900, 420)
    )
    assert wide.layout.xaxis2.domain[1] < wide.layout.xaxis.domain[0]
    assert narrow.layout.yaxis2.domain[0] > narrow.layout.yaxis.domain[1]


def test_what_is_not_finite_is_grey_and_counted(rng):
    found = relu(rng, 1, 2, 5, 5)
    found[0, 0, 1, 1] = np.nan
    found[0, 1, 2, 2] = np.inf
    figure = feature_maps(snapshot({"a": found}))
    assert "2 values are not finite" in caption(figure)
    grey = [t for t in maps(figure) if t.coloraxis is None]
    assert np.isfinite(grey[0].z).sum() == 2
    vector = feature_maps(snapshot({"a": [[1.0, np.nan, 2.0]]}))
    assert "1 values are not finite" in caption(vector)


def test_tokens_are_a_matrix_and_vectors_bars(rng):
    tokens = rng.normal(size=(2, 7, 20))
    figure = feature_maps(snapshot({"a": tokens}), sample=1)
    np.testing.assert_allclose(figure.data[0].z, tokens[1], rtol=1e-6)
    assert figure.layout.xaxis.title.text == "feature"
    conv = snapshot({"a": tokens}, nodes=(Node("a", "Conv1d"),))
    assert feature_maps(conv).layout.yaxis.title.text == "channel"
    vector = feature_maps(snapshot({"a": [[1.0, -2.0, 0.0, 0.0]]}))
    assert vector.data[0].type == "bar"
    assert vector.data[0].y.tolist() == [1, -2, 0, 0]
    assert "50 % of the values are zero" in caption(vector)
    long = rng.normal(size=(1, 1000)).astype(np.float32)
    folded = feature_maps(snapshot({"a": long})).data[0]
    np.testing.assert_array_equal(folded.z.ravel()[:1000], long[0])
    assert (folded.dy, folded.z.shape) == (128, (8, 128))
    volume = rng.normal(size=(1, 2, 5, 4, 3))
    middle = feature_maps(snapshot({"a": volume}), clip=None)
    np.testing.assert_allclose(maps(middle)[0].z[:4, :3], volume[0, 0, 2], rtol=1e-6)
    assert "slice in the middle" in caption(middle)


def test_large_maps_are_reduced_and_it_is_said(rng):
    found = np.zeros((1, 16, 600, 600))
    found[0, 3, 301, 17] = 8
    figure = feature_maps(snapshot({"a": found}), clip=None)
    assert "of largest magnitude of 3 x 3" in caption(figure)
    strongest = decoded(images(figure)[0].source)[..., :3] == tiles.rgb(
        theme.LIGHT.sequential[-1][1]
    )
    assert strongest.all(-1).sum() == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "b"}, "no activations of a layer 'b'; there are those of 'a'"),
        ({"sample": 2}, "from 0 to 1"),
        ({"sample": True}, "from 0 to 1"),
        ({"channels": [3]}, "channels go from 0 to 2"),
        ({"channels": [0.5]}, "list of positions"),
        ({"channels": []}, "list of positions"),
        ({"top": 0}, "at least 1"),
        ({"sort": "size"}, "'channel' or 'strength'"),
        ({"clip": 0}, "percentile"),
    ],
)
def test_feature_map_errors(rng, options, says):
    with pytest.raises(InputError, match=says):
        feature_maps(snapshot({"a": relu(rng, 2, 3, 4, 4)}), **options)


def test_a_snapshot_without_inputs_says_what_to_do(results):
    for draw in (feature_maps, activations, activation_functions):
        with pytest.raises(InputError, match=r"pl\.snapshot\(model, inputs\)"):
            draw(results["snapshot"])
        with pytest.raises(InputTypeError, match="Snapshot"):
            draw(results["run"])
    with pytest.raises(InputError, match="no maps to choose"):
        feature_maps(snapshot({"a": [[1.0]]}), channels=[0])
    with pytest.raises(InputError, match="nothing that could be drawn"):
        feature_maps(snapshot({"a": [1.0, 2.0]}))


# -- all layers at once ----------------------------------------------------------------------


def test_all_layers_are_one_image_with_their_own_ranges(rng):
    found = {
        "conv": rng.normal(size=(2, 12, 9, 9)),
        "relu": relu(rng, 2, 12, 9, 9) + 0.001,
    }
    found["relu"][:, 4] = 0
    found["flat"] = found["relu"].reshape(2, -1)
    found["fc"] = rng.normal(size=(2, 30)) * 50
    figure = activations(snapshot(found, inputs=rng.random((2, 1, 9, 9))), sample=1)
    assert len(images(figure)) == 1
    assert [t.split("<br>")[0] for t in figure.layout.yaxis.ticktext] == [
        "input", "conv", "relu", "fc",
    ]  # fmt: skip
    assert "1 of 12 dead" in notes(figure)
    strongest = np.argsort(-np.abs(found["conv"][1]).mean(axis=(1, 2)))
    texts = [t for t in figure.data if t.type == "heatmap"][0].hovertext
    assert f"channel {strongest[0]}:" in texts[1][0]
    assert f"channel {strongest[7]}:" in texts[1][7]
    assert f"± {theme.number(np.abs(found['fc'][1]).max())}" in notes(figure)
    assert "1 layer that only passes on" in caption(figure)
    pixels = decoded(images(figure)[0].source)
    assert pixels.shape[2] == 3
    # The strip of 30 numbers: the largest magnitude has the strongest colour.
    row = pixels[3 * 62 + 28]
    best = int(np.abs(found["fc"][1]).argmax())
    column = (best * row.shape[0] + row.shape[0] // 2) // 30
    color = theme.LIGHT.diverging[-1 if found["fc"][1][best] > 0 else 0][1]
    assert row[column].tolist() == tiles.rgb(color)


def test_many_layers_are_chosen_evenly_and_it_is_said(rng):
    many = snapshot({f"l{k}": rng.normal(size=(1, 4)) for k in range(50)})
    figure = activations(many)
    names = [t.split("<br>")[0] for t in figure.layout.yaxis.ticktext]
    assert (len(names), names[0], names[-1]) == (24, "l0", "l49")
    assert "24 of 50 layers" in caption(figure)
    two = activations(many, layers=["l7", "l3"])
    assert [t.split("<br>")[0] for t in two.layout.yaxis.ticktext] == ["l7", "l3"]
    for wrong in ("l7", [], ["nope"]):
        with pytest.raises(InputError, match="list of names|no activations"):
            activations(many, layers=wrong)


# -- activation functions --------------------------------------------------------------------

X = np.linspace(-8, 8, 1601)
GELU = 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))
FUNCTIONS = {
    "relu": (np.maximum(X, 0), [(-8, 0)]),
    "relu6": (np.clip(X, 0, 6), [(-8, 0), (6, 8)]),
    # The slope 1 - tanh^2 is 0.02 where tanh is sqrt(0.98).
    "tanh": (np.tanh(X), [(-8, -np.arctanh(0.98**0.5)), (np.arctanh(0.98**0.5), 8)]),
    # The slope s (1 - s) is a fiftieth of 1/4.
    "sigmoid": (1 / (1 + np.exp(-X)), [(-8, -5.2883), (5.2883, 8)]),
    "shrink": (np.where(np.abs(X) > 2, X - 2 * np.sign(X), 0), [(-2, 2)]),
    "leaky": (np.where(X > 0, X, 0.1 * X), []),
    "identity": (X, []),
    "nothing": (0 * X, [(-8, 8)]),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_flat_is_where_the_slope_says_so(name):
    y, expected = FUNCTIONS[name]
    found = flat_stretches(X, y)
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), atol=0.011)


def test_a_curve_that_only_turns_is_not_flat():
    (stretch,) = flat_stretches(X, GELU)
    assert stretch[0] == -8
    assert -3 < stretch[1] < -2


def test_the_share_of_inputs_where_a_function_is_flat():
    edges = np.linspace(-1, 3, 9)
    uniform = ActivationFunction("ReLU", X, np.maximum(X, 0), edges, np.full(8, 5))
    assert share_within(uniform, flat_stretches(X, uniform.y)) == pytest.approx(0.25, abs=0.003)
    coarse = ActivationFunction("ReLU", X, np.maximum(X, 0), np.array([-3.0, 1.0]), np.array([7]))
    assert share_within(coarse, [(-8.0, 0.0)]) == pytest.approx(0.75)
    empty = ActivationFunction("ReLU", X, X, edges, np.zeros(8, int))
    assert share_within(empty, [(-8.0, 0.0)]) == 0
    figure = activation_functions(snapshot(functions={"act": uniform}))
    assert "25 % of the inputs where it is flat" in notes(figure)
    (shade,) = figure.layout.shapes
    assert (shade.x0, shade.x1) == (-8, pytest.approx(0, abs=0.011))


def test_the_density_has_the_area_of_one(rng):
    values = rng.normal(size=5000)
    counts, edges = np.histogram(values, bins=np.quantile(values, np.linspace(0, 1, 40)))
    one = ActivationFunction("Tanh", X, np.tanh(X), edges, counts)
    figure = activation_functions(snapshot(functions={"a": one}))
    area = (figure.data[0].y[:-1] * np.diff(figure.data[0].x)).sum()
    assert area == pytest.approx(1, rel=1e-4)
    assert figure.data[0].line.shape == "hv"
    np.testing.assert_allclose(figure.data[1].y, np.tanh(X), rtol=1e-6)
    assert figure.data[0].xaxis == figure.data[1].xaxis


def test_the_twelve_flattest_functions_are_drawn_in_the_models_order(rng):
    functions = {}
    for k in range(15):
        edges = np.linspace(-1, 3, 5) + (k % 5) * 0.5
        functions[f"f{k}"] = ActivationFunction("ReLU", X, np.maximum(X, 0), edges, np.ones(4, int))
    figure = activation_functions(snapshot(functions=functions))
    names = [a.text.split("</b>")[0] for a in figure.layout.annotations if a.text[:3] == "<b>"]
    assert len(names) == 12
    assert names == sorted(names, key=lambda n: int(n.removeprefix("<b>f")))
    assert {f"<b>f{k}" for k in (0, 1, 5, 6, 10, 11)} <= set(names)  # the others' share is 0
    assert "12 of 15 functions" in caption(figure)
    assert "one range" in caption(figure)
    assert len(activation_functions(snapshot(functions=functions), "f3").data) == 2
    with pytest.raises(InputError, match="no activation function 'nope'"):
        activation_functions(snapshot(functions=functions), "nope")


# -- weights and biases ----------------------------------------------------------------------


def layered(**arrays):
    return Snapshot(
        layers=tuple(Layer(name, "Linear", found) for name, found in arrays.items()), name="Net"
    )


def test_boxes_are_quartiles_and_outliers_are_counted(rng):
    weight = rng.standard_t(2, size=(50, 40))
    weight[10, 10] = 5000
    figure = weight_distributions(layered(a={"weight": weight}, b={"weight": weight[:3] * 2}))
    box = next(t for t in figure.data if t.type == "box")
    q1, median, q3 = np.percentile(weight, [25, 50, 75])
    assert [box.q1[0], box.median[0], box.q3[0]] == pytest.approx([q1, median, q3], rel=1e-5)
    inside = (weight >= q1 - 1.5 * (q3 - q1)) & (weight <= q3 + 1.5 * (q3 - q1))
    assert box.lowerfence[0] == pytest.approx(weight[inside].min(), rel=1e-5)
    share = theme.percent((~inside).sum() / inside.size)
    assert f"{share} of 2,000" in notes(figure)
    low, high = figure.layout.xaxis.range
    beyond = [((w < low) | (w > high)).sum() for w in (weight, weight[:3] * 2)]
    assert sum(beyond) > 0
    assert f"{sum(beyond)} values are beyond the axis" in caption(figure)


def test_violins_are_histograms(rng):
    weight = rng.normal(size=(40, 40))
    violin = next(
        t for t in weight_distributions(layered(a={"weight": weight})).data if t.fill == "toself"
    )
    known = np.isfinite(violin.x)
    assert violin.x.dtype == np.float32
    top = violin.y[known].max()
    assert top == pytest.approx(0.44, abs=1e-6)
    assert violin.y[known].min() == pytest.approx(-0.44, abs=1e-6)
    # Of both halves, every bin has its count at its two corners.
    edges = np.unique(violin.x[known])
    counts, _ = np.histogram(weight, bins=edges.astype(float))
    half = violin.y[known][: 2 * len(edges)]
    np.testing.assert_allclose(-half[1:-1:2] / 0.44, counts / counts.max(), atol=0.02)


def test_biases_have_a_row_for_each_layer_and_a_stroke_where_they_are_one_value(rng):
    found = layered(
        a={"weight": np.ones((2, 2)), "bias": rng.normal(size=30)},
        b={"bias": np.zeros(7)},
        c={"bias_ih_l0": rng.normal(size=9), "weight_ih_l0": np.ones((3, 3))},
        d={"weight": np.ones((2, 2))},
    )
    figure = biases(found)
    assert list(figure.layout.yaxis.ticktext) == ["a", "b", "c.bias_ih_l0"]
    assert "7, all 0" in notes(figure)
    stroke = next(t for t in figure.data if t.mode == "markers")
    assert (stroke.x.tolist(), stroke.y.tolist()) == ([0], [1])
    assert list(biases(found, layers=["c"]).layout.yaxis.ticktext) == ["c.bias_ih_l0"]
    with pytest.raises(InputError, match="'d' has no bias"):
        biases(found, layers=["d"])
    with pytest.raises(InputError, match="no bias to draw"):
        biases(layered(d={"weight": np.ones((2, 2))}))
    with pytest.raises(InputError, match="there is no layer 'x'"):
        weight_distributions(found, layers=["x"])
    with pytest.raises(InputError, match="list of names"):
        weight_distributions(found, layers="a")


def test_a_hundred_layers_and_broken_weights_are_said(rng):
    arrays_ = {f"model.layers.{k}": {"weight": rng.normal(size=(3, 3))} for k in range(100)}
    arrays_["model.layers.0"]["weight"][0, 0] = np.nan
    figure = weight_distributions(layered(**arrays_))
    assert list(figure.layout.yaxis.ticktext[:2]) == ["0", "1"]
    assert "all names begin with model.layers." in caption(figure)
    assert "the first 60 of 100" in caption(figure)
    assert "1 values are not finite" in caption(figure)
    nothing = biases(layered(a={"bias": np.full(3, np.nan)}))
    assert "3 values are not finite" in caption(nothing)


@settings(max_examples=15)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)),
              elements=st.floats(width=32)))  # fmt: skip
def test_any_weights_have_pictures(values):
    found = layered(a={"weight": values, "bias": values[:, 0].copy()})
    with np.errstate(all="ignore"):
        for draw in (weights, weight_distributions, biases):
            json.loads(draw(found).to_json())


def test_many_kernels_are_drawn_by_their_peaks(rng):
    kernels = rng.normal(size=(64, 48, 3, 3)).astype(np.float32)
    drawn = as_map("Conv2d", "weight", kernels, 1, None)
    assert drawn.cells.shape == (64, 48)
    for i, j in [(0, 0), (63, 47), (5, 30)]:
        kernel = kernels[i, j].ravel()
        assert drawn.cells[i, j] == kernel[np.abs(kernel).argmax()]
    assert "kernel of 3 x 3" in drawn.note
    assert as_map("Conv2d", "weight", kernels[:8, :8], 1, None).tiled
    thin = as_map("Conv2d", "weight", kernels[:, :, :1, :1], 1, None)
    np.testing.assert_array_equal(thin.cells, kernels[:, :, 0, 0])
    turned = as_map("ConvTranspose2d", "weight", kernels[:, :, :1, :1], 1, None)
    np.testing.assert_array_equal(turned.cells, kernels[:, :, 0, 0].T)
    recurrent = as_map("LSTM", "recurrent_kernel", kernels[:4, :16, 0, 0], 1, None)
    np.testing.assert_array_equal(recurrent.cells, kernels[:4, :16, 0, 0].T)
    for parts in (1, 4):
        large = as_map("Linear", "weight", np.zeros((3000, 700), np.float32), parts, None)
        assert large.cells.size <= 2**18 / parts * 1.02


def test_filters_in_color_are_grey_where_they_are_zero(rng):
    filters = np.zeros((6, 3, 2, 2), np.float32)
    filters[0, 0] = 0.5  # red
    filters[1, 2] = -0.5
    found = Snapshot(layers=(Layer("c", "Conv2d", {"weight": filters}),))
    figure = weights(found, color=True)
    pixels = decoded(images(figure)[0].source)
    assert pixels[0, 0].tolist() == [255, 128, 128]
    assert pixels[0, 3].tolist() == [128, 128, 0]
    assert pixels[0, 6].tolist() == [128, 128, 128]
    assert pixels[0, 2].tolist() == tiles.rgb(theme.LIGHT.paper)
    assert "grey is 0, the full colour ±0.5" in caption(figure)
    assert not maps(figure)
    with pytest.raises(InputError, match="filters of 3 channels"):
        weights(layered(a={"weight": np.ones((2, 2))}), color=True)


def test_an_lstm_is_drawn_whole_with_its_gates(rng):
    parameters = {
        "weight_ih_l0": rng.normal(size=(8, 3)), "weight_hh_l0": rng.normal(size=(8, 2)),
        "bias_ih_l0": rng.normal(size=8), "bias_hh_l0": rng.normal(size=8),
    }  # fmt: skip
    found = Snapshot(layers=(Layer("lstm", "LSTM", parameters),))
    both = weights(found, layer="lstm")
    assert len(maps(both)) == 2
    assert list(both.layout.yaxis.ticktext) == ["input gate", "forget gate", "cell", "output gate"]
    np.testing.assert_allclose(both.layout.yaxis.tickvals, [0.5, 2.5, 4.5, 6.5])
    assert len(both.layout.shapes) == 6
    assert "more matrices with layer=" in caption(weights(found))
    np.testing.assert_allclose(maps(both)[1].z, parameters["weight_hh_l0"], rtol=1e-6)


# -- landscapes ------------------------------------------------------------------------------


def bowl(**options):
    x, y = np.linspace(-2, 2, 9), np.linspace(-1, 1, 5)
    losses = 0.5 + x[None] ** 2 + 2 * y[:, None] ** 2
    given_ = {"losses": losses, "x": x, "y": y, "center": 0.5, "loss": "cross-entropy"}
    return Landscape(**given_ | options)


def test_heights_and_colors_are_the_losses():
    result = bowl()
    contour = landscape(result).data[0]
    np.testing.assert_allclose(contour.z, result.losses, rtol=1e-6)
    np.testing.assert_allclose(contour.customdata, result.losses, rtol=1e-6)
    surface = landscape(result, form="surface", log=True).data[0]
    np.testing.assert_allclose(surface.z, np.log10(result.losses), rtol=1e-5)
    figure = landscape(result)
    star = next(t for t in figure.data if t.name == "the model")
    assert (star.x[0], star.y[0]) == (0, 0)
    assert "0.5 at the model" in caption(figure)
    assert "lowest" not in caption(figure)
    ticks = landscape(result, log=True).data[0].colorbar
    np.testing.assert_allclose(10**ticks.tickvals, [float(t) for t in ticks.ticktext], rtol=1e-3)


def test_a_line_is_the_cut_through_the_model():
    figure = landscape(bowl(), form="line")
    np.testing.assert_allclose(figure.data[0].y, 0.5 + np.linspace(-2, 2, 9) ** 2, rtol=1e-6)
    assert "the cut at 0 of direction 2" in caption(figure)
    way = Landscape(
        losses=np.array([3.0, 1.0, 4.0]), x=np.array([-0.5, 0.0, 1.0]), center=1.0,
        axes=("way",), trajectory=np.array([[0.0], [1.0]]),
    )  # fmt: skip
    stars = landscape(way).data[1]
    assert list(zip(stars.text, stars.x, stars.y, strict=True)) == [
        ("model", 0, 1), ("other model", 1, 4),
    ]  # fmt: skip
    with pytest.raises(InputError, match="two directions"):
        landscape(way, form="surface")


def test_an_exploding_loss_ends_the_range_and_it_is_said():
    result = bowl()
    losses = result.losses.copy()
    losses[0, 0] = 1e9
    figure = landscape(bowl(losses=losses))
    assert figure.data[0].zmax < 10
    assert np.nanmax(figure.data[0].z) < 10
    assert figure.data[0].customdata[0, 0] == pytest.approx(1e9)
    assert "clipped at" in caption(figure)
    assert "reach up to 1e+09" in caption(figure)
    assert landscape(bowl(losses=losses), clip=False).data[0].zmax == 1e9
    assert "clipped" not in caption(landscape(result))


def test_what_is_not_finite_has_no_color():
    losses = bowl().losses.copy()
    losses[0, :2] = np.nan
    losses[4, 8] = np.inf
    figure = landscape(bowl(losses=losses))
    assert np.isnan(figure.data[1].z).sum() == 3
    assert figure.data[0].type == "heatmap"  # grey below
    assert "3 points are not finite" in caption(figure)
    with pytest.raises(InputError, match="no loss of the landscape is finite"):
        landscape(bowl(losses=np.full((5, 9), np.nan)))
    with pytest.raises(InputError, match="no loss is above zero"):
        landscape(bowl(losses=np.full((5, 9), -1.0)), log=True)
    flat = landscape(bowl(losses=np.full((5, 9), 2.0), center=2.0))
    json.loads(flat.to_json())


def test_the_training_runs_over_the_surface():
    """On a plane, interpolation is exact."""
    x, y = np.linspace(-2, 2, 5), np.linspace(-1, 1, 4)
    plane = 3 + 2 * x[None] + y[:, None]
    path = np.array([[-1.7, 0.3], [-0.4, -0.9], [0.1, 0.05]])
    result = Landscape(losses=plane, x=x, y=y, center=3.0, trajectory=path)
    figure = landscape(result, form="surface")
    line = next(t for t in figure.data if t.type == "scatter3d" and "lines" in t.mode)
    expected = 3 + 2 * path[:, 0] + path[:, 1]
    lift = 0.02 * (plane.max() - plane.min())
    np.testing.assert_allclose(line.z, expected + lift, rtol=1e-5)
    flat = [t for t in landscape(result).data if t.name == "training"][0]
    np.testing.assert_allclose(np.column_stack([flat.x, flat.y]), path, rtol=1e-6)
    for wrong in ({"form": "map"}, {"theme": "pink"}, {"width": 3}):
        with pytest.raises(InputError):
            landscape(result, **wrong)


# -- names, other libraries, a browser -------------------------------------------------------


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in {"meta", "customdata", "template"}:
                yield from strings(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from strings(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        yield from strings(value.tolist())


def everything(found, result, look="light"):
    """Every figure of this file, of one model."""
    names = list(found.activations)
    drawn = {
        "weights": weights(found, theme=look),
        "distributions": weight_distributions(found, theme=look),
        "overview": activations(found, theme=look),
        **{f"maps of {name}": feature_maps(found, name, theme=look) for name in names},
        **{
            form: landscape(result, form=form, theme=look)
            for form in ("contour", "surface", "line")
        },
    }
    if any("bias" in layer.parameters for layer in found.layers):
        drawn["biases"] = biases(found, theme=look)
    if found.functions:
        drawn["functions"] = activation_functions(found, theme=look)
    return drawn


def sample_snapshot(rng, name):
    edges = np.linspace(-3, 3, 20)
    counts = rng.integers(0, 50, size=19)
    return Snapshot(
        name=name,
        layers=(
            Layer(
                name, name, {"weight": rng.normal(size=(8, 3, 5, 5)), "bias": rng.normal(size=8)}
            ),
            Layer("fc", "Linear", {"weight": rng.normal(size=(30, 40)), "bias": np.zeros(30)}),
        ),
        nodes=(Node(name, name), Node("relu", "ReLU")),
        inputs=rng.random((2, 3, 56, 56)).astype(np.float32),
        activations={
            name: rng.normal(size=(2, 8, 12, 12)).astype(np.float32),
            "relu": relu(rng, 2, 64, 56, 56).astype(np.float32),
            "tokens": rng.normal(size=(2, 9, 30)).astype(np.float32),
            "fc": rng.normal(size=(2, 30)).astype(np.float32),
        },
        functions={name: ActivationFunction(name, X, np.tanh(X), edges, counts)},
    )


def test_names_from_outside_are_text(rng):
    found = sample_snapshot(rng, EVIL)
    result = bowl(name=EVIL, loss=EVIL, axes=(EVIL, EVIL), directions=EVIL,
                  trajectory=np.ones((3, 2)))  # fmt: skip
    for name, figure in everything(found, result).items():
        for text in strings(figure.to_dict()):
            assert "<img" not in text, name


def test_keras_and_scikit_learn_models_have_pictures(rng, monkeypatch):
    import pellucid as pl

    neural = pytest.importorskip("sklearn.neural_network")
    x, y = rng.normal(size=(40, 6)), np.arange(40) % 3
    fitted = neural.MLPClassifier((5,), max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="converged|iterations"):
        fitted.fit(x, y)
    of_table = pl.snapshot(fitted, x[:4])
    hidden = maps(weights(of_table))[0]
    np.testing.assert_allclose(hidden.z, fitted.coefs_[0].T, rtol=1e-5)
    for name, figure in everything(of_table, bowl()).items():
        assert figure.data, name

    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend")
    model = keras.Sequential(
        [keras.Input((8, 10, 1)), keras.layers.Conv2D(6, 3, name="conv"),
         keras.layers.ReLU(name="relu"), keras.layers.Flatten(), keras.layers.Dense(3, name="out")]
    )  # fmt: skip
    pixels = rng.random((2, 8, 10, 1)).astype("float32")
    found = pl.snapshot(model, pixels)
    drawn = maps(feature_maps(found, "conv", sample=1, clip=None))[0].z
    expected = model.get_layer("conv")(pixels).detach().numpy()[1, :, :, 0]
    np.testing.assert_allclose(drawn[:6, :8], expected, rtol=1e-4, atol=1e-6)
    for name, figure in everything(found, bowl()).items():
        assert figure.data, name


# How many colours a picture has.
COLORS = """async (uri) => {
    const image = new Image(); image.src = uri; await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width; canvas.height = image.height;
    const context = canvas.getContext("2d"); context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(
        context.getImageData(0, 0, image.width, image.height).data.buffer);
    return new Set(pixels).size;
}"""


@pytest.mark.browser
def test_every_figure_is_drawn_in_a_browser(rng, tmp_path, browser):
    found = sample_snapshot(rng, "conv <1>")
    result = bowl(trajectory=np.array([[-1.5, 0.5], [-0.7, -0.2], [0.0, 0.0]]))
    figures = everything(found, result) | {
        "color": weights(found, layer="conv <1>", color=True),
        "dark": feature_maps(found, "relu", theme="dark", width=420),
    }
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(viz.report(figures, tmp_path / "report.html").as_uri())
    page.add_style_tag(content="html { scroll-behavior: auto !important }")
    for k, name in enumerate(figures, start=1):
        page.locator(f"#figure-{k}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#figure-{k}[data-drawn] .main-svg", timeout=20_000)
        nodes = page.evaluate(f"document.querySelectorAll('#figure-{k} *').length")
        assert nodes < (400 if name.startswith("maps") else 900), name
        shot = base64.b64encode(page.locator(f"#figure-{k} .main-svg").first.screenshot()).decode()
        assert page.evaluate(COLORS, f"data:image/png;base64,{shot}") > 20, name
    assert problems == []
    page.close()
