"""TensorBoard's event files: the same values as TensorBoard's own reader, and never garbage."""

import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c, masked_crc32c
from tensorboard.plugins.histogram import summary_v2 as histogram_v2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import summary_v2 as scalar_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from pellucid.errors import FileError, MissingFileError
from pellucid.interpret.training.logs import records
from pellucid.interpret.training.logs.checksums import _crc32c
from pellucid.interpret.training.logs.tensorboard import read_tensorboard

PNG = b"\x89PNG\r\n\x1a\n some pixels"


def accumulated(path):
    """TensorBoard's own reading, of everything."""
    found = EventAccumulator(str(path), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE)
    return found.Reload()


def write(folder, events, suffix=""):
    """Write events with TensorBoard's writer and return the file."""
    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for event in events:
        writer.add_event(event)
    writer.close()
    (file,) = Path(folder).glob(f"*tfevents*{suffix}" if suffix else "*tfevents*")
    return file


def scalar(tag, step, value, wall=None):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
    return event_pb2.Event(
        wall_time=100 + step if wall is None else wall, step=step, summary=summary
    )


def of(summary, step, *, metadata=True):
    """An event of a TensorFlow 2 summary; its writer leaves out metadata after the first of a tag."""
    if not metadata:
        for value in summary.value:
            value.ClearField("metadata")
    return event_pb2.Event(wall_time=1000.5 + step, step=step, summary=summary)


def tensor_value(tag, tensor, plugin="", **metadata):
    value = summary_pb2.Summary.Value(tag=tag, tensor=tensor)
    if plugin:
        value.metadata.plugin_data.plugin_name = plugin
    for key, content in metadata.items():
        setattr(value.metadata, key, content)
    return summary_pb2.Summary(value=[value])


def framed(payload):
    head = struct.pack("<Q", len(payload))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (head, payload)]
    return head + checksums[0] + payload + checksums[1]


def read_bytes(folder, content, name="events.out.tfevents.1.test"):
    file = Path(folder) / name
    file.write_bytes(content)
    return read_tensorboard(file)


def same_bins(histograms, tag, wanted):
    """Compare with what TensorBoard's reader says: (step, min, max, limits, counts)."""
    held = histograms[tag]
    assert held.steps.tolist() == [step for step, *_ in wanted]
    for edges, counts, (_, low, high, limits, bucket) in zip(
        held.edges, held.counts, wanted, strict=True
    ):
        full = [i for i, count in enumerate(bucket) if count > 0]
        assert counts.tolist() == bucket[full[0] : full[-1] + 1]
        assert edges[1:-1].tolist() == limits[full[0] : full[-1]]
        assert (edges[0], edges[-1]) == (low, high)


@pytest.fixture(scope="module")
def torch_folder(tmp_path_factory):
    """What torch's writer writes: scalars of both styles, histograms, pictures, and other things."""
    folder = tmp_path_factory.mktemp("torch")
    rng = np.random.default_rng(0)
    with SummaryWriter(str(folder)) as writer:
        for step in range(300):
            writer.add_scalar("loss/train", float(np.exp(-step / 50)), step)
            writer.add_scalar("loss/new style", rng.normal(), step, new_style=True)
            writer.add_scalar(
                "loss/double", rng.normal(), step, new_style=True, double_precision=True
            )
            if step % 50 == 0:
                writer.add_histogram("fc/weight", rng.normal(size=500) * 1e-3, step)
                writer.add_histogram("fc/auto", torch.randn(300), step, bins="auto")
                writer.add_image("digits", rng.random((3, 8, 9)), step)
        writer.add_scalar("odd", float("nan"), 0)
        writer.add_scalar("odd", float("inf"), 2**40)
        writer.add_scalar("odd", -0.0, 2**33)
        writer.add_text("note", "hello", 0)
        writer.add_pr_curve("curve", np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9]), 0)
        writer.add_audio("sound", torch.zeros(1, 100), 0)
        writer.add_graph(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    return folder


def test_torchs_values_are_those_of_tensorboards_own_reader(torch_folder):
    run = read_tensorboard(torch_folder)
    peer = accumulated(torch_folder)
    for tag in peer.Tags()["scalars"]:
        steps, values = run.metrics[tag]
        wanted = sorted(peer.Scalars(tag), key=lambda e: e.step)
        assert steps.tolist() == [e.step for e in wanted]
        np.testing.assert_array_equal(values, [e.value for e in wanted])
    for tag in ("loss/new style", "loss/double"):
        steps, values = run.metrics[tag]
        wanted = [float(tensor_util.make_ndarray(e.tensor_proto).item()) for e in peer.Tensors(tag)]
        assert values.tolist() == wanted
        assert len(steps) == 300
    assert set(run.metrics) == {*peer.Tags()["scalars"], "loss/new style", "loss/double"}
    assert set(run.histograms) == set(peer.Tags()["histograms"]) == {"fc/weight", "fc/auto"}
    for tag in run.histograms:
        wanted = [
            (e.step, v.min, v.max, list(v.bucket_limit), list(v.bucket))
            for e in peer.Histograms(tag)
            for v in [e.histogram_value]
        ]
        same_bins(run.histograms, tag, wanted)
        assert all(
            c.sum() == {"fc/weight": 500, "fc/auto": 300}[tag] for c in run.histograms[tag].counts
        )
    pictures = run.pictures["digits"]
    assert [p.tobytes() for p in pictures.encoded] == [
        e.encoded_image_string for e in peer.Images("digits")
    ]
    assert pictures.steps.tolist() == [e.step for e in peer.Images("digits")]
    assert run.name == torch_folder.name
    assert run.step_unit == "step"


def test_what_is_no_scalar_histogram_or_picture_is_counted(torch_folder):
    skipped = read_tensorboard(torch_folder).settings["skipped"]
    assert skipped == {"text": 1, "pr_curves": 1, "audio": 1, "graphs": 1, "run metadata": 1}


def test_the_clock_says_when_each_step_was_first_written(torch_folder):
    run = read_tensorboard(torch_folder)
    peer = accumulated(torch_folder)
    first = peer.FirstEventTimestamp()
    wanted = {}
    for tag in ("loss/train", "odd"):
        for event in peer.Scalars(tag):
            wanted[event.step] = min(wanted.get(event.step, np.inf), event.wall_time - first)
    steps, seconds = run.clock
    assert dict(zip(steps.tolist(), seconds.tolist(), strict=True)) == pytest.approx(wanted)


def test_a_run_survives_saving_and_loading(torch_folder, tmp_path):
    from pellucid.interpret.results import load

    run = read_tensorboard(torch_folder)
    again = load(run.save(tmp_path / "run.safetensors"))
    np.testing.assert_array_equal(again.metrics["odd"][1], run.metrics["odd"][1])
    assert (
        again.pictures["digits"].encoded[0].tobytes() == run.pictures["digits"].encoded[0].tobytes()
    )
    assert again.settings == run.settings


def test_tensorflow_2_summaries(tmp_path):
    rng = np.random.default_rng(1)
    data = [rng.normal(size=100) for _ in range(5)]
    events = []
    for step in range(5):
        first = step == 0
        events += [
            of(scalar_v2.scalar_pb("loss", 1 / (step + 3)), step, metadata=first),
            of(histogram_v2.histogram_pb("weights", data[step]), step, metadata=first),
        ]
        texts = tensor_util.make_tensor_proto([b"4", b"5", PNG, PNG + bytes([step])])
        summary = tensor_value("seen", texts)
        summary.value[0].metadata.CopyFrom(image_metadata.create_summary_metadata("", ""))
        events.append(of(summary, step, metadata=first))
    events.append(of(histogram_v2.histogram_pb("empty", []), 0))
    events.append(of(histogram_v2.histogram_pb("constant", [0.25] * 7), 0))
    write(tmp_path, events)
    run = read_tensorboard(tmp_path)
    peer = accumulated(tmp_path)
    wanted = [tensor_util.make_ndarray(e.tensor_proto).item() for e in peer.Tensors("loss")]
    assert run.metrics["loss"][1].tolist() == wanted
    assert run.metrics["loss"][0].tolist() == [0, 1, 2, 3, 4]
    for edges, counts, event in zip(
        run.histograms["weights"].edges,
        run.histograms["weights"].counts,
        peer.Tensors("weights"),
        strict=True,
    ):
        left, right, count = tensor_util.make_ndarray(event.tensor_proto).T
        assert edges.tolist() == [*left, right[-1]]
        assert counts.tolist() == count.tolist()
    assert "empty" not in run.histograms
    assert run.settings["skipped"] == {"empty histograms": 1}
    (edges,), (counts,) = run.histograms["constant"].edges, run.histograms["constant"].counts
    assert counts.tolist() == [7]
    assert edges[0] < 0.25 < edges[1] <= 0.25 + 1e-5
    assert set(run.pictures) == {"seen/0", "seen/1"}
    assert run.pictures["seen/0"].encoded[2].tobytes() == PNG
    assert run.pictures["seen/1"].encoded[3].tobytes() == PNG + b"\x03"
    assert run.pictures["seen/1"].steps.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool"]
)
@pytest.mark.parametrize("content", [True, False], ids=["content", "values"])
def test_scalars_of_every_type(tmp_path, dtype, content):
    value = np.array(-3.5 if dtype[0] == "f" else 1).astype(dtype)
    tensor = tensor_util.make_tensor_proto(value)
    if content:
        for key in ("half_val", "float_val", "double_val", "int_val", "int64_val", "bool_val"):
            tensor.ClearField(key)
        tensor.tensor_content = value.tobytes()
    wanted = float(value)
    events = [of(tensor_value("x", tensor, "scalars"), step) for step in range(3)]
    write(tmp_path, events)
    assert read_tensorboard(tmp_path).metrics["x"][1].tolist() == [wanted] * 3


def test_a_bfloat16_and_a_negative_integer(tmp_path):
    half = tensor_pb2.TensorProto(dtype=types_pb2.DT_BFLOAT16, half_val=[0xC060])
    minus = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=[-7])
    write(
        tmp_path,
        [of(tensor_value("b", half, "scalars"), 0), of(tensor_value("i", minus, data_class=1), 0)],
    )
    run = read_tensorboard(tmp_path)
    assert run.metrics["b"][1].tolist() == [-3.5]
    assert run.metrics["i"][1].tolist() == [-7]


def test_several_values_in_one_event(tmp_path):
    values = [summary_pb2.Summary.Value(tag=f"m{i}", simple_value=i) for i in range(4)]
    events = [
        event_pb2.Event(wall_time=s, step=s, summary=summary_pb2.Summary(value=values))
        for s in range(1, 4)
    ]
    write(tmp_path, events)
    run = read_tensorboard(tmp_path)
    assert {tag: track[1].tolist() for tag, track in run.metrics.items()} == {
        f"m{i}": [i] * 3 for i in range(4)
    }


def test_several_files_are_merged_by_step_and_the_later_value_stands(tmp_path):
    write(tmp_path, [scalar("loss", s, s, wall=100 + s) for s in (0, 2, 4, 6)], ".a")
    write(tmp_path, [scalar("loss", s, -s, wall=150 + s) for s in (1, 3, 4)], ".b")
    write(tmp_path, [scalar("loss", 6, 99, wall=50)], ".c")  # earlier, though read later
    run = read_tensorboard(tmp_path)
    assert run.metrics["loss"][0].tolist() == [0, 1, 2, 3, 4, 6]
    assert run.metrics["loss"][1].tolist() == [0, -1, 2, -3, -4, 6]
    assert run.settings["replaced"] == 2
    assert len(run.settings["files"]) == 3


def test_a_restart_takes_back_what_tensorboard_takes_back(tmp_path):
    with SummaryWriter(str(tmp_path), filename_suffix=".1") as writer:
        for step in range(10):
            writer.add_scalar("loss", step, step)
            writer.add_scalar("other", step, step)
    (first,) = tmp_path.iterdir()
    first.rename(tmp_path / "events.out.tfevents.0000000001.first")
    with SummaryWriter(str(tmp_path), purge_step=6) as writer:
        for step in range(6, 9):
            writer.add_scalar("loss", -step, step)
    run = read_tensorboard(tmp_path)
    peer = accumulated(tmp_path)
    for tag in ("loss", "other"):
        assert run.metrics[tag][0].tolist() == [e.step for e in peer.Scalars(tag)]
        assert run.metrics[tag][1].tolist() == [e.value for e in peer.Scalars(tag)]
    assert run.metrics["loss"][1].tolist() == [0, 1, 2, 3, 4, 5, -6, -7, -8]
    assert run.settings["taken_back"] == 8
    assert [(e.kind, e.step) for e in run.events] == [("restart", 6.0)]


def test_values_written_without_steps_are_numbered(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for i in range(5):
            writer.add_scalar("loss", i * i)
            writer.add_scalar("stepped", i, i)
    run = read_tensorboard(tmp_path)
    assert run.metrics["loss"][0].tolist() == [0, 1, 2, 3, 4]
    assert run.metrics["loss"][1].tolist() == [0, 1, 4, 9, 16]
    assert run.settings["numbered"] == ["loss"]


def test_a_histogram_of_one_value_has_a_bin_with_a_width(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_histogram("zeros", np.zeros(50), 1)
        writer.add_histogram("ones", np.ones(50), 1)
    held = read_tensorboard(tmp_path).histograms
    for tag, value in (("zeros", 0.0), ("ones", 1.0)):
        edges, counts = held[tag].edges[0], held[tag].counts[0]
        assert counts.tolist() == [50]
        assert edges[0] <= value <= edges[1]
        assert edges[0] < edges[1]


def test_unbounded_limits_give_way_to_the_extremes(tmp_path):
    largest = np.finfo(np.float64).max
    proto = summary_pb2.HistogramProto(
        min=-5, max=7, num=6, bucket_limit=[-1, 0, 1, largest], bucket=[1, 2, 0, 3]
    )
    value = summary_pb2.Summary.Value(tag="h", histo=proto)
    write(tmp_path, [of(summary_pb2.Summary(value=[value]), 4)])
    held = read_tensorboard(tmp_path).histograms["h"]
    assert held.edges[0].tolist() == [-5, -1, 0, 1, 7]
    assert held.counts[0].tolist() == [1, 2, 0, 3]


@given(st.lists(st.binary(max_size=2100), min_size=1, max_size=6))
def test_checksums_are_those_of_the_peers_byte_by_byte(parts):
    data = np.frombuffer(b"".join(parts), np.uint8)
    lengths = np.array([len(part) for part in parts])
    starts = np.cumsum(lengths) - lengths
    assert _crc32c(data, starts, lengths).tolist() == [crc32c(part) for part in parts]


def test_the_checksum_of_the_standards_example():
    data = np.frombuffer(b"123456789", np.uint8)
    assert _crc32c(data, np.array([0]), np.array([9])).tolist() == [0xE3069283]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file with a little of everything, as bytes, and the run that it holds."""
    folder = tmp_path_factory.mktemp("small")
    with SummaryWriter(str(folder)) as writer:
        for step in range(4):
            writer.add_scalar("a", 0.5 * step, step)
            writer.add_scalar("b", -step, step * 200, new_style=True)
        writer.add_histogram("h", np.arange(20.0), 3)
        writer.add_image("i", np.zeros((1, 2, 2)), 3)
        writer.add_scalar("a", 9.0, 9)
    (file,) = folder.iterdir()
    return file.read_bytes(), read_tensorboard(folder)


def values_of(run):
    """Everything that a run holds, as a set."""
    found = {
        (tag, step, value)
        for tag, track in run.metrics.items()
        for step, value in zip(*track, strict=True)
    }
    for tag, held in run.histograms.items():
        for step, edges, counts in zip(held.steps, held.edges, held.counts, strict=True):
            found.add((tag, step, edges.tobytes(), counts.tobytes()))
    for tag, held in run.pictures.items():
        found |= {(tag, s, p.tobytes()) for s, p in zip(held.steps, held.encoded, strict=True)}
    return found


def test_a_file_torn_at_any_byte_of_its_last_record_gives_the_others_without_a_warning(
    small, tmp_path
):
    content, whole = small
    last = 16 + len(
        event_pb2.Event(
            wall_time=1.0, step=9, summary=scalar("a", 9, 9.0).summary
        ).SerializeToString()
    )
    assert content[-last:][:8] == struct.pack("<Q", last - 16)
    wanted = values_of(whole) - {("a", 9.0, 9.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cut in range(1, last + 1):
            run = read_bytes(tmp_path, content[:-cut])
            assert values_of(run) == wanted
            assert bool(run.settings["torn"]) == (cut < last)


def test_a_damaged_content_is_left_out_and_a_damaged_length_ends_the_file(small, tmp_path):
    content, whole = small
    second = 16 + struct.unpack("<Q", content[:8])[0]
    content = bytearray(content)
    content[second + 20] ^= 1
    with pytest.warns(UserWarning, match=r"1 of \d+ records do not have the checksum"):
        run = read_bytes(tmp_path, bytes(content))
    assert values_of(whole) - values_of(run) == {("a", 0.0, 0.0)}
    content[second] ^= 1
    with pytest.warns(UserWarning, match=f"record at byte {second} is damaged in its length"):
        assert not values_of(read_bytes(tmp_path, bytes(content)))


@given(data=st.data())
def test_damage_is_noticed_whatever_it_is(small, tmp_path_factory, data):
    content, whole = small
    changed = bytearray(content)
    places = st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=3, unique=True)
    for at in data.draw(places):
        changed[at] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("damaged")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            run = read_bytes(folder, bytes(changed))
        except FileError:
            return
    assert values_of(run) <= values_of(whole), "garbage was read"
    assert said


@given(data=st.data())
def test_hostile_contents_with_right_checksums_are_read_or_counted(small, tmp_path_factory, data):
    content, _ = small
    payloads, position = [], 0
    while position < len(content):
        length = struct.unpack_from("<Q", content, position)[0]
        payloads.append(content[position + 12 : position + 12 + length])
        position += 16 + length
    kind = data.draw(st.sampled_from(["change", "cut", "grow", "random"]))
    which = data.draw(st.integers(0, len(payloads) - 1))
    payload = bytearray(payloads[which])
    at = data.draw(st.integers(0, len(payload) - 1))
    if kind == "change":
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, min(60, len(payload) - 1)))
            payload[at] = data.draw(st.integers(0, 255))
    elif kind == "cut":
        del payload[at : at + data.draw(st.integers(1, 30))]
    elif kind == "grow":
        payload[at:at] = data.draw(st.binary(max_size=40))
    else:
        payload = bytearray(data.draw(st.binary(max_size=200)))
    payloads[which] = bytes(payload)
    folder = tmp_path_factory.mktemp("hostile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = read_bytes(folder, b"".join(map(framed, payloads)))
    for steps, values in run.metrics.values():
        assert len(steps) == len(values)
        assert (np.diff(steps) > 0).all()
    for held in run.histograms.values():
        assert all(
            (np.diff(edges) > 0).all() and (c >= 0).all()
            for edges, c in zip(held.edges, held.counts, strict=True)
        )


def number(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(key, content):
    return number(key << 3 | 2) + number(len(content)) + content


HEAD = b"\x09" + struct.pack("<d", 1.0) + b"\x10\x05"
GOOD = HEAD + field(5, field(1, field(1, b"good") + b"\x15" + struct.pack("<f", 2.0)))


@pytest.mark.parametrize(
    "payload",
    {
        "a number without an end": b"\x09" + bytes(8) + b"\x10" + b"\xff" * 400,
        "a length beyond the message": HEAD + b"\x2a\xff\xff\xff\xff\x0f" + b"x",
        "a length of 64 bits": HEAD + b"\x2a" + b"\xff" * 9 + b"\x01",
        "a group": HEAD + b"\x2b\x2c",
        "many groups": HEAD + b"\x2b" * 100_000,
        "a tensor of enormous shape": HEAD
        + field(5, field(1, field(1, b"x") + field(8, b"\x08\x01" + field(2, field(2, b"\x08" + b"\xff" * 8 + b"\x7f") * 3) + field(5, bytes(4))) + field(9, field(1, field(1, b"scalars"))))),
        "a tensor of unknown length": HEAD
        + field(5, field(1, field(1, b"x") + field(8, b"\x08\x01" + field(2, field(2, b"\x08" + b"\xff" * 9 + b"\x01")) + field(5, bytes(4))) + field(9, field(1, field(1, b"scalars"))))),
        "half a float": HEAD + field(5, field(1, field(1, b"x") + field(8, b"\x08\x01" + field(5, bytes(3))) + field(9, field(1, field(1, b"scalars"))))),
        "a text as a scalar": HEAD + field(5, field(1, field(1, b"x") + field(8, b"\x08\x07" + field(8, b"t")) + field(9, field(1, field(1, b"scalars"))))),
        "a histogram of texts": HEAD + field(5, field(1, field(1, b"x") + field(8, b"\x08\x07" + field(8, b"t")) + field(9, field(1, field(1, b"histograms"))))),
        "limits without counts": HEAD + field(5, field(1, field(1, b"x") + field(5, field(6, bytes(16))))),
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_malformed_messages_are_counted_and_the_others_read(tmp_path, payload):
    content = framed(GOOD) + framed(payload[1]) + framed(GOOD.replace(b"\x10\x05", b"\x10\x06"))
    with pytest.warns(UserWarning, match="1 of 3 events are malformed"):
        run = read_bytes(tmp_path, content)
    assert run.metrics["good"][0].tolist() == [5, 6]
    assert set(run.metrics) == {"good"}


def test_fields_of_an_unexpected_kind_are_unknown_fields(tmp_path):
    odd = HEAD + b"\x28\x07" + b"\x0a\x01x" + field(5, field(1, b"\x0d" + bytes(4)))
    run = read_bytes(tmp_path, framed(odd) + framed(GOOD))
    assert run.metrics["good"][1].tolist() == [2.0]
    assert run.settings["skipped"] == {"values of no known kind": 1}


def test_deeply_nested_messages_cost_nothing(tmp_path):
    nested = b""
    for _ in range(3000):
        nested = field(5, nested)
    run = read_bytes(tmp_path, framed(GOOD) + framed(HEAD + nested) + framed(GOOD))
    assert run.metrics["good"][1].tolist() == [2.0]


def test_a_length_beyond_the_file_is_a_torn_tail_and_takes_no_memory(tmp_path):
    head = struct.pack("<Q", 2**62)
    content = framed(GOOD) + head + struct.pack("<I", masked_crc32c(head)) + b"tail"
    run = read_bytes(tmp_path, content)
    assert run.settings["torn"]
    assert run.metrics["good"][1].tolist() == [2.0]


def test_records_longer_than_a_block_and_too_long_ones(tmp_path, monkeypatch, small):
    content, whole = small
    monkeypatch.setattr(records, "_BLOCK", 64)
    assert values_of(read_bytes(tmp_path, content)) == values_of(whole)
    monkeypatch.setattr(records, "_LARGEST", 150)
    with pytest.warns(UserWarning, match="bytes, and was left out"):
        run = read_bytes(tmp_path, content)
    assert set(run.metrics) == {"a", "b"}
    np.testing.assert_array_equal(run.metrics["a"], whole.metrics["a"])
    assert not run.histograms


def test_many_restarts_over_many_values_are_not_quadratic(tmp_path):
    restart = framed(HEAD + field(7, b"\x08\x01"))
    events = [framed(GOOD.replace(b"\x10\x05", b"\x10" + number(s))) for s in range(1, 60)]
    start = time.perf_counter()
    run = read_bytes(tmp_path, b"".join(events * 100) + restart * 20_000 + events[-1])
    assert time.perf_counter() - start < 10
    assert run.metrics["good"][0].tolist() == [1, 2, 3, 4, 59]


def test_pictures_that_are_none_are_left_out(tmp_path):
    image = summary_pb2.Summary.Image(
        encoded_image_string=b"<svg onload=alert(1)>", width=1, height=1
    )
    value = summary_pb2.Summary.Value(tag="evil", image=image)
    write(tmp_path, [of(summary_pb2.Summary(value=[value]), 0), scalar("a", 1, 1)])
    run = read_tensorboard(tmp_path)
    assert not run.pictures
    assert run.settings["skipped"] == {"pictures that are no PNG, JPEG or GIF": 1}


def test_what_is_no_event_file_says_so(tmp_path):
    with pytest.raises(MissingFileError, match="no TensorBoard event file"):
        read_tensorboard(tmp_path)
    with pytest.raises(MissingFileError, match="there is no file"):
        read_tensorboard(tmp_path / "none")
    with pytest.raises(FileError, match="is not a TensorBoard event file"):
        read_bytes(tmp_path, b"PK\x03\x04" + bytes(300))
    with pytest.raises(FileError, match="is not a TensorBoard event file"):
        read_bytes(tmp_path, bytes(300))
    assert not read_bytes(tmp_path, b"").metrics
    (tmp_path / "events.out.tfevents.2.good").write_bytes(framed(GOOD))
    (tmp_path / "events.out.tfevents.1.test").write_bytes(b"x" * 300)
    with pytest.warns(UserWarning, match="is no event file"):
        run = read_tensorboard(tmp_path)
    assert run.metrics["good"][1].tolist() == [2.0]
