"""Pictures of data: what they draw is what NumPy, pandas and SciPy count, and stays small."""

import base64
import datetime as dt
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from drawn import caption, lists_of_numbers, texts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.datasets import load_iris
from viz_samples import EVIL, FILL, MATH

import pellucid as pl
from pellucid.errors import InputError, InputTypeError
from pellucid.viz import data as view
from pellucid.viz import scale, theme
from pellucid.viz.data.columns import convert
from pellucid.viz.data.correlations import correlations
from pellucid.viz.data.pictures import as_pictures
from pellucid.viz.data.prepare import aggregate
from pellucid.viz.data.table import read

polars = pytest.importorskip("polars")
FUNCTIONS = {name: getattr(view, name) for name in view.__all__}
finite = st.floats(-1e6, 1e6, allow_subnormal=False)


def size(figure):
    return len(figure.to_json())


@pytest.fixture(scope="module")
def people():
    """A table with all that real ones have: gaps, categories, long names, skewed numbers."""
    rng = np.random.default_rng(1)
    n = 300
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(4, 8, n).round()),
            "fare": rng.lognormal(3, 1, n),
            "class": rng.choice(["first", "second", "third"], n),
            "sex": rng.choice(["female", "male"], n),
            "city": rng.choice([EVIL, "Rome", "a name of a place longer than any other"], n),
            "joined": pd.Timestamp("2020-02-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        }
    )
    frame.loc[::20, "city"] = None
    return frame


@pytest.fixture(scope="module")
def million():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_000_000)
    return {"x": x, "y": x / 2 + rng.normal(size=len(x))}


# -- the scale policy --------------------------------------------------------------------------


@given(arrays(np.float64, st.integers(1, 300), elements=finite), st.none() | st.integers(1, 50))
def test_no_value_is_lost_in_bins(values, bins):
    edges = scale.bin_edges(values, bins)
    assert (np.diff(edges) > 0).all() or values.min() == values.max() == 0
    assert len(edges) - 1 <= max(scale.BINS, bins or 0)
    assert edges[0] <= values.min()
    assert edges[-1] >= values.max()
    assert scale.counts(values, edges).sum() == len(values)


@given(arrays(np.int64, st.integers(1, 200), elements=st.integers(-1000, 1000)))
def test_bins_of_whole_numbers_hold_as_many_of_them_each(values):
    edges = scale.bin_edges(values.astype(float))
    widths = np.diff(edges)
    assert (widths == widths[0]).all()
    assert widths[0] == int(widths[0])
    assert (edges - 0.5 == np.rint(edges - 0.5)).all()


def test_few_whole_numbers_have_bins_of_their_own():
    values = np.array([3.0, 3, 5, 9, 9, 9])
    edges = scale.bin_edges(values)
    assert edges.tolist() == np.arange(2.5, 10).tolist()
    assert scale.counts(values, edges).tolist() == [2, 0, 1, 0, 0, 0, 3]


def test_bins_follow_freedman_and_diaconis(rng):
    values = rng.normal(size=5000)
    found = len(scale.bin_edges(values)) - 1
    assert abs(found - (len(np.histogram_bin_edges(values, "fd")) - 1)) <= 1
    far = np.append(values, 1e9)
    assert len(scale.bin_edges(far)) - 1 == scale.BINS
    with pytest.raises(InputError, match="divide them"):
        scale.bin_edges(np.array([-1.7e308, 1.7e308]))


@given(arrays(np.float64, st.integers(1, 300), elements=finite))
def test_boxes_have_quartiles_and_all_outliers(values):
    found = scale.box(values, most=10)
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    np.testing.assert_allclose([found.q1, found.median, found.q3], [q1, median, q3])
    outside = (values < q1 - 1.5 * (q3 - q1)) | (values > q3 + 1.5 * (q3 - q1))
    assert found.outside == outside.sum()
    assert len(found.outliers) == min(10, outside.sum())
    assert outside[found.outliers].all()
    reached = np.append(values[found.outliers], [found.low, found.high])
    # Whatever is left out, the farthest are drawn.
    assert reached.min() <= values.min() + 1e-9
    assert reached.max() >= values.max() - 1e-9


def test_boxes_are_those_of_matplotlib_and_others():
    found = scale.box(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 30]))
    assert (found.q1, found.median, found.q3) == (3.25, 5.5, 7.75)
    assert (found.low, found.high, found.outside) == (1, 9, 1)
    assert found.outliers.tolist() == [9]


@given(arrays(np.float64, st.tuples(st.integers(1, 200), st.just(2)), elements=finite))
def test_densities_add_up(points):
    x, y = points.T
    counts = scale.density(x, y, (x.min(), x.max()), (y.min(), y.max()), (7, 5))
    assert counts.shape == (7, 5)
    assert counts.sum() == len(points)


def test_densities_are_those_of_numpy(rng):
    x, y = rng.normal(size=(2, 10_000))
    ends = [(float(v.min()), float(v.max())) for v in (x, y)]
    expected, _, _ = np.histogram2d(y, x, bins=(30, 40), range=[ends[1], ends[0]])
    assert np.abs(scale.density(x, y, *ends, (30, 40)) - expected).sum() <= 4  # rounding at edges


@given(arrays(np.float64, st.integers(1, 3000), elements=finite | st.just(np.nan)))
def test_decimated_lines_keep_extremes_and_gaps(values):
    kept = scale.decimate(values, 100)
    assert (np.diff(kept) > 0).all()
    assert np.isnan(values[kept]).any() == np.isnan(values).any()
    if np.isfinite(values).any():
        assert np.nanmin(values[kept]) == np.nanmin(values)
        assert np.nanmax(values[kept]) == np.nanmax(values)


def test_arrays_are_short_where_nobody_sees_it():
    assert scale.typed(np.linspace(0, 1, 5)).dtype == np.float32
    assert scale.typed(np.arange(5)).dtype == np.int32
    assert scale.typed(np.array([True])).dtype == np.uint8
    seconds = 1.6e9 + np.arange(5.0)
    for values in (seconds, np.array([1e300, 0]), np.array([1e-300, 0]), np.array([2**40, 0])):
        np.testing.assert_array_equal(scale.typed(values), values)


def test_clouds_are_drawn_by_their_size():
    kinds = [scale.cloud(n) for n in (1, 5000, 5001, 200_000, 200_001)]
    assert kinds == ["svg", "svg", "webgl", "webgl", "density"]
    assert scale.sample(5, 10).tolist() == [0, 1, 2, 3, 4]
    found = scale.sample(1000, 10)
    assert len(np.unique(found)) == 10
    assert found.tolist() == scale.sample(1000, 10).tolist()


# -- reading data ------------------------------------------------------------------------------


def test_the_same_table_from_everything():
    numbers = np.array([[1.0, 2], [np.nan, 4], [5, 6]])
    names = ["a", "b"]
    for data in (
        pd.DataFrame(numbers, columns=names),
        polars.DataFrame({"a": [1.0, None, 5], "b": [2.0, 4, 6]}),
        {"a": [1, None, 5], "b": numbers[:, 1]},
        {"a": pd.Series([1, None, 5], dtype="Int64"), "b": polars.Series([2, 4, 6])},
        np.rec.fromarrays(numbers.T, names=names),
    ):
        table = read(data)
        assert table.names == ("a", "b")
        np.testing.assert_array_equal(table.column(0).values, numbers[:, 0])
        np.testing.assert_array_equal(table.column(1).values, numbers[:, 1])
    assert read(numbers).names == ("column 0", "column 1")
    assert read([1, 2]).names == ("value",)


def test_kinds_of_columns():
    day = dt.date(2020, 1, 2)
    cases = [
        ([1, 2.5, None], "number", [1, 2.5, np.nan]),
        (np.array([1, 2], np.float16), "number", [1, 2]),
        (["b10", "b2", None], "category", [1, 0, np.nan]),
        ([True, None, False], "category", [1, np.nan, 0]),
        ([day, None], "date", [1577923200000, np.nan]),
        (np.array(["2020-01-02", "NaT"], "M8[D]"), "date", [1577923200000, np.nan]),
        (np.array([1, 2], "m8[m]"), "number", [60, 120]),
        (["a", 1, float("nan")], "category", [1, 0, np.nan]),
    ]
    for given_, kind, values in cases:
        column = convert(
            "x", np.array(given_, dtype=object) if isinstance(given_, list) else given_
        )
        assert column.kind == kind, given_
        np.testing.assert_array_equal(column.values, values)
    zoned = read(pd.DataFrame({"t": pd.to_datetime(["2020-01-01"]).tz_localize("Europe/Berlin")}))
    assert zoned.column(0).said(zoned.column(0).values[0]) == "2019-12-31 23:00"
    assert zoned.column(0).unit == "UTC"
    ordered = pd.Categorical(["lo", "hi"], categories=["lo", "mid", "hi"], ordered=True)
    assert read({"c": pd.Series(ordered)}).column(0).levels == ("lo", "mid", "hi")


def test_a_dataset_has_its_target_as_a_column():
    wine = pl.datasets.load_wine()
    table = read(wine)
    assert table.names == (*wine.feature_names, "target")
    assert table.column(13).levels == wine.class_names
    np.testing.assert_array_equal(table.column(13).values, wine.targets)
    assert "each feature minus its mean" in caption(view.histogram(wine.standardized()))
    digits = read(pl.datasets.load_digits())
    assert digits.names[:2] == ("0, 0, 0", "0, 0, 1")


def test_ids_are_those_of_the_data():
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [4, 5, 6]}, index=["a", "<b>", "c"])
    points = view.scatter(frame).data[0]
    assert points.customdata[:, 0].tolist() == ["a", "<b>", "c"]
    assert points.text[1] == "&lt;b&gt;"
    dataset = pl.datasets.load_wine().subset([5, 7, 9])
    assert view.scatter(dataset).data[0].customdata[:, 0].tolist() == [5, 7, 9]
    gaps = view.scatter({"x": [1, None, 3], "y": [1, 2, 3]})
    assert gaps.data[0].customdata[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_what_is_no_data_is_refused(name):
    draw = FUNCTIONS[name]
    for wrong, words in [
        (3, "type int"),
        ("text", "type str"),
        (polars.LazyFrame({"a": [1]}), "collect"),
        (np.array([1j, 2]), "complex|at least two"),
        ({"a": "text"}, "one list or array"),
    ]:
        with pytest.raises((InputTypeError, InputError), match=words):
            draw(wrong)
    for wrong, words in [
        (np.zeros((0, 3)), "empty"),
        ([[1, 2], [3]], "ragged"),
        ({"a": [1, 2], "b": [1]}, "'a' 2, 'b' 1"),
        ({"a": [[1], [2]]}, "one axis"),
        (np.zeros((2, 5, 4, 4)), r"\(2, 5, 4, 4\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
    ]:
        with pytest.raises(InputError, match=words):
            draw(wrong)
    good = np.arange(20.0).reshape(10, 2)
    for options, words in [
        ({"theme": "pink"}, "theme"),
        ({"width": 5}, "width"),
    ]:
        with pytest.raises(InputError, match=words):
            draw(good, **options)


@pytest.mark.parametrize("name", ["bar", "box", "histogram", "line", "scatter"])
def test_a_column_that_is_not_there_is_named_with_others(people, name):
    with pytest.raises(InputError, match=r"x='fares'.*'age', 'fare'"):
        FUNCTIONS[name](people, x="fares")
    with pytest.raises(InputError, match="from 0 to 5"):
        FUNCTIONS[name](people, x=6)
    with pytest.raises(InputTypeError, match="float"):
        FUNCTIONS[name](people, x=1.5)
    with pytest.raises(InputError, match="missing is"):
        FUNCTIONS[name](people, x="fare", missing="keep")
    with pytest.raises(InputError, match="scale is"):
        FUNCTIONS[name](people, x="fare", scale="cubic")


def test_texts_where_numbers_are_needed(people):
    for draw, options in [(view.box, {"y": "sex"}), (view.line, {"y": "sex"}),
                          (view.bar, {"x": "class", "y": "sex"}),
                          (view.heatmap, {"columns": ["age", "sex"]})]:  # fmt: skip
        with pytest.raises(InputError, match="'sex' holds categories or texts"):
            draw(people, **options)
    with pytest.raises(InputError, match=r"viz\.data\.bar"):
        view.histogram(people, x="sex")


# -- awkward numbers ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("kind", ["constant", "tiny", "huge", "offset", "infinite", "gaps", "few"])
def test_awkward_numbers_are_drawn(name, kind):
    table = np.random.default_rng(0).normal(size=(50, 3))
    table = {
        "constant": np.full((50, 3), 7.0),
        "tiny": table * 1e-300,
        "huge": table * 1e300,
        "offset": 1.6e9 + table,
        "infinite": np.where(np.arange(150).reshape(50, 3) % 40 == 3, np.inf, table),
        "gaps": np.where(np.arange(150).reshape(50, 3) % 7 == 3, np.nan, table),
        "few": table[:2],
    }[kind]
    for how in (None, *(["standard"] if name not in ("auto", "heatmap") else [])):
        figure = FUNCTIONS[name](table, **({} if name in ("auto", "heatmap") else {"scale": how}))
        json.loads(figure.to_json())
    if kind == "infinite":
        assert "infinite" in caption(figure)


def test_one_row(people):
    one = people[:1]
    for draw, options in [
        (view.histogram, {"x": "fare"}),
        (view.bar, {"x": "sex", "y": "fare"}),
        (view.box, {"x": "sex", "y": "fare"}),
        (view.line, {"y": "fare"}),
        (view.scatter, {"x": "fare", "y": "fare"}),
        (view.parallel_coordinates, {"columns": ["fare", "sex"]}),
    ]:
        assert caption(draw(one, **options)).startswith("1 row ·") or "1 row" in caption(
            draw(one, **options)
        )
    with pytest.raises(InputError, match="the data have 1"):
        view.heatmap(np.ones((1, 3)))


# -- histograms --------------------------------------------------------------------------------


def test_histograms_count_what_numpy_counts():
    values = pl.datasets.load_diabetes().inputs[:, 2].astype(np.float64)
    bars = view.histogram(values, bins=12).data[0]
    counts, edges = np.histogram(values, bins=12)
    assert bars.y.tolist() == counts.tolist()
    np.testing.assert_allclose(bars.customdata[:, 0], edges[:-1])
    np.testing.assert_allclose(np.asarray(bars.x) + bars.width / 2, edges[1:], rtol=1e-5)
    share = view.histogram(values, bins=12, share=True).data[0]
    np.testing.assert_allclose(share.y, counts / len(values), rtol=1e-6)


def test_a_million_values_are_a_few_kilobytes(million):
    figure = view.histogram(million["x"])
    assert size(figure) < 50_000
    assert np.sum(figure.data[0].y) == 1_000_000


def test_histograms_of_groups_share_their_bins(people):
    figure = view.histogram(people, x="fare", color="class")
    for trace, (_, part) in zip(figure.data, people.groupby("class"), strict=True):
        assert trace.y.sum() == len(part)
        np.testing.assert_array_equal(trace.x, figure.data[0].x)
    assert [trace.name for trace in figure.data] == ["first", "second", "third"]
    faceted = view.histogram(people, x="fare", facet="class")
    found = [trace.y.sum() for trace in faceted.data]
    assert found == people.groupby("class").size().tolist()
    assert {trace.xaxis for trace in faceted.data} == {"x", "x2", "x3"}
    assert "divided at its quartiles" in caption(view.histogram(people, x="fare", color="age"))


def test_histograms_say_what_was_done(people):
    known = people["age"].dropna()
    dropped = caption(view.histogram(people, x="age"))
    assert f"{300 - len(known)} of 300 rows dropped for a missing value (age" in dropped
    shown = view.histogram(people, x="age", missing="show")
    assert f"{300 - len(known)} of them missing, the grey bar" in caption(shown)
    assert shown.data[-1].y.tolist() == [300 - len(known)]
    assert shown.data[-1].x[0] < known.min()
    standard = caption(view.histogram(people, x="fare", scale="standard"))
    assert f"mean {theme.number(people['fare'].mean())}" in standard
    assert f"standard deviation {theme.number(people['fare'].std(ddof=0))}" in standard
    low = theme.number(people["fare"].min())
    assert f"0 is {low}" in caption(view.histogram(people, x="fare", scale="minmax"))
    log = view.histogram(people, x="fare", scale="log")
    assert log.layout.xaxis.type == "log"
    assert np.sum(log.data[0].y) == 300
    mixed = view.histogram(np.array([-1.0, 0, 1, 10, 100]), scale="log")
    assert "2 of 5 rows dropped for a value ≤ 0, which has no logarithm" in caption(mixed)
    far = np.append(np.random.default_rng(0).normal(size=500), 1e7)
    assert "a few far ones stretch the axis" in caption(view.histogram(far))


def test_dates_have_bins_of_the_calendar(people):
    figure = view.histogram(people, x="joined", bins=40)
    assert "bins of one month" in caption(figure)
    expected = people["joined"].dt.to_period("M").value_counts().sort_index()
    expected = expected.reindex(
        pd.period_range(expected.index[0], expected.index[-1]), fill_value=0
    )
    assert figure.data[0].y.tolist() == expected.tolist()
    assert figure.layout.xaxis.type == "date"
    first = pd.Timestamp(figure.data[0].customdata[0, 0], unit="ms")
    assert first == expected.index[0].to_timestamp()


# -- bars --------------------------------------------------------------------------------------


def test_bars_are_what_pandas_groups(people):
    by = people.groupby("class")["fare"]
    expected = {
        "count": by.size(), "sum": by.sum(), "mean": by.mean(), "median": by.median(),
    }  # fmt: skip
    for how, wanted in expected.items():
        figure = view.bar(people, x="class", y="fare", aggregate=how, order="given")
        np.testing.assert_allclose(figure.data[0].x, wanted, rtol=1e-6)
        assert list(figure.layout.yaxis.ticktext) == list(wanted.index)
    mean = view.bar(people, x="class", y="fare", order="given").data[0]
    np.testing.assert_allclose(mean.error_x.array, 2 * by.sem(), rtol=1e-5)
    assert "two standard errors" in caption(view.bar(people, x="class", y="fare"))
    counted = view.bar(people, x="class")
    assert sorted(counted.data[0].x, reverse=True) == list(counted.data[0].x)
    assert "longest first" in caption(counted)


def test_bars_of_groups_missing_ones_and_many(people):
    both = view.bar(people, x="class", color="sex", order="given")
    table = pd.crosstab(people["sex"], people["class"])
    assert [trace.x.tolist() for trace in both.data] == table.to_numpy().tolist()
    assert "15 of 300 rows dropped for a missing value (city 15)" in caption(
        view.bar(people, x="city")
    )
    shown = view.bar(people, x="city", missing="show")
    assert shown.layout.yaxis.ticktext[-1] == "missing"
    assert shown.data[0].x[-1] == 15
    assert shown.data[0].marker.color[-1] == theme.LIGHT.missing
    many = view.bar({"k": np.repeat(np.arange(50), np.arange(50) + 1)}, top=5)
    assert many.data[0].x.tolist() == [46, 47, 48, 49, 50]  # numbers keep their own order
    assert "45 less frequent categories not shown (1,035 rows)" in caption(many)
    with pytest.raises(InputError, match="begins at zero"):
        view.bar(people, x="class", y="fare", scale="log")
    with pytest.raises(InputError, match="needs y="):
        view.bar(people, x="class", aggregate="mean")


def test_intervals_of_medians_cover(rng):
    """The interval holds the true median in 95 % of samples: counted over many."""
    values = rng.exponential(size=(2000, 25))
    codes = np.repeat(np.arange(2000), 25)
    found = aggregate(values.ravel(), codes, 2000, "median")
    np.testing.assert_allclose(found.values, np.median(values, axis=1))
    inside = (found.low <= np.log(2)) & (np.log(2) <= found.high)
    assert 0.94 < inside.mean() < 0.99
    few = aggregate(np.array([1.0, 2, 3]), np.array([0, 0, 2]), 4, "median")
    np.testing.assert_array_equal(few.values, [1.5, np.nan, 3, np.nan])
    assert np.isnan(few.low).all()


# -- boxes -------------------------------------------------------------------------------------


def test_boxes_are_what_numpy_and_pandas_say(people):
    figure = view.box(people, x="class", y="fare")
    bars = next(trace for trace in figure.data if trace.type == "bar")
    for k, (_, part) in enumerate(people.groupby("class")["fare"]):
        q1, q3 = np.quantile(part, [0.25, 0.75])
        np.testing.assert_allclose([bars.base[k], bars.x[k]], [q1, q3 - q1], rtol=1e-5)
        assert f"median {theme.number(np.median(part))}" in bars.hovertext[k]
    logs = view.box(people, y="fare", scale="log")
    box = next(trace for trace in logs.data if trace.type == "bar")
    q1 = 10 ** np.quantile(np.log10(people["fare"]), 0.25)
    np.testing.assert_allclose(box.base[0], q1, rtol=1e-5)
    assert logs.layout.xaxis.type == "log"
    outliers = figure.data[-1]
    fares = people["fare"].to_numpy()
    np.testing.assert_allclose(fares[outliers.customdata[:, 0]], outliers.x, rtol=1e-5)


def test_boxes_of_everything_and_of_millions(people, million):
    cancer = pl.datasets.load_breast_cancer()
    figure = view.box(cancer, scale="standard")
    assert list(figure.layout.yaxis.ticktext)[:2] == ["mean radius", "mean texture"]
    many = view.box(million)
    assert size(many) < 50_000
    assert "400 of" in caption(many)
    assert "the farthest among them" in caption(many)
    wide = view.box(np.random.default_rng(0).normal(size=(20, 1000)))
    assert "the first 30 of 1,000 columns of numbers" in caption(wide)
    assert "values left out: missing" in caption(view.box(people))
    shown = view.box(people, x="city", y="fare", missing="show")
    assert shown.layout.yaxis.ticktext[-1] == "missing"
    with pytest.raises(InputError, match="name it with y="):
        view.box(people, color="sex")


# -- lines -------------------------------------------------------------------------------------


def test_lines_are_in_order_and_keep_peaks(million):
    shuffled = np.random.default_rng(0).permutation(50)
    figure = view.line({"t": shuffled, "v": shuffled**2.0}, x="t")
    assert figure.data[0].x.tolist() == list(range(50))
    assert figure.data[0].y.tolist() == [k**2 for k in range(50)]
    assert "sorted by t" in caption(figure)
    values = million["x"].copy()
    values[123_456] = 99
    long = view.line(values)
    assert size(long) < 60_000
    assert long.data[0].y.max() == 99
    assert 123_456 in long.data[0].customdata[:, 0]
    assert "minima and maxima of 1,000 stretches (1 of 1)" in caption(long)


def test_lines_of_means_have_bands(people):
    data = pd.DataFrame({"t": np.tile(np.arange(5), 20), "v": np.arange(100.0) ** 1.5})
    figure = view.line(data, x="t", aggregate="mean")
    by = data.groupby("t")["v"]
    band, line = figure.data
    np.testing.assert_allclose(line.y, by.mean(), rtol=1e-6)
    np.testing.assert_allclose(band.y[:5], by.mean() - 2 * by.sem(), rtol=1e-5)
    assert "band: ± two standard errors of the mean" in caption(figure)
    assert "aggregate='mean' merges them" in caption(view.line(data, x="t"))
    per = view.line({**data, "who": np.repeat(np.arange(20), 5)}, x="t", y="v", group="who")
    assert np.isnan(per.data[0].y).sum() == 20  # an interruption after each line
    assert "a line for each who" in caption(per)


def test_lines_of_dates_gaps_and_several_columns():
    days = pd.date_range("2021-03-01", periods=30)
    frame = pd.DataFrame({"v": np.arange(30.0), "w": np.arange(30.0) * 1000, "day": days})
    frame.loc[10:12, "v"] = np.nan
    figure = view.line(frame)
    assert figure.layout.xaxis.type == "date"
    assert figure.data[0].x[0] == days[0].timestamp() * 1000
    assert np.isnan(figure.data[0].y[10:13]).all()
    assert "interrupted where its value is missing" in caption(figure)
    assert [trace.name for trace in figure.data] == ["v", "w"]
    dropped = view.line(frame, y="v", missing="drop")
    assert len(dropped.data[0].x) == 27
    standard = view.line(frame, y=["v", "w"], scale="standard")
    assert abs(np.nanmean(standard.data[1].y)) < 1e-6
    assert np.isclose(np.nanstd(standard.data[1].y), 1)
    low = view.line(frame, y="v", scale="log")
    assert "1 values are infinite or ≤ 0" in caption(low)
    with pytest.raises(InputError, match="name one"):
        view.line(frame, y=["v", "w"], color="v")


# -- scatter -----------------------------------------------------------------------------------


def test_points_by_number(million):
    part = {name: values[:6000] for name, values in million.items()}
    few = view.scatter({name: values[:5000] for name, values in part.items()})
    assert few.data[0].type == "scatter"
    many = view.scatter(part)
    assert many.data[0].type == "scattergl"
    assert many.data[0].x.dtype == np.float32
    np.testing.assert_array_equal(many.data[0].x, part["x"].astype(np.float32))


def test_a_million_points_are_an_image_of_counts(million):
    figure = view.scatter(million)
    assert size(figure) < 1_500_000
    image, dots = figure.data
    assert image.type == "heatmap"
    assert image.customdata.sum() == 1_000_000
    rows, columns = image.customdata.shape
    expected, *_ = np.histogram2d(million["y"], million["x"], bins=(rows, columns))
    assert np.abs(image.customdata - expected).sum() < 20  # rounding at edges
    assert len(dots.x) == scale.HOVER_POINTS
    chosen = dots.customdata[:, 0]
    np.testing.assert_array_equal(million["x"][chosen].astype(np.float32), dots.x)
    said = caption(figure)
    assert "2,000 of 1,000,000 points, chosen at random" in said
    assert "how many points a cell holds, on a logarithmic scale" in said


def test_colours_of_points(people):
    groups = view.scatter(people, x="age", y="fare", color="class")
    assert [trace.name for trace in groups.data] == ["first", "second", "third"]
    assert len({trace.marker.symbol for trace in groups.data}) == 3
    numbers = view.scatter(people, x="fare", y="fare", color="age", missing="show")
    low, high = np.nanpercentile(people["age"], [1, 99])
    assert (numbers.layout.coloraxis.cmin, numbers.layout.coloraxis.cmax) == (low, high)
    assert "1st and 99th percentile" in caption(numbers)
    assert numbers.data[1].marker.color == theme.LIGHT.missing
    towns = {"x": np.arange(90), "y": np.arange(90), "t": [f"town {k // 3}" for k in range(90)]}
    many = view.scatter(towns, color="t")
    assert len(many.data) == 8
    assert "the 7 most frequent of 30" in caption(many)


def test_points_that_are_missing_stand_at_the_edge(people):
    figure = view.scatter(people, x="age", y="fare", missing="show")
    edge = figure.data[-1]
    gaps = int(people["age"].isna().sum())
    assert len(edge.x) == gaps
    assert (edge.x < people["age"].min()).all()
    assert f"{gaps} rows with a missing x or y" in caption(figure)
    assert f"{gaps} of 300 rows dropped" in caption(view.scatter(people, x="age", y="fare"))


def test_groups_become_points(people):
    figure = view.scatter(people, x="age", y="fare", group="class", missing="drop")
    known = people.dropna(subset=["age"])
    by = known.groupby("class")
    np.testing.assert_allclose(figure.data[0].x, by["age"].mean(), rtol=1e-6)
    np.testing.assert_allclose(figure.data[0].error_y.array, 2 * by["fare"].sem(), rtol=1e-5)
    assert "merged by class: mean" in caption(figure)
    faceted = view.scatter(people, x="age", y="fare", facet="class")
    assert sum(len(trace.x) for trace in faceted.data) == len(known)
    assert faceted.layout.xaxis2.matches == "x"


# -- correlations ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlations_are_those_of_pandas(method):
    rng = np.random.default_rng(5)
    values = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)) * [1, 1e9, 1e-6, 1, 1] + 1e2
    values[:, 4] = values[:, 4].round()
    values[rng.random(values.shape) < 0.2] = np.nan
    frame = pd.DataFrame(values)
    found, pairs, exact = correlations(values, method)
    np.testing.assert_allclose(found, frame.corr(method=method), atol=1e-10)
    known = frame.notna().to_numpy().astype(int)
    np.testing.assert_array_equal(pairs, known.T @ known)
    assert exact
    whole = load_iris().data
    expected = np.corrcoef(whole.T) if method == "pearson" else stats.spearmanr(whole).statistic
    np.testing.assert_allclose(correlations(whole, method)[0], expected, atol=1e-12)


def test_correlations_that_are_not_defined_are_grey():
    values = np.column_stack([np.arange(10.0), np.full(10, 0.1), np.arange(10.0) ** 2])
    figure = view.heatmap(values)
    assert np.isnan(figure.data[0].z[1]).all()
    assert "grey: 2 not defined" in caption(figure)
    assert figure.layout.plot_bgcolor == theme.LIGHT.missing
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    assert figure.layout.coloraxis.cmid == 0


def test_heatmaps_say_what_they_rest_on(people):
    frame = people[["age", "fare"]].assign(both=people["age"] + people["fare"])
    gaps = int(people["age"].isna().sum())
    assert f"of {300 - gaps} to 300 rows" in caption(view.heatmap(frame.assign(z=frame["fare"])))
    dropped = caption(view.heatmap(frame, missing="drop"))
    assert f"{gaps} of 300 rows dropped" in dropped
    assert f"of {300 - gaps} rows each" in dropped
    assert "4 columns are not of numbers" in caption(view.heatmap(people))
    spearman = view.heatmap(pl.datasets.load_wine(), method="spearman", order="similar")
    assert "Spearman's correlation" in caption(spearman)
    assert "like columns side by side" in caption(spearman)
    log = view.heatmap(frame, scale="log").data[0].z
    np.testing.assert_allclose(log, np.log(frame).corr(), atol=1e-6)
    with pytest.raises(InputError, match="changes no correlation"):
        view.heatmap(frame, scale="standard")


def test_like_columns_lie_side_by_side(rng):
    base = rng.normal(size=(200, 2))
    mixed = base[:, [0, 1, 0, 1, 0, 1]] + 0.1 * rng.normal(size=(200, 6))
    names = [label.split()[1] for label in view.heatmap(mixed, order="similar").data[0].x]
    groups = [int(name) % 2 for name in names]
    assert sum(a != b for a, b in zip(groups, groups[1:], strict=False)) == 1


def test_a_thousand_columns_are_blocks(rng):
    values = rng.normal(size=(30, 1000))
    values[:, 701] = values[:, 33]
    figure = view.heatmap(values)
    assert size(figure) < 400_000
    assert max(figure.data[0].z.shape) <= 200
    assert "5 x 5 pairs" in caption(figure)
    assert "strongest: column 33 and column 701, +1.00" in caption(figure)
    assert figure.data[0].z[701 // 5, 33 // 5] == 1
    assert len(figure.layout.xaxis.ticktext) <= 12


# -- parallel coordinates ----------------------------------------------------------------------


def test_lines_cross_axes_where_the_values_are():
    iris = load_iris(as_frame=True).frame
    figure = view.parallel_coordinates(iris, color="target")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert {trace.name for trace in lines} == {"0", "1", "2"}
    features = iris.drop(columns="target")
    expected = ((features - features.min()) / (features.max() - features.min())).to_numpy()
    count = 0
    for trace in lines:
        x = np.asarray(trace.x).reshape(-1, 5)
        ids = trace.customdata[::5, 0]
        np.testing.assert_allclose(x[:, :4], expected[ids], atol=1e-6)
        assert np.isnan(x[:, 4]).all()
        count += len(ids)
    assert count == 150
    one = view.parallel_coordinates(features, scale=None)
    ends = np.array([features.to_numpy().min(), features.to_numpy().max()])
    expected = (features.to_numpy() - ends[0]) / (ends[1] - ends[0])
    x = np.asarray(one.data[0].x).reshape(-1, 5)
    np.testing.assert_allclose(x[:, :4], expected[one.data[0].customdata[::5, 0]], atol=1e-6)


def test_parallel_coordinates_are_bounded_and_say_so(people, million):
    figure = view.parallel_coordinates({**million, "z": million["x"]}, color="y")
    assert size(figure) < 500_000
    assert "500 of 1,000,000 rows drawn, chosen at random" in caption(figure)
    wide = view.parallel_coordinates(np.random.default_rng(0).normal(size=(20, 1000)))
    assert "the first 30 of 1,000 columns" in caption(wide)
    shown = view.parallel_coordinates(people, columns=["age", "fare", "city"], missing="show")
    assert "left of an axis: missing" in caption(shown)
    x = np.concatenate([trace.x for trace in shown.data if trace.mode == "lines"])
    low = x[np.isfinite(x) & (x < -0.08)]
    assert len(low) == people[["age", "city"]].isna().to_numpy().sum()
    with pytest.raises(InputError, match="at least two"):
        view.parallel_coordinates([1, 2, 3])


# -- the picture that fits ---------------------------------------------------------------------


def test_auto_says_why(people, results):
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=40)
    iris = load_iris(as_frame=True).frame
    species = iris.assign(target=np.array(["setosa", "versicolor", "virginica"])[iris["target"]])
    cases = [
        (rng.normal(size=50), "Histogram, since there is one column of numbers"),
        (["a", "b", "a"], "Bars, since value is of categories"),
        (rng.normal(size=(50, 2)), "Scatter, since there are two columns of numbers"),
        ({"t": np.arange(50), "v": rng.normal(size=50)}, "Line, since there are two columns"),
        (pd.Series(rng.normal(size=40), index=days), "Lines, since time holds dates"),
        (days, "Histogram, since there are dates"),
        ({"d": days, "a": np.arange(40), "b": np.arange(40) * 1e4}, "each is standardized"),
        (people[["class", "fare"]], "Boxes, since class is of categories and fare of numbers"),
        ({"c": ["a", "b", "c"], "v": [1, 2, 3]}, "Bars, since each category has one number"),
        (people[["class", "sex"]], "Bars, since class is of categories, and so is sex"),
        (species, "Parallel coordinates, since there are 4 columns of numbers and the few"),
        (pl.datasets.load_wine(), "Correlations, since there are 13 columns of numbers"),
        (pl.datasets.load_digits(), "pictures, since the shape is (1797, 1, 8, 8)"),
        (rng.normal(size=(30, 1000)), "800 further columns not looked at"),
        ({"id": [f"n{k}" for k in range(90)], "v": rng.normal(size=90)}, "id names rows"),
    ]
    for data, why in cases:
        assert why in caption(view.auto(data)), why
    figure = view.auto(results["run"], title="Mine", width=500, theme="dark")
    assert figure.layout.meta["provenance"]["result"] == "Run"
    assert (figure.layout.title.text, figure.layout.width) == ("Mine", 500)
    chosen = view.auto(people, columns=["fare"])
    assert chosen.layout.title.text == "Distribution of fare"
    with pytest.raises(InputError, match="every value is missing"):
        view.auto(np.full((5, 2), np.nan))


def test_pictures_are_tiles_of_one_image():
    digits = pl.datasets.load_digits()
    figure = view.auto(digits)
    assert [trace.type for trace in figure.data] == ["image", "scatter"]
    names = figure.data[1]
    chosen = names.customdata[:, 0].astype(int)
    assert list(names.text) == [digits.class_names[digits.targets[k]] for k in chosen]
    assert "60 of 1,797 drawn" in caption(figure)
    assert base64.b64decode(figure.data[0].source.split(",")[1])[:4] == b"\x89PNG"
    assert size(figure) < 100_000
    for shape, kind, expected in [
        ((5, 8, 9), float, (5, 8, 9)),
        ((5, 3, 8, 9), float, (5, 8, 9, 3)),
        ((5, 8, 9, 3), float, (5, 8, 9, 3)),
        ((5, 1, 8, 9), float, (5, 8, 9)),
        ((20, 30), np.uint8, (1, 20, 30)),
        ((20, 30, 3), np.uint8, (1, 20, 30, 3)),
    ]:
        assert as_pictures(np.zeros(shape, kind)).shape == expected
    for shape, kind in [((20, 30), float), ((1000, 20), np.uint8), ((5, 7, 8, 9), float)]:
        assert as_pictures(np.zeros(shape, kind)) is None
    torch = pytest.importorskip("torch")
    assert "pictures" in caption(view.auto(torch.rand(4, 3, 16, 16))).lower()
    assert view.histogram(torch.rand(30)).data[0].y.sum() == 30


# -- every figure ------------------------------------------------------------------------------

HOLES = re.compile(
    r"<(?!/?b>|br>|extra></extra>|/extra>)|\$[^$]+\$|%\{(?!customdata|text|hovertext|x|y|z|m)"
)


def draws(people, million, evil=EVIL):
    """One of each kind of figure, with names that would do harm."""
    rng = np.random.default_rng(3)
    bad = people.rename(columns={"fare": evil, "class": evil + "2"})
    bad = bad.assign(town=[f"{evil} {k % 40}" for k in range(len(bad))])
    small = {name: values[:8000] for name, values in million.items()}
    large = {name: values[:250_000] for name, values in million.items()}
    return {
        "histogram": lambda **k: view.histogram(bad, x=evil, missing="show", **k),
        "groups": lambda **k: view.histogram(bad, x=evil, color="city", share=True, **k),
        "panels": lambda **k: view.histogram(bad, x=evil, facet=evil + "2", scale="log", **k),
        "calendar": lambda **k: view.histogram(bad, x="joined", **k),
        "bar": lambda **k: view.bar(bad, x="town", y=evil, **k),
        "grouped bars": lambda **k: view.bar(bad, x="city", color="sex", missing="show", **k),
        "box": lambda **k: view.box(bad, x="city", y=evil, color="sex", scale="log", **k),
        "boxes": lambda **k: view.box(pl.datasets.load_wine(), scale="standard", **k),
        "line": lambda **k: view.line(bad, x="joined", y=evil, color="city", facet="sex", **k),
        "band": lambda **k: view.line(bad, x="age", y=evil, aggregate="mean", **k),
        "scatter": lambda **k: view.scatter(bad, x="age", y=evil, color="city", missing="show", **k),
        "categories": lambda **k: view.scatter(bad, x="city", y=evil + "2", color=evil, **k),
        "means": lambda **k: view.scatter(bad, x="age", y=evil, group="city", **k),
        "webgl": lambda **k: view.scatter(small, **k),
        "density": lambda **k: view.scatter(large, **k),
        "heatmap": lambda **k: view.heatmap(
            pd.DataFrame(rng.normal(size=(20, 15)), columns=[f"{evil} {i}" for i in range(15)]), **k
        ),
        "blocks": lambda **k: view.heatmap(rng.normal(size=(20, 500)), order="similar", **k),
        "parallel": lambda **k: view.parallel_coordinates(
            bad, columns=["age", evil, "city", "joined"], color=evil + "2", missing="show", **k
        ),
        "colours": lambda **k: view.parallel_coordinates(
            pl.datasets.load_diabetes(), color="target", **k
        ),
        "pictures": lambda **k: view.auto(pl.datasets.load_digits(), **k),
    }  # fmt: skip


def test_names_from_outside_stay_text(people, million):
    evil = f"{MATH} {FILL} {EVIL}"
    for name, draw in draws(people, million, evil).items():
        figure = draw()
        for text in texts(figure.to_dict()):
            assert not HOLES.search(text), (name, text)
        assert figure.layout.template.layout.paper_bgcolor == theme.LIGHT.paper


def test_every_figure_is_dark_of_its_size_and_small(people, million):
    for name, draw in draws(people, million).items():
        figure = draw(theme="dark", width=600, height=460, title="Mine")
        assert type(figure) is go.Figure
        assert figure.layout.template.layout.paper_bgcolor == theme.DARK.paper
        assert (figure.layout.width, figure.layout.height) == (600, 460)
        assert figure.layout.title.text == "Mine"
        assert "created" in figure.layout.meta["provenance"]
        assert not list(lists_of_numbers(json.loads(figure.to_json())["data"])), name
        assert size(figure) < 500_000, name


CUT_OFF = """(plot) => {
    const box = plot.querySelector(".main-svg").getBoundingClientRect();
    const texts = [...plot.querySelectorAll(".main-svg text")].filter(t => t.textContent);
    return texts.filter(t => {
        const own = t.getBoundingClientRect();
        return own.width && (own.left < box.left - 1 || own.right > box.right + 1
            || own.top < box.top - 1 || own.bottom > box.bottom + 1);
    }).map(t => t.textContent);
}"""


@pytest.mark.browser
def test_no_text_is_cut_off_and_nothing_goes_wrong(browser, people, million, tmp_path):
    figures = {name: draw() for name, draw in draws(people, million).items()}
    path = pl.viz.report(figures, tmp_path / "data.html")
    page = browser.new_page(viewport={"width": 760, "height": 1400})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(path.as_uri())
    for k, name in enumerate(figures, start=1):
        plot = page.locator(f"#figure-{k}")
        plot.scroll_into_view_if_needed()
        page.wait_for_selector(f"#figure-{k}[data-drawn] .main-svg .gtitle")
        assert plot.evaluate(CUT_OFF) == [], name
        shot = plot.screenshot()
        assert len(shot) > 4000, name  # a blank picture is smaller
    page.close()
    assert problems == []
