"""Messages for the tests of decoding, and one plain reading of what was decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from stream_monitor.events.columns import MISSING, CategoryColumn, Column, NumberColumn
from stream_monitor.events.prediction import Decoded, decode_events
from stream_monitor.events.rows import category_name
from stream_monitor.records import Headers, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

NOON = 1_769_860_800_000
"""2026-01-31T12:00:00Z in milliseconds."""


def record(
    value: bytes | dict[str, Any] | None,
    offset: int = 0,
    *,
    append_ms: int = NOON,
    headers: Headers = (),
) -> Record:
    body = orjson.dumps(value) if isinstance(value, dict) else value
    return Record("predictions", 3, offset, append_ms, None, body, headers)


def event(**changes: Any) -> dict[str, Any]:
    """A good event; a change to `...` takes the field away."""
    base: dict[str, Any] = {
        "id": "a1",
        "model": "loans",
        "model_version": "3",
        "timestamp": "2026-01-31T12:00:00Z",
        "features": {"age": 41, "region": "north"},
        "prediction": 0.25,
    }
    return {name: value for name, value in (base | changes).items() if value is not ...}


def decode(values: Iterable[bytes | dict[str, Any] | None], **options: Any) -> Decoded:
    return decode_events([record(value, offset) for offset, value in enumerate(values)], **options)


def as_number(columns: dict[str, Column], name: str, row: int) -> object:
    """What whoever expects a number sees: the number, "missing" or "mistyped"."""
    column = columns.get(name)
    if column is None:
        return "missing"
    if isinstance(column, CategoryColumn):
        return "missing" if column.codes[row] == MISSING else "mistyped"
    if column.mistyped is not None and column.mistyped[row]:
        return "mistyped"
    value = float(column.values[row])
    return "missing" if np.isnan(value) else value


def as_category(columns: dict[str, Column], name: str, row: int) -> object:
    """What whoever expects a category sees: ("is", text), "missing" or "mistyped"."""
    column = columns.get(category_name(name), columns.get(name))
    if column is None:
        return "missing"
    if isinstance(column, NumberColumn):
        return "missing" if np.isnan(column.values[row]) else "mistyped"
    code = int(column.codes[row])
    if code >= 0:
        return ("is", column.categories[code])
    return "missing" if code == MISSING else "mistyped"


def facts(decoded: Decoded) -> dict[tuple[int, int], dict[str, Any]]:
    """What each counted row says, by (offset, row of that offset): independent of batches."""
    names = sorted({name for batch in decoded.batches for name in batch.features if "\x00" not in name})
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for batch in decoded.batches:
        for row in range(len(batch)):
            offset = int(batch.offset[row])
            nth = int(batch.position[row] - batch.position[batch.offset == offset].min())
            segments = {
                name: as_category({name: column}, name, row) for name, column in batch.segments.items()
            }
            latency = None if batch.latency_ms is None else float(batch.latency_ms[row])
            found[offset, nth] = {
                "who": (batch.model, batch.version),
                "time": int(batch.time[row]),
                "id": batch.ids[row] if batch.ids else None,
                "error": bool(batch.error[row]) if batch.error is not None else False,
                "latency": None if latency is None or np.isnan(latency) else latency,
                "segments": {name: value for name, value in segments.items() if value != "missing"},
                "numbers": {
                    name: value
                    for name in names
                    if (value := as_number(batch.features, name, row)) != "missing"
                },
                "categories": {
                    name: value
                    for name in names
                    if (value := as_category(batch.features, name, row)) != "missing"
                },
            }
    return found
