"""A training's diagnosis on one page."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ill_runs import trained

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Diagnosis, Finding
from pellucid.interpret.training.diagnosis import diagnose
from pellucid.viz.theme import CONFIG
from pellucid.viz.training.health import training_health


def texts(figure):
    return " ".join(a.text for a in figure.layout.annotations if a.text)


def test_the_page_shows_every_finding_with_its_evidence():
    diagnosis = diagnose(trained("diverging"))
    figure = training_health(diagnosis, width=1280)
    said = texts(figure).replace("<br>", " ")
    for found in diagnosis.findings:
        assert f"<b>{found.severity}</b>" in said
        assert found.kind.capitalize() in said
    assert len({trace.yaxis for trace in figure.data}) == len(diagnosis.findings)
    marked = {shape.x0 for shape in figure.layout.shapes if shape.xref != "paper"}
    assert marked == {found.step for found in diagnosis.findings}
    drawn = {v for t in figure.data for v in np.asarray(t.y, dtype=np.float64)}
    for found in diagnosis.findings:
        for _, values in found.evidence.values():
            assert np.float32(np.nanmax(values)) in drawn
    assert all(trace.y.dtype == np.float32 for trace in figure.data)


def test_a_run_is_diagnosed_for_its_page():
    run = trained("healthy_mlp")
    figure = training_health(run, theme="dark")
    assert "Nothing looks ill" in texts(figure)
    assert "Looked for and not found" in texts(figure)
    assert figure.layout.title.text == "Training health of healthy_mlp"


def test_what_does_not_fit_is_said():
    found = tuple(
        Finding(f"thing {k}", "note", "It is.", "Do.", float(k), None, {}) for k in range(20)
    )
    diagnosis = Diagnosis(findings=found)
    figure = training_health(diagnosis)
    assert "the first 12 of 20 findings" in figure.layout.meta["caption"]["text"]
    small = training_health(diagnosis, height=500)
    assert small.layout.height == 500
    assert "Thing 2" in texts(small)
    assert "Thing 11" not in texts(small)
    assert "of 20 findings" in small.layout.meta["caption"]["text"]
    assert "Thing 19" in texts(training_health(diagnosis, top=20))
    with pytest.raises(InputError, match="top"):
        training_health(diagnosis, top=0)
    with pytest.raises(InputTypeError, match="a Diagnosis or a Run"):
        training_health(3)


def test_names_from_outside_are_text_in_the_page():
    evil = "<img src=x> $x$ %{y}"
    found = Finding(evil, "problem", f"In {evil}.", f"Try {evil}.", 1.0, evil,
                    {evil: (np.arange(3), np.ones(3))})  # fmt: skip
    diagnosis = Diagnosis(findings=(found,), healthy=(evil,), unknown={evil: evil}, name=evil)
    page = training_health(diagnosis).to_json()
    assert "<img" not in page
    assert "\\u003cimg" not in page
    assert "$x$" not in page


values = st.floats(width=64) | st.sampled_from([0.0, np.nan, np.inf, 1e-300, 1e300])
curves = st.integers(0, 30).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=values), arrays(np.float64, n, elements=values)
    )
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(), curves, max_size=5), st.none() | st.floats(-1e9, 1e9))
def test_any_evidence_is_drawn(evidence, step):
    found = Finding("a kind", "warning", "A sentence.", "Advice.", step, None, evidence)
    for width in (420, 1280):
        figure = training_health(Diagnosis(findings=(found,)), width=width)
        json.loads(figure.to_json())
        for axis in (figure.layout.xaxis, figure.layout.yaxis):
            assert axis.range is None or np.isfinite(axis.range).all()


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
def test_the_page_is_drawn_without_error_and_nothing_is_cut_off(browser, tmp_path):
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for name, width, theme in (("diverging", 420, "dark"), ("over_fitting", 1280, "light")):
        figure = training_health(trained(name), width=width, theme=theme)
        path = tmp_path / f"{name}.html"
        figure.write_html(path, include_plotlyjs="directory", config=CONFIG)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector(".scatterlayer .trace path.js-line", state="attached")
        assert page.evaluate(CUT_OFF) == [], name
    page.close()
    assert problems == []
