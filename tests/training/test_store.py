"""The store: nothing that was written is lost, and nothing that is broken is read."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import FileError, MissingFileError
from pellucid.interpret.training.recording.octaves import BINS, EDGES
from pellucid.interpret.training.recording.store import Follower, read_store
from pellucid.interpret.training.recording.writer import FORMAT, Writer


def begin(folder, *, rank=0, step=0, moment=0.0, name="a run", layers=("a", "b")):
    writer = Writer(folder)
    writer.line(
        "start",
        format=FORMAT,
        name=name,
        model="Net",
        rank=rank,
        step=step,
        step_unit="step",
        layers=layers,
        time=moment,
    )
    return writer


def write_all_kinds(folder, steps=4):
    """Write a few steps with a line of every kind, flushing after each step."""
    writer = begin(folder)
    writer.line("columns", id=0, names=[["a", "weight.mean"], ["b", "output.dead"]])
    writer.line("columns", id=1, names=[["a", "weight"], ["b", "output"]])
    for step in range(steps):
        writer.line("metrics", steps=[step], seconds=[step / 2], values={"loss": [1 / (step + 1)]})
        writer.line(
            "layers", step=step, columns=0, values=writer.array(np.array([step, 0.5], np.float32))
        )
        writer.line(
            "histograms",
            step=step,
            columns=1,
            lengths=[2, 1],
            bins=writer.array(np.array([3, 5 + step, 1016], np.uint16)),
            counts=writer.array(np.array([7, 8, 9], np.uint32)),
        )
        writer.line(
            "watched",
            name="prediction",
            step=step,
            sample_ids=["x", "y"],
            values=writer.array(np.arange(6, dtype=np.float32).reshape(2, 3) + step),
        )
        writer.line("event", step=step, event="not finite", layer="a", text="one")
        writer.flush()
    writer.close()
    return writer.path


def same(one, other):
    """Whether two runs hold the same."""

    def tracks(run):
        yield from run.metrics.items()
        for layer, kept in run.layers.items():
            yield from (((layer, name), pair) for name, pair in kept.items())
        if run.clock is not None:
            yield "clock", run.clock

    first, second = dict(tracks(one)), dict(tracks(other))
    return (
        (one.name, one.step_unit, one.events) == (other.name, other.step_unit, other.events)
        and list(first) == list(second)
        and all(np.array_equal(first[k], second[k], equal_nan=True) for k in first)
        and list(one.histograms) == list(other.histograms)
        and all(
            np.array_equal(h.steps, other.histograms[k].steps)
            and all(map(np.array_equal, h.edges, other.histograms[k].edges))
            and all(map(np.array_equal, h.counts, other.histograms[k].counts))
            for k, h in one.histograms.items()
        )
        and list(one.watched) == list(other.watched)
        and all(
            np.array_equal(w.steps, other.watched[k].steps)
            and np.array_equal(w.values, other.watched[k].values)
            and np.array_equal(w.sample_ids, other.watched[k].sample_ids)
            for k, w in one.watched.items()
        )
    )


def test_what_is_written_is_read_back(tmp_path):
    write_all_kinds(tmp_path)
    run = read_store(tmp_path)
    assert run.name == "a run"
    np.testing.assert_array_equal(run.metrics["loss"][0], [0, 1, 2, 3])
    np.testing.assert_array_equal(run.metrics["loss"][1], [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_array_equal(run.clock[1], [0, 0.5, 1, 1.5])
    np.testing.assert_array_equal(run.layers["a"]["weight.mean"][1], [0, 1, 2, 3])
    np.testing.assert_array_equal(run.layers["b"]["output.dead"][1], [0.5] * 4)
    assert list(run.layers) == ["a", "b"]
    histogram = run.histograms["a/weight"]
    np.testing.assert_array_equal(
        histogram.edges[1], [EDGES[3], EDGES[4], EDGES[6], EDGES[7]], "a gap is one empty bin"
    )
    np.testing.assert_array_equal(histogram.counts[1], [7, 0, 8])
    np.testing.assert_array_equal(run.histograms["b/output"].counts[0], [9])
    assert run.watched["prediction"].values.shape == (4, 2, 3)
    assert run.watched["prediction"].sample_ids.tolist() == ["x", "y"]
    assert [event.step for event in run.events] == [0, 1, 2, 3]


def test_lines_are_strict_json_also_with_numbers_that_are_not_finite(tmp_path):
    writer = begin(tmp_path)
    values = [float("nan"), float("inf"), float("-inf"), np.float32("nan"), 1.5]
    writer.line("metrics", steps=list(range(5)), values={"loss": values})
    writer.flush()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    for line in writer.path.read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    np.testing.assert_array_equal(
        read_store(tmp_path).metrics["loss"][1], [np.nan, np.inf, -np.inf, np.nan, 1.5]
    )


def test_a_flush_is_one_write_of_whole_lines_behind_the_arrays(tmp_path, monkeypatch):
    calls = []
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda file, content: (calls.append(content), write(file, content))[1]
    )
    writer = begin(tmp_path)
    writer.line("columns", id=0, names=[["a", "weight.mean"]])
    writer.line("layers", step=0, columns=0, values=writer.array(np.ones(1, np.float32)))
    writer.flush()
    arrays, lines = calls
    assert arrays == np.ones(1, "<f4").tobytes()
    assert lines.count(b"\n") == 3
    assert lines.endswith(b"\n")


def test_a_tail_torn_at_any_byte_is_not_read_and_does_no_harm(tmp_path):
    whole = tmp_path / "whole"
    path = write_all_kinds(whole, steps=2)
    lines = path.read_bytes().splitlines(keepends=True)
    before, last = b"".join(lines[:-1]), lines[-1]
    torn = tmp_path / "torn"
    (torn / "events").mkdir(parents=True)
    copy = torn / "events" / path.name
    copy.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())
    copy.write_bytes(before)
    expected = read_store(torn)
    assert len(expected.events) == 1
    for length in range(len(last)):
        copy.write_bytes(before + last[:length])
        follower = Follower(torn)
        assert same(follower.run, expected), f"torn after {length} bytes"
        assert follower.skipped == 0
        if length % 7 == 0:  # and when the rest comes, it is read
            copy.write_bytes(before + last)
            assert follower.refresh()
            assert same(follower.run, read_store(whole))


@settings(max_examples=25, deadline=None)
@given(arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3000)), max_size=12))
def test_a_follower_sees_exactly_what_a_full_reading_sees(tmp_path_factory, arrivals):
    """However the bytes of two processes' lines and arrays arrive."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    paths = [write_all_kinds(source, steps=2), write_all_kinds(source, steps=3)]
    files = [one for path in paths for one in (path, path.with_suffix(".bin"))]
    (target / "events").mkdir()
    rest = [file.read_bytes() for file in files]
    follower = Follower(target)
    for which, size in [*arrivals, *((k, 10**6) for k in range(4))]:
        with (target / "events" / files[which].name).open("ab") as file:
            file.write(rest[which][:size])
        rest[which] = rest[which][size:]
        follower.refresh()
        assert same(follower.run, Follower(target).run)
    assert not follower.refresh()
    assert follower.skipped == follower.waiting == 0
    assert same(follower.run, read_store(source))


def test_a_follower_reads_only_what_is_new(tmp_path, monkeypatch):
    writer = begin(tmp_path)
    writer.line("metrics", steps=list(range(5000)), values={"loss": [0.5] * 5000})
    writer.flush()
    follower = Follower(tmp_path)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda line: (parsed.append(line), loads(line))[1])
    assert not follower.refresh()
    run = follower.run
    assert follower.run is run, "nothing new: nothing is computed again"
    writer.line("metrics", steps=[5000], values={"loss": [0.25]})
    writer.flush()
    assert follower.refresh()
    assert len(parsed) == 1
    assert len(follower.run.metrics["loss"][0]) == 5001


def test_an_array_that_is_not_there_yet_is_waited_for(tmp_path):
    path = write_all_kinds(tmp_path, steps=3)
    side = path.with_suffix(".bin")
    content = side.read_bytes()
    side.unlink()
    follower = Follower(tmp_path)
    assert follower.waiting == 9
    assert len(follower.run.metrics["loss"][0]) == 3, "what needs no array is there"
    assert not follower.run.layers
    side.write_bytes(content[:60])
    assert follower.refresh()
    assert 0 < follower.waiting < 9
    side.write_bytes(content)
    assert follower.refresh()
    assert follower.waiting == follower.skipped == 0
    assert same(follower.run, read_store(tmp_path))
    assert not follower.refresh()


def test_a_file_that_was_cut_or_replaced_is_read_anew(tmp_path):
    path = write_all_kinds(tmp_path, steps=3)
    follower = Follower(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))  # shorter
    assert follower.refresh()
    np.testing.assert_array_equal(follower.run.metrics["loss"][0], [0])
    other = begin(tmp_path / "other", name="another", moment=5.0)
    other.line("metrics", steps=list(range(300)), values={"loss": [1.0] * 300})
    other.flush()
    path.write_bytes(other.path.read_bytes())  # longer, but not the same
    assert follower.refresh()
    assert follower.run.name == "another"
    assert len(follower.run.metrics["loss"][0]) == 300
    path.unlink()
    assert follower.refresh()
    assert not follower.run.metrics


def test_foreign_lines_are_skipped_and_counted(tmp_path):
    path = write_all_kinds(tmp_path, steps=2)
    expected = read_store(tmp_path)
    foreign = [
        "not JSON",
        "[1, 2]",
        "{}",
        '{"kind": "weather"}',
        '{"kind": "metrics"}',
        '{"kind": "metrics", "steps": [0, 1], "values": {"loss": [1]}}',
        '{"kind": "metrics", "steps": 3, "values": {"loss": 1}}',
        '{"kind": "metrics", "steps": ["four"], "values": {"loss": [1]}}',
        '{"kind": "layers", "step": 0, "columns": 99, "values": {}}',
        '{"kind": "layers", "step": 0, "columns": 0, "values": {"offset": -8, "shape": [2], "dtype": "<f4"}}',
        '{"kind": "layers", "step": 0, "columns": 0, "values": {"offset": 0, "shape": [3], "dtype": "<f4"}}',
        '{"kind": "layers", "step": 0, "columns": 0, "values": {"offset": 0, "shape": [2], "dtype": "O"}}',
        '{"kind": "layers", "step": 0, "columns": 0, "values": {"offset": 0, "shape": [2], "dtype": "<f4,<f4"}}',
        '{"kind": "watched", "name": "p", "step": 0, "values": {"offset": 0, "shape": [], "dtype": "<f4"}}',
        '{"kind": "event", "step": 0, "event": 3, "layer": null, "text": "t"}',
        "[" * 100_000,
        "\udcff\udcfe",
    ]
    path.write_bytes(path.read_bytes() + "\n".join([*foreign, ""]).encode(errors="surrogateescape"))
    follower = Follower(tmp_path)
    assert follower.skipped == len(foreign)
    assert same(follower.run, expected)


@pytest.mark.parametrize("bins", [[3, 3], [5, 4], [0, BINS], [-1, 2]])
def test_a_histogram_of_bins_that_there_are_not_is_skipped(tmp_path, bins):
    writer = begin(tmp_path)
    writer.line("columns", id=0, names=[["a", "weight"]])
    writer.line(
        "histograms",
        step=0,
        columns=0,
        lengths=[2],
        bins=writer.array(np.array(bins, np.int32)),
        counts=writer.array(np.array([1, 1], np.uint32)),
    )
    writer.flush()
    follower = Follower(tmp_path)
    assert follower.skipped == 1
    assert not follower.run.histograms


def test_processes_of_other_ranks_have_names_of_their_own(tmp_path):
    for rank in (1, 0, 2):
        writer = begin(tmp_path, rank=rank, moment=float(rank))
        writer.line("metrics", steps=[0], values={"loss": [float(rank)]})
        writer.flush()
    run = read_store(tmp_path)
    assert {name: pair[1].tolist() for name, pair in run.metrics.items()} == {
        "loss": [0.0],
        "loss/rank1": [1.0],
        "loss/rank2": [2.0],
    }
    assert not run.events


def test_a_training_that_is_taken_up_again_goes_on_in_the_same_run(tmp_path):
    first = begin(tmp_path, moment=100.0)
    first.line("metrics", steps=[0, 1, 2, 3], seconds=[0, 1, 2, 3], values={"loss": [9, 8, 7, 6]})
    first.flush()
    second = begin(tmp_path, moment=200.0, step=2)
    second.line("metrics", steps=[2, 3, 4], seconds=[0, 1, 2], values={"loss": [5, 4, 3]})
    second.flush()
    run = read_store(tmp_path)
    np.testing.assert_array_equal(run.metrics["loss"], [[0, 1, 2, 3, 4], [9, 8, 5, 4, 3]])
    np.testing.assert_array_equal(run.clock, [[0, 1, 2, 3, 4], [0, 1, 100, 101, 102]])
    (event,) = run.events
    assert (event.kind, event.step) == ("restart", 2)


def test_a_full_disk_loses_what_it_must_and_no_more(tmp_path, monkeypatch):
    writer = begin(tmp_path)
    writer.line("columns", id=0, names=[["a", "weight.mean"]])
    writer.line("layers", step=0, columns=0, values=writer.array(np.zeros(1, np.float32)))
    writer.flush()
    write = os.write
    for step, room in enumerate((0, 2, 30), start=1):

        def full(file, content, room=room):
            if len(content) <= 4 and room > 2:
                return write(file, content)
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, content[:room])

        monkeypatch.setattr(os, "write", full)
        writer.line("layers", step=step, columns=0, values=writer.array(np.ones(1, np.float32)))
        with pytest.raises(OSError):
            writer.flush()
    monkeypatch.setattr(os, "write", write)
    writer.line("layers", step=9, columns=0, values=writer.array(np.full(1, 9, np.float32)))
    writer.flush()
    follower = Follower(tmp_path)
    np.testing.assert_array_equal(follower.run.layers["a"]["weight.mean"], [[0, 9], [0, 9]])
    assert follower.skipped == 1, "the line that broke off, ended by the one behind it"


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(MissingFileError, match="not a folder"):
        read_store(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="no record"):
        read_store(tmp_path)
    (tmp_path / "events").mkdir()
    file = tmp_path / "events" / "a.jsonl"
    file.write_text('{"some": "other log"}\n')
    with pytest.raises(FileError, match="no record of Pellucid's"):
        read_store(tmp_path)
    file.write_text('{"kind": "start", "format": 99}\n')
    with pytest.raises(FileError, match="newer version"):
        read_store(tmp_path)


def test_reading_needs_no_torch(tmp_path):
    write_all_kinds(tmp_path)
    script = (
        "import sys; from pellucid.interpret.training.recording.store import read_store; "
        f"assert read_store({str(tmp_path)!r}).layers; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=True)


WRITE_ON = """
import sys
from pathlib import Path
import numpy as np
from pellucid.interpret.training.recording.writer import Writer

folder, me = Path(sys.argv[1]), sys.argv[2]
writer = Writer(folder)
writer.line("start", format=1, name="r", model="M", rank=0, step=0, step_unit="step",
            layers=[me], time=0.0)
writer.line("columns", id=0, names=[[me, "weight.mean"]])
n = 0
while True:
    for _ in range(3):
        writer.line("metrics", steps=[n], values={me: [n / 7]})
        writer.line("layers", step=n, columns=0,
                    values=writer.array(np.array([n], dtype=np.float32)))
        n += 1
    writer.flush()
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def test_four_writers_killed_in_the_middle_lose_no_line_that_they_reported(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", WRITE_ON, str(tmp_path), f"writer{k}"],
            stdout=subprocess.PIPE,
        )
        for k in range(4)
    ]
    reported = [0] * 4
    try:
        for k, process in enumerate(processes):
            for _ in range(50):
                reported[k] = int(process.stdout.readline())
        time.sleep(0.05)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
    for k, process in enumerate(processes):
        rest = process.stdout.read().split(b"\n")[:-1]
        reported[k] = int(rest[-1]) if rest else reported[k]
        assert process.wait() == -signal.SIGKILL
    follower = Follower(tmp_path)
    assert follower.skipped == 0, "none is broken"
    run = follower.run
    for k, count in enumerate(reported):
        assert count >= 150
        name = f"writer{k}"
        for steps, _ in (run.metrics[name], run.layers[name]["weight.mean"]):
            assert len(steps) >= count
            np.testing.assert_array_equal(steps, np.arange(len(steps)))
        np.testing.assert_array_equal(run.metrics[name][1], run.metrics[name][0] / 7)
        steps, values = run.layers[name]["weight.mean"]
        np.testing.assert_array_equal(values, steps)
