"""Statistics of tensors, against NumPy, on the CPU's way and on the devices'."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.interpret.training.recording import statistics
from pellucid.interpret.training.recording.lanes import DeviceLane
from pellucid.interpret.training.recording.octaves import BINS, EDGES, in_order, widened
from pellucid.interpret.training.recording.statistics import CPULane, Gathering, measurable


def measured(lane, tensors, *, histogram=True):
    """Send tensors through a lane, as a gathering does."""
    gathering = Gathering()
    gathering._lane = lambda device: lane
    several = {("layer", str(k)): tensor for k, tensor in enumerate(tensors)}
    half = len(several) // 2
    for key in list(several)[:half]:
        gathering.add(key, several[key], histogram=histogram)
    gathering.add_all({key: several[key] for key in list(several)[half:]}, histogram=histogram)
    lane.send()
    assert lane.ready()
    assert lane.read() == []
    found, _ = gathering.read()
    return [found[key] for key in several]


def lanes():
    return [CPULane(), DeviceLane(torch.device("cpu"))]


def check(found, values):
    """Compare a summary with NumPy's word on the same float32 values."""
    values = np.asarray(values, dtype=np.float64).ravel()
    assert found.count == values.size
    size = np.abs(values).max()
    np.testing.assert_allclose(found.mean, values.mean(), atol=3e-6 * size)
    np.testing.assert_allclose(found.std, values.std(), rtol=1e-4, atol=3e-6 * size)
    # Sums of many equal float32 squares round to the same side.
    np.testing.assert_allclose(found.norm, np.linalg.norm(values), rtol=1e-4)
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.zeros == (values == 0).sum()
    assert found.not_finite == 0
    # NumPy's bins hold their left edge; ours of negative values are the mirrored ones.
    positive = EDGES[BINS // 2 + 1 :]
    ours = in_order(found.keys)
    np.testing.assert_array_equal(
        ours[BINS // 2 + 1 :], np.histogram(values[values > 0], positive)[0]
    )
    np.testing.assert_array_equal(
        ours[: BINS // 2], np.histogram(-values[values < 0], positive)[0][::-1]
    )
    assert ours.sum() == values.size


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    scale=st.integers(-30, 30),
    shift=st.sampled_from([0.0, 1.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_small_tensors_are_measured_as_numpy_does(sizes, scale, shift, seed):
    generator = np.random.default_rng(seed)
    arrays = [
        ((generator.normal(size=size) + shift) * 10.0**scale).astype(np.float32) for size in sizes
    ]
    arrays[0][:: 1 + seed] = 0
    for lane in lanes():
        for found, values in zip(measured(lane, map(torch.tensor, arrays)), arrays, strict=True):
            check(found, values)
        large = np.tile(arrays[-1], -(-40_000 // len(arrays[-1])))
        check(measured(lane, [torch.tensor(large)])[0], large)


@pytest.mark.parametrize("shape", [(300_001,), (70, 30, 11, 13), (1 << 17,), (1 << 14,)])
def test_large_tensors_are_measured_as_numpy_does(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02 + 0.5
    for lane in lanes():
        check(measured(lane, [values])[0], values)


def test_many_values_are_measured_on_several_threads():
    values = torch.randn(700_001, generator=torch.Generator().manual_seed(0))
    one = statistics.summary(values)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = statistics.summary(values)
    finally:
        torch.set_num_threads(threads)
    check(found, values)
    np.testing.assert_array_equal(found.keys, one.keys)


def test_values_on_the_edges_fall_to_the_side_away_from_zero():
    edges = torch.tensor(EDGES[BINS // 2 + 1 : -1], dtype=torch.float32)
    for lane in lanes():
        one, other = measured(lane, [edges, -edges])
        np.testing.assert_array_equal(in_order(one.keys)[BINS // 2 + 1 :], 1)
        np.testing.assert_array_equal(in_order(other.keys)[: BINS // 2], 1)


def test_constants_have_no_spread():
    for lane in lanes():
        for found in measured(lane, [torch.full((100,), 0.1), torch.full((100_000,), 0.1)]):
            assert found.std < 1e-7
            assert found.mean == pytest.approx(0.1)


def test_values_that_are_not_finite_are_counted_and_show():
    values = torch.randn(50_000)
    values[:3], values[3], values[4:6] = torch.nan, torch.inf, -torch.inf
    for tensor in (values, values[:100]):
        for lane in lanes():
            (found,) = measured(lane, [tensor])
            assert found.not_finite == 6
            assert not found.finite
            assert np.isnan(found.mean)
            assert np.isnan(found.low)
            assert in_order(found.keys).sum() == len(tensor) - 6
    for lane in lanes():
        (found,) = measured(lane, [torch.tensor([1.0, torch.inf])])
        assert (found.low, found.high, found.finite) == (1.0, np.inf, False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [100, 200_000])
def test_other_precisions(dtype, size):
    values = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(dtype)
    for lane in lanes():
        check(measured(lane, [values])[0], values.float())


def test_any_layout():
    cube = torch.randn(4, 6, 5, 7)
    complex_ = torch.randn(30, dtype=torch.complex64)
    index = torch.tensor([[0, 3, 3, 9]])
    sparse = torch.sparse_coo_tensor(index, torch.randn(4, 5), (12, 5), check_invariants=True)
    cases = [
        (cube.to(memory_format=torch.channels_last), cube),
        (cube.transpose(0, 3), cube),
        (cube[:, ::2], cube[:, ::2]),
        (cube[:1].expand(3, -1, -1, -1), cube[:1].expand(3, -1, -1, -1)),
        (torch.tensor(2.5), torch.tensor([2.5])),
        (complex_.conj(), torch.view_as_real(complex_.conj().resolve_conj())),
        (sparse, sparse.to_dense()),
    ]
    for tensor, values in cases:
        gathering = Gathering()
        gathering.add(("a", "b"), tensor)
        gathering.send()
        found, _ = gathering.read()
        check(found["a", "b"], values)


def test_what_cannot_be_measured_is_told_apart():
    yes = [torch.ones(1), torch.ones((), dtype=torch.complex64), torch.ones(2).bfloat16()]
    no = [
        torch.ones(0),
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, dtype=torch.bool),
        torch.ones(2, device="meta"),
        torch.nn.parameter.UninitializedParameter(),
        None,
        (torch.ones(2),),
    ]
    assert all(map(measurable, yes))
    assert not any(map(measurable, no))


def test_a_gathering_merges_what_has_one_key_and_keeps_the_order():
    parts = [torch.randn(n) for n in (10, 40_000, 3)]
    gathering = Gathering()
    gathering.add(("z", "output"), parts[0])
    gathering.add(("a", "output"), torch.ones(5))
    for part in parts[1:]:
        gathering.add(("z", "output"), part)
    gathering.fetch(("a", "dead"), torch.tensor(2))
    gathering.fetch(("a", "dead"), torch.tensor(3))
    gathering.send()
    found, arrays = gathering.read()
    assert list(found) == [("z", "output"), ("a", "output")]
    check(found["z", "output"], torch.cat(parts))
    assert arrays["a", "dead"] == 5


def test_a_tensor_that_is_written_into_is_another_one():
    tensor = torch.randn(100)
    before = tensor.clone()
    gathering = Gathering()
    gathering.add(("a", "output"), tensor)
    gathering.add(("b", "input"), tensor)
    tensor.relu_()
    gathering.add(("b", "output"), tensor)
    gathering.add(("c", "output"), tensor, histogram=True)
    tensor.zero_()
    gathering.send()
    found, _ = gathering.read()
    for key in (("a", "output"), ("b", "input")):
        check(found[key], before)
    for key in (("b", "output"), ("c", "output")):
        check(found[key], before.relu())


def test_counting_on_a_device_is_allowed_where_only_deterministic_algorithms_are():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        check(measured(DeviceLane(torch.device("cpu")), [torch.ones(40_000)])[0], np.ones(40_000))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@settings(max_examples=50, deadline=None)
@given(
    several=st.lists(
        st.sets(st.integers(0, BINS - 1) | st.integers(1010, 1030), max_size=20), max_size=4
    )
)
def test_widened_histograms_keep_every_count_between_its_edges(several):
    lengths = [len(one) for one in several]
    together = np.array([bin_ for one in several for bin_ in sorted(one)], dtype=np.uint16)
    numbers = np.arange(1, len(together) + 1)
    found = widened(together, numbers, lengths)
    assert len(found) == len(several)
    for (edges, filled), end, length in zip(found, np.cumsum(lengths), lengths, strict=True):
        check_widened(edges, filled, together[end - length : end], numbers[end - length : end])


def check_widened(edges, filled, bins, counts):
    assert len(edges) == len(filled) + 1
    assert (np.diff(edges) > 0).all()
    held = {
        (EDGES[b], EDGES[b + 1]): c for b, c in zip(bins.tolist(), counts.tolist(), strict=True)
    }
    ours = {(a, b): c for a, b, c in zip(edges[:-1], edges[1:], filled, strict=True) if c}
    assert ours == held
