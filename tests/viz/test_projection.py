"""Pictures of maps: what they kept, tore away and drew in, never without how far to trust them."""

import json
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from drawn import caption, lists_of_numbers, texts
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from viz_samples import EVIL, FILL, MATH

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Predictions, Projection
from pellucid.viz import theme
from pellucid.viz.projection import neighbours, several
from pellucid.viz.projection.components import loadings, scree
from pellucid.viz.projection.hover import Texts
from pellucid.viz.projection.measures import map_measures
from pellucid.viz.projection.multiples import projections
from pellucid.viz.projection.over_steps import projection_over_steps
from pellucid.viz.projection.paint import Colors
from pellucid.viz.projection.scatter import scatter
from pellucid.viz.projection.torn import torn_neighbors
from pellucid.viz.report import report


def true_and_shown(features, places, k):
    """The nearest neighbours in both spaces, by scikit-learn."""
    return (
        NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
        for points in (features, places)
    )


def make(n=120, dimensions=2, seed=0, k=10, **changes):
    """A map by PCA, with measures that are its own (trustworthiness and continuity: any)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(size=(n, 8)) + 3 * np.eye(3, 8)[labels]
    fitted = PCA(dimensions).fit(features)
    places = fitted.transform(features).astype(np.float32)
    true, shown = true_and_shown(features, places, k)
    kept = np.array([len(set(a) & set(b)) / k for a, b in zip(true, shown, strict=True)])
    trust, going = 0.7 + 0.3 * rng.random(n), 0.8 + 0.2 * rng.random(n)
    given = {
        "coordinates": places,
        "method": "umap",
        "neighbors": k,
        "preservation": kept,
        "trustworthiness": trust,
        "continuity": going,
        "moved": rng.random(n),
        "features": 8,
        "nearest": true.astype(np.int32),
        "measures": {
            "neighbors": np.array([5, 10, 50]),
            "preservation": np.array([0.3, kept.mean(), 0.6]),
            "trustworthiness": np.array([0.95, trust.mean(), 0.7]),
            "continuity": np.array([0.97, going.mean(), 0.8]),
            "standard_error": np.zeros(3),
        },
        "triplets": 0.7,
        "labels": labels,
        "explained_variance_ratio": fitted.explained_variance_ratio_,
        "loadings": fitted.components_,
    }
    return Projection(**{**given, **changes})


@pytest.fixture(scope="module")
def projection():
    return make()


def predicted(n=120, **changes):
    """Predictions of three classes, every tenth wrong, the first not known."""
    scores = np.full((n, 3), 0.1)
    truth = np.arange(n) % 3
    scores[np.arange(n), np.where(np.arange(n) % 10, truth, (truth + 1) % 3)] = 0.8
    scores[0] = np.nan
    return Predictions(**{"scores": scores, "kind": "classification", "truth": truth} | changes)


def turned(places, angle=1.0, scale=3.0):
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    return (scale * places @ turn + [5, -7]).astype(np.float32)


def every(one, named="a", **options):
    """Every figure of a map and its relatives."""
    other = replace(one, coordinates=one.coordinates[:, ::-1].copy(), method="tsne")
    return {
        "scatter": scatter(one, **options),
        "point": scatter(one, point=3, **options),
        "point of numbers": scatter(one, point=3, color="continuity", **options),
        "torn": torn_neighbors(one, **options),
        "multiples": projections({named: one, named + "2": other}, **options),
        "multiples of numbers": projections([one, other], color="trustworthiness", **options),
        "measures": map_measures({named: one, named + "2": other}, **options),
        "one measured": map_measures(one, **options),
        "scree": scree(one, **options),
        "loadings": loadings(one, 1, **options),
        "steps": projection_over_steps({named: other, named + "2": one}, **options),
    }


# -- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize(("dimensions", "look"), [(2, "light"), (3, "dark")])
def test_no_figure_of_a_map_is_without_how_far_to_trust_it(dimensions, look):
    one = make(dimensions=dimensions)
    for name, figure in every(one, theme=look, title="Mine", width=520, height=560).items():
        assert f"trustworthiness {one.trustworthiness.mean():.3f}" in caption(figure), name
        assert f"{one.preservation.mean():.0%} of the 10 nearest" in caption(figure), name
        assert type(figure) is go.Figure
        assert figure.layout.title.text == "Mine"
        assert (figure.layout.width, figure.layout.height) == (520, 560)
        sent = json.loads(figure.to_json())
        assert not list(lists_of_numbers(sent)), name


def test_a_map_always_says_how_far_to_trust_it_whatever_colours_it(projection):
    for color in (None, "label", "preservation", "trustworthiness", "continuity", "moved",
                  np.arange(120.0), np.array(["a", "b"] * 60)):  # fmt: skip
        assert projection.trust() in caption(scatter(projection, color=color, title="x"))


def test_names_from_outside_are_text():
    evil = f"{EVIL} {MATH} {FILL}"
    names = tuple(f"{evil}{k}" for k in range(8))
    one = make(
        class_names=names[:3],
        at=evil,
        feature_names=names,
        sample_ids=np.array([f"{evil}{k}" for k in range(120)]),
        settings={"metric": evil},
    )
    figures = every(one, evil)
    figures["hover"] = scatter(one, hover=[evil] * 120, color=np.array([evil, "b"] * 60))
    figures["frame"] = scatter(one, hover={evil: [evil] * 120})
    for name, figure in figures.items():
        found = list(texts(figure.to_dict()))
        for text in found:
            assert "<img" not in text, name
            assert "$" not in text, name
            assert "%{evil}" not in text, name


def test_wrong_results_and_empty_maps_are_refused(projection):
    for draw in (scatter, torn_neighbors, loadings):
        with pytest.raises(InputTypeError, match="Projection"):
            draw(predicted())
    for draw in (scatter, torn_neighbors):
        with pytest.raises(InputError, match="no points"):
            draw(projection[[]])
    nowhere = replace(projection, coordinates=np.full((120, 2), np.nan, np.float32))
    with pytest.raises(InputError, match="finite"):
        scatter(nowhere)
    for draw in (projections, map_measures, projection_over_steps):
        with pytest.raises(InputTypeError, match="int"):
            draw(3)
        with pytest.raises(InputError, match="no maps"):
            draw({})


# -- neighbours ------------------------------------------------------------------------------


@given(n=st.integers(3, 60), dimensions=st.integers(2, 3), seed=st.integers(0, 99), data=st.data())
def test_the_nearest_on_a_map_are_those_of_scikit_learn(n, dimensions, seed, data):
    k = data.draw(st.integers(1, n - 1))
    places = np.random.default_rng(seed).normal(size=(n, dimensions))
    rows = np.arange(0, n, 2)
    theirs = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
    np.testing.assert_array_equal(neighbours.on_map(places, rows, k), theirs[rows])


def test_a_point_s_neighbours_are_kept_torn_and_false(projection):
    _, shown = true_and_shown(projection.coordinates, projection.coordinates, 10)
    for row in (0, 17, 119):
        found = neighbours.around(projection, projection.nearest, row)
        true, near = set(projection.nearest[row].tolist()), set(shown[row].tolist())
        assert set(found.kept.tolist()) == true & near
        assert set(found.torn.tolist()) == true - near
        assert set(found.false.tolist()) == near - true


@pytest.mark.parametrize("dimensions", [2, 3])
def test_lines_lead_from_a_point_to_each_true_neighbour(dimensions):
    one = make(dimensions=dimensions)
    row = int(np.argmin(np.abs(one.preservation - 0.5)))
    figure = scatter(one, point=row)
    marks = {t.name.split(" (")[0]: t for t in figure.data if t.legend == "legend2"}
    found = neighbours.around(one, one.nearest, row)
    for name, members in (("true, near", found.kept), ("true, torn away", found.torn)):
        line = np.column_stack([marks[name][axis] for axis in "xyz"[:dimensions]])
        np.testing.assert_array_equal(line[::2], np.tile(one.coordinates[row], (len(line[::2]), 1)))
        np.testing.assert_array_equal(line[1::2], one.coordinates[members])
    np.testing.assert_array_equal(marks["false neighbours"].x, one.coordinates[found.false, 0])
    kept = round(10 * one.preservation[row])
    assert f"{kept} of its 10 true neighbours" in caption(figure)
    assert f"{10 - kept} were torn away, {10 - kept} false ones drawn in" in caption(figure)


def test_a_point_is_found_by_its_id_or_else_its_position():
    named = make(sample_ids=np.array([f"p{k}" for k in range(120)]))
    assert neighbours.find_point(named, "p7") == neighbours.find_point(named, 7) == 7
    numbered = make(sample_ids=np.arange(120)[::-1].copy())
    assert neighbours.find_point(numbered, 0) == 119
    assert neighbours.find_point(make(), -1) == 119
    twice = make(sample_ids=np.zeros(120, int))
    for one, point, said in (
        (named, "q", "no sample"), (named, 120, "120 points"), (named, 1.5, "id or a position"),
        (twice, 0, "120 samples have that id"), (named, True, "id or a position"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            neighbours.find_point(one, point)


def test_a_part_of_a_map_has_no_neighbours_to_draw(projection):
    part = projection[:60]
    for draw in (lambda one: scatter(one, point=0), torn_neighbors):
        with pytest.raises(InputError, match="part of a map"):
            draw(part)
    assert scatter(part).data  # without neighbours it can be drawn


def test_a_map_in_another_order_draws_the_same_neighbours(projection):
    order = np.random.default_rng(1).permutation(120)
    whole, other = (torn_neighbors(one) for one in (projection, projection[order]))
    drawn = [
        {name: np.sort(np.asarray(trace.x)[~np.isnan(np.asarray(trace.x, float))])
         for name, trace in ((t.name, t) for t in figure.data) if trace.mode == "lines"}
        for figure in (whole, other)
    ]  # fmt: skip
    assert drawn[0]
    for name, x in drawn[0].items():
        np.testing.assert_allclose(drawn[1][name], x)


# -- colours ---------------------------------------------------------------------------------


def test_what_a_model_says_colours_the_points(projection):
    found = predicted()
    figure = scatter(projection, predictions=found)
    assert {t.name: len(t.x) for t in figure.data} == {"right": 108, "wrong": 11, "not known": 1}
    wrong = next(t for t in figure.data if t.name == "wrong")
    np.testing.assert_array_equal(wrong.customdata[:, 1], np.arange(10, 120, 10))
    assert "grey: 1 points without" in caption(figure)
    named = scatter(
        projection, color="prediction", predictions=replace(found, class_names=(*"abc",))
    )
    assert [t.name for t in named.data] == ["a", "b", "c", "not known"]
    sure = scatter(projection, color="confidence", predictions=found)
    assert (sure.layout.coloraxis.cmin, sure.layout.coloraxis.cmax) == (0, 1)
    np.testing.assert_allclose(sure.data[0].marker.color, 0.8, rtol=1e-6)
    assert len(sure.data[1].x) == 1


def test_errors_of_a_regression_are_centred_on_zero(projection):
    scores = np.linspace(-1, 3, 120)
    found = Predictions(scores=scores, kind="regression", units="value", truth=np.zeros(120))
    axis = scatter(projection, color="error", predictions=found).layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert axis.colorscale[0][1] == theme.LIGHT.diverging[0][1]
    with pytest.raises(InputError, match="no confidence"):
        scatter(projection, color="confidence", predictions=found)


def test_predictions_are_of_the_same_samples(projection):
    with pytest.raises(InputError, match="119 samples"):
        scatter(projection, predictions=predicted()[1:])
    with pytest.raises(InputError, match="order"):
        scatter(make(sample_ids=np.arange(120)),
                predictions=predicted(sample_ids=np.arange(120)[::-1].copy()))  # fmt: skip
    with pytest.raises(InputError, match="predictions="):
        scatter(projection, color="error")
    with pytest.raises(InputTypeError, match="predictions="):
        scatter(projection, color=predicted())
    with pytest.raises(InputError, match="no truth"):
        scatter(projection, color="error", predictions=predicted(truth=None))
    with pytest.raises(InputError, match="seeds"):
        scatter(replace(projection, moved=None), color="moved")


def test_missing_colours_are_grey_and_said(projection):
    values = np.arange(120.0)
    values[:7] = np.nan
    figure = scatter(projection, color=values)
    assert [len(t.x) for t in figure.data] == [113, 7]
    assert figure.data[1].marker.color == theme.LIGHT.missing
    assert "grey: 7 points without a value" in caption(figure)
    names = np.array(["a", None] * 60, dtype=object)
    assert [t.name for t in scatter(projection, color=names).data] == ["a", "not known"]


def test_beyond_eight_classes_colour_and_symbol_differ_and_rare_ones_are_joined():
    one = make(labels=np.arange(120) % 24, class_names=tuple(f"c{23 - k}" for k in range(24)))
    figure = scatter(one)
    assert [t.name for t in figure.data] == [f"c{23 - k}" for k in range(24)]  # the classes' order
    assert len({(t.marker.color, t.marker.symbol) for t in figure.data}) == 24
    many = scatter(one, color=np.array([f"n{max(k, 40)}" for k in range(120)]))
    assert len(many.data) == 40
    assert "n40" in {t.name for t in many.data}
    assert many.data[-1].name == "others"
    assert sum(len(t.x) for t in many.data) == 120
    assert "39 most frequent names; 41 others grey" in caption(many)


def test_a_class_has_its_colour_on_every_part_of_a_map():
    one = make(class_names=("a", "b", "c"))
    whole = {t.name: t.marker.color for t in scatter(one).data}
    part = scatter(one[one.labels == 2])
    assert {t.name: t.marker.color for t in part.data} == {"c": whole["c"]}


def test_names_of_several_maps_are_joined():
    one = Colors("label", names=("a", "b"), codes=np.array([0, 1, -1]))
    other = Colors("label", names=("b", "c"), codes=np.array([0, 1]))
    both = Colors.joined([one, other])
    assert both.names == ("a", "b", "c")
    assert both.codes.tolist() == [0, 1, -1, 1, 2]


# -- hover -----------------------------------------------------------------------------------


def test_texts_and_rows_are_shown_bounded(projection):
    figure = scatter(projection, hover=[f"text {k} " + "x" * 999 for k in range(120)])
    shown = figure.data[1]
    assert shown.hovertext[0].startswith("text 1<br>xxx")
    assert max(len(text.replace("<br>", " ")) for text in shown.hovertext) <= 160
    assert "%{hovertext}" in shown.hovertemplate
    rows = {f"column {k}": np.arange(120) + k for k in range(12)}
    figure = scatter(projection, hover=rows)
    assert figure.data[1].hovertext[0].split("<br>")[:2] == ["column 0: 1", "column 1: 2"]
    assert figure.data[1].hovertext[0].count("<br>") == 7
    assert "8 of 12 columns" in caption(figure)
    assert Texts(["a"] * 9, 9).of(np.arange(2), 100_001) is None
    with pytest.raises(InputError, match="119 entries"):
        scatter(projection, hover=["a"] * 119)
    for wrong in ("one text", 3, [["a", "b"]] * 120):
        with pytest.raises(InputTypeError, match="hover"):
            scatter(projection, hover=wrong)


# -- many points -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(0)
    n = 200_002
    places = rng.normal(size=(n, 2)).astype(np.float32)
    places[5] = np.nan
    return Projection(
        coordinates=places, method="umap", neighbors=15, preservation=rng.random(n),
        trustworthiness=rng.random(n), features=9, labels=np.arange(n) % 3,
    )  # fmt: skip


def test_more_than_200000_points_are_an_image_with_some_to_point_at(large):
    figure = scatter(large)
    cells = figure.data[0]
    assert cells.type == "heatmap"
    assert int(cells.customdata.sum()) == 200_001
    dots = figure.data[1:]
    assert sum(len(t.x) for t in dots) == 2000
    for dot in dots:
        where = dot.customdata[:, 1].astype(int)
        np.testing.assert_array_equal(large.coordinates[where, 0], dot.x)
    assert "2,000 of 200,001 points, chosen at random" in caption(figure)
    assert "left out: 1 points without finite coordinates" in caption(figure)
    assert large.trust() in caption(figure)
    assert len(figure.to_json()) < 1_000_000
    both = projections([large, large])
    assert sum(len(t.x) for t in both.data) == 60_000
    assert "30,000 samples of a map are drawn" in caption(both)


# -- where the map lies ----------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [2, 3])
def test_torn_and_false_pairs_are_the_worst(dimensions):
    one = make(dimensions=dimensions)
    figure = torn_neighbors(one, edges=6)
    panels = [t for t in figure.data if t.mode == "markers"]
    for panel, measure in zip(panels, (one.trustworthiness, one.continuity), strict=True):
        where = panel.customdata[:, 1].astype(int)
        np.testing.assert_allclose(panel.marker.color, 1 - measure[where], rtol=1e-5)
        assert (np.diff(panel.marker.color) >= 0).all()  # the worst on top
        assert panel.marker.coloraxis == "coloraxis"
    _, shown = true_and_shown(one.coordinates, one.coordinates, 10)
    torn = [
        (float(np.linalg.norm(one.coordinates[i] - one.coordinates[j])), i, int(j))
        for i in range(120)
        for j in one.nearest[i]
        if j not in shown[i]
    ]
    starts, ends = neighbours.worst_torn(one.coordinates, one.nearest, 6)
    assert len(starts) == 6
    assert {(i, j) for i, j in zip(starts, ends, strict=True)} <= {(i, j) for _, i, j in torn}
    assert (starts[0], ends[0]) == max(torn)[1:] or (ends[0], starts[0]) == max(torn)[1:]
    starts, ends = neighbours.worst_false(one.coordinates, one.nearest, one.trustworthiness, 6)
    assert all(j in shown[i] and j not in one.nearest[i] for i, j in zip(starts, ends, strict=True))
    with pytest.raises(InputError, match="continuity"):
        torn_neighbors(replace(one, continuity=None))


# -- several maps ----------------------------------------------------------------------------


def test_maps_of_the_same_samples_are_turned_onto_the_first(projection):
    other = replace(projection, coordinates=turned(projection.coordinates))
    figure = projections({"one": projection, "turned": other})
    first, second = (np.concatenate([t.y for t in figure.data if t.yaxis == axis])
                     for axis in ("y", "y2"))  # fmt: skip
    np.testing.assert_allclose(first, second, atol=1e-4)
    said = [a.text for a in figure.layout.annotations]
    assert any("differs from the first by<br>0.0%" in text or "by 0.0%" in text for text in said)
    assert sum("trustworthiness" in text for text in said) >= 2
    assert [t.showlegend for t in figure.data] == [True] * 3 + [False] * 3
    left = projections([projection, other], align=False)
    np.testing.assert_array_equal(left.data[3].x, other.coordinates[projection.labels == 0, 0])


@given(seed=st.integers(0, 99))
def test_alignment_is_scipy_s_and_moves_points_without_a_partner_alike(seed):
    rng = np.random.default_rng(seed)
    to, places = rng.normal(size=(2, 30, 2))
    found, disparity = several.align(places, to)
    assert disparity == pytest.approx(procrustes(to, places)[2], abs=1e-9)
    holed = to.copy()
    holed[:5] = np.nan
    same, _ = several.align(turned(to), holed)
    np.testing.assert_allclose(same, to, atol=1e-4)
    assert found.shape == to.shape


def test_maps_of_other_samples_are_not_turned(projection):
    other = make(90, seed=4, labels=np.arange(90) % 3 + 1)
    figure = projections({"a": projection, "b": other})
    assert "not turned" in caption(figure)
    colors = {}
    for trace in figure.data:
        colors.setdefault(trace.name, set()).add((trace.marker.color, trace.marker.symbol))
    assert set(colors) == set("0123")
    assert all(len(found) == 1 for found in colors.values())


def test_maps_are_named_by_what_differs(projection):
    settings = [{"min_dist": 0.1, "metric": "cosine"}, {"min_dist": 0.5, "metric": "cosine"}]
    maps = [replace(projection, settings=one) for one in settings]
    assert list(several.named(maps, "x")) == ["min_dist 0.1", "min_dist 0.5"]
    assert len(several.named([projection] * 3, "x")) == 3
    assert "1 of 13 maps are left out" in caption(projections([projection] * 13))


def test_measures_are_drawn_with_their_errors_and_chance(projection):
    error = np.array([0.01, 0.02, 0.03])
    other = replace(projection, measures={**projection.measures, "standard_error": error})
    figure = map_measures({"exact": projection, "sampled": other})
    band = next(t for t in figure.data if t.fill == "toself")
    trust = other.measures["trustworthiness"]
    np.testing.assert_allclose(band.y[:3], trust - 2 * error, rtol=1e-6)
    np.testing.assert_allclose(band.y[3:][::-1], np.minimum(trust + 2 * error, 1), rtol=1e-6)
    lines = [t for t in figure.data if t.type == "scatter" and t.mode == "lines+markers"]
    assert [t.xaxis for t in lines] == ["x", "x", "x2", "x2", "x3", "x3"]
    np.testing.assert_allclose(lines[4].y, projection.measures["continuity"], rtol=1e-6)
    chance = next(t for t in figure.data if t.type == "scatter" and t.line.dash == "dot")
    np.testing.assert_allclose(chance.y, np.array([5, 10, 50]) / 119, rtol=1e-6)
    assert [t.y[0] for t in figure.data if t.type == "bar"] == [0.7, 0.7]
    with pytest.raises(InputError, match="holds no 'neighbors'"):
        map_measures(replace(projection, measures={}))


def test_the_verdict_names_the_best_near_and_far(projection):
    near = replace(projection, preservation=np.ones(120), triplets=0.5)
    said = caption(map_measures({"far": projection, "near": near}))
    assert "most neighbours are kept by near, the global shape best by far" in said


# -- components ------------------------------------------------------------------------------


def test_scree_adds_up(projection):
    shares = projection.explained_variance_ratio
    figure = scree(projection)
    np.testing.assert_allclose(figure.data[0].y, shares, rtol=1e-6)
    np.testing.assert_allclose(figure.data[1].y, np.cumsum(shares), rtol=1e-6)
    fitted = PCA().fit(np.random.default_rng(0).normal(size=(200, 60)))
    figure = scree(fitted)
    assert len(figure.data[0].y) == 50
    assert "10 directions are not drawn" in caption(figure)
    assert figure.layout.meta["provenance"]["result"] == "PCA"
    with pytest.raises(InputError, match="method='pca'"):
        scree(replace(projection, explained_variance_ratio=None))


def test_loadings_are_signed_strongest_first(projection):
    figure = loadings(projection, 1, top=5)
    values = projection.loadings[1]
    order = np.argsort(-np.abs(values))[:5]
    np.testing.assert_allclose(figure.data[0].x, values[order], rtol=1e-6)
    assert figure.layout.yaxis.ticktext == tuple(f"feature {k}" for k in order)
    colors = [theme.LIGHT.negative if v < 0 else theme.LIGHT.positive for v in values[order]]
    assert list(figure.data[0].marker.color) == colors
    assert f"make up {100 * (values[order] ** 2).sum():.0f} %" in caption(figure)
    for axis in (2, -1, "x", True):
        with pytest.raises(InputError, match="axes 0 to 1"):
            loadings(projection, axis)
    with pytest.raises(InputError, match="no loadings"):
        loadings(replace(projection, loadings=None))


# -- over steps ------------------------------------------------------------------------------


def test_steps_are_in_order_and_turned_onto_the_next(projection):
    middle = replace(projection, coordinates=turned(projection.coordinates))
    figure = projection_over_steps({100: projection, 20: middle, 3: projection})
    steps = figure.layout.sliders[0].steps
    assert [s.label.split(":")[0] for s in steps] == ["3", "20", "100"]
    assert all(f"{projection.trustworthiness.mean():.3f}" in s.label for s in steps)
    play = figure.layout.updatemenus[0].buttons[0].args[0]
    for k, step in enumerate(steps):
        for move in (step.args[0], play[k]):
            for trace, part in zip(figure.data, move["data"], strict=True):
                np.testing.assert_allclose(part["x"], trace.x, atol=1e-4)
                np.testing.assert_allclose(part["y"], trace.y, atol=1e-4)
        assert play[k]["layout"] == {"sliders": [{"active": k}]}
    assert not figure.frames


def test_steps_are_bounded_and_hold_the_first_and_last():
    one = make(3000)
    figure = projection_over_steps(dict.fromkeys(range(100), one), step_unit="epoch")
    steps = figure.layout.sliders[0].steps
    assert len(steps) == 40
    assert (steps[0].label[:2], steps[-1].label[:3]) == ("0:", "99:")
    assert sum(len(t.x) for t in figure.data) == 1500
    assert "40 of 100 epochs" in caption(figure)
    assert "1,500 of 3,000 points" in caption(figure)
    assert len(figure.to_json()) < 3_000_000


def test_steps_are_of_the_same_samples(projection):
    with pytest.raises(InputError, match="the map of 1 is not of the same samples"):
        projection_over_steps({1: projection[:60], 2: projection})


# -- in a browser ----------------------------------------------------------------------------

DRAW = """async ([data, layout, config]) => {
    document.body.innerHTML = '<div id="plot"></div>';
    await Plotly.newPlot("plot", data, layout, config);
    const box = document.querySelector(".main-svg").getBoundingClientRect();
    const texts = [...document.querySelectorAll(".main-svg text")].filter(t => t.textContent);
    const cut = texts.filter(t => {
        const own = t.getBoundingClientRect();
        return own.width > 4 && (own.left < box.left - 1 || own.right > box.right + 1
            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
    }).map(t => t.textContent);
    const marks = document.querySelectorAll(".points path, .heatmaplayer image").length;
    const title = document.querySelector(".gtitle").getBoundingClientRect();
    const legends = [...document.querySelectorAll(".legend, .legend2")].map(
        one => one.getBoundingClientRect()).filter(one => one.height);
    const across = legends.length === 2 && legends[0].top < legends[1].bottom - 2
        && legends[1].top < legends[0].bottom - 2 && legends[0].left < legends[1].right - 2
        && legends[1].left < legends[0].right - 2;
    return {cut, marks, over: across || legends.some(one => one.top < title.bottom - 2)};
}"""
STATE = """() => {
    const plot = document.querySelector(".plot");
    return [plot._fullLayout.sliders[0].active, plot._fullData[0].x[0]];
}"""


@pytest.mark.browser
def test_every_figure_is_drawn_whole_and_the_steps_play_in_a_report(browser, tmp_path, projection):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    path = tmp_path / "plots.html"
    go.Figure().write_html(path, include_plotlyjs="directory", config=theme.CONFIG)
    page.goto(path.as_uri())
    page.wait_for_function("window.Plotly !== undefined")
    named = replace(projection, class_names=(EVIL, "a rather long name of a class", "c"))
    figures = {f"{n} 420": f for n, f in every(named, EVIL, width=420, theme="dark").items()}
    wide = ("point", "torn", "multiples", "measures")
    figures |= {f"{n} 1280": f for n, f in every(projection, width=1280).items() if n in wide}
    for name, figure in figures.items():
        sent = json.loads(figure.to_json())
        found = page.evaluate(DRAW, [sent["data"], sent["layout"], theme.CONFIG])
        assert found["cut"] == [], name
        assert found["marks"] > 0, name
        assert not found["over"], name

    moves = {k: replace(projection, coordinates=projection.coordinates**k) for k in (3, 2, 1)}
    places = projection_over_steps(moves).layout.sliders[0].steps
    report(projection_over_steps(moves), tmp_path / "report.html")
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector(".plot[data-drawn] .slider-rail-touch-rect")
    assert page.evaluate(STATE)[0] == 2
    rail = page.locator(".slider-rail-touch-rect").bounding_box()
    page.mouse.click(rail["x"] + 3, rail["y"] + rail["height"] / 2)
    page.wait_for_function(f"({STATE})()[0] === 0")
    first = places[0].args[0]["data"][0]["x"][0]
    page.wait_for_function(f"Math.abs(({STATE})()[1] - {first}) < 1e-5")
    page.locator(".updatemenu-button").first.click()
    page.wait_for_function(f"({STATE})()[0] === 2", timeout=8000)
    last = places[2].args[0]["data"][0]["x"][0]
    page.wait_for_function(f"Math.abs(({STATE})()[1] - {last}) < 1e-5")
    page.close()
    assert problems == []
