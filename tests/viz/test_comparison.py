"""A comparison holds explanations of the same samples, and says how far they agree."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from viz_samples import make_images, make_map, make_table

import pellucid as pl
from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results import Comparison, Cost


def compared(**explanations):
    return Comparison(explanations=explanations)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (2, 3, 7), elements=st.integers(-3, 3).map(float)),
)
def test_agreement_is_the_median_of_spearmans_correlations(values):
    table = compared(a=make_table(values[0]), b=make_table(values[1])).agreement()
    with np.errstate(all="ignore"):
        each = [
            spearmanr(one, other).statistic
            for one, other in zip(*values, strict=True)
            if len(set(one)) > 1 and len(set(other)) > 1
        ]
    expected = np.median(each) if each else np.nan
    np.testing.assert_allclose(table.loc["a", "b"], expected, atol=1e-12)
    assert table.loc["a", "b"] == table.loc["b", "a"] or np.isnan(expected)


def test_agreement_knows_same_opposite_and_unlike(rng):
    values = rng.normal(size=(3, 4, 4))
    table = compared(
        one=make_images(values),
        scaled=make_images(np.exp(values)),
        opposite=make_images(-values),
        coarse=make_map(rng.random((3, 2, 2))),
        constant=make_images(np.ones((3, 4, 4))),
        broken=make_images(np.full((3, 4, 4), np.nan)),
    ).agreement()
    assert table.loc["one", "scaled"] == pytest.approx(1)
    assert table.loc["one", "opposite"] == pytest.approx(-1)
    assert table.loc["coarse", "coarse"] == pytest.approx(1)
    for unknown in ("coarse", "constant", "broken"):
        assert np.isnan(table.loc["one", unknown])
    assert np.isnan(table.loc["constant", "constant"])


def test_it_is_sliced_together(rng):
    comparison = compared(a=make_table(rng.normal(size=(4, 3))), b=make_images(np.ones((4, 2, 2))))
    chosen = comparison[[2, 0]]
    assert len(chosen) == 2
    np.testing.assert_array_equal(
        chosen.explanations["a"].values, comparison.explanations["a"].values[[2, 0]]
    )
    assert len(comparison[1:].explanations["b"]) == 3
    assert len(list(comparison)) == 4
    with pytest.raises(IndexError):
        comparison[4]


def test_a_table_names_the_method_of_every_value(rng):
    frame = compared(
        a=make_table(rng.normal(size=(2, 3))), b=make_table(np.ones((2, 3)))
    ).to_frame()
    assert frame.columns[0] == "method"
    assert list(frame["method"]) == ["a"] * 6 + ["b"] * 6
    assert set(frame["value"][6:]) == {1.0}


def test_it_comes_back_from_a_file(rng, tmp_path):
    comparison = compared(
        a=make_table(rng.normal(size=(2, 3)), cost=Cost(3, 2, 0.5)),
        b=make_map(rng.random((2, 3, 3))),
    )
    back = pl.load(comparison.save(tmp_path / "c.safetensors"))
    assert type(back) is Comparison
    assert list(back.explanations) == ["a", "b"]
    for name, explanation in back.explanations.items():
        np.testing.assert_array_equal(explanation.values, comparison.explanations[name].values)
        assert explanation.settings == comparison.explanations[name].settings
    assert back.summary() == comparison.summary()


def test_a_summary_says_error_cost_and_agreement(rng):
    values = rng.normal(size=(3, 5))
    said = compared(
        ig=make_table(values, cost=Cost(40, 32, 1.5)),
        shap=make_table(-values, error=None, standard_error=np.ones((3, 5))),
        saliency=make_table(values, error=None),
    ).summary()
    assert "3 explanations of 3 samples" in said
    assert "error 1.20%" in said
    assert "40 forward, 32 backward, 1.50 s" in said
    assert "standard error known" in said
    assert "error not known" in said
    assert "-1.00" in said
    assert "+1.00" in said
    many = Comparison(explanations={f"m{i}" * 60: make_table(values) for i in range(30)})
    lines = many.summary().splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 110
    assert "agreement" not in compared(only=make_table(values)).summary()


def test_a_long_summary_ranks_only_so_much(rng):
    big = make_images(np.broadcast_to(rng.random((1, 400, 400)), (9, 400, 400)))
    assert "over the first 3 samples" in compared(a=big, b=big).summary()


def test_what_does_not_belong_together_is_refused(rng):
    table = make_table(rng.normal(size=(2, 3)))
    with pytest.raises(InputError, match="at least one"):
        Comparison(explanations={})
    with pytest.raises(InputError, match=r"'a' has 2, 'b' has 1"):
        compared(a=table, b=table[0])
    other = dataclasses.replace(table, sample_ids=np.array(["x", "y"]))
    with pytest.raises(InputError, match="sample ids of 'b'"):
        compared(a=table, b=other)
    compared(a=table, b=dataclasses.replace(table, sample_ids=None))
    with pytest.raises(InputTypeError, match="'a' is a int"):
        compared(a=3)
