"""A result's numbers as an HTML table of bounded length."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from pellucid.interpret.results import Comparison, Explanation, Result, Run
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
        return _largest(result, _ROWS)
    if isinstance(result, Comparison):
        import pandas as pd

        parts = {
            name: _largest(explanation, max(1, _ROWS // len(result.explanations)))
            for name, explanation in result.explanations.items()
        }
        for name, (frame, _) in parts.items():
            frame.insert(0, "method", name)
        notes = {name: note for name, (_, note) in parts.items() if note}
        note = "; ".join(f"{name}: {said}" for name, said in notes.items())
        return pd.concat([frame for frame, _ in parts.values()], ignore_index=True), note
    if isinstance(result, Run):
        frame = result.to_frame()
        if len(frame) > _ROWS:
            each = max(1, _ROWS // max(1, len(result.metrics)))
            note = f"The last {each} values of each metric; to_frame() gives all {len(frame):,}."
            return frame.groupby("metric", sort=False).tail(each), note
        return frame, ""
    return result.to_frame(), ""


def _largest(explanation: Explanation, rows: int) -> tuple[pd.DataFrame, str]:
    """Return all attributions, or where there are too many the largest of each sample."""
    total = sum(array.size for _, array in leaves(explanation.values) if array is not None)
    if total <= rows:
        return explanation.to_frame(), ""
    count = len(explanation)
    fit = max(1, min(count, _VALUES * count // total, rows // 5))
    each = max(1, rows // fit)
    samples = f"the first {fit} samples" if fit < count else "each sample"
    note = f"The {each} largest of {samples}, from {total:,} values; to_frame() gives all."
    return explanation[:fit].top(each), note


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
