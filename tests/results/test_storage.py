import json
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

import pellucid as pl
from pellucid.errors import (
    FileError,
    InputTypeError,
    MissingFileError,
    PellucidError,
    UnwritableError,
)
from pellucid.interpret.results import Explanation, Provenance, load, storage

# -- there and back --------------------------------------------------------------------------


def test_every_result_comes_back_as_it_was(result, same, tmp_path):
    path = result.save(tmp_path / "result.safetensors")
    back = load(path)
    assert type(back) is type(result)
    assert same(result, back)
    assert back.summary() == result.summary()
    assert back.to_frame().equals(result.to_frame())


def test_the_front_door_loads(result, tmp_path):
    assert type(pl.load(str(result.save(tmp_path / "a")))) is type(result)


def test_an_empty_sample_axis_comes_back(make, same, tmp_path):
    for name in ("explanation", "several_inputs", "several_targets", "projection"):
        empty = make[name]()[[]]
        assert len(empty) == 0
        assert same(empty, load(empty.save(tmp_path / name)))


# Surrogates are among them: file names that are not UTF-8 hold some.
texts = st.text(st.characters(codec=None), max_size=8)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just("$array"), st.just("$dict")
)
numbers = st.sampled_from(
    [np.float16, np.float32, np.float64, ">f4", np.int8, np.uint8, np.int64, np.uint64, ">i4", bool]
)
anywhere = arrays.arrays(numbers, arrays.array_shapes(min_dims=0, min_side=0, max_side=3))
trees = st.recursive(
    scalars | anywhere,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.one_of(texts, st.integers(), st.booleans()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(settings=st.dictionaries(texts, trees, max_size=4), names=st.lists(texts, max_size=3))
def test_any_settings_and_names_come_back(same, settings, names):
    explanation = Explanation(
        values=np.zeros((2, len(names))),
        method="",
        feature_names=tuple(names),
        axes=("sample", "feature"),
        sample_ids=np.array(["ä", "\n<b>"]),
        settings=settings,
    )
    with tempfile.TemporaryDirectory() as folder:
        back = load(explanation.save(Path(folder) / "any"))
    assert same(explanation, back)


leaf = st.none() | arrays.arrays(np.float32, st.tuples(st.just(3), st.integers(0, 2)))


@given(
    tree=st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_any_structure_of_inputs_comes_back(same, tree):
    found = [a for _, a in pl.interpret.results.trees.leaves(tree) if a is not None]
    if not found:
        with pytest.raises(pl.errors.InputError, match="needs values"):
            Explanation(values=tree, method="m")
        return
    explanation = Explanation(values=tree, inputs=tree, method="m")
    with tempfile.TemporaryDirectory() as folder:
        assert same(explanation, load(explanation.save(Path(folder) / "any")))
    assert len(explanation[1:].to_frame()) == sum(a[1:].size for a in found)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, np.zeros(2, complex), np.array(["2020-01-01"], "datetime64[D]"), b"bytes"],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(value, make, tmp_path):
    with pytest.raises(InputTypeError, match=r"cannot save an? .*(object|set|complex|date|bytes)"):
        make["explanation"](settings={"odd": value}).save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_field_of_the_wrong_type_is_not_saved(make, tmp_path):
    wrong = make["explanation"](feature_names=["a", "b", "c"])
    with pytest.raises(InputTypeError, match="its feature_names is a list"):
        wrong.save(tmp_path / "a")


def test_the_file_holds_no_pickle_and_others_can_read_it(result, tmp_path):
    content = result.save(tmp_path / "a").read_bytes()
    assert b"pickle" not in content
    from_bytes(content)  # any reader of safetensors


# -- files that are not whole, or not ours ---------------------------------------------------


def bytes_of(result):
    with tempfile.TemporaryDirectory() as folder:
        return result.save(Path(folder) / "a").read_bytes()


def refused(content, folder, says="damaged"):
    path = Path(folder) / "the file.safetensors"
    path.write_bytes(content)
    with pytest.raises(PellucidError, match=says) as caught:
        load(path)
    assert isinstance(caught.value, FileError)
    assert "the file.safetensors" in str(caught.value)


def loaded_or_refused(path):
    """The result, or None if it is refused in the one way that is allowed."""
    try:
        return load(path)
    except FileError as error:
        return None if str(path) in str(error) else pytest.fail(f"does not name the file: {error}")


def rewritten(result, change):
    """The bytes of a file whose document was changed, and whose checksum is right again."""
    content = bytes_of(result)
    tensors = from_bytes(content)
    length = int.from_bytes(content[:8], "little")
    document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["pellucid"])
    document = change(document)
    if isinstance(document, dict):
        document.pop("crc32", None)
        document["crc32"] = storage._checksum(document, tensors)
    return to_bytes(tensors, metadata={"pellucid": json.dumps(document)})


def test_a_file_cut_short_anywhere_is_refused(result, tmp_path):
    content = bytes_of(result)
    for length in {0, 1, 7, 8, 9, 40, *range(0, len(content), 97), len(content) - 1}:
        refused(content[:length], tmp_path)


@given(data=st.data())
def test_a_changed_byte_anywhere_is_noticed(data):
    content = bytearray(_SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "the file"
        path.write_bytes(content)
        back = loaded_or_refused(path)
        # Only what means the same may pass, such as an escape for a letter.
        assert back is None or bytes_of(back) == _SMALL


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        refused(content, folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$array", "$strings", "$float", "$tuple", "$dict", "$result", "fields", "shape"]
            ),
            inner,
            max_size=2,
        )
    ),
    max_leaves=5,
)


@given(st.data())
def test_any_field_changed_loads_as_a_result_or_is_refused(data):
    field = data.draw(st.sampled_from(sorted(Explanation.__dataclass_fields__)))
    value = data.draw(json_values)

    def change(document):
        document["fields"][field] = value
        return document

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "the file"
        path.write_bytes(rewritten(_EXPLANATION, change))
        back = loaded_or_refused(path)
        if back is not None:
            assert isinstance(back, Explanation)
            back.summary()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: [], "damaged"),
        (lambda d: "text", "damaged"),
        (lambda d: {}, "damaged"),
        (lambda d: {**d, "schema": 2}, r"schema 2, written by a newer Pellucid.*upgrade"),
        (lambda d: {**d, "schema": "2"}, "damaged"),
        (lambda d: {**d, "schema": None}, "damaged"),
        (lambda d: {**d, "type": "Verdict"}, "unknown kind 'Verdict'"),
        (lambda d: {**d, "type": ["Explanation"]}, "damaged"),
        (lambda d: {**d, "type": "Provenance", "fields": {}}, "not a result"),
        (lambda d: {**d, "fields": []}, "damaged"),
        (lambda d: {**d, "fields": {**d["fields"], "colour": 1}}, "colour"),
        (lambda d: {**d, "fields": {}}, "damaged"),
        (lambda d: {**d, "fields": {**d["fields"], "method": 3}}, r"Explanation.method .* int"),
        (lambda d: {**d, "fields": {**d["fields"], "error": [1.0]}}, r"Explanation.error .* list"),
        (lambda d: {**d, "fields": {**d["fields"], "values": {"$array": "a99"}}}, "a99"),
        (lambda d: {**d, "fields": {**d["fields"], "at": {"$new": 1}}}, "unknown: .*new"),
    ],
)
def test_a_document_that_is_not_ours_is_refused(change, says, make, tmp_path):
    refused(rewritten(make["explanation"](), change), tmp_path, says)


def test_deep_nesting_is_refused(tmp_path):
    for text in ("[" * 100_000, '{"schema": 1, "type": "Run", "fields": ' + '{"a":' * 100_000):
        refused(to_bytes({}, metadata={"pellucid": text}), tmp_path)


def test_wrong_json_is_refused(tmp_path):
    refused(to_bytes({}, metadata={"pellucid": "{"}), tmp_path)


def test_a_missing_checksum_is_refused(tmp_path):
    document = json.dumps({"schema": 1, "type": "Run", "fields": {}})
    refused(to_bytes({}, metadata={"pellucid": document}), tmp_path, "crc32")


def test_a_changed_number_is_noticed(make, tmp_path):
    content = bytearray(bytes_of(make["explanation"]()))
    content[-1] ^= 1
    refused(bytes(content), tmp_path, "checksum")


def test_foreign_files_are_refused(tmp_path):
    arrays = {"weight": np.zeros(3)}
    refused(to_bytes(arrays), tmp_path, "not one that Pellucid saved")
    refused(to_bytes(arrays, metadata={"format": "pt"}), tmp_path, "not one that Pellucid saved")
    refused(pickle.dumps({"weight": np.zeros(3)}), tmp_path, "cannot be read as safetensors")
    refused(b"", tmp_path, "cannot be read as safetensors")
    refused(b"PK\x03\x04" + bytes(100), tmp_path, "cannot be read as safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="no file .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="is not a file"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="pipe is not a file"):
        load(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot read"):
        load(tmp_path / "file" / "below")
    with pytest.raises(FileError, match="cannot read"):
        load("a\0b")


@pytest.mark.parametrize("path", [None, 3, ["a"]])
def test_what_is_not_a_path_is_refused(path, make):
    with pytest.raises(InputTypeError, match="a path is a string"):
        load(path)
    with pytest.raises(InputTypeError, match="a path is a string"):
        make["run"]().save(path)


# -- places that cannot be written -----------------------------------------------------------


def test_a_missing_folder_is_named(make, tmp_path):
    with pytest.raises(UnwritableError, match="the folder .*missing does not exist"):
        make["run"]().save(tmp_path / "missing" / "a")


def test_a_folder_is_not_overwritten(make, tmp_path):
    with pytest.raises(UnwritableError, match="it is a folder"):
        make["run"]().save(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_an_impossible_name_is_refused(name, make, tmp_path):
    with pytest.raises(UnwritableError, match="cannot write"):
        make["run"]().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(make, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UnwritableError, match="Permission denied"):
        make["run"]().save(tmp_path / "a")


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(28, "No space left on device"), UnwritableError), (KeyboardInterrupt(), None)],
)
def test_a_failure_midway_leaves_the_old_file(call, failure, raised, make, tmp_path, monkeypatch):
    path = make["run"]().save(tmp_path / "a")
    old = path.read_bytes()

    def fail(*args, **kwargs):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(raised or type(failure)) as caught:
            make["snapshot"]().save(path)
    if raised:
        assert "No space left" in str(caught.value)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_is_replaced_and_as_readable_as_any_other(make, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o600)
    other = tmp_path / "other"
    other.touch()
    make["run"]().save(path)
    assert path.stat().st_mode == other.stat().st_mode
    assert load(path).name == "run"


def test_home_is_expanded(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make["run"]().save("~/a") == tmp_path / "a"
    assert load("~/a").name == "run"


def test_a_home_that_does_not_exist_is_a_name_like_any_other(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make["run"]().save("~nobody-of-this-name")
    assert load("~nobody-of-this-name").name == "run"


_EXPLANATION = Explanation(
    values=np.ones((2, 2)),
    method="m",
    sample_ids=np.array(["a", "b"]),
    settings={"tolerance": 0.1, "pair": (1, None)},
    provenance=Provenance(created="2020-01-01T00:00:00+00:00", versions={"python": "3"}),
)
_SMALL = bytes_of(_EXPLANATION)
