import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.datasets import Dataset, load_breast_cancer, load_diabetes, load_digits, load_wine
from pellucid.errors import InputError

BREAST_CANCER = load_breast_cancer()


def table(**changes):
    """Six samples of two features in two classes."""
    fields = {
        "name": "small",
        "inputs": np.arange(12, dtype=np.float32).reshape(6, 2),
        "targets": np.array([0, 1, 0, 1, 0, 1]),
        "task": "classification",
        "feature_names": ("height", "width"),
        "class_names": ("no", "yes"),
    }
    return Dataset(**{**fields, **changes})


# -- what is let in --------------------------------------------------------------------------


def test_arrays_are_brought_to_their_types():
    data = table(inputs=[[1, 2]] * 6, targets=[0, 1, 0, 1, 0, 1], feature_names=["a", "b"])
    assert data.inputs.dtype == np.float32
    assert data.targets.dtype == np.int64
    assert data.feature_names == ("a", "b")
    assert table(task="regression", class_names=None).targets.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros(6)}, "at least one feature"),
        ({"inputs": np.zeros((0, 2)), "targets": np.zeros(0, int)}, "at least one feature"),
        ({"inputs": np.zeros((6, 0)), "feature_names": None}, "at least one feature"),
        ({"inputs": np.array([["a", "b"]] * 6)}, "array of numbers"),
        ({"inputs": np.array([[0, np.nan]] * 6)}, "6 values .* sample 0, feature 'width'"),
        ({"inputs": np.array([[0, 1e300]] * 6)}, "too large for float32"),
        ({"inputs": np.full((6, 1, 2, 2), np.inf), "feature_names": None}, "feature 0, 0, 0"),
        ({"targets": np.zeros(5, int)}, r"6 samples, but targets of shape \(5,\)"),
        ({"targets": np.zeros((6, 1), int)}, "targets of shape"),
        ({"targets": np.zeros(6)}, "class indices"),
        ({"targets": np.full(6, -1)}, "class indices"),
        ({"targets": np.full(6, 2)}, "up to class 2, but there are 2 class names"),
        ({"targets": np.array(["no", "yes"] * 3)}, "targets are an array of numbers"),
        ({"task": "clustering"}, "'classification' or 'regression'"),
        ({"task": "regression"}, "a regression has no class_names"),
        ({"task": "regression", "class_names": None, "targets": [0, np.inf] * 3}, "finite"),
        ({"feature_names": ("a",)}, "1 feature names"),
        ({"feature_names": "ab"}, "sequence of strings"),
        ({"feature_names": (1, 2)}, "sequence of strings"),
        ({"feature_names": ("a", "a")}, "'a' more than once"),
        ({"class_names": ("no", "no")}, "'no' more than once"),
        ({"inputs": np.zeros((6, 2, 2))}, "images have none"),
        ({"sample_ids": np.arange(5)}, "sample_ids of shape"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        table(**changes)


# -- choosing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (2, [2]),
        (-1, [5]),
        (slice(1, 3), [1, 2]),
        ([5, 0, 0], [5, 0, 0]),
        (np.array([True, False] * 3), [0, 2, 4]),
    ],
)
def test_subset_keeps_ids_and_rows_together(index, kept):
    part = table(sample_ids=np.array(list("abcdef"))).subset(index)
    assert part.sample_ids.tolist() == ["abcdef"[i] for i in kept]
    assert np.array_equal(part.inputs, table().inputs[kept])
    assert np.array_equal(part.targets, table().targets[kept])


@pytest.mark.parametrize("index", [6, -7, [], [0.5], [True, False], "ab", np.zeros((1, 1), int)])
def test_a_bad_index_is_refused(index):
    with pytest.raises(InputError, match="cannot choose from 6|chosen by one list"):
        table().subset(index)


@given(
    share=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32),
    stratify=st.booleans(),
)
def test_a_split_covers_everything_once(share, seed, stratify):
    data = BREAST_CANCER
    train, test = data.split(share, seed, stratify=stratify)
    ids = np.concatenate([train.sample_ids, test.sample_ids])
    assert np.array_equal(np.sort(ids), np.arange(len(data)))
    assert len(test) == min(max(round(share * len(data)), 1), len(data) - 1)
    for part in (train, test):
        assert np.array_equal(part.inputs, data.inputs[part.sample_ids])
        assert np.array_equal(part.targets, data.targets[part.sample_ids])
    if stratify:
        expected = np.bincount(data.targets) * len(test) / len(data)
        assert (np.abs(np.bincount(test.targets, minlength=2) - expected) < 1).all()


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_any_classes_can_be_stratified(targets, share):
    data = table(
        inputs=np.zeros((len(targets), 2)), targets=np.array(targets), class_names=tuple("abcde")
    )
    train, test = data.split(share)
    assert len(train) + len(test) == len(data)
    expected = np.bincount(targets, minlength=5) * len(test) / len(data)
    assert (np.abs(np.bincount(test.targets, minlength=5) - expected) < 1).all()


def test_a_split_follows_its_seed():
    once, again, other = (load_wine().split(seed=seed)[1].sample_ids for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_split_is_shuffled():
    # scikit-learn's wines are sorted by class; five rows of a part are to show more than one.
    train, test = load_wine().split()
    assert len(set(test.targets[:10])) > 1
    assert len(set(train.targets[:10])) > 1


def test_a_regression_is_split_at_random():
    train, test = load_diabetes().split(0.5)
    assert (len(train), len(test)) == (221, 221)


def test_splitting_twice_keeps_the_ids_of_the_whole():
    train, _ = load_wine().split(0.3)
    _, validation = train.split(0.2)
    assert np.array_equal(validation.inputs, load_wine().inputs[validation.sample_ids])


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 20, True, "a third", None, float("nan")])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(InputError, match="between 0 and 1"):
        table().split(share)


@pytest.mark.parametrize("seed", [-1, 0.5, None, True, "one"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match="seed is an integer"):
        table().split(seed=seed)


def test_one_sample_cannot_be_split():
    with pytest.raises(InputError, match="one sample"):
        table().subset(0).split()


# -- scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_wine, load_diabetes])
def test_standardized_features_have_mean_0_and_deviation_1(load):
    data = load()
    scaled = data.standardized()
    assert scaled.inputs.dtype == np.float32
    spread = scaled.inputs.astype(np.float64).std(axis=0)
    constant = np.ptp(data.inputs, axis=0) == 0
    assert np.allclose(scaled.inputs.astype(np.float64).mean(axis=0), 0, atol=1e-5)
    assert np.allclose(spread[~constant], 1, atol=1e-5)
    assert (scaled.inputs[:, constant] == 0).all()
    assert "standard deviation" in scaled.preprocessing
    assert np.allclose(scaled.original_inputs(), data.inputs, rtol=1e-5, atol=1e-6)


def test_a_constant_feature_becomes_zero():
    # 0.1 has no exact mean in floating point.
    inputs = np.column_stack([np.full(6, 0.1), np.arange(6)]).astype(np.float32)
    scaled = table(inputs=inputs).standardized()
    assert (scaled.inputs[:, 0] == 0).all()
    assert scaled.scale[0] == 1
    assert np.array_equal(scaled.original_inputs()[:, 0], inputs[:, 0])


def test_the_test_part_is_scaled_like_the_training_part():
    train, test = load_wine().split()
    expected = (test.inputs - train.inputs.mean(0)) / train.inputs.std(0)
    for like in (train, train.standardized()):
        scaled = test.standardized(like=like)
        assert np.allclose(scaled.inputs, expected, atol=1e-3)
        assert np.array_equal(scaled.mean, train.standardized().mean)
        assert f"{len(train)} samples of wine" in scaled.preprocessing


def test_scaling_keeps_what_was_done_before():
    assert load_digits().standardized().preprocessing.startswith("pixel counts of 0 to 16")


def test_original_inputs_of_unscaled_data_are_the_inputs():
    assert np.array_equal(table().original_inputs(), table().inputs)


def test_scaling_twice_is_refused():
    with pytest.raises(InputError, match="already"):
        table().standardized().standardized()


def test_scaling_like_something_else_is_refused():
    with pytest.raises(InputError, match=r"\(13,\).*\(2,\)"):
        table().standardized(like=load_wine())


# -- in other forms --------------------------------------------------------------------------


def test_torch_tensors_are_copies():
    import torch

    data = table()
    inputs, targets = data.torch()
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    assert np.array_equal(inputs.numpy(), data.inputs)
    inputs.zero_()
    assert data.inputs[0, 1] == 1
    assert load_diabetes().torch()[1].dtype == torch.float32


def test_a_table_has_names_and_classes():
    frame = table(sample_ids=np.arange(10, 16)).to_frame()
    assert list(frame.columns) == ["height", "width", "target"]
    assert frame.index.tolist() == list(range(10, 16))
    assert frame.loc[11, "width"] == 3
    assert frame["target"].tolist() == ["no", "yes"] * 3


def test_a_table_of_pictures_names_their_positions():
    frame = load_digits().to_frame()
    assert frame.shape == (1797, 65)
    assert frame.columns[9] == "0, 1, 1"
    assert frame.loc[0, "target"] == "0"


def test_a_table_of_a_regression_has_values():
    frame = load_diabetes().to_frame()
    assert frame["target"].iloc[0] == 151


def test_repr_of_many_classes_stays_short():
    many = table(
        inputs=np.zeros((50, 2)), targets=np.arange(50), class_names=tuple(map(str, range(50)))
    )
    assert "... 40 more" in repr(many)
