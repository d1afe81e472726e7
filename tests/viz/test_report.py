"""A report: one file that holds all it shows, drawn by a real browser."""

import base64
import gzip
import re

import numpy as np
import plotly.graph_objects as go
import pytest
from viz_samples import (
    EVIL,
    MATH,
    make_generation,
    make_images,
    make_projection,
    make_table,
    make_text,
)

from pellucid import viz
from pellucid.errors import InputError, InputTypeError, UnwritableError
from pellucid.viz import plotly_js

CLOUD = re.compile("cloud|share", re.IGNORECASE)


@pytest.fixture
def visit(browser):
    """Open a page of the disk, and note all that goes wrong on it or leaves it."""
    opened = []

    def go_to(path, width=1280, javascript=True):
        page = browser.new_page(
            viewport={"width": width, "height": 800}, java_script_enabled=javascript
        )
        opened.append(page)
        page.requests, page.problems, page.lost = [], [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("dialog", lambda dialog: (page.problems.append("alert"), dialog.dismiss()))
        page.on(
            "console",
            lambda message: page.problems.append(message.text) if message.type == "error" else None,
        )
        page.goto(path.as_uri())
        return page

    yield go_to
    for page in opened:
        page.close()


def scroll_through(page):
    """Bring every figure into view, and return how many were drawn there."""
    page.add_style_tag(content="html { scroll-behavior: auto !important }")
    drawn = 0
    for place in page.query_selector_all(".plot"):
        place.scroll_into_view_if_needed()
        name = place.get_attribute("id")
        page.wait_for_selector(f"#{name}[data-drawn] .main-svg", timeout=20_000)
        drawn += 1
    return drawn


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 700])
def test_every_figure_is_drawn_and_nothing_leaves(results, tmp_path, visit, theme, width):
    given = {name: ["What follows.", result] for name, result in results.items()}
    given["my own"] = go.Figure(go.Bar(x=["a", "b"], y=[1, 2]))
    path = viz.report(given, tmp_path / "report.html", theme=theme, title="All of it")
    page = visit(path, width)
    assert scroll_through(page) == len(given)
    assert page.requests == [path.as_uri()]
    assert page.problems == []
    assert page.title() == "All of it"
    # Nothing is wider than the page.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = "rgb(21, 24, 30)" if theme == "dark" else "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert page.locator("nav li").count() == len(given)
    labels = [plot.get_attribute("aria-label") for plot in page.query_selector_all(".plot")]
    assert all(labels)
    assert any("nearest neighbours kept" in label for label in labels)


@pytest.mark.browser
def test_no_figure_offers_an_upload(results, tmp_path, visit):
    page = visit(viz.report([results["run"], go.Figure(go.Bar(y=[1]))], tmp_path / "r.html"))
    scroll_through(page)
    titles = [
        button.get_attribute("data-title") for button in page.query_selector_all(".modebar-btn")
    ]
    assert "Reset axes" in titles
    assert not [title for title in titles if CLOUD.search(title or "")]
    # A user's own page, without our configuration, has our template.
    html = viz.loss_curves(results["run"]).to_html(include_plotlyjs=True)
    own = tmp_path / "own.html"
    own.write_text(html)
    page = visit(own)
    page.wait_for_selector(".modebar-btn", state="attached")
    titles = [
        button.get_attribute("data-title") for button in page.query_selector_all(".modebar-btn")
    ]
    assert not [title for title in titles if CLOUD.search(title or "")]


@pytest.mark.browser
def test_evil_names_are_text(rng, tmp_path, visit):
    close = "</script><script>alert(2)</script>"
    names = (EVIL, MATH, close)
    table = make_table(
        rng.normal(size=(1, 3)),
        feature_names=names,
        class_names=(EVIL, EVIL),
        sample_ids=np.array([close]),
        settings={"baseline": EVIL},
    )
    points = make_projection(
        3, rng, labels=np.arange(3), class_names=names, sample_ids=np.array(names)
    )
    own = go.Figure(go.Bar(x=[close], y=[1])).update_layout(title=EVIL)
    given = {EVIL: [EVIL, table], close: [close, points, make_images(np.ones((1, 3, 3))), own]}
    page = visit(viz.report(given, tmp_path / "r.html", title=close))
    for detail in page.query_selector_all("details"):
        detail.evaluate("node => { node.open = true }")
    assert scroll_through(page) == 4
    assert page.problems == []
    assert page.title() == close
    assert page.inner_text("h2 >> nth=0") == EVIL
    page.locator("#figure-1").scroll_into_view_if_needed()
    page.wait_for_selector("#figure-1[data-drawn]")
    ticks = page.locator("#figure-1 .ytick").all_text_contents()
    assert any(EVIL in tick for tick in ticks)
    assert any(MATH in tick for tick in ticks)
    assert page.locator("img").count() == 0


@pytest.mark.browser
def test_a_point_shows_its_picture(rng, tmp_path, visit):
    points = make_projection(
        4,
        rng,
        coordinates=np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]),
        display=rng.random((4, 8, 8)),
        labels=np.array([0, 1, 0, 1]),
    )
    page = visit(viz.report(points, tmp_path / "r.html"))
    page.wait_for_selector("#figure-1 .points path")
    box = page.locator("#figure-1 .points path").nth(3).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 - 3, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".pellucid-picture", state="visible")
    style = page.locator(".pellucid-picture").get_attribute("style")
    # The fourth point drawn is the last of the second class: picture 3, in a sheet of two columns.
    assert "background-position: -112px -112px" in style
    assert "trustworthiness" in page.text_content(".hoverlayer")
    page.mouse.move(2, 2)
    page.wait_for_selector(".pellucid-picture", state="hidden")
    assert page.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [420, 1280])
def test_tokens_fit_their_background_and_answer_to_the_pointer(tmp_path, visit, width):
    tokens = ["[CLS]", EVIL, MATH, "WWWWWWWWWWWWWWWWWWWW", "i", "naïve", "\n", *["token"] * 40]
    page = visit(viz.report(make_text([tokens]), tmp_path / "r.html"), width)
    page.wait_for_selector("#figure-1 .bars .point text")
    boxes = page.evaluate(
        """[...document.querySelectorAll("#figure-1 .bars .point")].map((point) => {
            const text = point.querySelector("text").getBoundingClientRect();
            const box = point.querySelector("path").getBoundingClientRect();
            return [text.left - box.left, box.right - text.right];
        })"""
    )
    assert len(boxes) == len(tokens)
    assert min(min(box) for box in boxes) > -0.5
    shown = page.locator("#figure-1 .bars .point text").all_text_contents()
    assert shown[1:3] == [EVIL, MATH]
    box = page.locator("#figure-1 .bars .point").nth(2).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 - 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#figure-1 .hoverlayer text")
    assert f"“{MATH}”, token 2" in page.text_content("#figure-1 .hoverlayer")
    assert page.problems == []


@pytest.mark.browser
def test_a_cell_tells_both_tokens(tmp_path, visit):
    page = visit(viz.report(make_generation(["<b>a</b>", "b"], ["x", "x"]), tmp_path / "r.html"))
    page.wait_for_selector("#figure-1 .heatmaplayer image")
    assert page.locator("#figure-1 .xtick").all_text_contents() == ["<b>a</b>", "b", "x", "x"]
    box = page.locator("#figure-1 .heatmaplayer image").bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + box["height"] * 0.75)
    page.mouse.move(box["x"] + 14, box["y"] + box["height"] * 0.75)
    page.wait_for_selector("#figure-1 .hoverlayer text")
    assert "from “<b>a</b>”, token 0" in page.text_content("#figure-1 .hoverlayer")
    assert page.problems == []


@pytest.mark.browser
def test_many_webgl_figures_lose_no_context(rng, tmp_path, visit):
    clouds = [make_projection(5001, rng) for _ in range(20)]
    page = visit(viz.report(clouds, tmp_path / "r.html"))
    page.evaluate(
        "window.lost = 0; document.addEventListener("
        "'webglcontextlost', () => { window.lost += 1 }, true)"
    )
    assert scroll_through(page) == 20
    page.locator("#figure-1").scroll_into_view_if_needed()
    page.wait_for_selector("#figure-1[data-drawn] canvas", state="attached")
    assert page.evaluate("window.lost") == 0
    assert page.locator(".plot[data-drawn]").count() < 8
    assert page.problems == []


@pytest.mark.browser
def test_print_draws_every_figure_and_no_script_says_so(results, tmp_path, visit):
    path = viz.report(list(results.values()), tmp_path / "r.html")
    page = visit(path)
    page.wait_for_selector("#figure-1[data-drawn]")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    every = "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))"
    page.wait_for_function(every)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.problems == []
    assert "JavaScript" in visit(path, javascript=False).inner_text("header")


# -- without a browser -----------------------------------------------------------------------


def test_a_report_is_one_small_file_and_the_same_each_time(results, tmp_path):
    first = viz.report(results, tmp_path / "a.html").read_bytes()
    assert first == viz.report(results, tmp_path / "b.html").read_bytes()
    assert len(first) < 3_500_000
    page = first.decode()
    outside = page.split('id="plotly"')[0]
    assert "http://" not in outside
    assert "https://" not in outside
    assert "connect-src 'none'" in page
    assert page.count('id="plotly"') == 1


def test_forty_figures_are_under_two_megabytes(results, tmp_path):
    few = list(results.values())
    forty = [few[k % len(few)] for k in range(40)]
    page = viz.report(forty, tmp_path / "r.html").read_text()
    assert page.count('class="plot"') >= 40
    assert len(page.encode()) < 2_000_000


def test_the_small_plotly_is_taken_where_it_suffices(results, tmp_path):
    with_bars = viz.report(results["run"], tmp_path / "a.html").read_text()
    with_cloud = [results["run"], go.Figure(go.Scatter3d(x=[1], y=[1], z=[1]))]
    assert "plotly.js (cartesian - minified) v" in carried(with_bars)
    whole = carried(viz.report(with_cloud, tmp_path / "b.html").read_text())
    assert "plotly.js v" in whole
    # The small one lacks no trace type that it is taken for, and is of plotly.py's major version.
    known = set(re.findall(r'moduleType:"trace",name:"(\w+)"', carried(with_bars)))
    assert known == set(plotly_js.CARTESIAN)
    version = re.search(r"minified\) v([\d.]+)", carried(with_bars))[1]
    assert version == plotly_js.CARTESIAN_VERSION


def test_another_major_version_of_plotly_takes_its_own(results, tmp_path, monkeypatch):
    monkeypatch.setattr(plotly_js, "get_plotlyjs_version", lambda: "3.7.0")
    page = viz.report(results["run"], tmp_path / "r.html").read_text()
    assert "cartesian" not in carried(page)[:300]


def carried(page):
    """The plotly.js of a page."""
    text = page.split('id="plotly">')[1].split("</script>")[0]
    return gzip.decompress(base64.b64decode(text)).decode()


def test_tables_are_bounded_and_say_so(rng, tmp_path):
    explanation = make_images(rng.normal(size=(3, 3, 64, 64)))
    page = viz.report(explanation, tmp_path / "r.html").read_text()
    assert page.count("<tr>") <= 201
    assert "66 largest of each sample, from 36,864 values" in page
    assert "integrated gradients" in page


def test_a_comparison_has_a_table_of_every_method(results, rng, tmp_path):
    page = viz.report(results["comparison"], tmp_path / "r.html").read_text()
    assert page.count('class="plot"') == 1
    assert '<td class="text">integrated gradients</td>' in page
    assert '<td class="text">saliency</td>' in page
    assert "saliency: The 50 largest of each sample, from 128 values" in page
    assert page.count("<tr>") <= 202
    assert "Comparison of 2 explanations" in page


def test_items_of_every_kind(results, tmp_path):
    given = ["Hello.\n\nAgain.", ("Part", results["table"]), ("Words", "only"), results["run"]]
    page = viz.report(given, tmp_path / "r.html").read_text()
    assert page.count("<p>") >= 2
    assert page.count("<h2>") == 2
    assert page.count('class="plot"') == 2
    assert "<nav" not in page
    text = viz.report("only text", tmp_path / "t.html").read_text()
    assert 'id="plotly"' not in text


def test_report_errors(results, tmp_path):
    for empty in ([], {}, {"a": []}):
        with pytest.raises(InputError, match="nothing to report"):
            viz.report(empty, tmp_path / "r.html")
    for wrong in (3, [3], {"a": 3}, [("a", "b", "c")]):
        with pytest.raises(InputTypeError, match="report"):
            viz.report(wrong, tmp_path / "r.html")
    with pytest.raises(UnwritableError, match="does not exist"):
        viz.report("x", tmp_path / "no" / "r.html")
    with pytest.raises(InputError, match="theme"):
        viz.report("x", tmp_path / "r.html", theme="pink")
    assert not list(tmp_path.iterdir())
