import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import InputError
from pellucid.interpret.results.trees import leaves


def test_a_table_holds_every_value(make):
    explanation = make["explanation"]()
    frame = explanation.to_frame()
    assert list(frame.columns) == ["sample_id", "feature", "value", "input_value"]
    assert len(frame) == explanation.values.size
    for i, sample in enumerate(explanation.sample_ids):
        for j, feature in enumerate(explanation.feature_names):
            row = frame[(frame.sample_id == sample) & (frame.feature == feature)].iloc[0]
            assert row.value == explanation.values[i, j]
            assert row.input_value == explanation.inputs[i, j]


def test_a_table_of_several_targets_names_them(make):
    explanation = make["several_targets"]()
    frame = explanation.to_frame()
    assert list(frame.columns) == ["sample_id", "target", "feature", "value", "input_value"]
    row = frame[(frame.sample_id == 2) & (frame.target == "c") & (frame.feature == 1)].iloc[0]
    assert row.value == explanation.values[2, 1, 1]
    assert row.input_value == explanation.inputs[2, 1]


def test_a_table_of_several_inputs_names_them(make):
    explanation = make["several_inputs"]()
    frame = explanation.to_frame()
    assert set(frame.input) == {"image", "tables.0"}
    row = frame[(frame.sample_id == 1) & (frame.channel == 0) & (frame.row == 1)].iloc[0]
    assert row.value == explanation.values["image"][1, 0, 1, 0]
    tables = frame[frame.input == "tables.0"]
    assert np.array_equal(tables.value, explanation.values["tables"][0].ravel())
    assert np.array_equal(tables.input_value, explanation.inputs["tables"][0].ravel())


def test_other_tables_hold_every_value(make):
    importance = make["importance"]()
    frame = importance.to_frame()
    assert frame.importance.tolist() == sorted(importance.values, reverse=True)
    for row in frame.itertuples():
        position = importance.feature_names.index(row.feature)
        assert row.importance == importance.values[position]
        assert row.standard_error == importance.standard_error[position]

    projection = make["projection"](dimensions=3)
    frame = projection.to_frame()
    assert np.array_equal(frame[["x", "y", "z"]], projection.coordinates)
    assert np.array_equal(frame.preservation, projection.preservation)
    assert np.array_equal(frame.label, projection.labels)

    run = make["run"]()
    frame = run.to_frame()
    for name, (steps, values) in run.metrics.items():
        assert np.array_equal(frame[frame.metric == name].step, steps)
        assert np.array_equal(frame[frame.metric == name].value, values, equal_nan=True)
    assert make["run"](0).to_frame().columns.tolist() == ["metric", "layer", "step", "value"]

    frame = make["snapshot"]().to_frame()
    assert frame["size"].sum() == make["snapshot"]().size
    weight = make["snapshot"]().layers[0].parameters["weight"]
    assert frame.loc[0, "shape"] == weight.shape
    assert frame.loc[0, "max"] == weight.max()


# -- the largest values ----------------------------------------------------------------------


def largest(values, k):
    return sorted(values, key=lambda v: -abs(v))[:k]


@given(k=st.integers(1, 5), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["explanation", "several_inputs", "several_targets"])
def test_top_is_what_sorting_gives(make, name, k, seed):
    explanation = make[name](3)[np.random.default_rng(seed).permutation(3)]
    per_row = 2 if name == "several_targets" else 1
    expected = []
    for i in range(3):
        rows = [a[i].reshape(per_row, -1) for _, a in leaves(explanation.values) if a is not None]
        for values in np.concatenate(rows, axis=1):
            expected += largest(values, k)
    top = explanation.top(k)
    assert top.value.tolist() == expected
    assert list(top.columns) == list(explanation.to_frame().columns)


def test_rows_of_one_name_have_each_their_top(make):
    twice = make["explanation"]()[[0, 0, 1]]
    assert twice.top(2).sample_id.tolist() == ["id-0"] * 4 + ["id-1"] * 2


def test_ties_and_gaps_in_top(make):
    values = np.array([[1.0, -1.0, np.nan]])
    top = make["explanation"](1, values=values).top(2)
    assert top.feature.tolist() == ["age", "größe"]


def test_top_of_no_samples_is_an_empty_table(make):
    assert make["explanation"]()[[]].top().empty


@pytest.mark.parametrize("k", [0, -1])
def test_top_needs_at_least_one(make, k):
    with pytest.raises(InputError, match="at least 1"):
        make["explanation"]().top(k)


# -- groups ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "groups",
    [
        {"a": ["age", "<b>sex</b>"], "b": ["größe"]},
        {"a": [0, 2], "b": [1]},
        {"a": np.array([True, False, True]), "b": [False, True, False]},
        {"a": np.array([0, 2]), "b": np.array(["größe"])},
    ],
)
def test_groups_add_up(make, groups):
    explanation = make["explanation"]()
    sums = explanation.group_sums(groups)
    assert sums.index.tolist() == explanation.sample_ids.tolist()
    for i in range(len(explanation)):
        values = explanation.values[i]
        assert sums["a"].iloc[i] == pytest.approx(float(values[0]) + float(values[2]))
        assert sums["b"].iloc[i] == values[1]


@given(st.lists(st.integers(-2, 2), min_size=3, max_size=3))
def test_groups_as_an_array_add_up(make, labels):
    explanation = make["explanation"]()
    sums = explanation.group_sums(np.array(labels))
    assert sums.columns.tolist() == [f"group {label}" for label in sorted(set(labels))]
    for label in labels:
        members = [j for j in range(3) if labels[j] == label]
        expected = [sum(float(v[j]) for j in members) for v in explanation.values]
        assert np.allclose(sums[f"group {label}"], expected)


def test_groups_of_pixels_add_up(make):
    image = make["several_inputs"]().select("image")
    segments = np.array([[[0, 0], [1, 1]]])
    sums = image.group_sums(segments)
    assert np.allclose(sums["group 1"], image.values[:, 0, 1].sum(axis=-1))


def test_an_empty_group_is_zero_and_known_groups_are_used(make):
    assert (make["explanation"]().group_sums({"none": []})["none"] == 0).all()
    known = make["explanation"]().group_sums()
    assert known.columns.tolist() == ["body"]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"a": ["weight"]}, r"group 'a' names the unknown feature 'weight'; known: age"),
        ({"a": [3]}, "features are 0 to 2"),
        ({"a": [-1]}, "features are 0 to 2"),
        ({"a": [0.5]}, "features are 0 to 2"),
        ({"a": [True, False]}, r"mask of shape \(2,\); one sample has \(3,\)"),
        (np.array([0, 1]), "integers of one sample's shape"),
        (np.array([0.0, 1.0, 1.0]), "got float64"),
    ],
)
def test_wrong_groups_are_named(make, groups, says):
    with pytest.raises(InputError, match=says):
        make["explanation"]().group_sums(groups)


def test_group_sums_say_what_they_need(make):
    with pytest.raises(InputError, match="no groups are known"):
        make["explanation"](groups=None).group_sums()
    with pytest.raises(InputError, match="one target"):
        make["several_targets"]().group_sums({"a": [0]})
    with pytest.raises(InputError, match=r"choose one with explanation.select\('image'\)"):
        make["several_inputs"]().group_sums({"a": [0]})


# -- one of several inputs -------------------------------------------------------------------


def test_select_is_an_explanation_of_one_input(make):
    several = make["several_inputs"]()
    one = several.select("tables.0")
    assert np.array_equal(one.values, several.values["tables"][0])
    assert np.array_equal(one.inputs, several.inputs["tables"][0])
    assert np.array_equal(one.baseline, several.baseline["tables"][0])
    assert np.array_equal(one.standard_error, several.standard_error["tables"][0])
    assert one.axes == ("sample", "feature")
    assert one.settings["input"] == "tables.0"
    assert "input" not in one.to_frame().columns


@pytest.mark.parametrize("path", ["tables", "tables.1", "mask", ""])
def test_select_names_what_there_is(make, path):
    with pytest.raises(InputError, match="no attributed input .* there are .*'image'"):
        make["several_inputs"]().select(path)


def test_layers_are_found_by_name(make):
    assert make["snapshot"]().layer("features.1").kind == "Conv2d"
    with pytest.raises(InputError, match="no layer 'head'.*'features.0'"):
        make["snapshot"]().layer("head")


# -- groups, categories and interactions as what is explained --------------------------------


@pytest.fixture
def grouped(make):
    """Values of two groups of three features, in the groups' own order."""
    masks = {"<b>last</b>": np.array([False, False, True]), "body": np.array([True, True, False])}
    values = np.array([[1.0, -3.0], [0.5, 0.25]])
    return make["explanation"](2, values=values, axes=("sample", "group"), groups=masks)


def test_groups_are_named_and_stand_beside_no_input(grouped):
    frame = grouped.to_frame()
    assert list(frame.columns) == ["sample_id", "group", "value"]
    assert frame.group.tolist() == ["<b>last</b>", "body"] * 2
    assert frame.value.tolist() == [1.0, -3.0, 0.5, 0.25]
    assert grouped.top(1).group.tolist() == ["body", "<b>last</b>"]
    assert "body" in grouped.summary()


def test_as_many_groups_as_features_are_still_no_features(make):
    masks = {name: np.arange(3) == i for i, name in enumerate("cab")}
    explanation = make["explanation"](axes=("sample", "group"), groups=masks)
    assert "input_value" not in explanation.to_frame().columns


def test_the_sums_of_groups_are_themselves(grouped):
    sums = grouped.group_sums()
    assert sums.columns.tolist() == ["<b>last</b>", "body"]
    assert np.array_equal(sums.to_numpy(), grouped.values)
    assert grouped.group_sums({"both": ["body", "<b>last</b>"]})["both"].tolist() == [-2.0, 0.75]
    with pytest.raises(InputError, match="unknown feature 'age'"):
        grouped.group_sums({"a": ["age"]})


def test_categories_are_shown_by_their_texts(make):
    inputs = np.array([[31.0, 1.0, np.nan], [44.0, 0.0, 2.5]])
    explanation = make["explanation"](
        2, values=np.ones((2, 3)), inputs=inputs, categories={"größe": ("S", "XL")}
    )
    told = explanation.to_frame().input_value.tolist()
    assert told[:2] + told[3:] == [31.0, "XL", 44.0, "S", 2.5]
    assert np.isnan(told[2])
    unnamed = make["explanation"](
        2, values=np.ones((2, 3)), inputs=inputs, feature_names=None, categories={"1": ("S", "XL")}
    )
    assert unnamed.to_frame().input_value.tolist()[1] == "XL"


@pytest.mark.parametrize("axis", ["feature", "group"])
def test_interactions_name_both_features(make, axis):
    values = np.arange(18.0).reshape(2, 3, 3)
    groups = {name: np.arange(3) == i for i, name in enumerate("abc")}
    explanation = make["explanation"](
        2, values=values, axes=("sample", axis, "with"), groups=groups
    )
    frame = explanation.to_frame()
    assert list(frame.columns) == ["sample_id", axis, "with", "value"]
    names = list("abc") if axis == "group" else list(explanation.feature_names)
    row = frame[(frame[axis] == names[2]) & (frame["with"] == names[0])].iloc[0]
    assert row.value == values[0, 2, 0]
    sums = explanation.group_sums({"first": [names[0]]})
    assert sums["first"].tolist() == values[:, 0].sum(axis=1).tolist()
    assert f"{names[2]}, {names[2]}" in explanation.summary()
