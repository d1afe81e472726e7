"""Figures of many rows: what they draw is what was found, in the order that it has."""

import dataclasses
import json

import numpy as np
import pytest
from drawn import caption
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from viz_samples import make_images, make_interactions, make_many, make_regions, make_table

import pellucid as pl
from pellucid import viz
from pellucid.errors import InputError
from pellucid.viz import theme
from pellucid.viz.attributions import dots, features
from pellucid.viz.attributions.regions import painted
from pellucid.viz.attributions.sample_matrix import by_similarity
from pellucid.viz.attributions.spread import strongest

DRAWS = {
    "beeswarm": viz.beeswarm,
    "decision": viz.decision,
    "stacked": viz.stacked,
    "dependence": viz.dependence,
    "sample_matrix": viz.sample_matrix,
}


def notes(figure):
    return [a.text for a in figure.layout.annotations if a.xref == "paper" and a.yref == "y"]


def strokes(figure):
    """The rows between which a stroke says that their order may be chance."""
    return [round(shape.y0 - 0.18) for shape in figure.layout.shapes if shape.xsizemode == "pixel"]


def sampled(values, errors, **changes):
    errors = np.broadcast_to(np.asarray(errors, dtype=np.float32), np.shape(values))
    return make_table(values, standard_error=errors, **changes)


# -- every figure of a table -----------------------------------------------------------------


@pytest.mark.parametrize("name", list(DRAWS))
def test_sizes_title_and_errors(results, name):
    draw = DRAWS[name]
    figure = draw(make_many(), width=600, height=500, title="Mine", theme="dark")
    assert (figure.layout.width, figure.layout.height) == (600, 500)
    assert figure.layout.title.text == "Mine"
    assert figure.layout.paper_bgcolor is None
    assert figure.layout.template.layout.paper_bgcolor == theme.DARK.paper
    with pytest.raises(InputError, match=r"shape \(samples, features\)"):
        draw(results["images"])
    with pytest.raises(InputError, match=r"several targets.*viz\.compare"):
        draw(results["targets"])
    with pytest.raises(InputError, match="no samples"):
        draw(make_many()[[]])
    with pytest.raises(InputError, match="at least 1"):
        draw(make_many(), samples=0)


@pytest.mark.parametrize("name", list(DRAWS))
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (30, 1), (3, 40)])
def test_tables_of_any_size(rng, name, shape):
    figure = DRAWS[name](make_table(rng.normal(size=shape)))
    json.loads(figure.to_json())
    assert DRAWS[name](make_table(np.zeros(shape), standard_error=np.zeros(shape))) is not None


@pytest.mark.parametrize("name", ["decision", "stacked", "waterfall"])
def test_what_does_not_add_up_is_not_drawn_as_a_sum(name):
    gradient = make_many(baseline_prediction=None, residual=None, method="saliency")
    with pytest.raises(InputError, match=rf"saliency.*viz\.{name}.*viz\.b"):
        getattr(viz, name)(gradient)


@pytest.mark.parametrize("name", ["beeswarm", "decision", "sample_matrix"])
def test_few_of_many_samples_are_said(name):
    figure = DRAWS[name](make_many(50), samples=20)
    assert "20 of 50 samples drawn, evenly chosen" in caption(figure)
    assert "drawn" not in caption(DRAWS[name](make_many(50), samples=50))


def test_a_long_table_gets_a_picture_of_all_its_rows(results):
    assert len(viz.figure(make_many(20)).data) > 3
    assert viz.figure(make_many(19)).data[0].type == "bar"
    assert viz.figure(make_interactions()).data[0].type == "heatmap"
    assert viz.figure(results["regions"]).data[0].type == "heatmap"


# -- order -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, 6, elements=st.floats(0, 10)),
    arrays(np.float64, 6, elements=st.floats(0, 5)),
)
def test_neighbours_are_tied_where_their_difference_is_within_its_error(sizes, errors):
    sizes = np.sort(sizes)[::-1]
    for k, tied in enumerate(features.ties(sizes, errors)):
        spread = 1.96 * np.hypot(errors[k], errors[k + 1])
        assert tied == (sizes[k] - sizes[k + 1] < spread)
    assert not features.ties(sizes, None).any()
    assert not features.ties(sizes, np.zeros(6)).any()


def test_ties_are_strokes_between_names_and_a_sentence():
    # 3 and 2.9 lie within 1.96 * sqrt(0.1² + 0.1²) = 0.277 of each other, 2.9 and 2.6 do not.
    table = sampled([[2.6, -3.0, 2.9, 0.1]], 0.1, error=None)
    assert strokes(viz.bar(table)) == [0]
    assert strokes(viz.waterfall(table)) == [1]  # below the baseline's prediction
    assert strokes(viz.beeswarm(table)) == [0]
    assert strokes(viz.decision(table)) == [1]  # below the residual
    assert strokes(viz.sample_matrix(table)) == [0]
    for draw in (viz.bar, viz.waterfall, viz.beeswarm, viz.decision, viz.sample_matrix):
        assert "order may be chance" in caption(draw(table))
        assert "chance" not in caption(draw(dataclasses.replace(table, standard_error=None)))


def test_only_those_drawn_are_tied():
    table = sampled([[5.0, 5.01, 5.02, 5.03, 5.04]], 0.1)
    assert strokes(viz.bar(table, top=2)) == [0]


def test_the_error_of_a_mean_is_not_averaged_out():
    # All rows may share their coalitions: then their errors go one way.
    explanation = sampled(np.ones((100, 2)), 0.3)
    sizes, errors = features.sizes(explanation)
    assert sizes.tolist() == [1, 1]
    np.testing.assert_allclose(errors, 0.3, rtol=1e-6)


def test_whiskers_are_the_standard_errors_that_there_are():
    table = sampled([[3.0, -2.0, 1.0]], [[0.1, 0.0, 0.3]], error=None)
    for figure in (viz.bar(table), viz.waterfall(table)):
        np.testing.assert_allclose(figure.data[0].error_x.array[:3], [0.1, np.nan, 0.3], rtol=1e-6)
        assert "± one standard error" in caption(figure)
    exact = sampled([[3.0, -2.0]], 0.0)
    assert viz.bar(exact).data[0].error_x.array is None
    assert "standard error" not in caption(viz.bar(exact))
    assert notes(viz.bar(exact)) == ["+3", "−2"]


# -- names and values ------------------------------------------------------------------------


def test_categories_and_gaps_are_told_as_such():
    explanation = make_many()
    ticks = [viz.bar(explanation, sample=i).layout.yaxis.ticktext for i in range(8)]
    city = explanation.inputs[:8, 1].astype(int)
    told = ("Ulm", "&lt;i&gt;Bern&lt;/i&gt;", "Rom")
    for i in range(8):
        assert f"&lt;b&gt;city&lt;/b&gt; = {told[city[i]]}" in ticks[i]
    assert "income = missing" in ticks[0]
    unnamed = make_many(feature_names=None, categories={"1": ("a", "b", "c")})
    assert f"feature 1 = {'abc'[city[0]]}" in viz.bar(unnamed).layout.yaxis.ticktext


def grouped(explanation):
    masks = {"one": np.array([0, 1, 0, 0], bool), "rest <b>": np.array([1, 0, 1, 1], bool)}
    values = np.stack([explanation.values[:, mask].sum(axis=1) for mask in masks.values()], axis=1)
    return dataclasses.replace(
        explanation,
        values=values,
        standard_error=np.full(values.shape, 0.05),
        axes=("sample", "group"),
        groups=masks,
    )


def test_groups_have_their_names_and_a_lone_feature_its_value():
    explanation = grouped(make_many())
    for draw in (viz.bar, viz.waterfall, viz.decision, viz.stacked):
        figure = draw(explanation[:1])
        found = json.dumps([str(t) for t in figure.layout.yaxis.ticktext or ()])
        found += json.dumps([str(text) for trace in figure.data for text in trace.text or ()])
        found += json.dumps([str(h) for trace in figure.data for h in trace.hovertext or ()])
        assert "rest &lt;b&gt;" in found
        assert "one = " in found
    assert list(viz.beeswarm(explanation).layout.yaxis.ticktext) == ["one", "rest &lt;b&gt;"]
    assert list(viz.sample_matrix(explanation).layout.yaxis.ticktext) == ["one", "rest &lt;b&gt;"]
    assert viz.dependence(explanation).layout.xaxis.title.text == "one"
    with pytest.raises(InputError, match="group of several"):
        viz.dependence(explanation, feature="rest <b>")


def test_a_layer_and_tokens_stand_beside_no_input():
    for changes in ({"at": "fc1"}, {"tokens": np.full((30, 4), "word")}):
        found = make_many(categories=None, **changes)
        assert not any(" = " in tick for tick in viz.bar(found).layout.yaxis.ticktext)
        with pytest.raises(InputError, match="holds no feature's values"):
            viz.dependence(found)


def test_groups_of_other_names_are_not_drawn_side_by_side():
    one = grouped(make_many())
    other = dataclasses.replace(one, groups=dict(zip("ab", one.groups.values(), strict=True)))
    assert len(viz.compare({"x": one, "y": one}).data) == 2
    with pytest.raises(InputError, match="other axes or shapes"):
        viz.compare({"x": one, "y": other})


def test_the_mean_over_a_background_is_called_so():
    figure = viz.waterfall(make_many())
    assert figure.layout.yaxis.ticktext[0] == "mean over the background"
    assert "mean over the background 0.25" in figure.layout.title.text.replace("<br>", " ")
    assert (
        viz.waterfall(make_table([[1.0]])).layout.yaxis.ticktext[0] == "prediction at the baseline"
    )


# -- dots ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(0, 60), elements=st.floats(0, 300)), st.floats(1, 9))
def test_dots_of_a_swarm_do_not_overlap(at, size):
    lines = dots.swarm(at, size)
    for line in set(lines.tolist()):
        here = np.sort(at[lines == line])
        assert (np.diff(here) >= size - 1e-9).all()
    assert set(lines.tolist()) <= set(range(-len(at), len(at) + 1))


def test_a_swarm_is_flat_where_there_is_room_and_fills_both_sides():
    assert not dots.swarm(np.arange(20.0) * 10, 7).any()
    dense = dots.swarm(np.zeros(21), 7)
    assert sorted(dense.tolist()) == list(range(-10, 11))
    assert len(np.unique(dots.swarm(np.zeros(500), 7))) == 64


def test_every_value_is_a_dot_in_the_row_of_its_feature():
    explanation = make_many()
    figure = viz.beeswarm(explanation)
    order = np.argsort(-np.abs(explanation.values).mean(axis=0))
    names = [theme.escape(explanation.feature_names[i]) for i in order]
    assert list(figure.layout.yaxis.ticktext) == names
    for k, i in enumerate(order):
        rows = [t for t in figure.data if np.all(np.abs(np.asarray(t.y) - k) <= 0.5)]
        drawn = np.concatenate([t.x for t in rows])
        np.testing.assert_allclose(np.sort(drawn), np.sort(explanation.values[:, i]), rtol=1e-6)
        ids = np.concatenate([t.customdata[:, 0] for t in rows])
        np.testing.assert_array_equal(np.sort(ids), np.sort(explanation.sample_ids))
    assert sum(len(t.x) for t in figure.data) == explanation.values.size
    assert figure.layout.yaxis.range == (3.5, -0.5)


def test_colours_are_the_features_values_and_grey_has_none():
    explanation = make_many()
    figure = viz.beeswarm(explanation)
    by_name = {}
    for trace in figure.data:
        name = next(n for n in ("age", "city", "income", "constant") if n in trace.hovertemplate)
        by_name.setdefault(name, []).append(trace)
    (age,) = by_name["age"]
    order = np.argsort(explanation.inputs[:, 0])
    assert (np.diff(age.marker.color[order]) >= 0).all()
    assert age.marker.color[order[0]] == 0
    assert age.marker.color[order[-1]] == 1
    (city,) = by_name["city"]
    assert city.marker.color == theme.LIGHT.neutral
    assert set(city.hovertext) == {"Ulm", "&lt;i&gt;Bern&lt;/i&gt;", "Rom"}
    known, missing = by_name["income"]
    assert missing.marker.symbol == "circle-open"
    assert len(missing.x) == np.isnan(explanation.inputs[:, 2]).sum()
    assert set(missing.hovertext) == {"missing"}
    assert "hollow" in caption(figure)
    assert "grey: categories" in caption(figure)
    assert list(figure.layout.coloraxis.colorbar.ticktext) == ["low", "high"]


def test_the_rest_of_a_swarm_is_summed_and_broken_values_are_counted(rng):
    values = rng.normal(size=(25, 8)) * np.arange(8, 0, -1)
    rest = np.argsort(np.abs(values).mean(axis=0))[:5]
    figure = viz.beeswarm(make_table(values), top=3)
    assert figure.layout.yaxis.ticktext[-1] == "5 other features"
    np.testing.assert_allclose(figure.data[-1].x, values[:, rest].sum(axis=1), rtol=1e-4, atol=1e-5)
    values[2, 1] = np.nan
    assert "1 values are not finite" in caption(viz.beeswarm(make_table(values)))


def test_many_dots_are_webgl_and_typed(rng):
    explanation = make_table(
        rng.normal(size=(2100, 4)), sample_ids=None, inputs=rng.normal(size=(2100, 4))
    )
    figure = viz.beeswarm(explanation)
    assert figure.data[0].type == "scattergl"
    assert figure.data[0].x.dtype == np.float32
    assert len(figure.data[0].x) == 2000
    assert "2,000 of 2,100" in caption(figure)


# -- decisions -------------------------------------------------------------------------------


def paths(figure):
    """Each line of a decision plot, by its sample."""
    found = {}
    for trace in figure.data:
        if trace.mode != "lines":
            continue
        gaps = np.flatnonzero(np.isnan(trace.x))
        for part in np.split(np.arange(len(trace.x)), gaps + 1)[:-1]:
            found[trace.customdata[part[0]][0]] = (trace.x[part[:-1]], trace.y[part[:-1]])
    return found


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 20)),
           elements=st.floats(-1e3, 1e3, width=16)),
    st.integers(1, 12),
)  # fmt: skip
def test_lines_go_from_the_baseline_to_the_prediction(values, top):
    table = make_table(values)
    found = paths(viz.decision(table, top=top))
    close = 1e-4 * (1 + float(np.abs(values).sum()))
    assert len(found) == len(values)
    for i, name in enumerate(table.sample_ids):
        x, y = found[name]
        assert x[0] == pytest.approx(table.baseline_prediction[i], abs=close)
        assert x[-1] == pytest.approx(table.prediction[i], abs=close)
        np.testing.assert_array_equal(np.diff(y), -1)  # from the lowest row to the top
        assert y[-1] == -0.5


def test_each_step_is_what_the_feature_of_its_row_contributed():
    explanation = make_many(residual=np.zeros(30), prediction=make_many().prediction - 0.05)
    figure = viz.decision(explanation)
    order = np.argsort(-np.abs(explanation.values).mean(axis=0))
    names = [theme.escape(explanation.feature_names[i]) for i in order]
    assert list(figure.layout.yaxis.ticktext) == names
    x, _ = paths(figure)["id-4"]
    np.testing.assert_allclose(np.diff(x)[::-1], explanation.values[4, order], atol=1e-5)
    ends = figure.data[-1]
    np.testing.assert_allclose(ends.x, explanation.prediction, rtol=1e-6)
    np.testing.assert_allclose(ends.marker.color, explanation.prediction, rtol=1e-6)


def test_a_residual_that_can_be_seen_is_a_row():
    assert "residual" in viz.decision(make_table([[1.0, 2.0]])).layout.yaxis.ticktext[0]
    exact = make_table([[1.0, 2.0]], prediction=np.array([3.25]))
    assert "residual" not in " ".join(viz.decision(exact).layout.yaxis.ticktext)


def test_one_line_has_values_and_steps_in_words():
    explanation = make_many(prediction=make_many().prediction - 0.05)
    figure = viz.decision(explanation[2])
    values = sorted(explanation.values[2], key=abs, reverse=True)
    assert [float(note.split(" ±")[0].replace("−", "-")) for note in notes(figure)] == [
        pytest.approx(value, rel=1e-3) for value in values
    ]
    assert all(" = " in tick for tick in figure.layout.yaxis.ticktext)


def test_samples_that_are_not_finite_have_no_line():
    values = np.ones((3, 2))
    values[1, 0] = np.nan
    figure = viz.decision(make_table(values))
    assert set(paths(figure)) == {"id-0", "id-2"}
    assert "1 samples are not finite" in caption(figure)
    with pytest.raises(InputError, match="all finite"):
        viz.decision(make_table(values)[1])


# -- up and down -----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 12)),
           elements=st.floats(-100, 100, width=16)),
    st.integers(1, 6),
)  # fmt: skip
def test_what_pushes_up_and_down_meets_at_the_prediction(values, top):
    table = make_table(values)
    figure = viz.stacked(table, top=top)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    for i, end in enumerate(table.prediction):
        spans = {1: [], -1: []}
        for trace in bars:
            for k in np.flatnonzero(np.asarray(trace.y) == i):
                inner, size = float(trace.base[k]), float(trace.x[k])
                spans[-1 if size > 0 else 1].append((inner, inner + size))
        close = 1e-5 * (1 + float(np.abs(values).sum()))
        for sign, found in spans.items():
            expected = float(values[i][sign * values[i] > 0].sum(dtype=float))
            # From the prediction on without a gap, and as far as all of them reach.
            at = end
            for inner, outer in found:
                assert inner == pytest.approx(at, abs=close)
                at = outer
            assert at == pytest.approx(end - expected, abs=close)
            assert len(found) <= top + 1
    marks = next(t for t in figure.data if t.type == "scatter" and t.marker.symbol == "line-ns")
    np.testing.assert_allclose(marks.x, table.prediction)


def test_parts_are_sorted_and_the_others_joined():
    figure = viz.stacked(make_table([[1.0, 4.0, 2.0, 3.0, -1.0, -2.0]]), top=2)
    ups = [t for t in figure.data if t.type == "bar" and t.x[0] < 0]
    assert [float(-t.x[0]) for t in ups] == [4, 3, 3]
    assert "2 other features" in ups[-1].hovertext[0]
    assert ups[-1].opacity < 1
    downs = [t for t in figure.data if t.type == "bar" and t.x[0] > 0]
    assert [float(t.x[0]) for t in downs] == [2, 1]
    assert "feature 5 = 5" in downs[0].hovertext[0]


def test_texts_stand_only_where_they_fit():
    figure = viz.stacked(make_table([[10.0, 0.01, -0.01]]), width=700)
    texts = {t.hovertext[0].split("<br>")[1]: t.text[0] for t in figure.data if t.type == "bar"}
    assert texts["feature 0 = 0"] == "feature 0 = 0"
    assert texts["feature 1 = 1"] == ""


def test_what_cannot_be_stacked_says_so():
    with pytest.raises(InputError, match="not finite"):
        viz.stacked(make_table([[np.nan, 1.0]]))
    assert "the first 12 of 30 samples" in caption(viz.stacked(make_many()))


# -- dependence ------------------------------------------------------------------------------


def test_dots_are_values_against_contributions_with_their_errors():
    explanation = make_many()
    figure = viz.dependence(explanation, feature="age", color=False)
    (trace,) = figure.data
    np.testing.assert_allclose(trace.x, explanation.inputs[:, 0], rtol=1e-6)
    np.testing.assert_allclose(trace.y, explanation.values[:, 0], rtol=1e-6)
    np.testing.assert_allclose(trace.error_y.array, 0.05, rtol=1e-6)
    assert trace.customdata[3][0] == "id-3"
    assert figure.layout.xaxis.title.text == "age"
    assert "whiskers" in caption(figure)


def test_the_feature_that_changes_it_most_is_found():
    explanation = make_many(200)
    other, share = strongest(explanation, 0)
    assert explanation.feature_names[other] == "<b>city</b>"
    assert share > 0.9
    figure = viz.dependence(explanation, feature=0)
    assert [t.name for t in figure.data] == ["Ulm", "&lt;i&gt;Bern&lt;/i&gt;", "Rom"]
    assert "city</b>, which explains" in caption(figure)
    assert figure.layout.showlegend is True


@pytest.mark.parametrize("seed", range(5))
def test_a_product_is_told_from_noise(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(150, 5))
    values = np.zeros((150, 5))
    values[:, 0] = inputs[:, 0] * inputs[:, 3] + inputs[:, 0] ** 2
    values[:, 1] = 3 * inputs[:, 1]
    table = make_table(values, inputs=inputs)
    other, share = strongest(table, 0)
    assert other == 3
    assert 0.5 < share <= 1
    assert strongest(table, 1) == (None, 0.0)
    assert "no other feature" in caption(viz.dependence(table, feature=1))


def test_chance_explains_nothing():
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        table = make_table(rng.normal(size=(80, 10)), inputs=rng.normal(size=(80, 10)))
        found += strongest(table, 0)[0] is not None
    assert found <= 2


def test_categories_have_an_axis_of_their_own():
    explanation = make_many()
    figure = viz.dependence(explanation, feature="<b>city</b>")
    # Bern has the largest mean contribution, so it stands last.
    assert figure.layout.xaxis.ticktext[-1] == "&lt;i&gt;Bern&lt;/i&gt;"
    bern = explanation.inputs[:, 1] == 1
    x = np.concatenate([trace.x for trace in figure.data])
    assert (np.abs(x - np.round(x)) <= 0.4).all()
    assert (np.round(x) == 2).sum() == bern.sum()


def test_missing_values_stand_apart():
    explanation = make_many()
    figure = viz.dependence(explanation, feature="income", color=False)
    gap = np.isnan(explanation.inputs[:, 2])
    line = next(shape for shape in figure.layout.shapes if shape.x0 == shape.x1)
    assert (figure.data[0].x[gap] < line.x0).all()
    assert (figure.data[0].x[~gap] > line.x0).all()
    assert any(a.text == "missing" for a in figure.layout.annotations)
    hollow = viz.dependence(explanation, feature="age", color="income").data[-1]
    assert hollow.marker.symbol == "circle-open"
    assert len(hollow.x) == gap.sum()


def test_unknown_features_are_named():
    for wrong in ("weight", 4, -5, 1.5):
        with pytest.raises(InputError, match=r"is no feature.*age.*0 to 3"):
            viz.dependence(make_many(), feature=wrong)
    with pytest.raises(InputError, match="color='weight'"):
        viz.dependence(make_many(), color="weight")
    with pytest.raises(InputError, match="None to choose"):
        viz.dependence(make_many(), color=True)
    bare = make_many(inputs=None, categories=None)
    with pytest.raises(InputError, match="holds no feature's values"):
        viz.dependence(bare)
    with pytest.raises(InputError, match="not known"):
        viz.dependence(bare, feature="age")


def test_rounding_does_not_fill_the_plot():
    values = np.stack([np.ones(9), 1e-17 * np.arange(9)], axis=1)
    axis = viz.dependence(make_table(values), feature=1).layout.yaxis
    assert axis.range == (-1e-6, 1e-6)
    assert notes(viz.beeswarm(make_table(values)))[1] == "0"


# -- all samples as a map --------------------------------------------------------------------


def test_the_map_holds_every_value_under_its_prediction():
    explanation = make_many()
    figure = viz.sample_matrix(explanation)
    cells, line = figure.data[0], figure.data[1]
    order = np.argsort(-np.abs(explanation.values).mean(axis=0))
    ids = [row[0] for row in cells.customdata[0]]
    assert sorted(ids) == sorted(explanation.sample_ids)
    rows = [list(explanation.sample_ids).index(name) for name in ids]
    np.testing.assert_allclose(cells.z, explanation.values[rows][:, order].T, rtol=1e-6)
    np.testing.assert_allclose(line.y, explanation.prediction[rows], rtol=1e-6)
    assert [row[0] for row in line.customdata] == ids
    axis = figure.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert axis.cmid == 0


def test_orders_of_samples():
    explanation = make_many()
    figure = viz.sample_matrix(explanation, order="prediction")
    assert (np.diff(figure.data[1].y) >= 0).all()
    given = viz.sample_matrix(explanation, order="given")
    assert [row[0] for row in given.data[0].customdata[0]] == list(explanation.sample_ids)
    with pytest.raises(InputError, match="similarity, prediction, given"):
        viz.sample_matrix(explanation, order="size")
    bare = make_table(explanation.values, prediction=None, baseline_prediction=None)
    assert len(viz.sample_matrix(bare).data) == 1
    with pytest.raises(InputError, match="predictions are not known"):
        viz.sample_matrix(bare, order="prediction")


def test_like_samples_stand_side_by_side(rng):
    label = rng.integers(0, 4, 60)
    centres = 10 * np.eye(4)
    values = centres[label] + 0.1 * rng.normal(size=(60, 4))
    order = by_similarity(values)
    assert sorted(order.tolist()) == list(range(60))
    assert (np.diff(label[order]) != 0).sum() == 3  # each cluster in one piece
    line = np.arange(20.0)[:, None] * np.ones(3)
    shuffled = rng.permutation(20)
    assert (np.abs(np.diff(shuffled[by_similarity(line[shuffled])])) == 1).all()
    assert by_similarity(np.zeros((5, 2))).tolist() == [0, 1, 2, 3, 4]


# -- interactions ----------------------------------------------------------------------------


def test_all_samples_have_mean_magnitudes_and_one_its_signs():
    explanation = make_interactions(3, 5)
    figure = viz.interactions(explanation)
    mean = np.abs(explanation.values).mean(axis=0)
    order = np.argsort(-mean.sum(axis=1), kind="stable")
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(
        np.asarray(figure.data[0].z)[off], mean[np.ix_(order, order)][off], rtol=1e-5
    )
    assert np.isnan(np.asarray(figure.data[0].z)[~off]).all()
    assert figure.layout.coloraxis.cmin == 0
    assert figure.layout.coloraxis.cmax == pytest.approx(mean[off].max(), rel=1e-5)
    one = viz.interactions(explanation, sample=1)
    assert one.layout.coloraxis.cmin == -one.layout.coloraxis.cmax
    assert one.layout.coloraxis.cmid == 0
    assert one.data[0].customdata[0][0] == "id-1"
    # An explanation of one sample has signs in any case.
    assert viz.interactions(explanation[1]).layout.coloraxis.cmid == 0


def test_numbers_stand_in_the_cells_in_one_unit():
    values = np.array([[[1.0, 0.25, 0.0], [0.25, -2.0, 0.031], [0.0, 0.031, 0.5]]])
    explanation = make_interactions(1, 3, values=values)
    figure = viz.interactions(explanation)
    texts = next(t for t in figure.data if t.type == "scatter" and t.mode == "text")
    found = {
        (int(x), int(y)): text for x, y, text in zip(texts.x, texts.y, texts.text, strict=True)
    }
    ticks = [tick.split(" = ")[0] for tick in figure.layout.yaxis.ticktext]
    at = [ticks.index(f"feature {i}") for i in range(3)]
    assert found[at[0], at[1]] == "25"
    assert found[at[1], at[1]] == "−200"
    assert found[at[1], at[2]] == "3.1"
    assert found[at[0], at[2]] == "0.0"
    assert "numbers are times 0.01" in caption(figure)


def test_interactions_not_told_from_zero_are_small():
    errors = np.full((1, 3, 3), 0.01)
    errors[0, 0, 1] = errors[0, 1, 0] = 10
    figure = viz.interactions(make_interactions(1, 3, standard_error=errors))
    texts = next(t for t in figure.data if t.type == "scatter" and t.mode == "text")
    sizes = np.array(texts.textfont.size)
    assert (sizes < sizes.max()).sum() == 2
    assert "not told from zero" in caption(figure)


def test_the_largest_features_are_kept_and_groups_named(rng):
    figure = viz.interactions(make_interactions(4, 30), top=6)
    assert len(figure.layout.yaxis.ticktext) == 6
    assert "24 features with smaller" in caption(figure)
    crowded = viz.interactions(make_interactions(4, 30), top=30, width=600)
    assert not [t for t in crowded.data if t.type == "scatter" and t.mode == "text"]
    assert "too many features for numbers" in caption(crowded)
    masks = {name: np.arange(5) == i for i, name in enumerate("abcde")}
    groups = make_interactions(2, 5, axes=("sample", "group", "group"), groups=masks)
    assert sorted(viz.interactions(groups).layout.yaxis.ticktext) == list("abcde")
    with pytest.raises(InputError, match="every two features"):
        viz.interactions(make_many())
    with pytest.raises(InputError, match="position from 0 to 3"):
        viz.interactions(make_interactions(4, 3), sample=4)


# -- regions of pictures ---------------------------------------------------------------------


def test_each_region_has_the_colour_of_its_whole_value():
    explanation = make_regions([[1.0, -2.0, 0.5, 0.0]])
    figure = viz.image(explanation, clip=10)
    attribution = next(t for t in figure.data if t.coloraxis == "coloraxis")
    z = np.asarray(attribution.z)
    assert z.shape == (4, 6)
    assert (z[:2, :3] == 1).all()
    assert (z[:2, 3:] == -2).all()
    assert (z[2:, :3] == 0.5).all()
    assert figure.layout.coloraxis.cmax == 2  # a region is never clipped
    assert "each of the 4 regions has the colour of its whole value" in caption(figure)


@pytest.mark.parametrize("order", ["first", "last", "none"])
def test_regions_of_any_order_of_channels(order):
    label = np.arange(4).reshape(2, 2)
    shapes = {"first": (3, 2, 2), "last": (2, 2, 3), "none": (2, 2)}
    whole = {
        "first": np.broadcast_to(label, (3, 2, 2)),
        "last": np.broadcast_to(label[..., None], (2, 2, 3)),
        "none": label,
    }[order]
    masks = {str(i): whole == i for i in range(4)}
    inputs = np.zeros((1, *shapes[order]))
    found = painted(make_regions([[1.0, 2.0, 3.0, 4.0]], groups=masks, inputs=inputs))
    assert found.axes == ("sample", "row", "column")
    assert found.values.tolist() == [[[1, 2], [3, 4]]]


def test_groups_of_channels_add_up_where_they_meet():
    masks = {"red": np.zeros((3, 2, 2), bool), "others": np.ones((3, 2, 2), bool)}
    masks["red"][0, :, 0] = True
    masks["others"] &= ~masks["red"]
    explanation = make_regions([[1.0, 10.0]], groups=masks, inputs=np.zeros((1, 3, 2, 2)))
    explanation = dataclasses.replace(explanation, standard_error=np.array([[3.0, 4.0]]))
    found = painted(explanation)
    assert found.values.tolist() == [[[11, 10], [11, 10]]]
    assert found.standard_error.tolist() == [[[5, 4], [5, 4]]]


def test_regions_that_may_have_no_effect_are_counted():
    errors = np.array([[0.1, 0.1, 0.1, 0.1]])
    explanation = make_regions([[1.0, -2.0, 0.19, 0.0]], standard_error=errors)
    assert "2 of all values drawn are not told from zero" in caption(viz.image(explanation))


def test_regions_and_pixels_have_scales_of_their_own(rng):
    inputs = make_regions(np.ones((1, 4))).inputs
    pixels = make_images(rng.normal(size=(1, 2, 4, 6)), inputs=inputs)
    regions = make_regions([[50.0, 1, 1, 1]], class_names=None, target=np.zeros(1, int))
    figure = viz.compare({"pixels": pixels, "regions": regions})
    drawn = {t.coloraxis for t in figure.data if t.type == "heatmap"} - {"coloraxis99"}
    assert len(drawn) == 2
    assert "a large cell holds what several small ones do" in caption(figure)
    same = viz.compare({"a": regions, "b": regions})
    assert len({t.coloraxis for t in same.data if t.type == "heatmap"} - {"coloraxis99"}) == 1


def test_groups_of_a_table_are_no_regions():
    assert painted(grouped(make_many())).axes == ("sample", "group")


# -- what was really explained ---------------------------------------------------------------


@pytest.fixture(scope="module")
def forest():
    """A forest on wines, and its predictions of the second class for 25 of them."""
    data = load_wine()
    order = np.random.default_rng(0).permutation(len(data.data))
    X, y = data.data[order], data.target[order]
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    groups = {"colour": [9, 10], "acids": [1], "rest": [0, *range(2, 9), 11, 12]}
    options = {"background": X[::20], "target": 1, "feature_names": data.feature_names}
    return (
        pl.explain(model, X[:25], method="permutation_shapley", budget=80, **options),
        pl.explain(model, X[:25], method="shapley", groups=groups, **options),
        model.predict_proba(X[:25])[:, 1],
        model.predict_proba(X[::20])[:, 1].mean(),
    )


@pytest.mark.parametrize("which", [0, 1])
def test_figures_begin_and_end_where_the_model_does(forest, which):
    explanation, predicted, mean = forest[which], *forest[2:]
    found = paths(viz.decision(explanation))
    np.testing.assert_allclose([found[i][0][0] for i in range(25)], mean, atol=1e-6)
    np.testing.assert_allclose([found[i][0][-1] for i in range(25)], predicted, atol=1e-6)
    marks = viz.stacked(explanation, samples=25).data[-2:]
    np.testing.assert_allclose(marks[0].x, mean, atol=1e-6)
    np.testing.assert_allclose(marks[1].x, predicted, atol=1e-6)
    line = viz.sample_matrix(explanation, order="given").data[1]
    np.testing.assert_allclose(line.y, predicted, atol=1e-6)


def test_few_orders_leave_ties_and_all_coalitions_leave_none(forest):
    assert strokes(viz.beeswarm(forest[0]))
    assert not strokes(viz.beeswarm(forest[1]))
    assert viz.bar(forest[0]).data[0].error_x.array is not None
    assert viz.bar(forest[1]).data[0].error_x.array is None


# -- in a browser ----------------------------------------------------------------------------

CUT_OFF = """() => {
    const box = document.querySelector(".main-svg").getBoundingClientRect();
    const texts = [...document.querySelectorAll(".main-svg text")].filter(t => t.textContent);
    return texts.filter(t => {
        const own = t.getBoundingClientRect();
        return own.width && (own.left < box.left - 1 || own.right > box.right + 1
            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
    }).map(t => t.textContent);
}"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [700, 1280])
def test_no_text_is_cut_off_and_nothing_goes_wrong(browser, tmp_path, width):
    names = tuple(f"a long <b>name</b> & more, of the feature {i}" for i in range(20))
    wide = sampled(np.random.default_rng(0).normal(size=(25, 20)), 0.2, feature_names=names)
    both = make_interactions(3, 20, feature_names=names)
    figures = {name: draw(wide) for name, draw in DRAWS.items()}
    figures |= {"one": viz.decision(wide[3]), "up": viz.stacked(wide[3]), "mixed": viz.dependence(
        make_many(), feature="<b>city</b>"), "all": viz.interactions(both),
        "signed": viz.interactions(both, sample=1)}  # fmt: skip
    page = browser.new_page(viewport={"width": width, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for name, figure in figures.items():
        path = tmp_path / f"{name}.html"
        figure.write_html(path, include_plotlyjs="directory", config=theme.CONFIG)
        page.goto(path.as_uri())
        page.wait_for_selector(".main-svg .gtitle")
        assert page.evaluate(CUT_OFF) == [], name
    page.close()
    assert problems == []
