"""A reference and an analysis file, as NannyML's car loan pair: which columns shift, and from which row."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from stream_monitor.baselines.tables import read_chunks
from stream_monitor.errors import BaselineError, EvaluationError
from stream_monitor.evaluation.stream import Columns, Span, Stream
from stream_monitor.events.columns import CategoryColumn, Column, NumberColumn

_ROWS = 10_000_000


def read_pair(
    reference: Path,
    analysis: Path,
    *,
    columns: Collection[str],
    changed: Collection[str],
    row: int | None,
    step: int,
) -> Stream:
    """One stream of `analysis` judged by `reference`; `changed` columns do so at `row`.

    `step` is the distance of rows in microseconds. `EvaluationError` names the file and column
    that cannot be used.
    """
    found = [_read(path, columns) for path in (reference, analysis)]
    absent = sorted(set(changed) - set(columns))
    if absent:
        raise EvaluationError(f"--changed {absent[0]}: is none of --columns {', '.join(columns)}")
    n = len(next(iter(found[1].values())))
    row = n if row is None else row
    if changed and not 0 <= row < n:
        raise EvaluationError(f"--change-row {row}: {analysis} has rows 0 to {n - 1}")
    return Stream(
        group=analysis.stem,
        reference=found[0],
        rows=found[1],
        spans=(Span(row, n),) if changed else (),
        changed=frozenset(changed),
        step=step,
    )


def _read(path: Path, names: Collection[str]) -> Columns:
    try:
        chunk = next(read_chunks(path, _ROWS))
    except StopIteration:
        raise EvaluationError(f"{path}: holds no rows") from None
    except BaselineError as error:
        raise EvaluationError(str(error)) from error
    absent = [name for name in names if name not in chunk.names]
    if absent:
        raise EvaluationError(f"{path}: no column {absent[0]!r}; the file has {', '.join(chunk.names)}")
    return {name: _whole(column) for name, column in chunk.columns(list(names)).items()}


def _whole(column: Column) -> Column:
    if isinstance(column, NumberColumn):
        return NumberColumn(np.ascontiguousarray(column.values), column.mistyped)
    return CategoryColumn(column.codes, column.categories)
