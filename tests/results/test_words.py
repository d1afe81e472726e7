import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from pellucid.errors import InputError
from pellucid.interpret.results import Explanation, Layer, Run, Snapshot

LONG = "a very long name " * 40 + "\n<b>and a line break</b>"


def on_one_screen(result):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = result.summary()
    lines = text.splitlines()
    assert len(lines) <= 25, text
    assert max(map(len, lines)) <= 110, text
    assert text == repr(result)
    return text


def test_every_summary_is_on_one_screen(result):
    on_one_screen(result)


def test_summaries_of_many_things_are_on_one_screen(make):
    assert "997 more samples" in on_one_screen(make["explanation"](1000))
    assert "... and 190 more features" in on_one_screen(make["importance"](200))
    assert "... and 84 more metrics" in on_one_screen(make["run"](100))
    assert "more parameters" in on_one_screen(make["snapshot"](100))
    on_one_screen(make["projection"](1000, dimensions=3))
    many = {f"input {i}": np.zeros((2, 3)) for i in range(50)}
    assert "... and 44 more inputs" in on_one_screen(Explanation(values=many, method="m"))


def test_long_names_do_not_spoil_a_summary(make):
    names = (LONG, "b", "c")
    explanation = make["explanation"](
        feature_names=names,
        class_names=(LONG, "yes"),
        sample_ids=np.array([LONG] * 4),
        settings={"baseline": LONG},
        units=LONG,
        method=LONG,
    )
    on_one_screen(explanation)
    importance = make["importance"]()
    on_one_screen(replace(importance, feature_names=names, metric=LONG, method=LONG))
    projection = make["projection"]()
    on_one_screen(replace(projection, sample_ids=np.array([LONG] * 6), at=LONG, method=LONG))
    pair = (np.arange(2), np.arange(2.0))
    on_one_screen(Run(metrics={LONG: pair}, name=LONG, step_unit=LONG))
    layer = Layer(name=LONG, kind=LONG, parameters={LONG: np.zeros((1,) * 30)})
    on_one_screen(Snapshot(layers=(layer,), name=LONG))


def test_a_summary_says_how_far_to_trust_it(make):
    error = np.array([1e-3, 1e-3, 0.5, np.nan])
    text = make["explanation"](error=error).summary()
    assert "estimated relative error: median 0.10%, worst 50.00%" in text
    assert "2 of 4 rows above the tolerance of 0.01" in text
    assert "completeness residual" in text
    assert "tolerance" not in make["explanation"]().summary()
    unknown = make["explanation"](error=None, residual=None).summary()
    assert "estimated error: not known for this method" in unknown
    assert "estimated error" not in make["several_inputs"]().summary()  # it has standard errors


def test_summaries_of_nothing_and_of_nan(make):
    on_one_screen(make["explanation"]()[[]])
    on_one_screen(make["projection"]()[[]])
    on_one_screen(make["run"](0))
    on_one_screen(make["snapshot"](0))
    on_one_screen(make["importance"](0))
    nan = np.full(4, np.nan)
    on_one_screen(
        make["explanation"](values=np.full((4, 3), np.nan), error=nan, residual=nan, prediction=nan)
    )
    empty = np.zeros(0)
    on_one_screen(Run(metrics={"loss": (empty, empty), "nan": (nan, nan)}))
    infinite = np.array([np.inf, -np.inf, np.nan])
    huge = np.array([60000, -60000], np.float16)
    on_one_screen(
        Snapshot(layers=(Layer("a", "Linear", {"weight": infinite, "scale": huge}),), name="m")
    )


def test_a_summary_names_places_in_pictures(make):
    told = make["several_inputs"]().select("image").summary()
    assert "row 0, column" in told
    assert "channel 0" not in told, "the only channel is not worth a word"
    assert "axis 1" in make["explanation"](axes=None).summary()


def test_an_unknown_class_is_its_index(make):
    assert make["explanation"](target=np.full(4, 7)).target_name(0) == "7"
    assert make["explanation"](target=None).target_name(0) == ""


def test_a_notebook_without_plotly_shows_the_summary(result, monkeypatch):
    import pellucid

    monkeypatch.delattr(pellucid, "viz", raising=False)
    monkeypatch.setitem(sys.modules, "pellucid.viz", None)
    assert result._repr_mimebundle_() == {"text/plain": result.summary()}


# -- what does not fit together --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": None}, "needs values"),
        ({"values": [1.0, 2.0]}, "needs values"),
        ({"values": np.array(1.0)}, "needs values"),
        ({"error": np.zeros(3)}, r"error has shape \(3,\), but values have 4 samples"),
        ({"prediction": np.array(1.0)}, r"prediction has shape \(\)"),
        ({"baseline": np.zeros((2, 3))}, r"baseline has shape \(2, 3\)"),
        ({"inputs": {"a": np.zeros((2, 3))}}, r"inputs\[a\] has shape"),
        ({"sample_ids": np.arange(5)}, "sample_ids has shape"),
        ({"target": np.zeros(3, int)}, "target has shape"),
        ({"feature_names": ("a", "b")}, "2 feature names for 3 features"),
        ({"axes": ("sample",)}, "axes .* are not those of values of shape"),
    ],
)
def test_an_explanation_that_does_not_fit_is_refused(make, changes, says):
    with pytest.raises(InputError, match=says):
        make["explanation"](**changes)


def test_other_results_that_do_not_fit_are_refused(make):
    made = make["importance"]()
    for changes in (
        {"values": np.zeros(2)},
        {"feature_names": ("a",)},
        {"repeats": np.zeros(3)},
        {"repeats": np.zeros((2, 5))},
    ):
        with pytest.raises(InputError, match="Importance of"):
            replace(made, **changes)

    made = make["projection"]()
    for changes in (
        {"coordinates": np.zeros(6)},
        {"preservation": np.array(1.0)},
        {"labels": np.zeros(5)},
    ):
        with pytest.raises(InputError, match="have shape|has shape"):
            replace(made, **changes)

    for pair in (
        (np.zeros(2), np.zeros(3)),
        (np.zeros((2, 2)), np.zeros((2, 2))),
        ([1], [2]),
        (np.zeros(2),),
    ):
        with pytest.raises(InputError, match="metric 'loss' needs two arrays"):
            Run(metrics={"loss": pair})
