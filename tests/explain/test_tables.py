"""Tables as numbers and back: every kind of column comes back as it was."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pol  # noqa: ICN001
import pytest
import torch
from polars.testing import assert_frame_equal

from pellucid.errors import InputError, InputTypeError, PellucidError
from pellucid.interpret.tables import GAP, Table

N = 6
DATES = pd.to_datetime(["2020-03-01", "2019-01-01", "2020-03-01", "2021-07-09", None, "2019-01-01"])
PANDAS = {
    "float": pd.Series([1.5, -2.0, 0.0, 1e300, 0.1, 3.0]),
    "float gaps": pd.Series([1.5, np.nan, 0.0, 4.0, np.nan, 3.0]),
    "float32": pd.Series([1.1, 2.2, np.nan, 3, 4, 5], dtype="float32"),
    "int": pd.Series([3, 1, 2, -7, 0, 3]),
    "int8": pd.Series([3, 1, 2, -7, 0, 3], dtype="int8"),
    "unsigned": pd.Series([3, 1, 2, 7, 0, 255], dtype="uint8"),
    "beyond float64": pd.Series([2**60, 2**60 + 1, 1, 2**60 + 1, 0, 2**63 - 1]),
    "bool": pd.Series([True, False, True, True, False, False]),
    "Int64": pd.Series([1, 2, None, 4, 1, None], dtype="Int64"),
    "Int64 whole": pd.Series([1, 2, 3, 4, 1, 0], dtype="Int64"),
    "Float64": pd.Series([1.5, 2, None, 4, 1, None], dtype="Float64"),
    "boolean": pd.Series([True, None, False, True, None, False], dtype="boolean"),
    "text": pd.Series(["b", "a", "c", "a", "b", "é"]),
    "text gaps": pd.Series(["b", None, "c", "a", None, "é"]),
    "string": pd.Series(["b", None, "c", "a", "b", "é"], dtype="string"),
    "text as objects": pd.Series(["b", None, "c", "a", "b", "é"], dtype=object),
    "numbers as objects": pd.Series([1, None, 2.5, True, 1, 7], dtype=object),
    "mixed": pd.Series([1, "a", 2.5, "b", 1, None], dtype=object),
    "category": pd.Series(list("babcba"), dtype=pd.CategoricalDtype(list("zcab"))),
    "ordered": pd.Series(list("babcba"), dtype=pd.CategoricalDtype(list("cab"), ordered=True)),
    "category gaps": pd.Series(["a", None, "b", "a", None, "b"], dtype="category"),
    "category of numbers": pd.Series([10, 5, 10, 7, 5, 5], dtype="category"),
    "dates": pd.Series(DATES),
    "dates with zone": pd.Series(DATES).dt.tz_localize("Europe/Rome"),
    "days": pd.Series([dt.date(2020, 1, i + 1) for i in range(N)], dtype=object),
    "spans": pd.to_timedelta(pd.Series([1, 2, 1, 4, 3, 2]), unit="h"),
    "periods": pd.Series(pd.period_range("2020", periods=N, freq="M")),
    "decimals": pd.Series([decimal.Decimal(i) / 3 for i in range(N)], dtype=object),
    "nothing": pd.Series([None] * N, dtype=object),
}  # fmt: skip


@pytest.mark.parametrize("kind", PANDAS)
def test_every_pandas_column_comes_back_as_it_was(kind):
    frame = pd.DataFrame({"x": np.arange(N) / 2, "it": PANDAS[kind]})
    table = Table(frame)
    pd.testing.assert_frame_equal(table.table(table.rows()), frame)
    order = [3, 1, 1, 5, 0, 2, 4]
    found = table.table(table.rows()[order])
    pd.testing.assert_frame_equal(found, frame.iloc[order].reset_index(drop=True))


def test_all_pandas_columns_beside_each_other():
    frame = pd.DataFrame(PANDAS).set_axis([7, 7, 0, -1, 3, 2], axis=0)
    table = Table(frame, background=frame.iloc[:3])
    pd.testing.assert_frame_equal(table.table(table.rows()), frame.reset_index(drop=True))
    some = table.table(table.rows("background"))
    pd.testing.assert_frame_equal(some, frame.iloc[:3].reset_index(drop=True))


def test_all_polars_columns_beside_each_other():
    frame = pol.DataFrame(
        {
            "float": [1.5, 2.0, float("nan"), 4.0],
            "float gaps": [1.5, None, 0.0, 4.0],
            "float32": pol.Series([1.1, 2.2, 3.3, 4.4], dtype=pol.Float32),
            "int": [1, 2, 3, 4],
            "int gaps": [1, None, 3, None],
            "small": pol.Series([1, 2, 3, -4], dtype=pol.Int8),
            "bool": [True, False, False, True],
            "bool gaps": [True, None, False, True],
            "text": ["a", "b", None, "a"],
            "category": pol.Series(["a", "b", None, "a"], dtype=pol.Categorical),
            "enum": pol.Series(["a", "b", None, "a"], dtype=pol.Enum(["c", "b", "a"])),
            "day": [dt.date(2020, 1, i + 1) for i in range(4)],
            "time": [dt.datetime(2020, 1, i + 1) for i in range(4)],
            "decimal": pol.Series(["1.5", "2.25", "3", "4"]).cast(pol.Decimal(9, 2)),
        }
    )
    table = Table(frame, background=frame[:2])
    assert_frame_equal(table.table(table.rows()), frame)
    assert_frame_equal(table.table(table.rows()[[3, 0, 2]]), frame[[3, 0, 2]])
    assert table.categories[10] == ("b", "a")  # in the order of the type


def test_numbers_are_numbers_and_other_values_codes_in_order():
    frame = pd.DataFrame({name: PANDAS[name] for name in ("int", "text gaps", "ordered", "Int64")})
    table = Table(frame)
    rows = table.shown(table.rows().numpy())
    np.testing.assert_array_equal(rows[:, 0], PANDAS["int"])
    np.testing.assert_array_equal(rows[:, 1], [1, np.nan, 2, 0, np.nan, 3])
    np.testing.assert_array_equal(rows[:, 2], [2, 1, 2, 0, 2, 1])
    np.testing.assert_array_equal(rows[:, 3], [1, 2, np.nan, 4, 1, np.nan])
    assert table.categories == {1: ("a", "b", "c", "é"), 2: ("c", "a", "b")}
    assert table.names == ("int", "text gaps", "ordered", "Int64")


def test_inside_a_missing_value_is_a_finite_number():
    rows = Table(pd.DataFrame({"x": [1.0, np.nan]})).rows()
    assert rows.tolist() == [[1.0], [GAP]]
    assert np.isfinite(GAP)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_arrays_keep_their_dtype(dtype):
    array = np.random.default_rng(0).integers(0, 2, (5, 3)).astype(dtype)
    table = Table(array, background=array[:2])
    found = table.table(table.rows())
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_what_lies_between_two_numbers_is_not_rounded():
    table = Table(np.array([[1, 2], [3, 4]]))
    assert table.table(torch.tensor([[1.5, 2.0]], dtype=torch.float64)).tolist() == [[1.5, 2]]
    table = Table(pd.DataFrame({"n": [1, 2], "k": pd.Series([1, None], dtype="Int64")}))
    found = table.table(torch.tensor([[1.5, 0.5]], dtype=torch.float64))
    assert found.to_numpy().tolist() == [[1.5, 0.5]]


def test_there_is_nothing_between_two_texts():
    table = Table(pd.DataFrame({"city": ["a", "b"]}))
    with pytest.raises(InputError, match="'city' is not of numbers"):
        table.table(torch.tensor([[0.5]], dtype=torch.float64))


def test_arrays_of_objects_keep_every_object():
    array = np.array(
        [[1, "a", None, 2.5], [2, "b", 3.0, np.nan], [True, "a", pd.NA, None]], dtype=object
    )
    table = Table(array)
    found = table.table(table.rows())
    assert found.dtype == object
    assert [[type(v) for v in row] for row in found[:2, :2]] == [[int, str], [int, str]]
    assert found[:, 1].tolist() == ["a", "b", "a"]
    assert table.categories == {1: ("a", "b")}
    assert np.isnan(table.shown(table.rows().numpy())[:, 2]).tolist() == [True, False, True]


def test_names_that_are_no_texts_come_back():
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=[3, 1, 2])
    table = Table(frame)
    assert table.names == ("3", "1", "2")
    pd.testing.assert_frame_equal(table.table(table.rows()), frame)
    mixed = frame.assign(**{"4": ["a", "b"]})
    table = Table(mixed, background=mixed[:1])
    pd.testing.assert_frame_equal(table.table(table.rows()), mixed)


def test_a_background_in_another_order_is_put_into_the_inputs():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    table = Table(frame, background=frame[["b", "a"]].iloc[::-1])
    pd.testing.assert_frame_equal(table.table(table.rows("background")), frame[::-1].reset_index(drop=True))  # fmt: skip


@pytest.mark.parametrize(
    "baseline",
    [
        {"age": 40, "city": "Rome", "member": True, "kind": "b"},
        [40, "Rome", True, "b"],
        np.array([40, "Rome", True, "b"], dtype=object),
        pd.Series({"kind": "b", "member": True, "city": "Rome", "age": 40}),
        pd.DataFrame({"kind": ["b"], "member": [True], "city": ["Rome"], "age": [40]}).astype(
            {"kind": pd.CategoricalDtype(["b", "a"])}
        ),
    ],
)
def test_one_row_may_be_written_by_hand(baseline):
    frame = pd.DataFrame({"age": [30, 50], "city": ["Oslo", "Bonn"], "member": [True, False]})
    frame["kind"] = pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["b", "a"]))
    table = Table(frame, baseline=baseline)
    found = table.table(table.rows("baseline"))
    expected = {"age": [40], "city": ["Rome"], "member": [True], "kind": ["b"]}
    assert found.to_dict("list") == expected
    assert found["kind"].dtype == frame["kind"].dtype
    assert found["city"].dtype == frame["city"].dtype


def test_numbers_of_two_types_become_what_both_fit():
    frame = pd.DataFrame({"n": [1, 2]})
    table = Table(frame, background=pd.DataFrame({"n": [0.5, np.nan]}))
    assert table.table(table.rows()).dtypes.tolist() == [np.float64]
    assert np.isnan(table.table(table.rows("background"))["n"][1])
    frame = pol.DataFrame({"n": [1, 2]})
    table = Table(frame, background=pol.DataFrame({"n": [0.5, 1.0]}))
    assert table.table(table.rows("background"))["n"].to_list() == [0.5, 1.0]


def test_a_background_without_any_value_in_a_column():
    frame = pd.DataFrame({"t": ["a", "b"], "c": pd.Series(["a", "b"], dtype="category"), "n": [1, 2]})  # fmt: skip
    table = Table(frame, background=pd.DataFrame({"t": [None], "c": [None], "n": [None]}))
    found = table.table(table.rows("background"))
    assert found.isna().all(axis=None)
    assert found["c"].dtype == frame["c"].dtype


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": pd.Series(["u", "v"], dtype="category")})  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "other", "says"),
    [
        (FRAME, FRAME[["a", "c"]], "'b' is missing"),
        (FRAME, FRAME.assign(d=1), "'d' is one more"),
        (FRAME, FRAME.rename(columns={"a": "A"}), "'a' is missing and 'A' is one more"),
        (FRAME, FRAME.assign(b=[1, 2]), "'b' is String in the inputs, but Int64 in the background"),
        (FRAME, FRAME.assign(a=["1", "2"]), "'a' is Float64 in the inputs, but String"),
        (FRAME, FRAME.assign(c=["u", "v"]), r"'c' is Categorical of \['u', 'v'\] in the inputs"),
        (FRAME, FRAME.assign(c=FRAME["c"].cat.set_categories(["u", "v", "w"])), "'u', 'v', 'w'"),
        (FRAME, FRAME.assign(a=[1.0, np.inf]), "'a' of the background is infinite in row 1"),
        (FRAME.assign(a=[-np.inf, 0.0]), FRAME, "'a' of the inputs is infinite in row 0"),
        (FRAME, pol.DataFrame({"a": [1.0], "b": ["x"], "c": ["u"]}), "give both alike"),
        (FRAME, FRAME[:0], "background is empty"),
        (FRAME[:0], FRAME, "inputs is empty"),
        (FRAME, ["one", "x", "u"], "'a' of the background holds 'one'"),
        (FRAME, [1.0, "x", "w"], "'c' of the background has 'w'"),
        (FRAME.assign(b=pd.Timestamp("2020")), [1.0, {}, "u"], "'b' of the background holds {}"),
        (FRAME, [1.0, "x"], "has shape .1, 2., but the inputs have 3 columns"),
        (FRAME, {"a": 1.0, "b": "x"}, "'c' is missing"),
        (FRAME.assign(b=[["x"], ["y"]]), FRAME, "'b' is Object|holds a list"),
        (FRAME.assign(b=[["x"], ["y"]]), FRAME.assign(b=[["x"], ["y"]]), "holds a list"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), FRAME, "two columns 'a'"),
        (np.zeros((3, 2)), np.zeros((3, 4)), "shape .3, 4., but the inputs have 2 columns"),
        (np.zeros((3, 2)), np.array([["a", "b"]]), "dtype <U1, and the inputs are of dtype float64"),
        (np.zeros((3, 2)), np.array([[1, np.inf]]), "'1' of the background is infinite in row 0"),
        (np.zeros(3), np.zeros(3), "x.None."),
        (np.zeros((2, 2), dtype=complex), np.zeros((2, 2)), "complex"),
        (np.zeros((0, 2)), np.zeros((1, 2)), "empty"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_met_with_a_sentence(inputs, other, says):
    with pytest.raises(PellucidError, match=says):
        Table(inputs, background=other)


def test_types_are_type_errors_and_values_value_errors():
    with pytest.raises(InputTypeError):
        Table(FRAME, background=FRAME.assign(b=[1, 2]))
    with pytest.raises(InputError):
        Table(FRAME, background=FRAME[["a"]])
