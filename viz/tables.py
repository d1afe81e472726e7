"""A result's numbers as an HTML table of bounded length."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from pellucid.interpret.results import Explanation, Result, Run
from pellucid.interpret.results.trees import leaves

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 200
_VALUES = 300_000  # beyond, a table of all values would cost more than the report


def data(result: Result) -> tuple[str, str]:
    """Return a result's table, and a note on what it leaves out."""
    frame, note = _frame(result)
    if len(frame) > _ROWS:
        note = note or f"The first {_ROWS} of {len(frame):,} rows; to_frame() gives them all."
        frame = frame.head(_ROWS)
    return _html(frame), note


def _frame(result: Result) -> tuple[pd.DataFrame, str]:
    """Return the rows worth reading: of many attributions, the largest."""
    if isinstance(result, Explanation):
        total = sum(array.size for _, array in leaves(result.values) if array is not None)
        if total <= _ROWS:
            return result.to_frame(), ""
        fit = max(1, min(len(result), _VALUES * len(result) // total, _ROWS // 5))
        each = _ROWS // fit
        samples = f"the first {fit} samples" if fit < len(result) else "each sample"
        note = f"The {each} largest of {samples}, from {total:,} values; to_frame() gives all."
        return result[:fit].top(each), note
    if isinstance(result, Run):
        frame = result.to_frame()
        if len(frame) > _ROWS:
            each = max(1, _ROWS // max(1, len(result.metrics)))
            note = f"The last {each} values of each metric; to_frame() gives all {len(frame):,}."
            return frame.groupby("metric", sort=False).tail(each), note
        return frame, ""
    return result.to_frame(), ""


def _html(frame: pd.DataFrame) -> str:
    text = [frame[column].dtype.kind not in "iufb" for column in frame.columns]
    marks = [' class="text"' if is_text else "" for is_text in text]
    head = "".join(
        f"<th{mark}>{html.escape(str(column))}</th>"
        for mark, column in zip(marks, frame.columns, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td{mark}>{_cell(cell)}</td>" for mark, cell in zip(marks, row, strict=True))
        + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return html.escape(str(value))
