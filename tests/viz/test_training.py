"""Pictures of trainings hold what was recorded, stay small, and say what they leave out."""

import json
from dataclasses import replace
from math import erf

import numpy as np
import plotly.graph_objects as go
import pytest
from drawn import caption, lists_of_numbers, texts
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from training_runs import awkward, deep, train, transformer_layers
from viz_samples import EVIL

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Histograms, Pictures, Run, Watched
from pellucid.viz import theme
from pellucid.viz.pixels import png
from pellucid.viz.training import densities, grid, layers
from pellucid.viz.training.convergence import convergence
from pellucid.viz.training.curves import loss_curves, smooth
from pellucid.viz.training.gradients import gradient_flow
from pellucid.viz.training.pictures import run_pictures
from pellucid.viz.training.rates import learning_rate
from pellucid.viz.training.ridgelines import ridgelines
from pellucid.viz.training.statistics import layer_statistics, update_ratios
from pellucid.viz.training.watched import watched


@pytest.fixture(scope="module")
def run():
    """A small network that learned digits, measured by NumPy; and pictures of its progress."""
    pixels = [np.full((20, 30), 8 * k, np.uint8) for k in range(30)]
    encoded = tuple(np.frombuffer(png(one), np.uint8) for one in pixels)
    found = Pictures(np.arange(30.0) * 100, encoded)
    return replace(train(steps=64, batch=16), pictures={"samples": found})


@pytest.fixture(scope="module")
def large():
    """A hundred layers over ten thousand steps."""
    return deep(100, 10_000)


def every(run, histogram="6/weight", layer="0", **options):
    """Every figure of a run."""
    return {
        "loss_curves": loss_curves(run, smoothing=0.6, **options),
        "compared": loss_curves({"a": run, "b": [run, run]}, log_y=True, **options),
        "seconds": loss_curves([run, run], x="seconds", **options),
        "convergence": convergence(run, **options),
        "gradient_flow": gradient_flow(run, **options),
        "update_ratios": update_ratios(run, **options),
        "update_map": update_ratios(run, form="heatmap", **options),
        "learning_rate": learning_rate(run, **options),
        "ridgelines": ridgelines(run, histogram, **options),
        "density_map": ridgelines(run, [histogram, histogram], form="heatmap", **options),
        "layer_statistics": layer_statistics(run, "weight.gradient.max", **options),
        "layer_map": layer_statistics(run, form="heatmap", **options),
        "predictions": watched(run, **options),
        "maps": watched(run, layer, **options),
        "run_pictures": run_pictures(run, **options),
    }


def size(figure):
    return len(figure.to_json())


def named(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def simple(**metrics):
    return Run(
        metrics={
            name: (np.arange(len(values), dtype=float), np.asarray(values, float))
            for name, values in metrics.items()
        }
    )


# -- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_figure_has_its_theme_size_title_and_origin(run, look):
    for name, figure in every(run, theme=look, width=640, height=560, title="Mine").items():
        assert type(figure) is go.Figure, name
        found = theme.LIGHT if look == "light" else theme.DARK
        assert figure.layout.template.layout.paper_bgcolor == found.paper
        assert (figure.layout.width, figure.layout.height) == (640, 560)
        assert figure.layout.title.text == "Mine"
        assert figure.layout.meta["provenance"]["result"] == "Run"
        sent = json.loads(figure.to_json())
        assert not list(lists_of_numbers(sent)), name
        assert size(figure) < 250_000, name


def test_names_from_outside_are_text():
    for name, figure in every(awkward(), EVIL, EVIL).items():
        found = list(texts(figure.to_dict()))
        assert any("&lt;img" in text for text in found), name
        assert not [text for text in found if "<img" in text], name


def test_a_wrong_kind_of_result_is_refused(results):
    draws = [loss_curves, convergence, gradient_flow, update_ratios, learning_rate]
    draws += [layer_statistics, watched, run_pictures, lambda r: ridgelines(r, "a")]
    for draw in draws:
        with pytest.raises(InputTypeError, match="Importance"):
            draw(results["importance"])
        with pytest.raises(InputError, match="theme"):
            draw(results["run"], theme="pink") if draw is not draws[-1] else ridgelines(
                results["run"], "a", theme="pink"
            )


def test_what_was_not_recorded_is_an_error_that_says_what_there_is(results):
    bare = results["run"]
    for draw in (gradient_flow, update_ratios, layer_statistics):
        with pytest.raises(InputError, match=r"no statistic.*it holds none"):
            draw(bare)
    with pytest.raises(InputError, match="no histograms 'a'; there are none"):
        ridgelines(bare, "a")
    with pytest.raises(InputError, match="watched nothing"):
        watched(bare)
    with pytest.raises(InputError, match="has the pictures none"):
        run_pictures(bare)
    with pytest.raises(InputError, match="no learning rate"):
        learning_rate(bare)
    with pytest.raises(InputError, match="no clock"):
        loss_curves(bare, x="seconds")
    with pytest.raises(InputError, match=r"metric 'f1'.*'train_loss'"):
        loss_curves(bare, metrics=["f1"])
    with pytest.raises(InputError, match="no loss with finite values"):
        convergence(simple(accuracy=[1, 2]))
    with pytest.raises(InputError, match="best='lowest'"):
        convergence(simple(thing=[1, 2]), metric="thing")


def test_options_out_of_range_are_errors(run):
    wrong = [
        lambda: loss_curves(run, band="iqr"),
        lambda: loss_curves(run, x="time"),
        lambda: loss_curves(run, smoothing=1),
        lambda: loss_curves({}),
        lambda: loss_curves({"a": []}),
        lambda: convergence(run, best="least"),
        lambda: convergence({"a": [run, run]}),
        lambda: gradient_flow(run, step="last"),
        lambda: gradient_flow(run, step=np.nan),
        lambda: layer_statistics(run, form="bars"),
        lambda: ridgelines(run, "6/weight", form="violin"),
        lambda: ridgelines(run, "6/weight", scale="cube"),
        lambda: ridgelines(run, "6/weight", ridges=0),
        lambda: ridgelines(run, []),
        lambda: watched(run, sample=6),
        lambda: watched(run, form="bars"),
        lambda: watched(run, class_names=["a"]),
        lambda: run_pictures(run, "other"),
        lambda: run_pictures(run, pictures=25),
        lambda: layer_statistics(deep(100, 3), form="lines"),
    ]
    for draw in wrong:
        with pytest.raises(InputError):
            draw()


# -- losses ----------------------------------------------------------------------------------


def test_seeds_are_their_mean_with_a_band():
    runs = [simple(loss=values) for values in ([3, 2, 1], [5, 2, 3], [4, 5, 2])]
    figure = loss_curves({"a": runs})
    table = np.array([[3, 2, 1], [5, 2, 3], [4, 5, 2]], float)
    np.testing.assert_allclose(named(figure, "a").y, table.mean(axis=0), rtol=1e-6)
    band = figure.data[0]
    assert band.fill == "toself"
    mean, std = table.mean(axis=0), table.std(axis=0, ddof=1)
    outline = np.concatenate([mean - std, (mean + std)[::-1]])
    np.testing.assert_allclose(band.y, outline, rtol=1e-6)
    assert "mean of 3 repetitions" in caption(figure)
    assert "± one sample standard deviation" in caption(figure)
    whole = loss_curves({"a": runs}, band="range").data[0]
    np.testing.assert_allclose(whole.y, [3, 2, 1, 3, 5, 5], rtol=1e-6)
    assert loss_curves({"a": runs}, band=None).data[0].fill is None


def test_seeds_meet_on_the_steps_that_they_share():
    at = np.arange(10.0)
    short = Run(metrics={"loss": (at[:6], at[:6])})
    long = Run(metrics={"loss": (at, at + 2)})
    figure = loss_curves({"a": [short, long]})
    assert named(figure, "a").x.tolist() == at[:6].tolist()
    np.testing.assert_allclose(named(figure, "a").y, at[:6] + 1)
    assert "over the steps that all repetitions have" in caption(figure)
    odd = Run(metrics={"loss": (at + 0.5, 2 * (at + 0.5))})
    mixed = loss_curves({"a": [Run(metrics={"loss": (at, 2 * at)}), odd]})
    assert named(mixed, "a").x.tolist() == at[1:].tolist()
    np.testing.assert_allclose(named(mixed, "a").y, 2 * at[1:])
    assert "interpolated" in caption(mixed)
    apart = Run(metrics={"loss": (at + 100, at)})
    with pytest.raises(InputError, match="no steps in common"):
        loss_curves({"a": [short, apart]})


def test_a_seed_that_breaks_is_marked_and_the_others_go_on():
    figure = loss_curves({"a": [simple(loss=[1, 2, np.nan]), simple(loss=[3, 4, 5])]})
    np.testing.assert_allclose(named(figure, "a").y, [2, 3, 5])
    marks = named(figure, "a: 1 not finite")
    assert marks.x.tolist() == [2]
    assert "of those that are finite" in caption(figure)


def test_runs_have_colours_and_data_have_dashes():
    runs = {name: simple(train_loss=[2, 1], val_loss=[3, 2], f1=[0, 1]) for name in "ab"}
    figure = loss_curves(runs)
    lines = [t for t in figure.data if t.mode == "lines"]
    assert {(t.name, t.line.dash) for t in lines if t.yaxis == "y"} == {
        ("a", "solid"), ("a", "dash"), ("b", "solid"), ("b", "dash")
    }  # fmt: skip
    assert len({t.line.color for t in lines if t.name == "a"}) == 1
    assert len({t.line.color for t in lines}) == 2
    assert sum(t.showlegend for t in lines) == 2
    assert [figure.layout.yaxis.title.text, figure.layout.yaxis2.title.text] == ["loss", "f1"]
    assert "solid: training, dashed: validation" in caption(figure).lower()
    assert len([t for t in figure.data if t.marker.symbol == "star"]) == 2
    many = loss_curves([replace(runs["a"], name=str(k)) for k in range(20)])
    assert len({t.line.color for t in many.data if t.mode == "lines"}) == 20


def test_the_best_of_an_accuracy_is_its_highest():
    figure = loss_curves(simple(val_accuracy=[0.1, 0.9, 0.5], val_loss=[3, 1, 2]))
    best = {t.name for t in figure.data if t.marker.symbol == "star"}
    assert best == {"best: 0.9 at 1", "best: 1 at 1"}


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), st.floats(0, 0.99))
def test_smoothing_is_the_weighted_mean_of_the_past(values, weight):
    powers = weight ** np.arange(len(values))[::-1]
    for n in (1, len(values)):
        expected = np.average(values[:n], weights=powers[-n:] if weight else None)
        if not weight:
            expected = values[n - 1]
        assert smooth(values, weight)[n - 1] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_lines_are_smoothed_before_they_are_thinned():
    values = np.random.default_rng(0).normal(size=100_000)
    figure = loss_curves(simple(loss=values), smoothing=0.99)
    bold = named(figure, "loss (smoothed)")
    exact = smooth(values, 0.99)
    np.testing.assert_allclose(bold.y, exact[bold.x.astype(int)], rtol=1e-6)
    assert bold.y.max() == np.float32(exact.max())
    assert len(bold.x) <= 2000
    assert size(figure) < 120_000
    assert "0.99" in figure.layout.legend.title.text


def test_what_is_recorded_less_often_is_smoothed_over_as_many_steps():
    at = np.arange(40.0)
    loss, rare = np.sin(at), np.cos(at[::8])
    run = Run(metrics={"loss": (at, loss), "val_loss": (at[::8], rare), "lr": (at, loss)})
    figure = loss_curves(run, smoothing=0.9)
    np.testing.assert_allclose(named(figure, "loss (smoothed)").y, smooth(loss, 0.9), rtol=1e-5)
    less = smooth(rare, 0.9**8)
    np.testing.assert_allclose(named(figure, "val_loss (smoothed)").y, less, rtol=1e-5)
    assert "recorded less often over as many steps" in caption(figure)
    assert "lr (smoothed)" not in {t.name for t in figure.data}
    both = loss_curves([run, run], smoothing=0.9)
    bold = [t for t in both.data if t.line.dash == "dash" and t.opacity == 1]
    np.testing.assert_allclose(bold[0].y, less, rtol=1e-5)


def test_logarithmic_steps_and_seconds(run):
    figure = loss_curves(run, log_x=True)
    assert figure.layout.xaxis.type == "log"
    assert "step 0 has no place" in caption(figure).lower()
    timed = loss_curves(run, x="seconds", metrics=["loss"])
    np.testing.assert_allclose(timed.data[0].x, run.metrics["loss"][0] * 0.25)
    assert "seconds" in timed.layout.xaxis.title.text


# -- convergence -----------------------------------------------------------------------------


def test_convergence_says_when_the_best_was_reached():
    values = [5, 4, 3, np.nan, 2.01, 4, 2.0, 2.5, 3, 3, 3]
    figure = convergence(simple(val_loss=values))
    best = [5, 4, 3, 3, 2.01, 2.01, 2, 2, 2, 2, 2]
    np.testing.assert_allclose(named(figure, "best so far").y, best, rtol=1e-6)
    distance = named(figure, "above its best").y
    np.testing.assert_allclose(distance[:6], np.array(best[:6]) - 2, rtol=1e-5)
    assert np.isnan(distance[6:]).all()
    assert "best 2 at step 6 of 10, within 1 % of it since 4" in caption(figure).lower()
    assert "no better in the last quarter" in caption(figure)
    still = convergence(simple(loss=[10, 9, 8, 7, 6, 5, 4, 3, 2]))
    # Of 8 steps the last quarter is the last two: from 4 to 2.
    assert "better by 2 (50 %) in the last quarter" in caption(still)
    highest = convergence(simple(val_accuracy=[0.1, 0.9, 0.5]), metric="val_accuracy")
    np.testing.assert_allclose(named(highest, "best so far").y, [0.1, 0.9, 0.9], rtol=1e-6)


def test_the_gap_is_validation_behind_the_training_since_the_last_validation():
    at = np.arange(1.0, 7.0)
    run = Run(
        metrics={
            "train_loss": (at, np.array([6, 4, 3, 1, np.nan, 2.0])),
            "val_loss": (np.array([2.0, 4.0, 6.0]), np.array([7.0, 2.5, 5.0])),
        }
    )
    gap = named(convergence(run), "gap")
    np.testing.assert_allclose(gap.y, [7 - 5, 2.5 - 2, 5 - 2])
    assert gap.yaxis == "y3"
    accuracy = Run(
        metrics={name.replace("loss", "acc"): pair for name, pair in run.metrics.items()}
    )
    behind = named(convergence(accuracy, metric="val_acc"), "gap")
    np.testing.assert_allclose(behind.y, [-2, -0.5, -3])


# -- maps of layers --------------------------------------------------------------------------


def test_the_map_shows_every_norm_and_the_profile_one_step(run):
    figure = gradient_flow(run, step=21)
    norms = run.statistic("weight.gradient.norm")
    table = np.stack([values for _, values in norms.values()])
    cells = figure.data[0]
    assert list(cells.y) == list(norms)
    np.testing.assert_allclose(cells.z, np.log10(table), rtol=1e-5)
    assert cells.zsmooth is False
    assert figure.layout.coloraxis.cmin == pytest.approx(np.log10(table.min()))
    at = list(norms["0"][0]).index(20)
    np.testing.assert_allclose(named(figure, "norm").x, table[:, at], rtol=1e-6)
    smallest = run.statistic("weight.gradient.min")
    expected = np.array([values[at] for _, values in smallest.values()])
    np.testing.assert_allclose(named(figure, "smallest").x, np.abs(expected), rtol=1e-6)
    np.testing.assert_allclose(named(figure, "smallest").customdata[:, 0], expected, rtol=1e-6)
    assert set(named(figure, "smallest").marker.color) == {theme.LIGHT.negative}
    assert "at step 20 (dotted line), recorded next to 21" in caption(figure)
    last = gradient_flow(run)
    np.testing.assert_allclose(named(last, "norm").x, table[:, -1], rtol=1e-6)


def test_missing_zero_and_broken_are_not_values():
    at = np.arange(4.0)
    tracks = {
        "a": (at, np.array([1, 10, 100, 1000.0])),
        "b": (at[2:], np.array([1.0, 10.0])),
        "c": (at, np.array([0, np.nan, np.inf, 1])),
    }
    run = Run(metrics={}, layers={k: {"weight.gradient.norm": v} for k, v in tracks.items()})
    figure = gradient_flow(run)
    nan = np.nan
    np.testing.assert_array_equal(
        figure.data[0].z, [[0, 1, 2, 3], [nan, nan, 0, 1], [nan, nan, nan, 0]]
    )
    where = {"not recorded": (1, [0, 1]), "not finite": (2, [1, 2]), "exactly zero": (2, [0])}
    for name, (row, steps) in where.items():
        over = named(figure, name)
        marked = {(r, over.x[c]) for r, c in np.argwhere(over.z == 1)}
        assert marked == {(row, step) for step in steps}, name
        assert over.showlegend
    assert named(figure, "not recorded").colorscale[0][1] == theme.LIGHT.missing
    assert "2 of the values are not finite" in caption(figure)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 5), st.data())
def test_a_reduced_map_keeps_what_stands_out(steps, count, data):
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    at = np.arange(steps, dtype=float)
    tracks = {str(k): (at, random.normal(size=steps)) for k in range(count)}
    row, column = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, steps - 1))
    spike = data.draw(st.sampled_from([-50.0, 50.0, np.nan]))
    tracks[str(row)][1][column] = spike
    found = grid.reduce(tracks, logarithmic=False)
    assert found.values.shape[1] <= grid.COLUMNS
    place = column // found.across
    assert abs(found.steps[place] - column) <= found.across
    if np.isnan(spike):
        assert found.kinds[row, place] == grid.BROKEN
    else:
        assert found.values[row, place] == spike
    # Every value shown is one that was recorded in its stretch.
    for k in range(count):
        for c in range(found.values.shape[1]):
            part = tracks[str(k)][1][c * found.across : (c + 1) * found.across]
            assert found.kinds[k, c] == grid.BROKEN or found.values[k, c] in part


def test_more_layers_than_rows_are_joined_with_their_extremes():
    at = np.arange(3.0)
    tracks = {f"m.{k}": (at, np.full(3, 1.0)) for k in range(450)}
    tracks["m.301"] = (at, np.array([1, 1, 9.0]))
    found = grid.reduce(tracks, logarithmic=False)
    assert len(found.names) == 150
    assert found.values[100].tolist() == [1, 1, 9]
    assert found.names[100] == "m.300 … m.302"
    assert "3 neighbouring layers" in found.note()


def test_a_deep_model_stays_small_and_says_what_a_cell_is(large):
    for figure in (
        gradient_flow(large),
        update_ratios(large),
        layer_statistics(large),
        layer_statistics(large, "output.mean"),
    ):
        assert size(figure) < 1_000_000
        assert "of 32 recorded steps" in caption(figure)
        assert figure.layout.height < 1200
        ticks = figure.layout.yaxis.ticktext
        assert len(ticks) * 12 <= figure.layout.height
        assert all(len(tick) <= 32 for tick in ticks)
    worst = deep(200, 3000)
    for statistics in worst.layers.values():
        statistics["weight.gradient.norm"][1][::40] = np.nan
        statistics["weight.gradient.norm"][1][7::40] = 0
    assert size(gradient_flow(worst)) < 1_000_000


def test_layers_lose_what_they_share_and_stay_told_apart():
    names = transformer_layers(100)
    for width in (None, 420):
        short = layers.labels(names, width)
        assert len(set(short)) == 100
        assert not any(label.startswith("encoder") for label in short)
    assert layers.beginning(names) == "encoder.layers."
    assert layers.beginning(["a.b", "ab.c"]) == ""
    assert layers.labels(["", "x" * 99], None)[0] == "(the model)"
    assert len(set(layers.full(["a", "a "]))) == 2


def test_lines_for_few_layers_and_a_map_for_many(run, large):
    few = layer_statistics(run, "weight.std")
    for layer, (steps, values) in run.statistic("weight.std").items():
        np.testing.assert_allclose(named(few, layer).x, steps)
        np.testing.assert_allclose(named(few, layer).y, values, rtol=1e-6)
    assert layer_statistics(large).data[0].type == "heatmap"
    assert layer_statistics(run, "weight.std", form="heatmap").data[0].type == "heatmap"


def test_scales_fit_what_they_show(large):
    dead = layer_statistics(large).layout.coloraxis
    assert (dead.cmin, dead.cmax) == (0, 1)
    signed = layer_statistics(large, "output.mean").layout.coloraxis
    assert signed.cmin == -signed.cmax
    assert signed.cmid == 0
    ratios = update_ratios(large).layout.coloraxis
    assert ratios.cmid == pytest.approx(-3)
    assert ratios.cmax + ratios.cmin == pytest.approx(-6)
    flat = Run(metrics={}, layers={"a": {"output.dead": (np.arange(3.0), np.zeros(3))}})
    assert layer_statistics(flat).layout.yaxis.range[0] > -0.05


def test_the_rule_of_thumb_is_drawn_around_a_thousandth(run):
    figure = update_ratios(run)
    band, rule = figure.layout.shapes
    assert band.y0 * band.y1 == pytest.approx(1e-6)
    assert band.y1 / band.y0 == pytest.approx(10)
    assert rule.y0 == rule.y1 == 1e-3
    low, high = figure.layout.yaxis.range
    assert low < -3 < high
    assert "Karpathy" in caption(figure)


# -- distributions ---------------------------------------------------------------------------


def area(trace):
    """The area of a ridge's polygon, by the shoelace formula."""
    x, y = np.asarray(trace.x, float), np.asarray(trace.y, float)
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def histogram_run(*parts):
    steps = np.arange(len(parts), dtype=float)
    edges, counts = zip(*(map(np.asarray, part) for part in parts), strict=True)
    return Run(metrics={}, histograms={"w": Histograms(steps, edges, counts)})


def test_ridges_of_unlike_bins_have_the_same_area_and_the_right_heights():
    run = histogram_run(([0.0, 1, 3], [10.0, 10]), ([-1.0, 0, 0.5, 4], [100.0, 100, 0]))
    figure = ridgelines(run, "w", scale="linear")
    one, two = figure.data
    assert area(one) == pytest.approx(area(two), rel=1e-5)
    heights = np.unique(np.round(-(np.asarray(one.y, float)), 5))
    # Densities 1/2 and 1/4 of the first; 1/2 and 1 of the second.
    assert heights[2] == pytest.approx(2 * heights[1], rel=1e-4)
    second = np.unique(np.round(1 - np.asarray(two.y, float), 5))
    assert second[-1] == pytest.approx(2 * heights[2], rel=1e-4)
    assert two.x.max() == 0.5  # empty bins at the end are not drawn


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1e6)),
    st.sampled_from(["linear", "log", "auto"]),
    st.integers(1, 100),
)
def test_densities_hold_all_values_on_any_axis(counts, scale, cells):
    edges = np.sort(np.random.default_rng(len(counts)).normal(size=len(counts) + 1))
    one = densities.bins(edges, counts)
    if one is None:
        assert not counts.any()
        return
    assert one.counts.sum() == pytest.approx(counts.sum())
    axis = densities.choose([one], scale)
    shares = densities.rebinned(one, axis, densities.cells(axis, cells))
    assert shares.shape == (cells,)
    assert shares.sum() == pytest.approx(1)
    assert (shares >= -1e-12).all()
    values = np.array([axis.low, axis.high, 0.3])
    np.testing.assert_allclose(axis.values(axis.place(values)), values, rtol=1e-6)


def test_bins_that_narrow_towards_zero_show_the_shape_of_the_values():
    # Bins as floats are spaced: a handful of values around zero lie in a bin of 1e-9.
    ends = np.concatenate([[0], 2.0 ** np.arange(-30, 3, 0.25)])
    edges = np.concatenate([-ends[:0:-1], ends])
    normal = np.vectorize(lambda z: (1 + erf(z / np.sqrt(2))) / 2)
    counts = np.rint(1e6 * np.diff(normal(edges)))
    counts[len(ends) - 2 : len(ends)] += 5
    figure = ridgelines(histogram_run((edges, counts)), "w", scale="linear")
    drawn = figure.data[0]
    middles, shares = drawn.customdata[1:-1:2].T
    width = np.diff(middles).mean()
    exact = normal(middles + width / 2) - normal(middles - width / 2)
    np.testing.assert_allclose(shares, exact, atol=0.006)
    assert "cut" not in caption(figure)


def test_many_narrow_bins_leave_every_value_in_its_place():
    # As recorded: most gradients are exactly zero, a few hundred bins go down to 1e-9.
    ends = 10.0 ** np.arange(-9, -1, 0.05)
    edges = np.concatenate([-ends[::-1], [-1e-38, 1e-38], ends])
    counts = np.ones(len(edges) - 1)
    counts[len(ends)] = 1e5
    for scale in ("linear", "log"):
        figure = ridgelines(histogram_run((edges, counts)), "w", scale=scale)
        middles, shares = figure.data[0].customdata.T
        assert abs(middles[shares.argmax()]) <= 1.01 * np.abs(middles).min()
        assert shares.max() > 0.4


@pytest.mark.parametrize("value", [0.0, 1e-38, 3.0, -1e20])
def test_a_constant_has_an_axis_around_it(value):
    figure = ridgelines(histogram_run(([value, value], [7.0]), ([value, value], [7.0])), "w")
    low, high = figure.layout.xaxis.range
    assert low < value < high
    assert figure.data[0].customdata[:, 1].sum() >= 1


def test_a_needle_does_not_flatten_the_rest():
    # Half of what a ReLU puts out is zero.
    part = (np.array([0, 1e-9, *np.linspace(0.02, 1, 40)]), np.array([40.0, *np.ones(40)]))
    part[1][1] = 1
    figure = ridgelines(histogram_run(part, part), "w")
    heights = 1 - np.asarray(figure.data[1].y, float)
    assert np.median(heights) > 0.3 * heights.max()
    assert "are cut (in 2 ridges)" in caption(figure)
    assert "logarithmic" not in caption(figure)
    shown = ridgelines(histogram_run(part, part), "w", form="heatmap")
    assert "of the cells are above" in caption(shown)


def test_a_map_of_densities_spreads_bins_over_its_cells():
    run = histogram_run(([0.0, 1, 2], [3.0, 1]), ([0.0, 2], [4.0]))
    cells = ridgelines(run, "w", form="heatmap", scale="linear").data[0].z
    half = len(cells) // 2
    np.testing.assert_allclose(cells[:half, 0], 1, rtol=1e-5)
    np.testing.assert_allclose(cells[half:, 0], 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(cells[:, 1], 2 / 3, rtol=1e-5)


def test_ridges_are_chosen_evenly_and_the_axis_by_the_values(run):
    figure = ridgelines(run, "6/weight", ridges=5)
    assert len(figure.data) == 5
    assert "5 of 32 recorded steps, evenly chosen" in caption(figure)
    assert figure.data[0].name == "step 0"
    assert figure.data[-1].name == "step 62"
    wide = histogram_run(
        (np.array([-10, -1e-3, -1e-4, 1e-4, 1e-3, 10]), np.array([1, 9, 80, 9, 1.0]))
    )
    assert "signed logarithmic" in caption(ridgelines(wide, "w"))
    assert "logarithmic" not in caption(ridgelines(wide, "w", scale="linear"))


def test_empty_and_unbounded_histograms_are_said():
    run = histogram_run(
        ([0.0, 1], [0.0]), ([-1.7976931348623157e308, 0, 1, 2], [5.0, 1, 1]), ([1.0, 1.0], [4.0])
    )
    figure = ridgelines(run, "w")
    assert len(figure.data) == 2
    assert "1 recorded histograms are empty" in caption(figure)
    assert "5 values lie in bins without an end" in caption(figure)
    with pytest.raises(InputError, match="hold no values"):
        ridgelines(histogram_run(([0.0, 1], [0.0])), "w")


# -- learning rate, samples, pictures --------------------------------------------------------


def test_the_learning_rate_stands_above_the_loss_and_its_jumps_go_through_both(run):
    figure = learning_rate(run)
    np.testing.assert_allclose(
        named(figure, "learning_rate").y, run.metrics["learning_rate"][1], rtol=1e-6
    )
    assert {t.yaxis for t in figure.data if t.name in ("loss", "val_loss")} == {"y2"}
    # The rate is recorded after the scheduler's step.
    assert [shape.x0 for shape in figure.layout.shapes] == [31, 47]
    assert figure.layout.yaxis.type == "log"
    cosine = simple(lr=0.1 * (1 + np.cos(np.linspace(0, 3.1, 50))), loss=np.ones(50))
    assert not learning_rate(cosine).layout.shapes
    same = simple(**{"learning_rate/0": [1, 1], "learning_rate/1": [1, 1], "loss": [1, 2]})
    twice = learning_rate(same)
    assert "1 more group of parameters has the same rates" in caption(twice)


def test_predictions_are_lines_of_each_class_in_each_samples_panel(run):
    figure = watched(run, samples=2, class_names=[f"digit {i}" for i in range(10)])
    assert len(figure.data) == 20
    values = run.watched["prediction"].values
    np.testing.assert_allclose(figure.data[13].y, values[:, 1, 3], rtol=1e-6)
    assert figure.data[13].name == "digit 3"
    assert figure.data[13].customdata[0][0] == 1601
    assert "2 of 6 samples shown" in caption(figure)
    areas = watched(run, sample=0, form="stacked")
    assert all(trace.stackgroup == "one" for trace in areas.data)
    assert areas.layout.yaxis.range == (0, 1)
    scores = Watched(np.arange(3.0), np.random.default_rng(0).normal(size=(3, 1, 4)))
    with pytest.raises(InputError, match="probabilities"):
        watched(replace(run, watched={"prediction": scores}), form="stacked")


def test_of_many_classes_the_others_are_added_up():
    values = np.random.default_rng(0).dirichlet(np.ones(40), size=(600, 2))
    run = Run(metrics={}, watched={"prediction": Watched(np.arange(600.0), values)})
    figure = watched(run, form="stacked", sample=1)
    shown = np.array([trace.y for trace in figure.data])
    np.testing.assert_allclose(shown.sum(axis=0), 1, atol=1e-5)
    assert len(figure.data) == 10
    assert "9 of 40 classes shown" in caption(figure)
    assert "400 of 600 recorded steps" in caption(figure)


def test_feature_maps_are_tiles_of_one_range(run):
    figure = watched(run, "0", sample=1, times=4, channels=3)
    found = run.watched["0"]
    plane = figure.data[0].z
    times, channels = [0, 10, 21, 31], [0, 2, 5]
    assert plane.shape == (3 * 8 + 2, 4 * 8 + 3)
    for i, time in enumerate(times):
        for j, channel in enumerate(channels):
            tile = plane[9 * j : 9 * j + 8, 9 * i : 9 * i + 8]
            np.testing.assert_allclose(tile, found.values[time, 1, channel], rtol=1e-6)
    assert np.isnan(plane[8]).all()
    assert len(figure.data) == 1
    assert list(figure.layout.xaxis.ticktext) == ["0", "20", "42", "62"]
    assert "4 of 32 recorded steps" in caption(figure)
    assert "3 of 6 channels" in caption(figure)
    signed = watched(awkward(), EVIL)
    assert signed.layout.coloraxis.cmin == -signed.layout.coloraxis.cmax
    assert "4 of the values drawn are not finite" in caption(signed)


def test_large_feature_maps_and_many_steps_stay_small():
    maps = np.random.default_rng(0).normal(size=(50, 1, 64, 56, 56)).astype(np.float32)
    steps = np.random.default_rng(0).dirichlet(np.ones(10), size=(100_000, 2)).astype(np.float32)
    run = Run(
        metrics={},
        watched={
            "conv": Watched(np.arange(50.0), maps),
            "units": Watched(np.arange(100_000.0), steps[..., :4]),
            "prediction": Watched(np.arange(100_000.0), steps),
        },
    )
    assert size(watched(run, "conv")) < 1_000_000
    assert "largest magnitude of 2 x 2" in caption(watched(run, "conv"))
    assert size(watched(run)) < 400_000
    assert size(watched(run, "units")) < 100_000


def test_pictures_are_links_that_hold_them(run):
    figure = run_pictures(run, pictures=6)
    sources = [image.source for image in figure.layout.images]
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "6 of 30 recorded pictures" in caption(figure)
    assert "step 2,900" in [a.text for a in figure.layout.annotations]
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x05\x00\x07" + b"\0" * 20
    gif = b"GIF89a\x07\x00\x05\x00" + b"\0" * 9
    html = b"<script>alert(1)</script>"
    mixed = Pictures(np.arange(3.0), tuple(np.frombuffer(b, np.uint8) for b in (jpeg, gif, html)))
    found = run_pictures(replace(run, pictures={"a": mixed}))
    assert [i.source.split(";")[0] for i in found.layout.images] == [
        "data:image/jpeg", "data:image/gif"
    ]  # fmt: skip
    assert "1 are no PNG, JPEG or GIF files" in caption(found)
    bad = Pictures(np.zeros(1), (np.frombuffer(html, np.uint8),))
    with pytest.raises(InputError, match="none of the pictures"):
        run_pictures(replace(run, pictures={"a": bad}))


# -- odd runs --------------------------------------------------------------------------------

anything = st.floats(width=64) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])
ODD = [
    lambda run: loss_curves(run, smoothing=0.5, log_x=True, log_y=True),
    lambda run: loss_curves({"a": [run, run], "b": run}, log_y=True),
    lambda run: loss_curves([run], x="seconds"),
    gradient_flow,
    update_ratios,
    lambda run: update_ratios(run, form="heatmap", log_x=True),
    layer_statistics,
    lambda run: layer_statistics(run, form="heatmap"),
    learning_rate,
    watched,
    lambda run: convergence(run, metric="lr", best="lowest", log_x=True),
]


@settings(max_examples=33, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(st.data(), st.integers(1, 6), st.sampled_from(ODD))
def test_any_run_has_its_pictures(data, steps, draw):
    values = lambda: data.draw(arrays(np.float64, steps, elements=anything))
    at = np.sort(data.draw(arrays(np.float64, steps, elements=st.integers(-3, 10**6))))
    names = [f"weight.gradient.{s}" for s in ("norm", "min", "max", "mean")]
    tracks = {name: (at, values()) for name in (*names, "weight.update_ratio", "output.dead")}
    rate = values()
    rate[-1] = 1  # a metric without anything finite does not converge, which is an error
    run = Run(
        metrics={"loss": (at, values()), "val_loss": (at, values()), "lr": (at, rate)},
        layers={"a": tracks, "b": tracks},
        clock=(at, np.arange(steps, dtype=float)),
        watched={"prediction": Watched(at, np.stack([values(), values()], axis=1)[:, None])},
    )
    with np.errstate(all="ignore"):
        figure = draw(run)
    json.loads(figure.to_json())
    assert figure.layout.height > 100


# -- in a browser ----------------------------------------------------------------------------

DRAW = """async ([data, layout, config]) => {
    document.body.innerHTML = '<div id="plot"></div>';
    await Plotly.newPlot("plot", data, layout, config);
    const box = document.querySelector(".main-svg").getBoundingClientRect();
    const texts = [...document.querySelectorAll(".main-svg text")].filter(t => t.textContent);
    const cut = texts.filter(t => {
        const own = t.getBoundingClientRect();
        return own.width && (own.left < box.left - 1 || own.right > box.right + 1
            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
    }).map(t => t.textContent);
    const marks = document.querySelectorAll(
        ".trace path, .heatmaplayer image, .imagelayer image, .points path").length;
    const title = document.querySelector(".gtitle").getBoundingClientRect();
    const legend = document.querySelector(".legend")?.getBoundingClientRect();
    return {cut, marks, over: !!legend && legend.height > 0 && legend.top < title.bottom - 2};
}"""


@pytest.mark.browser
def test_every_figure_is_drawn_whole_in_a_browser(browser, tmp_path, run):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    path = tmp_path / "plots.html"
    go.Figure().write_html(path, include_plotlyjs="directory", config=theme.CONFIG)
    page.goto(path.as_uri())
    page.wait_for_function("window.Plotly !== undefined")
    figures = {f"{n} 700": f for n, f in every(run, width=700).items()}
    figures |= {f"{n} odd": f for n, f in every(awkward(), EVIL, EVIL, width=420).items()}
    figures["deep 420"] = gradient_flow(deep(100, 400), width=420, theme="dark")
    figures["ratios 1280"] = update_ratios(deep(100, 400), width=1280)
    for name, figure in figures.items():
        sent = json.loads(figure.to_json())
        found = page.evaluate(DRAW, [sent["data"], sent["layout"], theme.CONFIG])
        assert found["cut"] == [], name
        assert found["marks"] > 0, name
        assert not found["over"], name
    page.close()
    assert problems == []
