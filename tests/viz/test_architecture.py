"""Architecture graphs and icicles: layouts that hold, sums that add up, names that are text."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from drawn import caption
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from viz_samples import EVIL, MATH

import pellucid as pl
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Layer, Node, Snapshot
from pellucid.viz.model.architecture import architecture
from pellucid.viz.model.blocks import MOST, combined, views
from pellucid.viz.model.graph import layered
from pellucid.viz.model.icicle import icicle
from pellucid.viz.model.lines import page
from pellucid.viz.model.paint import family, short

# -- the layout ------------------------------------------------------------------------------


@st.composite
def graphs(draw, *, cycles=False):
    """Any graph, with boxes of any width, and functions that lines may enter from the side."""
    count = draw(st.integers(1, 24))
    node = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=50, unique=True))
    if not cycles:
        pairs = [(min(a, b), max(a, b)) for a, b in pairs]
    edges = list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))
    small = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    widths = [24.0 if s else 120.0 for s in small]
    heights = [20.0 if s else 36.0 for s in small]
    return edges, widths, heights, small


def drawn(graph, room=640.0, tall=400.0):
    edges, widths, heights, small = graph
    return page(layered(edges, widths), heights, room=room, tall=tall, sides=small)


def boxes(graph, found):
    _, widths, heights, _ = graph
    half = np.stack([widths, heights], axis=1) / 2
    centre = np.stack([found.x, found.y], axis=1)
    return centre - half, centre + half


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_every_line_goes_down_to_a_later_row(graph):
    edges, widths, _, _ = graph
    rows = layered(edges, widths)
    for (a, b), path in zip(edges, rows.paths, strict=True):
        assert (path[0], path[-1]) == (a, b)
        assert [rows.rank[item] for item in path] == list(range(rows.rank[a], rows.rank[b] + 1))
    assert sorted(item for row in rows.rows for item in row) == list(range(len(rows.rank)))
    assert not any(rows.reversed)


@settings(deadline=None, max_examples=150)
@given(graphs(cycles=True), st.sampled_from([200.0, 640.0, 3000.0]))
def test_no_box_is_on_another_and_no_line_runs_through_one(graph, room):
    found = drawn(graph, room)
    low, high = boxes(graph, found)
    count = len(low)
    for i in range(count):
        over = (low[i] < high - 0.01).all(axis=1) & (high[i] > low + 0.01).all(axis=1)
        assert over.sum() == 1
    for line in found.lines:
        steps = np.linspace(line[:-1], line[1:], 12).reshape(-1, 2)
        inside = (steps[:, None] > low + 0.5).all(axis=2) & (steps[:, None] < high - 0.5).all(
            axis=2
        )
        assert not inside.any()


@settings(deadline=None, max_examples=100)
@given(graphs(cycles=True))
def test_lines_begin_and_end_at_their_boxes_and_stay_on_the_page(graph):
    found = drawn(graph)
    low, high = boxes(graph, found)
    for (a, b), line in zip(graph[0], found.lines, strict=True):
        for node, point in ((a, line[0]), (b, line[-1])):
            gap = np.maximum(np.maximum(low[node] - point, point - high[node]), 0)
            assert gap.max() < 0.01
        assert line[:, 1].min() >= -0.01
        assert line[:, 1].max() <= found.height + 0.01
    assert low.min() >= -0.01
    assert high[:, 0].max() <= found.width + 0.01


def test_only_lines_that_close_a_cycle_go_up():
    rows = layered([(0, 1), (1, 2), (2, 1), (2, 3)], [10.0] * 4)
    assert rows.reversed == [False, False, True, False]


def test_a_trunk_is_straight_and_its_shortcuts_are_beside_it():
    edges = [(i, i + 1) for i in range(9)] + [(0, 3), (3, 6), (6, 9)]
    rows = layered(edges, [100.0] * 10)
    np.testing.assert_array_equal(rows.x[:10], rows.x[0])
    assert (np.abs(rows.x[10:] - rows.x[0]) >= 50 + 8).all()
    assert len(set(rows.x[10:])) == 1


def test_three_branches_stand_around_their_middle_and_two_around_the_trunk():
    three = layered([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], [100.0] * 5).x
    assert three[0] == three[2] == three[4] == pytest.approx((three[1] + three[3]) / 2)
    two = layered([(0, 1), (0, 2), (1, 3), (2, 3)], [100.0] * 4).x
    assert two[0] == pytest.approx((two[1] + two[2]) / 2)


def test_five_thousand_nodes_take_no_time():
    edges = [(i, i + 1) for i in range(4999)] + [
        (i, min(i + 3 + i % 4, 4999)) for i in range(0, 4998, 3)
    ]
    began = time.process_time()
    rows = layered(edges, [100.0] * 5000)
    assert time.process_time() - began < 3  # 0.4 s on a quiet core
    assert all(rows.rank[a] < rows.rank[b] for a, b in edges)


# -- from a distance -------------------------------------------------------------------------


def snapshot_of(edges, statistics=None, name="Net", **settings_):
    """A snapshot with these edges; parents are made up."""
    names = dict.fromkeys(n for pair in edges for n in pair if n not in ("input", "output"))
    every = {"": None}
    for leaf in names:
        path = leaf.split(".")
        every |= dict.fromkeys(".".join(path[: k + 1]) for k in range(len(path)))
    nodes = tuple(
        Node(n, "Linear" if n in names else "Module", (8, 4), dict((statistics or {}).get(n, {})))
        for n in every
    )
    return Snapshot(
        layers=(Layer("a", "Linear", {"weight": np.ones((1, 1))}),),
        name=name,
        nodes=nodes,
        edges=tuple(edges),
        settings={"samples": 8, "edges": "followed"} | settings_,
    )


def chain(names):
    return list(zip(["input", *names], [*names, "output"], strict=True))


def test_what_is_within_a_closed_module_adds_up():
    statistics = {
        "a.x": {"parameters": 10, "gradient norm": 3.0, "dead": 0.1, "seconds": 0.1},
        "a.y": {"parameters": 5, "gradient norm": 4.0, "dead": 0.7, "seconds": 0.2},
        "a": {"seconds": 0.5, "parameters": 2},
        "b": {"parameters": 1, "dead": 0.0},
    }
    found, left_out = views(snapshot_of(chain(["a.x", "a.y", "b"]), statistics))
    assert [view.depth for view in found] == [1, 2]
    assert not left_out
    closed = {block.name: block for block in found[0].blocks}
    assert closed["a"].statistics == {
        "parameters": 17,
        "gradient norm": 5.0,
        "dead": 0.7,
        "seconds": 0.5,
    }
    assert closed["a"].layers == 2
    assert found[0].edges == ((0, 1), (1, 2), (2, 3))
    assert [block.name for block in found[1].blocks] == ["input", "a.x", "a.y", "b", "output"]


def test_times_of_modules_within_each_other_are_not_added_twice():
    nodes = [Node("a", "M", None, {"seconds": 2.0}), Node("a.b", "M", None, {"seconds": 1.5})]
    assert combined(nodes) == {"seconds": 2.0}
    assert combined([nodes[1], Node("c", "M", None, {"seconds": 1.0})]) == {"seconds": 2.5}


def test_never_more_boxes_than_can_be_looked_at():
    names = ["stem", *(f"block.{k}.fc" for k in range(400))]
    found, left_out = views(snapshot_of(chain(names)))
    assert [len(view.blocks) for view in found] == [4]
    assert left_out == 2
    flat, _ = views(snapshot_of(chain([str(k) for k in range(400)])))
    assert len(flat) == 1
    assert len(flat[0].blocks) <= MOST
    names = [block.name for block in flat[0].blocks]
    assert names[1] == "0"
    assert names[-2] == "399"
    assert any("more" in name for name in names)


# -- the picture -----------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.bn1(self.conv1(x)))) + x)


def resnet(blocks=8):
    stages = nn.Sequential(*(Residual(4) for _ in range(blocks)))
    return nn.Sequential(nn.Conv2d(1, 4, 3), stages, nn.Flatten(), nn.Linear(16, 3))


def encoder(layers=12):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


@pytest.fixture(scope="module")
def seen():
    torch.manual_seed(0)
    return {
        "resnet": pl.snapshot(resnet(), torch.rand(4, 1, 4, 4), targets=torch.tensor([0, 1, 2, 0])),
        "encoder": pl.snapshot(encoder(), torch.rand(2, 5, 8)),
    }


def bars(figure, *, visible=True):
    return [t for t in figure.data if t.type == "bar" and t.hovertext is not None and bool(t.visible) == visible]  # fmt: skip


@pytest.mark.parametrize(
    "color", ["parameters", "seconds", "gradient norm", "dead", "zero", "operations", "kind"]
)
def test_every_statistic_colours_the_boxes(seen, color):
    figure = architecture(seen["resnet"], color=color)
    (shown,) = bars(figure)
    assert len(set(shown.marker.color)) > 1
    assert (figure.layout.coloraxis.cmin is None) == (color == "kind")
    assert len(figure.to_json()) < 200_000


def test_the_darkest_box_has_the_most_parameters(seen):
    figure = architecture(seen["resnet"], depth=1)
    (shown,) = bars(figure)
    light = [sum(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in shown.marker.color]
    assert "<b>1</b>" in shown.hovertext[int(np.argmin(light))]
    total = sum(node.statistics["parameters"] for node in seen["resnet"].nodes)
    said = [text.split("parameters: ")[1].split("<")[0] for text in shown.hovertext if "parameters" in text]  # fmt: skip
    assert sum(int(text.replace(",", "")) for text in said) == total


def test_the_slider_shows_one_depth_and_makes_room_for_it(seen):
    figure = architecture(seen["resnet"])
    (slider,) = figure.layout.sliders
    count = len(slider.steps)
    assert count == 3
    for step in slider.steps:
        shown = [t for t, on in zip(figure.data, step.args[0]["visible"], strict=True) if on]
        assert sum(t.type == "bar" and t.hovertext is not None for t in shown) == 1
        height = step.args[1]["height"]
        low, high = step.args[1]["yaxis.range"]
        share = step.args[1]["yaxis.domain"][1]
        margin = figure.layout.margin
        # A pixel of the layout is a pixel of the screen.
        assert (height - margin.t - margin.b) * share == pytest.approx(low - high, abs=1)
    active = slider.steps[slider.active].args[1]
    assert figure.layout.height == active["height"]
    assert list(figure.layout.yaxis.range) == list(active["yaxis.range"])


def test_repeated_blocks_look_alike(seen):
    figure = architecture(seen["resnet"], depth=3, width=1200)
    (shown,) = bars(figure)
    names = [text.split("</b>")[0][3:] for text in shown.hovertext]
    x = {
        name: base + width / 2 for name, base, width in zip(names, shown.base, shown.x, strict=True)
    }
    trunk = [x[f"1.0.{part}"] for part in ("conv1", "bn1", "relu", "conv2")]
    assert len(set(trunk)) == 1
    widths = {w for w, name in zip(shown.x, names, strict=True) if not name.endswith("add")}
    assert len(widths) == 1


def test_depths_and_what_is_left_out_are_said(seen):
    figure = architecture(seen["encoder"], depth=2)
    assert len(bars(figure)[0].base) == 12 + 2
    assert "more than 150" not in caption(figure)
    long = snapshot_of(chain(["stem", *(f"block.{k}.fc" for k in range(400))]))
    assert "2 finer depths" in caption(architecture(long, color="kind"))
    with pytest.raises(InputError, match="too deep"):
        architecture(seen["encoder"], depth=9)
    unknown = dataclasses.replace(seen["resnet"], settings={"edges": "order of the calls"})
    assert "order of the calls" in caption(architecture(unknown))


def test_no_lines_are_lost(seen):
    for name, found in seen.items():
        figure = architecture(found)
        shown = [t for t in figure.data if t.type == "scatter" and t.mode == "lines" and t.visible]
        parts = 1 + int(np.isnan(shown[0].x).sum())
        fit, _ = views(found)
        assert parts in {len(view.edges) for view in fit}, name


def test_bytes_of_large_models():
    for model, x in ((resnet(9), torch.rand(2, 1, 4, 4)), (encoder(12), torch.rand(2, 5, 8))):
        for width in (420, 1280):
            assert len(architecture(pl.snapshot(model, x), width=width).to_json()) < 200_000


@pytest.mark.parametrize("draw", [architecture, icicle])
def test_names_from_outside_are_text(draw):
    names = [f"{EVIL}.{MATH}", f"{EVIL}.b", "c"]
    statistics = {name: {"parameters": 3.0} for name in names}
    found = snapshot_of(chain(names), statistics, name=EVIL)
    found = dataclasses.replace(
        found,
        nodes=tuple(dataclasses.replace(n, kind=EVIL if n.name else "M") for n in found.nodes),
    )
    figure = draw(found)
    for text in all_texts(figure.to_plotly_json()):
        assert "<img" not in text
        assert "<script" not in text
        assert not text.count("$")


def all_texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in {"meta", "template", "ids", "parents"}:
                yield from all_texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from all_texts(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        yield from all_texts(value.tolist())


@pytest.mark.parametrize("draw", [architecture, icicle])
def test_options_sizes_and_errors(seen, draw):
    figure = draw(seen["resnet"], width=700, height=500, title="Mine", theme="dark")
    assert (figure.layout.width, figure.layout.height) == (700, 500)
    assert figure.layout.title.text == "Mine"
    with pytest.raises(InputTypeError, match="Snapshot"):
        draw("resnet")
    with pytest.raises(InputError, match="'kind'"):
        draw(seen["resnet"], color="beauty")
    with pytest.raises(InputError, match="targets=targets"):
        draw(seen["encoder"], color="gradient norm")


def test_without_inputs_there_is_no_graph_but_an_icicle():
    found = pl.snapshot(resnet(2))
    with pytest.raises(InputError, match=r"pl\.snapshot\(model, inputs\)"):
        architecture(found)
    assert icicle(found).data[0].values[0] == found.size
    with pytest.raises(InputError, match="no module of Sequential has seconds"):
        icicle(found, size="seconds")


@pytest.mark.parametrize("name", ["resnet", "encoder"])
@pytest.mark.parametrize("size", ["parameters", "operations", "seconds"])
def test_an_icicle_adds_up(seen, name, size):
    sectors = icicle(seen[name], size=size).data[0]
    values = dict(zip(sectors.ids, sectors.values, strict=True))
    within = dict.fromkeys(values, 0.0)
    for sector, parent in zip(sectors.ids, sectors.parents, strict=True):
        if parent:
            within[parent] += values[sector]
    assert sectors.branchvalues == "total"
    assert list(sectors.parents).count("") == 1
    for sector, total in values.items():
        assert within[sector] <= total * (1 + 1e-6)
    if size == "parameters":
        assert values["/"] == seen[name].size
        leaves = [total for sector, total in values.items() if not within[sector]]
        assert sum(leaves) == seen[name].size


def test_kinds_and_numbers_as_people_read_them():
    assert family("Conv2d") == "convolution"
    assert family("BatchNorm2d") == family("LlamaRMSNorm") == "normalisation"
    assert family("MultiheadAttention") == "attention"
    assert family("NewGELUActivation") == family("ReLU6") == "activation function"
    assert family("NonDynamicallyQuantizableLinear") == family("LogisticRegression") == "linear"
    assert family("Mystery") == "other"
    assert [short(v, "parameters") for v in (950, 1500, 2.5e6, 7e9)] == [
        "950",
        "1.5 k",
        "2.5 M",
        "7 G",
    ]
    assert [short(v, "seconds") for v in (2, 0.0125, 3e-6)] == ["2 s", "12.5 ms", "3 µs"]


@pytest.mark.browser
def test_pictures_in_a_browser(seen, browser, tmp_path):
    figures = {
        "residual": architecture(seen["resnet"]),
        "opened": architecture(seen["resnet"], depth=3, color="kind", theme="dark", width=1100),
        "transformer": architecture(seen["encoder"], depth=3, color="seconds", width=420),
        "parameters": icicle(seen["encoder"]),
        "time": icicle(seen["resnet"], size="seconds", color="zero", theme="dark"),
    }
    path = pl.viz.report(figures, tmp_path / "page.html")
    tab = browser.new_page(viewport={"width": 1280, "height": 12_000})
    errors = []
    tab.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.goto(path.as_uri())
    tab.wait_for_function(
        "n => document.querySelectorAll('.plot .main-svg').length >= n", arg=len(figures)
    )
    tab.wait_for_timeout(500)
    shown = tab.evaluate(
        """() => [...document.querySelectorAll('.plot')].map(plot => ({
            boxes: plot.querySelectorAll('.barlayer .point path, .iciclelayer .surface').length,
            nodes: plot.querySelectorAll('*').length,
        }))"""
    )
    assert all(one["boxes"] > 3 and one["nodes"] < 3000 for one in shown), shown
    # The slider opens the modules, and the page makes room for what is within them.
    before = tab.evaluate("document.querySelector('.plot .main-svg').clientHeight")
    tab.evaluate("Plotly.relayout(document.querySelector('.plot'), {'sliders[0].active': 0})")
    places = tab.query_selector(".plot").query_selector_all(".slider-rail-touch-rect")[0]
    rect = places.bounding_box()
    tab.mouse.click(rect["x"] + rect["width"] - 3, rect["y"] + rect["height"] / 2)
    tab.wait_for_timeout(800)
    after = tab.evaluate("document.querySelector('.plot .main-svg').clientHeight")
    assert after != before
    assert not errors
    tab.close()
