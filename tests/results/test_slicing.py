import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import InputError, InputTypeError
from pellucid.interpret.results.trees import leaves

SLICED = ("explanation", "several_inputs", "several_targets", "projection")


@pytest.fixture(params=SLICED)
def sliced(request, make):
    return make[request.param]()


def rows_of(result):
    """Every array with the sample axis, by name."""
    n = len(result)
    for name in result._sampled_fields():
        for path, array in leaves(getattr(result, name)):
            if isinstance(array, np.ndarray) and len(array) == n:
                yield f"{name} {path}", array


@given(data=st.data())
@pytest.mark.parametrize("name", SLICED)
def test_all_fields_are_sliced_as_numpy_slices(make, name, data):
    result = make[name](5)
    index = data.draw(
        st.one_of(
            st.integers(-5, 4),
            st.slices(5),
            st.lists(st.integers(-5, 4), max_size=6),
            st.lists(st.booleans(), min_size=5, max_size=5),
            st.lists(st.integers(0, 4), max_size=6).map(lambda x: np.array(x, np.uint8)),
            st.integers(0, 4).map(np.int64),
        )
    )
    part = result[index]
    assert type(part) is type(result)
    chosen = np.atleast_1d(np.arange(5)[index])
    assert len(part) == len(chosen)
    before = dict(rows_of(result))
    if len(chosen) == 1:  # then a baseline that all share has the length of the sample axis
        assert before.keys() <= dict(rows_of(part)).keys()
    for key, array in rows_of(part):
        if key in before:
            assert np.array_equal(array, before[key][chosen])
    part.summary()
    assert len(part.to_frame()) == len(result.to_frame()) // 5 * len(chosen)


def test_what_has_no_sample_axis_stays(make):
    explanation = make["explanation"]()
    one = explanation[1]
    assert np.array_equal(one.baseline, explanation.baseline)
    assert one.groups is explanation.groups
    assert one.target.tolist() == [1]
    assert one.provenance is explanation.provenance
    targets = make["several_targets"]()
    assert targets[:2].target.tolist() == [0, 2]


def test_slices_of_slices(make):
    explanation = make["explanation"](6)
    assert explanation[1:5][[True, False, True, False]][-1].sample_ids.tolist() == ["id-3"]


@pytest.mark.parametrize("index", [4, -5, [0, 4], np.array([-5])])
def test_a_sample_that_is_not_there_is_an_index_error(sliced, index):
    if len(sliced) != 4:
        sliced = sliced[:4]
    with pytest.raises(IndexError, match="there are 4 samples"):
        sliced[index]


@pytest.mark.parametrize("mask", [[True], np.ones((4, 1), bool), np.ones(9, bool), True])
def test_a_mask_of_another_length_is_refused(sliced, mask):
    with pytest.raises(InputError, match="the mask has shape"):
        sliced[mask]


@pytest.mark.parametrize("index", [1.5, "a", None, [[0, 1]], ["id-1"], {}])
def test_what_is_no_index_is_refused(sliced, index):
    with pytest.raises(InputTypeError, match="samples are chosen by an integer"):
        sliced[index]


def test_iteration_ends(sliced):
    rows = list(sliced)
    assert len(rows) == len(sliced)
    assert all(len(row) == 1 for row in rows)


@pytest.mark.parametrize("name", ["importance", "run", "snapshot"])
def test_a_result_without_samples_says_so(make, name):
    with pytest.raises(InputTypeError, match="has no sample axis"):
        make[name]()[0]
    with pytest.raises(InputTypeError, match="has no sample axis"):
        len(make[name]())


def test_a_result_is_true(result, make):
    assert result
    assert make["explanation"]()[[]]


def test_results_are_frozen(result):
    with pytest.raises(AttributeError):
        result.settings = {}
