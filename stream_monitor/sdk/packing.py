"""Many events of one model version as one Arrow pack (schemas/pack.md): rows to columns.

The one module of the logger that needs numpy and pyarrow. Where they are not installed it is
not imported, and every event travels as JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.columns import MISSING, CategoryColumn, Column, NumberColumn
from stream_monitor.events.event_json import Event, Fields
from stream_monitor.events.pack import MAX_ROWS, encode_pack
from stream_monitor.events.rows import category_column, category_name, columns_of
from stream_monitor.events.singles import prediction_columns
from stream_monitor.events.table import Table
from stream_monitor.events.time_columns import parse_times

__all__ = ["MAX_ROWS", "pack_events"]


def pack_events(model: str, version: str, events: list[Event]) -> bytes:
    """One pack of `events` of one model version, at most MAX_ROWS, all free of faults.

    Raises EventError, ValueError or OverflowError where they do not fit into one table.
    """
    fields = Fields(events)
    segments = Table([parts or {} for parts in fields.segments])
    features = Table(fields.features)
    answers = [answer if type(answer) is dict else {"prediction": answer} for answer in fields.answers]
    if features.is_sparse() or segments.is_sparse() or Table(answers).is_sparse():
        raise EventError("limit", "too few values for so many names")
    answered = prediction_columns(fields.answers)
    prediction = answered.pop("prediction", None)
    columns = _one_reading(columns_of(features))
    if any("\x00" in name for name in [*columns, *answered]):
        raise EventError("field_type", "a column mixes numbers and strings")
    failed = any(fields.errors)
    traced = any(event.get("trace") is not None for event in events)
    return encode_pack(
        model,
        version,
        ids=fields.ids,
        times=parse_times(fields.stamps)[0],
        features=columns,
        prediction=prediction,
        probabilities={name.removeprefix("prediction."): column for name, column in answered.items()},
        latency_ms=(
            np.array(fields.latencies, np.float64)
            if any(value is not None for value in fields.latencies)
            else None
        ),
        error=np.array([bool(error) for error in fields.errors]) if failed else None,
        segments={
            name: category_column([row.get(name) for row in segments.rows]) for name in segments.all_names()
        },
        trace=[_trace(event.get("trace")) for event in events] if traced else None,
    )


def _one_reading(columns: dict[str, Column]) -> dict[str, Column]:
    """Strings among which NaN stands for "none" (as pandas has it) are a category column."""
    for name in [name for name in columns if category_name(name) in columns]:
        numbers, words = columns[name], columns[category_name(name)]
        if (
            isinstance(numbers, NumberColumn)
            and isinstance(words, CategoryColumn)
            and np.isnan(numbers.values).all()
        ):
            columns[name] = CategoryColumn(np.maximum(words.codes, np.int32(MISSING)), words.categories)
            del columns[category_name(name)]
    return columns


def _trace(trace: Any) -> str | None:
    return trace if trace is None or type(trace) is str else orjson.dumps(trace).decode()
