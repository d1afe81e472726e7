"""Texts: every token in its place, in its colour, as the text that it is."""

import json

import numpy as np
import pytest
from drawn import caption
from hypothesis import given, settings
from hypothesis import strategies as st
from viz_samples import EVIL, make_generation, make_table, make_text

from pellucid import viz
from pellucid.errors import InputError
from pellucid.viz import theme
from pellucid.viz.attributions.panels import Colors, inks
from pellucid.viz.attributions.texts import fitted, pieces, visible, wrap


def bars(figure):
    return [trace for trace in figure.data if trace.type == "bar"]


def contrast(one, other):
    def luminance(color):
        share = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in share]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# -- tokens ----------------------------------------------------------------------------------


def test_every_token_has_its_value_and_padding_none():
    figure = viz.tokens(make_text([["not", "bad", "!"], ["fine"]], [[-2, 1, 0.5], [3, 9, 9]]))
    (trace,) = bars(figure)
    assert list(trace.text) == ["not", "bad", "!", "fine"]
    assert list(trace.marker.color) == [-2, 1, 0.5, 3]
    axis = figure.layout[trace.marker.coloraxis]
    assert (axis.cmin, axis.cmid, axis.cmax) == (-3, 0, 3)
    assert "“not”, token 0" in trace.hovertext[0]
    assert "contribution -2, 57 % of all magnitudes" in trace.hovertext[0]
    assert "100 % of all magnitudes" in trace.hovertext[3]
    assert [identity[0] for identity in trace.customdata] == [0, 0, 0, 1]
    assert trace.y[0] == trace.y[2] < trace.y[3]


def test_magnitudes_are_sequential():
    text = make_text([["a", "b"]], [[1, 2]], settings={"absolute": True})
    axis = viz.tokens(text).layout.coloraxis10
    assert (axis.cmin, axis.cmax, axis.cmid) == (0, 2, None)


def test_headings_say_what_and_how_far_to_trust_it():
    figure = viz.tokens(make_text([["a"], ["b"]], error=np.array([0.004, 0.5])))
    said = [a.text for a in figure.layout.annotations if "Sample" in a.text]
    assert "Sample 0: positive" in said[0]
    assert "logit 2.5, at the baseline 0.1" in said[0]
    assert "estimated error 0.4 %" in said[0]
    assert ["▲" in text for text in said] == [False, True]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=40),
    st.sampled_from([150, 388, 544]),
)
def test_tokens_never_overlap_nor_leave_the_line(tokens, room):
    found = pieces(make_text([tokens]), 0, by_word=False)
    assert [piece.text for piece in found] == [t for t in np.array(tokens, dtype=str) if t]
    lines = {}
    for piece, line, left, size in wrap(found, room):
        assert left >= lines.get(line, 0)
        assert left + size <= room + 1e-9
        assert size >= 8 * len(fitted(piece.text, room))
        lines[line] = left + size
    assert list(lines) == list(range(len(lines)))


def test_wide_letters_have_room():
    (narrow, wide) = wrap(pieces(make_text([["ab", "映画"]]), 0, by_word=False), 544)
    assert wide[3] > narrow[3]


def test_blanks_and_controls_can_be_seen():
    assert [visible(text) for text in (" the", "\n", "\n\n", "\t", " ", "a\x00b", "é")] == [
        "the", "⏎", "⏎⏎", "⇥", "␣", "a\N{REPLACEMENT CHARACTER}b", "é",
    ]  # fmt: skip
    assert fitted("x" * 500, 388) != "x" * 500
    assert len(fitted("x" * 500, 388)) * 8 + 8 <= 388


def test_words_add_up_and_special_tokens_stay_alone():
    tokens = ["[CLS]", "sur", "##pris", "##ing", "!", "[SEP]", "ok", "[SEP]"]
    words = [-1, 0, 0, 0, 1, -1, 0, -1]
    text = make_text([tokens], [[1, 2, 3, 4, 5, 6, 7, 8]], words=np.array([words]))
    (trace,) = bars(viz.tokens(text, words=True))
    assert list(trace.text) == ["[CLS]", "surprising", "!", "[SEP]", "ok", "[SEP]"]
    assert list(trace.marker.color) == [1, 9, 5, 6, 7, 8]
    assert "tokens 1 to 3" in trace.hovertext[1]
    assert "added up" in caption(viz.tokens(text, words=True))
    assert len(bars(viz.tokens(text))[0].text) == 8
    with pytest.raises(InputError, match="words=False"):
        viz.tokens(make_text([tokens]), words=True)


def test_special_tokens_are_quieter():
    known = make_text([["[CLS]", "the", "<odd>"]], np.zeros((1, 3)), words=np.array([[-1, 0, 1]]))
    font = bars(viz.tokens(known))[0].insidetextfont
    assert [size < 13 for size in font.size] == [True, False, False]
    assert list(font.color) == [theme.LIGHT.quiet, theme.LIGHT.ink, theme.LIGHT.ink]
    guessed = bars(viz.tokens(make_text([["[CLS]", "the", "</s>", "<|end|>"]])))[0].insidetextfont
    assert [size < 13 for size in guessed.size] == [True, False, True, True]


@pytest.mark.parametrize("look", [theme.LIGHT, theme.DARK])
@pytest.mark.parametrize("magnitude", [True, False])
def test_the_ink_can_be_read_on_every_colour(look, magnitude):
    colors = Colors("c", 1.0, magnitude, "")
    scale = look.sequential if magnitude else look.diverging
    stops = np.array([stop for stop, _ in scale])
    values = stops if magnitude else 2 * stops - 1
    for calm in (False, True):
        found = inks(values, colors, look, np.full(len(values), calm))
        for ink, (_, ground) in zip(found, scale, strict=True):
            assert contrast(ink, ground) >= 3.4


def test_not_a_number_has_a_colour_of_its_own():
    figure = viz.tokens(make_text([["a", "b", "c"]], [[np.nan, 1, np.inf]]))
    good, bad = bars(figure)
    assert list(good.text) == ["b"]
    assert list(bad.text) == ["a", "c"]
    assert bad.marker.color == theme.LIGHT.missing
    assert "not a finite number" in bad.hovertext[0]
    assert "2 values are not finite" in caption(figure)
    assert figure.layout.coloraxis10.cmax == 1


@pytest.mark.parametrize(
    "tokens",
    [[["one"]], [["", ""]], [[""], ["a"]], [[str(i) for i in range(300)]], [["a"] * 3000]],
    ids=["one", "empty", "one empty", "300", "3000"],
)
def test_texts_of_any_length(tokens):
    figure = viz.tokens(make_text(tokens))
    drawn = sum(len(trace.text) for trace in bars(figure))
    total = sum(bool(token) for text in tokens for token in text)
    assert drawn == min(total, 2000)
    assert ("1000 more tokens not shown" in caption(figure)) == (total == 3000)
    json.loads(figure.to_json())
    assert figure.layout.yaxis.range[0] > 0


def test_samples_left_out_are_said():
    text = make_text([["a"], ["b"], ["c"]])
    assert "2 of 3 samples shown" in caption(viz.tokens(text, samples=2))
    assert list(bars(viz.tokens(text[[2]]))[0].text) == ["c"]


def test_only_texts_are_drawn(results):
    with pytest.raises(InputError, match=r"viz\.tokens draws values with axes \(sample, token\)"):
        viz.tokens(make_table(np.ones((1, 2))))
    with pytest.raises(InputError, match="several targets"):
        viz.tokens(results["generation"])
    with pytest.raises(InputError, match="samples"):
        viz.tokens(results["text"], samples=0)


# -- output by input tokens ------------------------------------------------------------------


def test_repeated_tokens_are_not_merged():
    figure = viz.token_matrix(make_generation(["a", "b", "a"], ["a", "a"]))
    z = figure.data[0].z
    assert z.shape == (2, 5)
    assert figure.data[0].x is None
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2, 3, 4]
    assert list(figure.layout.xaxis.ticktext) == ["a", "b", "a", "a", "a"]
    assert list(figure.layout.yaxis.ticktext) == ["a", "a"]


def test_cells_without_a_value_are_blank_and_zero_is_not():
    values = np.array([[[1, 0, np.nan], [0, -2, 0.5]]])
    figure = viz.token_matrix(make_generation(["x"], ["y", "z"], values))
    z = figure.data[0].z
    assert np.isnan(z[0, 2])
    assert z[0, 1] == 0
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2, 2)
    assert "blank: no value" in caption(figure)
    full = viz.token_matrix(make_generation(["x"], ["y"], np.ones((1, 1, 2))))
    assert "blank" not in caption(full)


def test_the_pointer_is_told_both_tokens():
    figure = viz.token_matrix(make_generation(["in", EVIL], ["out", "end"]))
    assert figure.data[0].text[1][0].startswith("“end” (log probability 0)<br>from “in”, token 0")
    assert "&lt;img" in figure.data[0].text[0][1]
    assert "%{text}" in figure.data[0].hovertemplate
    assert figure.data[0].customdata[0][0] == 0


def test_padding_has_no_row_and_no_column():
    text = make_generation(["", "b"], ["x", "", "y"], np.ones((1, 3, 5)))
    figure = viz.token_matrix(text)
    assert figure.data[0].z.shape == (2, 3)
    assert list(figure.layout.xaxis.ticktext) == ["b", "x", "y"]


def test_long_matrices_name_some_tokens():
    figure = viz.token_matrix(make_generation([f"w{i}" for i in range(300)], ["x"] * 80))
    named = figure.layout.xaxis.tickvals
    assert 20 < len(named) < 100
    assert figure.layout.xaxis.ticktext[1] == f"w{named[1]}"
    assert "not every token is named" in caption(figure)
    assert figure.data[0].text is None  # too many: they would be most of the file
    assert figure.layout.height < 1400


def test_classes_are_rows_too_and_errors_are_told():
    text = make_generation(
        ["a", "b"], ["no", "yes"], np.ones((1, 2, 4)), target=np.array([0, 1]), target_names=None,
        class_names=("no", "yes"), error=np.array([[0.01, 0.25]]),
    )  # fmt: skip
    figure = viz.token_matrix(text, sample=-1)
    assert list(figure.layout.yaxis.ticktext) == ["no", "yes"]
    assert "worst 25 %" in caption(figure)
    unknown = viz.token_matrix(make_generation(["a"], ["b"]))
    assert "error not known" in caption(unknown)


def test_each_row_may_have_its_own_targets():
    both = make_text(
        [["a", "b"], ["c"]], np.ones((2, 2, 2)), axes=("sample", "target", "token"),
        target=np.array([[5, 7], [9, 1]]), target_names=np.array([["x", "y"], ["z", ""]]),
        prediction=np.ones((2, 2)), baseline_prediction=None, residual=None, error=None,
    )  # fmt: skip
    figure = viz.figure(both)
    assert list(figure.layout.yaxis.ticktext) == ["x", "y"]
    assert "one of 2 samples" in caption(figure)
    assert list(viz.token_matrix(both, sample=1).layout.yaxis.ticktext) == ["z"]


def test_only_matrices_are_drawn(results):
    with pytest.raises(InputError, match=r"\(sample, target, token\)"):
        viz.token_matrix(results["text"])
    with pytest.raises(InputError, match="position from 0 to 0"):
        viz.token_matrix(results["generation"], sample=1)
    with pytest.raises(InputError, match="no tokens"):
        viz.token_matrix(make_generation([""], [""], np.ones((1, 1, 2))))
