import numpy as np
import pytest
import sklearn.datasets

from pellucid import datasets

LOADERS = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


@pytest.fixture(params=LOADERS)
def data(request):
    return LOADERS[request.param]()


def test_everything_is_stated(data):
    assert LOADERS[data.name]
    assert data.description
    assert data.source
    assert data.license
    assert data.inputs.dtype == np.float32
    assert data.targets.dtype == (np.int64 if data.task == "classification" else np.float32)
    assert np.array_equal(data.sample_ids, np.arange(len(data)))
    if data.task == "classification":
        assert set(data.targets) == set(range(len(data.class_names)))
    else:
        assert data.class_names is None


def test_digits_are_scikit_learns_pictures():
    data, theirs = datasets.load_digits(), sklearn.datasets.load_digits()
    assert data.inputs.shape == (1797, 1, 8, 8)
    assert (data.inputs.min(), data.inputs.max()) == (0, 1)
    assert np.array_equal(data.inputs[:, 0] * 16, theirs.images)
    assert np.array_equal(data.targets, theirs.target)
    assert data.class_names == tuple("0123456789")
    assert data.feature_names is None
    assert "16" in data.preprocessing


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_tables_are_scikit_learns(name):
    data, theirs = LOADERS[name](), getattr(sklearn.datasets, f"load_{name}")()
    assert np.array_equal(data.inputs, theirs.data.astype(np.float32))
    assert np.array_equal(data.targets, theirs.target)
    assert data.feature_names == tuple(theirs.feature_names)
    assert data.class_names == tuple(theirs.target_names)
    assert data.preprocessing == "none"


def test_diabetes_is_in_its_own_units():
    data, theirs = datasets.load_diabetes(), sklearn.datasets.load_diabetes(scaled=False)
    assert np.array_equal(data.inputs, theirs.data.astype(np.float32))
    assert np.array_equal(data.targets, theirs.target)
    assert len(data.feature_names) == len(theirs.feature_names) == 10
    for ours, name in zip(data.feature_names[4:], theirs.feature_names[4:], strict=True):
        assert ours.startswith(f"{name}: ")
    # Standardized, they are what scikit-learn calls scaled, but for its factor.
    scaled = sklearn.datasets.load_diabetes().data * np.sqrt(len(data))
    assert np.allclose(data.standardized().inputs, scaled, atol=1e-4)


def test_loading_leaves_numpys_generator_alone(data):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    LOADERS[data.name]().split()
    assert np.array_equal(before, np.random.get_state()[1])


def test_repr_says_what_it_is(data):
    text = repr(data)
    assert data.name in text
    assert f"{len(data):,} samples" in text
    assert data.license in text
    assert len(text.splitlines()) <= 8
